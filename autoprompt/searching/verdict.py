"""The honest result: the winner against the best seed prompt, once, on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autoprompt.objective import Scored
from autoprompt.robustness import Spread
from autoprompt.scoring.metrics import OF_CONFUSIONS, Measure
from autoprompt.seeding import generator

ALPHA = 0.05
RESAMPLES = 10_000
IMPROVED, NOT_SIGNIFICANT, WORSE, KEPT_SEED = "improved", "not_significant", "worse", "kept_seed"


@dataclass(frozen=True)
class Verdict:
    """What the test split says.

    Attributes:
        status: "improved", "not_significant", "worse", or "kept_seed" where selection chose the
            seed.
        metric: the task's.
        lift: metric of the winner minus that of the best seed, on test.
        low, high: 95 % interval of the lift (paired bootstrap).
        p_value: two-sided; of `test`.
        test: "McNemar, exact" for accuracy, else "paired bootstrap".
        n: test examples.
        winner, baseline: their measures on test.
        winner_spread, baseline_spread: how far the metric moves over the prompts' wordings, on
            dev; None where it was not looked at.
    """

    status: str
    metric: str
    lift: float
    low: float
    high: float
    p_value: float
    test: str
    n: int
    winner: Measure
    baseline: Measure
    winner_spread: Spread | None = None
    baseline_spread: Spread | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Verdict:
        """From the JSON form."""
        sides: dict[str, Any] = {}
        for name in ("winner", "baseline"):
            sides[name] = Measure(**record[name])
            spread = record.get(f"{name}_spread")
            sides[f"{name}_spread"] = Spread(**spread) if spread else None
        return cls(**{**record, **sides})

    def __str__(self) -> str:
        sentence = {
            IMPROVED: "The winner beats the best seed prompt on test.",
            NOT_SIGNIFICANT: "On test the winner cannot be told from the best seed prompt.",
            WORSE: "On test the winner is worse than the best seed prompt: keep the seed.",
            KEPT_SEED: "No candidate clearly beat the best seed prompt, so it is kept.",
        }[self.status]
        if self.status == KEPT_SEED:
            return f"{sentence} Its {self.metric} on test is {self.winner}."
        return (
            f"{sentence} {self.metric} {self.winner.value:.3f} against {self.baseline.value:.3f}, "
            f"lift {self.lift:+.3f} [{self.low:+.3f}, {self.high:+.3f}], "
            f"p {_p_text(self.p_value)} ({self.test}, n = {self.n})"
        )


def _p_text(p_value: float) -> str:
    return "< 0.0001" if p_value < 0.0001 else f"= {p_value:.4f}"


def judge(winner: Scored, baseline: Scored, metric: str, kept_seed: bool, seed: int = 0) -> Verdict:
    """Compare two prompts on the same examples.

    Args:
        winner, baseline: scored on test, in the same order.
        metric: "accuracy", "macro_f1" or "matthews".
        kept_seed: whether they are the same prompt.
        seed: of the bootstrap.
    """
    measures = winner.measures()[metric], baseline.measures()[metric]
    lifts = _bootstrapped_lifts(winner, baseline, metric, seed)
    low, high = (float(x) for x in np.quantile(lifts, [0.025, 0.975]))
    lift = measures[0].value - measures[1].value
    if metric == "accuracy":
        test, p_value = "McNemar, exact", mcnemar(winner, baseline)
    else:
        # How often the resampled lift lies on the other side of none (Efron and Tibshirani 1993).
        side = min(float((lifts <= 0).mean()), float((lifts >= 0).mean()))
        test, p_value = "paired bootstrap", min(1.0, 2 * max(side, 1 / RESAMPLES))
    status = NOT_SIGNIFICANT
    if kept_seed:
        status = KEPT_SEED
    elif p_value < ALPHA and lift != 0:
        status = IMPROVED if lift > 0 else WORSE
    return Verdict(
        status, metric, lift, low, high, p_value, test, len(winner.gold), measures[0], measures[1]
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, for when several prompts are compared (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def mcnemar(first: Scored, second: Scored) -> float:
    """Two-sided exact p-value of McNemar's test (1947): a sign test on the disagreements."""
    from scipy.stats import binomtest

    right, other = first.predictions == first.gold, second.predictions == second.gold
    gained, lost = int((right & ~other).sum()), int((~right & other).sum())
    if gained + lost == 0:
        return 1.0
    return float(binomtest(gained, gained + lost, 0.5).pvalue)


def _bootstrapped_lifts(
    winner: Scored, baseline: Scored, metric: str, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Lifts of resampled test splits, each pair of predictions drawn together."""
    labels = winner.log_probabilities.shape[1]
    cells = (winner.gold * labels + winner.predictions) * labels + baseline.predictions
    kinds, counts = np.unique(cells, return_counts=True)
    n = int(counts.sum())
    drawn = generator(seed, "verdict").multinomial(n, counts / n, size=RESAMPLES)
    gold, first = kinds // labels**2, kinds // labels % labels
    values = []
    for predicted in (first, kinds % labels):
        confusions = np.zeros((RESAMPLES, labels * labels))
        for kind, cell in enumerate(gold * labels + predicted):
            confusions[:, cell] += drawn[:, kind]
        values.append(OF_CONFUSIONS[metric](confusions.reshape(-1, labels, labels)))
    lifts: np.ndarray[tuple[int], np.dtype[np.float64]] = values[0] - values[1]
    return lifts
