"""Rows of token ids, and dynamic masking of their words.

A row of a masked model holds several sequences ``[CLS] tokens [SEP]`` one after another; each
[CLS] begins a new segment, which keeps them apart in attention, and positions start again at zero
in each, so the model sees them as it will see single short inputs, without computing on padding.
A row of a causal model is a piece of running text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from experiments.embedded.recipe import Masking

OPEN_ROWS = 12
IGNORED = -100
PAD = 0


@dataclass(frozen=True)
class SpecialIds:
    """Ids of a masked model's special tokens, and which vocabulary entries continue a word."""

    cls: int
    sep: int
    mask: int
    continues: np.ndarray
    """Boolean, one entry a vocabulary id: true for ``##`` pieces."""

    @property
    def ordinary_from(self) -> int:
        """The first id after the special ones."""
        return self.mask + 1


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Read the special ids off a tokenizer whose special tokens come first."""
    vocabulary = tokenizer.get_vocab()
    continues = np.zeros(len(vocabulary), dtype=bool)
    for token, number in vocabulary.items():
        continues[number] = token.startswith("##")
    return SpecialIds(
        cls=vocabulary["[CLS]"],
        sep=vocabulary["[SEP]"],
        mask=vocabulary["[MASK]"],
        continues=continues,
    )


@dataclass(frozen=True)
class Rows:
    """Packed rows, as written by ``pack``."""

    ids: np.ndarray
    """uint16 (rows, row length): token ids, `PAD` at the end."""
    source: np.ndarray
    """uint8 (rows,): number of the source that the row comes from."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    def save(self, path: Path) -> None:
        """Write one ``.npz`` file."""
        np.savez(path, ids=self.ids, source=self.source)


def load_rows(path: Path) -> Rows:
    """Read a file that `Rows.save` wrote."""
    with np.load(path) as stored:
        return Rows(stored["ids"], stored["source"])


