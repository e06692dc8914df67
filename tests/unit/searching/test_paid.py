"""What a trial paid for: told to another scorer, it is what the live one knows, row by row."""

from __future__ import annotations

import json

import pytest

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.paid import restore_paid
from autoprompt.searching.racing import Race
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trials import TrialRunner
from autoprompt.searching.words import words_to_score
from autoprompt.space_content import CALIBRATIONS
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


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize(("words", "shown"), [(None, 0), (0, 0), (0, 2)])
def test_a_restored_scorer_believes_paid_what_was_paid(
    runner: TrialRunner, calibration: str, words: int | None, shown: int
) -> None:
    template = runner.table.space.seeds[0].template
    candidate = Candidate(template, words, calibration=calibration, demonstrations=shown)
    race = Race(len(runner.data.examples))
    outcome = runner.run(candidate, race, lambda _: None, droppable=False)
    live = runner.scorer
    restored = WordScorer(live.model, live.words, tuple(live.one_token))
    stored = json.loads(json.dumps(outcome.paid))  # a trial attribute
    restore_paid(restored, runner.task, runner.data, stored)
    assert {k: rows for k, rows in restored._paid.items() if rows} == live._paid
