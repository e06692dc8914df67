"""One search in an open run directory: what is told, and what follows the trials."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from autoprompt.finished_runs import FinishedRun
from autoprompt.objective import Scored
from autoprompt.progress import Observer, forecast_of
from autoprompt.report.page import write_report
from autoprompt.results import (
    Reading,
    SearchResult,
    completed,
    own_readings,
    read_test,
    reworded,
    write_run,
)
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.decision import decided
from autoprompt.searching.recipes import BEST_ON_DEV
from autoprompt.searching.records import Record
from autoprompt.searching.selection import Selection, select
from autoprompt.searching.study import StudyLoop
from autoprompt.searching.trials import Outcome
from autoprompt.tasks.examples import label_counts

log = logging.getLogger("autoprompt")


class Session:
    """One search in an open run directory.

    Args:
        loop: the trials.
        directory: the run's.
        observer: hears of the progress.
        robustness: see `pipeline.search`.
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
        data = self.runner.data
        if not data.fit_count and min(label_counts(data.fit).values()) < 2:
            self.note("a label has a single train example: prompts are compared on dev alone")
        if not self.runner.scorer.model.encoder.exact:
            self.note("this tokenizer joins text differently around a mask: prompts are ids-only")

    def result(self) -> SearchResult:
        """Run trials, select, judge, write."""
        stages, budget = self.loop.stages, self.loop.budget
        self.observer.forecast(
            forecast_of(self.runner, budget, stages.most_forwards(), stages.most_trials()), budget
        )
        reason = self.loop.run(self._heard)
        for record in self.loop.records:
            if record.failure:
                self.note(f"trial {record.proposal} failed: {record.failure}")
        selection = self._selection()
        self.note(self._how_chosen(selection))
        reading = read_test(self.study, self.runner, selection)
        if reading.shortened:
            self.note(f"{reading.shortened} inputs were too long; their text was shortened")
        result = self._summed_up(selection, reading, reason)
        self._write(selection, result)
        return result

    def _selection(self) -> Selection:
        """The choice: among the trials as they stand, or in float32 where some were screened."""
        records, metric, scored_of = self.loop.records, self.runner.task.metric, self.loop.scored_of
        seeds, rule = self.runner.table.seeds, self.loop.stages.recipe.rule
        if self.runner.exact is not self.runner:
            screened = select(records, seeds, metric, scored_of, rule)
            records, spent = decided(records, screened.finalists, self.runner.exact)
            self.after_trials += spent
        return select(records, seeds, metric, scored_of, rule, self.robustness, self._reworded)

    def _how_chosen(self, selection: Selection) -> str:
        """Why the winner is not simply what the progress bar called the best."""
        told = (
            f"{selection.contenders} of {len(self.loop.by_digest)} prompts clearly beat the best "
            f"seed on the selection data"
        )
        best, seed = self.loop.best, selection.baseline[1]
        if self.loop.stages.recipe.rule == BEST_ON_DEV:
            return f"{told}; the recipe takes the most accurate of its own on dev all the same"
        if selection.kept_seed and best and (best.metric or 0.0) > (seed.metric or 0.0):
            told += (
                f"; the most accurate one, with {best.metric:.3f}, is not clearly likelier, as the "
                f"best of many by luck is not"
            )
        return told

    def _summed_up(self, selection: Selection, reading: Reading, reason: str) -> SearchResult:
        """The result, whose ledger has all that any process spent on this search."""
        readings = own_readings(self.study)
        test_digest = self.runner.task.digests()["test"]
        return SearchResult(
            best=completed(self.runner, selection.winner, reading.winner),
            baseline=completed(self.runner, selection.baseline, reading.baseline),
            seeds=tuple(outcome.prompt for _, outcome in selection.seeds),
            verdict=reading.verdict,
            ledger=sum((own.spent for own in readings), self.loop.spent + self.after_trials),
            trials=len(self.loop.records),
            prompts=len(self.loop.by_digest),
            finish_reason=reason,
            own_test_reads=len(readings),
            test_reads=len(readings) + self.directory.neighbours_test_reads(test_digest),
        )

    def _write(self, selection: Selection, result: SearchResult) -> None:
        """Write the run's files and its report."""
        winner = self.loop.scored_of(selection.winner[1])
        said = (winner, self.loop.scored_of(selection.baseline[1]))
        write_run(self.directory, self.runner, self.loop.records, selection, said, result)
        write_report(FinishedRun.load(self.directory.path))

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
