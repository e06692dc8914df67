"""The study in its storage: made by one creator, joined by workers, safe to kill at any moment.

On one host it is SQLite in the run directory. Write-ahead logging lets readers in while a trial is
written. `BEGIN IMMEDIATE` takes the write lock at the start of a transaction, so that two processes
cannot both read and then both write. Many hosts share a database server.
"""

from __future__ import annotations

import logging
import random
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import optuna
import sqlalchemy
from optuna.study import Study
from optuna.trial import TrialState
from sqlalchemy import exc

from autoprompt.errors import RunDirectoryError, StorageError, UnknownNameError
from autoprompt.searching.addresses import CONNECT_SECONDS, SQLITE, Address
from autoprompt.searching.patience import PATIENCE, PatientStorage, reason_of

STUDY = "autoprompt"
VALUE = "log-likelihood of the right labels"  # as dashboards show it
SETTINGS, PLAN, SCHEMA, ABOUT = "settings", "plan", "schema", "about"
VERSION = 2  # 1: trials that were waiting, and none that said who runs them
TRIES = 8  # to make the tables: others may be making them too
JOIN_SECONDS = 120.0  # that a worker waits for a search to begin


@dataclass(frozen=True)
class Place:
    """Where a study is.

    Attributes:
        address: of its database.
        study: its name there.
        shown: what a user calls it: the run directory, or study and address.
    """

    address: Address
    study: str
    shown: str


@contextmanager
def open_study(
    place: Place, settings: dict[str, Any], patience: float = PATIENCE
) -> Iterator[Study]:
    """Create the study, or open the one that is there; its database is closed at the end.

    Args:
        place: where it is.
        settings: everything that a result depends on; kept in the study and compared on opening.
        patience: seconds to wait for a database that goes away later.

    Raises:
        RunDirectoryError: the file is damaged, or the study was made with other settings (the
            message shows the differences), or by a newer version.
        StorageError: the server cannot be used.
    """
    with bare_study(place, "maximize", patience) as study:
        known = study.user_attrs
        if SETTINGS in known:
            check_settings(known[SETTINGS], settings, place)
            _migrate(study, known.get(SCHEMA, 1), place)
        else:
            _name_values(study)
            study.set_user_attr(SCHEMA, VERSION)
            study.set_user_attr(SETTINGS, settings)
        yield study


@contextmanager
def bare_study(
    place: Place, direction: Literal["maximize", "minimize"], patience: float = PATIENCE
) -> Iterator[Study]:
    """Create a study, whatever it is of, or open the one that is there.

    Args:
        place, patience: as for `open_study`.
        direction: "maximize" or "minimize".

    Raises:
        RunDirectoryError: the file is damaged.
        StorageError: the server cannot be used.
    """
    _quiet()
    storage = _made(place, patience)
    try:
        try:
            study = optuna.create_study(
                storage=storage, study_name=place.study, direction=direction, load_if_exists=True
            )
            _ = study.user_attrs  # of a damaged file they cannot be read
        except (exc.SQLAlchemyError, KeyError, ValueError) as error:
            raise _unusable(place, error) from error
        yield study
    finally:
        storage.close()


