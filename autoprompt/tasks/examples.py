"""An example and the digest of a split."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprompt.files import digest


@dataclass(frozen=True)
class Example:
    """Named text fields, and the label where it is known.

    Attributes:
        fields: field name to text; the text is kept as it was read.
        label: a label's name, or None for unlabelled text.
    """

    fields: Mapping[str, str]
    label: str | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The texts in the order of their fields' names: equal keys are duplicates."""
        return tuple(self.fields[name] for name in sorted(self.fields))


def normalised(text: str) -> str:
    """The form in which two texts count as the same: NFC, case-folded, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def normalised_texts(example: Example) -> tuple[str, ...]:
    """The form in which two examples count as the same text."""
    return tuple(normalised(text) for text in example.key)


def split_digest(examples: Sequence[Example]) -> str:
    """What identifies a split: its texts and labels, in whatever order."""
    return digest(sorted([*example.key, example.label or ""] for example in examples))


def label_counts(examples: Sequence[Example]) -> dict[str, int]:
    """Label to number of examples, the most frequent first."""
    counts = Counter(example.label for example in examples if example.label is not None)
    return dict(counts.most_common())
