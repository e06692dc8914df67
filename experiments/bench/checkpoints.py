"""Model directories with random weights, which every side loads in its own way.

`python -m experiments.bench.checkpoints SHAPE DIRECTORY [TOKENIZER]` makes one. The sides run other
versions of transformers than this, so the files are the ones that all versions read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from autoprompt.models.embedded import embedded_path
from autoprompt.tasks.task import Task
from experiments.bench.shapes import SHAPES, Shape

SEED = 0
LENGTH = 512  # positions of a model
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def make(shape: Shape, folder: Path, tokenizer: Path | None) -> None:
    """Write a checkpoint.

    Args:
        shape: of the model.
        folder: a new directory.
        tokenizer: a directory with a masked model's tokenizer of the shape's vocabulary; without
            one, the embedded model's, filled up with made-up words.
    """
    import torch

    folder.mkdir(parents=True)
    torch.manual_seed(SEED)
    _random_model(shape).save_pretrained(folder)
    if shape.family == "causal":
        _save(folder, "GPT2Tokenizer", _byte_level(shape.vocabulary), {})
    elif tokenizer is not None:
        settings = json.loads((tokenizer / "tokenizer_config.json").read_text())
        text = (tokenizer / "tokenizer.json").read_text()
        _save(folder, settings["tokenizer_class"], json.loads(text), settings)
    else:
        settings = json.loads((embedded_path() / "tokenizer_config.json").read_text())
        text = (embedded_path() / "tokenizer.json").read_text()
        filled = _filled(json.loads(text), shape.vocabulary)
        _save(folder, settings["tokenizer_class"], filled, settings)


def _random_model(shape: Shape) -> Any:
    import transformers

    if shape.family == "causal":
        return transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=shape.vocabulary,
                n_layer=shape.layers,
                n_embd=shape.width,
                n_head=shape.heads,
                n_positions=LENGTH,
                bos_token_id=0,
                eos_token_id=0,
            )
        )
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=4 * shape.width,
            max_position_embeddings=LENGTH,
        )
    )


def _save(folder: Path, name: str, pipeline: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write a tokenizer; older versions also want the tables of the slow one."""
    whole = {**settings, "tokenizer_class": name, "model_max_length": LENGTH}
    known = pipeline["model"]["vocab"]
    if name == "BertTokenizer":
        (folder / "vocab.txt").write_text("\n".join(sorted(known, key=known.get)) + "\n")
    else:
        whole |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
        (folder / "vocab.json").write_text(json.dumps(known))
        merges = [" ".join(pair) for pair in pipeline["model"]["merges"]]
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "tokenizer.json").write_text(json.dumps(pipeline))
    (folder / "tokenizer_config.json").write_text(json.dumps(whole))


def _filled(pipeline: dict[str, Any], size: int) -> dict[str, Any]:
    """A WordPiece tokenizer with as many entries as the model has embeddings.

    ucinlp/autoprompt takes the two numbers for the same.
    """
    known = pipeline["model"]["vocab"]
    for word in _made_up_words(2 * size):
        if len(known) == size:
            break
        known.setdefault(word, len(known))
    return pipeline


def _byte_level(size: int) -> dict[str, Any]:
    """A byte-level BPE of a given size, trained on the sample task's words and made-up ones."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    task = Task.load("sentiment")
    texts = [example.fields["text"] for part in (task.train, task.dev) for example in part]
    # Real words several times, so that they are merged before the made-up ones.
    lines = [*(f" {text}" for text in texts for _ in range(50))]
    lines += [f" {word}" for word in _made_up_words(2 * size)]
    tokenizer.train_from_iterator(lines, trainer)
    made: dict[str, Any] = json.loads(tokenizer.to_str())
    if len(made["model"]["vocab"]) != size:
        raise ValueError(f"a vocabulary of {len(made['model']['vocab'])} instead of {size}")
    return made


def _made_up_words(count: int) -> list[str]:
    """Pronounceable words of three to four syllables, the same ones every time."""
    chance = np.random.default_rng(SEED)
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = int(chance.integers(3, 5))
        letters = [
            CONSONANTS[chance.integers(len(CONSONANTS))] + VOWELS[chance.integers(len(VOWELS))]
            for _ in range(syllables)
        ]
        found["".join(letters)] = None
    return list(found)


if __name__ == "__main__":
    given = sys.argv[1:]
    make(SHAPES[given[0]], Path(given[1]), Path(given[2]) if given[2:] else None)
