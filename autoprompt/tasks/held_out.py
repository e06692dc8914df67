"""The texts of a test split as digests: enough to know one again, not to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoprompt.files import digest
from autoprompt.tasks.examples import Example, normalised, normalised_texts, split_digest


@dataclass(frozen=True)
class HeldOut:
    """The examples that only a verdict may read.

    Attributes:
        split: digest of the whole test split.
        fields: the task's.
        digests: for each example one of each field's normalised text, in the order of `fields`.
    """

    split: str
    fields: tuple[str, ...]
    digests: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, test: Sequence[Example], others: Sequence[Example]) -> HeldOut:
        """What is to be known of a test split.

        Args:
            test: the split.
            others: of train and dev; a text that stands there too is held out no more.
        """
        seen = {normalised_texts(example) for example in others}
        fields = tuple(test[0].fields)
        held = [example for example in test if normalised_texts(example) not in seen]
        return cls(split_digest(test), fields, tuple(_digests(example, fields) for example in held))

    def among(self, examples: Sequence[Example]) -> list[Example]:
        """Those of some examples that are held out.

        Label, case, white space and the order of examples do not count, and of the task's fields
        only those that the examples have.

        Args:
            examples: all with the same fields, one of the task's at least.
        """
        shared = [index for index, name in enumerate(self.fields) if name in examples[0].fields]
        names = [self.fields[index] for index in shared]
        known = {tuple(row[index] for index in shared) for row in self.digests}
        return [example for example in examples if _digests(example, names) in known]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"split": self.split, "fields": self.fields, "digests": self.digests}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> HeldOut:
        """From the JSON form."""
        rows = tuple(tuple(map(str, row)) for row in record["digests"])
        fields = tuple(map(str, record["fields"]))
        if any(len(row) != len(fields) for row in rows):
            raise ValueError("a row has not one digest for each field")
        return cls(str(record["split"]), fields, rows)


def _digests(example: Example, fields: Sequence[str]) -> tuple[str, ...]:
    return tuple(digest(normalised(example.fields[name])) for name in fields)
