"""Who may have which label word, and who gets it: each word goes to one label.

None of the papers whose methods find words asks for that; their labels may share words. But a
shared word tells its labels not apart, and `Verbalizer` refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.metrics import Ints
from autoprompt.verbalizers import normalised_word

Groups = list[list[int]]  # for each label its words as indices, the best first


@dataclass(frozen=True)
class WordClaims:
    """Candidates as arrays: a word, however its labels spell it, is one of their columns.

    Attributes:
        columns: shape `(labels, words)`, where a label's spelling of a word is in the evidence; -1
            where the label may not have it.
        ranks: the same shape, the word's place in the label's list.
        names: column to word as it is written.
    """

    columns: Ints
    ranks: Ints
    names: Mapping[int, str]

    @classmethod
    def of(
        cls,
        column: Mapping[str, int],
        usable: NDArray[np.bool_],
        candidates: Mapping[str, Sequence[str]],
    ) -> WordClaims:
        """The claims of some candidates.

        Args:
            column: word to column of the evidence.
            usable: shape `(columns,)`, whether a column's word may be chosen at all.
            candidates: label to words, the most trusted first; words without a column are left
                out.
        """
        forms: dict[str, int] = {}
        index: dict[str, int] = {}  # labels share most words, and normalising takes time
        for words in candidates.values():
            for word in words:
                if word not in index:
                    index[word] = forms.setdefault(normalised_word(word), len(forms))
        columns = np.full((len(candidates), len(forms)), -1, dtype=np.int64)
        ranks = np.zeros_like(columns)
        for row, words in enumerate(candidates.values()):
            for rank, word in enumerate(words):
                place = column.get(word, -1)
                if place >= 0 and usable[place] and columns[row, index[word]] < 0:
                    columns[row, index[word]], ranks[row, index[word]] = place, rank
        return cls(columns, ranks, {place: word for word, place in column.items()})

    def of_columns(self, scores: Floats) -> Floats:
        """Scores `(labels, columns)` as `(labels, words)`; -inf where the label may not."""
        found = np.take_along_axis(scores, np.maximum(self.columns, 0), axis=1)
        return np.where(self.columns >= 0, found, -np.inf)

    def share_out(self, scores: Floats, per_label: int, least: Floats | None = None) -> Groups:
        """`share_out` of scores `(labels, columns)`, in columns."""
        found = share_out(self.of_columns(scores), per_label, self.ranks, least)
        return [[int(self.columns[row, word]) for word in group] for row, group in enumerate(found)]


def share_out(
    scores: Floats,
    per_label: int,
    ranks: Ints | None = None,
    least: Floats | None = None,
) -> Groups:
    """Deal words to labels, each to one.

    A word belongs to the label that it scores best for, and each label takes its best. Where that
    leaves a label without any, first words are dealt by the highest sum of scores that gives as
    many labels as possible a word (an assignment problem; Kuhn 1955), and the rest as above.

    Args:
        scores: shape `(labels, words)`; -inf where a label may not have a word.
        per_label: the most words a label.
        ranks: the same shape; of equal scores the lower rank comes first, then the first label.
            By default the order of the words.
        least: shape `(labels,)`; every word after a label's first must score higher.

    Returns:
        For each label word indices, the best first; empty where no word was left.

    >>> share_out(np.array([[3.0, 2.0, 1.0], [2.5, 0.0, 0.5]]), per_label=2)
    [[1, 2], [0]]
    """
    labels, words = scores.shape
    ranks = np.broadcast_to(np.arange(words), scores.shape) if ranks is None else ranks
    least = np.full(labels, -np.inf) if least is None else least
    best = scores == scores.max(axis=0)
    owner = np.where(best, ranks, np.iinfo(np.int64).max).argmin(axis=0)
    owned = np.isfinite(scores) & (owner == np.arange(labels)[:, None])
    order = np.lexsort((ranks, -scores))  # each row by itself
    groups = [[int(word) for word in order[row] if owned[row, word]] for row in range(labels)]
    first = [group[0] if group else None for group in groups]
    if None in first:
        first = _first_words(scores)
    dealt: Groups = []
    for row, group in enumerate(groups):
        start = first[row]
        more = [word for word in group if word not in first and scores[row, word] > least[row]]
        whole = more if start is None else [start, *more]
        dealt.append(
            sorted(whole[:per_label], key=lambda word: (-scores[row, word], ranks[row, word]))
        )
    return dealt


def _first_words(scores: Floats) -> list[int | None]:
    """A word for each label, none for two, with the highest sum; None where there is none."""
    from scipy.optimize import linear_sum_assignment

    possible = np.isfinite(scores)
    known = scores[possible]
    # What is not possible costs more than all that is, so that it is the last resort.
    worst = known.min(initial=0.0) - (np.ptp(known) + 1.0) * (len(scores) + 1)
    found: list[int | None] = [None] * len(scores)
    rows, columns = linear_sum_assignment(np.where(possible, scores, worst), maximize=True)
    for row, word in zip(rows, columns, strict=True):
        found[row] = int(word) if possible[row, word] else None
    return found
