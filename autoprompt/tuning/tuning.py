"""Tuning a model through a prompt, from the request to a directory that loads and predicts."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoprompt.errors import DivergedError, InputError, UnknownNameError
from autoprompt.files import digest
from autoprompt.models.transformer import TransformerModel
from autoprompt.prediction import check_prompt_fits
from autoprompt.scoring.metrics import Measure
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tuning.lessons import Assignment
from autoprompt.tuning.measuring import DECIDES, measures_of, scores_of
from autoprompt.tuning.memory import forget_peak
from autoprompt.tuning.methods import METHODS, Method, set_dropout
from autoprompt.tuning.output import TunedDirectory
from autoprompt.tuning.processes import is_main, processes
from autoprompt.tuning.results import TuningResult
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.shipping import ship
from autoprompt.tuning.trained import TRIALS, Trained
from autoprompt.tuning.training import (
    TRACKERS,
    Course,
    Plan,
    Say,
    silent,
)
from autoprompt.tuning.trials import Trials

Fresh = Callable[[], TransformerModel]


def single(course: Course, settings: TuningSettings, folder: Path) -> Trained:
    """The plan of one training."""
    return course.train(settings, folder / "only")


@dataclass(frozen=True)
class Request:
    """What is to be tuned.

    Attributes:
        assignments: what is learnt, one at least.
        settings: how.
        texts: unlabelled, for the auxiliary loss.
        tests: for each assignment the test examples, read once, at the end; or none.
        origins: for each assignment what its prompt is, for people: "seed", "searched", "given".
        plan: from a course to its outcome; by default one training.
        plan_name: names the plan and its numbers: a run is not resumed with another one.
        trials: a search for the settings, before.
        report_to: trackers.
    """

    assignments: tuple[Assignment, ...]
    settings: TuningSettings
    texts: tuple[str, ...] = ()
    tests: tuple[tuple[Example, ...], ...] = ()
    origins: tuple[str, ...] = ()
    plan: Plan = single
    plan_name: str = "single"
    trials: Trials | None = None
    report_to: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be tuned, before anything is loaded or written.

        Raises:
            InputError: see the message.
        """
        if not self.assignments:
            raise InputError("nothing to tune: give a prompt and a task")
        for one in self.assignments:
            one.check()
        if self.settings.mlm_weight and not self.texts:
            raise InputError("an auxiliary loss wants unlabelled texts; give some, or leave it out")
        for name in self.report_to:
            if name not in TRACKERS:
                raise UnknownNameError("tracker", name, TRACKERS)
            if importlib.util.find_spec(name) is None:
                raise InputError(f"the tracker {name!r} is not installed; pip install {name}")
        if self.trials and processes() > 1:
            raise InputError(
                "trials of a tuning run in one process; search the settings first, then tune with "
                "them in several"
            )

    def identity(self, weights: str) -> dict[str, Any]:
        """What the result depends on.

        Args:
            weights: digest of the model's.
        """
        return {
            "tasks": [
                [
                    one.name,
                    one.prompt.digest,
                    list(one.prompt.calibration.offsets),
                    split_digest(one.train),
                    split_digest(one.dev),
                ]
                for one in self.assignments
            ],
            "model": weights,
            "texts": digest(list(self.texts)),
            "plan": self.plan_name,
            "trials": list(self.trials.methods) if self.trials else [],
            "processes": processes(),
            "decides": DECIDES,
            **self.settings.to_dict(),
        }


