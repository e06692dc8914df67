"""Taking part in a search that another process has begun, on this host or another.

A worker reads the search's plan from its study, claims proposals, and writes what it finds into the
storage (and scores into the run directory, where it sees that). The process that began the search
ends it.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.study import Study

from autoprompt.errors import InputError
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.protocol import LanguageModel
from autoprompt.preparation import Given, prepare
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import Budget
from autoprompt.searching.recipes import Recipe
from autoprompt.searching.records import Record
from autoprompt.searching.shared_limits import SharedLimits
from autoprompt.searching.storage import PLAN, SETTINGS, Place, check_settings, join_study
from autoprompt.searching.study import StudyLoop, Worker
from autoprompt.sharing import Plan, place_to_join
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.task import Task

log = logging.getLogger("autoprompt")


@dataclass(frozen=True)
class Worked:
    """What a worker did.

    Attributes:
        trials: how many it finished.
        spent: on them.
        finish_reason: why the search ended.
    """

    trials: int
    spent: Spent
    finish_reason: str


@dataclass(frozen=True)
class Joined:
    """A search that this process takes part in.

    Attributes:
        place: where its study is.
        plan: what it is about.
        seed: of the search.
        screening: the precision that its candidates are screened in.
    """

    place: Place
    plan: Plan
    seed: int
    screening: str
    _study: Study
    _run: RunDirectory | None

    def work(
        self,
        task: Task,
        space: SearchSpace,
        model: LanguageModel,
        *,
        recipe: Recipe | None = None,
        generator: SentinelInfiller | None = None,
        progress: Callable[[Record, Spent], None] = lambda _record, _spent: None,
    ) -> Worked:
        """Run trials until the search's budget ends.

        Args:
            task, space, model: the same as the search's.
            recipe: the same, where it is none that has a name.
            generator: the same.
            progress: called after each trial of any worker.

        Raises:
            RunDirectoryError: something is not the same (the message shows the differences).
            SearchError: the search makes no progress any more.
        """
        limits = SharedLimits.of(self._study)
        given = Given(
            task,
            space,
            model,
            limits.budget if limits else Budget(),
            self.seed,
            recipe or Recipe.of(self.plan.recipe),
            generator,
            self.plan.robustness,
            self.plan.selection_examples,
        )
        prepared = prepare(given)
        known = self._study.user_attrs[SETTINGS]
        check_settings(known, prepared.settings, replace(self.place, shown=self.place.shown))
        worker = Worker(False, self.place.address.is_server, self.plan.grace)
        loop = StudyLoop(
            self._study,
            prepared.runner,
            self._run,
            given.budget,
            prepared.stages,
            prepared.words.spent,
            worker,
        )
        reason = loop.run(progress)
        own = [record for record in loop.records if record.worker == loop.name]
        return Worked(len(own), sum((record.spent for record in own), Spent()), reason)


@contextlib.contextmanager
def join(run: str | Path, storage: str = "") -> Iterator[Joined]:
    """Join a search; wait for it, if it has not begun.

    Args:
        run: its run directory; or, where this host does not see that, the name of its study, with
            `storage`.
        storage: URL of its database, where that is a server.

    Raises:
        RunDirectoryError: there is no such run.
        StorageError: there is no such study, or its database is out of reach.
    """
    place, directory = place_to_join(str(run), storage)
    with join_study(place) as study:
        known: Mapping[str, Any] = study.user_attrs
        settings = known[SETTINGS]
        try:
            plan = Plan.from_dict(known[PLAN])
        except TypeError as error:
            raise InputError(
                f"the search {place.shown} was begun by another version of autoprompt ({error}); "
                f"install the same on all hosts"
            ) from error
        yield Joined(place, plan, settings["seed"], settings["screening"], study, directory)
