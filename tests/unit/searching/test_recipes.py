"""Recipes: what they use of a space, what they try first, and what they call themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from autoprompt.errors import UnknownNameError
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.searching.candidates import CandidateTable, ModelTemplate
from autoprompt.searching.recipes import (
    BEST_ON_DEV,
    CLEAR_GAIN,
    RECIPES,
    Recipe,
    autoprompt_template,
)
from autoprompt.space_content import RECIPES as NAMES
from autoprompt.space_content import TriggerPlan
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Template

SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [bad, awful], pos: [good, fine]}
templates:
  patterns: ["{text} {stem} {mask} !"]
  slots: {stem: ["all in all", "really"]}
label_words:
  per_label: [1, 2]
  candidates: {neg: [boring], pos: [funny]}
  search: true
demonstrations: {per_label: [0, 1]}
calibration: [none, contextual, batch]
"""
NEIGHBOURS = ("manual", "petal", "lm-bff", "autoprompt")


@pytest.fixture
def space() -> SearchSpace:
    plain = SearchSpace.parse(SPACE)
    return replace(plain, triggers=TriggerPlan(5), generated=7, vocabulary=30)


def test_recipes_are_those_that_the_command_line_names() -> None:
    assert tuple(RECIPES) == NAMES == ("default", *NEIGHBOURS)
    assert all(Recipe.of(name).name == name for name in NAMES)


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError) as error:
        Recipe.of("petall")
    assert all(name in str(error.value) for name in NAMES)


def test_the_default_uses_the_space_as_it_is(space: SearchSpace) -> None:
    recipe = Recipe.of("default")
    assert recipe.narrowed(space) is space
    assert recipe.first(CandidateTable(space)) == []
    assert recipe.composes
    assert recipe.races
    assert recipe.rule == CLEAR_GAIN


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_a_neighbour_uses_nothing_of_a_space_but_its_seeds(name: str, space: SearchSpace) -> None:
    recipe = Recipe.of(name)
    narrow = recipe.narrowed(space)
    assert narrow.seeds == space.seeds
    assert (narrow.fields, narrow.labels) == (space.fields, space.labels)
    assert not narrow.patterns
    assert not narrow.slots
    assert not narrow.candidates
    assert narrow.demonstrations == (0,)
    assert narrow.calibration == ("none",)
    assert not recipe.composes
    assert not recipe.races


@pytest.mark.parametrize(
    ("name", "methods", "words", "vocabulary", "generated", "triggers"),
    [
        ("manual", None, None, 0, 0, None),
        ("petal", ("likelihood ratio",), 10, 1_000, 0, None),
        ("lm-bff", ("assignment",), 1, 10_000, 100, None),
        ("autoprompt", ("label head",), 3, 10_000, 0, TriggerPlan(3, ("before_mask",))),
    ],
)
def test_what_a_neighbour_adds(
    name: str,
    methods: tuple[str, ...] | None,
    words: int | None,
    vocabulary: int,
    generated: int,
    triggers: TriggerPlan | None,
    space: SearchSpace,
) -> None:
    narrow = Recipe.of(name).narrowed(space)
    assert narrow.fit_words == (methods is not None)
    if methods is not None:
        assert narrow.word_methods == methods
        assert narrow.words_per_label == (words, words)
    assert narrow.vocabulary == vocabulary
    assert narrow.generated == generated
    assert narrow.triggers == triggers


def test_manual_returns_the_baseline_and_the_others_the_best_on_dev() -> None:
    rules = {name: Recipe.of(name).rule for name in NEIGHBOURS}
    assert rules.pop("manual") == CLEAR_GAIN
    assert set(rules.values()) == {BEST_ON_DEV}


def first_of(name: str, space: SearchSpace, written: tuple[ModelTemplate, ...] = ()) -> list[Any]:
    recipe = Recipe.of(name)
    table = CandidateTable(recipe.narrowed(space))
    table.written, table.generator = list(written), "filled"
    table.written_with_labels = True
    return recipe.first(table)


def test_manual_tries_nothing_else(space: SearchSpace) -> None:
    assert first_of("manual", space) == []


def test_petal_tries_each_pattern_of_the_expert(space: SearchSpace) -> None:
    found = first_of("petal", space)
    assert [one.template for one in found] == [seed.template for seed in space.seeds]
    assert {(one.method, one.per_label, one.aggregation) for one in found} == {
        ("likelihood ratio", 10, "mean")
    }
    assert all(one.words is None for one in found)
    assert [one.lineage[0].text for one in found] == [seed.template.text for seed in space.seeds]


def test_lm_bff_tries_manual_and_assigned_words(space: SearchSpace) -> None:
    made = ModelTemplate(
        Template.parse("{mask} story : {text}"), ("{mask} film : {text}", "{mask} book : {text}")
    )
    manual, assigned = first_of("lm-bff", space, (made,))
    assert manual.template == assigned.template == made.template
    assert manual.words == 1  # those of the seed that was edited
    assert (assigned.words, assigned.method, assigned.per_label) == (None, "assignment", 1)
    assert manual.label_fitted
    assert assigned.label_fitted
    assert [edit.text for edit in manual.lineage] == list(made.path)


def test_autoprompt_begins_with_mask_tokens(space: SearchSpace) -> None:
    (found,) = first_of("autoprompt", space)
    assert found.template.text == "{text} {trigger:3} {mask}."
    assert (found.method, found.per_label, found.aggregation) == ("label head", 3, "logsumexp")
    assert found.triggers == ()  # blank
    assert found.label_fitted
    assert found.lineage == ()


def test_autoprompt_steps_as_the_authors_code() -> None:
    recipe = Recipe.of("autoprompt")
    settings = recipe.triggers
    assert (settings.candidates, settings.batch, settings.accumulation) == (10, 24, 1)
    assert (settings.beam, settings.flips) == (1, 1)
    assert settings.one_position
    assert settings.fresh_batch
    assert not settings.over_labels
    assert not settings.fluency
    assert not settings.anti_collapse
    assert recipe.share_before_triggers == 0
    assert recipe.parents == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("text",), "{text} {trigger:3} {mask}."),
        (("premise", "hypothesis"), "{premise} {mask} {trigger:3} {hypothesis}"),
        (("a", "b", "c"), "{a} {mask} {trigger:3} {b} {c}"),
    ],
)
def test_the_template_of_autoprompt(fields: tuple[str, ...], text: str) -> None:
    template = autoprompt_template(fields, 3)
    assert template.text == text
    assert template == Template.parse(text)


def test_lm_bff_without_a_t5_goes_by_another_name() -> None:
    t5 = cast("SentinelInfiller", object())
    shown = {
        name: (Recipe.of(name).shown_name(None), Recipe.of(name).shown_name(t5)) for name in NAMES
    }
    assert shown.pop("lm-bff") == ("lm-bff-fill", "lm-bff")
    assert all(names == (name, name) for name, names in shown.items())
