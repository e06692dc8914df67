"""The Optuna loop: ask, score, tell, by hand.

`Study.optimize` overshoots budgets and dies with its storage. Here every proposal has an index; the
sampler is seeded anew from (run seed, index), and a proposal that a kill interrupted is made again
under its own index, from the same history. So a resumed run ends where an uninterrupted one ends.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from autoprompt.errors import AutopromptError, SearchError
from autoprompt.objective import Scored
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import NO_NEW, Budget
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.paid import restore_paid
from autoprompt.searching.racing import Race
from autoprompt.searching.records import (
    FAILURE,
    OUTCOME,
    PROPOSAL,
    Record,
    candidate_of,
    outcome_record,
    record_of,
)
from autoprompt.searching.refinement import Step
from autoprompt.searching.stages import FIRST, OPENING, REFINED, SEED, Done, Stages
from autoprompt.searching.storage import fail_zombies
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.seeding import derive_seed
from autoprompt.tasks.examples import split_digest

KIND = "kind"
SHOWN = "prompt"  # as it reads
STUCK = 1  # repetitions in a row after which a proposal is drawn at random
STARTUP = (10, 40)  # random trials before the sampler models anything: fewest, most

log = logging.getLogger(__name__)


class StudyLoop:
    """Runs trials until the budget ends.

    Args:
        study: as `open_study` gives it.
        runner: scores a candidate; its table says what a trial may choose.
        run: where per-example scores go.
        budget: when to stop; see `Budget.check`.
        stages: says what each trial is.
        prepared: what was spent before the first trial.
    """

    def __init__(
        self,
        study: Study,
        runner: TrialRunner,
        run: RunDirectory,
        budget: Budget,
        stages: Stages,
        prepared: Spent,
    ) -> None:
        self.study = study
        self.table = runner.table
        self.runner = runner
        self.run_directory = run
        self.budget = budget
        self.stages = stages
        self.seed = runner.seed
        self.race = Race(len(runner.data.examples))
        self.best: Outcome | None = None
        self.records: list[Record] = []
        self.by_digest: dict[str, int] = {}
        self.spent = prepared
        self._templates_are_written = False
        self._restore()

    def run(self, progress: Callable[[Record, Spent], None]) -> str:
        """Run trials; returns the finish reason.

        Args:
            progress: called after each trial with its record and what the run has spent.
        """
        started = time.perf_counter() - self.spent.seconds
        while True:
            index = len(self.records)
            if index >= self.table.seeds and not self._templates_are_written:
                limit = self.budget.forwards
                # Half at most: what is written must be tried as well.
                left = None if limit is None else max(limit - self.spent.budgeted, 0) // 2
                self.spent += self.stages.write_templates(self.study, self.records, left)
                self._templates_are_written = True
            done = Done(
                tuple(self.records),
                len(self.by_digest),
                self.spent.budgeted,
                time.perf_counter() - started,
                self._repeats(),
            )
            kind, reason = self.stages.next_kind(done, self.budget)
            if kind is None:
                failing = reason == NO_NEW and self.records[index - 1].outcome is None
                return "failing trials" if failing else reason
            record = self._one_trial(index, kind)
            self._remember(record)
            progress(record, self.spent)

    # -- one trial ----------------------------------------------------------------------------

    def _one_trial(self, index: int, kind: str) -> Record:
        started = time.perf_counter()
        runner = self._runner_of(index)
        trial = self._ask(index, kind)
        step: Step | None = None
        line: Mapping[str, Any] | None = None
        extra = Spent()
        try:
            if kind == REFINED:
                line = self.stages.line_of(self.records)
                step = self.stages.step(line, self.records)
                candidate, line, extra = step.candidate, step.state, step.spent
            else:
                candidate = self._candidate(trial, index, kind)
            droppable = kind != SEED and self.stages.recipe.races
            outcome = runner.run(candidate, self.race, self._seen_before, droppable)
        except AutopromptError as error:
            if kind == SEED:
                raise type(error)(f"seed prompt {index + 1}: {error}") from error
            runner.scorer.abandon()
            seconds = time.perf_counter() - started
            spent = replace(runner.scorer.spent + extra, seconds=seconds)
            failure: dict[str, Any] = {"reason": str(error), "spent": spent.to_dict()}
            if line is not None:
                line = failure["line"] = {**line, "failed": True}
            trial.set_user_attr(FAILURE, failure)
            self.study.tell(trial, state=TrialState.FAIL)
            log.warning("trial %d failed: %s", index, error)
            return Record(index, None, str(error), spent, dict(trial.params), line)
        if step is not None:
            seconds = time.perf_counter() - started
            spent = replace(outcome.spent + extra, seconds=seconds)
            outcome = replace(outcome, spent=spent, line=line)
        self._tell(trial, outcome, kind)
        return Record(index, outcome, None, outcome.spent, dict(trial.params), outcome.line)

    def _runner_of(self, index: int) -> TrialRunner:
        """Who scores a proposal: seeds, and what shares their forward passes, are not screened."""
        exact = self.table.seeds + len(self.stages.openings)
        return self.runner.exact if index < exact else self.runner

    def _candidate(self, trial: Trial, index: int, kind: str) -> Candidate:
        if kind == FIRST:
            return self.stages.first(index)
        candidate = self.table.suggest(trial)
        if kind == SEED:
            return replace(candidate, how=f"seed prompt {index + 1}", lineage=())
        return candidate

    def _ask(self, index: int, kind: str) -> Trial:
        self.study.sampler = self._sampler(index)
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if kind in (SEED, OPENING) and not waiting:
            # Enqueued one by one, right before it is asked for: the order of trials is then the
            # same after an interruption.
            self.study.enqueue_trial(
                self.table.seed_parameters(index)
                if kind == SEED
                else self.stages.openings[index - self.table.seeds]
            )
        trial = self.study.ask()
        trial.set_user_attr(PROPOSAL, index)
        trial.set_user_attr(KIND, kind)
        return trial

    def _sampler(self, index: int) -> optuna.samplers.BaseSampler:
        likely = self.budget.likely_trials(len(self.runner.data.examples) * self.runner.variants())
        startup = min(max(STARTUP[0], likely // 3), STARTUP[1])
        seed = derive_seed(self.seed, "sampler", index)
        if self._repeats() >= STUCK:
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                n_startup_trials=startup,
            )

    def _tell(self, trial: Trial, outcome: Outcome, kind: str) -> None:
        if outcome.scored is not None:
            # Before the trial is told: what the storage calls finished has its scores.
            self._write_scores(outcome.prompt.digest, outcome.scored)
        if outcome.start == 0:  # else the rungs are of other examples
            for rung, value in outcome.reports.items():
                trial.report(value, step=rung)
        # What people look for in a dashboard; the record is for this program.
        trial.set_user_attr(SHOWN, f"{outcome.prompt.shown}   [{outcome.prompt.verbalizer}]")
        trial.set_user_attr(OUTCOME, outcome_record(outcome))
        if outcome.repeats is not None:
            # A prompt that was scored before teaches the sampler nothing: told as finished, it
            # would pull the next proposals to the same place. Optuna has no state for it but FAIL.
            self.study.tell(trial, state=TrialState.FAIL)
        elif outcome.value is None or outcome.start or kind in (FIRST, REFINED):
            # A value on dev alone does not compare, and what was not composed has no parameters:
            # the sampler is to learn from neither.
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, outcome.value)

    # -- what is known ------------------------------------------------------------------------

    def _restore(self) -> None:
        """Read finished trials, so that this process knows what an uninterrupted one knows."""
        if zombies := fail_zombies(self.study):
            log.info("%d interrupted trials will be run again", zombies)
        records = [record_of(t) for t in self.study.get_trials(deepcopy=False)]
        found = sorted((r for r in records if r is not None), key=lambda record: record.proposal)
        for record in found:
            if record.proposal != len(self.records):
                raise SearchError(
                    f"the study's trials are not in order (proposal {record.proposal} after "
                    f"{len(self.records) - 1}); the database was changed by another program"
                )
            if record.outcome is not None:
                scorer = self._runner_of(record.proposal).scorer
                restore_paid(scorer, self.runner.task, self.runner.data, record.outcome.paid)
            self._remember(record)

    def _remember(self, record: Record) -> None:
        self.records.append(record)
        self.spent += record.spent
        outcome = record.outcome
        if outcome is None:
            return
        if outcome.repeats is None:
            self.by_digest.setdefault(outcome.prompt.digest, record.proposal)
            self.race.finish(outcome.value, lambda: self.scored_of(outcome), outcome.start)
            if not outcome.start and outcome.value == self.race.incumbent:
                self.best = outcome

    def scored_of(self, outcome: Outcome) -> Scored:
        """A finished trial's per-example scores on the selection data that judges it.

        Those whose file is lost or damaged are computed again.
        """
        if outcome.scored is not None:
            return outcome.scored
        prompt, start = outcome.prompt, outcome.start
        found = self.run_directory.read_scores(prompt.digest)
        if found is not None and len(found) == outcome.seen:
            return Scored(found, self.runner.data.gold[start : start + len(found)])
        log.warning("the scores of prompt %s are lost; they are computed again", prompt.digest)
        exact = self.runner.exact
        runner = exact if outcome.precision == exact.scorer.model.precision else self.runner
        scored = runner.selection_scores(candidate_of(outcome), prompt, outcome.seen)
        self._write_scores(prompt.digest, scored)
        return scored

    def _write_scores(self, digest: str, scored: Scored) -> None:
        examples = split_digest(self.runner.data.examples)
        self.run_directory.write_scores(digest, scored.log_probabilities, examples)

    def _seen_before(self, digest: str) -> Outcome | None:
        proposal = self.by_digest.get(digest)
        if proposal is None:
            return None
        outcome = self.records[proposal].outcome
        assert outcome is not None
        return replace(outcome, repeats=proposal)

    def _repeats(self) -> int:
        count = 0
        for index in range(len(self.records) - 1, self.table.seeds - 1, -1):
            outcome = self.records[index].outcome
            if outcome is not None and outcome.repeats is None:
                break
            count += 1
        return count
