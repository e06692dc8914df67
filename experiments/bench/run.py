"""`python -m experiments.bench.run`: measure, and write RESULTS.md and results.json beside this."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import click
import torch
import transformers

from autoprompt.files import write_atomically, write_json
from autoprompt.models.loading import load_model
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.task import Task
from experiments.bench.factorised import compare, make_job

HERE = Path(__file__).parent
SHAPES = {"mini 4x256": (4, 256, 4), "base 12x768": (12, 768, 12)}
VOCABULARY = 30522


def random_model(shape: str, seed: int) -> MaskedLanguageModel:
    """A BERT of a given shape with random weights and the embedded model's tokenizer."""
    embedded: Any = load_model()
    layers, width, heads = SHAPES[shape]
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=embedded.encoder.max_length,
    )
    module = transformers.BertForMaskedLM(config).eval()
    return MaskedLanguageModel(module, embedded.encoder, embedded.identity)


@click.command()
@click.option("--repeats", default=3, show_default=True)
@click.option("--pairs", default=4, show_default=True, help="Naive passes in each repeat.")
@click.option("--seed", default=0, show_default=True)
@click.option("--shape", "shapes", multiple=True, default=("mini 4x256",), show_default=True)
def main(repeats: int, pairs: int, seed: int, shapes: tuple[str, ...]) -> None:
    """Measure the factorised scoring against one forward pass for each pair."""
    task = Task.load("sentiment")
    space = SearchSpace.load("sentiment").restricted(task.fields, task.labels)
    rows = []
    models = [("embedded", load_model()), *((shape, random_model(shape, seed)) for shape in shapes)]
    for name, model in models:
        job = make_job(model, space, task.test, templates=20, verbalizers=50, seed=seed)
        row = {"model": name, **compare(model, job, pairs, repeats, seed)}
        click.echo(json.dumps(row))
        rows.append(row)
    document = {
        "rows": rows,
        "machine": {"cores": torch.get_num_threads(), "platform": platform.machine()},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seed": seed,
    }
    write_json(HERE / "results.json", document)
    write_atomically(HERE / "RESULTS.md", _table(document))


def _table(document: dict[str, Any]) -> str:
    lines = [
        "# Speed, in ratios",
        "",
        "Written by `make bench`. Ratios of rates measured in turns in one run; medians. The naive",
        "loop is in `naive.py`: plain transformers, batches of 32 padded to the longest, all",
        "logits, one pass for each pair of template and verbalizer. The last column says how many",
        "predictions of the two ways are the same.",
        "",
        f"Cores: {document['machine']['cores']}; torch {document['versions']['torch']}, "
        f"transformers {document['versions']['transformers']}; seed {document['seed']}.",
        "",
        "| model | job | naive, prompts/s | ours, prompts/s | ratio | same predictions |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['model']} | {row['job']} | {row['naive_per_second']:.3g} | "
        f"{row['ours_per_second']:.3g} | {row['ratio']:.0f} | {row['same_predictions']:.4f} |"
        for row in document["rows"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
