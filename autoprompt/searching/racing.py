"""Dropping a candidate early, on blocks of selection examples in a fixed order.

After each block a candidate is compared with the best one so far, example by example, on the
examples that it has seen. It is dropped

- where even a perfect rest could not bring it level (this never changes the winner), or
- where it is clearly behind: a paired one-sided t-test, whose level is shared by the looks.

The question of the test is how the comparison ends on *these* examples, not on all that there might
be. So the standard error is that of a sample without replacement (Cochran 1977, section 2.6): it
shrinks to nothing as the last example is seen.

There is no correction for the number of candidates, as none is needed: the candidate that would win
a search without racing is dropped only by its own tests, however many others are raced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

from scipy.special import stdtrit

from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.scoring.label_scores import Floats

# Tuned by experiments/racing (its RESULTS.md has the figures).
FIRST_BLOCK = 24
GROWTH = 1.5  # of what has been seen, from block to block
LEVEL = 0.3  # chance that a candidate exactly as good as the best is dropped: that loses nothing
CRUMB = 1.25  # a last block below a quarter of what was seen joins the one before
SLACK = 1e-9  # of a mean log-likelihood: rounding must not drop an equal

CANNOT_WIN = "cannot reach the best"
BEHIND = "clearly behind the best"


def rungs(examples: int) -> list[int]:
    """How many examples have been seen after each block; the last is all.

    >>> rungs(200)
    [24, 36, 54, 81, 121, 200]
    >>> rungs(29)
    [29]
    """
    sizes = []
    size = float(FIRST_BLOCK)
    while size * CRUMB <= examples:
        sizes.append(int(size))
        size *= GROWTH
    return [*sizes, examples]


class Race:
    """Judges candidates against the best of those that were scored in full.

    Most candidates are scored on all selection examples. Some may only be judged from a row on,
    because they were fitted on the rows before: they have an incumbent of their own, and meet that
    of the others on the rows that both have.

    What a race knows depends only on the finished candidates and their order, so that a resumed run
    decides as an uninterrupted one does.

    Args:
        examples: how many selection examples there are.
        level: of the test, over all looks at a candidate; 0 leaves only the abort that is
            lossless.

    Raises:
        ValueError: the level is not in [0, 0.5): a candidate that is ahead would be dropped.
    """

    def __init__(self, examples: int, level: float = LEVEL) -> None:
        if not 0 <= level < 0.5:
            raise ValueError(f"the level of a race must be in [0, 0.5), not {level}")
        self._examples = examples
        self._level = level
        self._best: dict[int, _Incumbent] = {}

    @property
    def incumbent(self) -> float:
        """The best value of a candidate that was scored on all examples; -inf before the first."""
        return self._best[0].value if 0 in self._best else -math.inf

    def finish(self, value: float | None, scored: Callable[[], Scored], start: int = 0) -> None:
        """Enter a finished candidate.

        Args:
            value: mean tempered log-likelihood of the examples from `start` on; None where it was
                dropped. Of equals the first stays.
            scored: gives its scores on these examples. Called at most once, and only for a
                candidate that another is compared with: a resumed run need not read the others.
            start: its first row of the selection examples.
        """
        known = self._best.get(start)
        if value is not None and (known is None or value > known.value):
            self._best[start] = _Incumbent(value, start, scored)

    def verdict_on(self, scored: Scored, start: int = 0) -> str | None:
        """Why a candidate should be dropped after a block, or None: it goes on.

        Args:
            scored: on the rows from `start` on that it has seen.
            start: its first row of the selection examples.
        """
        seen, examples = len(scored.gold), self._examples - start
        rival = self._rival(start)
        if rival is None or seen >= examples:
            return None
        likelihoods = tempered_log_likelihoods(scored)
        if _hopeless(likelihoods, examples, rival.value_from(start)):
            return CANNOT_WIN
        looks = max(len(rungs(examples)) - 1, 1)
        lead = rival.likelihoods(start, seen) - likelihoods
        return BEHIND if _clearly_positive(lead, examples, self._level / looks) else None

    def on_all(self, value: float, start: int, count: int) -> float:
        """What a mean over some rows says on the scale of means over all of them.

        Args:
            value: mean tempered log-likelihood of the `count` rows from `start` on.
            start, count: the rows. From row 0 on a value stands for itself.

        Returns:
            The best value on all rows, plus the lead on the candidate that has it.
        """
        if not start or 0 not in self._best:
            return value
        best = self._best[0]
        return best.value + value - float(best.likelihoods(start, count).mean())

    def _rival(self, start: int) -> _Incumbent | None:
        """The best on the rows from `start` on, of the incumbents that were scored on them all."""
        able = [found for first, found in sorted(self._best.items()) if first <= start]
        return max(able, key=lambda found: found.value_from(start), default=None)


class _Incumbent:
    """A candidate to compare others with; see `Race.finish`."""

    def __init__(self, value: float, start: int, scored: Callable[[], Scored]) -> None:
        self.value = value
        self.start = start
        self._load = scored

    @cached_property
    def _scored(self) -> Scored:
        return self._load()

    def likelihoods(self, start: int, count: int | None = None) -> Floats:
        """Tempered log-likelihoods of `count` rows from `start` on; None stands for all."""
        first = start - self.start
        rows = slice(first, None if count is None else first + count)
        found = self._scored
        return tempered_log_likelihoods(Scored(found.log_probabilities[rows], found.gold[rows]))

    def value_from(self, start: int) -> float:
        """The value on the rows from `start` on."""
        return self.value if start == self.start else float(self.likelihoods(start).mean())


def _hopeless(likelihoods: Floats, examples: int, value: float) -> bool:
    """Whether even certainty about all the rest could not reach a value.

    A log-likelihood is at most 0, and the temperature that suits the seen part best gives it at
    least what any other does: the mean of all is at most the sum of the seen divided by all.
    """
    return float(likelihoods.sum()) / examples < value - SLACK


def _clearly_positive(lead: Floats, examples: int, level: float) -> bool:
    """Whether the first differences of `examples` show that the mean of all is positive.

    Args:
        lead: the differences seen, shape `(seen,)`.
        examples: how many there are.
        level: of the one-sided test; at 0 nothing is clear.
    """
    seen = len(lead)
    mean = float(lead.mean())
    if seen < 2 or level <= 0 or mean <= SLACK:
        return False
    error = float(lead.std(ddof=1)) * math.sqrt(1 / seen - 1 / examples)
    return mean > -float(stdtrit(seen - 1, level)) * error
