"""Tables of the runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.fewshot.methods import METHODS
from experiments.fewshot.paired import accuracies, compared

DEFAULT = "+ label words, listed"
HEAD = """# What each ingredient is worth, on few-shot tasks

16 train and 16 dev examples a label; {draws} draws ({names}); a budget of {forwards:,} forwards for
every row (a backward pass counts two), spent or not; the trial that meets its end is finished, and
where candidates were screened in bfloat16 five finalists are scored in float32 on top. Accuracy in
float32 on {truth}, mean and standard deviation over
draws. The seed is the best expert prompt by the same selection data. Rows "+ structure" to
"everything" return a prompt by our selection rule, recipes by theirs (best on dev). Each row from
"+ label words, listed" on has composed templates too; "+ triggers" and "+ generated templates" add
to the listed label words. The default was chosen on dev files, other draws (CHOICES.md). Seconds
are wall clock, of two searches at a time on a machine with other work.
"""


def write(rows: Sequence[dict[str, Any]], phase: str, folder: Path) -> None:
    """Write RESULTS.md and results.json."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    methods = [name for name in METHODS if any(row["method"] == name for row in rows)]
    draws = sorted({row["draw"] for row in rows})
    sizes = {row["task"]: row["n"] for row in rows}
    truth = f"the {phase} files ({', '.join(f'{t}: {n}' for t, n in sizes.items())} examples)"
    lines = [
        HEAD.format(draws=len(draws), names=", ".join(map(str, draws)), forwards=4000, truth=truth),
        *_gaps(rows, tasks, methods, draws),
        f"| method | {' | '.join(tasks)} | mean | lift on seed | kept seed | forwards | seconds |",
        f"|---|{'---|' * (len(tasks) + 5)}",
    ]
    for method in methods:
        lines.append(_line(method, [r for r in rows if r["method"] == method], tasks))
    lines += ["", f"## Less the default ({DEFAULT}), paired by task and draw", ""]
    ways = {name: accuracies(r for r in rows if r["method"] == name) for name in methods}
    lines += compared(ways, DEFAULT)
    (folder / "RESULTS.md").write_text("\n".join(lines) + "\n")
    ordered = sorted(rows, key=lambda r: (r["method"], r["task"], r["draw"]))
    (folder / "results.json").write_text(json.dumps(ordered, indent=1) + "\n")


def _gaps(
    rows: Sequence[dict[str, Any]], tasks: Sequence[str], methods: Sequence[str], draws: Any
) -> list[str]:
    """A warning where runs are missing: rows then rest on different tasks and draws."""
    whole = len(tasks) * len(methods) * len(draws)
    if len(rows) == whole:
        return []
    return [f"**Not finished: {len(rows)} of {whole} runs. Rows do not compare yet.**", ""]


def _line(method: str, rows: Sequence[dict[str, Any]], tasks: Sequence[str]) -> str:
    cells = []
    for task in tasks:
        found = [row["accuracy"] for row in rows if row["task"] == task]
        cells.append(
            f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}"
            if len(found) > 1
            else f"{np.mean(found):.3f}"
            if found
            else ""
        )
    by_task = [[r["accuracy"] for r in rows if r["task"] == task] for task in tasks]
    mean = np.mean([np.mean(found) for found in by_task if found])
    lift = np.mean([row["accuracy"] - row["seed accuracy"] for row in rows])
    kept = np.mean([row["kept seed"] for row in rows])
    forwards = np.mean([row["forwards"] for row in rows])
    seconds = np.mean([row["seconds"] for row in rows])
    return (
        f"| {method} | {' | '.join(cells)} | {mean:.3f} | {lift:+.3f} | {kept:.0%} | "
        f"{forwards:,.0f} | {seconds:.0f} |"
    )
