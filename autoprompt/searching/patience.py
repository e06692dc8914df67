"""A storage that waits while its database is away.

A server is restarted, a connection is cut, two transactions meet: the call is made again, on a new
connection, until it succeeds or patience ends. Optuna's own loop dies instead. Almost every call
may be made twice without harm. Two may not: creating a trial, and finishing one; who makes these
looks afterwards what came of them (see `claims`).
"""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.study import Study
from sqlalchemy import exc

from autoprompt.errors import OutageError
from autoprompt.searching.addresses import Address
from autoprompt.searching.interruptions import held_back

PATIENCE = 600.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # seconds
LOCKED = ("database is locked", "database table is locked", "database is busy")
REPEATED = (  # Optuna's calls that are made again
    "create_new_study",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "get_all_studies",
    "_create_new_trial",
    "_set_trial_param",
    "set_trial_state_values",
    "set_trial_intermediate_value",
    "set_trial_user_attr",
    "set_trial_system_attr",
    "get_trial",
    "_get_trials",
)
UNWRITABLE = ("disk is full", "readonly database", "disk I/O error", "unable to open database file")

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class PatientStorage(RDBStorage):
    """Optuna's storage, whose calls outlive an outage of the database.

    Args:
        address: of the database.
        patience: seconds to go on trying.
        options: for `RDBStorage`.

    Raises:
        OutageError: by any call, once patience has ended.
    """

    def __init__(self, address: Address, patience: float = PATIENCE, **options: Any) -> None:
        self.address = address
        self.patience = patience
        # Optuna fills in a template's fields: braces of ours must stay.
        secret = address.secret.replace("{", "{{").replace("}", "}}")
        super().__init__(secret, **options)

    def close(self) -> None:
        """Close all connections."""
        self.remove_session()
        self.engine.dispose()


def _patiently(name: str) -> Callable[..., Any]:
    """A method of `RDBStorage` that is called again while the database is away."""
    plain = getattr(RDBStorage, name)

    def call(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return persistently(
            lambda: plain(self, *arguments, **options),
            self.address,
            self.patience,
            self.remove_session,
        )

    call.__name__, call.__doc__ = name, plain.__doc__
    return call


for _name in REPEATED:
    setattr(PatientStorage, _name, _patiently(_name))


def storage_of(study: Study) -> PatientStorage:
    """The storage of a study, below the cache that Optuna lays over it."""
    storage = getattr(study._storage, "_backend", study._storage)
    assert isinstance(storage, PatientStorage)
    return storage


def persistently(
    call: Callable[[], Result],
    address: Address,
    patience: float = PATIENCE,
    afresh: Callable[[], None] = lambda: None,
) -> Result:
    """Make a call, and again while the database is away. Interruptions come between calls.

    Args:
        call: what to do.
        address: of the database, for the message.
        patience: seconds to go on trying.
        afresh: called before each further try.

    Raises:
        OutageError: the database was away for too long, or cannot be written.
    """
    give_up: float | None = None
    pauses = _pauses()
    while True:
        try:
            with held_back():
                if give_up is not None:
                    afresh()
                result = call()
        except Exception as error:
            if (failure := _cannot_write(error, address)) is not None:
                raise failure from error
            if not is_outage(error):
                raise
            now = time.monotonic()
            if give_up is None:
                give_up = now + patience
                log.warning("%s does not answer (%s); waiting", address, reason_of(error, address))
            if now >= give_up:
                raise OutageError(
                    f"{address} has not answered for {patience:.0f} seconds "
                    f"({reason_of(error, address)}); what was finished is kept: start it, and go "
                    f"on with --resume"
                ) from error
            time.sleep(next(pauses))
        else:
            if give_up is not None:
                log.warning("%s answers again", address)
            return result


def is_outage(error: BaseException) -> bool:
    """Whether an error says that the database is away for now, and not that it is full or wrong."""
    if isinstance(error, UnboundLocalError):
        # What Optuna makes of an error that it meets while it rolls back (optuna#5280).
        last = traceback.extract_tb(error.__traceback__)[-1:]
        return any("optuna" in frame.filename for frame in last)
    if isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        return is_outage(error.__cause__)
    if not isinstance(error, exc.DBAPIError):
        return isinstance(error, exc.TimeoutError | exc.PendingRollbackError)
    if "sqlite3" in type(error.orig).__module__:
        return any(words in str(error.orig) for words in LOCKED)
    return error.connection_invalidated or isinstance(
        error, exc.OperationalError | exc.InterfaceError
    )


def reason_of(error: BaseException, address: Address) -> str:
    """What a database said, on one line and without a password."""
    while isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__:
        error = error.__cause__
    said = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig else error
    lines = str(said).strip().splitlines() or [type(said).__name__]
    return address.without_secrets(lines[0].strip())


def _cannot_write(error: BaseException, address: Address) -> OutageError | None:
    """What to raise where an SQLite file cannot be written: waiting would not mend it."""
    reason = reason_of(error, address)
    if address.is_server or not any(words in reason for words in UNWRITABLE):
        return None
    return OutageError(
        f"cannot write {address}: {reason}; what was finished is kept: free some "
        f"space or mend its permissions, and go on with --resume"
    )


def _pauses() -> Iterator[float]:
    """Pauses that grow; no two workers wait alike."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1.5)
        pause = min(pause * 2, LONGEST_PAUSE)
