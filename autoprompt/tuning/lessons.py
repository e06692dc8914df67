"""What a model is trained on: examples in their prompts, encoded once, in a fixed order.

The order of all steps is drawn before the first one, so that a run that is killed and resumed, or
that is shared by several processes, sees the same examples at the same steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprompt.demonstrations import not_shown
from autoprompt.errors import InputError
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.gradients import LabelLoss, Variant
from autoprompt.models.sequence import Encoding
from autoprompt.objective import gold_indices
from autoprompt.prompts import Prompt
from autoprompt.seeding import generator
from autoprompt.tasks.examples import Example
from autoprompt.tuning.texts import TextBatch, TextLessons

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Assignment:
    """A task as it is learnt: its examples, and the prompt that they stand in.

    Attributes:
        name: of the task.
        prompt: template, label words and the rest.
        train: what is fitted.
        dev: what decides when to stop.
        metric: the task's, one of `tasks.columns.METRICS`.
    """

    name: str
    prompt: Prompt
    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    metric: str = "accuracy"

    def check(self) -> None:
        """Refuse what cannot be learnt from.

        Raises:
            InputError: train or dev is empty, or a demonstration is all that there is.
            TaskError: an example has no label, or one that the prompt does not know.
        """
        for split, examples in (("train", self.learnt), ("dev", self.dev)):
            if not examples:
                raise InputError(
                    f"task {self.name!r} has no {split} examples (those that the prompt shows as "
                    f"demonstrations aside); tuning fits train and stops by dev: give both"
                )
            gold_indices(examples, self.prompt.verbalizer.labels)

    @property
    def learnt(self) -> list[Example]:
        """The train examples whose answers the prompt does not show to every input."""
        return not_shown(self.train, self.prompt.shown_to_all)

    @property
    def loss(self) -> LabelLoss:
        """Cross-entropy of the label scores that a prediction has, calibration included."""
        verbalizer, offsets = self.prompt.verbalizer, self.prompt.calibration.offsets
        return LabelLoss(verbalizer.aggregation, offsets)


@dataclass(frozen=True)
class Item:
    """An example of a step.

    Attributes:
        task: which assignment.
        row: which of its train examples.
        step: which step; what is drawn for it depends on that alone.
        seed: of what is drawn.
    """

    task: int
    row: int
    step: int
    seed: int


@dataclass(frozen=True)
class Part:
    """The examples of one task in a batch.

    Attributes:
        task: which assignment.
        variants: for each token count of its words the encoded examples.
        targets: shape `(examples, labels)`, the labels' probabilities.
    """

    task: int
    variants: tuple[Variant, ...]
    targets: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """What one process does in a step."""

    parts: tuple[Part, ...]
    texts: TextBatch | None = None


class Encoded:
    """An assignment's train examples as ids.

    Args:
        assignment: whose.
        encoder: the model's.
        targets: shape `(examples, labels)`, the labels' probabilities; by default the examples'
            own labels.
    """

    def __init__(
        self, assignment: Assignment, encoder: PromptEncoder, targets: Any | None = None
    ) -> None:
        prompt = assignment.prompt
        examples = assignment.learnt
        labels = prompt.verbalizer.labels
        if targets is None:
            targets = np.eye(len(labels))[gold_indices(examples, labels)]
        self.targets = torch.tensor(np.asarray(targets), dtype=torch.float32)
        self._groups: list[tuple[list[Encoding], Ints, Ints]] = []
        by_count: dict[int, list[tuple[tuple[int, ...], int]]] = {}
        for label, words in enumerate(prompt.verbalizer.words):
            for word in words:
                ids = encoder.word_ids(prompt.frame, word)
                by_count.setdefault(len(ids), []).append((ids, label))
        for masks, members in sorted(by_count.items()):
            encodings = encoder.encode(prompt.frame, examples, masks)
            ids, owners = zip(*members, strict=True)
            self._groups.append((encodings, np.array(ids), np.array(owners)))

    def part(self, task: int, rows: Sequence[int]) -> Part:
        """Some examples as a part of a batch."""
        variants = tuple(
            Variant([encodings[row] for row in rows], ids, owners)
            for encodings, ids, owners in self._groups
        )
        return Part(task, variants, self.targets[list(rows)])


class Lessons(torch.utils.data.Dataset[Item]):
    """The examples of all steps, in order: `steps` times `batch` of them.

    Each task goes round and round through its examples, in a new order each time; which task an
    example is of is drawn in proportion to the square root of the tasks' sizes.

    Args:
        sizes: train examples of each task.
        steps, batch: how many.
        seed: of the order.
    """

    def __init__(self, sizes: Sequence[int], steps: int, batch: int, seed: int) -> None:
        count = steps * batch
        shares = np.sqrt(np.array(sizes, dtype=np.float64))
        tasks = generator(seed, "tasks of a tuning").choice(
            len(sizes), size=count, p=shares / shares.sum()
        )
        orders = [
            np.concatenate(
                [
                    generator(seed, "order of a tuning", task, round_).permutation(size)
                    for round_ in range(int((tasks == task).sum()) // size + 1)
                ]
            )
            for task, size in enumerate(sizes)
        ]
        taken = [0] * len(sizes)
        self._items = []
        for number, task in enumerate(tasks.tolist()):
            row = int(orders[task][taken[task]])
            taken[task] += 1
            self._items.append(Item(task, row, number // batch, seed))

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index]


class Collator:
    """Makes a batch of items.

    Args:
        tasks: the encoded examples of each.
        texts: unlabelled text, for the auxiliary loss.
    """

    def __init__(self, tasks: Sequence[Encoded], texts: TextLessons | None = None) -> None:
        self._tasks, self._texts = tasks, texts

    def __call__(self, items: Sequence[Item]) -> dict[str, Batch]:
        """The batch, by the name of the argument that takes it."""
        rows: dict[int, list[int]] = {}
        for item in items:
            rows.setdefault(item.task, []).append(item.row)
        parts = tuple(self._tasks[task].part(task, rows[task]) for task in sorted(rows))
        texts = None
        if self._texts is not None:
            first = items[0]
            texts = self._texts.batch(len(items), first.seed, first.step, first.row)
        return {"batch": Batch(parts, texts)}
