"""Figures of models side by side, as Markdown tables.

A model's figures are what `evaluate.measure` returns; they may lack a part that was not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]
ABSENT = "–"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def with_interval(found: Mapping[str, float] | None) -> str:
    """A share with its 95% interval, as in "0.615 [0.570, 0.659]"."""
    if found is None:
        return ABSENT
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def loss_table(models: Mapping[str, Figures]) -> str:
    """Held-out loss in nats a token, by source; each model on its own tokens."""

    def cell(figures: Figures, name: str) -> str:
        held_out = figures.get("held_out") or {}
        entry = held_out if name == "all" else held_out.get("sources", {}).get(name)
        return f"{entry['loss']:.3f}" if entry else ABSENT

    sources = _union(
        (figures.get("held_out") or {}).get("sources", {}) for figures in models.values()
    )
    rows = [
        [name, *(cell(figures, name) for figures in models.values())] for name in [*sources, "all"]
    ]
    return table(["source", *models], rows) if sources else ""


def cloze_table(models: Mapping[str, Figures], parts: bool = False) -> str:
    """Cloze accuracy by group, and by part of a group on request."""
    found = {name: figures["cloze"]["accuracy"] for name, figures in models.items()}
    first = next(iter(found.values()))
    rows = [
        [
            group,
            str(first[group]["n"]),
            f"{first[group]['chance']:.3f}",
            *(with_interval(one.get(group)) for one in found.values()),
        ]
        for group in first
        if parts or ":" not in group
    ]
    return table(["group", "n", "chance", *models], rows)


def _way(way: str) -> Callable[[Mapping[str, Any]], float]:
    return lambda row: float(row[way]["value"])


def zero_shot_table(models: Mapping[str, Figures]) -> str:
    """The mean over all expert prompts, and the range; no prompt is picked."""

    def cell(figures: Figures, task: str, way: str) -> str:
        values = [_way(way)(row) for row in figures["zero_shot"] if row["task"] == task]
        return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else ABSENT

    rows = [
        [
            task,
            str(row["plain"]["n"]),
            f"{row['majority']:.3f}",
            *(cell(figures, task, way) for figures in models.values() for way in WAYS),
        ]
        for task, row in _tasks(models, "zero_shot").items()
    ]
    columns = [f"{name}, {way}" for name in models for way in WAYS]
    return table(["task", "n", "majority class", *columns], [*rows, _zero_shot_means(models)])


WAYS = ("plain", "calibrated")


def _zero_shot_means(models: Mapping[str, Figures]) -> list[str]:
    cells = [
        f"{_task_mean(figures['zero_shot'], _way(way)):.3f}"
        for figures in models.values()
        for way in WAYS
    ]
    return ["mean", "", "", *cells]


def prompt_table(models: Mapping[str, Figures]) -> str:
    """Each expert prompt's zero-shot accuracies."""

    def cell(figures: Figures, key: tuple[str, str], way: str) -> str:
        for row in figures["zero_shot"]:
            if (row["task"], row["prompt"]) == key:
                return f"{_way(way)(row):.3f}"
        return ABSENT

    keys = _union(
        [(row["task"], row["prompt"]) for row in figures["zero_shot"]]
        for figures in models.values()
    )
    rows = [
        [
            key[0],
            f"`{key[1]!r}`" if "\n" in key[1] else f"`{key[1]}`",
            *(cell(figures, key, way) for figures in models.values() for way in WAYS),
        ]
        for key in keys
    ]
    return table(["task", "prompt", *(f"{name}, {way}" for name in models for way in WAYS)], rows)


def few_shot_table(models: Mapping[str, Figures]) -> str:
    """What searches on few examples return, beside the best expert prompt; means over draws."""

    def cell(figures: Figures, task: str, way: str) -> str:
        values = [_way(way)(row) for row in figures["few_shot"] if row["task"] == task]
        return f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if values else ABSENT

    ways = ("expert", "searched")
    rows = [
        [
            task,
            str(row["shots"]),
            str(row["searched"]["n"]),
            *(cell(figures, task, way) for figures in models.values() for way in ways),
        ]
        for task, row in _tasks(models, "few_shot").items()
    ]
    means = [
        f"{_task_mean(figures['few_shot'], _way(way)):.3f}" if figures["few_shot"] else ABSENT
        for figures in models.values()
        for way in ways
    ]
    header = [
        "task",
        "examples a label",
        "n",
        *(f"{name}, {way}" for name in models for way in ways),
    ]
    return table(header, [*rows, ["mean", "", "", *means]]) if rows else ""


def open_table(models: Mapping[str, Figures]) -> str:
    """The likeliest words of open sentences."""

    def cell(entry: Mapping[str, Any]) -> str:
        pairs = zip(entry["words"], entry["probabilities"], strict=True)
        return ", ".join(f"{word} ({probability:.2f})" for word, probability in pairs)

    shown = [figures["cloze"]["open"] for figures in models.values()]
    rows = [
        [f"`{entries[0]['text']}`", *map(cell, entries)] for entries in zip(*shown, strict=True)
    ]
    return table(["input", *models], rows)


def all_tables(models: Mapping[str, Figures]) -> str:
    """Everything that there is to compare, for a terminal."""
    titled = {
        "Held-out loss (nats a token)": loss_table(models),
        "Cloze accuracy [95% interval]": cloze_table(models, parts=True),
        "Zero-shot accuracy, mean over expert prompts (range)": zero_shot_table(models),
        "Few-shot accuracy, mean over draws (range)": few_shot_table(models),
        "Likeliest words": open_table(models),
    }
    return "\n".join(f"{title}\n\n{text}" for title, text in titled.items() if text)


def _tasks(models: Mapping[str, Figures], part: str) -> dict[str, Mapping[str, Any]]:
    """Task to one of its rows, in order."""
    found: dict[str, Mapping[str, Any]] = {}
    for figures in models.values():
        for row in figures[part]:
            found.setdefault(row["task"], row)
    return found


def _task_mean(
    rows: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], float]
) -> float:
    """The mean over tasks of the mean over their rows."""
    tasks = dict.fromkeys(row["task"] for row in rows)
    return mean([mean([value(row) for row in rows if row["task"] == task]) for task in tasks])


def _union(parts: Iterable[Iterable[Any]]) -> list[Any]:
    """All entries once, in order."""
    return list(dict.fromkeys(entry for part in parts for entry in part))
