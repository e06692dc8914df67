"""The composition root: wires task, space, model, study and run directory together."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError
from autoprompt.finished_runs import FinishedRun
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.protocol import LanguageModel
from autoprompt.objective import Scored
from autoprompt.preparation import Given, prepare
from autoprompt.progress import Observer, Tracked, forecast_of
from autoprompt.report.page import write_report
from autoprompt.results import (
    SearchResult,
    completed,
    own_readings,
    read_test,
    reworded,
    versions,
    write_run,
)
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import Budget
from autoprompt.searching.decision import decided
from autoprompt.searching.heartbeat import GRACE
from autoprompt.searching.recipes import BEST_ON_DEV, Recipe
from autoprompt.searching.records import Record
from autoprompt.searching.selection import select
from autoprompt.searching.storage import ABOUT, PLAN, open_study
from autoprompt.searching.study import StudyLoop, Worker
from autoprompt.searching.trials import Outcome, TrialRunner
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
    observer = observer or Observer()
    if resume and out is None:
        raise InputError("to resume a run, name its directory with `out`")
    check_grace(grace)
    check_trackers(track)
    if track and out is None:
        raise InputError("trackers write beside a run; name its directory with `out`")
    limits = budget if isinstance(budget, Budget) else Budget.of(budget)
    way = recipe if isinstance(recipe, Recipe) else Recipe.of(recipe)
    if robustness != "none" and way.rule == BEST_ON_DEV:
        raise InputError(
            f"robustness {robustness!r} is part of our own selection rule, and recipe {way.name!r} "
            f"picks by dev accuracy as its paper does; leave one of them out"
        )
    prepared = prepare(
        Given(
            task,
            space,
            model,
            limits,
            seed,
            way,
            generator,
            robustness,
            _selection_examples(limits, out, resume),
        )
    )
    runner, settings = prepared.runner, prepared.settings
    with _run_directory(out, resume) as run, _logging_to(run.log):
        place = run_place(run, storage)
        with (
            open_study(place, settings) as study,
            tracked(track, run.tracking, _run_name(runner), _told(settings, runner)) as trackers,
        ):
            run.write_config({**settings, **_described(runner, limits), "command": command})
            plan = Plan(runner.data.most, grace, way.name, robustness, origin or {})
            study.set_user_attr(PLAN, plan.to_dict())
            study.set_user_attr(ABOUT, _run_name(runner))
            worker = Worker(True, place.address.is_server, grace)
            loop = StudyLoop(
                study, runner, run, limits, prepared.stages, prepared.words.spent, worker
            )
            watched = Tracked(observer, trackers, task.metric)
            session = _Session(loop, run, watched, robustness)
            if place.address.is_server:
                session.note(f"other hosts join by: autoprompt worker {place.study} --storage URL")
            session.tell_notes(prepared.notes, prepared.words.left_out)
            result = session.result()
            result.tell(trackers)
            return result


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


class _Session:
    """One search in an open run directory.

    Args:
        loop: the trials.
        directory: the run's.
        observer: hears of the progress.
        robustness: see `search`.
    """

    def __init__(
        self, loop: StudyLoop, directory: RunDirectory, observer: Observer, robustness: str
    ) -> None:
        self.loop, self.observer, self.robustness = loop, observer, robustness
        self.after_trials = Spent()
        self.runner, self.directory, self.study = loop.runner, directory, loop.study

    def tell_notes(self, notes: Sequence[str], left_out: Sequence[str]) -> None:
        """Tell the user what there is to know before the first trial.

        Args:
            notes: on templates that the model cannot read.
            left_out: candidate words that are not scored.
        """
        for note in notes:
            self.note(note)
        stages = self.loop.stages
        name = stages.recipe.shown_name(stages.infiller)
        if name != "default":
            self.note(f"recipe: {name}")
        for note in self.runner.task.notes:
            self.note(note)
        if left_out:
            self.note(
                f"{len(left_out)} candidate words are several tokens for this model and are left "
                f"out: {', '.join(left_out[:12])}{', ...' if len(left_out) > 12 else ''}"
            )
        if not self.runner.data.fit_count:
            self.note("a label has a single train example: prompts are compared on dev alone")
        if not self.runner.scorer.model.encoder.exact:
            self.note("this tokenizer joins text differently around a mask: prompts are ids-only")

    def result(self) -> SearchResult:
        """Run trials, select, judge, write."""
        self.observer.forecast(
            forecast_of(self.runner, self.loop.budget, self.loop.stages.most_forwards()),
            self.loop.budget,
        )
        reason = self.loop.run(self._heard)
        records = self.loop.records
        for record in records:
            if record.failure:
                self.note(f"trial {record.proposal} failed: {record.failure}")
        metric = self.runner.task.metric
        seeds, rule = self.runner.table.seeds, self.loop.stages.recipe.rule
        judged = records
        if self.runner.exact is not self.runner:
            screened = select(records, seeds, metric, self.loop.scored_of, rule)
            judged, spent = decided(records, screened.finalists, self.runner.exact)
            self.after_trials += spent
        selection = select(
            judged, seeds, metric, self.loop.scored_of, rule, self.robustness, self._reworded
        )
        prompts = len(self.loop.by_digest)
        self.note(
            f"{selection.contenders} of {prompts} prompts clearly beat the best seed on the "
            f"selection data"
        )
        reading = read_test(self.study, self.runner, selection)
        if reading.shortened:
            self.note(f"{reading.shortened} inputs were too long; their text was shortened")
        readings = own_readings(self.study)
        test_digest = self.runner.task.digests()["test"]
        result = SearchResult(
            best=completed(self.runner, selection.winner, reading.winner),
            baseline=completed(self.runner, selection.baseline, reading.baseline),
            seeds=tuple(outcome.prompt for _, outcome in selection.seeds),
            verdict=reading.verdict,
            ledger=sum((own.spent for own in readings), self.loop.spent + self.after_trials),
            trials=len(records),
            prompts=prompts,
            finish_reason=reason,
            own_test_reads=len(readings),
            test_reads=len(readings) + self.directory.neighbours_test_reads(test_digest),
        )
        winner = self.loop.scored_of(selection.winner[1])
        said = (winner, self.loop.scored_of(selection.baseline[1]))
        write_run(self.directory, self.runner, records, selection, said, result)
        write_report(FinishedRun.load(self.directory.path))
        return result

    def _reworded(self, outcome: Outcome) -> list[Scored]:
        scores, spent = reworded(self.runner, outcome.prompt)
        self.after_trials += spent
        return scores

    def note(self, text: str) -> None:
        """Tell the user something, and the log."""
        log.info(text)
        self.observer.note(text)

    def _heard(self, record: Record, spent: Spent) -> None:
        best = self.loop.best
        log.info(
            "trial %d: %s (%s)",
            record.proposal,
            record.failure or (record.outcome and record.outcome.metric),
            record.outcome.prompt.template.text if record.outcome else "",
        )
        self.observer.trial(record, spent, best.metric if best else None)


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
