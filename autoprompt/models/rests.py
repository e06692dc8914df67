"""Batches of which only the rest is run, because their beginnings have been run before.

A row of such a batch has one sequence, or the rests of several, one after the other, that go on
from the same sequence and do not see each other. So there is little padding, and what they go on
from is read once for all of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import torch

from autoprompt.models.past import Past, cache_of
from autoprompt.models.sequence import Encoding

ROW = 256  # tokens of a shared row: each of them is compared with all of them
LEAST = 8  # tokens that a sequence counts at least: its logits take memory as well


class Rest(list[Encoding]):
    """A batch of which only the rest is run: it goes on from a past, or is one for others.

    Args:
        lines: for each row its whole sequences; one where others go on from them.
        past: what was run before; None for nothing.
        donors: for each row the row of the past that it goes on from.
        known: for each sequence, row by row, the tokens that are not run again.
        keeps: whether others go on from it.

    Attributes:
        row_of: for each sequence its row.
        is_plain: whether it neither goes on from others, nor others from it.
        shares: whether a row has several sequences.
    """

    def __init__(
        self,
        lines: Sequence[Sequence[Encoding]],
        past: Past | None,
        donors: Sequence[int],
        known: Sequence[int],
        keeps: bool,
    ) -> None:
        super().__init__(encoding for line in lines for encoding in line)
        self.past, self.donors, self.known, self.keeps = past, donors, known, keeps
        self.row_of = [number for number, line in enumerate(lines) for _ in line]
        self._first: list[int] = []  # of each sequence, in its row
        widths, self._read = [0] * len(lines), [0] * len(lines)
        for row, encoding, before in zip(self.row_of, self, known, strict=True):
            self._first.append(widths[row])
            widths[row] += len(encoding.ids) - before
            self._read[row] = max(self._read[row], before)
        self._begin = [max(known) - one for one in self._read]
        self._shape = len(lines), max(widths)
        self.is_plain = past is None and not keeps
        self.shares = len(lines) < len(self)
        self._cache: Any = None

    def ids(self) -> list[list[int]]:
        """For each row the ids that are run."""
        found: list[list[int]] = [[] for _ in range(self._shape[0])]
        for row, encoding, before in zip(self.row_of, self, self.known, strict=True):
            found[row] += encoding.ids[before:]
        return found

    def mask_positions(self) -> list[list[int]]:
        """For each sequence where its masks are in its row."""
        return [
            [at - before + first for at in encoding.mask_positions]
            for encoding, before, first in zip(self, self.known, self._first, strict=True)
        ]

    def inputs(self, attention: torch.Tensor, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """What the model is told of the tokens that are run, and what they read.

        They read the past, which is padded on the left, and then what is run. So every token is as
        far from those before it as it is in its sequence, where a row has one: a sliding window
        counts that.

        Args:
            attention: shape `(rows, longest)`, 1 where a row has a token.
            dtype: of a mask that is added.

        Returns:
            "position_ids", shape `(rows, longest)`. "attention_mask": which tokens are no padding,
            shape `(rows, past and longest)`; where rows are shared, what is added to the attention
            scores of each token, shape `(rows, 1, longest, past and longest)`.
        """
        device = attention.device
        sizes = torch.tensor([len(one.ids) for one in self]) - torch.tensor(self.known)
        of = torch.arange(len(self)).repeat_interleave(sizes)  # for each token its sequence
        within = torch.arange(len(of)) - (sizes.cumsum(0) - sizes)[of]
        at = torch.tensor(self.row_of)[of], torch.tensor(self._first)[of] + within
        owner, known, places = (torch.full(self._shape, empty) for empty in (-1, 0, 0))
        owner[at], known[at] = of, torch.tensor(self.known)[of]
        places[at] = known[at] + within
        begin = torch.tensor(self._begin, device=device)[:, None]
        past = torch.arange(max(self.known), device=device) - begin
        if self.shares:
            owner, known = owner.to(device), known.to(device)
            of_past = (past[:, None] >= 0) & (past[:, None] < known[..., None])
            own = (owner[..., None] == owner[:, None]).tril()
            unseen = ~torch.cat([of_past, own], -1)[:, None]
            least = torch.finfo(dtype).min
            mask = torch.zeros(unseen.shape, dtype=dtype, device=device).masked_fill_(unseen, least)
        else:
            mask = torch.cat([(past >= 0).to(attention.dtype), attention], 1)
        return {"position_ids": places.to(device), "attention_mask": mask}

    def cache(self, device: torch.device) -> Any:
        """What the model reads the past from and, where it is kept, writes the rest to."""
        self._cache = cache_of(self.past, self.donors, self._read, self.keeps, device)
        return self._cache

    def as_past(self, indices: Sequence[int]) -> Past:
        """The batch after its run, for sequences that go on from it.

        Args:
            indices: of its sequences.
        """
        assert not self.shares
        row = {index: number for number, index in enumerate(indices)}
        return Past(self._cache.layers, row, self._begin)


def lines_of(lengths: Sequence[int], donors: Sequence[int], most: int) -> list[list[int]]:
    """Which sequences stand in one row.

    Args:
        lengths: for each sequence the tokens that it counts.
        donors: for each what it goes on from; those of a row go on from the same.
        most: tokens in a row that has more than one.

    Returns:
        Indices, row by row. The shared rows of a donor are about equally long.

    >>> lines_of([5, 2, 3, 4], donors=[7, 7, 7, 8], most=5)
    [[0], [2, 1], [3]]
    """
    groups: dict[int, list[int]] = {}
    found: list[list[int]] = []
    for index, donor in enumerate(donors):
        if lengths[index] < most:
            groups.setdefault(donor, []).append(index)
        else:
            found.append([index])
    for members in groups.values():
        count = -(-sum(lengths[index] for index in members) // most)
        lines: list[list[int]] = [[] for _ in range(count)]
        emptiest = [(0, row) for row in range(count)]
        # The longest first, each to the emptiest row.
        for index in sorted(members, key=lambda at: -lengths[at]):
            filled, row = emptiest[0]
            if filled + lengths[index] > most:
                filled, row = 0, len(lines)
                lines.append([])
                heapq.heappush(emptiest, (0, row))
            heapq.heapreplace(emptiest, (filled + lengths[index], row))
            lines[row].append(index)
        found += lines
    return found
