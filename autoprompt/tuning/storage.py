"""The study of a tuning's trials: in the storage of the prompt's run, beside its search."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.study import Study
from optuna.trial import TrialState

from autoprompt.errors import RunDirectoryError
from autoprompt.searching.addresses import Address
from autoprompt.searching.patience import PatientStorage

IDENTITY = "settings"


@contextmanager
def tuning_study(database: Path, name: str, identity: dict[str, Any]) -> Iterator[Study]:
    """Create the study, or open the one that is there; its database is closed at the end.

    Trials that a killed process left running are marked as failed.

    Args:
        database: path of a SQLite file; other studies may be in it.
        name: of the study.
        identity: what a result depends on; kept in the study and compared on opening.

    Raises:
        RunDirectoryError: the file is damaged, or holds a study of the name on other input.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    try:
        storage = PatientStorage(
            Address.of_file(database), engine_kwargs={"connect_args": {"timeout": 60}}
        )
        study = optuna.create_study(
            storage=storage, study_name=name, direction="minimize", load_if_exists=True
        )
    except (sqlalchemy.exc.SQLAlchemyError, KeyError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunDirectoryError(
            f"{database} is damaged or no study ({reason}); restore it from a backup, or tune a "
            f"copy of the prompt file"
        ) from error
    try:
        given = json.loads(json.dumps(identity))
        known = study.user_attrs.setdefault(IDENTITY, given)
        if known != given:
            raise RunDirectoryError(
                f"{database} has trials of a tuning named {name!r} on other input; name another "
                f"--out directory"
            )
        study.set_user_attr(IDENTITY, given)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        yield study
    finally:
        storage.close()
