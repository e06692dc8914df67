"""The study of a tuning's trials: in the storage of the prompt's run, beside its search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState

from autoprompt.errors import RunDirectoryError
from autoprompt.searching.storage import Place, bare_study

IDENTITY = "settings"


@contextmanager
def tuning_study(place: Place, identity: dict[str, Any]) -> Iterator[Study]:
    """Create the study, or open the one that is there; its database is closed at the end.

    Trials that a killed process left running are marked as failed.

    Args:
        place: where it is; other studies may be in its database.
        identity: what a result depends on; kept in the study and compared on opening.

    Raises:
        RunDirectoryError: the database is damaged, or holds a study of the name on other input.
        StorageError: the server cannot be used.
    """
    with bare_study(place, "minimize") as study:
        given = json.loads(json.dumps(identity))
        known = study.user_attrs.setdefault(IDENTITY, given)
        if known != given:
            raise RunDirectoryError(
                f"{place.shown} has trials of a tuning on other input; name another --out directory"
            )
        study.set_user_attr(IDENTITY, given)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
        yield study
