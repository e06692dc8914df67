"""What trigger search, the label head and tuning need of a model: embeddings, states, gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models.batches import lacks_memory
from autoprompt.models.gradients import (
    Floats,
    LabelLoss,
    Variant,
    added_to_triggers,
    checked,
    embedding_layer,
    inputs_of,
)
from autoprompt.models.heads import at
from autoprompt.models.scoring_model import Rows, ScoringModel
from autoprompt.models.sequence import Encoding


class TransformerModel(ScoringModel):
    """A Hugging Face model behind the `LanguageModel` and `OpenModel` protocols."""

    def input_embeddings(self) -> Rows:
        """See `OpenModel.input_embeddings`."""
        table = self._embeddings().weight
        found: Rows = table.detach().float().cpu().numpy()
        return found

    def trigger_gradients(
        self, variants: Sequence[Variant], gold: NDArray[np.int64], loss: LabelLoss
    ) -> tuple[float, Floats]:
        """See `OpenModel.trigger_gradients`; examples that the memory does not hold are halved."""
        count = len(gold)
        try:
            return self._trigger_gradients(variants, gold, loss)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            if count == 1:
                longest = max(len(one.encodings[0].ids) for one in variants)
                raise ScoringError(
                    f"the gradient of a single sequence of {longest} tokens does not fit into the "
                    f"memory of {self.device!r}; free some, or run on another device"
                ) from error
        # Here, and not above: the error holds on to the memory. As with accumulated batches, the
        # anti-collapse term is then of each part.
        parts = [slice(0, count // 2), slice(count // 2, count)]
        found = [
            self.trigger_gradients([one.part(rows) for one in variants], gold[rows], loss)
            for rows in parts
        ]
        shares = [len(gold[rows]) / count for rows in parts]
        losses, gradients = zip(*found, strict=True)
        return (
            sum(share * one for share, one in zip(shares, losses, strict=True)),
            np.sum([s * one for s, one in zip(shares, gradients, strict=True)], axis=0),
        )

    def _trigger_gradients(
        self, variants: Sequence[Variant], gold: NDArray[np.int64], loss: LabelLoss
    ) -> tuple[float, Floats]:
        layer = self._embeddings()
        slots = len(variants[0].encodings[0].trigger_positions)
        device = layer.weight.device
        delta = torch.zeros(slots, layer.embedding_dim, device=device, requires_grad=True)
        scores = self.label_scores(variants, loss, delta)
        total = loss.of(scores, torch.as_tensor(gold, device=device))
        (gradients,) = torch.autograd.grad(total, delta)
        return float(total.detach()), checked(gradients, self.identity.name)

    def label_scores(
        self,
        variants: Sequence[Variant],
        loss: LabelLoss,
        delta: torch.Tensor | None = None,
        relative: bool = False,
    ) -> torch.Tensor:
        """Label scores of one batch, with gradients to what is being trained.

        Args:
            variants: as for `trigger_gradients`.
            loss: how words make labels.
            delta: shape `(triggers, width)`, added to the trigger tokens' embeddings.
            relative: only differences between an example's scores count. A number may be added to
                all of them, which saves what is the same for all words: the softmax's denominator.

        Returns:
            Shape `(examples, labels)`: the scores that `scoring` computes, before calibration.
        """
        words: list[list[torch.Tensor]] = []
        for variant in variants:
            # Between words of different token counts the denominators differ.
            shared = relative and delta is None and len(variants) == 1
            scores = self._relative_scores(variant) if shared else None
            if scores is None:
                scores = self._variant_scores(variant, delta)
            for word, label in enumerate(variant.labels):
                while len(words) <= label:
                    words.append([])
                words[label].append(scores[:, word])
        groups = [torch.stack(group, -1) for group in words]
        return loss.label_scores(groups, len(groups))

    def mask_logits(self, batch: Sequence[Encoding]) -> torch.Tensor:
        """Logits at the masks of one batch, with gradients to what is being trained.

        Args:
            batch: with equally many masks.

        Returns:
            Shape `(batch, masks, vocab_size)`, float32.
        """
        return self._mask_logits(batch)

    def _embeddings(self) -> torch.nn.Embedding:
        """The layer that makes the trigger tokens' embeddings."""
        return embedding_layer(self.module, self.identity.name)

    def _moved_logits(self, batch: Sequence[Encoding], delta: torch.Tensor) -> torch.Tensor:
        """As `_mask_logits`, with `delta` added to the trigger tokens' embeddings."""
        positions = [encoding.trigger_positions for encoding in batch]
        with added_to_triggers(self._embeddings(), positions, delta):
            return self._mask_logits(batch)

    def _relative_scores(self, variant: Variant) -> torch.Tensor | None:
        """As `_variant_scores`, up to a number for each example; None where that saves nothing."""
        del variant
        return None

    def _variant_scores(self, variant: Variant, delta: torch.Tensor | None) -> torch.Tensor:
        """Word scores `(examples, words)`, with a gradient to what is added to the triggers."""
        asked, way = self.encoder.asked(variant.encodings, variant.ids)
        logits = self._mask_logits(asked) if delta is None else self._moved_logits(asked, delta)
        logs = torch.log_softmax(logits, -1)
        ids = torch.as_tensor(variant.ids, device=logs.device)  # (words, masks)
        masks = torch.arange(ids.shape[1], device=logs.device)
        ways = torch.as_tensor(way, device=logs.device)
        logs = logs.reshape(-1, len(variant.encodings), *logs.shape[1:])  # a way is in front
        words: torch.Tensor = logs[ways[:, None], :, masks, ids].mean(1)
        return words.T

    def mask_states(self, encodings: Sequence[Encoding]) -> Rows:
        """See `OpenModel.mask_states`."""
        self._output_layer()
        parts = self._in_batches(encodings, lambda batch: self._head_inputs(batch).float())
        result = np.empty((len(encodings), *parts[0][1].shape[1:]), np.float32)
        for rows, found in parts:
            result[rows] = found
        return result

    def _head_inputs(self, batch: Sequence[Encoding]) -> torch.Tensor:
        """What the output embeddings multiply, at the masks: `(batch, masks, width)`."""
        with inputs_of(self._output_layer()) as inputs:
            self._mask_logits(batch)
        states = inputs[0]
        if states.shape[1] != len(batch[0].mask_positions):  # the head has seen every position
            states = at(states, [encoding.mask_positions for encoding in batch])
        return states

    def output_embeddings(self, token_ids: NDArray[np.int64]) -> Rows:
        """Rows of the output embeddings: shape `(tokens, width)`.

        Raises:
            ModelError: as `mask_states`.
        """
        weight = self._output_layer().weight.detach()
        wanted = torch.as_tensor(token_ids, device=weight.device)
        found: Rows = weight[wanted].float().cpu().numpy()
        return found

    def _output_layer(self) -> torch.nn.Linear:
        layer = self.module.get_output_embeddings()
        if not isinstance(layer, torch.nn.Linear):
            raise ModelError(
                f"model {self.identity.name!r} has no linear layer over its vocabulary, which the "
                f"label head needs; choose another way to find label words"
            )
        return layer
