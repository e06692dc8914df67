"""A tiny random T5 with a Unigram tokenizer and sentinels, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny_models
import torch
import transformers

SPECIALS = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]


def tokenizer_of(pieces: Sequence[tuple[str, float]], sentinels: int = 4) -> Any:
    """A T5 tokenizer; as in the real one the sentinels stand at the end of the vocabulary."""
    if not sentinels:
        tokenizer = transformers.T5Tokenizer([*SPECIALS, *pieces], extra_ids=0)
        assert "<extra_id_0>" not in tokenizer.get_vocab()
        return tokenizer
    marks = [(f"<extra_id_{number}>", 0.0) for number in reversed(range(sentinels))]
    return transformers.T5Tokenizer([*SPECIALS, *pieces, *marks], extra_ids=sentinels)


def build(
    directory: Path,
    pieces: Sequence[tuple[str, float]] | None = None,
    *,
    sentinels: int = 4,
    scaled: bool = True,
    spare: int = 3,
    seed: int = 0,
) -> Path:
    """Save a tiny T5 with its tokenizer, as `save_pretrained` does.

    Args:
        directory: where to.
        pieces: the vocabulary between the special tokens and the sentinels; by default the words
            of `tiny_models`, so that every ASCII word can be spelled.
        sentinels: how many.
        scaled: whether the decoder's states are scaled before the head, as in T5 1.0 and not in
            1.1 (transformers reads that from `tie_word_embeddings`, and always ties).
        spare: entries that the model has and the tokenizer lacks; the real T5 has 28.
        seed: of the weights.
    """
    if pieces is None:
        pieces = tiny_models.unigram_pieces([], cased=True)
    tokenizer = tokenizer_of(pieces, sentinels)
    config = transformers.T5Config(
        vocab_size=len(tokenizer) + spare,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=2,
        relative_attention_num_buckets=8,
        decoder_start_token_id=0,
        tie_word_embeddings=scaled,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = transformers.AutoModelForSeq2SeqLM.from_config(config)
        for parameter in module.parameters():  # wide, so that scores differ by whole units
            torch.nn.init.normal_(parameter, std=0.6)
    module.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
