"""Sequences of different length laid one after the other, and the groups in which they attend.

A group is a run of sequences of like length. Where all are equally long, the group is a slice of
the tokens. Where not, the tokens are spread over a grid as wide as the longest, for attention only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from autoprompt.models.sequence import Encoding

STEP = 16  # lengths within one such step are alike
ALONE = 256  # tokens of one length that are worth a group of their own


@dataclass(frozen=True)
class Grid:
    """How the tokens of a group lie in a grid of `(sequences, width)` places.

    Attributes:
        tokens: shape `(sequences * width,)`, for each place a row among all tokens; empty places
            repeat the first token of their sequence.
        places: shape `(tokens of the group,)`, for each token its place.
        mask: shape `(sequences, 1, 1, width)`, added to attention scores: minus infinity where a
            place is empty.
    """

    tokens: torch.Tensor
    places: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class Group:
    """A run of sequences that attend together.

    Attributes:
        sequences: which, among all sequences.
        tokens: which, among all tokens.
        width: the length of the longest sequence.
        grid: None where all are equally long.
    """

    sequences: slice
    tokens: slice
    width: int
    grid: Grid | None

    def grid_of(self, rows: torch.Tensor) -> torch.Tensor:
        """From `(all tokens, n)` to `(sequences, width, n)`."""
        own = rows[self.tokens] if self.grid is None else rows.index_select(0, self.grid.tokens)
        return own.view(-1, self.width, rows.shape[1])

    def rows_of(self, grid: torch.Tensor) -> torch.Tensor:
        """From `(sequences, width, n)` to `(tokens of the group, n)`."""
        flat = grid.flatten(0, 1)
        return flat if self.grid is None else flat.index_select(0, self.grid.places)


@dataclass(frozen=True)
class Packing:
    """A batch without padding.

    Attributes:
        ids: shape `(tokens,)`, sequence by sequence.
        positions: shape `(tokens,)`, each token's place in its sequence, from 0.
        longest: tokens of the longest sequence.
        masks: shape `(sequences, masks)`, rows among all tokens.
        triggers: shape `(sequences, triggers)`, likewise.
        groups: they cover the sequences in their order.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    longest: int
    masks: torch.Tensor
    triggers: torch.Tensor
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, batch: Sequence[Encoding], device: torch.device, dtype: torch.dtype) -> Packing:
        """Pack encodings, the shortest first.

        Args:
            batch: in ascending order of length, with equally many masks and triggers.
            device: where the model is.
            dtype: of the masks that are added to attention scores.
        """
        lengths = [len(encoding.ids) for encoding in batch]
        ids = torch.tensor([token for encoding in batch for token in encoding.ids], device=device)
        sizes = torch.tensor(lengths, device=device)
        starts = sizes.cumsum(0) - sizes
        within = torch.arange(len(ids), device=device) - starts.repeat_interleave(sizes)
        masks = torch.tensor([encoding.mask_positions for encoding in batch], device=device)
        triggers = torch.tensor(
            [encoding.trigger_positions for encoding in batch], dtype=torch.long, device=device
        )
        groups = []
        first, row = 0, 0
        for run in _runs(lengths):
            sequences, tokens = slice(first, first + len(run)), slice(row, row + sum(run))
            grid = None
            if run[0] != run[-1]:
                grid = _grid(starts[sequences], sizes[sequences], run[-1], dtype)
            groups.append(Group(sequences, tokens, run[-1], grid))
            first, row = sequences.stop, tokens.stop
        return cls(
            ids,
            within,
            lengths[-1],
            masks + starts[:, None],
            triggers + starts[:, None],
            tuple(groups),
        )


def _runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Cut ascending lengths into runs that attend together.

    >>> list(_runs([3, 3, 5, 20, 20]))
    [[3, 3, 5], [20, 20]]
    """
    for _, step in groupby(lengths, key=lambda length: -(-length // STEP)):
        alike = list(step)
        if sum(alike) >= ALONE * len(set(alike)):
            yield from (list(equal) for _, equal in groupby(alike))
        else:
            yield alike


def _grid(starts: torch.Tensor, sizes: torch.Tensor, width: int, dtype: torch.dtype) -> Grid:
    within = torch.arange(width, device=sizes.device)
    taken = within < sizes[:, None]  # (sequences, width)
    tokens = torch.where(taken, starts[:, None] + within, starts[:, None])
    mask = torch.zeros(taken.shape, dtype=dtype, device=sizes.device)
    mask.masked_fill_(~taken, -torch.inf)
    return Grid(tokens.flatten(), taken.flatten().nonzero().flatten(), mask[:, None, None])
