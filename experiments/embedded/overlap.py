"""Finding training lines that share a run of words with a task file.

Words are maximal runs of lowercase letters and digits.  Runs are compared by a 64-bit rolling
hash first (one vectorised pass over many lines) and a hit is confirmed on the words themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

_WORD = re.compile(r"[^\W_]+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def words_of(text: str) -> list[str]:
    """Return the lowercased words of a text."""
    return _WORD.findall(text.lower())


def task_texts(folder: Path) -> Iterator[str]:
    """Yield every text field of every ``*.jsonl`` file below a folder of tasks."""
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open(encoding="utf-8") as stream:
            for line in stream:
                for key, value in json.loads(line).items():
                    if key != "label" and isinstance(value, str):
                        yield value


class OverlapFilter:
    """Tells which lines share a run of ``length`` words with any of the given texts."""

    def __init__(self, texts: Iterator[str], length: int) -> None:
        """Collect every run of ``length`` words of the texts."""
        self.length = length
        self._ids: dict[str, int] = {}
        self._runs: set[tuple[str, ...]] = set()
        for text in texts:
            words = words_of(text)
            for start in range(len(words) - length + 1):
                self._runs.add(tuple(words[start : start + length]))
        if not self._runs:
            raise ValueError(f"no text holds a run of {length} words; check the folder of tasks")
        for run in self._runs:
            for word in run:
                self._ids.setdefault(word, len(self._ids) + 1)
        known = np.array(
            [[self._ids[word] for word in run] for run in self._runs], dtype=np.uint64
        ).reshape(-1, length)
        self._hashes = np.unique(self._hash(list(known.T)))

    def __len__(self) -> int:
        """Return the number of distinct runs in the texts."""
        return len(self._runs)

    @staticmethod
    def _hash(columns: Sequence[np.ndarray]) -> np.ndarray:
        """Hash runs given as ``length`` arrays of word ids, one array for each place."""
        value = np.zeros(len(columns[0]), dtype=np.uint64)
        for column in columns:
            value = (value ^ column) * _MULTIPLIER
            value ^= value >> np.uint64(29)
        return value

    def overlapping(self, lines: Sequence[str]) -> np.ndarray:
        """Return a boolean array, one entry a line: true where a run is shared."""
        shared = np.zeros(len(lines), dtype=bool)
        get = self._ids.get
        words = [words_of(line) for line in lines]
        ids = np.array([get(word, 0) for line in words for word in line], dtype=np.uint64)
        if len(ids) < self.length:
            return shared
        owner = np.repeat(np.arange(len(lines)), [len(line) for line in words])
        span = len(ids) - self.length + 1
        unknown = np.concatenate([[0], np.cumsum(ids == 0)])
        whole = (owner[:span] == owner[self.length - 1 :]) & (
            unknown[self.length :] == unknown[:span]
        )
        places = np.flatnonzero(whole)
        hashes = self._hash([ids[places + offset] for offset in range(self.length)])
        hits = places[np.isin(hashes, self._hashes)]
        for line in np.unique(owner[hits]):
            shared[line] = self._confirmed(words[line])
        return shared

    def _confirmed(self, words: list[str]) -> bool:
        stop = len(words) - self.length + 1
        return any(tuple(words[at : at + self.length]) in self._runs for at in range(stop))
