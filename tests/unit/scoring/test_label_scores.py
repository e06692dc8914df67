"""Label scores against a naive loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoprompt.errors import UnknownNameError
from autoprompt.scoring.label_scores import label_scores, log_softmax

WORDS = 6
word_scores = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.just(WORDS)),
    elements=st.floats(-80, 0, width=32),
)
columns = st.lists(
    st.lists(st.integers(0, WORDS - 1), min_size=1, max_size=4), min_size=1, max_size=4
)


def naive(row: np.ndarray, group: list[int], aggregation: str) -> float:
    values = [float(row[column]) for column in group]
    if aggregation == "mean":
        return sum(values) / len(values)
    return math.log(sum(math.exp(value) for value in values))


@pytest.mark.parametrize("aggregation", ["logsumexp", "mean"])
@given(scores=word_scores, groups=columns)
def test_label_scores_are_the_naive_ones(
    aggregation: str, scores: np.ndarray, groups: list[list[int]]
) -> None:
    found = label_scores(scores, groups, aggregation)
    wanted = [[naive(row, group, aggregation) for group in groups] for row in scores]
    assert found.dtype == np.float64
    assert found.shape == (len(scores), len(groups))
    np.testing.assert_allclose(found, np.reshape(wanted, found.shape), rtol=1e-9, atol=1e-9)


def test_scores_too_small_for_an_exponential_add_up() -> None:
    scores = np.full((1, 2), -2000.0)
    assert label_scores(scores, [[0, 1]], "logsumexp")[0, 0] == pytest.approx(-2000 + math.log(2))


def test_an_unknown_aggregation_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'mean'.*logsumexp, mean"):
        label_scores(np.zeros((1, 2)), [[0], [1]], "meen")


@given(arrays.arrays(np.float64, (3, 4), elements=st.floats(-1e4, 1e4)))
def test_log_softmax_normalises_and_keeps_differences(scores: np.ndarray) -> None:
    found = log_softmax(scores)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    np.testing.assert_allclose(np.diff(found), np.diff(scores), atol=1e-9)
    assert (found <= 0).all()
