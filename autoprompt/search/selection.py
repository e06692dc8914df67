"""Which prompt a search returns. Significance has no say here, and the test split neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autoprompt.errors import SearchError
from autoprompt.search.study import Record
from autoprompt.search.trials import Outcome

FINALISTS = 10


@dataclass(frozen=True)
class Selection:
    """The choice made on dev.

    Attributes:
        winner: the proposal and outcome that is returned.
        baseline: those of the seed that was best on dev.
        seeds: all seeds, in their order.
        finalists: the best fully scored prompts, the winner first.
    """

    winner: tuple[int, Outcome]
    baseline: tuple[int, Outcome]
    seeds: tuple[Outcome, ...]
    finalists: tuple[Outcome, ...]

    @property
    def kept_seed(self) -> bool:
        """Whether the winner is the baseline."""
        return self.winner[1].prompt.digest == self.baseline[1].prompt.digest


def select(records: Sequence[Record], seeds: int) -> Selection:
    """The prompt with the best dev metric; log-likelihood, then age, break ties.

    Seeds take part, so that the result is never worse than the expert on dev.

    Args:
        records: finished trials; those that were dropped or failed do not count.
        seeds: how many of the first are seeds.
    """
    full = [
        (record.proposal, record.outcome)
        for record in records
        if record.outcome is not None
        and record.outcome.value is not None
        and record.outcome.repeats is None
    ]
    own = [(proposal, outcome) for proposal, outcome in full if proposal < seeds]
    if not own:
        raise SearchError("no seed prompt was scored in full; run the search again")
    ranked = sorted(full, key=lambda item: (-_value(item[1]), item[0]))
    baseline = min(own, key=lambda item: (-_value(item[1]), item[0]))
    return Selection(
        winner=ranked[0],
        baseline=baseline,
        seeds=tuple(outcome for _, outcome in own),
        finalists=tuple(outcome for _, outcome in ranked[:FINALISTS]),
    )


def _value(outcome: Outcome) -> float:
    assert outcome.value is not None
    return outcome.value
