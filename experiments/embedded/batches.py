"""Rows of packed sequences, and dynamic masking of their words.

A row holds several sequences ``[CLS] tokens [SEP]`` one after another; a segment number keeps
them apart in attention, and positions start again at zero in each, so the model sees them as it
will see single short inputs, without computing on padding.
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


@dataclass(frozen=True)
class SpecialIds:
    """Ids of the special tokens, and which vocabulary entries continue a word."""

    pad: int
    cls: int
    sep: int
    mask: int
    ordinary_from: int
    continues: np.ndarray
    """Boolean, one entry a vocabulary id: true for ``##`` pieces."""


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Read the special ids off a tokenizer whose special tokens come first."""
    vocabulary = tokenizer.get_vocab()
    continues = np.zeros(len(vocabulary), dtype=bool)
    for token, number in vocabulary.items():
        continues[number] = token.startswith("##")
    return SpecialIds(
        pad=vocabulary["[PAD]"],
        cls=vocabulary["[CLS]"],
        sep=vocabulary["[SEP]"],
        mask=vocabulary["[MASK]"],
        ordinary_from=vocabulary["[MASK]"] + 1,
        continues=continues,
    )


class PackedSequences:
    """The token sequences of one ``.npz`` file written by ``pack``."""

    def __init__(self, path: Path) -> None:
        """Load the file into memory."""
        with np.load(path) as stored:
            self.ids: np.ndarray = stored["ids"]
            self.ends: np.ndarray = stored["ends"]
            self.source: np.ndarray = stored["source"]
        self.starts = np.concatenate([[0], self.ends[:-1]])

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.ends)


@dataclass(frozen=True)
class Rows:
    """Packed rows; both arrays are (number of rows, row length)."""

    ids: np.ndarray
    """uint16 token ids."""
    segments: np.ndarray
    """uint8: 0 for padding, 1, 2, ... for the sequences of the row."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)


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


def build_rows(
    packed: PackedSequences, order: np.ndarray, row_length: int, special: SpecialIds
) -> Rows:
    """Lay the sequences ``order`` (their numbers) out in rows."""
    lengths = (packed.ends - packed.starts)[order] + 2
    rows = assign_rows(lengths.tolist(), row_length)
    ids = np.full((len(rows), row_length), special.pad, dtype=np.uint16)
    segments = np.zeros((len(rows), row_length), dtype=np.uint8)
    starts = packed.starts[order].tolist()
    ends = packed.ends[order].tolist()
    for line, line_segments, members in zip(ids, segments, rows, strict=True):
        place = 0
        for segment, member in enumerate(members, start=1):
            start, end = starts[member], ends[member]
            stop = place + end - start + 2
            line[place] = special.cls
            line[place + 1 : stop - 1] = packed.ids[start:end]
            line[stop - 1] = special.sep
            line_segments[place:stop] = segment
            place = stop
    return Rows(ids, segments)


def positions_of(segments: np.ndarray) -> np.ndarray:
    """Return the position of every token within its own sequence, shape as ``segments``."""
    places = np.broadcast_to(np.arange(segments.shape[1]), segments.shape)
    starts = np.zeros(segments.shape, dtype=np.int64)
    changed = segments[:, 1:] != segments[:, :-1]
    starts[:, 1:] = np.where(changed, places[:, 1:], 0)
    return places - np.maximum.accumulate(starts, axis=1)


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


def mask_batch(
    ids: np.ndarray,
    segments: np.ndarray,
    rates: np.ndarray,
    slots: int,
    masking: Masking,
    special: SpecialIds,
    random: np.random.Generator,
) -> Batch:
    """Mask whole words anew for every batch (RoBERTa, Liu et al. 2019; whole words, BERT 2019).

    ``slots`` fixes the number of predicted positions, so that every step has one shape: words
    beyond it stay visible, and missing ones are padding that the loss ignores.
    """
    flat = ids.astype(np.int64).ravel()
    begins = ~special.continues[flat]
    begins[0] = True
    word = np.cumsum(begins) - 1
    chosen_words = random.random(word[-1] + 1) < rates[flat[begins]]
    places = np.flatnonzero(chosen_words[word])
    if len(places) > slots:
        places = np.sort(random.permutation(places)[:slots])
    labels = np.full(slots, IGNORED, dtype=np.int64)
    labels[: len(places)] = flat[places]
    fate = random.random(len(places))
    randomly = random.integers(special.ordinary_from, len(rates), len(places))
    masked = flat.copy()
    masked[places] = np.where(
        fate < masking.mask_token,
        special.mask,
        np.where(fate < masking.mask_token + masking.random_token, randomly, flat[places]),
    )
    padded = np.zeros(slots, dtype=np.int64)
    padded[: len(places)] = places
    return Batch(
        ids=torch.from_numpy(masked.reshape(ids.shape)),
        positions=torch.from_numpy(positions_of(segments)),
        segments=torch.from_numpy(segments.astype(np.int64)),
        places=torch.from_numpy(padded),
        labels=torch.from_numpy(labels),
    )
