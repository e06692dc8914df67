"""Trials: who is scored beside what a prompt shows of train."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_search import runner_of, scored, task

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import predict
from autoprompt.retrieval import Retrieval
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.trials import TrialRunner
from autoprompt.space_content import FIXED_SELECTIONS, ORDERS, SIMILAR

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


@pytest.mark.parametrize("select", FIXED_SELECTIONS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("draw", [0, 1])
def test_an_example_is_never_scored_with_its_answer_in_sight(
    runner: TrialRunner, select: str, order: str, draw: int
) -> None:
    """Whoever is shown counts as a guess, and as a miss; on dev nobody is shown."""
    template = runner.table.space.seeds[0].template
    candidate = Candidate(template, 0, demonstrations=2, draw=draw, select=select, order=order)
    outcome = scored(runner, candidate)
    assert outcome.scored is not None
    shown = {example.key for example in outcome.prompt.demonstrations}
    assert len(shown) == 4
    examples = runner.data.examples
    rows = [row for row, example in enumerate(examples) if example.key in shown]
    assert len(rows) == 4
    assert max(rows) < runner.data.fit_count
    likelihood = np.exp(outcome.scored.log_probabilities)
    np.testing.assert_allclose(likelihood[rows], 0.5, atol=1e-5)
    assert (outcome.scored.predictions[rows] != outcome.scored.gold[rows]).all()
    others = [row for row in range(len(examples)) if row not in rows]
    predicted = predict(outcome.prompt, runner.scorer, [examples[row] for row in others])
    np.testing.assert_allclose(outcome.scored.log_probabilities[others], predicted, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_demonstrations_for_each_input_never_hold_the_input(
    runner: TrialRunner, order: str
) -> None:
    template = runner.table.space.seeds[0].template
    candidate = Candidate(template, 0, demonstrations=2, select=SIMILAR, order=order)
    outcome = scored(runner, candidate)
    prompt = outcome.prompt
    assert prompt.retrieval == Retrieval(2, order)
    chosen_from = {example.key for example in prompt.demonstrations}
    assert chosen_from == {example.key for example in runner.task.train}
    examples = runner.data.examples
    for example, frame in zip(examples, prompt.frame.seen_by(examples), strict=True):
        assert len(frame.demonstrations) == 4
        assert not any(example.fields["text"] in shown for shown in frame.demonstrations)
        # Scored as a prompt would be that shows these demonstrations to everyone.
        alone = runner.scorer.scores(frame, [example])
        np.testing.assert_allclose(runner.scorer.scores(prompt.frame, [example]), alone, atol=1e-5)
    # And none counts as a miss for being of train.
    assert outcome.scored is not None
    predicted = predict(prompt, runner.scorer, examples)
    np.testing.assert_allclose(outcome.scored.log_probabilities, predicted, atol=1e-6)
