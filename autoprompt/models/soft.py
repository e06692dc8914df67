"""Soft prompts: vectors in front of every sequence that stand for no token (Lester et al. 2021).

They are rows that the input embeddings have beyond their vocabulary, and an encoder puts their ids
in front. So all ways to run a model (without padding, with shared beginnings, through an encoder)
run it with a soft prompt too, and give what `peft`'s prompt tuning gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from autoprompt.errors import ModelError
from autoprompt.models.gradients import embedding_layer
from autoprompt.models.transformer import TransformerModel


class SoftEmbedding(torch.nn.Embedding):
    """Input embeddings with more rows than tokens.

    Args:
        layer: the model's own; its weight is shared.
        vectors: shape `(rows, width)`; ids from the vocabulary's size on stand for them.
    """

    def __init__(self, layer: torch.nn.Embedding, vectors: torch.Tensor) -> None:
        super().__init__(
            layer.num_embeddings,
            layer.embedding_dim,
            padding_idx=layer.padding_idx,
            _weight=layer.weight,
        )
        self.weight = layer.weight  # tied to the head's in many models
        self.vectors = torch.nn.Parameter(vectors.detach().clone())
        self._own = [layer]  # in a list: torch would list its weight a second time

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """See `torch.nn.Embedding`."""
        beyond = input >= self.num_embeddings
        known = self._own[0](input.masked_fill(beyond, 0))
        rows = (input - self.num_embeddings).clamp_min(0)
        added = torch.nn.functional.embedding(rows.clamp_max(len(self.vectors) - 1), self.vectors)
        return torch.where(beyond[..., None], added.to(known.dtype), known)


def attach_soft_prompt(model: TransformerModel, vectors: torch.Tensor) -> SoftEmbedding:
    """Put a soft prompt in front of everything that a model reads.

    Args:
        model: changed in place: its module's embeddings, and its encoder's `front`.
        vectors: shape `(tokens, width)`.

    Raises:
        ModelError: the model gives no access to its input embeddings, or they are of another width.
    """
    layer = embedding_layer(model.module, model.identity.name)
    if vectors.ndim != 2 or vectors.shape[1] != layer.embedding_dim:
        raise ModelError(
            f"a soft prompt of shape {tuple(vectors.shape)} does not fit {model.identity.name!r}, "
            f"whose embeddings are {layer.embedding_dim} wide; take its own model"
        )
    soft = SoftEmbedding(layer, vectors.to(layer.weight.device))
    model.module.set_input_embeddings(soft)
    first = layer.num_embeddings
    model.encoder.front = tuple(range(first, first + len(vectors)))
    return soft


def embedded(module: Any, name: str, ids: Sequence[int]) -> torch.Tensor:
    """What the input embeddings make of some tokens: shape `(tokens, width)`.

    Raises:
        ModelError: the model gives no access to them.
    """
    layer = embedding_layer(module, name)
    with torch.no_grad():
        found: torch.Tensor = layer(torch.tensor(list(ids), device=layer.weight.device))
    return found.float()
