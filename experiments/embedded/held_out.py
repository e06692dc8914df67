"""The loss of a model on documents that were set aside from training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from experiments.embedded.batches import IGNORED, Masker, load_rows, special_ids
from experiments.embedded.model import causal_losses, masked_losses
from experiments.embedded.recipe import Masking, Recipe
from experiments.embedded.vocabulary import END_OF_TEXT

MASKING = Masking(rate=0.15, frequent_rate=0.15, frequent=1, mask_token=1.0, random_token=0.0)
"""Every word alike with probability 0.15, always shown as [MASK]."""
ROWS = 16


@dataclass(frozen=True)
class Loss:
    """Sums over some text: loss in nats, tokens predicted, and the words that they make."""

    nats: float
    tokens: int
    words: int


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
        return own.is_file() and own.read_bytes() == packed.read_bytes()

    def loss(self, folder: Path) -> dict[str, Any]:
        """The held-out loss of a model folder, in all and by source.

        Nats a token, and nats a word, which models of different vocabularies can be compared by.
        Documents are fixed by the recipe's seed, and so are masks and cuts for one tokenizer;
        whole words are masked.
        """
        rows = load_rows(self.work / "held_out.npz")
        measure = self._masked if self.recipe.objective == "masked" else self._causal
        losses = list(measure(folder, rows.ids.astype(np.int64), rows.source))
        everything = Loss(*(sum(part) for part in zip(*map(_fields, losses), strict=True)))
        found = _reported(everything)
        return {
            **found,
            "perplexity": math.exp(found["loss"]),
            "sources": dict(zip(self.recipe.sources, map(_reported, losses), strict=True)),
        }

    @torch.no_grad()
    def _masked(self, folder: Path, ids: np.ndarray, source: np.ndarray) -> Iterator[Loss]:
        network = AutoModelForMaskedLM.from_pretrained(folder).eval()
        special = special_ids(Tokenizer.from_file(str(folder / "tokenizer.json")))
        counts = np.bincount(ids.ravel(), minlength=len(special.continues))
        masker = Masker(counts, MASKING, special, "cpu")
        for number, _ in enumerate(self.recipe.sources):
            random = torch.Generator().manual_seed(self.recipe.seed + number)
            nats, tokens, words = 0.0, 0, 0
            for part in _parts(ids[source == number]):
                batch = masker(part, part.numel() // 2, random)
                used = int((batch.labels != IGNORED).sum())
                labels = batch.labels[:used]
                nats += (
                    masked_losses(
                        network,
                        batch.ids,
                        batch.positions,
                        batch.segments,
                        batch.places[:used],
                        labels,
                    )
                    .sum()
                    .item()
                )
                tokens += used
                words += int((~masker.continues[labels]).sum())
            yield Loss(nats, tokens, words)

    @torch.no_grad()
    def _causal(self, folder: Path, ids: np.ndarray, source: np.ndarray) -> Iterator[Loss]:
        network = AutoModelForCausalLM.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        for number, _ in enumerate(self.recipe.sources):
            nats, tokens, words = 0.0, 0, 0
            for part in _parts(ids[source == number]):
                nats += causal_losses(network, part).sum().item()
                tokens += part[:, 1:].numel()
                texts = tokenizer.batch_decode(part[:, 1:])
                words += sum(len(text.replace(END_OF_TEXT, " ").split()) for text in texts)
            yield Loss(nats, tokens, words)


def _parts(ids: np.ndarray) -> Iterator[torch.Tensor]:
    for start in range(0, len(ids), ROWS):
        yield torch.from_numpy(ids[start : start + ROWS])


def _fields(loss: Loss) -> tuple[float, int, int]:
    return loss.nats, loss.tokens, loss.words


def _reported(loss: Loss) -> dict[str, Any]:
    return {
        "loss": loss.nats / max(loss.tokens, 1),
        "loss a word": loss.nats / max(loss.words, 1),
        "masked": loss.tokens,
    }
