"""Metrics. A number never stands alone: each has its n and a 95 % interval.

Accuracy has Wilson's interval, cross-entropy that of a mean, macro-F1 and Matthews' correlation a
percentile bootstrap. The values are scikit-learn's (a test holds them to it); they are computed
from confusion matrices here, because a bootstrap wants thousands of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import InputError, UnknownNameError
from autoprompt.scoring.label_scores import Floats
from autoprompt.seeding import generator

Z = 1.959963984540054  # of 95 %
RESAMPLES = 2000
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Measure:
    """A value with its number of examples and 95 % interval."""

    value: float
    n: int
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.n})"


def measure(name: str, log_probabilities: Floats, gold: Ints) -> Measure:
    """One metric of some predictions.

    Args:
        name: one of `METRICS`.
        log_probabilities: shape `(examples, labels)`, normalised label scores.
        gold: shape `(examples,)`, label indices.

    Raises:
        InputError: there are no examples.
    """
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    if not len(gold):
        raise InputError(f"no labelled examples to measure {name} on")
    return METRICS[name](log_probabilities, gold)


def measures(log_probabilities: Floats, gold: Ints) -> dict[str, Measure]:
    """All metrics."""
    return {name: measure(name, log_probabilities, gold) for name in METRICS}


def metric_value(name: str, predictions: Ints, gold: Ints, labels: int) -> float:
    """The bare value of a metric of hard predictions, for search and for resampling."""
    return float(OF_CONFUSIONS[name](_confusions(predictions, gold, labels)[None])[0])


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927)."""
    share, square = successes / n, Z * Z / n
    centre = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    # At a share of 0 or 1 the bound is the share itself; rounding must not put it inside.
    return max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))


def _confusions(predictions: Ints, gold: Ints, labels: int) -> NDArray[np.float64]:
    cells = np.bincount(gold * labels + predictions, minlength=labels * labels)
    return cells.reshape(labels, labels).astype(np.float64)


def accuracy_of(confusions: Floats) -> Floats:
    """Accuracy of confusion matrices `(..., gold, predicted)`."""
    result: Floats = np.trace(confusions, axis1=-2, axis2=-1) / confusions.sum(axis=(-2, -1))
    return result


def macro_f1_of(confusions: Floats) -> Floats:
    """Unweighted mean of F1 over labels that occur; a label never met or predicted is left out."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    total = confusions.sum(axis=-1) + confusions.sum(axis=-2)
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    result: Floats = f1.sum(axis=-1) / (total > 0).sum(axis=-1)
    return result


def matthews_of(confusions: Floats) -> Floats:
    """Matthews' correlation for any number of labels (Gorodkin 2004); 0 where it is undefined."""
    n = confusions.sum(axis=(-2, -1))
    hits = np.trace(confusions, axis1=-2, axis2=-1)
    true, predicted = confusions.sum(axis=-1), confusions.sum(axis=-2)
    covariance = hits * n - (true * predicted).sum(axis=-1)
    spread = (n**2 - (true**2).sum(axis=-1)) * (n**2 - (predicted**2).sum(axis=-1))
    zeros = np.zeros_like(covariance)
    result: Floats = np.divide(covariance, np.sqrt(spread), out=zeros, where=spread > 0)
    return result


def _accuracy(log_probabilities: Floats, gold: Ints) -> Measure:
    hits = int((log_probabilities.argmax(axis=1) == gold).sum())
    return Measure(hits / len(gold), len(gold), *wilson(hits, len(gold)))


def _bootstrapped(name: str) -> Callable[[Floats, Ints], Measure]:
    def compute(log_probabilities: Floats, gold: Ints) -> Measure:
        labels = log_probabilities.shape[1]
        confusion = _confusions(log_probabilities.argmax(axis=1), gold, labels)
        # Drawing examples with replacement is drawing cells of the confusion matrix.
        shares = confusion.reshape(-1) / len(gold)
        drawn = generator(0, "bootstrap", name).multinomial(len(gold), shares, size=RESAMPLES)
        values = OF_CONFUSIONS[name](drawn.reshape(-1, labels, labels).astype(np.float64))
        low, high = np.quantile(values, [0.025, 0.975])
        return Measure(
            float(OF_CONFUSIONS[name](confusion[None])[0]), len(gold), float(low), float(high)
        )

    return compute


def _cross_entropy(log_probabilities: Floats, gold: Ints) -> Measure:
    return mean_loss(-log_probabilities[np.arange(len(gold)), gold])


def mean_loss(losses: Floats) -> Measure:
    """The mean of losses that are not negative, with a normal interval.

    Args:
        losses: shape `(examples,)`.
    """
    mean, count = float(losses.mean()), len(losses)
    half = Z * float(losses.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return Measure(mean, count, max(0.0, mean - half), min(mean + half, 1e6))


OF_CONFUSIONS: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": accuracy_of,
    "macro_f1": macro_f1_of,
    "matthews": matthews_of,
}

METRICS: dict[str, Callable[[Floats, Ints], Measure]] = {
    "accuracy": _accuracy,
    "macro_f1": _bootstrapped("macro_f1"),
    "matthews": _bootstrapped("matthews"),
    "cross_entropy": _cross_entropy,
}
