"""Batches of which only the rest is run, because their beginnings have been run before.

A row of such a batch has one sequence, or the rests of several, one after the other, that go on
from the same sequence and do not see each other. So there is little padding, and what they go on
from is read once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from autoprompt.models.past import Past, cache_of
from autoprompt.models.sequence import Encoding

ROW = 256  # tokens of a row: each of them is compared with all of them


class Rest(list[Encoding]):
    """A batch of which only the rest is run: it goes on from a past, or is one for others.

    Args:
        lines: for each row its whole sequences; one where others go on from them.
        past: what was run before; None for nothing.
        rows: for each row the row of the past that it goes on from.
        known: for each sequence, row by row, the tokens that are not run again.
        keeps: whether others go on from it.

    Attributes:
        row: for each sequence its row.
        first: for each sequence the place in its row of its first token that is run.
        is_plain: whether it neither goes on from others, nor others from it.
        is_single: whether each row has one sequence.
    """

    def __init__(
        self,
        lines: Sequence[Sequence[Encoding]],
        past: Past | None,
        rows: Sequence[int],
        known: Sequence[int],
        keeps: bool,
    ) -> None:
        super().__init__(encoding for line in lines for encoding in line)
        self.past, self.rows, self.known, self.keeps = past, rows, known, keeps
        self.row = [number for number, line in enumerate(lines) for _ in line]
        self.first: list[int] = []
        self._widths, self._taken = [0] * len(lines), [0] * len(lines)
        for row, encoding, before in zip(self.row, self, known, strict=True):
            self.first.append(self._widths[row])
            self._widths[row] += len(encoding.ids) - before
            self._taken[row] = max(self._taken[row], before)
        self._begin = [max(known) - one for one in self._taken]
        self.is_plain = past is None and not keeps
        self.is_single = len(lines) == len(self)
        self._cache: Any = None

    def ids(self) -> list[list[int]]:
        """For each row the ids that are run."""
        found: list[list[int]] = [[] for _ in self._widths]
        for row, encoding, before in zip(self.row, self, self.known, strict=True):
            found[row] += encoding.ids[before:]
        return found

    def places(self) -> torch.Tensor:
        """Where each token that is run stands in its sequence: shape `(rows, longest)`."""
        found = torch.zeros(len(self._widths), max(self._widths), dtype=torch.long)
        for _, row, part, before in self._parts():
            found[row, part] = torch.arange(before, before + part.stop - part.start)
        return found

    def masks(self) -> tuple[list[int], list[list[int]]]:
        """For each sequence its row, and the places of its masks in that row."""
        shifts = [first - before for first, before in zip(self.first, self.known, strict=True)]
        return self.row, [
            [at + shift for at in encoding.mask_positions]
            for encoding, shift in zip(self, shifts, strict=True)
        ]

    def read(self) -> torch.Tensor:
        """What is read: the past, which is padded on the left, and then what is run.

        So every token is as far from those before it as it is in its sequence, where a row has one:
        a sliding window counts that.

        Returns:
            Where rows have one sequence each, which tokens are no padding: shape `(rows, tokens)`,
            1 or 0. Else for each token that is run whether it reads another: shape
            `(rows, 1, longest, tokens)`.
        """
        columns = torch.arange(max(self.known))
        begin = torch.tensor(self._begin)[:, None]
        if self.is_single:
            width = torch.tensor(self._widths)[:, None]
            run = torch.arange(max(self._widths)) < width
            return torch.cat([columns >= begin, run], 1).long()
        owner = torch.full((len(self._widths), max(self._widths)), -1)
        known = torch.zeros_like(owner)
        for number, row, part, before in self._parts():
            owner[row, part], known[row, part] = number, before
        place = (columns - begin)[:, None]
        of_past = (place >= 0) & (place < known[..., None])
        own = (owner[..., None] == owner[:, None]).tril()
        return torch.cat([of_past, own], -1)[:, None]

    def _parts(self) -> Iterator[tuple[int, int, slice, int]]:
        """For each sequence its number, row, tokens in the row, and tokens that are known."""
        for number, (row, encoding, first, before) in enumerate(
            zip(self.row, self, self.first, self.known, strict=True)
        ):
            yield number, row, slice(first, first + len(encoding.ids) - before), before

    def cache(self, device: torch.device) -> Any:
        """What the model reads the past from and, where it is kept, writes the rest to."""
        self._cache = cache_of(self.past, self.rows, self._taken, self.keeps, device)
        return self._cache

    def as_past(self, indices: Sequence[int]) -> Past:
        """The batch after its run, for sequences that go on from it.

        Args:
            indices: of its sequences.
        """
        row = {index: number for number, index in enumerate(indices)}
        return Past(self._cache.layers, row, self._begin)


def lines_of(lengths: Sequence[int], donors: Sequence[int], most: int = ROW) -> list[list[int]]:
    """Which sequences stand in one row.

    Args:
        lengths: for each sequence the tokens that are run.
        donors: for each what it goes on from; those of a row go on from the same.
        most: tokens in a row that has more than one.

    Returns:
        Indices, row by row. The rows of a donor are about equally long.

    >>> lines_of([5, 2, 3, 4], donors=[7, 7, 7, 8], most=5)
    [[0], [2, 1], [3]]
    """
    groups: dict[int, list[int]] = {}
    for index, donor in enumerate(donors):
        groups.setdefault(donor, []).append(index)
    found: list[list[int]] = []
    for members in groups.values():
        total = sum(lengths[index] for index in members)
        lines: list[list[int]] = [[] for _ in range(max(1, -(-total // most)))]
        filled = [0] * len(lines)
        # The longest first, each to the emptiest row.
        for index in sorted(members, key=lambda at: -lengths[at]):
            row = filled.index(min(filled))
            if lines[row] and filled[row] + lengths[index] > most:
                lines.append([])
                filled.append(0)
                row = -1
            lines[row].append(index)
            filled[row] += lengths[index]
        found += filter(None, lines)
    return found
