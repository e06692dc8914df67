"""What all kinds of language models share: batches, memory, embeddings, gradients.

A kind says how logits at the masks are computed (`_mask_logits`); everything else is here.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models.batches import length_bucketed, tokens_per_batch
from autoprompt.models.encoding import Encoding, PromptEncoder
from autoprompt.models.gradients import (
    Floats,
    LabelLoss,
    Variant,
    added_to_triggers,
    checked,
    embedding_layer,
)
from autoprompt.prompts import ModelIdentity

Rows = NDArray[np.float32]


class TransformerModel(ABC):
    """A Hugging Face model behind the `LanguageModel` and `OpenModel` protocols.

    Args:
        module: the model, in evaluation mode.
        encoder: its encoder.
        identity: its name and digests.
        screens_in: the precision that screens candidates.

    Attributes:
        precision: of its own numbers.
        tokens_per_batch: the most tokens in a padded batch; less after a lack of memory.
    """

    def __init__(
        self,
        module: Any,
        encoder: PromptEncoder,
        identity: ModelIdentity,
        screens_in: torch.dtype = torch.float32,
    ) -> None:
        self.module = module.requires_grad_(False)
        self.encoder = encoder
        self.identity = identity
        self.device = str(module.device)
        self.tokens_per_batch = tokens_per_batch(self.device)
        self.precision = str(next(module.parameters()).dtype).removeprefix("torch.")
        self._screens_in = screens_in
        self._pad = encoder.tokenizer.pad_token_id or 0

    @cached_property
    def screening(self) -> TransformerModel:
        """See `LanguageModel.screening`; the copy is made when it is first asked for."""
        if self.precision == str(self._screens_in).removeprefix("torch."):
            return self
        module = copy.deepcopy(self.module).to(self._screens_in)
        return type(self)(module, self.encoder, self.identity, self._screens_in)

    @abstractmethod
    def _mask_logits(self, batch: Sequence[Encoding]) -> torch.Tensor:
        """Logits at the masks of one batch: shape `(batch, masks, vocab_size)`, float32."""

    @abstractmethod
    def _head_inputs(self, batch: Sequence[Encoding]) -> torch.Tensor:
        """What the output embeddings multiply, at the masks: `(batch, masks, width)`."""

    # -- scores -----------------------------------------------------------------------------------

    def log_probabilities(
        self, encodings: Sequence[Encoding], token_ids: NDArray[np.int64]
    ) -> Rows:
        """See `LanguageModel.log_probabilities`; a batch too large for the memory is halved.

        Raises:
            ScoringError: a score is not finite, or one sequence alone is too large.
        """
        masks = len(encodings[0].mask_positions) if encodings else 1
        result = np.empty((len(encodings), masks, len(token_ids)), np.float32)
        for rows, found in self._in_batches(
            encodings, lambda batch: self._log_probabilities(batch, token_ids)
        ):
            result[rows] = found
        if not np.isfinite(result).all():
            raise ScoringError(
                f"model {self.identity.name!r} gave scores that are not finite (NaN or infinite); "
                f"its weights are damaged: copy or download them again"
            )
        return result

    def _log_probabilities(
        self, batch: Sequence[Encoding], token_ids: NDArray[np.int64]
    ) -> torch.Tensor:
        logits = self._mask_logits(batch)
        wanted = torch.as_tensor(token_ids, device=logits.device)
        normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
        return logits.index_select(-1, wanted) - normaliser

    def _in_batches(
        self,
        encodings: Sequence[Encoding],
        run: Callable[[Sequence[Encoding]], torch.Tensor],
    ) -> list[tuple[list[int], Rows]]:
        """Run all sequences in batches of like length; each batch's indices and result."""
        lengths = [len(encoding.ids) for encoding in encodings]
        waiting = length_bucketed(lengths, self.tokens_per_batch)[::-1]
        done: list[tuple[list[int], Rows]] = []
        while waiting:
            rows = waiting.pop()
            try:
                with torch.inference_mode():
                    found = run([encodings[row] for row in rows]).cpu().numpy()
            except torch.OutOfMemoryError as error:
                if len(rows) == 1:
                    raise ScoringError(
                        f"a single sequence of {lengths[rows[0]]} tokens does not fit into the "
                        f"memory of {self.device!r}; free some, or run on another device"
                    ) from error
                found = None  # what follows is outside: the error holds on to the batch's memory
            if found is None:
                # The first of a batch is its longest. What did not fit is not tried again.
                self.tokens_per_batch = max(len(rows) // 2 * lengths[rows[0]], 1)
                left = [*rows, *(row for later in waiting[::-1] for row in later)]
                parts = length_bucketed([lengths[row] for row in left], self.tokens_per_batch)
                waiting = [[left[at] for at in part] for part in parts][::-1]
                continue
            done.append((rows, found))
        return done

    # -- what trigger search and the label head need ----------------------------------------------

    def input_embeddings(self) -> Rows:
        """See `OpenModel.input_embeddings`."""
        table = embedding_layer(self.module, self.identity.name).weight
        found: Rows = table.detach().float().cpu().numpy()
        return found

    def trigger_gradients(
        self, variants: Sequence[Variant], gold: NDArray[np.int64], loss: LabelLoss
    ) -> tuple[float, Floats]:
        """See `OpenModel.trigger_gradients`."""
        layer = embedding_layer(self.module, self.identity.name)
        slots = len(variants[0].encodings[0].trigger_positions)
        device = layer.weight.device
        delta = torch.zeros(slots, layer.embedding_dim, device=device, requires_grad=True)
        words: list[list[torch.Tensor]] = []
        for variant in variants:
            scores = self._variant_scores(variant, layer, delta)
            for word, label in enumerate(variant.labels):
                while len(words) <= label:
                    words.append([])
                words[label].append(scores[:, word])
        groups = [torch.stack(group, -1) for group in words]
        total = loss.of(
            loss.label_scores(groups, len(groups)), torch.as_tensor(gold, device=device)
        )
        (gradients,) = torch.autograd.grad(total, delta)
        return float(total.detach()), checked(gradients, self.identity.name)

    def _variant_scores(
        self, variant: Variant, layer: torch.nn.Embedding, delta: torch.Tensor
    ) -> torch.Tensor:
        """Word scores `(examples, words)`, with a gradient to what is added to the triggers."""
        with added_to_triggers(layer, variant.encodings, delta):
            logs = torch.log_softmax(self._mask_logits(variant.encodings), -1)
        ids = torch.as_tensor(variant.ids, device=logs.device)  # (words, masks)
        masks = torch.arange(ids.shape[1], device=logs.device)
        return logs[:, masks, ids].mean(-1)

    def mask_states(self, encodings: Sequence[Encoding]) -> Rows:
        """See `OpenModel.mask_states`."""
        self._output_layer()
        parts = self._in_batches(encodings, lambda batch: self._head_inputs(batch).float())
        result = np.empty((len(encodings), *parts[0][1].shape[1:]), np.float32)
        for rows, found in parts:
            result[rows] = found
        return result

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
