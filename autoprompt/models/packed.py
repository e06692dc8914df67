"""The body of a BERT- or RoBERTa-shaped model, run without padding.

All but attention treats each token by itself. So the true tokens of a batch lie one after the
other, `(tokens, width)`, and pass through the module's own layers; attention alone looks at
sequences, in groups of like length (see `packing`). The last layer runs at the masks only: the
other tokens serve it as keys and values.

The module's own parts do the work wherever they can (projections, activation, normalisation, head):
the activation is the configured one, weights are shared in the module's own precision, gradients
come from autograd, and a module in training mode drops out what its own pass would.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from autoprompt.models.gradients import inputs_of
from autoprompt.models.packing import Group, Packing
from autoprompt.models.sequence import Encoding

# The attribute that holds the head, by the class of the body. All of them have BERT's layers.
HEADS = {
    "BertModel": "cls",
    "RobertaModel": "lm_head",
    "XLMRobertaModel": "lm_head",
    "CamembertModel": "lm_head",
}


class PackedEncoder:
    """The body of a BERT- or RoBERTa-shaped model, run without padding.

    Made by `of`. Ids may not hold the padding token: RoBERTa gives it no position of its own.
    """

    def __init__(self, body: Any, head: Any, dtype: torch.dtype) -> None:
        self._embeddings = body.embeddings
        self._layers = [_in_precision(layer, dtype) for layer in body.encoder.layer]
        self._head = _in_precision(head, dtype)
        self._heads = int(body.config.num_attention_heads)
        self._dtype = dtype
        padding = body.embeddings.position_embeddings.padding_idx
        self._first_position = 0 if padding is None else padding + 1  # as RoBERTa counts

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype = torch.float32) -> PackedEncoder | None:
        """An encoder for a masked language model of transformers.

        Args:
            module: the model, in evaluation mode.
            dtype: the precision to compute in. Weights are shared where it is the module's own,
                copied else. Embeddings are always summed in the module's own.

        Returns:
            None where the module is not known to have the shape: another architecture, a decoder,
            relative positions, or a part that is neither its architecture's own nor torch's, as
            adapters and quantised layers are.
        """
        body = getattr(module, "base_model", None)
        head = getattr(module, HEADS.get(type(body).__name__, ""), None)
        if head is None or not _is_plain(body):
            return None
        return cls(body, head, dtype)

    def mask_states(
        self, batch: Sequence[Encoding], delta: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Hidden states at the masks, as the module's own body gives them.

        Args:
            batch: encodings with equally many masks, in any order.
            delta: shape `(triggers, width)`, added to the embeddings of each sequence's trigger
                tokens. Gradients flow to it, and to weights that are being trained.

        Returns:
            Shape `(batch, masks, width)`, in the encoder's precision.
        """
        packing, back = self._packed(batch)
        words = self._embeddings.word_embeddings(packing.ids)
        return self._at_masks(packing, words, delta).index_select(0, back)

    def mask_logits(
        self, batch: Sequence[Encoding], delta: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits at the masks, as the module's own head gives them.

        Args:
            batch: as in `mask_states`.
            delta: as in `mask_states`.

        Returns:
            Shape `(batch, masks, vocab_size)`, float32.
        """
        logits: torch.Tensor = self._head(self.mask_states(batch, delta)).float()
        return logits

    def word_logits(
        self, batch: Sequence[Encoding], tokens: torch.Tensor, layer: torch.nn.Linear
    ) -> torch.Tensor:
        """Logits of some tokens at the masks, to train by: those of `mask_logits`.

        Their rows of the output layer are looked up together with the batch's embeddings, which are
        rows of the same table. So the backward pass makes one gradient of the table; through the
        whole layer it makes two and adds them, a fifth of a step of a 4x256 BERT.

        Args:
            batch: as in `mask_states`.
            tokens: shape `(words,)`, their ids.
            layer: the head's last one, whose weight is the word embeddings' (see `has_table_of`).

        Returns:
            Shape `(batch, masks, words)`, float32.
        """
        packing, back = self._packed(batch)
        found = self._embeddings.word_embeddings(torch.cat([packing.ids, tokens]))
        words, rows = found.split([len(packing.ids), len(tokens)])
        with inputs_of(layer) as inputs:
            self._head(self._at_masks(packing, words, None))
        logits = functional.linear(
            inputs[0], rows, None if layer.bias is None else layer.bias[tokens]
        )
        return logits.float().index_select(0, back)

    def has_table_of(self, layer: Any) -> bool:
        """Whether an output layer is a plain one, tied to the word embeddings."""
        return (
            type(layer) is torch.nn.Linear
            and layer.weight is self._embeddings.word_embeddings.weight
            and layer.weight.dtype == self._dtype
        )

    def _packed(self, batch: Sequence[Encoding]) -> tuple[Packing, torch.Tensor]:
        """The batch, the shortest sequence first, and what brings rows back into its order."""
        order = sorted(range(len(batch)), key=lambda index: len(batch[index].ids))
        device = self._embeddings.word_embeddings.weight.device
        packing = Packing.of([batch[index] for index in order], device, self._dtype)
        return packing, torch.tensor(order, device=device).argsort()

    def _at_masks(
        self, packing: Packing, words: torch.Tensor, delta: torch.Tensor | None
    ) -> torch.Tensor:
        """From the words' embeddings `(tokens, width)` to states `(sequences, masks, width)`."""
        states = self._embedded(packing, words, delta)
        for layer in self._layers[:-1]:
            states = self._run(layer, states, states, packing, 0)
        at_masks = states.index_select(0, packing.masks.flatten())
        masks = packing.masks.shape[1]
        at_masks = self._run(self._layers[-1], at_masks, states, packing, masks)
        return at_masks.view(*packing.masks.shape, -1)

    def _embedded(
        self, packing: Packing, words: torch.Tensor, delta: torch.Tensor | None
    ) -> torch.Tensor:
        """What the first layer gets: shape `(tokens, width)`; token types are 0."""
        parts = self._embeddings
        end = self._first_position + packing.longest
        places = parts.position_embeddings.weight[self._first_position : end]
        places = places + parts.token_type_embeddings.weight[0]
        states = words + places.index_select(0, packing.positions)
        if delta is not None:
            rows = packing.triggers
            added = delta.to(states.dtype).expand(len(rows), *delta.shape)
            states = states.index_add(0, rows.flatten(), added.flatten(0, 1))
        normalised: torch.Tensor = parts.dropout(parts.LayerNorm(states)).to(self._dtype)
        return normalised

    def _run(
        self, layer: Any, states: torch.Tensor, seen: torch.Tensor, packing: Packing, masks: int
    ) -> torch.Tensor:
        """One layer.

        Args:
            layer: a BERT layer.
            states: shape `(rows, width)`, what is mapped: all tokens, or the masks.
            seen: shape `(tokens, width)`, what is attended to.
            packing: of the tokens.
            masks: rows of each sequence in `states`; 0 where they are all tokens.

        Returns:
            The shape of `states`.
        """
        inner = layer.attention.self
        query, key, value = inner.query(states), inner.key(seen), inner.value(seen)
        drop = inner.dropout.p if inner.training else 0.0
        found = [self._attended(query, key, value, group, masks, drop) for group in packing.groups]
        context = found[0] if len(found) == 1 else torch.cat(found)
        middle = layer.attention.output(context, states)
        output: torch.Tensor = layer.output(layer.intermediate(middle), middle)
        return output

    def _attended(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        group: Group,
        masks: int,
        drop: float,
    ) -> torch.Tensor:
        """What a group's queries attend to: `(rows of the group, width)`."""
        if masks:
            rows = slice(group.sequences.start * masks, group.sequences.stop * masks)
            asked = query[rows].view(-1, masks, query.shape[1])
        else:
            asked = group.grid_of(query)
        attended = functional.scaled_dot_product_attention(
            self._split(asked),
            self._split(group.grid_of(key)),
            self._split(group.grid_of(value)),
            attn_mask=None if group.grid is None else group.grid.mask,
            dropout_p=drop,
        )
        merged = attended.transpose(1, 2).flatten(2)
        return merged.flatten(0, 1) if masks else group.rows_of(merged)

    def _split(self, grid: torch.Tensor) -> torch.Tensor:
        """From `(sequences, length, width)` to `(sequences, heads, length, width of a head)`."""
        return grid.view(*grid.shape[:2], self._heads, -1).transpose(1, 2)


def _is_plain(body: Any) -> bool:
    """Whether a body is the architecture that its class stands for, and nothing else."""
    config = body.config
    own = type(body).__module__
    return (
        own.startswith("transformers.models.")
        and len(body.encoder.layer) > 0
        and not config.is_decoder
        and not config.add_cross_attention
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and all(
            type(part).__module__ == own
            or type(part).__module__.startswith(("torch.nn.modules.", "transformers.activations"))
            for part in body.modules()
        )
    )


def _in_precision(part: Any, dtype: torch.dtype) -> Any:
    """A module itself where its weights have a precision, else a copy that has it."""
    if all(weight.dtype == dtype for weight in part.parameters()):
        return part
    return copy.deepcopy(part).to(dtype)
