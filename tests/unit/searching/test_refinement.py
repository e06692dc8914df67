"""Trigger search, one step a trial: which lines there are, what a step gives, who judges it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_search import runner_of, scored

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import Scored
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.records import Record
from autoprompt.searching.refinement import Refiner
from autoprompt.searching.selection import select
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.trigger_objective import TriggerSettings
from autoprompt.searching.triggers import TriggerSearch
from autoprompt.space_content import TriggerPlan

SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [bad], pos: [good]}
label_words:
  candidates: {neg: [dull, slow], pos: [fine, warm]}
  methods: [label head, likelihood ratio]
"""
PLAN = TriggerPlan(2)
SETTINGS = TriggerSettings(candidates=4, batch=8, patience=2)


def seeds_of(runner: TrialRunner) -> list[tuple[int, Outcome]]:
    return [
        (n, scored(runner, Candidate(seed.template, runner.table.seed_words(n))))
        for n, seed in enumerate(runner.table.space.seeds)
    ]


@pytest.fixture
def runner(tiny_model: MaskedLanguageModel) -> TrialRunner:
    return runner_of(tiny_model, SPACE)


@pytest.fixture
def refiner(runner: TrialRunner) -> Refiner:
    return Refiner(runner, PLAN, SETTINGS)


def lines_of(refiner: Refiner, outcomes: list[tuple[int, Outcome]]) -> list[dict[str, Any]]:
    """All lines at their start, as their turns come."""
    states: list[dict[str, Any]] = []
    while (line := refiner.next_line(outcomes, states)) is not None:
        states.append({**line, "failed": True})
    return states


# -- lines ------------------------------------------------------------------------------------


def test_the_likeliest_templates_are_refined_at_each_place(
    runner: TrialRunner, refiner: Refiner
) -> None:
    outcomes = seeds_of(runner)
    lines = lines_of(refiner, outcomes)
    better = max(outcomes, key=lambda item: item[1].value or 0.0)
    assert lines[0]["parent"] == better[0]
    assert [line["line"] for line in lines] == list(range(len(lines)))
    assert {line["parent"] for line in lines} == {0, 1}
    assert lines_of(Refiner(runner, PLAN, SETTINGS, 1), outcomes) == [
        line for line in lines if line["parent"] == better[0]
    ]
    # "it was" may become triggers, and new ones may stand before the mask.
    assert {line["place"] for line in lines if line["parent"] == 0} == {0, 1}


def test_beside_the_parents_words_a_line_has_words_fitted_to_its_triggers(
    runner: TrialRunner, refiner: Refiner
) -> None:
    """The label head reads states, which a step has none of: the next method is taken."""
    lines = lines_of(refiner, seeds_of(runner))
    assert [line["words by"] for line in lines[:2]] == [None, ("likelihood ratio", 1)]
    only = runner_of(runner.scorer.model, SPACE.replace(", likelihood ratio", ""))  # type: ignore[arg-type]
    lines = lines_of(Refiner(only, PLAN, SETTINGS), seeds_of(only))
    assert {line["words by"] for line in lines} == {None}


@pytest.mark.parametrize("method", ["label head", "likelihood ratio"])
def test_a_parent_with_fitted_words_can_be_refined(
    runner: TrialRunner, refiner: Refiner, method: str
) -> None:
    template = runner.table.space.seeds[0].template
    parent = scored(runner, Candidate(template, None, method=method))
    assert parent.words_by == (method, 1)
    line = refiner.next_line([(2, parent)], [])
    assert line is not None
    assert line["words by"] == (None if method == "label head" else (method, 1))
    step = refiner.step(line, parent)
    outcome = scored(runner, step.candidate)
    kept = outcome.prompt.verbalizer.words == parent.prompt.verbalizer.words
    assert kept or method == "likelihood ratio"
    assert outcome.value is not None


def test_dropped_repeated_and_demonstrating_prompts_are_no_parents(
    runner: TrialRunner, refiner: Refiner
) -> None:
    (_, first), (_, second) = seeds_of(runner)
    shown = scored(runner, Candidate(runner.table.space.seeds[0].template, 0, demonstrations=1))
    assert shown.prompt.demonstrations
    bad = [replace(first, value=None), replace(first, repeats=0), shown]
    for outcome in bad:
        parents = {line["parent"] for line in lines_of(refiner, [(0, outcome), (1, second)])}
        assert parents == {1}
        assert refiner.next_line([(0, outcome)], []) is None


def test_lines_take_turns_until_their_patience_ends(runner: TrialRunner, refiner: Refiner) -> None:
    outcomes = seeds_of(runner)
    count = len(lines_of(refiner, outcomes))
    states: list[dict[str, Any]] = []
    turns: list[int] = []
    while (line := refiner.next_line(outcomes, states)) is not None:
        turns.append(line["line"])
        states.append({**line, "step": line["step"] + 1, "stale": line["stale"] + 1})
    assert turns == [*range(count)] * SETTINGS.patience


# -- a step -----------------------------------------------------------------------------------


