"""The table of prompting against tuning."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprompt.tuning.comparison import size
from experiments.fewshot.paired import accuracies, compared
from experiments.fewshot.run import DRAWS, TASKS
from experiments.fewshot.tuning import DEFAULT, ROWS, SURVEYED, settings_of

HEAD = """# Prompting against tuning, on few-shot tasks

16 train and 16 dev examples a label; draws {draws}. Accuracy in float32 on
{truth}, mean and standard deviation over draws.
"Searched prompt" is the winner of a search of {forwards:,} forwards in the shipped space; expert
prompts are each run's best seed. Tuned rows have the defaults of
`autoprompt tune`{changes}, stop by tempered cross-entropy on dev, and ship the weights that were
best there. Classifiers on TF-IDF and on sentence embeddings choose their one number on dev and are
then fitted on train and dev; of the tuned rows folds alone learn from dev. Knowledge is the
pseudo-perplexity on 200 ordinary sentences after tuning over that before, in the first {surveyed}
draws; examples are the labelled ones that a row has seen, the mean over tasks. Seconds are of
training alone (of the search in its row), on one thread, the median; two rows ran at a time.
"""
Row = dict[str, Any]


def write(rows: Sequence[Row], phase: str, folder: Path) -> None:
    """Write TUNING.md and tuning.json.

    Args:
        rows: one at least, all with the same settings.
        phase: "dev" or "test".
        folder: where to.
    """
    tasks = [task for task in TASKS if any(row["task"] == task for row in rows)]
    draws = sorted({row["draw"] for row in rows})
    counts = Counter(row["row"] for row in rows)
    names = [name for name in ROWS if counts[name] == len(tasks) * len(draws)]
    forwards, changes = settings_of(rows[0])
    sizes = ", ".join(f"{t}: {next(r['n'] for r in rows if r['task'] == t)}" for t in tasks)
    lines = [
        HEAD.format(
            draws=", ".join(map(str, draws)),
            truth=f"the {phase} files ({sizes} examples)",
            forwards=forwards,
            surveyed=SURVEYED,
            changes=f" but for {', '.join(f'{k} {v}' for k, v in changes.items())}"
            if changes
            else "",
        )
    ]
    if left_out := [name for name in ROWS if name not in names]:
        lines.append(f"Not run on all tasks and draws, and left out: {'; '.join(left_out)}.\n")
    if missing := {*TASKS} - {*tasks} or {*DRAWS[phase]} - {*draws}:
        lines.append(f"**Not finished: without {', '.join(map(str, sorted(missing)))}.**\n")
    lines += [
        f"| way | {' | '.join(tasks)} | mean | trained | seconds | peak memory | to ship | "
        f"knowledge | examples |",
        f"|---|{'---|' * (len(tasks) + 7)}",
    ]
    for name in names:
        lines.append(_line(name, [row for row in rows if row["row"] == name], tasks))
    lines += ["", f"## Less the default ({DEFAULT}), paired by task and draw", ""]
    ways = {name: accuracies(row for row in rows if row["row"] == name) for name in names}
    lines += compared(ways, DEFAULT)
    (folder / "TUNING.md").write_text("\n".join(lines) + "\n")
    ordered = sorted(rows, key=lambda row: (row["row"], row["task"], row["draw"]))
    (folder / "tuning.json").write_text(json.dumps(ordered, indent=1) + "\n")


def _line(name: str, rows: Sequence[Row], tasks: Sequence[str]) -> str:
    cells, means = [], []
    for task in tasks:
        found = [row["accuracy"] for row in rows if row["task"] == task]
        if not found:
            cells.append("")
            continue
        means.append(np.mean(found))
        spread = f" ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else ""
        cells.append(f"{means[-1]:.3f}{spread}")
    seconds = np.median([row["seconds"] for row in rows])
    knowledge = [row["knowledge"] for row in rows if row["knowledge"] is not None]

    def mean(key: str) -> float:
        return float(np.mean([row[key] for row in rows]))

    return (
        f"| {name} | {' | '.join(cells)} | {np.mean(means):.3f} | {mean('parameters'):,.0f} | "
        f"{seconds:.0f} | {size(int(mean('peak memory')))} | {size(int(mean('bytes')))} | "
        f"{f'{np.mean(knowledge):.2f}' if knowledge else '-'} | {mean('examples'):.0f} |"
    )
