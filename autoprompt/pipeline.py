"""The composition root: wires task, space, model, study and run directory together."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.study import Study

from autoprompt.errors import InputError, SearchError
from autoprompt.files import write_json
from autoprompt.models.protocol import LanguageModel
from autoprompt.objective import Scored, evaluate, raw_label_scores
from autoprompt.prompts import Frame, Prompt
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.search.budget import Budget
from autoprompt.search.candidates import CandidateTable
from autoprompt.search.selection import Selection, select
from autoprompt.search.selection_data import SelectionData
from autoprompt.search.storage import open_study
from autoprompt.search.study import Record, StudyLoop
from autoprompt.search.trials import Outcome, TrialRunner, words_to_score
from autoprompt.search.verdict import Verdict, judge
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example, split_digest
from autoprompt.tasks.task import Task
from autoprompt.verbalizers import Verbalizer

VERSIONED = ("autoprompt", "torch", "transformers", "tokenizers", "optuna", "numpy")
FORECAST_EXAMPLES = 32
SELECTION_EXAMPLES = "selection_examples"

log = logging.getLogger("autoprompt")


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        best: the prompt that selection chose.
        baseline: the seed prompt that was best on the selection data.
        seeds: every seed prompt with its scores there.
        verdict: winner against baseline on test.
        ledger: what was spent, the test included.
        trials: how many were run, seeds and repetitions included.
        prompts: how many different prompts they scored.
        finish_reason: why the search ended.
        test_reads: how many verdicts beside this run used the same test split, this one included.
    """

    best: Prompt
    baseline: Prompt
    seeds: tuple[Prompt, ...]
    verdict: Verdict
    ledger: Spent
    trials: int
    prompts: int
    finish_reason: str
    test_reads: int


@dataclass(frozen=True)
class Forecast:
    """What a search is likely to take, said before it begins.

    Attributes:
        templates: choices of template in the space.
        trials: about how many fit into the budget.
        forwards: at most, the test included.
        forwards_per_second: measured on a few train examples.
    """

    templates: int
    trials: int
    forwards: int
    forwards_per_second: float

    @property
    def seconds(self) -> float:
        """At most, at the measured rate."""
        return self.forwards / self.forwards_per_second


class Observer:
    """Hears of a search's progress; this one keeps silent."""

    def forecast(self, forecast: Forecast, budget: Budget) -> None:
        """Called once, before the first trial."""

    def trial(self, record: Record, spent: Spent, best: float | None) -> None:
        """Called after each trial; `best` is the most likely prompt's metric so far."""

    def note(self, text: str) -> None:
        """Called with something that the user should know."""


def search(
    task: Task,
    space: SearchSpace,
    model: LanguageModel,
    *,
    out: str | Path | None = None,
    budget: str | Budget | None = None,
    seed: int = 0,
    resume: bool = False,
    observer: Observer | None = None,
) -> SearchResult:
    """Find the best prompt for a task and compare it with the expert's.

    Args:
        task: train fits, train (cross-fitted) and dev select, test is read once, for the verdict.
        space: seed prompts and what may vary.
        model: a loaded language model.
        out: the run directory; None keeps nothing.
        budget: a preset's name or a `Budget`; by default "standard".
        seed: of everything that is drawn. The same seed gives the same run.
        resume: go on with the run in `out`.
        observer: hears of the progress.

    Raises:
        InputError: space and task do not fit, the budget is too small, or `out` cannot be used.
    """
    observer = observer or Observer()
    limits = budget if isinstance(budget, Budget) else Budget.of(budget)
    table = CandidateTable(space.restricted(task.fields, task.labels))
    words, left_out = words_to_score(table, model.encoder.word_ids)
    data = SelectionData.of(task, seed, _selection_examples(limits, out, resume))
    runner = TrialRunner(task, data, table, WordScorer(model, words), seed)
    _check_seeds(runner)
    limits.check(table.seeds, runner.most_forwards())
    settings = _settings(runner)
    with (
        _run_directory(out, resume) as run,
        _logging_to(run.log),
        open_study(run.database, settings) as study,
    ):
        write_json(run.config, {**settings, **_described(runner, limits)})
        session = _Session(runner, study, run, limits, observer)
        session.tell_notes(left_out)
        return session.result()


