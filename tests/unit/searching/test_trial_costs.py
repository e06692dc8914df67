"""The most that a trial can cost holds, whatever a trial chooses."""

from __future__ import annotations

from tiny_search import runner_of, scored

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import Candidate, CandidateTable
from autoprompt.searching.racing import Race
from autoprompt.searching.selection_data import SelectionData
from autoprompt.searching.trials import TrialRunner
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task
from autoprompt.templates import Template

SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask}."
    verbalizer: {neg: [bad], pos: [great]}
templates:
  patterns: ["{text} so{glue}{mask}."]
  slots: {glue: [" ", " un", " ("]}
label_words: {candidates: {neg: [x], pos: [good]}}
"""
EXAMPLES = [Example({"text": f"a {n}"}, ("neg", "pos")[n % 2]) for n in range(4)]


def test_the_bound_on_forwards_holds_for_every_option(tiny_model: MaskedLanguageModel) -> None:
    task = Task("tiny", ("text",), ("neg", "pos"), "accuracy", *[tuple(EXAMPLES)] * 3)
    table = CandidateTable(SearchSpace.parse(SPACE))
    scorer = WordScorer(tiny_model, ["bad", "great"])
    runner = TrialRunner(task, SelectionData.of(task, 0), table, scorer, 0, {})
    glued = table.composed(Template.parse("{text} so un{mask}."), "")
    spent = runner.run(glued, Race(8), lambda _: None, droppable=False).spent
    assert spent.forwards == 2 * len(EXAMPLES)  # train and dev are the same texts
    assert runner.costs.variants == 2
    assert spent.forwards <= runner.costs.most_forwards()


def test_a_seed_costs_no_more_than_is_said_before(tiny_model: MaskedLanguageModel) -> None:
    runner = runner_of(tiny_model, SPACE)
    spent = scored(runner, Candidate(runner.table.space.seeds[0].template, 0)).spent
    assert 0 < spent.forwards <= runner.costs.most_for_seeds() < runner.costs.most_forwards()
