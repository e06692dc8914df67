"""Dropping candidates early."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from autoprompt.searching.racing import FIRST_BLOCK, JUDGES, Race, rungs


@given(st.integers(1, 20_000))
def test_rungs_ascend_and_end_with_all_examples(examples: int) -> None:
    sizes = rungs(examples)
    assert sizes[-1] == examples
    assert all(small < large for small, large in itertools.pairwise(sizes))


@given(st.integers(FIRST_BLOCK * 2, 20_000))
def test_the_last_block_is_not_a_crumb(examples: int) -> None:
    sizes = rungs(examples)
    assert sizes[-1] - sizes[-2] >= sizes[-2] / 2


def test_a_small_dev_split_is_one_block() -> None:
    assert rungs(32) == [32]


def race_with(values: list[float], rung: int = 32) -> Race:
    race = Race()
    for value in values:
        race.finish({rung: value}, None)
    return race


def test_nobody_is_dropped_before_there_are_judges() -> None:
    race = race_with([0.0] * (JUDGES - 1))
    assert not race.drops(32, -9.0)


def test_the_worst_is_dropped_and_the_best_goes_on() -> None:
    race = race_with([-0.1 * i for i in range(JUDGES)])
    assert race.drops(32, -9.0)
    assert not race.drops(32, 0.5)


def test_candidates_are_compared_at_the_same_rung_only() -> None:
    race = race_with([0.0] * 20, rung=32)
    assert not race.drops(64, -9.0)


@given(st.lists(st.floats(-5, 0), min_size=JUDGES, max_size=40), st.floats(-5, 0))
def test_a_better_value_is_never_dropped_where_a_worse_one_goes_on(
    values: list[float], value: float
) -> None:
    race = race_with(values)
    if not race.drops(32, value):
        assert not race.drops(32, value + 1.0)


@given(st.lists(st.floats(-5, 0), min_size=2, max_size=50), st.data())
def test_hopeless_is_lossless(values: list[float], data: st.DataObject) -> None:
    seen = data.draw(st.integers(1, len(values)))
    race = Race()
    race.finish({}, value=-0.7)
    if race.hopeless(sum(values[:seen]) / seen, seen, len(values)):
        assert sum(values) / len(values) < -0.7


def test_a_candidate_far_behind_is_hopeless() -> None:
    race = Race()
    race.finish({}, value=-0.5)
    assert race.hopeless(-2.0, seen=32, examples=100)
    assert not race.hopeless(-1.0, seen=32, examples=100)


def test_a_dropped_candidate_does_not_become_the_incumbent() -> None:
    race = Race()
    race.finish({32: -0.1}, value=None)
    assert race.incumbent == float("-inf")
