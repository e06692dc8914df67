"""The model: a plain BERT masked language model, and its loss on packed rows."""

from __future__ import annotations

import torch
from transformers import BertConfig, BertForMaskedLM

from experiments.embedded.batches import IGNORED, Batch
from experiments.embedded.recipe import Recipe

FAR = -1.0e4
"""Added to attention scores between tokens of different sequences."""


def new_model(recipe: Recipe, vocabulary: int) -> BertForMaskedLM:
    """Return an untrained model (BERT, Devlin et al. 2019; no dropout: data is hardly repeated).

    Input embeddings and output weights are one matrix.
    """
    shape = recipe.model
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=recipe.packing.row_length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
        attn_implementation="eager",
    )
    torch.manual_seed(recipe.seed)
    return BertForMaskedLM(config)


def masked_losses(
    model: BertForMaskedLM,
    ids: torch.Tensor,
    positions: torch.Tensor,
    segments: torch.Tensor,
    places: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Return the float32 cross-entropy in nats at each masked place, shape (slots,).

    Arguments are those of ``Batch``.  Hidden states are gathered before the output head, so the
    vocabulary is scored at masked places only.
    """
    with torch.autocast("cpu", torch.bfloat16):
        same = segments[:, None, :, None] == segments[:, None, None, :]
        bias = torch.where(same, 0.0, FAR).to(torch.bfloat16)
        hidden = model.bert(
            input_ids=ids, position_ids=positions, attention_mask=bias
        ).last_hidden_state
        scores = model.cls(hidden.flatten(0, 1)[places])
    return torch.nn.functional.cross_entropy(
        scores.float(), labels, ignore_index=IGNORED, reduction="none"
    )


def batch_loss(model: BertForMaskedLM, batch: Batch) -> torch.Tensor:
    """Return the mean loss in nats over the masked places of a batch, a scalar."""
    losses = masked_losses(
        model, batch.ids, batch.positions, batch.segments, batch.places, batch.labels
    )
    return losses.sum() / (batch.labels != IGNORED).sum()
