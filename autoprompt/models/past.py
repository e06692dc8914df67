"""Keys and values of what a causal model has read, for sequences that go on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


@dataclass(frozen=True)
class Past:
    """A batch that has been run.

    Attributes:
        layers: each with `keys` and `values` of shape `(rows, heads, length, width)`.
        row: from a sequence's index to its row.
        begin: for each row, where its tokens begin; what stands in front is padding.
    """

    layers: Sequence[Any]
    row: dict[int, int]
    begin: Sequence[int]


def cache_of(
    past: Past | None, rows: Sequence[int], known: Sequence[int], keeps: bool, device: torch.device
) -> Any:
    """What a model reads a past from and, where it is kept, writes the rest to.

    Args:
        past: None for nothing.
        rows: for each row of the batch the row of the past that it goes on from.
        known: for each the tokens of it that are read; rows with fewer have padding in front.
        keeps: whether others go on from the batch.
        device: where the model is.
    """
    if past is None:
        return DynamicCache()
    taken = _Taken.of(past, rows, known, device)
    return Cache([_Layer(layer, taken, keeps) for layer in past.layers])


@dataclass(frozen=True)
class _Taken:
    """Which tokens of a past are taken: for each row of a batch the last ones of a row of it.

    Attributes:
        rows: shape `(batch, 1)`.
        places: shape `(batch, length)`; in front of a row's tokens anything will do.
        same: the row and the first place, where all take the same; else None.
    """

    rows: torch.Tensor
    places: torch.Tensor
    same: tuple[int, int] | None

    @classmethod
    def of(
        cls, past: Past, rows: Sequence[int], known: Sequence[int], device: torch.device
    ) -> _Taken:
        length = max(known)
        first = [past.begin[row] + one - length for row, one in zip(rows, known, strict=True)]
        places = (torch.tensor(first)[:, None] + torch.arange(length)).clamp_min(0)
        alike = len({*zip(rows, known, strict=True)}) == 1
        return cls(
            torch.tensor(rows, device=device)[:, None],
            places.to(device),
            (rows[0], first[0]) if alike else None,
        )

    def of_states(self, states: torch.Tensor) -> torch.Tensor:
        """From `(rows, heads, length, width)` to the batch's; a view where all take the same."""
        if self.same is None:
            return states[self.rows, :, self.places].transpose(1, 2)
        row, first = self.same
        one = states[row : row + 1, :, first : first + self.places.shape[1]]
        return one.expand(len(self.rows), -1, -1, -1)


class _Layer(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values of one layer; those of the past are copied when they are asked for.

    So only one layer's are held at a time, unless they are kept.
    """

    def __init__(self, past: Any, taken: _Taken, keeps: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._past, self._taken, self._keeps = past, taken, keeps

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = (
            torch.cat([self._taken.of_states(old), new], dim=-2)
            for old, new in ((self._past.keys, key_states), (self._past.values, value_states))
        )
        if self._keeps:
            self.keys, self.values = keys, values
        return keys, values

    def get_seq_length(self) -> int:
        return self._taken.places.shape[1]
