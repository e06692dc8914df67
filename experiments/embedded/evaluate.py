"""Measuring models: held-out loss, the cloze set, zero-shot and few-shot accuracy.

    python -m experiments.embedded.evaluate --model FOLDER [--model NAME=FOLDER] --datasets DIR \\
        [--held-out RECIPE WORK] [--beside FILE] [--json FILE]

prints tables with the models side by side; --beside adds those of an earlier --json. Held-out text
is packed for one tokenizer: a model is measured on that of the WORK whose tokenizer is its own, and
on none if there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import autoprompt
from autoprompt.models.embedded import source_of
from experiments.embedded import accuracy, cloze
from experiments.embedded.compare import all_tables
from experiments.embedded.held_out import HeldOut
from experiments.embedded.recipe import read_recipe


def measure(
    folder: Path,
    tasks: Sequence[accuracy.Measured],
    held_out: Sequence[HeldOut] = (),
    extent: accuracy.Extent = accuracy.FULL,
) -> dict[str, Any]:
    """All figures of one model folder.

    Args:
        folder: of a masked or a causal model.
        tasks: for zero- and few-shot accuracy, see `accuracy.measured_tasks`.
        held_out: the first that was packed with the model's tokenizer is taken.
        extent: how much of the tasks is measured.
    """
    parts, model = cloze.load(str(folder)), autoprompt.load_model(str(folder))
    fitting = next((one for one in held_out if one.fits(folder)), None)
    return {
        "family": parts.family.name,
        "weights": model.identity.weights,
        "parameters": sum(weights.numel() for weights in parts.module.parameters()),
        "vocabulary": len(parts.tokenizer),
        "held_out": fitting.loss(folder) if fitting else None,
        "cloze": cloze.measure_cloze(parts, cloze.read_cloze()),
        **accuracy.accuracies(model, tasks, extent, _told),
    }


def _told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure model folders and print their figures side by side."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help='may be given again; "embedded" and "embedded-causal" are the shipped ones',
    )
    parser.add_argument("--beside", type=Path, metavar="FILE", help="figures measured earlier")
    parser.add_argument("--datasets", type=Path, help="folder of real tasks; samples alone without")
    parser.add_argument(
        "--held-out", nargs=2, action="append", default=[], metavar=("RECIPE", "WORK"), type=Path
    )
    parser.add_argument("--test", action="store_true", help="score the test files, not dev")
    parser.add_argument("--fast", action="store_true", help="a small part, to try the command")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if not (given.model or given.beside):
        parser.error("name a --model, or --beside with figures")
    torch.set_num_threads(given.threads)
    extent = accuracy.FAST if given.fast else accuracy.FULL
    split = "test" if given.test else "dev"
    tasks = accuracy.measured_tasks(given.datasets, split, extent.most)
    held_out = [HeldOut(read_recipe(recipe), work) for recipe, work in given.held_out]
    models = {}
    for named in given.model:
        name, _, place = named.rpartition("=")
        folder = Path(source_of(place))
        models[name or place] = {"split": split, **measure(folder, tasks, held_out, extent)}
    if given.json:
        given.json.write_text(json.dumps(models, indent=1) + "\n", encoding="utf-8")
    if given.beside:
        models = {**json.loads(given.beside.read_text(encoding="utf-8")), **models}
    print(all_tables(models))


if __name__ == "__main__":
    main()
