"""Differences paired by task and draw."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from experiments.fewshot.paired import HEAD, compared, stratified


def test_of_one_task_it_is_the_paired_t_test() -> None:
    values = [0.1, 0.3, -0.1, 0.2, 0.05]
    mean, half, p_value = stratified([values])
    wanted = ttest_1samp(values, 0.0)
    interval = wanted.confidence_interval(0.95)
    assert p_value == pytest.approx(wanted.pvalue)
    assert (mean - half, mean + half) == pytest.approx((interval.low, interval.high))


def test_intervals_cover_the_mean_over_tasks_as_often_as_they_say() -> None:
    draw = np.random.default_rng(0)
    means, spreads = np.array([0.4, 0.0, -0.1, 0.02]), np.array([0.05, 0.02, 0.01, 0.03])
    covered = []
    for _ in range(1000):
        mean, half, _ = stratified(
            [draw.normal(m, s, 5) for m, s in zip(means, spreads, strict=True)]
        )
        covered.append(abs(mean - means.mean()) <= half)
    assert 0.93 < np.mean(covered) < 0.98


def test_a_difference_between_tasks_is_no_doubt() -> None:
    """The old way, all pairs alike, took it for noise of the draws."""
    differences = [[0.4, 0.41, 0.39], [0.0, 0.01, -0.01]]
    _, half, _ = stratified(differences)
    assert half < 0.02
    assert stratified([[0.2, 0.2], [0.0, 0.0]]) == (0.1, 0.0, 0.0)
    assert stratified([[0.0, 0.0], [0.0, 0.0]]) == (0.0, 0.0, 1.0)


def test_ways_are_compared_on_the_pairs_that_both_have() -> None:
    default = {("a", 1): 0.5, ("a", 2): 0.6, ("b", 1): 0.7, ("b", 2): 0.7}
    better = {key: value + 0.1 for key, value in default.items()}
    ways = {
        "default": default,
        "better": better,
        "once": {("a", 1): 0.5},
        "elsewhere": {("c", 1): 1.0},
    }
    lines = compared(ways, "default")
    assert lines[: len(HEAD)] == HEAD
    (row,) = lines[len(HEAD) : -2]
    assert row.startswith("| better | +0.100 | ")
    assert row.endswith(" | 4 |")
