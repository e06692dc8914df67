"""The examples that a search selects on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.searching.selection_data import FIT_EXAMPLES, SelectionData
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task


def task(train: int, dev: int, labels: int = 2) -> Task:
    """A task with equally many examples of each label, or nearly so."""
    names = tuple(f"label{i}" for i in range(labels))

    def split(name: str, count: int) -> tuple[Example, ...]:
        return tuple(Example({"text": f"{name} {i}"}, names[i % labels]) for i in range(count))

    return Task("t", ("text",), names, "accuracy", split("a", train), split("b", dev), ())


def test_train_does_not_select_for_a_model_that_was_fitted_to_it() -> None:
    data = SelectionData.of(task(32, 32), seed=0, cross_fits=False)
    assert data.examples == data.dev
    assert data.fit_count == data.judges_from(label_fitted=True) == 0
    most = SelectionData.of(task(800, 200), seed=0, most=300, cross_fits=False)
    assert len(most.examples) == 200  # the limit is for what selects
    assert len(data.fit) == 32  # label words are fitted on it all the same


def test_all_of_a_small_task_is_used() -> None:
    data = SelectionData.of(task(32, 32), seed=0)
    assert len(data.examples) == 64
    assert data.fit_count == 32


def test_train_comes_first_then_dev() -> None:
    data = SelectionData.of(task(8, 8), seed=0)
    assert data.examples == (*data.fit, *data.dev)
    assert all(example.fields["text"].startswith("a") for example in data.fit)
    assert all(example.fields["text"].startswith("b") for example in data.dev)


def test_a_large_train_split_is_cut() -> None:
    assert len(SelectionData.of(task(2000, 32), seed=0).fit) == FIT_EXAMPLES


@given(st.integers(4, 300), st.integers(2, 300), st.integers(32, 400))
def test_a_limit_is_kept(train: int, dev: int, most: int) -> None:
    data = SelectionData.of(task(train, dev), seed=0, most=most)
    assert len(data.fit) + len(data.dev) <= max(most, 2)
    assert len(data.dev) >= min(dev, most // 2)


@given(st.integers(8, 100), st.integers(2, 5), st.integers(0, 5))
def test_every_fold_leaves_all_labels_to_fit_on(count: int, labels: int, seed: int) -> None:
    data = SelectionData.of(task(max(count, 2 * labels), 10, labels), seed)
    for fold in np.unique(data.folds):
        rest = data.fit_gold[data.folds != fold]
        assert set(rest.tolist()) == set(range(labels))


def test_folds_are_stratified() -> None:
    data = SelectionData.of(task(32, 8), seed=3)
    counts = Counter(zip(data.folds.tolist(), data.fit_gold.tolist(), strict=True))
    assert set(counts.values()) == {4}


def test_with_one_example_a_label_only_dev_is_selected_on() -> None:
    data = SelectionData.of(task(2, 10), seed=0)
    assert data.fit_count == 0
    assert data.examples == data.dev


@pytest.mark.parametrize("most", [None, 40])
def test_the_same_seed_gives_the_same_data(most: int | None) -> None:
    first, second = (SelectionData.of(task(64, 64), seed=7, most=most) for _ in range(2))
    assert first.examples == second.examples
    assert np.array_equal(first.folds, second.folds)
