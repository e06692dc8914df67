"""What each trial of a search is, and that no kind of trial overshoots the budget."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import tiny_search
from tiny_search import scored, task

from autoprompt.errors import InputError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.pipeline import search
from autoprompt.progress import Forecast, Observer
from autoprompt.scoring.ledger import Spent
from autoprompt.searching import stages
from autoprompt.searching.budget import MAX_REPEATS, NO_NEW, Budget
from autoprompt.searching.candidates import Candidate
from autoprompt.searching.recipes import Recipe
from autoprompt.searching.records import Record, Running
from autoprompt.searching.stages import (
    COMPOSED,
    EXHAUSTED,
    FIRST,
    REFINED,
    SEED,
    Done,
    Stages,
)
from autoprompt.searching.trials import Outcome, TrialRunner
from autoprompt.searching.trigger_objective import TriggerSettings
from autoprompt.session import Session
from autoprompt.space_content import TriggerPlan
from autoprompt.spaces import SearchSpace

HEAD = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [bad], pos: [good]}
"""
SPACE = (
    HEAD
    + """
templates:
  patterns: ["{text} {stem} {mask}{end}"]
  slots:
    stem: ["it was", "this is", "very", "a film", "all", "my team", "one of the", "so"]
    end: ["", " .", " !", " story", " film ."]
triggers: {max_tokens: 2}
calibration: [none, contextual, batch]
"""
)
WORDS = "label_words: {candidates: {neg: [dull, slow], pos: [fine, warm]}}\n"
FAST = Recipe(triggers=TriggerSettings(candidates=4, batch=8))


def runner_of(model: MaskedLanguageModel, text: str = SPACE, recipe: Recipe = FAST) -> TrialRunner:
    """Scores candidates of a space as a recipe takes it."""
    return tiny_search.runner_of(model, text, narrowed=recipe.narrowed)


def record(runner: TrialRunner, proposal: int, candidate: Candidate, **state: Any) -> Record:
    """The record of a candidate that is scored."""
    outcome = scored(runner, candidate)
    line = state or None
    return Record(proposal, replace(outcome, line=line), None, outcome.spent, {}, line)


def seeds_of(runner: TrialRunner) -> list[Record]:
    """The seeds' records."""
    return [
        record(runner, n, Candidate(seed.template, runner.table.seed_words(n)))
        for n, seed in enumerate(runner.table.space.seeds)
    ]


def done(records: list[Record], forwards: int = 0, repeats: int = 0) -> Done:
    return Done(tuple(records), len(records), forwards, 0.0, repeats)


@pytest.fixture(scope="module")
def runner(tiny_model: MaskedLanguageModel) -> TrialRunner:
    return runner_of(tiny_model)


@pytest.fixture(scope="module")
def seeds(runner: TrialRunner) -> list[Record]:
    return seeds_of(runner)


# -- which kind -------------------------------------------------------------------------------


