"""The Optuna loop: ask, score, tell, by hand.

`Study.optimize` overshoots budgets and dies with its storage. Here every proposal has an index; the
sampler is seeded anew from (run seed, index), and a proposal that a kill interrupted is made again
under its own index, from the same history. So a resumed run ends where an uninterrupted one ends.

Any number of workers go through this loop on one study: one made it and holds its run directory,
the others joined it. Each looks at what all have finished and are at, and claims the next proposal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from autoprompt.errors import AutopromptError, OutageError, SearchError
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import NO_NEW, Budget
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.claims import Claims, LostTrialError, View
from autoprompt.searching.heartbeat import GRACE, Heartbeat
from autoprompt.searching.knowledge import Knowledge
from autoprompt.searching.patience import storage_of
from autoprompt.searching.records import (
    FAILURE,
    LINES_FROM,
    OUTCOME,
    WORKER,
    Record,
    in_parts,
    outcome_record,
)
from autoprompt.searching.refinement import Step
from autoprompt.searching.sampling import sampler_of
from autoprompt.searching.shared_limits import SharedLimits
from autoprompt.searching.stages import (
    FIRST,
    OPENING,
    REFINED,
    SEED,
    Done,
    Stages,
)
from autoprompt.searching.trials import Outcome, TrialRunner

SHOWN = "prompt"  # as it reads
MOST_SHOWN = 1000  # characters
MOST_DEATHS = 3  # workers that may die on a proposal before it counts as failed
POLL = (0.1, 1.0)  # seconds between looks while others are at work: first, longest
IDLE = 1800.0  # seconds that a worker waits for a search in which nothing goes on

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """How a process takes part in a search.

    Attributes:
        creates: whether it made the study and holds the run directory: only it scores the seeds,
            writes templates, and ends the search.
        shared: whether others may not see the run directory: scores are then kept in the study.
        grace: seconds without a sign of life after which a trial is run again.
    """

    creates: bool = True
    shared: bool = False
    grace: float = GRACE


class StudyLoop(Knowledge):
    """Runs trials until the budget ends.

    Args:
        study: as `open_study` or `join_study` gives it.
        runner: scores a candidate; its table says what a trial may choose.
        run: where per-example scores go; None for a worker that does not see it.
        budget: when to stop; see `Budget.check`. Who joins takes the limits of the study.
        stages: says what each trial is.
        prepared: what was spent before the first trial.
        worker: how this process takes part.
    """

    def __init__(
        self,
        study: Study,
        runner: TrialRunner,
        run: RunDirectory | None,
        budget: Budget,
        stages: Stages,
        prepared: Spent,
        worker: Worker | None = None,
    ) -> None:
        super().__init__(runner, stages, run, prepared, (worker or Worker()).shared)
        self.study = study
        self.budget = budget
        self.worker = worker or Worker()
        self._templates_are_written = False
        self._heartbeat = Heartbeat(study, storage_of(study), self.worker.grace)
        self._claims = Claims(study, self._heartbeat, self.worker.creates)
        self.name = self._claims.name
        self._deaths: Mapping[int, int] = {}
        self._limits: SharedLimits | None = None  # as a worker hears them
        self._restore()

    def run(self, progress: Callable[[Record, Spent], None]) -> str:
        """Run trials; returns the finish reason.

        Args:
            progress: called after each trial, of any worker, with its record and what the search
                has spent.
        """
        started = time.perf_counter() - self.own_seconds
        if self.worker.creates:
            SharedLimits.from_now(self.budget, self.own_seconds).publish(self.study)
        pause, idle_since = POLL[0], time.monotonic()
        with self._heartbeat:
            while True:
                view = self._claims.view()
                self._take_in(view.finished, progress)
                record, reason = self._next(view, started)
                if record is not None:
                    progress(self.by_proposal[record.proposal], self.spent)
                elif reason and not view.running:
                    return reason
                if record is not None or view.running or view.finished:
                    idle_since = time.monotonic()
                if record is not None:
                    pause = POLL[0]
                    continue
                if time.monotonic() - idle_since > IDLE:
                    raise SearchError(
                        f"nothing has gone on in this search for {IDLE:.0f} seconds: the process "
                        f"that began it is gone; go on with it by `autoprompt search --resume`"
                    )
                time.sleep(pause)
                pause = min(pause * 1.5, POLL[1])

    def _next(self, view: View, started: float) -> tuple[Record | None, str]:
        """One trial's record, or None and why there is none to run now ("": look again)."""
        index = view.next
        creates = self.worker.creates
        if not creates:
            if not self._heard_limits():
                return None, ""
            if index < self.table.seeds or any(p < self.table.seeds for p in view.running):
                return None, ""
        if index >= self.table.seeds and not self._templates_are_written:
            if not creates and self.stages.writer.is_awaited(self.study):
                return None, ""
            limit = self.budget.forwards
            # Half at most: what is written must be tried as well.
            left = None if limit is None else max(limit - self.spent.budgeted, 0) // 2
            self.spent += self.stages.write_templates(self.study, self.records, left)
            self._templates_are_written = True
        done = Done(
            tuple(self.records),
            len(self.by_digest),
            self.spent.budgeted,
            self._seconds(started),
            self._repeats(),
            index,
            tuple(view.running.values()),
        )
        kind, reason = self.stages.next_kind(done, self.budget)
        if kind is None:
            failing = reason == NO_NEW and self.records[-1].outcome is None
            return None, "failing trials" if failing else reason
        self._deaths = view.deaths
        try:
            return self._one_trial(done, index, kind), ""
        except LostTrialError:
            log.warning("proposal %d was given to another worker; its result is discarded", index)
            self._runner_of(index).scorer.abandon()
            return None, ""

    # -- one trial ----------------------------------------------------------------------------

    def _one_trial(self, done: Done, index: int, kind: str) -> Record | None:
        """A trial's record; None where another worker claimed the proposal first.

        Raises:
            LostTrialError: the trial was taken from this worker, which was silent for too long.
        """
        started = time.perf_counter()
        line = self.stages.line_of(self.records, done.running) if kind == REFINED else None
        trial = self._claim(done, index, kind, line)
        if trial is None:
            return None
        try:
            record = self._run(trial, index, kind, line, started)
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise LostTrialError from error
        except LostTrialError:
            raise
        except BaseException:
            self._claims.give_back(trial)
            raise
        self._remember(record)
        return record

    def _run(
        self,
        trial: Trial,
        index: int,
        kind: str,
        line: Mapping[str, Any] | None,
        started: float,
    ) -> Record:
        """Run a claimed trial, and tell the study what came of it.

        An outage, and an error in a seed, end the search; any other error of this package is the
        failure of one trial.
        """
        runner = self._runner_of(index)
        by = {"worker": trial.user_attrs[WORKER], "lines_from": trial.user_attrs.get(LINES_FROM)}
        step: Step | None = None
        extra = Spent()
        try:
            if self._deaths.get(index, 0) >= MOST_DEATHS:
                runner.scorer.begin()
                raise SearchError(f"{self._deaths[index]} workers died while they ran it")
            if line is not None:
                step = self.stages.step(line, self.records)
                candidate, line, extra = step.candidate, step.state, step.spent
            else:
                candidate = self._candidate(trial, index, kind)
            droppable = kind != SEED and self.stages.recipe.races
            outcome = runner.run(candidate, self.race, self._seen_before, droppable)
        except OutageError:
            raise
        except AutopromptError as error:
            if kind == SEED:
                raise type(error)(f"seed prompt {index + 1}: {error}") from error
            runner.scorer.abandon()
            seconds = time.perf_counter() - started
            spent = replace(runner.scorer.spent + extra, seconds=seconds)
            failure: dict[str, Any] = {"reason": str(error), "spent": spent.to_dict()}
            if line is not None:
                line = failure["line"] = {**line, "failed": True}
            self._claims.note(trial, in_parts(FAILURE, failure))
            self._claims.tell(trial, TrialState.FAIL)
            log.warning("trial %d failed: %s", index, error)
            return Record(index, None, str(error), spent, dict(trial.params), line, **by)
        if step is not None:
            outcome = replace(outcome, line=line)
        # What it took to propose the trial counts: for a prompt scored before it is all there is.
        seconds = time.perf_counter() - started
        outcome = replace(outcome, spent=replace(outcome.spent + extra, seconds=seconds))
        self._tell(trial, outcome, kind)
        params = dict(trial.params)
        return Record(index, outcome, None, outcome.spent, params, outcome.line, **by)

    def _candidate(self, trial: Trial, index: int, kind: str) -> Candidate:
        if kind == FIRST:
            return self.stages.first(index)
        candidate = self.table.suggest(trial)
        if kind == SEED:
            return replace(candidate, how=f"seed prompt {index + 1}", lineage=())
        return candidate

    def _claim(
        self, done: Done, index: int, kind: str, line: Mapping[str, Any] | None
    ) -> Trial | None:
        fixed: Mapping[str, Any] | None = None
        if kind == SEED:
            fixed = self.table.seed_parameters(index)
        elif kind == OPENING:
            fixed = self.stages.openings[index - self.table.seeds]
        number = lines_from = None
        if line is not None:
            number = line["line"]
            lines_from = self.stages.lines_from(index, self.records, done.running)
        return self._claims.claim(index, kind, self._sampler(index), fixed, number, lines_from)

    def _sampler(self, index: int) -> BaseSampler:
        forwards = len(self.runner.data.examples) * self.runner.costs.variants
        likely = self.budget.likely_trials(forwards)
        return sampler_of(self.seed, index, likely, self._repeats())

    def _tell(self, trial: Trial, outcome: Outcome, kind: str) -> None:
        """Keep a trial's outcome, and finish it in a state that suits the sampler."""
        if outcome.scored is not None:
            # Before the trial is told: what the storage calls finished has its scores.
            kept = self._scores.keep(outcome.prompt.digest, outcome.scored)
            self._claims.note(trial, kept)
        start = outcome.start
        reports = {
            start + seen: self.race.on_all(value, start, seen)
            for seen, value in outcome.reports.items()
        }
        self._claims.report(trial, reports)
        # What people look for in a dashboard; the record is for this program.
        shown = f"{outcome.prompt.shown}   [{outcome.prompt.verbalizer}]"
        self._claims.note(
            trial, {SHOWN: shown[:MOST_SHOWN], **in_parts(OUTCOME, outcome_record(outcome))}
        )
        if outcome.repeats is not None:
            # A prompt that was scored before teaches the sampler nothing: told as finished, it
            # would pull the next proposals to the same place. Optuna has no state for it but FAIL.
            self._claims.tell(trial, TrialState.FAIL)
        elif outcome.value is None or kind in (FIRST, REFINED):
            # What was not composed has no parameters that the sampler could learn from.
            self._claims.tell(trial, TrialState.PRUNED)
        else:
            value = self.race.on_all(outcome.value, start, outcome.seen)
            self._claims.tell(trial, TrialState.COMPLETE, value)

    # -- what is known ------------------------------------------------------------------------

    def _restore(self) -> None:
        """Read finished trials, so that this process knows what an uninterrupted one knows."""
        if self.worker.creates and (zombies := self._claims.give_back_own()):
            log.info("%d interrupted trials will be run again", zombies)
        self._take_in(self._claims.view().finished)

    # -- what others have said --------------------------------------------------------------------

    def _seconds(self, started: float) -> float:
        """Of the budget: since the search began, on the creator's clock."""
        known = None if self._limits is None else self._limits.seconds_used()
        return time.perf_counter() - started if known is None else known

    def _heard_limits(self) -> bool:
        """Take the limits that the search's creator has set, once it has."""
        self._limits = SharedLimits.of(self.study)
        if self._limits is not None:
            self.budget = self._limits.budget
        return self._limits is not None
