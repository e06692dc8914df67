"""The parts of `infilling`'s beam search: what a token may be, and the decoder, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A row of the beam: tokens after the first sentinel, and how many gaps they have closed."""

    tokens: Ids
    score: float
    closed: int
    parent: int


@dataclass(frozen=True)
class Rules:
    """What may stand in a template, for each entry of the vocabulary.

    Attributes:
        texts: what it adds to a text before it; empty for special tokens.
        barred: it never may: special tokens, lone spaces, parts of a character, and one
            punctuation mark several times ("....", as LM-BFF's code does).
        glued: it goes on with a word, so it may not touch a slot.
        marks: it is punctuation, which may not stand twice in a row.
    """

    texts: tuple[str, ...]
    barred: torch.Tensor
    glued: torch.Tensor
    marks: torch.Tensor

    @classmethod
    def of(cls, tokenizer: Any, anchor: Sequence[int], size: int) -> Rules:
        """The rules of a tokenizer; entries after its last one, up to `size`, are barred."""
        special = set(tokenizer.all_special_ids) | {
            token for token, added in tokenizer.added_tokens_decoder.items() if added.special
        }
        rows = [[*anchor, token] for token in range(min(len(tokenizer), size))]
        decode = tokenizer.backend_tokenizer.decode_batch
        bare = len(decode([list(anchor)], skip_special_tokens=False)[0])
        found = [text[bare:] for text in decode(rows, skip_special_tokens=False)]
        texts = ["" if token in special else text for token, text in enumerate(found)]
        texts += [""] * (size - len(texts))
        marks = [not any(char.isalnum() for char in text) for text in texts]
        barred = [
            not text.strip() or "\ufffd" in text or (len(text.strip()) > 1 and mark)
            for text, mark in zip(texts, marks, strict=True)
        ]
        glued = [text[:1].isalnum() for text in texts]
        return cls(tuple(texts), torch.tensor(barred), torch.tensor(glued), torch.tensor(marks))


class Decoder:
    """The decoder on one example, for all rows of the beam at once.

    The rows share the keys and values of the encoder's states, as views; no padding is needed.

    Args:
        module: an encoder-decoder model.
        ids: the encoder's input.
    """

    def __init__(self, module: Any, ids: list[int]) -> None:
        from transformers import DynamicCache, EncoderDecoderCache

        self._module = module
        encoder = module.get_encoder()
        self._states = encoder(input_ids=torch.tensor([ids], device=module.device))[0]
        self._own: Any = DynamicCache()
        self._shared: Any = DynamicCache()
        self._cache = EncoderDecoderCache(self._own, self._shared)
        self._single: list[tuple[torch.Tensor, torch.Tensor]] = []

    def step(self, parents: list[int], fed: list[list[int]]) -> torch.Tensor:
        """Log-probabilities of what comes after the fed tokens.

        Args:
            parents: for each row the row of the last step that it goes on with.
            fed: for each row its new tokens.

        Returns:
            Shape `(rows, vocab_size)`, float64, on the CPU.
        """
        device, count = self._module.device, len(fed)
        if self._single:
            self._own.batch_select_indices(torch.tensor(parents, device=device))
            for layer, (keys, values) in zip(self._shared.layers, self._single, strict=True):
                layer.keys = keys.expand(count, -1, -1, -1)
                layer.values = values.expand(count, -1, -1, -1)
        logits = self._module(
            encoder_outputs=(self._states.expand(count, -1, -1),),
            decoder_input_ids=torch.tensor(fed, device=device),
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        if not self._single:
            self._single = [(layer.keys, layer.values) for layer in self._shared.layers]
        found: torch.Tensor = torch.log_softmax(logits.float(), -1).cpu().double()
        return found
