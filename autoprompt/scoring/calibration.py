"""Calibration: what the prompt says of no content is taken off the label scores.

Every method estimates a prior over labels and subtracts its logarithm; they differ in the inputs
that the prior is the mean over. It is estimated once and frozen in the prompt, so that a prediction
never depends on what else is scored with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoprompt.scoring.label_scores import Floats, log_softmax
from autoprompt.tasks.examples import Example

CONTENT_FREE = ("N/A", "", "...")
PREMISE = ""


def inputs_without_content(method: str, fields: Sequence[str]) -> list[Example]:
    """The inputs that a method takes its prior from, where they are no texts of the task.

    "contextual" averages over a few strings that say nothing (Zhao et al. 2021, section 5). "pmi"
    has one, the domain premise of domain-conditional PMI (Holtzman et al. 2021): with
    the prior p(y | premise), the calibrated score is log p(y | x) - log p(y | premise). There a
    person writes a short premise for each data set; here it is the prompt itself with every field
    empty. The template's own words are what the expert wrote to lead to the answer, and in any
    template that a search composes they are the part that does not depend on the example. Trigger
    tokens and demonstrations stay: they are no part of the example either, and the label words
    that demonstrations show move the prior. "N/A" and "..." are texts that the model has met
    elsewhere, with an opinion of their own; no text has none.

    Args:
        method: one of `CALIBRATIONS`; there are no such inputs for "none" and "batch".
        fields: the task's fields, all of which get the same text.
    """
    texts = {"contextual": CONTENT_FREE, "pmi": (PREMISE,)}.get(method, ())
    return [Example(dict.fromkeys(fields, text)) for text in texts]


def log_prior(scores: Floats) -> tuple[float, ...]:
    """The logarithm of the mean label probability over some inputs.

    Over content-free inputs this is contextual calibration (Zhao et al. 2021, section 5), over a
    domain premise it is domain-conditional PMI (Holtzman et al. 2021), over unlabelled texts of the
    task it is batch calibration (Zhou et al. 2023, equation 5).

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
