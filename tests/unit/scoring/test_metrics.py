"""Metrics are scikit-learn's, and their intervals hold the value."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from autoprompt.errors import InputError, UnknownNameError
from autoprompt.scoring.metrics import METRICS, measure, measures, metric_value, wilson

LABELS = 3
outcomes = st.lists(
    st.tuples(st.integers(0, LABELS - 1), st.integers(0, LABELS - 1)), min_size=1, max_size=40
).map(lambda pairs: (np.array([p for p, _ in pairs]), np.array([g for _, g in pairs])))


def log_probabilities(predictions: np.ndarray, confidence: float = 0.8) -> np.ndarray:
    rest = (1 - confidence) / (LABELS - 1)
    table = np.full((len(predictions), LABELS), rest)
    table[np.arange(len(predictions)), predictions] = confidence
    return np.log(table)


def of_sklearn(name: str, predictions: np.ndarray, gold: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about labels that occur once or never
        if name == "accuracy":
            return float(sklearn_metrics.accuracy_score(gold, predictions))
        if name == "macro_f1":
            return float(sklearn_metrics.f1_score(gold, predictions, average="macro"))
        return float(sklearn_metrics.matthews_corrcoef(gold, predictions))


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "matthews"])
@given(drawn=outcomes)
def test_values_are_those_of_scikit_learn(name: str, drawn: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, gold = drawn
    wanted = of_sklearn(name, predictions, gold)
    assert metric_value(name, predictions, gold, LABELS) == pytest.approx(wanted, abs=1e-12)
    assert measure(name, log_probabilities(predictions), gold).value == pytest.approx(
        wanted, abs=1e-12
    )


@given(drawn=outcomes)
def test_cross_entropy_is_that_of_scikit_learn(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, gold = drawn
    table = log_probabilities(predictions)
    wanted = sklearn_metrics.log_loss(gold, np.exp(table), labels=range(LABELS))
    assert measure("cross_entropy", table, gold).value == pytest.approx(wanted)


@pytest.mark.parametrize("name", METRICS)
@given(drawn=outcomes)
def test_an_interval_holds_its_value(name: str, drawn: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, gold = drawn
    found = measure(name, log_probabilities(predictions), gold)
    assert found.low <= found.value <= found.high
    assert found.n == len(gold)


@pytest.mark.parametrize("name", METRICS)
def test_more_examples_narrow_the_interval(name: str) -> None:
    predictions, gold = np.array([0, 1, 2, 0, 1, 0]), np.array([0, 1, 2, 1, 1, 2])
    widths = []
    for times in (2, 20):
        table = log_probabilities(np.tile(predictions, times))
        found = measure(name, table, np.tile(gold, times))
        widths.append(found.high - found.low)
    assert 0 < widths[1] < 0.5 * widths[0]


@pytest.mark.parametrize("name", ["macro_f1", "matthews"])
def test_a_bootstrap_gives_the_same_interval_again(name: str) -> None:
    table, gold = log_probabilities(np.array([0, 1, 2, 2])), np.array([0, 1, 1, 2])
    assert measure(name, table, gold) == measure(name, table, gold)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(
    successes: int, n: int, low: float, high: float
) -> None:
    assert wilson(successes, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_stays_within_bounds(drawn: tuple[int, int]) -> None:
    successes, n = drawn
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1


def test_one_example_has_a_wide_cross_entropy() -> None:
    found = measure("cross_entropy", log_probabilities(np.array([0])), np.array([0]))
    assert found.low == 0
    assert math.isfinite(found.high)


def test_all_metrics_are_json() -> None:
    found = measures(log_probabilities(np.array([0, 1])), np.array([0, 2]))
    assert set(found) == set(METRICS)
    text = json.dumps({name: value.to_dict() for name, value in found.items()}, allow_nan=False)
    assert json.loads(text)["accuracy"]["n"] == 2


def test_a_measure_shows_its_interval_and_n() -> None:
    found = measure("accuracy", log_probabilities(np.array([0, 1])), np.array([0, 2]))
    assert str(found) == "0.500 [0.095, 0.905] (n=2)"


def test_an_unknown_metric_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        measure("acuracy", log_probabilities(np.array([0])), np.array([0]))


def test_nothing_to_measure_on() -> None:
    with pytest.raises(InputError, match="no labelled examples to measure accuracy on"):
        measure("accuracy", np.zeros((0, LABELS)), np.array([], dtype=np.int64))
