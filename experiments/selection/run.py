"""`python -m experiments.selection.run`: simulate, and write RESULTS.md and results.json."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from autoprompt.files import write_atomically, write_json
from autoprompt.models.loading import load_model
from autoprompt.models.protocol import LanguageModel
from autoprompt.searching.selection_data import SelectionData
from autoprompt.tasks.examples import split_digest
from experiments.selection.candidates import measure_all
from experiments.selection.collect import SHOTS, SPACES, Material, word_scores
from experiments.selection.report import written
from experiments.selection.simulation import Row, over_tasks, simulate

HERE = Path(__file__).parent
SIZES = (60, 250)
REPETITIONS = 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run the experiment."""
    parser = argparse.ArgumentParser(description="Compare selection rules in simulated searches.")
    parser.add_argument("--datasets", type=Path, required=True, help="holds a folder for each task")
    parser.add_argument("--model", required=True, help="directory or Hugging Face name")
    parser.add_argument("--task", nargs="+", choices=list(SPACES), default=list(SPACES))
    parser.add_argument("--templates", type=int, default=30, help="the seeds' own included")
    parser.add_argument("--truth", type=int, default=300, help="examples of the dev file, at most")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="searches for a draw")
    parser.add_argument("--work", type=Path, help="keep word scores here, and use those kept")
    options = parser.parse_args(arguments)
    model = load_model(options.model)
    tasks: dict[str, Any] = {}
    rows: list[Row] = []
    for name in options.task:
        material = Material.load(
            options.datasets / name, SPACES[name], options.seeds, options.templates, options.truth
        )
        tasks[name], found = one_task(model, material, options.work, options.repetitions)
        rows += found
    document = {
        "model": {"name": Path(options.model).name, "weights": model.identity.weights},
        "shots": SHOTS,
        "seeds": options.seeds,
        "templates": options.templates,
        "repetitions": options.repetitions,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tasks": tasks,
    }
    write_json(
        HERE / "results.json",
        {**document, "rows": [row.to_dict() for row in [*rows, *over_tasks(rows)]]},
    )
    write_atomically(HERE / "RESULTS.md", written(document, rows, command(options, parser)))


def one_task(
    model: LanguageModel, material: Material, work: Path | None, repetitions: int
) -> tuple[dict[str, Any], list[Row]]:
    """Simulate searches on one task.

    Args:
        model: the language model.
        material: the task's.
        work: see `word_scores`.
        repetitions: searches for each few-shot draw and size.

    Returns:
        What the task is, for the report, and a row for each size and rule.
    """
    print(f"{material.name}: scoring words", flush=True)
    scorer = word_scores(model, material, work)
    print(f"{material.name}: scoring prompts", flush=True)
    pools = {seed: measure_all(material, seed, scorer) for seed in material.draws}
    print(f"{material.name}: searching", flush=True)
    rows = [row for size in SIZES for row in simulate(material.name, pools, size, repetitions)]
    seed, task = next(iter(material.draws.items()))
    data = SelectionData.of(task, seed)
    sizes = sorted({len(pool.others) for pool in pools.values()})
    facts = {
        "space": material.table.space.name,
        "labels": len(task.labels),
        "selection": len(data.examples),
        "dev": len(data.dev),
        "truth": len(material.truth),
        "truth digest": split_digest(material.truth),
        "seed prompts": material.table.seeds,
        "pool": sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}",
    }
    return facts, rows


def command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The command that writes these results again, paths left out."""
    words = ["python -m experiments.selection.run --datasets DIR --model DIR"]
    for name in ("task", "templates", "truth", "seeds", "repetitions"):
        value = getattr(options, name)
        if value != parser.get_default(name):
            listed = value if isinstance(value, list) else [value]
            words.append(f"--{name} {' '.join(map(str, listed))}")
    return " ".join(words)


if __name__ == "__main__":
    main()
