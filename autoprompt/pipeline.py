"""The composition root: wires task, space, model, study and run directory together."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError
from autoprompt.finished_runs import FinishedRun
from autoprompt.models.infilling import SentinelInfiller, own_infiller
from autoprompt.models.protocol import LanguageModel
from autoprompt.objective import Scored, raw_label_scores
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
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.budget import Budget
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.decision import decided
from autoprompt.searching.readable import readable
from autoprompt.searching.recipes import BEST_ON_DEV, Recipe
from autoprompt.searching.records import Record
from autoprompt.searching.selection import select
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.stages import Stages
from autoprompt.searching.storage import open_study
from autoprompt.searching.study import StudyLoop
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.words import Words, words_to_score
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import split_digest
from autoprompt.tasks.task import Task
from autoprompt.tracking import check_trackers, tracked
from autoprompt.verbalizers import Verbalizer

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
        command: the command line, for the run's record.

    Raises:
        InputError: space and task do not fit, the budget is too small, or `out` cannot be used.
    """
    observer = observer or Observer()
    if resume and out is None:
        raise InputError("to resume a run, name its directory with `out`")
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
    restricted = space.restricted(task.fields, task.labels)
    usable, notes = readable(restricted, model)
    table = CandidateTable(way.narrowed(usable))
    if generator is None and table.space.generated:
        generator = own_infiller(model)
    data = SelectionData.of(task, seed, _selection_examples(limits, out, resume))
    words = words_to_score(table, model.screening, data.fit)
    runner = _runner(task, data, table, words, model, seed)
    stages = Stages(runner, way, generator, limits)
    _check_seeds(runner)
    limits.check(table.seeds, runner.most_forwards(), words.spent.budgeted)
    settings = {
        **_settings(runner),
        "recipe": way.shown_name(generator),
        "generator": generator.name if generator else "",
        "robustness": robustness,
    }
    with (
        _run_directory(out, resume) as run,
        _logging_to(run.log),
        open_study(run.database, settings, _study_name(runner)) as study,
        tracked(track, run.tracking, _study_name(runner), _told(settings, runner)) as trackers,
    ):
        run.write_config({**settings, **_described(runner, limits), "command": command})
        loop = StudyLoop(study, runner, run, limits, stages, words.spent)
        session = _Session(loop, Tracked(observer, trackers, task.metric), robustness)
        session.tell_notes(notes, words.left_out)
        result = session.result()
        result.tell(trackers)
        return result


def _runner(
    task: Task,
    data: SelectionData,
    table: CandidateTable,
    words: Words,
    model: LanguageModel,
    seed: int,
) -> TrialRunner:
    """What scores candidates: a fast copy of the model, where it has one; the model decides."""
    runner: TrialRunner | None = None
    for scoring in dict.fromkeys((model, model.screening)):
        scorer = WordScorer(
            scoring,
            [*words.seeds, *words.candidates],
            one_token=words.candidates,
            blocks=data.blocks,
        )
        runner = TrialRunner(task, data, table, scorer, seed, words.by_label, exact=runner)
    assert runner is not None
    return runner


def _settings(runner: TrialRunner) -> dict[str, Any]:
    """Everything that a result depends on: a run is not resumed with other settings."""
    identity = runner.scorer.model.identity
    return {
        "task": runner.task.fingerprint(),
        "space": runner.table.space.fingerprint(),
        "model": identity.weights,
        "tokenizer": identity.tokenizer,
        "screening": runner.scorer.model.precision,
        "metric": runner.task.metric,
        "seed": runner.seed,
        "selection": split_digest(runner.data.examples),
    }


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


def _study_name(runner: TrialRunner) -> str:
    """What a person knows the study by, in a tracker or a dashboard."""
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


def _check_seeds(runner: TrialRunner) -> None:
    """Refuse seed prompts that the model cannot score, before anything is written.

    Raises:
        InputError: a seed's template is too long for the model, or its words cannot be written.
        ScoringError: the model's scores are not finite.
    """
    space = runner.table.space
    scorer = runner.exact.scorer
    probe = WordScorer(scorer.model, scorer.words, tuple(scorer.one_token))
    for number, seed in enumerate(space.seeds, start=1):
        verbalizer = Verbalizer.of(seed.words, space.labels)
        try:
            frame = runner.bare_frame(Candidate(seed.template, 0))
            raw_label_scores(probe, frame, verbalizer, runner.task.train[:1])
        except InputError as error:
            raise type(error)(f"seed prompt {number}: {error}") from error


class _Session:
    """One search in an open run directory.

    Args:
        loop: the trials.
        observer: hears of the progress.
        robustness: see `search`.
    """

    def __init__(self, loop: StudyLoop, observer: Observer, robustness: str) -> None:
        self.loop, self.observer, self.robustness = loop, observer, robustness
        self.after_trials = Spent()
        self.runner, self.directory, self.study = loop.runner, loop.run_directory, loop.study

    def tell_notes(self, notes: Sequence[str], left_out: Sequence[str]) -> None:
        """Tell the user what there is to know before the first trial.

        Args:
            notes: on templates that the model cannot read.
            left_out: candidate words that are not scored.
        """
        for note in notes:
            self._note(note)
        stages = self.loop.stages
        name = stages.recipe.shown_name(stages.infiller)
        if name != "default":
            self._note(f"recipe: {name}")
        for note in self.runner.task.notes:
            self._note(note)
        if left_out:
            self._note(
                f"{len(left_out)} candidate words are several tokens for this model and are left "
                f"out: {', '.join(left_out[:12])}{', ...' if len(left_out) > 12 else ''}"
            )
        if not self.runner.data.fit_count:
            self._note("a label has a single train example: prompts are compared on dev alone")
        if not self.runner.scorer.model.encoder.exact:
            self._note("this tokenizer joins text differently around a mask: prompts are ids-only")

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
                self._note(f"trial {record.proposal} failed: {record.failure}")
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
        self._note(
            f"{selection.contenders} of {prompts} prompts clearly beat the best seed on the "
            f"selection data"
        )
        reading = read_test(self.study, self.runner, selection)
        if reading.shortened:
            self._note(f"{reading.shortened} inputs were too long; their text was shortened")
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

    def _note(self, text: str) -> None:
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


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
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
