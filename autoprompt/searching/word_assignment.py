"""Words of all labels chosen together, so that the right label wins on most examples.

LM-BFF (Gao, Fisch and Chen 2021, section 5.1) takes for each label the words that are likeliest on
its examples, tries every tuple of one word a label, and keeps those with the highest accuracy on
train. With k words and n labels that is k^n tuples; here a beam stands in for the product, which
for two labels is the product itself. The authors fine-tune the best tuples and rank them on dev;
here ties in accuracy are broken by the likelihood instead, so that dev is left for the selection.
For many labels they keep only the words nearest to a human's word, which a search may not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoprompt.objective import CLIP, INVERSE_TEMPERATURES
from autoprompt.scoring.label_scores import Floats, label_scores
from autoprompt.scoring.metrics import Ints

LIKELIEST = 100  # words of a label that are tried: LM-BFF's number for most tasks ...
LIKELIEST_PER_LABEL = 4  # ... and more where many labels draw on the same frequent words
WIDTH = 20  # tuples that the beam keeps
INVERSES = np.array(INVERSE_TEMPERATURES)
FEW = np.arange(1, len(INVERSES), 4)  # of them, enough to prune by
ALL = np.arange(len(INVERSES))
CHUNK = 2**21  # numbers in an array of the beam, about
LEAST_GAIN = 1e-9  # of likelihood, above rounding

Tuple = tuple[int, ...]
Bools = NDArray[np.bool_]


def likeliest(log_means: Floats) -> list[list[int]]:
    """For each label the words with the highest mean log-probability on its examples.

    LM-BFF's pruned vocabulary V^c: the top k by the sum of log p(w|x) over the label's examples.

    Args:
        log_means: shape `(labels, words)`; -inf where a label may not have a word.

    Returns:
        For each label word indices, the likeliest first; of equals the first word first.
    """
    most = max(LIKELIEST, LIKELIEST_PER_LABEL * len(log_means))
    order = np.argsort(-log_means, axis=1, kind="stable")[:, :most]
    return [
        [int(word) for word in row if np.isfinite(means[word])]
        for row, means in zip(order, log_means, strict=True)
    ]


def beam_assignments(
    word_scores: NDArray[np.floating],
    gold: Ints,
    options: Sequence[Sequence[int]],
    width: int = WIDTH,
    identity: Ints | None = None,
) -> list[Tuple]:
    """Tuples of one word a label, the most accurate first, ties by the tempered likelihood.

    Labels join one by one in `joining_order`. A partial tuple is scored as a classifier of the
    labels that it has, on their examples alone: by how many of them give their own label the
    highest score, and at the beam's cut by the mean log-likelihood, normalised over the tuple's
    labels, at the best of a few temperatures. All words of the first label stay, since a tuple of
    one label says nothing. Whole tuples are compared at all temperatures of the search's objective,
    and as there an example counts as no worse than `objective.CLIP`. A tie between two labels is a
    miss.

    Args:
        word_scores: shape `(examples, words)`, log-probabilities.
        gold: shape `(examples,)`, label indices; every label occurs.
        options: for each label the columns that it may have; finite ones.
        width: how many tuples are kept.
        identity: shape `(words,)`; columns with one identity are one word in two spellings, and no
            two labels of a tuple have one word. By default every column is a word of its own.

    Returns:
        At most `width` tuples with a column for each label, in the order of the labels; none where
        the beam found no distinct words.
    """
    identity = np.arange(word_scores.shape[1]) if identity is None else identity
    logs = _shifted(word_scores, options)
    order = joining_order(logs, gold, options)
    beam = _Beam.without_labels(len(gold))
    for step, label in enumerate(order):
        columns = np.asarray(options[label], dtype=np.int64)
        beam = beam.joined(
            _Joining(columns, logs[:, columns].T, gold == label),
            identity,
            width if step else max(width, len(columns)),
            whole=step == len(order) - 1,
        )
        if not len(beam.words):
            return []
    back = np.argsort(order)
    return [tuple(int(words[place]) for place in back) for words in beam.words]


def extended(
    word_scores: NDArray[np.floating],
    gold: Ints,
    words: Tuple,
    options: Sequence[Sequence[int]],
    per_label: int,
    aggregation: str,
    identity: Ints | None = None,
) -> list[list[int]]:
    """More words for the labels of a tuple, one at a time, while the likelihood grows.

    In each round every label in turn takes the word that raises the mean log-likelihood most, if
    one does. The temperature is the best one before the round: what is likelier at that one is
    likelier at its own best temperature too.

    Args:
        word_scores, gold, options, identity: see `beam_assignments`.
        words: a column for each label.
        per_label: the most words a label.
        aggregation: of the verbalizer.

    Returns:
        For each label its columns, that of the tuple first.
    """
    identity = np.arange(word_scores.shape[1]) if identity is None else identity
    logs = _shifted(word_scores, options)
    groups = [[column] for column in words]
    scores = label_scores(logs, groups, aggregation)
    used = {int(identity[column]) for column in words}
    rows = np.arange(len(gold))
    for _ in range(per_label - 1):
        own = scores[rows, gold]
        means = [
            _likelihoods(inverse * own, np.exp(inverse * scores).sum(axis=1))
            for inverse in INVERSES
        ]
        inverse = float(INVERSES[int(np.argmax(means))])
        before = float(np.max(means))
        grew = False
        for label in joining_order(logs, gold, options):
            free = [column for column in options[label] if int(identity[column]) not in used]
            if not free:
                continue
            have = len(groups[label])
            now, more = scores[:, label, None], logs[:, free]
            joint = np.logaddexp(now, more) if aggregation == "logsumexp" else now + more / have
            if aggregation != "logsumexp":
                joint = joint * have / (have + 1)
            powers = np.exp(inverse * scores)
            rest = powers.sum(axis=1) - powers[:, label]
            own = np.where((gold == label)[:, None], joint, scores[rows, gold][:, None])
            found = _likelihoods(inverse * own.T, (rest[:, None] + np.exp(inverse * joint)).T)
            best = int(found.argmax())
            if found[best] > before + LEAST_GAIN:
                before, grew = float(found[best]), True
                groups[label].append(free[best])
                scores[:, label] = joint[:, best]
                used.add(int(identity[free[best]]))
        if not grew:
            break
    return groups


def joining_order(logs: Floats, gold: Ints, options: Sequence[Sequence[int]]) -> list[int]:
    """The labels with the fewest words first, of equals those whose best word tells least.

    A word tells as much as its mean log-probability is higher on the label's examples than on all.
    Those that are hard to serve choose first; the order does not depend on how labels are numbered.
    """
    overall = logs.mean(axis=0)
    tells = [
        float((logs[gold == label].mean(axis=0) - overall)[list(columns)].max(initial=-np.inf))
        for label, columns in enumerate(options)
    ]
    return sorted(range(len(options)), key=lambda label: (len(options[label]), tells[label]))


@dataclass(frozen=True)
class _Joining:
    """A label that joins: its columns, their scores `(columns, examples)`, and its examples."""

    columns: Ints
    logs: Floats
    rows: Bools


@dataclass(frozen=True)
class _Beam:
    """Partial tuples.

    Attributes:
        words: shape `(tuples, labels so far)`, columns.
        best: shape `(tuples, examples)`, the highest score of any label so far.
        own: the same shape, that of the example's own label, where it has joined.
        right: the same shape, whether the own label's is the highest.
        totals: shape `(tuples, temperatures, examples)`, the sum of powers that normalises.
        seen: shape `(examples,)`, whether the example's label has joined.
    """

    words: Ints
    best: Floats
    own: Floats
    right: Bools
    totals: Floats
    seen: Bools

    @classmethod
    def without_labels(cls, examples: int) -> _Beam:
        one = (1, examples)
        return cls(
            np.zeros((1, 0), dtype=np.int64),
            np.full(one, -np.inf),
            np.full(one, -np.inf),
            np.zeros(one, dtype=bool),
            np.zeros((1, len(INVERSES), examples)),
            np.zeros(examples, dtype=bool),
        )

    def joined(self, label: _Joining, identity: Ints, width: int, whole: bool) -> _Beam:
        """The best tuples with one more label; `whole` where it is the last one."""
        hits = self._hits(label)
        taken = identity[self.words][:, :, None] == identity[label.columns]
        hits[taken.any(axis=1)] = -1
        parents, choices = np.nonzero(hits >= 0)  # in order, so that ties are broken by it
        hits = hits[parents, choices]
        if len(hits) > width:
            cut = np.partition(hits, -width)[-width]
            kept = hits >= cut
            parents, choices, hits = parents[kept], choices[kept], hits[kept]
        if len(hits) and (whole or len(hits) > width):
            likely = self._tempered(label, parents, choices, ALL if whole else FEW)
            order = np.lexsort((-likely, -hits))[:width]
            parents, choices = parents[order], choices[order]
        new = label.logs[choices]
        own = np.where(label.rows, new, self.own[parents])
        best = self.best[parents]
        powers = np.exp(INVERSES[:, None] * new[:, None, :])
        return _Beam(
            np.concatenate([self.words[parents], label.columns[choices][:, None]], axis=1),
            np.maximum(best, new),
            own,
            np.where(label.rows, new > best, self.right[parents] & (new < own)),
            self.totals[parents] + powers,
            self.seen | label.rows,
        )

    def _hits(self, label: _Joining) -> Ints:
        """How many examples each new tuple gets right: shape `(tuples, columns)`."""
        right = self.right[:, self.seen]
        # What a new word must stay below for an example to stay right.
        limits = np.where(right, self.own[:, self.seen], -np.inf)
        old, new = label.logs[:, self.seen], label.logs[:, label.rows]
        return np.stack(
            [
                (old < limit).sum(axis=1) + (new > best).sum(axis=1)
                for limit, best in zip(limits, self.best[:, label.rows], strict=True)
            ]
        )

    def _tempered(self, label: _Joining, parents: Ints, choices: Ints, which: Ints) -> Floats:
        """Mean log-likelihood at the best of some temperatures: shape `(pairs,)`."""
        rows = self.seen | label.rows
        inverses = INVERSES[which][:, None]
        logs = label.logs[:, rows]
        totals, own = self.totals[:, which][:, :, rows], self.own[:, rows]
        found = []
        for part in _parts(len(parents), int(rows.sum()) * len(which)):
            parent, choice = parents[part], choices[part]
            mine = np.where(label.rows[rows], logs[choice], own[parent])[:, None, :] * inverses
            total = totals[parent] + np.exp(inverses * logs[choice][:, None, :])
            found.append(_likelihoods(mine, total).max(axis=1))
        return np.concatenate(found)


def _likelihoods(own: Floats, totals: Floats) -> Floats:
    """Mean over the last axis of own - log total, each not below `-CLIP`."""
    tiny = np.finfo(np.float64).tiny  # hopeless words underflow; they are clipped anyway
    result: Floats = np.maximum(own - np.log(np.maximum(totals, tiny)), -CLIP).mean(axis=-1)
    return result


def _shifted(word_scores: NDArray[np.floating], options: Sequence[Sequence[int]]) -> Floats:
    """Scores less the highest of each example among the options, which changes no comparison."""
    columns = sorted({column for label in options for column in label})
    logs = word_scores.astype(np.float64)
    result: Floats = logs - logs[:, columns].max(axis=1, initial=-np.inf, keepdims=True)
    return result


def _parts(count: int, size: int) -> Iterator[slice]:
    """Slices of `count` things of a size, so that no part is much larger than `CHUNK`."""
    step = max(CHUNK // max(size, 1), 1)
    return (slice(start, start + step) for start in range(0, count, step))
