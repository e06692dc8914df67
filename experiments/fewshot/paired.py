"""Differences between two ways, paired by task and draw: the mean over some tasks, and its doubt.

Draws of a task share its test file, and tasks differ by far more than draws do. So the tasks are
taken as they are, and an interval says what other draws of these tasks would give (a stratified
mean; degrees of freedom after Satterthwaite 1946). It says nothing of other tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from autoprompt.searching.verdict import holm

Key = tuple[str, int]  # task and draw
HEAD = [
    "| way | mean difference | 95 % interval | p, Holm | n |",
    "|---|---|---|---|---|",
]
MEANING = (
    "Each interval is of the mean over these tasks, by how the draws of each differ (n pairs of "
    "task and draw); it says nothing of other tasks."
)


def accuracies(rows: Iterable[Mapping[str, Any]]) -> dict[Key, float]:
    """By task and draw."""
    return {(row["task"], row["draw"]): row["accuracy"] for row in rows}


def compared(ways: Mapping[str, Mapping[Key, float]], default: str) -> list[str]:
    """A table of the ways less the default one, in Markdown.

    Args:
        ways: accuracies of each.
        default: which of them is taken from the others.
    """
    known = ways.get(default, {})
    found = {}
    for name, values in ways.items():
        by_task: dict[str, list[float]] = {}
        for (task, draw), value in values.items():
            if (task, draw) in known:
                by_task.setdefault(task, []).append(value - known[task, draw])
        if name != default and by_task and min(map(len, by_task.values())) > 1:
            found[name] = list(by_task.values())
    told = {name: stratified(differences) for name, differences in found.items()}
    p_values = holm([p_value for *_, p_value in told.values()])
    lines = [*HEAD]
    for (name, (mean, half, _)), p_value in zip(told.items(), p_values, strict=True):
        shown = "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"
        lines.append(
            f"| {name} | {mean:+.3f} | [{mean - half:+.3f}, {mean + half:+.3f}] | {shown} | "
            f"{sum(map(len, found[name]))} |"
        )
    return [*lines, "", MEANING] if found else lines


def stratified(differences: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """The mean over tasks, half the width of its 95 % interval, and p (two-sided t-test).

    Args:
        differences: of each task, for each draw; two draws at least.

    >>> mean, half, p = stratified([[0.1, 0.3], [0.0, 0.0]])
    >>> round(mean, 3), round(half, 3), round(p, 3)
    (0.1, 0.635, 0.295)
    """
    from scipy.stats import t

    tasks = len(differences)
    mean = float(np.mean([np.mean(own) for own in differences]))
    parts = np.array([np.var(own, ddof=1) / len(own) for own in differences]) / tasks**2
    if not parts.any():  # no draw differs from another
        return mean, 0.0, float(mean == 0)
    freedom = parts.sum() ** 2 / sum(
        part**2 / (len(own) - 1) for part, own in zip(parts, differences, strict=True)
    )
    error = np.sqrt(parts.sum())
    return mean, float(t.ppf(0.975, freedom) * error), float(2 * t.sf(abs(mean) / error, freedom))
