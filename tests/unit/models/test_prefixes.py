"""Which sequences go on from which: every shared token once, held to a set of beginnings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.models.prefixes import WHOLE, Start, starts_of

Ids = tuple[int, ...]
# Few different tokens, so that beginnings are shared.
jobs = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8).map(tuple), max_size=24)


def anywhere(sequences: Sequence[Ids]) -> list[int]:
    return [len(sequence) for sequence in sequences]


def run(sequences: Sequence[Ids], starts: Sequence[Start]) -> int:
    """The tokens that are run."""
    return sum(len(ids) - start.shared for ids, start in zip(sequences, starts, strict=True))


def level(starts: Sequence[Start], index: int) -> int:
    """The passes that a sequence waits for; it does not end where donors go round."""
    count = 0
    while (index := starts[index].donor) >= 0:
        count += 1
        assert count <= len(starts)
    return count


@given(jobs)
def test_every_different_beginning_is_run_once(sequences: list[Ids]) -> None:
    starts = starts_of(sequences, anywhere(sequences), worth=0)
    beginnings = {ids[:end] for ids in sequences for end in range(1, len(ids) + 1)}
    assert run(sequences, starts) == len(beginnings)


@given(jobs, st.data(), st.integers(0, 12))
def test_what_is_shared_is_the_same_and_comes_before_what_must_be_run(
    sequences: list[Ids], data: st.DataObject, worth: int
) -> None:
    latest = [data.draw(st.integers(0, len(ids) - 1)) for ids in sequences]
    starts = starts_of(sequences, latest, worth)
    assert len(starts) == len(sequences)
    for index, (ids, start) in enumerate(zip(sequences, starts, strict=True)):
        if start.donor < 0:
            assert start == WHOLE
            continue
        assert start.donor != index
        assert 0 < start.shared <= latest[index]
        assert sequences[start.donor][: start.shared] == ids[: start.shared]
        level(starts, index)


@given(jobs)
def test_few_passes_wait_for_each_other(sequences: list[Ids]) -> None:
    starts = starts_of(sequences, anywhere(sequences), worth=0)
    deepest = max((level(starts, index) for index in range(len(sequences))), default=0)
    assert deepest <= math.log2(max(len(sequences), 1))


@given(jobs, st.integers(1, 40))
def test_a_level_that_saves_too_little_is_left_out(sequences: list[Ids], worth: int) -> None:
    starts = starts_of(sequences, anywhere(sequences), worth)
    levels = [level(starts, index) for index in range(len(sequences))]
    for one in range(1, max(levels, default=0) + 1):
        members = [index for index, found in enumerate(levels) if found == one]
        saved = [starts[index].shared - starts[starts[index].donor].shared for index in members]
        assert sum(saved) >= worth
    most = starts_of(sequences, anywhere(sequences), 0)
    assert run(sequences, most) <= run(sequences, starts) <= sum(map(len, sequences))


def test_the_order_of_a_job_does_not_change_what_is_run() -> None:
    sequences = [(1, 2, 3, 4), (1, 2, 9), (1, 2, 3, 5), (7, 7), (1, 2, 3, 4, 6)]
    for turned in (sequences, sequences[::-1], sequences[2:] + sequences[:2]):
        starts = starts_of(turned, anywhere(turned), 1)
        assert run(turned, starts) == 9


@pytest.mark.parametrize(
    ("sequences", "wanted"),
    [
        ([], []),
        ([(1, 2)], [WHOLE]),
        ([(1, 2), (3, 4)], [WHOLE, WHOLE]),
        # What two share with a third goes on from the third, not one from the other.
        ([(1, 1, 1), (1, 1, 2), (1, 1, 3)], [WHOLE, Start(0, 2), Start(0, 2)]),
    ],
)
def test_small_jobs(sequences: list[Ids], wanted: list[Start]) -> None:
    assert starts_of(sequences, anywhere(sequences), 1) == wanted
