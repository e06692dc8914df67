"""The texts of the jobs, each another one, so that nothing is scored from a cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from autoprompt.tasks.task import Task


def read(path: Path | None) -> list[str]:
    """Texts of a file with one JSON object a line, or those of the sample task."""
    if path is not None:
        lines = path.read_text(encoding="utf-8").splitlines()
        texts = [str(json.loads(line)["text"]) for line in lines if line.strip()]
    else:
        task = Task.load("sentiment")
        texts = [one.fields["text"] for part in (task.train, task.dev, task.test) for one in part]
    return [" ".join(text.split()) for text in texts]


def distinct(texts: Sequence[str], count: int) -> list[str]:
    """As many different texts; where there are too few, again with their words rotated.

    >>> distinct(["a b", "c d e"], 4)
    ['a b', 'c d e', 'b a', 'd e c']

    Raises:
        ValueError: the texts have too few words for so many.
    """
    found = dict.fromkeys(texts)
    most = max(len(text.split()) for text in texts)
    for turn in range(1, most):
        for text in texts:
            words = text.split()
            found.setdefault(" ".join([*words[turn:], *words[:turn]]))
        if len(found) >= count:
            break
    if len(found) < count:
        raise ValueError(f"{len(texts)} texts do not make {count} different ones")
    return list(found)[:count]
