"""Measuring a trained model: held-out loss, cloze examples and zero-shot prompting."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM
from transformers import PreTrainedTokenizerBase as HubTokenizer

from experiments.embedded.batches import (
    IGNORED,
    PackedSequences,
    build_rows,
    mask_batch,
    mask_rates,
    special_ids,
)
from experiments.embedded.model import masked_losses
from experiments.embedded.recipe import Masking, Recipe, read_recipe

HELD_OUT_MASKING = Masking(
    rate=0.15, frequent_rate=0.15, frequent=1, mask_token=1.0, random_token=0.0
)
"""Every word alike with probability 0.15, always shown as [MASK]."""
ROWS = 16
INPUTS = 64


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


def prompt_ids(model: Model, template: str, text: str) -> list[int]:
    """Return the ids of a filled template; the text is cut so that the rest always fits."""
    before, after = template.replace("{mask}", model.tokenizer.mask_token).split("{text}")

    def ids(part: str) -> list[int]:
        return list(model.tokenizer(part, add_special_tokens=False)["input_ids"])

    first, last = ids(before), ids(after)
    room = model.longest - 2 - len(first) - len(last)
    return [
        model.tokenizer.cls_token_id,
        *first,
        *ids(text)[:room],
        *last,
        model.tokenizer.sep_token_id,
    ]


@torch.no_grad()
def mask_log_probabilities(model: Model, inputs: list[list[int]]) -> torch.Tensor:
    """Return log-probabilities over the vocabulary at each mask: (inputs, vocabulary)."""
    results: list[torch.Tensor] = [torch.empty(0)] * len(inputs)
    order = sorted(range(len(inputs)), key=lambda at: len(inputs[at]))
    for start in range(0, len(order), INPUTS):
        part = order[start : start + INPUTS]
        width = max(len(inputs[at]) for at in part)
        ids = torch.full((len(part), width), model.tokenizer.pad_token_id)
        for line, at in zip(ids, part, strict=True):
            line[: len(inputs[at])] = torch.tensor(inputs[at])
        hidden = model.network.bert(
            input_ids=ids, attention_mask=(ids != model.tokenizer.pad_token_id).long()
        ).last_hidden_state
        scores = model.network.cls(hidden[ids == model.tokenizer.mask_token_id])
        for at, line in zip(part, scores.log_softmax(-1), strict=True):
            results[at] = line
    return torch.stack(results)


def label_scores(
    model: Model, template: str, texts: list[str], words: dict[str, list[str]]
) -> torch.Tensor:
    """Return the log of the mean probability of each label's words: (texts, labels)."""
    found = mask_log_probabilities(model, [prompt_ids(model, template, text) for text in texts])
    vocabulary = model.tokenizer.get_vocab()
    columns = []
    for label, options in words.items():
        ids = [vocabulary[option] for option in options if option in vocabulary]
        if len(ids) < len(options):
            raise ValueError(f"a word of label {label!r} is not in the vocabulary: {options}")
        columns.append(found[:, ids].logsumexp(-1) - math.log(len(ids)))
    return torch.stack(columns, dim=1)


def zero_shot(model: Model, path: Path, groups: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the accuracy of every prompt that fits the labels of a task file.

    ``calibrated`` subtracts each label's mean score over the (unlabelled) inputs, as in batch
    calibration (Zhou et al. 2023).
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    examples = [json.loads(line) for line in lines]
    labels = [example["label"] for example in examples]
    results = []
    for group in groups.values():
        names = list(group["labels"])
        if not set(labels) <= set(names):
            continue
        wanted = torch.tensor([names.index(label) for label in labels])
        for prompt in group["prompts"]:
            texts = [example["text"] for example in examples]
            scores = label_scores(model, prompt, texts, group["labels"])
            calibrated = scores - scores.mean(0)
            results.append(
                {
                    "task": path.parent.name,
                    "n": len(labels),
                    "majority": Counter(labels).most_common(1)[0][1] / len(labels),
                    "prompt": prompt,
                    "plain": float((scores.argmax(1) == wanted).float().mean()),
                    "calibrated": float((calibrated.argmax(1) == wanted).float().mean()),
                }
            )
    return results


def cloze_examples(model: Model, templates: list[str]) -> list[dict[str, Any]]:
    """Return the five likeliest words at the mask of each template."""
    inputs = [prompt_ids(model, "{text}" + template, "") for template in templates]
    found = mask_log_probabilities(model, inputs).exp().topk(5)
    return [
        {
            "text": template.replace("{mask}", "[MASK]"),
            "words": model.tokenizer.convert_ids_to_tokens(ids.tolist()),
            "probabilities": [round(value, 3) for value in values.tolist()],
        }
        for template, ids, values in zip(templates, found.indices, found.values, strict=True)
    ]


def measure(
    recipe: Recipe, folder: Path, held_out: Path, prompts: Path, tasks: list[Path]
) -> dict[str, Any]:
    """Return all figures of one model folder; ``tasks`` are folders that hold ``dev.jsonl``."""
    model = load_model(folder)
    groups = yaml.safe_load(prompts.read_text(encoding="utf-8"))
    templates = groups.pop("cloze")
    found = [entry for task in tasks for entry in zero_shot(model, task / "dev.jsonl", groups)]
    return {
        "held_out": held_out_loss(model, recipe, folder, held_out),
        "cloze": cloze_examples(model, templates),
        "zero_shot": found,
    }


def main() -> None:
    """Measure a model folder and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, default=Path(__file__).parent / "prompts.yaml")
    parser.add_argument("--task", type=Path, action="append", default=[], metavar="FOLDER")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.config)
    torch.set_num_threads(recipe.training.threads)
    held_out = arguments.work / "held_out.npz"
    figures = measure(recipe, arguments.model, held_out, arguments.prompts, arguments.task)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
