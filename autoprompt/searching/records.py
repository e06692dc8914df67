"""Finished trials as the storage keeps them."""

from __future__ import annotations

import json
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
KIND = "kind"
WORKER = "worker"
LINE = "line"
LINES_FROM = "lines from"
OUTCOME = "outcome"
FAILURE = "failure"
SCORES = "scores"
CREATOR = "creator"  # the worker that made the study
LONGEST = 60_000  # characters of an attribute: MySQL's TEXT holds 65,535 bytes
PARTS = "in parts"


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
        lines_from: the first step of any trigger search, where it is a step of one.
        worker: who ran it.
    """

    proposal: int
    outcome: Outcome | None
    failure: str | None
    spent: Spent
    parameters: dict[str, Any]
    line: Mapping[str, Any] | None = None
    lines_from: int | None = None
    worker: str = CREATOR


@dataclass(frozen=True)
class Running:
    """A proposal that a worker is at.

    Attributes:
        proposal: its number.
        kind: of the trial.
        line: the trigger search that it is a step of, or None.
        lines_from: as a record has it.
    """

    proposal: int
    kind: str
    line: int | None = None
    lines_from: int | None = None


def running_of(trial: FrozenTrial) -> Running:
    """What is known of a running trial."""
    known = trial.user_attrs
    return Running(known[PROPOSAL], known.get(KIND, ""), known.get(LINE), known.get(LINES_FROM))


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


def in_parts(key: str, value: Any) -> dict[str, Any]:
    """A value as trial attributes that any database takes, the one that makes it count last."""
    text = json.dumps(value, ensure_ascii=True)
    if len(text) <= LONGEST:
        return {key: value}
    # The parts are written as JSON once more, which doubles quotes and backslashes at most.
    size = LONGEST // 2
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    found: dict[str, Any] = {f"{key} {number}": part for number, part in enumerate(parts)}
    return {**found, key: {PARTS: len(parts)}}


def joined(attributes: Mapping[str, Any], key: str) -> Any:
    """The value that `in_parts` made attributes of; None where there is none."""
    value = attributes.get(key)
    if isinstance(value, dict) and value.keys() == {PARTS}:
        return json.loads("".join(attributes[f"{key} {number}"] for number in range(value[PARTS])))
    return value


def has_result(trial: FrozenTrial) -> bool:
    """Whether a trial is finished and gave something: an outcome, or the reason for a failure."""
    attributes = trial.user_attrs
    if not trial.state.is_finished() or PROPOSAL not in attributes:
        return False
    if trial.state != TrialState.FAIL:
        return OUTCOME in attributes
    if FAILURE in attributes:
        return True
    kept = joined(attributes, OUTCOME)
    return kept is not None and kept["repeats"] is not None


def record_of(trial: FrozenTrial) -> Record | None:
    """A finished trial's record; None for one that was interrupted or is waiting.

    A kill may fall between the outcome and the tell: such a trial is run again, as a zombie.
    """
    if not has_result(trial):
        return None
    attributes = trial.user_attrs
    proposal, parameters = attributes[PROPOSAL], dict(trial.params)
    by = {"lines_from": attributes.get(LINES_FROM), "worker": attributes.get(WORKER, CREATOR)}
    if FAILURE in attributes and trial.state == TrialState.FAIL:
        failure = joined(attributes, FAILURE)
        spent = Spent.from_dict(failure["spent"])
        line = failure.get("line")
        return Record(proposal, None, failure["reason"], spent, parameters, line, **by)
    kept = joined(attributes, OUTCOME)
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
    return Record(proposal, outcome, None, outcome.spent, parameters, outcome.line, **by)
