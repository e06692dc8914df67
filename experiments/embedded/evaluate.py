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
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM
from transformers import PreTrainedTokenizerBase as HubTokenizer

import autoprompt
from autoprompt.models.embedded import EMBEDDED, embedded_path
from experiments.embedded import accuracy, cloze
from experiments.embedded.batches import (
    IGNORED,
    PackedSequences,
    build_rows,
    mask_batch,
    mask_rates,
    special_ids,
)
from experiments.embedded.compare import all_tables
from experiments.embedded.model import masked_losses
from experiments.embedded.recipe import Masking, Recipe, read_recipe

HELD_OUT_MASKING = Masking(
    rate=0.15, frequent_rate=0.15, frequent=1, mask_token=1.0, random_token=0.0
)
"""Every word alike with probability 0.15, always shown as [MASK]."""
ROWS = 16


@dataclass(frozen=True)
class Model:
    """A loaded model folder."""

    network: BertForMaskedLM
    tokenizer: HubTokenizer
    longest: int


def load_model(folder: Path) -> Model:
    """Load a model folder as any user of it would."""
    network = AutoModelForMaskedLM.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return Model(network, tokenizer, network.config.max_position_embeddings)


@torch.no_grad()
def held_out_loss(model: Model, recipe: Recipe, folder: Path, path: Path) -> dict[str, Any]:
    """Return the masked-LM loss (nats a token) on held-out documents, in all and by source.

    Documents and masks are fixed by the recipe's seed; whole words are masked.
    """
    special = special_ids(Tokenizer.from_file(str(folder / "tokenizer.json")))
    packed = PackedSequences(path)
    counts = np.bincount(packed.ids, minlength=model.network.config.vocab_size)
    rates = mask_rates(counts, HELD_OUT_MASKING, special)
    sources: dict[str, dict[str, float]] = {}
    for number, name in enumerate(recipe.sources):
        order = np.flatnonzero(packed.source == number)
        rows = build_rows(packed, order, recipe.packing.row_length, special)
        random = np.random.default_rng([recipe.seed, 2, number])
        total = 0.0
        masked = 0
        for start in range(0, len(rows), ROWS):
            ids, segments = rows.ids[start : start + ROWS], rows.segments[start : start + ROWS]
            batch = mask_batch(
                ids, segments, rates, ids.size // 2, HELD_OUT_MASKING, special, random
            )
            used = int((batch.labels != IGNORED).sum())
            losses = masked_losses(
                model.network,
                batch.ids,
                batch.positions,
                batch.segments,
                batch.places[:used],
                batch.labels[:used],
            )
            total += float(losses.double().sum())
            masked += used
        sources[name] = {"loss": total / masked, "masked": masked}
    everything = sum(int(entry["masked"]) for entry in sources.values())
    loss = sum(entry["loss"] * entry["masked"] for entry in sources.values()) / everything
    return {
        "loss": loss,
        "perplexity": math.exp(loss),
        "masked": everything,
        "sources": sources,
    }


@dataclass(frozen=True)
class HeldOut:
    """Packed held-out text.

    Attributes:
        recipe: that it was packed by.
        work: its work directory, with the tokenizer.
    """

    recipe: Recipe
    work: Path

    def fits(self, folder: Path) -> bool:
        """Whether a model folder has the tokenizer that the text was packed with."""
        own, packed = (place / "tokenizer.json" for place in (folder, self.work / "tokenizer"))
        return own.read_bytes() == packed.read_bytes()

    def loss(self, folder: Path) -> dict[str, Any]:
        """The held-out loss of a model folder."""
        return held_out_loss(load_model(folder), self.recipe, folder, self.work / "held_out.npz")


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
    """Measure one or two model folders and print their figures side by side."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help='may be given again; "embedded" is the shipped model',
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
    torch.set_num_threads(given.threads)
    extent = accuracy.FAST if given.fast else accuracy.FULL
    split = "test" if given.test else "dev"
    tasks = accuracy.measured_tasks(given.datasets, split, extent.most)
    held_out = [HeldOut(read_recipe(recipe), work) for recipe, work in given.held_out]
    models = {}
    for named in given.model:
        name, _, place = named.rpartition("=")
        folder = embedded_path() if place == EMBEDDED else Path(place)
        models[name or place] = {"split": split, **measure(folder, tasks, held_out, extent)}
    if given.json:
        given.json.write_text(json.dumps(models, indent=1) + "\n", encoding="utf-8")
    if given.beside:
        models = {**json.loads(given.beside.read_text(encoding="utf-8")), **models}
    print(all_tables(models))


if __name__ == "__main__":
    main()
