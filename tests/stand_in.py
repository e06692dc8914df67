"""A stand-in for the embedded causal model: its shape and its kind of tokenizer, random weights.

Tests that are about the package, and not about what the model has learnt, take it: see the fixture
`causal_stand_in`.
"""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import decoders, models, pre_tokenizers, trainers

from autoprompt.spaces import SearchSpace, shipped_spaces
from autoprompt.tasks.task import Task, sample_tasks

VOCABULARY, MAX_LENGTH = 10_240, 256
PAD, END = "<|pad|>", "<|endoftext|>"


def texts() -> list[str]:
    """The texts of the sample tasks, and what the shipped spaces say."""
    tasks = [Task.load(name) for name in sample_tasks()]
    examples = [one for task in tasks for one in (*task.train, *task.dev, *task.test)]
    found = [text for one in examples for text in one.fields.values()]
    for name in shipped_spaces():
        space = SearchSpace.load(name)
        words = [word for group in (space.candidates or {}).values() for word in group]
        found += [f"It was {word}, {word}" for word in (*words, "great", "very", "bad")] * 3
    return found


def build_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE, cased; it knows a BOS token and does not add it."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts(), trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        bos_token=END,
        eos_token=END,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
    )


def build(directory: Path, seed: int = 0) -> Path:
    """Save model and tokenizer as they ship: float16 on disk, float32 in the configuration."""
    build_tokenizer().save_pretrained(directory)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        initializer_range=0.1,  # wide, so that prompts differ
        architectures=["LlamaForCausalLM"],
        dtype="float32",
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        module = transformers.LlamaForCausalLM(config)
    weights = {
        name: tensor.half().contiguous()
        for name, tensor in module.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    record = {**config.to_dict(), "dtype": "float32"}
    (directory / "config.json").write_text(json.dumps(record, indent=2) + "\n")
    return directory
