"""The examples that a search selects on: train, cross-fitted, and dev.

With 16 examples a label dev alone cannot tell prompts apart. Train can help: what is fitted on it
(label words, a batch prior) is fitted again without the fold that is scored. Expert prompts are
fitted on nothing, so that train is as good as dev for them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoprompt.objective import gold_indices
from autoprompt.scoring.metrics import Ints
from autoprompt.searching.racing import rungs
from autoprompt.seeding import derive_seed
from autoprompt.tasks.examples import Example, label_counts
from autoprompt.tasks.splits import shuffled_by_label
from autoprompt.tasks.task import Task

FIT_EXAMPLES = 256  # of train, at most
FOLDS = 4


@dataclass(frozen=True)
class SelectionData:
    """Train and dev parts of a search.

    Attributes:
        labels: the task's.
        fit: train examples on which label words and calibration are fitted.
        dev: dev examples.
        folds: the fold of each of `fit`, shape `(fit,)`; empty where a label is too rare to
            cross-fit, or the model was fitted to train: then only dev is selected on.
        most: the limit that the parts were drawn with.
    """

    labels: tuple[str, ...]
    fit: tuple[Example, ...]
    dev: tuple[Example, ...]
    folds: Ints
    most: int | None = None

    @classmethod
    def of(
        cls, task: Task, seed: int, most: int | None = None, cross_fits: bool = True
    ) -> SelectionData:
        """The parts for a task.

        Args:
            task: its train and dev splits.
            seed: of the order and the folds.
            most: examples of both together, at most (but two of each label to fit on).
            cross_fits: whether train may select; not where the model has been fitted to it.
        """
        fit_most = FIT_EXAMPLES if most is None else min(FIT_EXAMPLES, max(most // 2, 1))
        fit = _part(task.train, fit_most, seed)
        folds = _folds(fit, seed) if cross_fits else np.zeros(0, dtype=np.int64)
        dev = task.dev if most is None else task.dev[: max(most - len(folds), most // 2)]
        return cls(task.labels, fit, tuple(dev), folds, most)

    @property
    def examples(self) -> tuple[Example, ...]:
        """What candidates are compared on, in a fixed order: train's part first, then dev's."""
        return (*self.fit, *self.dev) if len(self.folds) else self.dev

    @property
    def fit_count(self) -> int:
        """How many of `examples` are of train."""
        return len(self.folds)

    def judges_from(self, label_fitted: bool) -> int:
        """The first of `examples` that may judge a candidate.

        What was found with train's labels in sight, and is too dear to find again without each
        fold, is judged on dev alone.
        """
        return self.fit_count if label_fitted else 0

    @property
    def blocks(self) -> dict[tuple[str, ...], int]:
        """The block of each of `examples`, by its key: what is asked for is whole blocks.

        Blocks end where a race looks at a candidate, where train ends and dev begins, and where a
        race on dev alone looks.
        """
        dev = range(self.fit_count, len(self.examples))
        ends = {*rungs(len(self.examples)), *(self.fit_count + rung for rung in rungs(len(dev)))}
        bounds = sorted({*ends, self.fit_count})
        keys = [example.key for example in self.examples]
        return {key: bisect_right(bounds, row) for row, key in reversed(list(enumerate(keys)))}

    @property
    def gold(self) -> Ints:
        """Label indices of `examples`."""
        return gold_indices(self.examples, self.labels)

    @property
    def fit_gold(self) -> Ints:
        """Label indices of `fit`."""
        return gold_indices(self.fit, self.labels)


def _part(examples: Sequence[Example], most: int, seed: int) -> tuple[Example, ...]:
    """Two examples of each label, which cross-fitting needs, then what fits, in seeded order."""
    ordered = shuffled_by_label(examples, seed)
    met: Counter[str | None] = Counter()
    first: list[Example] = []
    rest: list[Example] = []
    for example in ordered:
        met[example.label] += 1
        (first if met[example.label] <= 2 else rest).append(example)
    chosen = [*first, *rest[: max(most - len(first), 0)]]
    return tuple(shuffled_by_label(chosen, seed))


def _folds(fit: Sequence[Example], seed: int) -> Ints:
    from sklearn.model_selection import StratifiedKFold

    rarest = min(label_counts(fit).values())
    folds = np.zeros(len(fit), dtype=np.int64)
    if rarest < 2:
        return folds[:0]
    splitter = StratifiedKFold(
        min(FOLDS, rarest), shuffle=True, random_state=derive_seed(seed, "folds")
    )
    labels = [str(example.label) for example in fit]
    for number, (_, held) in enumerate(splitter.split(labels, labels)):
        folds[held] = number
    return folds