def _settings(runner: TrialRunner) -> dict[str, Any]:
    """Everything that a result depends on: a run is not resumed with other settings."""
    identity = runner.scorer.model.identity
    return {
        "task": runner.task.fingerprint(),
        "space": runner.table.space.fingerprint(),
        "model": identity.weights,
        "tokenizer": identity.tokenizer,
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
        "versions": {name: importlib.metadata.version(name) for name in VERSIONED},
    }


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
    probe = WordScorer(runner.scorer.model, runner.scorer.words)
    for number, seed in enumerate(space.seeds, start=1):
        verbalizer = Verbalizer.of(seed.words, space.labels)
        try:
            raw_label_scores(probe, Frame(seed.template), verbalizer, runner.task.train[:1])
        except InputError as error:
            raise type(error)(f"seed prompt {number}: {error}") from error


class _Session:
    """One search in an open run directory.

    Args:
        runner: holds task, table, scorer and seed.
        study: as `open_study` gives it.
        run: the directory, locked.
        budget: when to stop.
        observer: hears of the progress.
    """

    def __init__(
        self,
        runner: TrialRunner,
        study: Study,
        run: RunDirectory,
        budget: Budget,
        observer: Observer,
    ) -> None:
        self.runner, self.directory, self.budget, self.observer = runner, run, budget, observer
        self.task, self.table, self.seed = runner.task, runner.table, runner.seed
        self.scorer, self.model = runner.scorer, runner.scorer.model
        self.loop = StudyLoop(study, self.table, runner, run, budget, self.seed)

    def tell_notes(self, left_out: Sequence[str]) -> None:
        """Tell the user what there is to know before the first trial.

        Args:
            left_out: candidate words that are not scored.
        """
        for note in self.task.notes:
            self._note(note)
        if left_out:
            self._note(
                f"{len(left_out)} candidate words are several tokens for this model and are left "
                f"out: {', '.join(left_out[:12])}{', ...' if len(left_out) > 12 else ''}"
            )
        if not self.model.encoder.exact:
            self._note("this tokenizer joins text differently around a mask: prompts are ids-only")

    def result(self) -> SearchResult:
        """Run trials, select, judge, write."""
        self._forecast()
        reason = self.loop.run(self._heard)
        records = [self.loop.records[i] for i in range(len(self.loop.records))]
        selection = select(records, self.table.seeds, self._on_selection_data)
        self._note(
            f"{selection.contenders} of {len(self.loop.by_digest)} prompts clearly beat the best "
            f"seed on the selection data"
        )
        for record in records:
            if record.failure:
                self._note(f"trial {record.proposal} failed: {record.failure}")
        winner = self._completed(selection.winner[1].prompt, selection.winner[0])
        baseline = self._completed(selection.baseline[1].prompt, selection.baseline[0])
        verdict, spent, winner, baseline = self._judged(selection, winner, baseline)
        test_digest = self.task.digests()["test"]
        reads = self.directory.earlier_test_reads(test_digest)
        if not self.directory.verdict.exists():
            reads += 1
        self._write(records, selection, winner, verdict, spent, reason, reads)
        return SearchResult(
            best=winner,
            baseline=baseline,
            seeds=tuple(outcome.prompt for outcome in selection.seeds),
            verdict=verdict,
            ledger=spent,
            trials=len(records),
            prompts=len(self.loop.by_digest),
            finish_reason=reason,
            test_reads=reads,
        )

    def _on_selection_data(self, outcome: Outcome) -> Scored:
        found = self.directory.read_scores(outcome.prompt.digest)
        if found is None:
            raise SearchError(
                f"{self.directory.scores} lacks the scores of prompt {outcome.prompt.digest}, "
                f"which a finished trial wrote; restore them, or search again elsewhere"
            )
        return Scored(found, self.runner.data.gold)

    # -- progress -----------------------------------------------------------------------------

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

    def _forecast(self) -> None:
        """Time a few train examples in the first seed; the rows are not kept and not paid for."""
        probe = WordScorer(self.model, self.scorer.words)
        frame = Prompt(self.table.space.seeds[0].template, self.table.verbalizers[0]).frame
        examples = list(self.task.train[:FORECAST_EXAMPLES])
        probe.scores(frame, examples[:1])  # the first pass of a process is slow
        started = time.perf_counter()
        probe.begin()
        probe.scores(frame, examples)
        rate = max(probe.spent.forwards, 1) / max(time.perf_counter() - started, 1e-6)
        each = len(self.runner.data.examples) * self.runner.variants()
        trials = self.budget.likely_trials(each)
        final = 2 * len(self.task.test) * self.runner.variants()
        forwards = min(self.budget.forwards or trials * self.runner.most_forwards(), 10**9) + final
        forecast = Forecast(self.table.templates, trials, forwards, rate)
        self.observer.forecast(forecast, self.budget)

    # -- the end ------------------------------------------------------------------------------

    def _completed(self, prompt: Prompt, proposal: int) -> Prompt:
        """A prompt with all that its file holds."""
        is_seed = proposal < self.table.seeds
        came_from = f"seed prompt {proposal + 1}" if is_seed else f"trial {proposal}"
        return replace(
            prompt,
            model=self.model.identity,
            tokens=self.model.encoder.record(prompt.frame, prompt.verbalizer.all_words),
            lineage=(came_from, *prompt.lineage),
            splits={**self.task.digests(), **prompt.splits},
            versions={name: importlib.metadata.version(name) for name in VERSIONED},
            seed=self.seed,
        )

    def _judged(
        self, selection: Selection, winner: Prompt, baseline: Prompt
    ) -> tuple[Verdict, Spent, Prompt, Prompt]:
        """Read the test split: the winner's scores, the baseline's, and the verdict."""
        self.scorer.begin()
        started = time.perf_counter()
        scored = self._on_test(winner)
        against = scored if selection.kept_seed else self._on_test(baseline)
        verdict = judge(scored, against, self.task.metric, selection.kept_seed, self.seed)
        spent = replace(self.scorer.spent, seconds=time.perf_counter() - started)
        if self.scorer.truncated:
            self._note(f"{self.scorer.truncated} inputs were too long; their text was shortened")
        digest = self.task.digests()["test"]
        prompts = [
            prompt.with_scores(
                "test", {name: m.to_dict() for name, m in result.measures().items()}, digest
            )
            for prompt, result in ((winner, scored), (baseline, against))
        ]
        return verdict, self.loop.spent + spent, prompts[0], prompts[1]

    def _on_test(self, prompt: Prompt) -> Scored:
        examples: Sequence[Example] = self.task.test
        scorer = WordScorer(self.model, prompt.verbalizer.all_words)
        scored = evaluate(prompt, scorer, examples)
        self.scorer.spent += scorer.spent
        self.scorer.truncated += scorer.truncated
        return scored

    def _write(
        self,
        records: Sequence[Record],
        selection: Selection,
        winner: Prompt,
        verdict: Verdict,
        spent: Spent,
        reason: str,
        reads: int,
    ) -> None:
        directory = self.directory
        finalists = {outcome.prompt.digest: outcome for outcome in selection.finalists}
        finalists |= {outcome.prompt.digest: outcome for outcome in selection.seeds}
        proposals = self.loop.by_digest
        directory.write_finalists(
            self._completed(outcome.prompt, proposals[digest])
            for digest, outcome in finalists.items()
        )
        directory.write_trials(_row(record) for record in records)
        write_json(
            directory.ledger,
            {
                **spent.to_dict(),
                "trials": len(records),
                "prompts": len(self.loop.by_digest),
                "finish_reason": reason,
            },
        )
        winner.save(directory.best)
        write_json(
            directory.verdict,
            {
                **verdict.to_dict(),
                "winner_prompt": selection.winner[1].prompt.digest,
                "baseline_prompt": selection.baseline[1].prompt.digest,
                "test_digest_used": reads,
                "test": {"digest": self.task.digests()["test"], "p_value_of": verdict.test},
                "seed": self.seed,
            },
        )


def _row(record: Record) -> dict[str, Any]:
    outcome = record.outcome
    row: dict[str, Any] = {"trial": record.proposal, "parameters": record.parameters}
    if outcome is None:
        spent = record.spent.to_dict()
        return {**row, "state": "failed", "reason": record.failure, "spent": spent}
    state = "repeated" if outcome.repeats is not None else "scored"
    if outcome.value is None:
        state = "dropped"
    return {
        **row,
        "state": state,
        "repeats": outcome.repeats,
        "metric": outcome.metric,
        "value": outcome.value,
        "examples": outcome.seen,
        "template": outcome.prompt.template.text,
        "verbalizer": outcome.prompt.verbalizer.as_dict(),
        "calibration": outcome.prompt.calibration.method,
        "prompt": outcome.prompt.digest,
        "spent": outcome.spent.to_dict(),
    }


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
