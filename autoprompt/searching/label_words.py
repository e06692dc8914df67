"""Which words stand for a label: fitted on train, in array time.

The words of a trial are one choice, made on other examples than those that score it. They are never
the best of many on what scores them: of 1,000 verbalizers that are truly worth .70, the best shows
.90 on 32 examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import VerbalizerError
from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.metrics import Ints
from autoprompt.verbalizers import Verbalizer, normalised_word


def likelihood_ratios(word_scores: NDArray[np.floating], gold: Ints, labels: int) -> Floats:
    """How much more a word is expected in a label's examples than in the others.

    The log-likelihood ratio of PETAL (Schick, Schmid and Schütze 2020): the mean
    log-odds of the word over the label's examples less that over all other examples.

    Args:
        word_scores: shape `(examples, words)`, log-probabilities; NaN columns stay NaN.
        gold: shape `(examples,)`, label indices; every label occurs.
        labels: the number of labels.

    Returns:
        Shape `(labels, words)`.
    """
    logs = np.minimum(word_scores.astype(np.float64), -1e-7)
    odds = logs - np.log(-np.expm1(logs))
    rows = [odds[gold == label].mean(0) - odds[gold != label].mean(0) for label in range(labels)]
    return np.stack(rows)


def fit_verbalizer(
    word_scores: NDArray[np.floating],
    gold: Ints,
    column: Mapping[str, int],
    candidates: Mapping[str, Sequence[str]],
    per_label: int,
    aggregation: str,
) -> Verbalizer:
    """The words with the highest likelihood ratios, each label from its own candidates.

    Args:
        word_scores: shape `(examples, words)` on train.
        gold: shape `(examples,)`.
        column: word to column.
        candidates: label to words; a word that two labels claim is left out.
        per_label: the most words a label.
        aggregation: of the verbalizer.

    Raises:
        VerbalizerError: a label has no candidate that can be written at this mask.
    """
    labels = list(candidates)
    ratios = likelihood_ratios(word_scores, gold, len(labels))
    claims = Counter(normalised_word(w) for words in candidates.values() for w in words)
    chosen: dict[str, list[str]] = {}
    for row, label in enumerate(labels):
        usable = [
            word
            for word in candidates[label]
            if claims[normalised_word(word)] == 1 and np.isfinite(ratios[row, column[word]])
        ]
        if not usable:
            raise VerbalizerError(f"label {label!r} has no candidate word that this mask can take")
        ranked = sorted(usable, key=lambda word: -float(ratios[row, column[word]]))
        chosen[label] = ranked[:per_label]
    return Verbalizer.of(chosen, labels, aggregation)
