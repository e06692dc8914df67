"""RESULTS.md: a table for each task, and what the tables say."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from experiments.selection.rules import BASELINE, DEV, FIXED_BAR, ORACLE, PRODUCT
from experiments.selection.simulation import ALL, Row, over_tasks

METHOD = """\
# Which selection rule returns the best prompts

Written by `{command}`.

A search with few examples must say which of its prompts to return. Here searches are simulated on
real tasks, and every rule chooses in the same ones. For each few-shot draw ({shots} train and
{shots} dev examples a label, drawn from the train file) all prompts of a pool are scored as the
product scores them, by its own code: {templates} templates of the shipped space, each with the
seeds' words and with 1 to 3 words a label fitted on train, each with no, contextual and batch
calibration. Train counts cross-fitted. A simulated search has the seed prompts and {sizes} random
others; {repetitions} such searches are drawn for each few-shot draw. What a rule picks is judged by
its accuracy on other examples, of the dev file ("truth"); the test file is never read.

Model: {model} (weights {weights}); torch {torch}, transformers {transformers}. Few-shot draws:
{draws} (seeds {seeds}). Means are over the draws; in brackets is their 95 % interval (Student's t,
n = {draws} draws). It covers the luck of the draw, not the choice of templates, truth examples,
tasks and model, which all draws share. It has no width where the same prompt wins in every draw.

- *true accuracy*: of the prompt that the rule returns;
- *gain*: the same less that of the best seed (the baseline, chosen on the same data);
- *worse*: the share of searches whose prompt is truly worse than the best seed.

Train + dev are all selection examples; likelihood is the tempered one. The product's rule asks a
contender to beat the best seed by a bar that grows with the number of candidates (Bonferroni); the
two variants have a fixed bar. The oracle knows the truth, and its value is flattered by picking the
luckiest on the truth examples.
"""
LIMITS = """\
A bar costs gain where many candidates are truly better than the seed, and prevents losses where the
seed is hard to beat. A search cannot know beforehand which of the two its task is.

Not simulated: the sampler (candidates are random here, while a search proposes more of what did
well), the race that drops hopeless candidates early, demonstrations, and aggregation by the mean.
The rule was designed with an eye on such simulations of these tasks and draws, so the numbers
explain the choice; they are no independent test of it.
"""


def written(document: dict[str, Any], rows: Sequence[Row], command: str) -> str:
    """The whole of RESULTS.md.

    Args:
        document: what results.json holds beside the rows.
        rows: of the single tasks.
        command: that makes the file again.
    """
    means = over_tasks(rows)
    head = METHOD.format(
        command=command,
        shots=document["shots"],
        templates=document["templates"],
        sizes=" or ".join(map(str, _sizes(rows))),
        repetitions=document["repetitions"],
        model=document["model"]["name"],
        weights=document["model"]["weights"],
        **document["versions"],
        draws=len(document["seeds"]),
        seeds=", ".join(map(str, document["seeds"])),
    )
    parts = [head, "## What it shows\n", _findings(rows, means), LIMITS]
    for task, facts in document["tasks"].items():
        parts.append(
            f"## {task} ({facts['space']})\n\n"
            f"{facts['labels']} labels: {facts['selection']} selection examples "
            f"({facts['dev']} of them dev), {facts['truth']} truth examples; "
            f"{facts['seed prompts']} seed prompts and {facts['pool']} others.\n"
        )
        parts.append(_table([row for row in rows if row.task == task]))
    if len(document["tasks"]) > 1:
        parts.append(f"## {ALL[0].upper()}{ALL[1:]}\n")
        parts.append(_table(means))
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    columns = [
        f"{size}: {name}" for size in _sizes(rows) for name in ("true accuracy", "gain", "worse")
    ]
    lines = [f"| rule | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for rule in dict.fromkeys(row.rule for row in rows):
        cells = [cell for row in rows if row.rule == rule for cell in _cells(row)]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> list[str]:
    gain = "" if row.rule == BASELINE else row.gain.written("+.3f")
    return [row.accuracy.written(), gain, f"{row.worse:.0%}"]


def _findings(rows: Sequence[Row], means: Sequence[Row]) -> str:
    """One paragraph, its numbers and comparisons taken from the rows."""
    sentences = [_against_the_seed(means)]
    for task in dict.fromkeys(row.task for row in rows):
        own = [_find(rows, task, size, PRODUCT) for size in _sizes(rows)]
        sentences.append(
            f"On {task} the product's rule changes true accuracy by "
            + " and ".join(row.gain.written("+.3f") for row in own)
            + f", is worse than the seed in {_shares([row.worse for row in own])} and keeps it in "
            f"{_shares([row.kept for row in own])} of the searches."
        )
    return _wrapped(" ".join([*sentences, _where_others_lead(rows)]))


def _against_the_seed(means: Sequence[Row]) -> str:
    sizes = _sizes(means)

    def told(rule: str) -> str:
        own = [_find(means, ALL, size, rule) for size in sizes]
        gains = " and ".join(row.gain.written("+.3f") for row in own)
        return f"{gains}, and is truly worse in {_shares([row.worse for row in own])}"

    return (
        f"Over the tasks, what the product's rule returns differs from the best seed in true "
        f"accuracy by {told(PRODUCT)} of the searches (among {' and '.join(map(str, sizes))} "
        f"candidates, in this order throughout). With the obvious rule, best dev accuracy, it "
        f"differs by {told(DEV)}; with a fixed bar of 2 standard errors by {told(FIXED_BAR)}."
    )


def _where_others_lead(rows: Sequence[Row]) -> str:
    found = []
    for task in dict.fromkeys(row.task for row in rows):
        for size in _sizes(rows):
            product = _find(rows, task, size, PRODUCT).accuracy.value
            ahead = [
                f"{row.rule} by {row.accuracy.value - product:.3f}"
                for row in rows
                if (row.task, row.candidates) == (task, size)
                and row.rule != ORACLE
                and round(row.accuracy.value - product, 3) > 0
            ]
            if ahead:
                found.append(f"on {task} among {size}: {', '.join(ahead)}")
    if not found:
        return "No other rule has a higher mean true accuracy on any task and size."
    return f"Other rules have a higher mean true accuracy {'; '.join(found)}."


def _sizes(rows: Sequence[Row]) -> list[int]:
    return list(dict.fromkeys(row.candidates for row in rows))


def _shares(values: Sequence[float]) -> str:
    return " and ".join(f"{value:.0%}" for value in values)


def _find(rows: Sequence[Row], task: str, candidates: int, rule: str) -> Row:
    wanted = (task, candidates, rule)
    return next(row for row in rows if (row.task, row.candidates, row.rule) == wanted)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_on_hyphens=False) + "\n"