def _name_values(study: Study) -> None:
    """Let dashboards say what is maximized."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([VALUE])


@contextmanager
def join_study(
    place: Place, patience: float = PATIENCE, wait: float = JOIN_SECONDS
) -> Iterator[Study]:
    """Open a study that a search has made; its database is closed at the end.

    Args:
        place: where it is.
        patience: seconds to wait for a database that goes away later.
        wait: seconds to wait for the search to begin.

    Raises:
        UnknownNameError: the database has no such study; the message lists those that it has.
        StorageError: the study has no trials yet, or the database is out of reach.
        RunDirectoryError: the study is of another version.
    """
    _quiet()
    _await(place, wait)
    try:
        storage = PatientStorage(
            place.address, patience, engine_kwargs=_engine(place.address), skip_table_creation=True
        )
    except (exc.SQLAlchemyError, RuntimeError, AssertionError) as error:
        raise _unusable(place, error) from error
    try:
        _prepare(storage)
        study = optuna.load_study(storage=storage, study_name=place.study)
        if study.user_attrs.get(SCHEMA, 1) != VERSION:
            raise RunDirectoryError(
                f"{place.shown} was made by another version of autoprompt; go on with it by "
                f"`autoprompt search --resume` first"
            )
        yield study
    finally:
        storage.close()


def check_settings(known: dict[str, Any], settings: dict[str, Any], place: Place) -> None:
    """Refuse to go on with a study on other input.

    Raises:
        RunDirectoryError: something differs.
    """
    if differences := _differences(known, settings):
        raise RunDirectoryError(
            f"{place.shown} was begun with other input: {'; '.join(differences)}; resume with "
            f"the same input, or choose another --out"
        )


def _migrate(study: Study, version: int, place: Place) -> None:
    """Bring a study that an earlier version made up to date."""
    if version > VERSION:
        raise RunDirectoryError(
            f"{place.shown} was written by a newer autoprompt (schema {version}, this one knows "
            f"{VERSION}); upgrade the package"
        )
    if version < 2:
        # Seeds were enqueued before they were asked for. They are claimed now.
        for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    if version < VERSION:
        study.set_user_attr(SCHEMA, VERSION)


# -- connecting -------------------------------------------------------------------------------


def _made(place: Place, patience: float) -> PatientStorage:
    """The storage with its tables; others may be making them at the same moment."""
    for attempt in range(TRIES):
        try:
            storage = PatientStorage(place.address, patience, engine_kwargs=_engine(place.address))
        except (exc.IntegrityError, exc.ProgrammingError, exc.OperationalError) as error:
            if attempt + 1 == TRIES or not _is_race(error):
                raise _unusable(place, error) from error
            time.sleep(random.uniform(0.1, 0.5))
        except (exc.SQLAlchemyError, RuntimeError, AssertionError, KeyError, ValueError) as error:
            if attempt + 1 < TRIES and isinstance(error, AssertionError):
                time.sleep(random.uniform(0.1, 0.5))
                continue
            raise _unusable(place, error) from error
        else:
            _prepare(storage)
            return storage
    raise AssertionError("the last try returns or raises")


def _is_race(error: exc.DBAPIError) -> bool:
    """Whether an error says that another process is making the same tables."""
    said = str(error.orig).lower()
    return isinstance(error, exc.IntegrityError) or "exist" in said or "deadlock" in said


def _engine(address: Address) -> dict[str, Any]:
    if address.url.get_backend_name() == SQLITE:
        return {"connect_args": {"timeout": 60}}
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_SECONDS}}


def _prepare(storage: PatientStorage) -> None:
    """Let an SQLite file be shared by processes, as the module's docstring has it."""
    if storage.address.is_server:
        return
    engine = storage.engine

    @sqlalchemy.event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        del record
        connection.isolation_level = None  # the driver must not open transactions of its own
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections of the schema check have neither


def _await(place: Place, wait: float) -> None:
    """Wait until the search has made its study and its plan: workers make nothing themselves."""
    engine = sqlalchemy.create_engine(
        place.address.url, **{**_engine(place.address), "poolclass": sqlalchemy.NullPool}
    )
    until = time.monotonic() + wait
    try:
        while True:
            try:
                names, ready = _names(engine, place.study)
            except exc.SQLAlchemyError as error:
                names, ready, reason = [], False, reason_of(error, place.address)
            else:
                reason = ""
            if ready:
                return
            if time.monotonic() >= until:
                break
            time.sleep(random.uniform(0.2, 0.6))
    finally:
        engine.dispose()
    if reason and "exist" not in reason and "no such table" not in reason:
        raise StorageError(
            f"cannot reach the storage {place.address} ({reason}); check the address, and that "
            f"the search has begun"
        )
    if place.study in names:
        raise StorageError(f"the search {place.shown} has not begun its trials; start it first")
    raise UnknownNameError("search", place.study, names)


def _names(engine: sqlalchemy.Engine, study: str) -> tuple[list[str], bool]:
    """The studies of a database, and whether one of them has its plan."""
    planned = sqlalchemy.text(
        "SELECT 1 FROM studies s JOIN study_user_attributes a ON a.study_id = s.study_id "
        "WHERE s.study_name = :name AND a.key = :key"
    )
    if engine.name == "mysql":
        planned = sqlalchemy.text(str(planned).replace("a.key", "a.`key`"))
    with engine.connect() as connection:
        names = connection.execute(
            sqlalchemy.text("SELECT study_name FROM studies ORDER BY study_id DESC")
        ).scalars()
        found = list(names)
        given = {"name": study, "key": PLAN}
        return found, connection.execute(planned, given).first() is not None


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.WARNING)


def _differences(known: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    return [
        f"{key} was {known.get(key)!r}, is {settings.get(key)!r}"
        for key in sorted({*known, *settings})
        if known.get(key) != settings.get(key)
    ]


def _unusable(place: Place, error: Exception) -> RunDirectoryError | StorageError:
    """What to raise for a database's error, without its password."""
    reason = reason_of(error, place.address)
    if place.address.is_server:
        return StorageError(
            f"cannot use the storage {place.address} ({reason}); check that the server runs, and "
            f"address, user and password"
        )
    return RunDirectoryError(
        f"{place.address} is damaged or not a study ({reason}); restore it from a "
        f"backup, or start again in another directory"
    )
