"""What a tuned model is measured by: cross-entropy at the temperature that suits it best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.objective import Scored
from autoprompt.scoring.label_scores import log_softmax
from autoprompt.tuning.measuring import (
    CROSS_ENTROPY,
    DECIDES,
    at_temperature,
    best_inverse_temperature,
    is_too_sure,
    measures_of,
)


def scored(seed: int, labels: int = 3, examples: int = 40, strength: float = 1.0) -> Scored:
    """Scores that lean to the gold label."""
    chance = np.random.default_rng(seed)
    gold = chance.integers(labels, size=examples)
    scores = chance.normal(size=(examples, labels)) + strength * np.eye(labels)[gold]
    return Scored(log_softmax(scores), gold)


@given(seed=st.integers(0, 1000), times=st.floats(0.7, 5.0))
def test_how_sure_a_model_is_does_not_count(seed: int, times: float) -> None:
    one = scored(seed, examples=200)
    other = at_temperature(one, times)
    found, wanted = measures_of(other), measures_of(one)
    assert found[DECIDES].value == pytest.approx(wanted[DECIDES].value, abs=2e-3)
    assert found["accuracy"] == wanted["accuracy"]


@given(seed=st.integers(0, 1000))
def test_no_temperature_of_a_fine_grid_is_much_better(seed: int) -> None:
    one = scored(seed)
    inverses = np.geomspace(0.05, 4.0, 997)
    best = min(float(at_temperature(one, inverse).losses().mean()) for inverse in inverses)
    found = measures_of(one)
    assert best - 1e-4 <= found[DECIDES].value <= best + 1e-3
    assert found[DECIDES].value <= found[CROSS_ENTROPY].value + 1e-3


def test_a_model_that_is_too_sure_is_cooled_down() -> None:
    one = scored(1)
    assert best_inverse_temperature(at_temperature(one, 10.0)) < 0.3 < best_inverse_temperature(one)


def test_too_sure_is_one_that_should_be_less_sure_and_no_other() -> None:
    one = scored(1)
    assert is_too_sure(at_temperature(one, 10.0))
    assert not is_too_sure(one)
    gold = np.arange(2).repeat(20)
    right_and_shy = Scored(log_softmax(np.eye(2)[gold]), gold)
    found = measures_of(right_and_shy)
    assert found[CROSS_ENTROPY].value > found[DECIDES].value + 0.1
    assert not is_too_sure(right_and_shy)


def test_a_model_without_mistakes_is_judged_by_how_much_it_is_right() -> None:
    gold = np.array([0, 1])
    little, much = (Scored(log_softmax(times * np.eye(2)), gold) for times in (0.5, 1.0))
    assert measures_of(much)[DECIDES].value < measures_of(little)[DECIDES].value


def test_of_many_labels_what_is_gained_shows() -> None:
    start, later = (scored(2, labels=400, strength=strength) for strength in (0.0, 1.5))
    assert measures_of(later)[DECIDES].value < measures_of(start)[DECIDES].value - 0.1
