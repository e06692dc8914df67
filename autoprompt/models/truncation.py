"""Shortening texts token by token, the longest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def levelled(
    lengths: Mapping[str, int], repeats: Mapping[str, int], surplus: int
) -> dict[str, int]:
    """How many tokens of each field stay, when the longest are shortened first.

    Args:
        lengths: field name to tokens.
        repeats: how often each field stands in the template.
        surplus: how many tokens must go.

    >>> levelled({"a": 9, "b": 6, "c": 2}, {"a": 1, "b": 1, "c": 1}, surplus=6)
    {'a': 5, 'b': 4, 'c': 2}
    """

    def saved(level: int) -> int:
        return sum(max(length - level, 0) * repeats[name] for name, length in lengths.items())

    low, high = 0, max(lengths.values())  # the highest level that saves enough, by bisection
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if saved(middle) >= surplus else (low, middle - 1)
    spare = saved(low) - surplus
    left = {}
    for name, length in lengths.items():
        left[name] = min(length, low)
        if length > low and spare >= repeats[name]:
            left[name], spare = low + 1, spare - repeats[name]
    return left


def cut(text: str, ends: Sequence[int], left: int) -> str:
    """The text up to the end of its `left`-th token; always shorter than the text."""
    while left and ends[left - 1] >= len(text):
        left -= 1  # one character may be several tokens; it goes as a whole
    return text[: ends[left - 1]] if left else ""
