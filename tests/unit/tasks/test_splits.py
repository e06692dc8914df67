"""Splits that are drawn, and what is said about them."""

from collections import Counter

import pytest

from autoprompt.errors import TaskError
from autoprompt.tasks.examples import Example
from autoprompt.tasks.splits import draw_k_shot, observations, shuffled_by_label, split_off


def examples_of(**counts: int) -> list[Example]:
    return [
        Example({"text": f"{label} number {i}"}, label)
        for label, count in counts.items()
        for i in range(count)
    ]


def labels_of(examples) -> Counter:
    return Counter(example.label for example in examples)


def example(text: str, label: str = "pos") -> Example:
    return Example({"text": text}, label)


def test_split_is_stratified():
    rest, part = split_off(examples_of(neg=40, pos=80), 0.25, 0, "test")
    assert labels_of(part) == {"neg": 10, "pos": 20}
    assert labels_of(rest) == {"neg": 30, "pos": 60}


def test_split_keeps_the_order():
    examples = examples_of(neg=20, pos=20)
    for part in split_off(examples, 0.25, 0, "test"):
        assert part == [e for e in examples if e in part]


def test_split_follows_seed_and_name():
    examples = examples_of(neg=40, pos=40)
    _, part = split_off(examples, 0.25, 0, "test")
    assert split_off(examples, 0.25, 0, "test")[1] == part
    assert split_off(examples, 0.25, 1, "test")[1] != part
    assert split_off(examples, 0.25, 0, "dev")[1] != part


@pytest.mark.parametrize("seed", range(5))
def test_rare_label_is_in_both_parts(seed):
    rest, part = split_off(examples_of(common=96, rare=2, other=2), 0.25, seed, "dev")
    assert labels_of(part)["rare"] == labels_of(rest)["rare"] == 1
    assert labels_of(part)["other"] == labels_of(rest)["other"] == 1


def test_smallest_split():
    rest, part = split_off(examples_of(neg=2, pos=2), 0.25, 0, "dev")
    assert labels_of(rest) == labels_of(part) == {"neg": 1, "pos": 1}


def test_label_with_one_example_cannot_be_split():
    with pytest.raises(TaskError) as caught:
        split_off(examples_of(neg=20, pos=1), 0.25, 0, "dev")
    message = str(caught.value)
    assert "cannot split dev off 21 different examples: every label needs one in both" in message
    assert "(pos: 1); add examples or give a dev file" in message


def test_only_labels_that_cannot_be_split_are_named_and_a_few_of_them():
    many = {f"l{n:02}": 1 + n % 2 for n in range(60)}
    with pytest.raises(TaskError, match=r"\(l00: 1, l02: 1, .*, and 25 more\); add examples"):
        split_off(examples_of(**many), 0.25, 0, "test")
    with pytest.raises(TaskError, match=r"off 4 different .*\(neg: 2, pos: 2\); add"):
        split_off(examples_of(neg=2, pos=2), 0.75, 0, "test")


@pytest.mark.parametrize("k", [1, 4, 8])
def test_k_shot_draws_k_a_label_for_train_and_dev(k):
    train, dev = draw_k_shot(examples_of(neg=16, pos=40), k, 0)
    assert labels_of(train) == labels_of(dev) == {"neg": k, "pos": k}


def test_k_shot_is_disjoint():
    train, dev = draw_k_shot(examples_of(neg=16, pos=16), 8, 0)
    assert len({e.key for e in train + dev}) == 32


def test_k_shot_draws_a_repeated_text_once():
    examples = [*examples_of(neg=4, pos=4), *examples_of(neg=4, pos=4)]
    train, dev = draw_k_shot(examples, 2, 0)
    assert len({e.key for e in train + dev}) == 8


def test_k_shot_takes_texts_that_differ_in_case_for_one():
    examples = [example(text, "neg") for text in ("a", "A", " a", "b")] + examples_of(pos=4)
    with pytest.raises(TaskError, match="label 'neg' has 2"):
        draw_k_shot(examples, 2, 0)


def test_k_shot_does_not_follow_the_order_of_labels():
    examples = examples_of(neg=16, pos=16)
    train, _ = draw_k_shot(examples, 4, 0)
    again, _ = draw_k_shot(examples[16:] + examples[:16], 4, 0)
    assert train == again


@pytest.mark.parametrize("seed", [0, 7])
def test_k_shot_follows_its_seed(seed):
    examples = examples_of(neg=16, pos=16)
    assert draw_k_shot(examples, 4, seed) == draw_k_shot(examples, 4, seed)
    assert draw_k_shot(examples, 4, seed) != draw_k_shot(examples, 4, seed + 1)


def test_k_shot_mixes_the_labels():
    train, _ = draw_k_shot(examples_of(neg=16, pos=16), 8, 0)
    assert 0 < sum(e.label == "neg" for e in train[:8]) < 8


