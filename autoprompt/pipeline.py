"""The composition root: wires task, space, model, study and run directory together."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.protocol import LanguageModel
from autoprompt.preparation import Given, Prepared, prepare
from autoprompt.progress import Observer, Tracked
from autoprompt.results import SearchResult, versions
from autoprompt.runs import RunDirectory
from autoprompt.searching.budget import Budget
from autoprompt.searching.heartbeat import GRACE
from autoprompt.searching.recipes import BEST_ON_DEV, Recipe
from autoprompt.searching.storage import ABOUT, PLAN, open_study
from autoprompt.searching.study import StudyLoop, Worker
from autoprompt.searching.trials import TrialRunner
from autoprompt.session import Session
from autoprompt.sharing import Plan, check_grace, run_place
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.task import Task
from autoprompt.tracking import check_trackers, tracked

SELECTION_EXAMPLES = "selection_examples"

log = logging.getLogger("autoprompt")


def search(
    task: Task,
    space: SearchSpace,
    model: LanguageModel,
    *,
    out: str | Path | None = None,
    budget: str | Budget | None = None,
    seed: int = 0,
    recipe: str | Recipe = "default",
    generator: SentinelInfiller | None = None,
    robustness: str = "none",
    resume: bool = False,
    observer: Observer | None = None,
    track: Sequence[str] = (),
    command: str = "",
    storage: str = "",
    grace: float = GRACE,
    origin: Mapping[str, Any] | None = None,
) -> SearchResult:
    """Find the best prompt for a task and compare it with the expert's.

    Args:
        task: train fits, train (cross-fitted) and dev select, test is read once, for the verdict.
        space: seed prompts and what may vary.
        model: a loaded language model.
        out: the run directory; None keeps nothing.
        budget: a preset's name or a `Budget`; by default "standard".
        seed: of everything that is drawn. The same seed gives the same run.
        recipe: the way to search, or its name: "default", or a neighbour's: "manual", "petal",
            "lm-bff", "autoprompt".
        generator: a T5 that writes templates in the place of the model itself, where the space or
            the recipe asks for such; a model that is a T5 writes its own.
        robustness: whether the winner must also hold under other wordings of itself: "none",
            "gate" or "objective"; see `searching.selection.select`.
        resume: go on with the run in `out`.
        observer: hears of the progress.
        track: trackers that hear of it too: "tensorboard", "mlflow", "wandb"; see `tracking`.
        command: the command line, for the run's record; without passwords.
        storage: URL of a PostgreSQL or MySQL database that workers on other hosts reach; by default
            the study is in the run directory, where workers on this host join it.
        grace: seconds without a sign of life after which a worker's trial is run again.
        origin: what a worker can load task, space and model by; see `sharing.Plan`.

    Raises:
        InputError: space and task do not fit, the budget is too small, or `out` or `storage`
            cannot be used.
    """
    _check_places(out, resume, grace, track)
    limits = budget if isinstance(budget, Budget) else Budget.of(budget)
    way = recipe if isinstance(recipe, Recipe) else Recipe.of(recipe)
    _check_rule(way, robustness)
    most = _selection_examples(limits, out, resume)
    given = Given(task, space, model, limits, seed, way, generator, robustness, most)
    prepared = prepare(given)
    around = _Surroundings(observer or Observer(), track, command, storage, grace, origin or {})
    with _run_directory(out, resume) as run, _logging_to(run.log):
        return _run(given, prepared, run, around)


@dataclass(frozen=True)
class _Surroundings:
    """What a search is run with; nothing in its result depends on it. See `search`."""

    observer: Observer
    track: Sequence[str]
    command: str
    storage: str
    grace: float
    origin: Mapping[str, Any]


def _run(
    given: Given, prepared: Prepared, run: RunDirectory, around: _Surroundings
) -> SearchResult:
    """Search in a run directory that this process holds."""
    runner, settings = prepared.runner, prepared.settings
    place, name = run_place(run, around.storage), _run_name(runner)
    with (
        open_study(place, settings) as study,
        tracked(around.track, run.tracking, name, _told(settings, runner)) as trackers,
    ):
        described = _described(runner, given.budget)
        run.write_config({**settings, **described, "command": around.command})
        study.set_user_attr(PLAN, _plan(given, runner, around).to_dict())
        study.set_user_attr(ABOUT, name)
        worker = Worker(True, place.address.is_server, around.grace)
        spent = prepared.words.spent
        loop = StudyLoop(study, runner, run, given.budget, prepared.stages, spent, worker)
        watched = Tracked(around.observer, trackers, runner.task.metric)
        session = Session(loop, run, watched, given.robustness)
        if place.address.is_server:
            session.note(f"other hosts join by: autoprompt worker {place.study} --storage URL")
        session.tell_notes(prepared.notes, prepared.words.left_out)
        result = session.result()
        result.tell(trackers)
        return result


def _check_places(out: str | Path | None, resume: bool, grace: float, track: Sequence[str]) -> None:
    """Refuse what does not go with the run directory, or with none."""
    if resume and out is None:
        raise InputError("to resume a run, name its directory with `out`")
    check_grace(grace)
    check_trackers(track)
    if track and out is None:
        raise InputError("trackers write beside a run; name its directory with `out`")


def _check_rule(way: Recipe, robustness: str) -> None:
    """Refuse a robustness that the recipe's own rule of selection would not heed."""
    if robustness != "none" and way.rule == BEST_ON_DEV:
        raise InputError(
            f"robustness {robustness!r} is part of our own selection rule, and recipe {way.name!r} "
            f"picks by dev accuracy as its paper does; leave one of them out"
        )


