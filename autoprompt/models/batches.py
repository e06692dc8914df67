"""Grouping sequences of like length, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Sequence

TOKENS_PER_BATCH = 1024  # on a CPU the activations of more leave its caches
TOKENS_ON_A_GPU = 32_768  # fewer leave most of it idle; a lack of memory halves a batch


def tokens_per_batch(device: str) -> int:
    """The most tokens in a padded batch on a device, as `str(torch.device)` names it."""
    return TOKENS_PER_BATCH if device.startswith("cpu") else TOKENS_ON_A_GPU


def length_bucketed(lengths: Sequence[int], tokens: int = TOKENS_PER_BATCH) -> list[list[int]]:
    """Indices in batches, the longest sequences first.

    Args:
        lengths: tokens of each sequence.
        tokens: the most tokens in a padded batch (one sequence may exceed it).

    Longest first: a lack of memory shows at once, and an estimate of the time left is pessimistic.

    >>> length_bucketed([3, 9, 4, 8], tokens=18)
    [[1, 3], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    for index in order:
        # The first of a batch is its longest, so it says how wide the whole batch is.
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
