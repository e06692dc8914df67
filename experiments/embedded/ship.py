"""Exporting a checkpoint as a model folder: float16 weights, tokenizer, and a measured card."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from experiments.embedded import accuracy
from experiments.embedded.card import write_card
from experiments.embedded.evaluate import measure
from experiments.embedded.held_out import HeldOut
from experiments.embedded.model import new_model
from experiments.embedded.recipe import Recipe, read_recipe
from experiments.embedded.train import CHECKPOINT

SHIPPED = [
    "config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "model.safetensors",
    "README.md",
]


TIED = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "lm_head.weight"}
"""What is stored once, under another name."""


def export(recipe: Recipe, work: Path, folder: Path) -> dict[str, Any]:
    """Write the checkpoint's model and tokenizer to a folder; return the run's progress.

    Training of a masked model never sees a second segment; its embedding is set to that of the
    first, so that pairs of texts are read like single ones.  The configuration asks for float32,
    in which the stored float16 weights are to be used on a processor without fast half precision.
    """
    stored: dict[str, Any] = torch.load(work / CHECKPOINT, weights_only=True, map_location="cpu")
    vocabulary = json.loads((work / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
    model = new_model(recipe, len(vocabulary["model"]["vocab"]))
    model.load_state_dict(stored["model"])
    if recipe.objective == "masked":
        types = model.bert.embeddings.token_type_embeddings.weight.data
        types[1] = types[0]
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name: tensor.detach().half().contiguous()
        for name, tensor in model.state_dict().items()
        if name not in TIED
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    model.config.dtype = "float32"
    model.config.use_cache = True
    model.config.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(work / "tokenizer" / name, folder / name)
    progress: dict[str, Any] = stored["progress"]
    progress["parameters"] = sum(tensor.numel() for tensor in weights.values())
    return progress


def replace_files(folder: Path, output: Path) -> None:
    """Copy the shipped files into the output folder, each replaced in one step."""
    output.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        partial = output / f".{name}.partial"
        shutil.copyfile(folder / name, partial)
        os.replace(partial, output / name)


def main() -> None:
    """Export, measure, describe and ship the checkpoint of a work directory."""
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sources", type=Path, default=here / "sources.yaml")
    parser.add_argument("--notes", type=Path, help="remarks on this run, added to the card")
    parser.add_argument("--datasets", type=Path, help="folder of real tasks to measure on")
    parser.add_argument("--figures", type=Path, help="measured by `evaluate --json` already")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.config)
    folder = arguments.work / "export"
    progress = export(recipe, arguments.work, folder)
    if arguments.figures:
        (figures,) = json.loads(arguments.figures.read_text(encoding="utf-8")).values()
    else:
        tasks = accuracy.measured_tasks(arguments.datasets, "dev", accuracy.FULL.most)
        figures = measure(folder, tasks, [HeldOut(recipe, arguments.work)])
    if figures["parameters"] != progress["parameters"] or figures["family"] != recipe.objective:
        raise ValueError(f"{arguments.figures} has the figures of another model")
    counts = json.loads((arguments.work / "counts.json").read_text(encoding="utf-8"))
    notes = arguments.notes.read_text(encoding="utf-8") if arguments.notes else ""
    write_card(folder / "README.md", recipe, progress, figures, counts, arguments.sources, notes)
    replace_files(folder, arguments.output)


if __name__ == "__main__":
    main()
