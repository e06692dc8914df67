"""Which sequences of a job go on from others, so that a beginning they share is run once.

A causal model's states at a token depend on what stands before it alone. So of sequences that begin
alike, one is run whole, and each other goes on from it where the two part. Sorted as words in a
dictionary are, the sequences that share most are neighbours; joining neighbours, those that share
most first, spans all of them, and each token of the tree of their beginnings is run once.

Nothing here knows of models: sequences are tuples of ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Start:
    """Where the run of a sequence begins.

    Attributes:
        donor: the index of the sequence that it goes on from; -1 for one that is run whole.
        shared: how many tokens the two begin with in common, which are not run again.
    """

    donor: int = -1
    shared: int = 0


WHOLE = Start()


def starts_of(sequences: Sequence[Ids], latest: Sequence[int], worth: int) -> list[Start]:
    """Where each sequence's run begins.

    Sequences that go on from others that go on from others wait for two passes, and so on: each
    level of waiting is one pass more, which is not full, and stays only where it saves enough. The
    larger of two groups gives, so that there are log2 of the number of sequences at most.

    Args:
        sequences: ids.
        latest: for each the token that its run begins with at the latest (0 to its length).
        worth: the fewest tokens that a level must save.

    Returns:
        One for each sequence. A donor never waits for those that go on from it.

    >>> starts_of([(1, 2, 3), (1, 2, 4), (5, 6)], latest=[2, 2, 1], worth=1)
    [Start(donor=-1, shared=0), Start(donor=0, shared=2), Start(donor=-1, shared=0)]
    """
    starts = [WHOLE] * len(sequences)
    order = _joined(starts, sequences, latest)
    order.reverse()  # donors before those that go on from them
    for index in order:
        # What is shared with the donor's own donor need not wait for the donor.
        while starts[index].shared <= starts[starts[index].donor].shared:
            starts[index] = _earlier(starts, index)
    levels = _levels(starts, order)
    for level in range(max(levels, default=0), 0, -1):
        members = [index for index in order if levels[index] == level]
        if _saved(starts, members) < worth:
            for index in members:
                starts[index] = _earlier(starts, index)
            levels = _levels(starts, order)
    return starts


def _joined(starts: list[Start], sequences: Sequence[Ids], latest: Sequence[int]) -> list[int]:
    """Fill in starts; returns the sequences that got a donor, each before its donor did."""
    by_ids = sorted(range(len(sequences)), key=lambda index: (sequences[index], index))
    alike = [
        (shared, one, other)
        for one, other in pairwise(by_ids)
        if (shared := _common(sequences[one], sequences[other]))
    ]
    alike.sort(key=lambda pair: -pair[0])
    leader, size = list(range(len(sequences))), [1] * len(sequences)
    order = []
    for shared, *pair in alike:
        # All of a group share this much with its leader.
        large, small = sorted((_leader(leader, one) for one in pair), key=lambda one: -size[one])
        leader[small] = large
        size[large] += size[small]
        if usable := min(shared, latest[small]):
            starts[small] = Start(large, usable)
            order.append(small)
    return order


def _leader(leader: list[int], index: int) -> int:
    while leader[index] != index:
        leader[index] = leader[leader[index]]
        index = leader[index]
    return index


def _common(one: Ids, other: Ids) -> int:
    """How many tokens two sequences begin with in common."""
    for place, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return place
    return min(len(one), len(other))


def _earlier(starts: Sequence[Start], index: int) -> Start:
    """The start of a sequence when it goes on from its donor's donor."""
    above = starts[starts[index].donor]
    return Start(above.donor, min(above.shared, starts[index].shared))


def _levels(starts: Sequence[Start], order: Sequence[int]) -> list[int]:
    """How many passes each sequence waits for; `order` has donors first."""
    levels = [0] * len(starts)
    for index in order:
        if starts[index].donor >= 0:
            levels[index] = levels[starts[index].donor] + 1
    return levels


def _saved(starts: Sequence[Start], members: Sequence[int]) -> int:
    """Tokens that sequences save against going on from their donors' donors."""
    return sum(starts[index].shared - starts[starts[index].donor].shared for index in members)
