"""Contract 5: the test split is read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprompt import results
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.pipeline import search
from autoprompt.results import SearchResult
from autoprompt.searching.budget import Budget
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.task import Task

SPACE = SearchSpace.parse(
    """
name: tiny
fields: [text]
labels: [negative, positive]
seeds:
  - template: "{text} It was {mask}."
    verbalizer: {negative: [terrible], positive: [great]}
templates:
  patterns: ["{text} {stem} {mask}."]
  slots: {stem: ["It was", "So", "A"]}
calibration: [none, batch]
"""
)


@pytest.fixture
def small_task() -> Task:
    return Task.load("sentiment", k_shot=8, seed=1)


def test_a_resumed_run_recalls_its_reading(
    tmp_path: Path,
    small_task: Task,
    tiny_model: MaskedLanguageModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(resume: bool) -> SearchResult:
        return search(
            small_task,
            SPACE,
            tiny_model,
            out=tmp_path / "run",
            budget=Budget(trials=4),
            resume=resume,
        )

    first = run(resume=False)
    ledger = first.ledger.forwards, first.ledger.tokens
    monkeypatch.setattr(results, "evaluate", lambda *_: pytest.fail("test was read again"))
    second = run(resume=True)
    assert second.verdict == first.verdict
    assert second.best.scores["test"] == first.best.scores["test"]
    assert second.test_reads == first.test_reads == 1
    assert (second.ledger.forwards, second.ledger.tokens) == ledger