def test_a_step_can_be_taken_again_by_another_process(tiny_model: MaskedLanguageModel) -> None:
    found = []
    for _ in range(2):
        runner = runner_of(tiny_model, SPACE)
        refiner = Refiner(runner, PLAN, SETTINGS)
        outcomes = seeds_of(runner)
        states: list[dict[str, Any]] = []
        for _ in range(4):
            line = refiner.next_line(outcomes, states)
            assert line is not None
            step = refiner.step(line, outcomes[line["parent"]][1])
            states.append(step.state)
            found.append((step.state, step.candidate, step.spent))
    assert found[:4] == found[4:]
    assert all(state["step"] == 1 for state, _, _ in found)


def test_what_a_step_cost_and_came_from_is_told(runner: TrialRunner, refiner: Refiner) -> None:
    outcomes = seeds_of(runner)
    line = refiner.next_line(outcomes, [])
    assert line is not None
    before = outcomes[line["parent"]][1]
    step = refiner.step(line, before)
    assert step.candidate.label_fitted
    assert step.candidate.lineage == before.prompt.lineage
    assert step.candidate.how.endswith("trigger tokens, step 1")
    assert step.spent.backwards == 8
    outcome = scored(runner, step.candidate)
    assert step.spent.budgeted + outcome.spent.budgeted <= refiner.most_forwards()
    assert outcome.prompt.lineage[:-1] == before.prompt.lineage


def test_no_step_takes_more_than_its_bound(runner: TrialRunner, refiner: Refiner) -> None:
    outcomes = seeds_of(runner)
    states: list[dict[str, Any]] = []
    spent = []
    while (line := refiner.next_line(outcomes, states)) is not None and len(states) < 16:
        step = refiner.step(line, outcomes[line["parent"]][1])
        states.append(step.state)
        spent.append((step.spent + scored(runner, step.candidate).spent).budgeted)
    assert len(spent) > 4
    assert max(spent) <= refiner.most_forwards()


def test_what_a_step_looked_at_makes_nothing_cheaper(runner: TrialRunner, refiner: Refiner) -> None:
    """A resumed run does not know of it: it would pay for what an uninterrupted one had."""
    outcomes = seeds_of(runner)
    before = {key: set(rows) for key, rows in runner.scorer._paid.items()}
    for line in lines_of(refiner, outcomes):
        refiner.step(line, outcomes[line["parent"]][1])
    assert {key: rows for key, rows in runner.scorer._paid.items() if rows} == before


def test_a_step_that_breaks_tells_the_scorer_what_it_spent(
    runner: TrialRunner, refiner: Refiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TriggerSearch.values
    known: list[Spent] = []

    def values(self: TriggerSearch, *given: Any) -> Any:
        original(self, *given)
        known.append(self.spent)
        raise ScoringError("broken")

    monkeypatch.setattr(TriggerSearch, "values", values)
    outcomes = seeds_of(runner)
    line = refiner.next_line(outcomes, [])
    assert line is not None
    with pytest.raises(ScoringError, match="broken"):
        refiner.step(line, outcomes[line["parent"]][1])
    assert runner.scorer.spent == known[0]
    assert known[0].backwards == 8


def test_a_model_without_embeddings_is_refused_at_once(
    runner: TrialRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = runner.scorer.model.module  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "get_input_embeddings", lambda: None)
    with pytest.raises(ModelError, match="gives no access to its input embeddings"):
        Refiner(runner, PLAN, SETTINGS)


# -- who judges what was found with train's labels in sight -----------------------------------


def test_fitted_prompts_are_judged_on_dev_and_paired_with_the_seed_there(
    runner: TrialRunner, refiner: Refiner
) -> None:
    outcomes = seeds_of(runner)
    line = refiner.next_line(outcomes, [])
    assert line is not None
    step = refiner.step(line, outcomes[line["parent"]][1])
    found = scored(runner, step.candidate)
    fit, dev = len(runner.data.fit), len(runner.data.dev)
    assert (found.start, found.seen) == (fit, dev)
    assert found.scored is not None
    assert len(found.scored.gold) == dev
    assert np.array_equal(found.scored.gold, runner.data.gold[fit:])
    plain = outcomes[0][1].scored
    assert plain is not None
    assert len(plain.gold) == fit + dev

    # The seed is right on all of dev and on nothing of train: dev alone must be compared.
    gold = runner.data.gold
    sure = np.where(np.arange(2) == gold[:, None], -0.1, -2.35)
    sure[:fit] = sure[:fit, ::-1]
    seed = replace(outcomes[0][1], scored=Scored(sure, gold), metric=dev / (fit + dev))
    weak = Scored(np.full((dev, 2), np.log(0.5)), gold[fit:])
    records = [
        Record(0, seed, None, Spent(), {}),
        Record(1, replace(found, scored=weak, metric=weak.metric("accuracy")), None, Spent(), {}),
    ]

    def scored_of(outcome: Outcome) -> Scored:
        assert outcome.scored is not None
        return outcome.scored

    chosen = select(records, 1, "accuracy", scored_of)
    assert chosen.kept_seed
    assert [number for number, _ in chosen.finalists] == [0, 1]
