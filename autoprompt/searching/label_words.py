"""Which words stand for a label: fitted on train, in array time.

The words of a trial are one choice, made on other examples than those that score it. They are never
the best of many on what scores them: of 1,000 verbalizers that are truly worth .70, the best shows
.90 on 32 examples.

Four methods score words for each label (`word_methods`) or tuples of words (`word_assignment`).
Whatever the method, a word goes to one label only, and every label gets one (`word_claims`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import UnknownNameError, VerbalizerError, listing
from autoprompt.scoring.metrics import Ints
from autoprompt.searching.word_assignment import beam_assignments, extended, likeliest
from autoprompt.searching.word_claims import Groups, WordClaims
from autoprompt.searching.word_methods import (
    head_log_odds,
    likelihood_ratios,
    regularised_weights,
)
from autoprompt.space_content import WORD_METHODS
from autoprompt.verbalizers import Verbalizer


@dataclass(frozen=True)
class Evidence:
    """What is known of words on train, at the mask of one template.

    Attributes:
        word_scores: shape `(examples, words)`, log-probabilities; NaN columns are words that cannot
            be written at this mask.
        gold: shape `(examples,)`, label indices.
        column: word to column.
        states: shape `(examples, width)`, what the output embeddings multiply at the mask; only the
            label head needs it.
        embeddings: shape `(words, width)`, the output embedding of each word's single token; NaN
            rows for words of several.
    """

    word_scores: NDArray[np.floating]
    gold: Ints
    column: Mapping[str, int]
    states: NDArray[np.floating] | None = None
    embeddings: NDArray[np.floating] | None = None

    def rows(self, rows: NDArray[np.integer]) -> Evidence:
        """The evidence of some examples, as without a fold."""
        states = None if self.states is None else self.states[rows]
        return replace(
            self, word_scores=self.word_scores[rows], gold=self.gold[rows], states=states
        )


def fit_verbalizer(
    method: str,
    evidence: Evidence,
    candidates: Mapping[str, Sequence[str]],
    per_label: int,
    aggregation: str,
) -> Verbalizer:
    """The words that a method finds, each for one label only.

    Nothing is random. Words are the same word where `normalised_word` is; of a label's spellings of
    one the first is taken that can be written. Ties go to what stands first.

    Args:
        method: one of `WORD_METHODS`.
        evidence: on the examples that are fitted on; one a label at least.
        candidates: label to words, the most trusted first; labels may claim the same word.
        per_label: the most words a label.
        aggregation: of the verbalizer.

    Raises:
        UnknownNameError: there is no such method.
        VerbalizerError: a label has no example, or no candidate that can be written at this mask
            and is not needed by another label; or the label head lacks its evidence.
    """
    if method not in _FITTERS:
        raise UnknownNameError("label-word method", method, WORD_METHODS)
    labels = list(candidates)
    _check_examples(evidence.gold, labels)
    usable = np.isfinite(evidence.word_scores).all(axis=0)
    if method == "label head":
        usable &= np.isfinite(_of_the_head(evidence)[1]).all(axis=1)
    claims = WordClaims.of(evidence.column, usable, candidates)
    for label, columns in zip(labels, claims.columns, strict=True):
        if (columns < 0).all():
            raise VerbalizerError(
                f"label {label!r} has no candidate word that this mask can take"
                f"{' as one token' if method == 'label head' else ''}; list other words for it"
            )
    groups = _FITTERS[method](evidence, claims, per_label, aggregation)
    for label, group in zip(labels, groups, strict=True):
        if not group:
            raise VerbalizerError(
                f"label {label!r} has no candidate word that this mask can take and that no other "
                f"label needs; list more words for it"
            )
    words = {
        label: [claims.names[column] for column in group]
        for label, group in zip(labels, groups, strict=True)
    }
    return Verbalizer.of(words, labels, aggregation)


# -- the methods ------------------------------------------------------------------------------


def _by_likelihood_ratio(
    evidence: Evidence, claims: WordClaims, per_label: int, _aggregation: str
) -> Groups:
    ratios = likelihood_ratios(evidence.word_scores, evidence.gold, len(claims.columns))
    return claims.share_out(ratios, per_label)


def _by_label_head(
    evidence: Evidence, claims: WordClaims, per_label: int, _aggregation: str
) -> Groups:
    states, embeddings = _of_the_head(evidence)
    odds = head_log_odds(states, evidence.gold, len(claims.columns), embeddings)
    return claims.share_out(odds, per_label)


def _by_assignment(
    evidence: Evidence, claims: WordClaims, per_label: int, aggregation: str
) -> Groups:
    scores, gold = evidence.word_scores, evidence.gold
    members = np.eye(len(claims.columns))[gold].T
    log_means = (members @ scores.astype(np.float64)) / members.sum(axis=1, keepdims=True)
    words = likeliest(claims.of_columns(log_means))
    options = [
        [int(claims.columns[row, word]) for word in group] for row, group in enumerate(words)
    ]
    identity = np.full(scores.shape[1], -1, dtype=np.int64)
    for row in claims.columns:
        identity[row[row >= 0]] = np.flatnonzero(row >= 0)
    found = beam_assignments(scores, gold, options, identity=identity)
    if not found:  # labels have next to no words of their own: deal what there is
        return claims.share_out(log_means, per_label)
    return extended(scores, gold, found[0], options, per_label, aggregation, identity)


def _by_regularised_weights(
    evidence: Evidence, claims: WordClaims, per_label: int, _aggregation: str
) -> Groups:
    ratios = likelihood_ratios(evidence.word_scores, evidence.gold, len(claims.columns))
    allowed = np.zeros(ratios.shape, dtype=bool)
    for row, columns in enumerate(claims.columns):
        allowed[row, columns[columns >= 0]] = True
    known = allowed.any(axis=0)
    weights = np.zeros_like(ratios)
    weights[:, known] = regularised_weights(
        evidence.word_scores[:, known], evidence.gold, allowed[:, known]
    )
    # Words without weight come after those with one, in the order of their likelihood ratios: as
    # first words where a label has no other, and as more where it has no weight at all.
    below = -1.0 / (1.0 + np.exp(np.clip(ratios, -500, 500)))
    least = np.where((weights > 0).any(axis=1), 0.0, -np.inf)
    return claims.share_out(np.where(weights > 0, weights, below), per_label, least)


_FITTERS: dict[str, Callable[[Evidence, WordClaims, int, str], Groups]] = {
    "likelihood ratio": _by_likelihood_ratio,
    "label head": _by_label_head,
    "assignment": _by_assignment,
    "regularised": _by_regularised_weights,
}


# -- checks -----------------------------------------------------------------------------------


def _check_examples(gold: Ints, labels: Sequence[str]) -> None:
    counts = np.bincount(gold, minlength=len(labels))
    absent = [label for label, count in zip(labels, counts, strict=True) if not count]
    if absent or len(labels) < 2:
        raise VerbalizerError(
            f"label words are fitted on examples of two labels or more, of each one at least; "
            f"{f'there are none of {listing(absent)}' if absent else f'there is {listing(labels)}'}"
            f": add examples, or take label words that are not fitted"
        )


def _of_the_head(evidence: Evidence) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    if evidence.states is None or evidence.embeddings is None:
        raise VerbalizerError(
            "the method 'label head' is fitted on the model's states at the mask and its output "
            "embeddings, and this model gives none; take another method, such as "
            f"{WORD_METHODS[0]!r}"
        )
    return evidence.states, evidence.embeddings
