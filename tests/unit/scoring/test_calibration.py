"""Calibration against the formulas of its papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoprompt.scoring.calibration import calibrated, inputs_without_content, log_prior

scores_of_labels = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=st.floats(-30, 0)
)


def probabilities(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


@given(scores_of_labels)
def test_the_prior_is_the_mean_label_probability(scores: np.ndarray) -> None:
    """p(y) = 1/N sum over i of p(y | x_i) (Zhou et al. 2023, equation 5)."""
    prior = log_prior(scores)
    np.testing.assert_allclose(np.exp(prior), probabilities(scores).mean(axis=0), rtol=1e-9)


@given(scores_of_labels, arrays.arrays(np.float64, (4, 3), elements=st.floats(-5, 0)))
def test_calibrated_probabilities_are_divided_by_the_prior(
    scores: np.ndarray, others: np.ndarray
) -> None:
    """q = softmax(log p - log prior), which is p / prior, normalised (Zhao et al. 2021)."""
    divided = probabilities(scores) / np.exp(log_prior(others))
    wanted = divided / divided.sum(axis=1, keepdims=True)
    found = np.exp(calibrated(scores, log_prior(others)))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_an_input_without_content_becomes_undecided() -> None:
    scores = np.array([[-1.0, -3.0, -0.5]])
    found = calibrated(scores, log_prior(scores))
    np.testing.assert_allclose(np.exp(found), 1 / 3)


@given(scores_of_labels)
def test_no_offsets_only_normalise(scores: np.ndarray) -> None:
    found = np.exp(calibrated(scores, ()))
    np.testing.assert_allclose(found, probabilities(scores), rtol=1e-9)


@given(scores_of_labels)
def test_a_prediction_does_not_depend_on_its_neighbours(scores: np.ndarray) -> None:
    offsets = (-1.0, -2.0, -0.3)
    alone = np.concatenate([calibrated(row[None], offsets) for row in scores])
    np.testing.assert_array_equal(calibrated(scores, offsets), alone)


@pytest.mark.parametrize(
    ("method", "texts"),
    [("contextual", ["N/A", "", "..."]), ("pmi", [""]), ("none", []), ("batch", [])],
)
def test_inputs_without_content_fill_every_field(method: str, texts: list[str]) -> None:
    inputs = inputs_without_content(method, ["text_a", "text_b"])
    assert [dict(example.fields) for example in inputs] == [
        {"text_a": text, "text_b": text} for text in texts
    ]
    assert all(example.label is None for example in inputs)
