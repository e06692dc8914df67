"""By what a tuning should stop: cross-entropy on dev, or that at the best temperature?

    python -m experiments.fewshot.stopping --datasets DIR --model DIR --work DIR

Trains through the searched prompt for all steps, with looks on the way, on draws and truth of the
phase "dev" of `tuning`; no test file is opened. Writes STOPPING.md: the accuracy on the truth of
the weights that either measure would have kept, had it stopped with the usual patience. Searches
and finished trainings are kept in WORK, which is of one model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES, SAME
from autoprompt.tuning.settings import TuningSettings
from experiments.fewshot.run import FORWARDS, TASKS, _Raw, material, rows_of
from experiments.fewshot.tuning import prepare, run_of, searched

HERE = Path(__file__).parent
RATES = (5e-5, 2e-5)
HEAD = """# By what a tuning stops

Tuning all weights through the searched prompt ({model}, 16 train and 16 dev examples a label), at
most {steps} steps with a look each {looks}, draws {draws}: accuracy on the tasks' dev files of the
weights that were best on the draw's own dev examples by either measure, which stops after
{patience} looks that are no better. No test file is opened.
`python -m experiments.fewshot.stopping` makes it anew.

| rate | task | draw | untuned | by cross-entropy | by tempered cross-entropy | last step |
|---|---|---|---|---|---|---|
"""
STEPS, LOOKS = 200, 10  # as `TuningSettings` has them
Row = dict[str, Any]


def main() -> None:
    """Parse, train what is missing, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS)[:3])
    parser.add_argument("--draws", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / "stopping.jsonl"
    done = {(row["task"], row["draw"], row["rate"]) for row in rows_of(kept)}
    jobs = [(t, d, rate) for rate in RATES for t in given.tasks for d in given.draws]
    options = (given.datasets, given.model, given.work, "dev", FORWARDS, {})
    context = multiprocessing.get_context("spawn")
    with (
        context.Pool(given.processes, prepare, options, maxtasksperchild=1) as pool,
        kept.open("a") as out,
    ):
        pool.map(searched, [(task, draw) for task in given.tasks for draw in given.draws])
        left = [(*job, given.datasets, given.model) for job in jobs if job not in done]
        for row in pool.imap_unordered(trained, left):
            out.write(json.dumps(row) + "\n")
            out.flush()
    rows = [row for row in rows_of(kept) if (row["task"], row["draw"], row["rate"]) in jobs]
    (HERE / "STOPPING.md").write_text(table(rows, Path(given.model).name))


def trained(job: tuple[str, int, float, Path, str]) -> Row:
    """One training, with what each look saw on dev and on the truth."""
    import autoprompt
    from autoprompt.models.transformer import TransformerModel
    from autoprompt.tuning.measuring import scores_of
    from autoprompt.tuning.methods import METHODS
    from autoprompt.tuning.sources import Source
    from autoprompt.tuning.training import Course

    name, draw, rate, datasets, path = job
    task, truth = material(datasets / name, draw, "dev")
    settings = TuningSettings(
        learning_rate=rate, seed=draw, steps=STEPS, evaluate_every=LOOKS, patience=STEPS
    )
    model = autoprompt.load_model(path, dtype="float32")
    assert isinstance(model, TransformerModel)
    one = Source.of(run_of(name, draw)).assignment(task)
    METHODS[settings.method]().attach(model, [one.prompt], settings)
    looks: list[dict[str, float]] = []

    class Watched(Course):
        def look(self) -> dict[str, float]:
            on_dev = super().look()
            on_truth = scores_of(model, one.prompt, truth).metric("accuracy")
            looks.append({**on_dev, "accuracy": on_truth})
            return on_dev

    with tempfile.TemporaryDirectory() as folder:
        Watched(model, [one]).train(settings, Path(folder) / "training")
    return {"task": name, "draw": draw, "rate": rate, "looks": looks}


def table(rows: Sequence[Row], model: str) -> str:
    """The page."""
    draws = ", ".join(map(str, sorted({row["draw"] for row in rows})))
    lines = []
    for rate in RATES:
        own = sorted((r for r in rows if r["rate"] == rate), key=lambda r: (r["task"], r["draw"]))
        cells = [_cells(row["looks"]) for row in own]
        lines += [
            f"| {rate:g} | {row['task']} | {row['draw']} | {_shown(cell)} |"
            for row, cell in zip(own, cells, strict=True)
        ]
        lines.append(f"| {rate:g} | mean | | {_shown(np.mean(cells, axis=0))} |")
    head = HEAD.format(
        model=model, steps=STEPS, looks=LOOKS, draws=draws, patience=TuningSettings().patience
    )
    return head + "\n".join(lines) + "\n"


def _cells(looks: Sequence[dict[str, float]]) -> list[float]:
    kept = [looks[kept_by(measure, looks)] for measure in (CROSS_ENTROPY, DECIDES)]
    return [look["accuracy"] for look in (looks[0], *kept, looks[-1])]


def kept_by(measure: str, looks: Sequence[dict[str, float]]) -> int:
    """The look whose weights are kept; the first one is untuned."""
    values = [look[measure] for look in looks]
    best, waited = 1, 0
    for at in range(2, len(values)):
        waited = 0 if values[at] < values[best] - SAME else waited + 1
        best = at if values[at] < values[best] else best
        if waited >= TuningSettings().patience:
            break
    return best if values[best] < values[0] - SAME else 0


def _shown(values: Sequence[float]) -> str:
    return " | ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
