"""Demonstrations that are chosen for each input: those most like it.

Source: Gao et al. 2021 (LM-BFF), who sample demonstrations among the examples most like the input,
by sentence embeddings; Liu et al. 2022 ("What makes good in-context examples for GPT-3?"), who take
the nearest ones. Here near is a high TF-IDF cosine, so that a prompt needs no second model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autoprompt.errors import PromptError, UnknownNameError
from autoprompt.files import digest
from autoprompt.similarity import TextVectors, vectors_of
from autoprompt.space_content import ORDERS
from autoprompt.tasks.examples import Example, normalised_texts

POOL = 64  # examples a label that a prompt carries, at most, to choose from


@dataclass(frozen=True)
class Retrieval:
    """How demonstrations are chosen for an input.

    Attributes:
        per_label: how many of each label.
        order: "mixed" (the likest one last, whatever its label), or "grouped" (by label, the
            likest one of a label last).

    Raises:
        PromptError: `per_label` is below 1.
        UnknownNameError: `order` is none of these.
    """

    per_label: int
    order: str = ORDERS[0]

    def __post_init__(self) -> None:
        if self.per_label < 1:
            raise PromptError(
                f"a prompt that chooses demonstrations for each input shows 1 of a label at "
                f"least, not {self.per_label}"
            )
        if self.order not in ORDERS:
            raise UnknownNameError("order of demonstrations", self.order, ORDERS)


@dataclass(frozen=True)
class RetrievalPool:
    """Labelled examples, and how each one is written.

    Attributes:
        how: how many are chosen, and their order.
        examples: to choose from; those of a label in any order, equal ones in theirs.
        written: each as it stands in the slot for demonstrations.
    """

    how: Retrieval
    examples: tuple[Example, ...]
    written: tuple[str, ...]

    @cached_property
    def key(self) -> str:
        """A digest."""
        return digest(
            [self.how.per_label, self.how.order, [e.key for e in self.examples], self.written]
        )

    def chosen(self, inputs: Sequence[Example]) -> list[tuple[str, ...]]:
        """What each input is shown, as it is written.

        An input is never shown itself: examples that have its texts are passed over.
        """
        cosines = self._vectors.cosines([" ".join(normalised_texts(one)) for one in inputs])
        return [
            tuple(self.written[row] for row in self._rows(normalised_texts(one), near))
            for one, near in zip(inputs, cosines, strict=True)
        ]

    def _rows(self, texts: tuple[str, ...], near: np.ndarray) -> list[int]:
        chosen: list[int] = []
        for rows in self._by_label:
            usable = [row for row in rows if self._texts[row] != texts]
            likest = sorted(usable, key=lambda row: -near[row])[: self.how.per_label]
            chosen += reversed(likest)
        if self.how.order == "mixed":
            chosen.sort(key=lambda row: near[row])
        return chosen

    @cached_property
    def _texts(self) -> list[tuple[str, ...]]:
        return [normalised_texts(example) for example in self.examples]

    @cached_property
    def _vectors(self) -> TextVectors:
        return vectors_of(tuple(" ".join(texts) for texts in self._texts))

    @cached_property
    def _by_label(self) -> list[list[int]]:
        found: dict[str | None, list[int]] = {}
        for row, example in enumerate(self.examples):
            found.setdefault(example.label, []).append(row)
        return list(found.values())
