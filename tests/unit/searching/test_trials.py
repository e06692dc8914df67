"""Trials: what they show of train, who is scored beside it, and what they paid for."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from autoprompt.demonstrations import DemonstrationPool
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import predict
from autoprompt.retrieval import Retrieval
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.paid import restore_paid
from autoprompt.searching.racing import Race
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.words import words_to_score
from autoprompt.space_content import CALIBRATIONS, FIXED_SELECTIONS, ORDERS, SIMILAR
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task

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
    words = ["film", "book", "plot", "acting", "was", "is", "very", "team"]
    texts = [f"{words[n % 8]} {words[(n * 3 + n // 8) % 8]} {n}" for n in range(24)]
    rows = [Example({"text": text}, ("neg", "pos")[n % 2]) for n, text in enumerate(texts)]
    splits = {"train": rows[:8], "dev": rows[8:16], "test": rows[16:]}
    own = Task(
        name="tiny",
        fields=("text",),
        labels=("neg", "pos"),
        metric="accuracy",
        **{name: tuple(part) for name, part in splits.items()},
    )
    table = CandidateTable(SearchSpace.parse(SPACE).restricted(own.fields, own.labels))
    data = SelectionData.of(own, 0)
    words_of = words_to_score(table, tiny_model, data.fit)
    known = [*words_of.seeds, *words_of.candidates]
    scorer = WordScorer(tiny_model, known, one_token=words_of.candidates)
    return TrialRunner(own, data, table, scorer, 0, words_of.by_label)


def scored(runner: TrialRunner, candidate: Candidate) -> Outcome:
    race = Race(len(runner.data.examples))
    return runner.run(candidate, race, lambda _: None, droppable=False)


# -- demonstrations -----------------------------------------------------------------------------


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


def test_the_candidate_says_which_demonstrations_are_shown(runner: TrialRunner) -> None:
    template = runner.table.space.seeds[0].template
    pool = DemonstrationPool(runner.task.train, runner.task.labels)
    for select, order in itertools.product(FIXED_SELECTIONS, ORDERS):
        candidate = Candidate(template, 0, demonstrations=2, draw=3, select=select, order=order)
        wanted = pool.draw(2, runner.seed, 3, select, order)
        assert runner.prompt_of(candidate).demonstrations == wanted


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
    prompt = runner.prompt_of(candidate)
    assert asked[0] == (prompt.frame.key, len(runner.data.fit))
    assert asked[1] == (prompt.frame.key, len(runner.data.fit) - 4)


# -- what was paid for --------------------------------------------------------------------------


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
