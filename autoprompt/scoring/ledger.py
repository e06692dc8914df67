"""What a run has spent: on its trials, finished or failed, and on reading test.

Work that an interruption threw away, and a few probes before the first trial, are not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Spent:
    """An amount of work; amounts add up.

    Attributes:
        forwards: sequences through the model for the first time in a run. Variants of a sequence
            for longer words and content-free inputs count singly. A budget counts these, and not
            `recomputed`, so that it does not depend on when a run was interrupted.
        recomputed: sequences through the model again, after an interruption or because the cache
            was full.
        tokens: tokens of both, padding left out; those that sequences share count for each.
        backwards: sequences that were passed backward.
        saved: forwards not run because the race dropped a candidate.
        seconds: wall-clock time.
    """

    forwards: int = 0
    recomputed: int = 0
    tokens: int = 0
    backwards: int = 0
    saved: int = 0
    seconds: float = 0.0

    @property
    def budgeted(self) -> int:
        """What a budget of forwards counts: a backward pass costs as much as two forwards."""
        return self.forwards + 2 * self.backwards

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.forwards + other.forwards,
            self.recomputed + other.recomputed,
            self.tokens + other.tokens,
            self.backwards + other.backwards,
            self.saved + other.saved,
            self.seconds + other.seconds,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Spent:
        """From the JSON form."""
        return cls(**{key: record[key] for key in cls.__dataclass_fields__ if key in record})
