"""What a search tells while it runs: a forecast, trials, notes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from autoprompt.scoring.ledger import Spent
from autoprompt.searching.budget import Budget
from autoprompt.searching.records import Record
from autoprompt.searching.trials import TrialRunner
from autoprompt.searching.trigger_slots import blank_frame
from autoprompt.tracking import Trackers
from autoprompt.wordings import wordings

FORECAST_EXAMPLES = 32


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


class Tracked(Observer):
    """Passes on what it hears, and tells trackers of each trial.

    Args:
        observer: hears all of it.
        trackers: where numbers go.
        metric: the task's.
    """

    def __init__(self, observer: Observer, trackers: Trackers, metric: str) -> None:
        self.observer, self.trackers, self.metric = observer, trackers, metric

    def forecast(self, forecast: Forecast, budget: Budget) -> None:
        """See `Observer.forecast`."""
        self.observer.forecast(forecast, budget)

    def trial(self, record: Record, spent: Spent, best: float | None) -> None:
        """See `Observer.trial`."""
        self.observer.trial(record, spent, best)
        values: dict[str, float] = {"forwards spent": spent.forwards, "seconds": spent.seconds}
        if best is not None:
            values[f"best {self.metric}"] = best
        outcome = record.outcome
        if outcome is not None and outcome.repeats is None:
            if outcome.value is not None:
                values["log-likelihood"] = outcome.value
            if outcome.metric is not None:
                values[self.metric] = outcome.metric
        self.trackers.trial(record.proposal, values)

    def note(self, text: str) -> None:
        """See `Observer.note`."""
        self.observer.note(text)


def forecast_of(
    runner: TrialRunner, budget: Budget, most_a_trial: int, most_trials: int | None = None
) -> Forecast:
    """Time a few train examples in the first seed; the rows are not kept and not paid for.

    Args:
        runner, budget: of the search.
        most_a_trial: the most forwards that one trial may take.
        most_trials: as many as there can be; None where only the budget ends them.
    """
    scorer = runner.scorer
    probe = scorer.like()
    frame = blank_frame(scorer.model.encoder, runner.table.space.seeds[0].template)
    examples = list(runner.task.train[:FORECAST_EXAMPLES])
    probe.scores(frame, examples[:1])  # the first pass of a process is slow
    started = time.perf_counter()
    probe.begin()
    probe.scores(frame, examples)
    rate = max(probe.spent.forwards, 1) / max(time.perf_counter() - started, 1e-6)
    variants = runner.costs.variants
    trials = budget.likely_trials(len(runner.data.examples) * variants)
    trials = trials if most_trials is None else min(trials, most_trials)
    searching = budget.forwards or trials * most_a_trial
    if most_trials is not None:
        searching = min(searching, most_trials * most_a_trial)
    # The winner and the best seed: once on test, and on dev under their other wordings.
    others = max(len(wordings(seed.template)) for seed in runner.table.space.seeds)
    final = 2 * (len(runner.task.test) + others * len(runner.task.dev)) * variants
    return Forecast(runner.table.templates, trials, min(searching, 10**9) + final, rate)
