"""The models, plain BERT and plain Llama, and their losses on packed rows."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

from experiments.embedded.batches import IGNORED, PAD, Batch
from experiments.embedded.recipe import Recipe

FAR = -1.0e4
"""Added to attention scores between tokens of different sequences."""


def new_model(recipe: Recipe, vocabulary: int) -> BertForMaskedLM | LlamaForCausalLM:
    """Return an untrained model whose input embeddings and output weights are one matrix.

    No dropout: a model this small does not come near to knowing its text by heart.
    """
    torch.manual_seed(recipe.seed)
    make = new_masked_model if recipe.objective == "masked" else new_causal_model
    return make(recipe, vocabulary)


def _shape(recipe: Recipe, vocabulary: int) -> dict[str, Any]:
    """What both kinds of configuration call by the same names."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": recipe.model.hidden,
        "num_hidden_layers": recipe.model.layers,
        "num_attention_heads": recipe.model.heads,
        "intermediate_size": recipe.model.feed_forward,
        "max_position_embeddings": recipe.packing.row_length,
        "pad_token_id": PAD,
        "attn_implementation": "sdpa",
    }


def new_masked_model(recipe: Recipe, vocabulary: int) -> BertForMaskedLM:
    """A BERT (Devlin et al. 2019)."""
    config = BertConfig(
        **_shape(recipe, vocabulary), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    return BertForMaskedLM(config)


def new_causal_model(recipe: Recipe, vocabulary: int) -> LlamaForCausalLM:
    """A Llama (Touvron et al. 2023)."""
    config = LlamaConfig(
        **_shape(recipe, vocabulary),
        num_key_value_heads=recipe.model.heads,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=1,
        use_cache=False,
    )
    return LlamaForCausalLM(config)


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
    with torch.autocast(ids.device.type, torch.bfloat16):
        same = segments[:, None, :, None] == segments[:, None, None, :]
        bias = torch.where(same, 0.0, FAR).to(torch.bfloat16)
        hidden = model.bert(
            input_ids=ids, position_ids=positions, attention_mask=bias
        ).last_hidden_state
        scores = model.cls(hidden.flatten(0, 1)[places])
    return torch.nn.functional.cross_entropy(
        scores.float(), labels, ignore_index=IGNORED, reduction="none"
    )


def masked_loss(model: BertForMaskedLM, batch: Batch) -> torch.Tensor:
    """Return the mean loss in nats over the masked places of a batch, a scalar."""
    losses = masked_losses(
        model, batch.ids, batch.positions, batch.segments, batch.places, batch.labels
    )
    return losses.sum() / (batch.labels != IGNORED).sum()


def causal_losses(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """Return the float32 cross-entropy in nats of every token after the first of each row.

    ``ids`` is int64 (rows, row length); the result is (rows * (row length - 1),).
    """
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = model.model(input_ids=ids).last_hidden_state
        scores = model.lm_head(hidden[:, :-1].flatten(0, 1))
    return torch.nn.functional.cross_entropy(scores.float(), ids[:, 1:].flatten(), reduction="none")


def causal_loss(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """Return the mean loss in nats over all tokens of a batch of full rows, a scalar."""
    return causal_losses(model, ids).mean()
