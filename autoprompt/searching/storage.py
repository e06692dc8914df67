"""The study's storage: SQLite in the run directory, safe to kill at any moment.

Write-ahead logging lets readers in while a trial is written. `BEGIN IMMEDIATE` takes the write
lock at the start of a transaction, so that two processes cannot both read and then both write.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import TrialState

from autoprompt.errors import RunDirectoryError

STUDY = "autoprompt"
SETTINGS = "settings"


@contextmanager
def open_study(database: Path, settings: dict[str, Any]) -> Iterator[Study]:
    """Create the study, or open the one that is there; its database is closed at the end.

    Args:
        database: path of the SQLite file.
        settings: everything that a result depends on; kept in the study and compared on opening.

    Raises:
        RunDirectoryError: the file is damaged, or was made with other settings (the message shows
            the differences).
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    try:
        storage = RDBStorage(
            f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
        _begin_immediately(storage.engine)
        study = optuna.create_study(
            storage=storage, study_name=STUDY, direction="maximize", load_if_exists=True
        )
        known = study.user_attrs.get(SETTINGS)
    except (sqlalchemy.exc.SQLAlchemyError, KeyError, ValueError) as error:
        raise _damaged(database, error) from error
    try:
        _check_settings(study, known, settings, database)
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _check_settings(
    study: Study, known: dict[str, Any] | None, settings: dict[str, Any], database: Path
) -> None:
    if known is None:
        study.set_user_attr(SETTINGS, settings)
    elif differences := _differences(known, settings):
        raise RunDirectoryError(
            f"{database.parent} was begun with other input: {'; '.join(differences)}; resume with "
            f"the same input, or choose another --out"
        )


def fail_zombies(study: Study) -> int:
    """Mark trials that a killed process left running as failed; returns how many there were."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
    return len(running)


def _begin_immediately(engine: sqlalchemy.Engine) -> None:
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


def _differences(known: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    return [
        f"{key} was {known.get(key)!r}, is {settings.get(key)!r}"
        for key in sorted({*known, *settings})
        if known.get(key) != settings.get(key)
    ]


def _damaged(database: Path, error: Exception) -> RunDirectoryError:
    return RunDirectoryError(
        f"{database} is damaged or not a study ({_first_line(error)}); restore it from a backup, "
        f"or start again in another directory"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