def test_seeds_come_first_whatever_the_budget_says(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found = Stages(runner, FAST)
    for number in range(2):
        assert found.next_kind(done(seeds[:number], 10**9), Budget(forwards=1)) == (SEED, "")


def test_refinement_begins_after_its_share_of_the_budget(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found, budget = Stages(runner, FAST), Budget(forwards=10**6)
    assert FAST.share_before_triggers == 0.5
    assert found.next_kind(done(seeds, 499_999), budget) == (COMPOSED, "")
    assert found.next_kind(done(seeds, 500_000), budget) == (REFINED, "")
    early = Stages(runner, replace(FAST, share_before_triggers=0.1))
    assert early.next_kind(done(seeds, 100_000), budget) == (REFINED, "")


def test_refinement_begins_where_there_is_little_new_to_compose(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found, budget = Stages(runner, FAST), Budget(forwards=10**6)
    assert found.next_kind(done(seeds, repeats=EXHAUSTED - 1), budget) == (COMPOSED, "")
    assert found.next_kind(done(seeds, repeats=EXHAUSTED), budget) == (REFINED, "")


def test_what_has_begun_goes_on_under_a_larger_budget(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found = Stages(runner, FAST)
    state = found.line_of(seeds)
    begun = [*seeds, replace(seeds[0], proposal=2, line={**state, "step": 1})]
    assert found.next_kind(done(begun, 1), Budget(forwards=10**9)) == (REFINED, "")


def test_a_recipe_that_does_not_compose_refines_at_once(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found = Stages(runner, replace(FAST, composes=False))
    assert found.next_kind(done(seeds), Budget(forwards=10**6)) == (REFINED, "")


def test_composing_goes_on_where_no_step_fits(runner: TrialRunner, seeds: list[Record]) -> None:
    found = Stages(runner, FAST)
    assert found.refiner is not None
    composed, step = runner.costs.most_forwards(), found.refiner.most_forwards()
    assert composed < step
    budget = Budget(forwards=10**6)
    assert found.next_kind(done(seeds, 10**6 - step), budget) == (REFINED, "")
    assert found.next_kind(done(seeds, 10**6 - step + 1), budget) == (COMPOSED, "")
    assert found.next_kind(done(seeds, 10**6 - composed), budget) == (COMPOSED, "")
    assert found.next_kind(done(seeds, 10**6 - composed + 1), budget) == (None, "forwards")


def test_composing_goes_on_where_all_lines_are_at_their_end(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found, budget = Stages(runner, FAST), Budget(forwards=10**6)
    records = list(seeds)
    for _ in range(20):
        if found.next_kind(done(records, 600_000), budget)[0] != REFINED:
            break
        state = {**found.line_of(records), "failed": True}
        records.append(Record(len(records), None, "reason", Spent(), {}, state))
    assert len(records) > len(seeds)
    assert found.next_kind(done(records, 600_000), budget) == (COMPOSED, "")
    finished = done(records, 600_000, repeats=MAX_REPEATS)
    assert found.next_kind(finished, budget) == (None, NO_NEW)


def test_without_triggers_there_is_nothing_to_refine(tiny_model: MaskedLanguageModel) -> None:
    runner = runner_of(tiny_model, SPACE.replace("triggers: {max_tokens: 2}\n", ""))
    found = Stages(runner, FAST)
    assert found.refiner is None
    budget = Budget(forwards=10**6)
    assert found.next_kind(done(seeds_of(runner), 900_000), budget) == (COMPOSED, "")


@pytest.mark.parametrize(
    "text",
    [
        HEAD.replace("it was {mask}", "{trigger:2} {mask}"),
        SPACE.replace("triggers: {max_tokens: 2}", "").replace('"so"]', '"so{trigger:2}"]'),
    ],
)
def test_slots_of_the_space_are_refined_without_a_plan(
    tiny_model: MaskedLanguageModel, text: str
) -> None:
    found = Stages(runner_of(tiny_model, text), FAST)
    assert found.refiner is not None
    assert found.refiner.plan == TriggerPlan()


# -- a recipe's own prompts -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["petal", "autoprompt"])
def test_a_recipes_own_prompts_come_right_after_the_seeds(
    tiny_model: MaskedLanguageModel, name: str
) -> None:
    recipe = Recipe.of(name)
    runner = runner_of(tiny_model, SPACE, recipe)
    found = Stages(runner, recipe)
    records = seeds_of(runner)
    found.write_templates(optuna.create_study(), records)
    budget = Budget(forwards=10**7)
    kinds = []
    while (kind := found.next_kind(done(records), budget)[0]) == FIRST:
        kinds.append(found.first(len(records)).how)
        records.append(record(runner, len(records), found.first(len(records))))
    assert len(kinds) == {"petal": 2, "autoprompt": 1}[name]
    assert all({"petal": "PETAL", "autoprompt": "AutoPrompt"}[name] in how for how in kinds)
    assert kind == {"petal": None, "autoprompt": REFINED}[name]
    if kind == REFINED:  # it refines its own prompt, and none of the seeds
        assert found.line_of(records)["parent"] == len(records) - 1


@pytest.mark.parametrize(
    ("name", "most"), [("manual", 2), ("petal", 4), ("lm-bff", None), ("autoprompt", None)]
)
def test_recipes_that_do_not_go_on_have_so_many_trials(
    tiny_model: MaskedLanguageModel, name: str, most: int | None
) -> None:
    recipe = Recipe.of(name)
    assert Stages(runner_of(tiny_model, SPACE, recipe), recipe).most_trials() == most


def test_the_forecast_knows_how_many_trials_there_can_be(tiny_model: MaskedLanguageModel) -> None:
    heard: list[Forecast] = []

    class Listening(Observer):
        def forecast(self, forecast: Forecast, budget: Budget) -> None:
            heard.append(forecast)

    for recipe in (Recipe.of("manual"), FAST):
        budget = Budget(forwards=3000)
        space = SearchSpace.parse(SPACE)
        search(task(), space, tiny_model, budget=budget, recipe=recipe, observer=Listening())
    manual, default = heard
    assert manual.trials == 2
    assert manual.forwards < default.forwards
    assert default.trials > 2


def test_why_the_winner_is_not_the_bars_best_is_told() -> None:
    def how(recipe: Recipe, best: float) -> str:
        stages = SimpleNamespace(recipe=recipe)
        loop = SimpleNamespace(best=SimpleNamespace(metric=best), stages=stages, by_digest="abc")
        seed = (0, SimpleNamespace(metric=0.6))
        chosen = SimpleNamespace(contenders=0, baseline=seed, kept_seed=True)
        return Session._how_chosen(SimpleNamespace(loop=loop), chosen)  # type: ignore[arg-type]

    assert how(FAST, 0.6) == "0 of 3 prompts clearly beat the best seed on the selection data"
    assert "the most accurate one, with 0.812, is not clearly likelier" in how(FAST, 0.8125)
    assert "takes the most accurate of its own" in how(Recipe.of("petal"), 0.8125)


def test_a_first_prompt_that_does_not_fit_ends_the_search(
    tiny_model: MaskedLanguageModel,
) -> None:
    recipe = Recipe.of("petal")
    runner = runner_of(tiny_model, SPACE, recipe)
    found = Stages(runner, recipe)
    records = seeds_of(runner)
    found.write_templates(optuna.create_study(), records)
    most = runner.costs.most_forwards()
    assert found.next_kind(done(records, 1000 - most), Budget(forwards=1000))[0] == FIRST
    late = found.next_kind(done(records, 1001 - most), Budget(forwards=1000))
    assert late == (None, "forwards")


# -- whole searches ---------------------------------------------------------------------------


class Heard(Observer):
    """Keeps the trials and what they spent."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.spent = Spent()

    def trial(self, record: Record, spent: Spent, best: float | None) -> None:
        self.records.append(record)
        self.spent = spent


def kind_of(record: Record, seeds: int = 2) -> str:
    if record.proposal < seeds:
        return SEED
    return REFINED if record.line else COMPOSED


@pytest.mark.parametrize(("forwards", "words"), [(60, ""), (260, WORDS), (400, ""), (480, WORDS)])
def test_a_budget_of_forwards_is_never_overshot(
    tiny_model: MaskedLanguageModel, forwards: int, words: str
) -> None:
    heard = Heard()
    space = SearchSpace.parse(SPACE + words)
    budget = Budget(forwards=forwards)
    found = search(task(), space, tiny_model, budget=budget, recipe=FAST, observer=heard)
    assert heard.spent.budgeted <= forwards
    assert sum((one.spent for one in heard.records), Spent()).budgeted == heard.spent.budgeted
    assert found.finish_reason == "forwards"  # the space is large enough
    kinds = [kind_of(one) for one in heard.records]
    assert kinds[:2] == [SEED, SEED]
    if forwards >= 400:
        assert kinds.index(REFINED) > kinds.index(COMPOSED)
        assert any(one.spent.backwards for one in heard.records)


def test_a_failed_step_closes_its_line_and_keeps_its_costs(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoprompt.errors import ScoringError
    from autoprompt.searching.triggers import TriggerSearch

    original, calls = TriggerSearch.values, []

    def values(self: TriggerSearch, *given: Any) -> Any:
        found = original(self, *given)
        calls.append(self.spent)
        if len(calls) == 1:
            raise ScoringError("broken")
        return found

    monkeypatch.setattr(TriggerSearch, "values", values)
    heard = Heard()
    search(
        task(),
        SearchSpace.parse(SPACE),
        tiny_model,
        budget=Budget(trials=9),
        recipe=FAST,
        observer=heard,
    )
    failed = [one for one in heard.records if one.outcome is None]
    assert [one.failure for one in failed] == ["broken"]
    line = failed[0].line
    assert line is not None
    assert line["failed"]
    steps = [one.line["line"] for one in heard.records if one.line and one is not failed[0]]
    assert steps
    assert line["line"] not in steps
    assert failed[0].spent.forwards == calls[0].forwards > 0
    assert failed[0].spent.backwards == calls[0].backwards > 0


def test_a_step_begins_where_the_lines_last_one_ended(
    runner: TrialRunner, seeds: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Stages(runner, FAST)
    state = found.line_of(seeds)
    step = found.step(state, seeds)
    after = record(runner, 2, step.candidate, **step.state)
    before: list[Outcome] = []
    assert found.refiner is not None
    monkeypatch.setattr(found.refiner, "step", lambda _, outcome: before.append(outcome))
    found.step(state, seeds)
    found.step(step.state, [*seeds, after])
    assert before == [seeds[state["parent"]].outcome, after.outcome]


# -- what a budget allows, and what cannot be ---------------------------------------------------


@pytest.mark.parametrize("forwards", [2_000, 4_000, 20_000])
def test_steps_are_sized_so_that_a_budget_allows_several(
    tiny_model: MaskedLanguageModel, forwards: int
) -> None:
    runner = runner_of(tiny_model, recipe=Recipe())
    whole = Stages(runner, Recipe(), None, None)
    sized = Stages(runner, Recipe(), None, Budget(forwards=forwards))
    assert whole.refiner is not None
    assert sized.refiner is not None
    assert whole.refiner.settings == TriggerSettings(batch=whole.refiner.settings.batch)
    assert 4 * sized.refiner.most_forwards() <= forwards / 2
    assert sized.refiner.settings.candidates >= stages.FEWEST_CANDIDATES


def test_a_neighbours_steps_are_not_sized(tiny_model: MaskedLanguageModel) -> None:
    runner = runner_of(tiny_model)
    made = Stages(runner, replace(Recipe(), sized=False), None, Budget(forwards=2_000))
    assert made.refiner is not None
    assert made.refiner.settings.candidates == TriggerSettings().candidates


def test_robustness_is_refused_with_a_recipe_that_picks_by_its_own_rule(
    tiny_model: MaskedLanguageModel,
) -> None:
    space = SearchSpace.parse(SPACE)
    with pytest.raises(InputError, match="recipe 'petal' picks by dev accuracy"):
        search(task(), space, tiny_model, recipe="petal", robustness="gate")


# -- several workers --------------------------------------------------------------------------


def seen(records: list[Record], *running: Running, forwards: int = 0, index: int = 0) -> Done:
    """What a worker sees while others are at something."""
    return Done(tuple(records), len(records), forwards, 0.0, 0, index, running)


def test_what_others_are_at_counts_as_spent(runner: TrialRunner, seeds: list[Record]) -> None:
    found = Stages(runner, replace(FAST, share_before_triggers=2.0))
    most = runner.costs.most_forwards()
    others = (Running(2, COMPOSED), Running(3, COMPOSED))
    budget = Budget(trials=5)
    assert found.next_kind(seen(seeds, *others, index=4), budget) == (COMPOSED, "")
    assert found.next_kind(seen(seeds, *others, index=4), Budget(trials=4)) == (None, "trials")
    budget = Budget(forwards=100 + 3 * most)
    assert found.next_kind(seen(seeds, *others, forwards=100, index=4), budget) == (COMPOSED, "")
    late = found.next_kind(seen(seeds, *others, forwards=101, index=4), budget)
    assert late == (None, "forwards")


def test_a_step_of_another_worker_counts_as_much_as_a_step_may_take(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found = Stages(runner, FAST)
    assert found.refiner is not None
    step = found.refiner.most_forwards()
    assert found.bound(REFINED) == step > found.bound(COMPOSED) == runner.costs.most_forwards()
    running = Running(2, REFINED, 0, 2)
    budget = Budget(forwards=2 * step)
    used = seen(seeds, running, forwards=step, index=3)
    assert found.next_kind(used, budget) == (None, "forwards")


def test_the_first_step_waits_for_all_trials_before(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found, budget = Stages(runner, FAST), Budget(forwards=10**6)
    composed = seen(seeds, Running(2, COMPOSED), forwards=500_000, index=3)
    assert found.next_kind(composed, budget)[0] is None
    alone = seen(seeds, forwards=500_000, index=2)
    assert found.next_kind(alone, budget) == (REFINED, "")
    assert found.lines_from(2, seeds, ()) == 2
    begun = seen(seeds, Running(2, REFINED, 0, 2), forwards=500_000, index=3)
    assert found.next_kind(begun, budget) == (REFINED, "")
    assert found.lines_from(3, seeds, begun.running) == 2


def test_no_two_workers_take_the_same_step(runner: TrialRunner, seeds: list[Record]) -> None:
    found = Stages(runner, FAST)
    running: list[Running] = []
    lines = []
    while found._line(seeds, running) is not None:
        line = found.line_of(seeds, running)
        lines.append(line["line"])
        running.append(Running(2 + len(running), REFINED, line["line"], 2))
    assert lines == list(range(len(lines)))
    assert len(lines) > 2
    # All lines are taken: who comes now composes, or waits where the recipe does not.
    budget = Budget(forwards=10**9)
    busy = seen(seeds, *running, forwards=10**8, index=20)
    assert found.next_kind(busy, budget) == (COMPOSED, "")
    only = Stages(runner, replace(FAST, composes=False))
    assert only.next_kind(busy, budget) == (None, NO_NEW)


def test_what_is_refined_does_not_change_by_what_is_finished_later(
    runner: TrialRunner, seeds: list[Record]
) -> None:
    found = Stages(runner, FAST)
    before = found.line_of(seeds)
    after = found.step(before, seeds).state
    step = replace(seeds[0], proposal=2, line=after, lines_from=2)
    better = replace(
        seeds[1],
        proposal=3,
        outcome=replace(seeds[1].outcome, value=0.0),  # type: ignore[type-var]
    )
    parents = {found.line_of([*seeds, step, better], [Running(4, REFINED, n, 2)])["parent"]
               for n in range(3)}  # fmt: skip
    assert parents <= {0, 1}


def test_a_step_that_is_run_again_is_no_step_back(runner: TrialRunner, seeds: list[Record]) -> None:
    """Proposal 2 was given back, and ran after proposal 3 had made the line's first step."""
    found = Stages(runner, replace(FAST, parents=1))
    first = dict(found.line_of(seeds))
    states = [{**first, "step": number, "stale": 0} for number in (1, 2)]
    records = [
        *seeds,
        replace(seeds[0], proposal=2, line=states[1], lines_from=2),
        replace(seeds[0], proposal=3, line=states[0], lines_from=2),
    ]
    others = [Running(9, REFINED, n, 2) for n in range(20) if n != first["line"]]
    assert found.line_of(records, others)["step"] == 2
