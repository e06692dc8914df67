"""What the storage keeps of a trial is all of it."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from autoprompt.lineage import Edit
from autoprompt.prompts import Prompt, TriggerTokens
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.records import (
    FAILURE,
    OUTCOME,
    PROPOSAL,
    Record,
    outcome_record,
    record_of,
)
from autoprompt.searching.trials import Outcome
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

WORDS = Verbalizer.of({"neg": ["bad"], "pos": ["good", "fine"]}, aggregation="mean")
LINE = {
    "line": 3,
    "parent": 1,
    "parent template": "{text} it {mask}",
    "place": 0,
    "beam": [[7, 8], [9, 8]],
    "step": 2,
    "stale": 1,
    "words": {"neg": ["bad"], "pos": ["good"]},
    "words by": ["likelihood ratio", 2],
    "aggregation": "mean",
    "calibration": "none",
    "offsets": [0.1 + 0.2, -1e-17],
}


def outcome(**changed: Any) -> Outcome:
    prompt = Prompt(
        Template.parse("{text} it was {trigger:2} {mask}."),
        WORDS,
        (TriggerTokens((7, 8), ("zap", " zip")),),
        lineage=(
            Edit("seed prompt 1", "{text} it {mask}", {"neg": ("bad",), "pos": ("good",)}),
            Edit("'it' as trigger tokens, step 2", "{text} zap zip {mask}"),
        ),
    )
    given: dict[str, Any] = {
        "value": -0.1 - 0.2,
        "metric": 0.75,
        "seen": 40,
        "reports": {24: -0.5, 40: -0.1 - 0.2},
        "spent": Spent(forwards=5, backwards=2, tokens=60, seconds=0.25),
        "paid": {"seen": 40, "triggers": [[7, 8]]},
        "start": 32,
        "words_by": ("likelihood ratio", 2),
        "line": LINE,
        **changed,
    }
    return Outcome(prompt, **given)


def stored(state: TrialState, **attributes: Any) -> Record | None:
    """What is read of a trial after its attributes went through JSON."""
    return record_of(
        optuna.trial.create_trial(
            state=state,
            value=-0.5 if state == TrialState.COMPLETE else None,
            user_attrs=json.loads(json.dumps(attributes)),
        )
    )


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"line": None, "words_by": None, "start": 0},
        {"value": None, "metric": None, "seen": 24, "reports": {24: -0.5}},
    ],
)
def test_an_outcome_comes_back_as_it_was(changed: dict[str, Any]) -> None:
    written = outcome(**changed)
    state = TrialState.PRUNED if written.value is None else TrialState.COMPLETE
    record = stored(state, **{PROPOSAL: 6, OUTCOME: outcome_record(written)})
    assert record is not None
    assert record.outcome == written
    assert record.outcome is not None
    assert record.outcome.prompt.lineage == written.prompt.lineage
    assert (record.proposal, record.failure, record.line) == (6, None, written.line)
    assert record.spent == written.spent


def test_a_failed_step_keeps_its_line_and_its_costs() -> None:
    failure = {
        "reason": "why",
        "spent": Spent(forwards=3, backwards=1).to_dict(),
        "line": {**LINE, "failed": True},
    }
    record = stored(TrialState.FAIL, **{PROPOSAL: 4, FAILURE: failure})
    assert record is not None
    assert (record.outcome, record.failure) == (None, "why")
    assert record.line == {**LINE, "failed": True}
    assert record.spent == Spent(forwards=3, backwards=1)


def test_a_failed_trial_that_was_no_step_has_no_line() -> None:
    failure = {"reason": "why", "spent": Spent().to_dict()}
    record = stored(TrialState.FAIL, **{PROPOSAL: 4, FAILURE: failure})
    assert record is not None
    assert record.line is None


@pytest.mark.parametrize(
    ("state", "attributes"),
    [
        (TrialState.RUNNING, {PROPOSAL: 4}),
        (TrialState.RUNNING, {PROPOSAL: 4, OUTCOME: outcome_record(outcome())}),
        (TrialState.WAITING, {}),
        (TrialState.FAIL, {}),  # killed before its proposal was noted
        (TrialState.FAIL, {PROPOSAL: 4}),
        (TrialState.FAIL, {PROPOSAL: 4, OUTCOME: outcome_record(outcome())}),
    ],
)
def test_an_interrupted_trial_is_no_record(state: TrialState, attributes: dict[str, Any]) -> None:
    assert stored(state, **attributes) is None


def test_a_repetition_is_told_as_a_failure_and_is_a_record() -> None:
    written = outcome(repeats=2)
    record = stored(TrialState.FAIL, **{PROPOSAL: 4, OUTCOME: outcome_record(written)})
    assert record is not None
    assert record.outcome == written