def assign_rows(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Distribute sequences over rows (best fit among a dozen open rows), keeping their order."""
    rows: list[list[int]] = []
    open_rows: list[tuple[int, list[int]]] = []
    for at, length in enumerate(lengths):
        best = -1
        least = row_length + 1
        for place, (room, _) in enumerate(open_rows):
            if length <= room < least:
                best, least = place, room
        if best >= 0:
            members = open_rows[best][1]
            members.append(at)
            open_rows[best] = (least - length, members)
            continue
        if len(open_rows) == OPEN_ROWS:
            fullest = min(range(OPEN_ROWS), key=lambda place: open_rows[place][0])
            rows.append(open_rows.pop(fullest)[1])
        open_rows.append((row_length - length, [at]))
    rows.extend(members for _, members in open_rows)
    return rows


def rows_of_sequences(
    sequences: list[np.ndarray], row_length: int, special: SpecialIds
) -> np.ndarray:
    """Lay sequences (without special tokens) out in rows; returns uint16 (rows, row length)."""
    placed = assign_rows([len(sequence) + 2 for sequence in sequences], row_length)
    ids = np.full((len(placed), row_length), PAD, dtype=np.uint16)
    for line, members in zip(ids, placed, strict=True):
        place = 0
        for member in members:
            sequence = sequences[member]
            stop = place + len(sequence) + 2
            line[place] = special.cls
            line[place + 1 : stop - 1] = sequence
            line[stop - 1] = special.sep
            place = stop
    return ids


def rows_of_stream(ids: np.ndarray, row_length: int) -> np.ndarray:
    """Cut running text into rows; what does not fill the last one is left out."""
    whole = len(ids) // row_length
    return ids[: whole * row_length].reshape(whole, row_length)


def segments_of(ids: torch.Tensor, special: SpecialIds) -> torch.Tensor:
    """Number the sequences of every row 1, 2, ...; 0 is padding. Shape as ``ids``."""
    return (ids == special.cls).cumsum(1) * (ids != PAD)


def positions_of(ids: torch.Tensor, special: SpecialIds) -> torch.Tensor:
    """Return the position of every token within its own sequence, shape as ``ids``."""
    places = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    starts = torch.where(ids == special.cls, places, 0).cummax(1).values
    return places - starts


def mask_rates(counts: np.ndarray, masking: Masking, special: SpecialIds) -> np.ndarray:
    """Return the probability of masking a word, by the vocabulary id of its first piece.

    The commonest entries (function words, punctuation) are masked at ``frequent_rate`` and the
    others so much more often that the mean over running text stays at ``rate``.  Special
    tokens are never masked.
    """
    counts = counts.astype(np.float64)
    counts[: special.ordinary_from] = 0
    frequent = np.argsort(-counts)[: masking.frequent]
    share = counts[frequent].sum() / counts.sum()
    other = (masking.rate - share * masking.frequent_rate) / (1 - share)
    rates = np.full(len(counts), other)
    rates[frequent] = masking.frequent_rate
    rates[: special.ordinary_from] = 0
    return rates


@dataclass(frozen=True)
class Batch:
    """One masked batch of ``rows`` x ``row_length`` tokens."""

    ids: torch.Tensor
    """int64 (rows, row length): token ids after masking."""
    positions: torch.Tensor
    """int64 (rows, row length): position of the token within its sequence."""
    segments: torch.Tensor
    """int64 (rows, row length): sequence number within the row, 0 for padding."""
    places: torch.Tensor
    """int64 (slots,): flat indices of the masked tokens, zero-padded."""
    labels: torch.Tensor
    """int64 (slots,): the hidden token ids, -100 where ``places`` is padding."""


class Masker:
    """Masks whole words anew for every batch (RoBERTa, Liu et al. 2019; whole words, BERT 2019)."""

    def __init__(
        self, counts: np.ndarray, masking: Masking, special: SpecialIds, device: str
    ) -> None:
        """Set the rates from the counts of every vocabulary entry in the text."""
        self.masking = masking
        self.special = special
        rates = mask_rates(counts, masking, special)
        self.rates = torch.from_numpy(rates).float().to(device)
        self.continues = torch.from_numpy(special.continues).to(device)

    def __call__(self, ids: torch.Tensor, slots: int, random: torch.Generator) -> Batch:
        """Mask a batch of rows, int64 (rows, row length), on the generator's device.

        ``slots`` fixes the number of predicted positions, so that every step has one shape: words
        beyond it stay visible, and missing ones are padding that the loss ignores.
        """
        device = ids.device
        flat = ids.flatten()
        places = self._chosen(flat, random)
        if len(places) > slots:
            shuffled = torch.randperm(len(places), generator=random, device=device)
            places = places[shuffled[:slots]].sort().values
        hidden = flat[places]
        fate = torch.rand(len(places), generator=random, device=device)
        low, high = self.special.ordinary_from, len(self.rates)
        other = torch.randint(low, high, (len(places),), generator=random, device=device)
        kept = torch.where(
            fate < self.masking.mask_token + self.masking.random_token, other, hidden
        )
        masked = flat.clone()
        masked[places] = torch.where(fate < self.masking.mask_token, self.special.mask, kept)
        labels = torch.full((slots,), IGNORED, device=device)
        labels[: len(places)] = hidden
        padded = torch.zeros(slots, dtype=torch.int64, device=device)
        padded[: len(places)] = places
        return Batch(
            ids=masked.view_as(ids),
            positions=positions_of(ids, self.special),
            segments=segments_of(ids, self.special),
            places=padded,
            labels=labels,
        )

    def _chosen(self, flat: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Indices of all pieces of the words that are masked."""
        draw = torch.rand(len(flat), generator=random, device=flat.device)
        begins = ~self.continues[flat]
        begins[0] = True
        at = torch.arange(len(flat), device=flat.device)
        word = torch.where(begins, at, 0).cummax(0).values
        return (draw < self.rates[flat])[word].nonzero().flatten()
