"""Drawing and rendering demonstrations."""

import itertools
import math
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.demonstrations import (
    DemonstrationPool,
    not_shown,
    render,
    with_demonstrations,
)
from autoprompt.errors import UnknownNameError
from autoprompt.space_content import FIXED_SELECTIONS, ORDERS
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

LABELS = ("neg", "pos")
EXAMPLES = [Example({"text": f"{label} {i}"}, label) for label in LABELS for i in range(8)]
WORDS = Verbalizer.of({"neg": ["bad", "poor"], "pos": ["good"]})


def draw(examples, labels, per_label, seed, number, select="random", order="mixed"):
    return DemonstrationPool(examples, labels).draw(per_label, seed, number, select, order)


ways = pytest.mark.parametrize(
    ("select", "order"), list(itertools.product(FIXED_SELECTIONS, ORDERS))
)


@ways
@pytest.mark.parametrize("per_label", [0, 1, 3])
def test_draw_takes_so_many_of_each_label(per_label, select, order):
    drawn = draw(EXAMPLES, LABELS, per_label, 0, 0, select, order)
    assert Counter(e.label for e in drawn) == {label: per_label for label in LABELS if per_label}


@ways
@pytest.mark.parametrize("number", [0, 5])
def test_draw_takes_no_example_twice(select, order, number):
    drawn = draw(EXAMPLES, LABELS, 8, 0, number, select, order)
    assert len({example.key for example in drawn}) == len(EXAMPLES)


@ways
@pytest.mark.parametrize("number", [0, 5])
def test_small_label_gives_what_it_has(select, order, number):
    drawn = draw(EXAMPLES[:9], LABELS, 3, 0, number, select, order)
    assert Counter(example.label for example in drawn) == {"neg": 3, "pos": 1}


def test_same_number_is_the_same_draw():
    assert draw(EXAMPLES, LABELS, 2, 0, 1) == draw(EXAMPLES, LABELS, 2, 0, 1)


@pytest.mark.parametrize(("seed", "number"), [(0, 2), (1, 1)])
def test_seed_and_number_change_the_draw(seed, number):
    assert draw(EXAMPLES, LABELS, 4, seed, number) != draw(EXAMPLES, LABELS, 4, 0, 1)


def test_labels_are_mixed():
    orders = {tuple(e.label for e in draw(EXAMPLES, LABELS, 2, 0, n)) for n in range(20)}
    assert len(orders) > 2


def test_unknown_ways_are_named():
    with pytest.raises(UnknownNameError, match="valid: random, class"):
        draw(EXAMPLES, LABELS, 1, 0, 0, select="best")
    with pytest.raises(UnknownNameError, match="valid: mixed, grouped"):
        draw(EXAMPLES, LABELS, 1, 0, 0, order="sorted")


@pytest.mark.parametrize("select", FIXED_SELECTIONS)
def test_grouped_is_by_label_in_the_task_s_order(select):
    for number in range(4):
        drawn = draw(EXAMPLES, LABELS, 3, 0, number, select, "grouped")
        assert [example.label for example in drawn] == ["neg"] * 3 + ["pos"] * 3


@pytest.mark.parametrize("select", FIXED_SELECTIONS)
def test_the_order_does_not_change_what_is_chosen(select):
    mixed = draw(EXAMPLES, LABELS, 3, 0, 2, select, "mixed")
    grouped = draw(EXAMPLES, LABELS, 3, 0, 2, select, "grouped")
    assert {e.key for e in mixed} == {e.key for e in grouped}


# -- the most representative examples -----------------------------------------------------------

REVIEWS = {
    "neg": ["a dull film", "a dull plot", "dull", "slow but fine acting", "!?"],
    "pos": ["a great film", "great acting", "so dull that it is great", "", "great great"],
}
POOL = [Example({"text": text}, label) for label, texts in REVIEWS.items() for text in texts]


def naively_ranked(pool, label):
    """Texts of a label by cosine to its centroid, by dictionaries (TF-IDF as in scikit-learn)."""
    texts = [example.fields["text"] for example in pool]
    words = {text: Counter(re.findall(r"\w+|[^\w\s]", text)) for text in texts}
    known = sorted(set().union(*words.values()))
    idf = {
        word: math.log((1 + len(texts)) / (1 + sum(word in words[text] for text in texts))) + 1
        for word in known
    }

    def vector(text):
        raw = [words[text][word] * idf[word] for word in known]
        length = math.sqrt(sum(value**2 for value in raw)) or 1
        return [value / length for value in raw]

    own = {e.fields["text"]: vector(e.fields["text"]) for e in pool if e.label == label}
    centroid = [sum(column) / len(own) for column in zip(*own.values(), strict=True)]
    near = {
        text: round(sum(a * b for a, b in zip(found, centroid, strict=True)), 9)
        for text, found in own.items()
    }
    return sorted(near, key=lambda text: (-near[text], text))


@pytest.mark.parametrize("label", LABELS)
def test_representative_examples_are_the_nearest_to_their_centroid(label):
    found = DemonstrationPool(POOL, LABELS).representative[label]
    assert [example.fields["text"] for example in found] == naively_ranked(POOL, label)


@given(st.permutations(POOL), st.integers(0, 7), st.integers(1, 3), st.sampled_from(ORDERS))
def test_what_is_representative_does_not_depend_on_the_order_of_train(pool, number, k, order):
    wanted = draw(POOL, LABELS, k, 0, number, "class", order)
    assert draw(pool, LABELS, k, 0, number, "class", order) == wanted


def test_numbers_go_through_the_representative_ones_with_the_likest_last():
    pool = DemonstrationPool(POOL, LABELS)
    ranked = pool.representative
    for number in range(8):
        drawn = pool.draw(2, 0, number, "class", "grouped")
        at = [2 * number % 5, (2 * number + 1) % 5]
        assert drawn == tuple(ranked[label][rank] for label in LABELS for rank in at[::-1])


def test_the_seed_has_no_part_in_what_is_representative():
    assert draw(POOL, LABELS, 2, 0, 1, "class", "grouped") == draw(
        POOL, LABELS, 2, 1, 1, "class", "grouped"
    )


def test_equal_texts_are_shown_once():
    twins = [Example({"text": text}, "neg") for text in ["Dull", "dull ", "dull film"]]
    drawn = draw([*twins, *POOL[5:]], LABELS, 3, 0, 0, "class", "grouped")
    assert Counter(example.label for example in drawn) == {"neg": 2, "pos": 3}


def test_texts_without_words_can_be_ranked():
    blank = [Example({"text": " " * n}, label) for label in LABELS for n in range(2)]
    assert len(draw(blank, LABELS, 1, 0, 0, "class")) == 2


def test_a_label_without_examples_shows_none():
    assert draw(POOL[:5], LABELS, 2, 0, 1, "class", "grouped")[0].label == "neg"
    assert draw([], LABELS, 2, 0, 1, "class") == ()


def test_what_is_shown_is_found_by_its_normalised_text():
    examples = [Example({"text": text}, "neg") for text in ["A  film", "a FILM", "a film!"]]
    assert not_shown(examples, [Example({"text": "a film"}, "pos")]) == examples[2:]


# -- as text ------------------------------------------------------------------------------------


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
