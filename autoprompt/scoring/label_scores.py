"""From word scores to label scores: s(y|x) = agg over w in V_y of log p(w | mask)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import UnknownNameError
from autoprompt.verbalizers import AGGREGATIONS

Floats = NDArray[np.float64]


def label_scores(
    word_scores: NDArray[np.floating], columns: Sequence[Sequence[int]], aggregation: str
) -> Floats:
    """Aggregate each label's words.

    Args:
        word_scores: shape `(examples, words)`, log-probabilities.
        columns: for each label the columns of its words.
        aggregation: "logsumexp" or "mean".

    Returns:
        Shape `(examples, labels)`, float64.
    """
    groups = [word_scores[:, list(group)].astype(np.float64) for group in columns]
    if aggregation == "logsumexp":
        parts = [np.logaddexp.reduce(group, axis=1) for group in groups]
    elif aggregation == "mean":
        parts = [group.mean(axis=1) for group in groups]
    else:
        raise UnknownNameError("aggregation", aggregation, AGGREGATIONS)
    return np.stack(parts, axis=1)


def log_softmax(scores: Floats) -> Floats:
    """Normalise over the last axis, so that the exponentials add up to one."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
