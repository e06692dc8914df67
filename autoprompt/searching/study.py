"""The Optuna loop: ask, score, tell, by hand.

`Study.optimize` overshoots budgets and dies with its storage. Here every proposal has an index; the
sampler is seeded anew from (run seed, index), and a proposal that a kill interrupted is made again
under its own index, from the same history. So a resumed run ends where an uninterrupted one ends.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoprompt.errors import AutopromptError, SearchError
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import NO_NEW, Budget
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.racing import Race
from autoprompt.searching.storage import fail_zombies
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.seeding import derive_seed
from autoprompt.tasks.examples import split_digest

PROPOSAL = "proposal"
OUTCOME = "outcome"
FAILURE = "failure"
STUCK = 1  # repetitions in a row after which a proposal is drawn at random
STARTUP = (10, 40)  # random trials before the sampler models anything: fewest, most

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """A finished trial as the storage keeps it.

    Attributes:
        proposal: its index.
        outcome: None for a failed one.
        failure: why it failed.
        spent: by the trial.
        parameters: Optuna's.
    """

    proposal: int
    outcome: Outcome | None
    failure: str | None
    spent: Spent
    parameters: dict[str, Any]


class StudyLoop:
    """Runs trials until the budget ends.

    Args:
        study: as `open_study` gives it.
        table: what a trial may choose.
        runner: scores a candidate.
        run: where per-example scores go.
        budget: when to stop; see `Budget.check`.
        seed: the run's seed.
    """

    def __init__(
        self,
        study: Study,
        table: CandidateTable,
        runner: TrialRunner,
        run: RunDirectory,
        budget: Budget,
        seed: int,
    ) -> None:
        self.study = study
        self.table = table
        self.runner = runner
        self.run_directory = run
        self.budget = budget
        self.seed = seed
        self.race = Race()
        self.best: Outcome | None = None
        self.records: dict[int, Record] = {}
        self.by_digest: dict[str, int] = {}
        self.spent = Spent()
        self._restore()

    def run(self, progress: Callable[[Record, Spent], None]) -> str:
        """Run trials; returns the finish reason.

        Args:
            progress: called after each trial with its record and what the run has spent.
        """
        seeds = self.table.seeds
        bound = self.runner.most_forwards()
        started = time.perf_counter() - self.spent.seconds
        while True:
            index = len(self.records)
            reason = self.budget.finish_reason(
                len(self.by_digest),
                self.spent.forwards,
                time.perf_counter() - started,
                bound,
                self._repeats(),
            )
            if reason is not None and index >= seeds:
                failing = reason == NO_NEW and self.records[index - 1].outcome is None
                return "failing trials" if failing else reason
            record = self._one_trial(index)
            self._remember(record)
            progress(record, self.spent)

    # -- one trial ----------------------------------------------------------------------------

    def _one_trial(self, index: int) -> Record:
        started = time.perf_counter()
        trial = self._ask(index)
        is_seed = index < self.table.seeds
        try:
            outcome = self.runner.run(
                self.table.suggest(trial), self.race, self._seen_before, droppable=not is_seed
            )
        except AutopromptError as error:
            if is_seed:
                raise type(error)(f"seed prompt {index + 1}: {error}") from error
            self.runner.scorer.abandon()
            spent = replace(self.runner.scorer.spent, seconds=time.perf_counter() - started)
            trial.set_user_attr(FAILURE, {"reason": str(error), "spent": spent.to_dict()})
            self.study.tell(trial, state=TrialState.FAIL)
            log.warning("trial %d failed: %s", index, error)
            return Record(index, None, str(error), spent, dict(trial.params))
        self._tell(trial, outcome)
        return Record(index, outcome, None, outcome.spent, dict(trial.params))

    def _ask(self, index: int) -> Trial:
        self.study.sampler = self._sampler(index)
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if index < self.table.seeds and not waiting:
            # Enqueued one by one, right before it is asked for: the order of trials is then the
            # same after an interruption.
            self.study.enqueue_trial(self.table.seed_parameters(index))
        trial = self.study.ask()
        trial.set_user_attr(PROPOSAL, index)
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

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.scored is not None:
            # Before the trial is told: what the storage calls finished has its scores.
            self.run_directory.write_scores(
                outcome.prompt.digest,
                outcome.scored.log_probabilities,
                split_digest(self.runner.data.examples),
            )
        for rung, value in outcome.reports.items():
            trial.report(value, step=rung)
        trial.set_user_attr(OUTCOME, _to_record(outcome))
        if outcome.repeats is not None:
            # A prompt that was scored before teaches the sampler nothing: told as finished, it
            # would pull the next proposals to the same place. Optuna has no state for it but FAIL.
            self.study.tell(trial, state=TrialState.FAIL)
        elif outcome.value is None:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, outcome.value)

    # -- what is known ------------------------------------------------------------------------

    def _restore(self) -> None:
        """Read finished trials, so that this process knows what an uninterrupted one knows."""
        if zombies := fail_zombies(self.study):
            log.info("%d interrupted trials will be run again", zombies)
        records = [_from_trial(t) for t in self.study.get_trials(deepcopy=False)]
        found = sorted((r for r in records if r is not None), key=lambda record: record.proposal)
        for record in found:
            if record.proposal != len(self.records):
                raise SearchError(
                    f"the study's trials are not in order (proposal {record.proposal} after "
                    f"{len(self.records) - 1}); the database was changed by another program"
                )
            self._remember(record)
            if record.outcome is not None:
                self.runner.restore_paid(record.outcome.paid)

    def _remember(self, record: Record) -> None:
        self.records[record.proposal] = record
        self.spent += record.spent
        outcome = record.outcome
        if outcome is None:
            return
        if outcome.repeats is None:
            self.by_digest.setdefault(outcome.prompt.digest, record.proposal)
            self.race.finish(outcome.reports, outcome.value)
            if outcome.value is not None and outcome.value == self.race.incumbent:
                self.best = outcome

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


def _to_record(outcome: Outcome) -> dict[str, Any]:
    return {
        "prompt": outcome.prompt.to_dict(),
        "value": outcome.value,
        "metric": outcome.metric,
        "seen": outcome.seen,
        "reports": {str(rung): value for rung, value in outcome.reports.items()},
        "spent": outcome.spent.to_dict(),
        "paid": dict(outcome.paid),
        "repeats": outcome.repeats,
    }


def _from_trial(trial: FrozenTrial) -> Record | None:
    """A finished trial's record; None for one that was interrupted or is waiting.

    A kill may fall between the outcome and the tell: such a trial is run again, as a zombie.
    """
    attributes = trial.user_attrs
    if not trial.state.is_finished() or PROPOSAL not in attributes:
        return None
    if FAILURE in attributes and trial.state == TrialState.FAIL:
        failure = attributes[FAILURE]
        spent = Spent.from_dict(failure["spent"])
        return Record(attributes[PROPOSAL], None, failure["reason"], spent, dict(trial.params))
    kept = attributes.get(OUTCOME)
    if kept is None or (trial.state == TrialState.FAIL and kept["repeats"] is None):
        return None
    outcome = Outcome(
        prompt=Prompt.from_dict(kept["prompt"]),
        value=kept["value"],
        metric=kept["metric"],
        seen=kept["seen"],
        reports={int(rung): value for rung, value in kept["reports"].items()},
        spent=Spent.from_dict(kept["spent"]),
        paid=kept["paid"],
        repeats=kept["repeats"],
    )
    return Record(attributes[PROPOSAL], outcome, None, outcome.spent, dict(trial.params))