def _plan(given: Given, runner: TrialRunner, around: _Surroundings) -> Plan:
    """What a worker that joins must know."""
    most, recipe = runner.data.most, given.recipe.name
    return Plan(most, around.grace, recipe, given.robustness, around.origin)


def _described(runner: TrialRunner, budget: Budget) -> dict[str, Any]:
    """What people want to know of a run."""
    task = runner.task
    return {
        "task_name": task.name,
        "splits": task.digests(),
        "sizes": {name: len(examples) for name, examples in task.splits.items()},
        "labels": list(task.labels),
        "space_name": runner.table.space.name,
        "model_name": runner.scorer.model.identity.name,
        "budget": vars(budget),
        SELECTION_EXAMPLES: runner.data.most,
        "versions": versions(),
    }


def _run_name(runner: TrialRunner) -> str:
    """What a person knows the run by, in a tracker."""
    model = Path(runner.scorer.model.identity.name).name
    return f"{runner.task.name} with {runner.table.space.name} on {model}"


def _told(settings: dict[str, Any], runner: TrialRunner) -> dict[str, str]:
    """What trackers are told that a run was given."""
    given = {key: settings[key] for key in ("metric", "seed", "recipe", "robustness", "screening")}
    known = {
        "task": runner.task.name,
        "space": runner.table.space.name,
        "model": runner.scorer.model.identity.name,
    }
    return {key: str(value) for key, value in {**known, **given}.items()}


def _selection_examples(budget: Budget, out: str | Path | None, resume: bool) -> int | None:
    """The most selection examples; a resumed run keeps what it began with."""
    if out is not None and resume:
        known = RunDirectory(out).read_config().get(SELECTION_EXAMPLES, ...)
        if known is None or isinstance(known, int):  # None is a value here, ... stands for absent
            return known
    return budget.selection_examples()


@contextlib.contextmanager
def _run_directory(out: str | Path | None, resume: bool) -> Iterator[RunDirectory]:
    if out is None:
        with tempfile.TemporaryDirectory(prefix="autoprompt-") as place:
            run = RunDirectory(Path(place) / "run")
            with run.locked():
                yield run
        return
    run = RunDirectory(out)
    run.check(resume)
    with run.locked():
        yield run


class _LogFile(logging.FileHandler):
    """A log that goes without what it cannot write: on a full disk the search itself says so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Say nothing."""


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()
