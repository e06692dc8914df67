"""From Optuna's parameters to candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from autoprompt.searching.candidates import (
    AS_WRITTEN,
    BY_MODEL,
    FITTED,
    WRITTEN,
    CandidateTable,
    ModelTemplate,
)
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Template

YAML = """
name: tiny
fields: [text]
labels: [negative, positive]
seeds:
  - template: "{text} It was {mask}."
    verbalizer: {negative: [terrible], positive: [great]}
  - template: "{text} A {mask} one."
    verbalizer: {negative: [bad, awful], positive: [good, fine]}
templates:
  patterns: ["{text} {stem} {mask}{end}"]
  slots:
    stem: ["It was", "So"]
    end: [".", "!"]
label_words: {per_label: [1, 2], candidates: {negative: [poor], positive: [nice]}}
demonstrations: {per_label: [1]}
calibration: [contextual, batch]
"""
LABELS = ("negative", "positive")


def table(text: str = YAML) -> CandidateTable:
    """The choices of a space."""
    return CandidateTable(SearchSpace.parse(text).restricted(("text",), LABELS))


class Fixed:
    """A trial that takes given values and, where none is given, the first choice."""

    def __init__(self, **values: Any) -> None:
        self.values = {name.replace("_", " "): value for name, value in values.items()}
        self.asked: list[str] = []

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked.append(name)
        value = self.values.get(name, choices[0])
        assert value in choices
        return value

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.asked.append(name)
        value = self.values.get(name, low)
        assert low <= value <= high
        return int(value)


@pytest.mark.parametrize("index", [0, 1])
def test_a_seeds_parameters_give_the_seed_as_written(index: int) -> None:
    made = table()
    parameters = {k.replace(" ", "_"): v for k, v in made.seed_parameters(index).items()}
    found = made.suggest(Fixed(**parameters))
    seed = made.space.seeds[index]
    assert found.template == seed.template
    assert found.words is not None
    assert made.verbalizers[found.words].as_dict() == {k: list(v) for k, v in seed.words.items()}
    assert (found.aggregation, found.calibration, found.demonstrations) == ("logsumexp", "none", 0)


def test_slots_are_filled_with_the_options_that_were_chosen() -> None:
    trial = Fixed(template="{text} {stem} {mask}{end}", slot_stem="So", slot_end="!")
    assert table().suggest(trial).template.text == "{text} So {mask}!"


def test_slots_are_asked_for_only_where_the_pattern_has_them() -> None:
    trial = Fixed(template="{text} It was {mask}.")
    table().suggest(trial)
    assert not any(name.startswith("slot") for name in trial.asked)


def test_fitted_words_ask_for_their_number() -> None:
    found = table().suggest(trial := Fixed(words=FITTED, words_per_label=2))
    assert (found.words, found.per_label) == (None, 2)
    assert "aggregation" in trial.asked


def test_one_word_a_label_needs_no_aggregation() -> None:
    table().suggest(trial := Fixed(words=AS_WRITTEN))
    assert "aggregation" not in trial.asked


def test_none_is_always_among_the_calibrations_and_demonstrations() -> None:
    found = table().suggest(Fixed(calibration="none", demonstrations=0))
    assert (found.calibration, found.demonstrations) == ("none", 0)


def test_a_draw_is_asked_for_only_with_demonstrations() -> None:
    table().suggest(without := Fixed(words=AS_WRITTEN, demonstrations=0))
    table().suggest(having := Fixed(words=AS_WRITTEN, demonstrations=1))
    assert "draw of demonstrations" not in without.asked
    assert "draw of demonstrations" in having.asked
    assert not {"selection of demonstrations", "order of demonstrations"} & set(having.asked)


def test_ways_to_choose_demonstrations_are_asked_for_where_there_are_several() -> None:
    several = "{per_label: [1], select: [random, class], order: [mixed, grouped]}"
    text = YAML.replace("{per_label: [1]}", several)
    parameters = {"selection of demonstrations": "class", "order of demonstrations": "grouped"}
    trial = Fixed(words=AS_WRITTEN, demonstrations=1)
    trial.values.update(parameters)
    found = table(text).suggest(trial)
    assert (found.select, found.order, found.label_fitted) == ("class", "grouped", True)
    plain = table(text).suggest(Fixed(words=AS_WRITTEN, demonstrations=1))
    assert (plain.select, plain.order, plain.label_fitted) == ("random", "mixed", False)
    assert set(parameters) <= set(trial.asked)
    table(text).suggest(without := Fixed(words=AS_WRITTEN, demonstrations=0))
    assert not set(parameters) & set(without.asked)


def test_what_is_chosen_for_each_input_is_not_drawn() -> None:
    text = YAML.replace("{per_label: [1]}", "{per_label: [1], select: [similar]}")
    trial = Fixed(words=AS_WRITTEN, demonstrations=1)
    found = table(text).suggest(trial)
    assert (found.select, found.demonstrations, found.label_fitted) == ("similar", 1, False)
    assert "draw of demonstrations" not in trial.asked


def test_a_space_without_choices_asks_for_nothing() -> None:
    text = """
