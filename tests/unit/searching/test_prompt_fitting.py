"""Prompts of candidates: what they show of train, and what their calibration is fitted on."""

from __future__ import annotations

import itertools

import pytest
from tiny_search import runner_of, task

from autoprompt.demonstrations import DemonstrationPool
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.trials import TrialRunner
from autoprompt.space_content import FIXED_SELECTIONS, ORDERS

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


def test_the_candidate_says_which_demonstrations_are_shown(runner: TrialRunner) -> None:
    template = runner.table.space.seeds[0].template
    pool = DemonstrationPool(runner.task.train, runner.task.labels)
    for select, order in itertools.product(FIXED_SELECTIONS, ORDERS):
        candidate = Candidate(template, 0, demonstrations=2, draw=3, select=select, order=order)
        wanted = pool.draw(2, runner.seed, 3, select, order)
        assert runner.fitter.prompt_of(candidate).demonstrations == wanted


def test_a_batch_prior_asks_for_all_of_train_at_once(
    runner: TrialRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is no part of the prior, but in bfloat16 a batch's make-up shows in scores."""
    asked: list[tuple[str, int]] = []
    scores = runner.scorer.scores
    monkeypatch.setattr(
        runner.scorer, "scores", lambda f, e: asked.append((f.key, len(e))) or scores(f, e)
    )
    template = runner.table.space.seeds[0].template
    candidate = Candidate(template, 0, calibration="batch", demonstrations=2)
    prompt = runner.fitter.prompt_of(candidate)
    assert asked[0] == (prompt.frame.key, len(runner.data.fit))
    assert asked[1] == (prompt.frame.key, len(runner.data.fit) - 4)
