"""Drawing and rendering demonstrations."""

from collections import Counter

import pytest

from autoprompt.demonstrations import draw, render, with_demonstrations
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

LABELS = ("neg", "pos")
EXAMPLES = [Example({"text": f"{label} {i}"}, label) for label in LABELS for i in range(8)]
WORDS = Verbalizer.of({"neg": ["bad", "poor"], "pos": ["good"]})


@pytest.mark.parametrize("per_label", [0, 1, 3])
def test_draw_takes_so_many_of_each_label(per_label):
    drawn = draw(EXAMPLES, LABELS, per_label, seed=0, number=0)
    assert Counter(e.label for e in drawn) == {label: per_label for label in LABELS if per_label}


def test_draw_takes_no_example_twice():
    drawn = draw(EXAMPLES, LABELS, 8, seed=0, number=0)
    assert len({example.key for example in drawn}) == len(EXAMPLES)


def test_small_label_gives_what_it_has():
    drawn = draw(EXAMPLES[:9], LABELS, 3, seed=0, number=0)
    assert Counter(example.label for example in drawn) == {"neg": 3, "pos": 1}


def test_same_number_is_the_same_draw():
    assert draw(EXAMPLES, LABELS, 2, 0, 1) == draw(EXAMPLES, LABELS, 2, 0, 1)


@pytest.mark.parametrize(("seed", "number"), [(0, 2), (1, 1)])
def test_seed_and_number_change_the_draw(seed, number):
    assert draw(EXAMPLES, LABELS, 4, seed, number) != draw(EXAMPLES, LABELS, 4, 0, 1)


def test_labels_are_mixed():
    orders = {tuple(e.label for e in draw(EXAMPLES, LABELS, 2, 0, n)) for n in range(20)}
    assert len(orders) > 2


def test_mask_is_filled_with_the_first_word():
    template = Template.parse("{demonstrations}{text} It was {mask}.")
    text = render(template, [EXAMPLES[0], EXAMPLES[8]], WORDS)
    assert text == ("neg 0 It was bad. ", "pos 0 It was good. ")


def test_triggers_stand_in_demonstrations_too():
    template = Template.parse("{demonstrations}{text}{trigger:1} {mask}")
    assert render(template, [EXAMPLES[0]], WORDS, [" really"]) == ("neg 0 really bad ",)


def test_no_demonstrations_are_no_text():
    assert render(Template.parse("{demonstrations}{text}{mask}"), [], WORDS) == ()


@pytest.mark.parametrize("text", ["{mask}", "{demonstrations}", "}{"])
def test_braces_of_a_demonstration_are_plain(text):
    template = Template.parse("{text} {{x}} {mask}")
    assert render(template, [Example({"text": text}, "pos")], WORDS) == (f"{text} {{x}} good ",)


def test_place_is_added_in_front():
    assert with_demonstrations(Template.parse("{text} {mask}")).text == (
        "{demonstrations}{text} {mask}"
    )


def test_place_is_added_before_a_literal_brace():
    template = with_demonstrations(Template.parse("}} {text} {mask}"))
    assert template.render({"text": "x"}, "_", demonstrations="D ") == "D } x _"


def test_existing_place_is_kept():
    template = Template.parse("{text} {demonstrations} {mask}")
    assert with_demonstrations(template) is template