name: fixed
fields: [text]
labels: [negative, positive]
seeds:
  - template: "{text} It was {mask}."
    verbalizer: {negative: [terrible], positive: [great]}
"""
    table(text).suggest(trial := Fixed())
    assert trial.asked == []


def test_templates_are_counted() -> None:
    assert table().templates == 2 + 4


# -- templates by the model -------------------------------------------------------------------

GENERATED = YAML.replace("templates:\n", "templates:\n  generated: 2\n")


def with_written(*, labels: bool) -> CandidateTable:
    """A table with one template that a model wrote in two steps from the second seed."""
    made = table(GENERATED)
    path = ("{text} A {mask} one.", "{text} A very {mask} one.")
    made.written = [ModelTemplate(Template.parse("{text} A very {mask} day."), path)]
    made.generator = "filled in by the model"
    made.written_with_labels = labels
    return made


def test_a_template_by_the_model_knows_where_it_came_from() -> None:
    made = with_written(labels=False)
    found = made.suggest(trial := Fixed(source=BY_MODEL))
    assert found.template.text == "{text} A very {mask} day."
    assert "template" not in trial.asked
    assert (found.how, found.label_fitted) == ("filled in by the model", False)
    seed, step = found.lineage
    assert (seed.how, seed.text) == ("seed prompt 2", "{text} A {mask} one.")
    assert seed.words == {"negative": ("bad", "awful"), "positive": ("good", "fine")}
    assert (step.how, step.text) == ("filled in by the model", "{text} A very {mask} one.")


def test_a_template_written_around_gold_words_is_fitted() -> None:
    assert with_written(labels=True).suggest(Fixed(source=BY_MODEL)).label_fitted
    assert not with_written(labels=True).suggest(Fixed(source=WRITTEN)).label_fitted


def test_where_the_model_wrote_nothing_the_experts_templates_are_taken() -> None:
    found = table(GENERATED).suggest(Fixed(source=BY_MODEL))
    assert found.template.text in table(GENERATED).patterns


def test_the_source_is_asked_for_only_with_templates_by_the_model() -> None:
    table().suggest(trial := Fixed())
    assert "source" not in trial.asked
    assert table(GENERATED).templates == table().templates + 2


def test_a_composed_template_descends_from_the_seed_most_like_it() -> None:
    found = table().suggest(Fixed(template="{text} {stem} {mask}{end}", slot_stem="So"))
    assert [edit.how for edit in found.lineage] == ["seed prompt 1"]
    assert found.how == "composed by the search"


def test_methods_of_fitting_are_choices() -> None:
    text = YAML.replace(
        "per_label: [1, 2],", "per_label: [1, 2], methods: [assignment, label head],"
    )
    found = table(text).suggest(Fixed(words=FITTED, word_method="label head"))
    assert (found.words, found.method) == (None, "label head")
    methods = {row["word method"] for row in table(text).opening_parameters()}
    assert methods == {"assignment", "label head"}


@pytest.mark.parametrize(
    ("stem", "tokens"),
    [
        ('["It was"]', 0),
        ('["It was", "It{trigger:2} was"]', 2),
        ('["{trigger:1}", "{trigger:2}"]', 2),
    ],
)
def test_trigger_slots_may_stand_in_any_option(stem: str, tokens: int) -> None:
    text = YAML.replace('["It was", "So"]', stem)
    assert table(text).trigger_tokens == tokens
    again = text.replace(
        "{text} {stem} {mask}{end}", "{text} {trigger:3} {stem} {mask} {stem}{end}"
    )
    assert table(again).trigger_tokens == 3 + 2 * tokens