def tune(
    request: Request,
    fresh: Fresh,
    out: str | Path,
    *,
    resume: bool = False,
    more: bool = False,
    say: Say = silent,
) -> TuningResult:
    """Tune a model through its prompts, and write it as a directory.

    Args:
        request: what and how.
        fresh: loads the language model; what it returns is changed.
        out: the directory to write.
        resume: go on with an interrupted tuning there.
        more: something follows that may be interrupted too: what a resumed run needs stays there
            until `TunedDirectory.finish`.
        say: takes lines about the progress.

    Raises:
        RunDirectoryError: `out` is in use, or holds something else.
        InputError: a task has no train or dev examples, or the request is otherwise unfit.
        ModelError: the model lacks what the method trains.
        PromptError: a prompt is of another model.
        DivergedError: the loss became NaN or infinite. Where a checkpoint was better than the
            untuned model, `out` holds it.
    """
    directory = TunedDirectory(out)
    if is_main():
        directory.check(resume)
    request.check()
    job = _Job(request, fresh, say)
    with directory.locked() if is_main() else contextlib.nullcontext():
        if is_main():
            directory.check(resume)  # again: another process may have ended it while we loaded
            directory.begin(request.identity(job.model.identity.weights))
        with _tracking_in(directory, request.report_to):
            trained = job.train(directory.checkpoints)
        if not is_main():
            return job.elsewhere(trained, directory)
        result = ship(
            job.request, job.model, job.method, trained, job.untuned, directory, request.origins
        )
        if trained.diverged or not more:
            directory.finish()
    if trained.diverged:
        rate = job.request.settings.rate
        raise DivergedError(
            f"{trained.diverged}; {directory.path} holds the last good weights "
            f"({trained.weights}); for more steps lower the learning rate ({rate:g})"
        )
    return result


class _Job:
    """A request with its model."""

    def __init__(self, request: Request, fresh: Fresh, say: Say) -> None:
        self.request, self._fresh, self._say = request, fresh, say
        self.model = fresh()
        for one in request.assignments:
            check_prompt_fits(one.prompt, self.model)
        forget_peak(self.model.module.device.type)
        self.untuned: Sequence[dict[str, Measure]] = [
            measures_of(scores_of(self.model, one.prompt, one.dev)) for one in request.assignments
        ]
        self._base = self.model.identity
        self.method = self._attached(request.settings)

    def train(self, folder: Path) -> Trained:
        """The best settings, where they are searched, and the plan with them."""
        trials = self.request.trials
        if trials is not None:
            identity = {**self.request.identity(self._base.weights), "study": "tuning"}
            best = trials.best(self.request.settings, folder, self._tried, identity, self._say)
            self.request = replace(self.request, settings=best.settings)
            self.model = self._fresh()
            self.method = self._attached(best.settings)
            trained = self._planned(best.settings, best.folder)
            details = {**trained.details, TRIALS: {"count": trials.count, "failed": best.failed}}
            return replace(trained, details=details, seconds=best.seconds)
        return self._planned(self.request.settings, folder)

    def elsewhere(self, trained: Trained, directory: TunedDirectory) -> TuningResult:
        """What a process knows that does not write."""
        settings, seconds = self.request.settings, trained.seconds
        return TuningResult(directory.path, (), trained, settings, self._base, 0, 0, seconds, 0, 0)

    def _tried(self, settings: TuningSettings, folder: Path) -> Trained:
        self.model = self._fresh()
        self.method = self._attached(settings)
        return self._planned(settings, folder)

    def _planned(self, settings: TuningSettings, folder: Path) -> Trained:
        given = self.request
        course = Course(self.model, given.assignments, given.texts, given.report_to, self._say)
        return given.plan(course, settings, folder)

    def _attached(self, settings: TuningSettings) -> Method:
        method = METHODS[settings.method]()
        method.attach(self.model, [one.prompt for one in self.request.assignments], settings)
        if settings.dropout is not None:
            set_dropout(self.model.module, settings.dropout)
        return method


@contextlib.contextmanager
def _tracking_in(directory: TunedDirectory, report_to: Sequence[str]) -> Iterator[None]:
    """Trackers write beside the model, and nowhere else, unless the environment says otherwise."""
    place = directory.path / "tracking"
    defaults = {
        "TENSORBOARD_LOGGING_DIR": str(place / "tensorboard"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{place / 'mlflow.db'}",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(place),
    }
    added = {}
    if report_to:
        if is_main():  # another one would make it before the first has looked what is there
            place.mkdir(parents=True, exist_ok=True)
        added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    if "wandb" in report_to and (loaded := sys.modules.get("wandb")):
        loaded.teardown()  # it has read the environment as it was
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
