"""Draws: disjoint, balanced, stratified, and losing nothing."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from autoprompt.demonstrations import DemonstrationPool
from autoprompt.errors import TaskError
from autoprompt.tasks.examples import Example
from autoprompt.tasks.splits import draw_k_shot, observations, shuffled_by_label, split_off

seeds = st.integers(0, 2**32)
label_sizes = st.lists(st.integers(2, 40), min_size=2, max_size=5)


def examples_of(sizes) -> list[Example]:
    return [
        Example({"text": f"text {i} of {label}"}, f"label {label}")
        for label, size in enumerate(sizes)
        for i in range(size)
    ]


def labels_of(examples) -> Counter:
    return Counter(example.label for example in examples)


@given(label_sizes, st.sampled_from([0.25, 0.33]), seeds)
def test_split_is_stratified_and_loses_nothing(sizes, share, seed):
    examples = examples_of(sizes)
    try:
        rest, part = split_off(examples, share, seed, "test")
    except TaskError:
        assert len(examples) < 2 * len(sizes)
        return
    assert sorted(e.key for e in rest + part) == sorted(e.key for e in examples)
    wanted = max(round(share * len(examples)), len(sizes))
    for label, count in labels_of(examples).items():
        assert labels_of(rest)[label] >= 1
        assert labels_of(part)[label] >= 1
        assert abs(labels_of(part)[label] - count * wanted / len(examples)) <= 1


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=4), st.integers(1, 8), seeds, st.booleans()
)
def test_k_shot_is_balanced_and_disjoint(sizes, k, seed, allow_fewer):
    examples = examples_of(sizes)
    needed = 2 if allow_fewer else 2 * k
    try:
        train, dev = draw_k_shot(examples, k, seed, allow_fewer)
    except TaskError:
        assert min(sizes) < needed
        return
    assert min(sizes) >= needed
    assert labels_of(train) == labels_of(dev)
    assert all(
        labels_of(train)[f"label {label}"] == min(k, size // 2) for label, size in enumerate(sizes)
    )
    assert len({e.key for e in train + dev}) == len(train) + len(dev)


texts = st.text(st.sampled_from("aAb \u00e9e\u0301"), max_size=4)


@given(st.lists(st.tuples(texts, st.sampled_from("xy")), min_size=2, max_size=30), seeds)
def test_k_shot_never_leaks(pairs, seed):
    examples = [Example({"text": text}, label) for text, label in pairs]
    try:
        train, dev = draw_k_shot(examples, 2, seed, allow_fewer=True)
    except TaskError:
        return
    assert observations({"train": train, "dev": dev})[1] == []


@given(label_sizes, seeds)
def test_every_prefix_has_nearly_the_shares(sizes, seed):
    examples = examples_of(sizes)
    ordered = shuffled_by_label(examples, seed)
    assert sorted(e.key for e in ordered) == sorted(e.key for e in examples)
    whole = labels_of(examples)
    for length in range(1, len(ordered) + 1):
        counts = labels_of(ordered[:length])
        for label, count in whole.items():
            # Rounding puts one label at most half an example out, in each of the labels.
            assert abs(counts[label] - length * count / len(examples)) <= 1 + len(sizes) / 2


@given(label_sizes, st.integers(0, 4), seeds, st.integers(0, 5))
def test_demonstrations_are_so_many_of_each_label(sizes, per_label, seed, number):
    examples = examples_of(sizes)
    labels = [f"label {label}" for label in range(len(sizes))]
    pool = DemonstrationPool(examples, labels)
    drawn = pool.draw(per_label, seed, number)
    assert len({e.key for e in drawn}) == len(drawn)
    for label, size in zip(labels, sizes, strict=True):
        assert labels_of(drawn)[label] == min(per_label, size)
