"""Figures of models side by side, as Markdown tables.

A model's figures are what `evaluate.measure` returns; they may lack a part that was not measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]
ABSENT = "–"
ZERO, FEW = "zero_shot", "few_shot"
WAYS = {ZERO: ("plain", "calibrated"), FEW: ("expert", "searched")}


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
    """Held-out loss in nats a word, by source; models of one family can be compared."""

    def cell(figures: Figures, name: str) -> str:
        held_out = figures.get("held_out") or {}
        entry = held_out if name == "all" else held_out.get("sources", {}).get(name)
        return f"{entry['loss a word']:.3f}" if entry else ABSENT

    losses = [figures.get("held_out") or {} for figures in models.values()]
    sources = list(
        dict.fromkeys(name for held_out in losses for name in held_out.get("sources", {}))
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


def zero_shot_table(models: Mapping[str, Figures]) -> str:
    """The mean over all expert prompts, and the range; no prompt is picked."""
    rows = [
        [task, str(row["plain"]["n"]), f"{row['majority']:.3f}", *_spreads(models, ZERO, task)]
        for task, row in _tasks(models, ZERO).items()
    ]
    header = ["task", "n", "majority class", *_columns(models, ZERO)]
    return table(header, [*rows, ["mean", "", "", *_means(models, ZERO)]])


def few_shot_table(models: Mapping[str, Figures]) -> str:
    """What searches on few examples return, beside the best expert prompt; means over draws."""
    rows = [
        [task, str(row["shots"]), str(row["searched"]["n"]), *_spreads(models, FEW, task)]
        for task, row in _tasks(models, FEW).items()
    ]
    header = ["task", "examples a label", "n", *_columns(models, FEW)]
    return table(header, [*rows, ["mean", "", "", *_means(models, FEW)]]) if rows else ""


def prompt_table(models: Mapping[str, Figures]) -> str:
    """Each expert prompt's zero-shot accuracies."""

    def cells(key: tuple[str, str]) -> list[str]:
        found = []
        for figures in models.values():
            rows = [row for row in figures[ZERO] if (row["task"], row["prompt"]) == key]
            found += [f"{rows[0][way]['value']:.3f}" if rows else ABSENT for way in WAYS[ZERO]]
        return found

    keys = dict.fromkeys(
        (row["task"], row["prompt"]) for figures in models.values() for row in figures[ZERO]
    )
    rows = [[key[0], _code(key[1]), *cells(key)] for key in keys]
    return table(["task", "prompt", *_columns(models, ZERO)], rows)


def open_table(models: Mapping[str, Figures]) -> str:
    """The likeliest words of open sentences."""

    def cell(entry: Mapping[str, Any]) -> str:
        pairs = zip(entry["words"], entry["probabilities"], strict=True)
        return ", ".join(f"{word} ({probability:.2f})" for word, probability in pairs)

    shown = [figures["cloze"]["open"] for figures in models.values()]
    rows = [
        [_code(entries[0]["text"]), *map(cell, entries)] for entries in zip(*shown, strict=True)
    ]
    return table(["input", *models], rows)


def all_tables(models: Mapping[str, Figures]) -> str:
    """Everything that there is to compare, for a terminal."""
    titled = {
        "Held-out loss (nats a word)": loss_table(models),
        "Cloze accuracy [95% interval]": cloze_table(models, parts=True),
        "Zero-shot accuracy, mean over expert prompts (range)": zero_shot_table(models),
        "Zero-shot accuracy of each expert prompt": prompt_table(models),
        "Few-shot accuracy, mean over draws (range)": few_shot_table(models),
        "Likeliest words": open_table(models),
    }
    return "\n".join(f"{title}\n\n{text}" for title, text in titled.items() if text)


Rows = Sequence[Mapping[str, Any]]


def _code(text: str) -> str:
    """Text in a cell, on one line."""
    return f"`{text}`".replace("\n", "\\n").replace("|", "\\|")


def _columns(models: Mapping[str, Figures], part: str) -> list[str]:
    return [f"{name}, {way}" for name in models for way in WAYS[part]]


def _spreads(models: Mapping[str, Figures], part: str, task: str) -> list[str]:
    """For each model and way the mean accuracy on a task, and the range."""
    found = []
    for figures in models.values():
        rows = [row for row in figures[part] if row["task"] == task]
        for way in WAYS[part]:
            values = [row[way]["value"] for row in rows]
            spread = f"{mean(values):.3f} ({min(values):.3f} to {max(values):.3f})" if rows else ""
            found.append(spread or ABSENT)
    return found


def _means(models: Mapping[str, Figures], part: str) -> list[str]:
    """For each model and way the mean over the tasks that all models have."""
    shared = set.intersection(*({row["task"] for row in one[part]} for one in models.values()))
    return [
        f"{mean([_task_mean(figures[part], task, way) for task in sorted(shared)]):.3f}"
        if shared
        else ABSENT
        for figures in models.values()
        for way in WAYS[part]
    ]


def _task_mean(rows: Rows, task: str, way: str) -> float:
    """The mean accuracy on a task over its prompts or draws."""
    return mean([row[way]["value"] for row in rows if row["task"] == task])


def _tasks(models: Mapping[str, Figures], part: str) -> dict[str, Mapping[str, Any]]:
    """Task to one of its rows, in order."""
    found: dict[str, Mapping[str, Any]] = {}
    for figures in models.values():
        for row in figures[part]:
            found.setdefault(row["task"], row)
    return found
