"""Finished trials as the storage keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from autoprompt.prompts import Prompt
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.trials import Outcome
from autoprompt.space_content import WORD_METHODS
from autoprompt.templates import Template

PROPOSAL = "proposal"
OUTCOME = "outcome"
FAILURE = "failure"


@dataclass(frozen=True)
class Record:
    """A finished trial.

    Attributes:
        proposal: its index.
        outcome: None for a failed one.
        failure: why it failed.
        spent: by the trial.
        parameters: Optuna's.
        line: state of the trigger search that it is a step of, or None.
    """

    proposal: int
    outcome: Outcome | None
    failure: str | None
    spent: Spent
    parameters: dict[str, Any]
    line: Mapping[str, Any] | None = None


def outcome_record(outcome: Outcome) -> dict[str, Any]:
    """An outcome's JSON form; its per-example scores are kept elsewhere."""
    return {
        "prompt": outcome.prompt.to_dict(),
        "value": outcome.value,
        "metric": outcome.metric,
        "seen": outcome.seen,
        "reports": {str(rung): value for rung, value in outcome.reports.items()},
        "spent": outcome.spent.to_dict(),
        "paid": dict(outcome.paid),
        "repeats": outcome.repeats,
        "start": outcome.start,
        "words by": list(outcome.words_by) if outcome.words_by else None,
        "line": dict(outcome.line) if outcome.line else None,
        "precision": outcome.precision,
    }


def candidate_of(outcome: Outcome) -> Candidate:
    """The candidate of a finished trial, as far as its scores depend on it."""
    prompt = outcome.prompt
    template = outcome.paid["bare"]  # without demonstrations, where words were fitted
    method, per_label = outcome.words_by or (WORD_METHODS[0], 1)
    return Candidate(
        template=Template.parse(template) if template else prompt.template,
        words=None,
        per_label=per_label,
        aggregation=prompt.verbalizer.aggregation,
        calibration=prompt.calibration.method,
        method=method,
        verbalizer=None if outcome.words_by else prompt.verbalizer,
        triggers=prompt.frame.triggers,
        label_fitted=outcome.start > 0,
    )


def record_of(trial: FrozenTrial) -> Record | None:
    """A finished trial's record; None for one that was interrupted or is waiting.

    A kill may fall between the outcome and the tell: such a trial is run again, as a zombie.
    """
    attributes = trial.user_attrs
    if not trial.state.is_finished() or PROPOSAL not in attributes:
        return None
    proposal, parameters = attributes[PROPOSAL], dict(trial.params)
    if FAILURE in attributes and trial.state == TrialState.FAIL:
        failure = attributes[FAILURE]
        spent = Spent.from_dict(failure["spent"])
        line = failure.get("line")
        return Record(proposal, None, failure["reason"], spent, parameters, line)
    kept = attributes.get(OUTCOME)
    if kept is None or (trial.state == TrialState.FAIL and kept["repeats"] is None):
        return None
    words_by = kept["words by"]
    outcome = Outcome(
        prompt=Prompt.from_dict(kept["prompt"]),
        value=kept["value"],
        metric=kept["metric"],
        seen=kept["seen"],
        reports={int(rung): value for rung, value in kept["reports"].items()},
        spent=Spent.from_dict(kept["spent"]),
        paid=kept["paid"],
        repeats=kept["repeats"],
        start=kept["start"],
        words_by=(words_by[0], words_by[1]) if words_by else None,
        line=kept["line"],
        precision=kept["precision"],
    )
    return Record(proposal, outcome, None, outcome.spent, parameters, outcome.line)
