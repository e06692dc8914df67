"""The last word in float32: what was screened in less is scored again before one is chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from autoprompt.scoring.ledger import Spent
from autoprompt.searching.records import Record, candidate_of
from autoprompt.searching.selection import Item
from autoprompt.searching.trials import TrialRunner

RESCORED = 5  # screened finalists that float32 scores again


def decided(
    records: Sequence[Record], finalists: Iterable[Item], runner: TrialRunner
) -> tuple[list[Record], Spent]:
    """Trials as a choice in float32 may see them.

    Args:
        records: of a search; some of them screened in less precision than the runner's.
        finalists: the best of them as they were scored, the best first.
        runner: scores them again.

    Returns:
        The records: finalists with scores of `runner`, and all others that were only screened
        without scores, as if the race had dropped them; and what the scores cost.
    """
    precision = runner.scorer.model.precision
    chosen = [item for item in finalists if item[1].precision != precision][:RESCORED]
    exact = {
        proposal: runner.rescored(candidate_of(outcome), outcome) for proposal, outcome in chosen
    }
    spent = sum((outcome.spent for outcome in exact.values()), Spent())
    found = []
    for record in records:
        outcome = record.outcome
        if record.proposal in exact:
            outcome = exact[record.proposal]
        elif outcome is not None and outcome.precision != precision:
            outcome = replace(outcome, value=None, metric=None)
        found.append(replace(record, outcome=outcome))
    return found, spent
