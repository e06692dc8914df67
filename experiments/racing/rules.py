"""Rules that drop candidates early: the product's, its predecessor, and what others do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from scipy.stats import wilcoxon

from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.searching.racing import LEVEL, Race, rungs
from experiments.racing.entrants import Entrant

WILCOXON_LEVEL = 0.1
HALVING_FIRST = 32
HALVING_KEPT = 1 / 2
HALVING_JUDGES = 6


class Rule(Protocol):
    """Decides, in one search, which candidates go on."""

    def blocks(self) -> Sequence[int]:
        """How many examples have been seen after each block; the last is all."""
        ...

    def drops(self, scored: Scored) -> bool:
        """Whether to drop a candidate with these scores on the examples that it has seen."""
        ...

    def finish(self, entrant: Entrant, seen: int) -> None:
        """Note that a candidate was dropped after `seen` examples, or has seen all."""
        ...


class Paired:
    """The product's race.

    Args:
        examples: how many there are.
        level: of the test; 0 leaves the lossless abort alone.
    """

    def __init__(self, examples: int, level: float = LEVEL) -> None:
        self._examples = examples
        self._race = Race(examples, level)

    def blocks(self) -> Sequence[int]:
        """The product's."""
        return rungs(self._examples)

    def drops(self, scored: Scored) -> bool:
        """What the product's race says."""
        return self._race.verdict_on(scored) is not None

    def finish(self, entrant: Entrant, seen: int) -> None:
        """As a search enters a finished trial."""
        full = seen == self._examples
        self._race.finish(entrant.value if full else None, lambda: entrant.scored)


class Halving:
    """Asynchronous successive halving (Li et al. 2020) and the lossless abort.

    The product's rule before the paired test: at a rung, a candidate goes on that is in the better
    half of all that were there.

    Args:
        examples: how many there are.
    """

    def __init__(self, examples: int) -> None:
        self._examples = examples
        self._lossless = Race(examples, level=0)
        self._reached: dict[int, list[float]] = defaultdict(list)

    def blocks(self) -> Sequence[int]:
        """32 examples, then doubling."""
        sizes = []
        size = HALVING_FIRST
        while size * 1.5 <= self._examples:
            sizes.append(size)
            size *= 2
        return [*sizes, self._examples]

    def drops(self, scored: Scored) -> bool:
        """Whether it is in the worse half, among enough, or hopeless."""
        value = float(tempered_log_likelihoods(scored).mean())
        others = self._reached[len(scored.gold)]
        better = sum(other > value for other in others)
        behind = len(others) >= HALVING_JUDGES and better >= max(
            1.0, HALVING_KEPT * (len(others) + 1)
        )
        return behind or self._lossless.verdict_on(scored) is not None

    def finish(self, entrant: Entrant, seen: int) -> None:
        """Note what the candidate reached at each rung."""
        for rung in self.blocks():
            if rung <= seen:
                part = first(entrant.scored, rung)
                self._reached[rung].append(float(tempered_log_likelihoods(part).mean()))
        full = seen == self._examples
        self._lossless.finish(entrant.value if full else None, lambda: entrant.scored)


class Wilcoxon:
    """Wilcoxon's signed-rank test against the best so far, uncorrected, at the product's blocks.

    As Optuna's `WilcoxonPruner`: never against a candidate whose mean is ahead.

    Args:
        examples: how many there are.
        level: below which p-value a candidate is dropped.
    """

    def __init__(self, examples: int, level: float = WILCOXON_LEVEL) -> None:
        self._examples = examples
        self._level = level
        self._best: Entrant | None = None

    def blocks(self) -> Sequence[int]:
        """The product's."""
        return rungs(self._examples)

    def drops(self, scored: Scored) -> bool:
        """Whether the test says that the best so far is better."""
        if self._best is None:
            return False
        rival = tempered_log_likelihoods(first(self._best.scored, len(scored.gold)))
        lead = rival - tempered_log_likelihoods(scored)
        if lead.mean() <= 0:
            return False
        # The exact test permutes where there are ties, which takes a second (SciPy issue 21567).
        found = wilcoxon(lead, zero_method="zsplit", alternative="greater", method="asymptotic")
        return bool(found.pvalue < self._level)

    def finish(self, entrant: Entrant, seen: int) -> None:
        """Keep the best."""
        if seen == self._examples and (self._best is None or entrant.value > self._best.value):
            self._best = entrant


def first(scored: Scored, count: int) -> Scored:
    """Scores of the first `count` examples."""
    return Scored(scored.log_probabilities[:count], scored.gold[:count])


PRODUCT = "product's race"
HALVING = "asynchronous halving (before)"
LOSSLESS = "lossless abort only"
RULES: Mapping[str, Callable[[int], Rule]] = {
    PRODUCT: Paired,
    HALVING: Halving,
    LOSSLESS: partial(Paired, level=0.0),
    f"Wilcoxon, p = {WILCOXON_LEVEL}": Wilcoxon,
}
