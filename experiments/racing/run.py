"""`python -m experiments.racing.run`: replay searches, and write RESULTS.md and results.json."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from autoprompt.files import write_atomically, write_json
from autoprompt.models.loading import load_model
from experiments.racing.entrants import SETTINGS, Field
from experiments.racing.matrices import fields
from experiments.racing.report import written
from experiments.racing.simulation import Run, simulate
from experiments.selection.collect import SPACES, Material, word_scores

HERE = Path(__file__).parent
TASKS = {**SPACES, "rte": "nli"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run the experiment."""
    parser = argparse.ArgumentParser(description="Compare rules that drop candidates early.")
    parser.add_argument("--datasets", type=Path, required=True, help="holds a folder for each task")
    parser.add_argument("--model", required=True, help="directory or Hugging Face name")
    parser.add_argument("--task", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--templates", type=int, default=30, help="the seeds' own included")
    parser.add_argument("--truth", type=int, default=300, help="examples of the dev file, at most")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--fresh", type=int, nargs="*", default=[6, 7, 8, 9, 10])
    parser.add_argument("--candidates", type=int, default=100, help="of a search, beside the seeds")
    parser.add_argument("--repetitions", type=int, default=5, help="searches for a draw")
    parser.add_argument("--work", type=Path, help="keep word scores here, and use those kept")
    options = parser.parse_args(arguments)
    model = load_model(options.model)
    facts: dict[str, Any] = {}
    runs: list[Run] = []
    for name in options.task:
        for seeds in filter(None, (options.seeds, options.fresh)):
            print(f"{name}, draws {seeds}: scoring words", flush=True)
            material = Material.load(
                options.datasets / name, TASKS[name], seeds, options.templates, options.truth
            )
            scorer = word_scores(model, material, options.work)
            print(f"{name}, draws {seeds}: scoring prompts and racing", flush=True)
            found = fields(material, scorer)
            facts.setdefault(name, sizes(found))
            for field in found:
                runs += simulate(field, options.candidates, options.repetitions)
    document = {
        "model": {"name": Path(options.model).name, "weights": model.identity.weights},
        "seeds": options.seeds,
        "fresh": options.fresh,
        "templates": options.templates,
        "candidates": options.candidates,
        "repetitions": options.repetitions,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "tasks": facts,
    }
    write(document, runs, command(options, parser))


def sizes(found: Sequence[Field]) -> dict[str, int]:
    """Selection examples in each setting, alike in all draws but for examples met twice."""
    return {s: next(field.examples for field in found if field.setting == s) for s in SETTINGS}


def write(document: dict[str, Any], runs: Sequence[Run], how: str) -> None:
    """Write both files.

    Args:
        document: what the experiment was run with.
        runs: what came of it.
        how: the command.
    """
    write_json(HERE / "results.json", {**document, "runs": [run.to_dict() for run in runs]})
    write_atomically(HERE / "RESULTS.md", written(document, runs, how))


def command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The command that writes these results again, paths left out."""
    words = ["python -m experiments.racing.run --datasets DIR --model DIR"]
    for name in ("task", "templates", "truth", "seeds", "fresh", "candidates", "repetitions"):
        value = getattr(options, name)
        if value != parser.get_default(name):
            listed = value if isinstance(value, list) else [value]
            words.append(f"--{name} {' '.join(map(str, listed))}")
    return " ".join(words)


if __name__ == "__main__":
    main()
