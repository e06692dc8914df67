"""Dropping a candidate early, on blocks of selection examples in a fixed order.

After each block a candidate's mean tempered log-likelihood is compared with those of earlier
candidates on the same examples (asynchronous successive halving, Li et al. 2020), and it is dropped
where even a perfect rest could not make it the likeliest so far. Only finished trials count, so
that an interrupted one leaves no trace.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

FIRST_BLOCK = 32
KEPT = 1 / 2  # the share of candidates that a rung lets pass; rungs double, so work stays even
JUDGES = 6  # candidates that must have been at a rung before it judges


def rungs(examples: int) -> list[int]:
    """How many examples have been seen after each block: doubling, the last is all.

    >>> rungs(200)
    [32, 64, 128, 200]
    >>> rungs(40)
    [40]
    """
    sizes = []
    size = FIRST_BLOCK
    while size * 1.5 <= examples:
        sizes.append(size)
        size *= 2
    return [*sizes, examples]


class Race:
    """What finished candidates reached at each rung."""

    def __init__(self) -> None:
        self._reached: dict[int, list[float]] = defaultdict(list)
        self.incumbent = -np.inf

    def finish(self, reports: Mapping[int, float], value: float | None) -> None:
        """Enter a finished candidate.

        Args:
            reports: rung to mean log-likelihood.
            value: that of all examples; None where it was dropped.
        """
        for rung, reached in reports.items():
            self._reached[rung].append(reached)
        if value is not None:
            self.incumbent = max(self.incumbent, value)

    def drops(self, rung: int, value: float) -> bool:
        """Whether a mean log-likelihood is too low to go on from a rung."""
        others = self._reached[rung]
        if len(others) < JUDGES:
            return False
        better = sum(other > value for other in others)
        return better >= max(1.0, KEPT * (len(others) + 1))

    def hopeless(self, value: float, seen: int, examples: int) -> bool:
        """Whether even certainty about all the rest could not reach the incumbent.

        A log-likelihood is at most 0, and the temperature that suits the seen part best gives it
        at least what any other does: the mean of all is at most `value * seen / examples`.
        """
        return value * seen / examples < self.incumbent
