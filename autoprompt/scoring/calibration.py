"""Calibration: what the prompt says of no content is taken off the label scores.

Both methods estimate a prior over labels and subtract its logarithm. The prior is estimated once
and frozen in the prompt, so that a prediction never depends on what else is scored with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoprompt.scoring.label_scores import Floats, log_softmax
from autoprompt.tasks.examples import Example

CONTENT_FREE = ("N/A", "", "...")


def content_free(fields: Sequence[str]) -> list[Example]:
    """Inputs without content: contextual calibration averages over a few (Zhao et al. 2021)."""
    return [Example(dict.fromkeys(fields, text)) for text in CONTENT_FREE]


def log_prior(scores: Floats) -> tuple[float, ...]:
    """The logarithm of the mean label probability over some inputs.

    Over content-free inputs this is contextual calibration (Zhao et al. 2021, section 5), over
    unlabelled texts of the task it is batch calibration (Zhou et al. 2023, equation 5).

    Args:
        scores: shape `(inputs, labels)`, label scores.

    Returns:
        One number for each label.
    """
    log_mean = np.logaddexp.reduce(log_softmax(scores), axis=0) - np.log(len(scores))
    return tuple(float(value) for value in log_mean)


def calibrated(scores: Floats, offsets: Sequence[float]) -> Floats:
    """Normalised label scores with the offsets taken off: shape `(examples, labels)`.

    Without offsets the scores are normalised only.
    """
    normalised = log_softmax(scores)
    return log_softmax(normalised - np.asarray(offsets)) if offsets else normalised
