"""What a trial paid for is told to the next process in full."""

from __future__ import annotations

import json

import pytest
from tiny_search import runner_of, scored, task

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.paid import restore_paid
from autoprompt.searching.trials import TrialRunner
from autoprompt.space_content import CALIBRATIONS, SIMILAR

SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
label_words: {candidates: {neg: [dull, slow], pos: [fine, warm]}}
demonstrations: {per_label: [0, 1, 2]}
"""


@pytest.fixture
def runner(tiny_model: MaskedLanguageModel) -> TrialRunner:
    return runner_of(tiny_model, SPACE, task(dev=8))


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize(
    ("words", "shown", "select"),
    [(None, 0, None), (0, 0, None), (0, 2, "random"), (0, 2, "class"), (0, 2, SIMILAR)],
)
def test_a_restored_scorer_believes_paid_what_was_paid(
    runner: TrialRunner, calibration: str, words: int | None, shown: int, select: str | None
) -> None:
    template = runner.table.space.seeds[0].template
    candidate = Candidate(
        template,
        words,
        calibration=calibration,
        demonstrations=shown,
        select=select or "random",
        label_fitted=select == "class",
    )
    outcome = scored(runner, candidate)
    live = runner.scorer
    restored = WordScorer(live.model, live.words, tuple(live.one_token))
    stored = json.loads(json.dumps(outcome.paid))  # a trial attribute
    restore_paid(restored, runner.task, runner.data, stored)
    assert {k: rows for k, rows in restored._paid.items() if rows} == live._paid
