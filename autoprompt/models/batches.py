"""Grouping sequences of like length, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch

TOKENS_PER_BATCH = 1024  # on a CPU the activations of more leave its caches
FULL = ("out of memory", "not enough memory", "can't allocate memory", "_status_alloc_failed")
TOKENS_ON_A_GPU = 32_768  # fewer leave most of it idle; a lack of memory halves a batch


def tokens_per_batch(device: str) -> int:
    """The most tokens in a padded batch on a device, as `str(torch.device)` names it."""
    return TOKENS_PER_BATCH if device.startswith("cpu") else TOKENS_ON_A_GPU


def length_bucketed(
    lengths: Sequence[int],
    tokens: int = TOKENS_PER_BATCH,
    known: Sequence[int] | None = None,
) -> list[list[int]]:
    """Indices in batches, the longest sequences first.

    Args:
        lengths: tokens of each sequence that are run.
        tokens: the most tokens in a padded batch (one sequence may exceed it).
        known: tokens of each sequence that have been run before, and whose keys and values are
            read; none by default. `width` says what they count.

    Longest first: a lack of memory shows at once, and an estimate of the time left is pessimistic.

    >>> length_bucketed([3, 9, 4, 8], tokens=18)
    [[1, 3], [2, 0]]
    """
    before = known or [0] * len(lengths)
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], -before[at], at))
    batches: list[list[int]] = []
    widest = 0
    for index in order:
        # The first of a batch is its longest, so it says how wide the whole batch is.
        longest = lengths[batches[-1][0]] if batches else lengths[index]
        widest = max(widest, width(longest, before[index]))
        if batches and (len(batches[-1]) + 1) * widest <= tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
            widest = width(lengths[index], before[index])
    return batches


def lacks_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that a device's memory is full.

    CUDA has an exception of its own, but its libraries, the CPU's and Apple's allocators say it in
    words.
    """
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in FULL)


def width(length: int, known: int = 0) -> int:
    """What a sequence counts in a batch, in tokens.

    Of a token that has been run before, only the keys and values of one layer at a time are held,
    which take about a quarter of the memory of a token's activations.
    """
    return length + known // 4