def test_k_larger_than_a_class_is_refused():
    """BAD_INPUTS 18."""
    with pytest.raises(TaskError) as caught:
        draw_k_shot(examples_of(neg=20, pos=7), 4, 0)
    assert str(caught.value) == (
        "--k-shot 4 needs 8 distinct examples a label (train and dev), label 'pos' has 7; "
        "lower k or pass --allow-fewer"
    )


def test_allow_fewer_halves_a_small_class():
    """BAD_INPUTS 18."""
    train, dev = draw_k_shot(examples_of(neg=20, pos=7), 4, 0, allow_fewer=True)
    assert labels_of(train) == labels_of(dev) == {"neg": 4, "pos": 3}


def test_allow_fewer_needs_two_examples():
    with pytest.raises(TaskError) as caught:
        draw_k_shot(examples_of(neg=20, pos=1), 4, 0, allow_fewer=True)
    assert "needs 2 distinct examples a label" in str(caught.value)
    assert "--allow-fewer" not in str(caught.value)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(k):
    with pytest.raises(TaskError, match=f"k must be at least 1, not {k}"):
        draw_k_shot(examples_of(neg=4, pos=4), k, 0)


def test_every_prefix_has_nearly_the_labels_shares():
    ordered = shuffled_by_label(examples_of(neg=30, pos=60), 0)
    for length in range(3, 91):
        assert abs(labels_of(ordered[:length])["neg"] - length / 3) <= 1


def test_rare_label_does_not_come_first():
    labels = [e.label for e in shuffled_by_label(examples_of(neg=1, pos=10), 0)]
    assert labels.index("neg") == 5


def test_ordering_by_label_loses_nothing():
    examples = examples_of(neg=5, pos=9)
    ordered = shuffled_by_label(examples, 0)
    assert sorted(e.key for e in ordered) == sorted(e.key for e in examples)


def test_ordering_by_label_follows_its_seed():
    examples = examples_of(neg=20, pos=20)
    assert shuffled_by_label(examples, 0) == shuffled_by_label(examples, 0)
    assert shuffled_by_label(examples, 0) != shuffled_by_label(examples, 1)


FINE = {
    "train": [example("a"), example("b", "neg")],
    "dev": [example("c"), example("d", "neg")],
}


def test_clean_splits_get_no_note():
    assert observations(FINE) == ([], [])


@pytest.mark.parametrize("twin", ["a", "A ", "a\n"])
def test_text_in_two_splits_is_a_leak(twin):
    """BAD_INPUTS 15."""
    notes, leaks = observations({**FINE, "test": [example(twin), example("z", "neg")]})
    assert leaks == ["1 texts of test stand in train too"]
    assert leaks[0] in notes


def test_accent_does_not_hide_a_leak():
    """BAD_INPUTS 15 and 21."""
    splits = {"train": [example("\u00e9")], "dev": [example("e\u0301")]}
    assert observations(splits)[1] == ["1 texts of dev stand in train too"]


def test_leaks_are_counted_for_each_pair_of_splits():
    splits = {name: [example("a"), example("b", "neg")] for name in ("train", "dev", "test")}
    assert observations(splits)[1] == [
        "2 texts of dev stand in train too",
        "2 texts of test stand in train too",
        "2 texts of test stand in dev too",
    ]


def test_same_text_with_two_labels_gets_a_note():
    """BAD_INPUTS 16."""
    notes, leaks = observations({"train": [example("a"), example("a", "neg")]})
    assert "1 texts stand with two labels or more" in notes
    assert leaks == []


def test_repetitions_within_a_split_are_counted():
    notes, leaks = observations({"train": [example("a"), example("a"), example("b", "neg")]})
    assert "train: 1 of 3 examples repeat another one" in notes
    assert leaks == []


def test_imbalance_shows_the_majority_baseline():
    """BAD_INPUTS 17."""
    notes, _ = observations({"dev": examples_of(neg=10, pos=30)})
    (note,) = notes
    assert "dev: labels are unbalanced; always answering 'pos' scores 0.750 accuracy" in note
    assert "`metric: macro_f1`" in note


def test_slight_imbalance_gets_no_note():
    assert observations({"dev": examples_of(neg=10, pos=29)})[0] == []


def test_empty_texts_are_kept_and_counted():
    """BAD_INPUTS 20."""
    notes, _ = observations({"train": [example(""), example(" \n"), example("b", "neg")]})
    assert "train: 2 examples have no text; they are kept" in notes


def test_pair_with_one_empty_text_is_not_empty():
    pairs = [Example({"a": "", "b": "x"}, "pos"), Example({"a": "y", "b": "x"}, "neg")]
    assert observations({"train": pairs})[0] == []


def test_label_that_a_split_lacks_gets_a_note():
    notes, _ = observations({**FINE, "test": [example("e")]})
    assert notes == ["test: no example has the label neg"]
