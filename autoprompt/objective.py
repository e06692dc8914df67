"""A prompt on examples: per-example scores, and the value that a search maximises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoprompt.errors import ScoringError, TaskError, listing
from autoprompt.prompts import Calibration, Frame, Prompt
from autoprompt.scoring.calibration import calibrated, inputs_without_content, log_prior
from autoprompt.scoring.label_scores import Floats, label_scores, log_softmax
from autoprompt.scoring.metrics import Ints, Measure, measures, metric_value
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.verbalizers import Verbalizer

CLIP = float(np.log(100.0))  # one hopeless example must not outweigh a block of good ones
INVERSE_TEMPERATURES = tuple(float(x) for x in np.geomspace(0.05, 4.0, 14))


@dataclass(frozen=True)
class Scored:
    """A prompt's scores on labelled examples.

    Attributes:
        log_probabilities: shape `(examples, labels)`, normalised over labels.
        gold: shape `(examples,)`, label indices.

    Raises:
        ScoringError: a score is not finite; the greatest of scores with a NaN is the NaN.
    """

    log_probabilities: Floats
    gold: Ints

    def __post_init__(self) -> None:
        if not np.isfinite(self.log_probabilities).all():
            raise ScoringError("a prompt has label scores that are not finite (NaN or infinite)")

    @property
    def predictions(self) -> Ints:
        """The label indices with the highest scores; the first of equals."""
        result: Ints = self.log_probabilities.argmax(axis=1)
        return result

    def losses(self) -> Floats:
        """-log p(gold label) of each example: shape `(examples,)`."""
        result: Floats = -self.log_probabilities[np.arange(len(self.gold)), self.gold]
        return result

    def measures(self) -> dict[str, Measure]:
        """All metrics with intervals."""
        return measures(self.log_probabilities, self.gold)

    def metric(self, name: str) -> float:
        """The bare value of one metric."""
        return metric_value(name, self.predictions, self.gold, self.log_probabilities.shape[1])

    def last(self, count: int) -> Scored:
        """The scores of the last `count` examples."""
        start = len(self.gold) - count
        return Scored(self.log_probabilities[start:], self.gold[start:])


def gold_indices(examples: Sequence[Example], labels: Sequence[str]) -> Ints:
    """Each example's label as an index into `labels`.

    Raises:
        TaskError: an example has no label, or one that is not in `labels`.
    """
    index = {label: position for position, label in enumerate(labels)}
    strange = {str(example.label) for example in examples if example.label not in index}
    if strange:
        raise TaskError(
            f"the data has labels that the prompt does not know: {listing(sorted(strange))}; "
            f"it knows {listing(labels)}"
        )
    return np.array([index[str(example.label)] for example in examples], dtype=np.int64)


def raw_label_scores(
    scorer: WordScorer, frame: Frame, verbalizer: Verbalizer, examples: Sequence[Example]
) -> Floats:
    """Label scores before calibration: shape `(examples, labels)`."""
    columns = scorer.columns(frame, verbalizer)
    return label_scores(scorer.scores(frame, examples), columns, verbalizer.aggregation)


def calibrate(
    method: str,
    scorer: WordScorer,
    frame: Frame,
    verbalizer: Verbalizer,
    fields: Sequence[str],
    texts: Sequence[Example],
) -> Calibration:
    """Estimate a calibration's offsets.

    Args:
        method: one of `CALIBRATIONS`.
        scorer, frame, verbalizer: the prompt.
        fields: the task's fields, for inputs without content.
        texts: train examples, for "batch"; their labels are not looked at.
    """
    if method == "none":
        return Calibration()
    inputs = texts if method == "batch" else inputs_without_content(method, fields)
    prior = log_prior(raw_label_scores(scorer, frame, verbalizer, inputs))
    return Calibration(method, prior)


def predict(prompt: Prompt, scorer: WordScorer, examples: Sequence[Example]) -> Floats:
    """Calibrated, normalised label scores: shape `(examples, labels)`."""
    scores = raw_label_scores(scorer, prompt.frame, prompt.verbalizer, examples)
    return calibrated(scores, prompt.calibration.offsets)


def evaluate(prompt: Prompt, scorer: WordScorer, examples: Sequence[Example]) -> Scored:
    """A prompt's scores on labelled examples."""
    gold = gold_indices(examples, prompt.verbalizer.labels)
    return Scored(predict(prompt, scorer, examples), gold)


def tempered_log_likelihoods(scored: Scored) -> Floats:
    """log p(gold label) of each example at the temperature that suits the prompt best.

    This is what a search maximises. A masked language model's label scores are often far too sure
    or too unsure of themselves, and differently so for each template; one temperature for a
    prompt takes that out, and what is left tells prompts apart with far fewer examples than
    accuracy does. Predictions do not change with the temperature.

    Returns:
        Shape `(examples,)`, each not below `-CLIP`.
    """
    rows = np.arange(len(scored.gold))
    found = [
        np.maximum(log_softmax(scored.log_probabilities * inverse)[rows, scored.gold], -CLIP)
        for inverse in INVERSE_TEMPERATURES
    ]
    return max(found, key=lambda values: float(values.mean()))
