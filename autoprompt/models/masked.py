"""Masked language models: any `AutoModelForMaskedLM`, with the head on mask positions only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autoprompt.errors import ModelError, ScoringError
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

PARITY = 1e-4


class MaskedLanguageModel:
    """A Hugging Face masked language model behind the `LanguageModel` protocol.

    The head maps every hidden state to the vocabulary, which costs more than a small encoder
    itself. A forward hook on the base model narrows the hidden states to the mask positions before
    the head sees them. At load the narrowed logits are compared with plain ones; where a model's
    head does not follow that shape, the plain way is taken.

    Args:
        module: the model, in evaluation mode.
        encoder: its encoder.
        identity: its name and digests.
    """

    def __init__(self, module: Any, encoder: PromptEncoder, identity: ModelIdentity) -> None:
        self.module = module.requires_grad_(False)
        self.encoder = encoder
        self.identity = identity
        self.device = str(module.device)
        self._pad = encoder.tokenizer.pad_token_id or 0
        self.narrow = True
        self.narrow = self._narrow_agrees()

    def log_probabilities(
        self, batch: Sequence[Encoding], token_ids: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """See `LanguageModel.log_probabilities`; a batch too large for the memory is halved.

        Raises:
            ScoringError: a score is not finite, or one sequence alone is too large.
        """
        try:
            result = self._log_probabilities(batch, token_ids)
        except torch.OutOfMemoryError as error:
            if len(batch) == 1:
                raise ScoringError(
                    f"a single sequence of {len(batch[0].ids)} tokens does not fit into the memory "
                    f"of {self.device!r}; free some, or run on another device"
                ) from error
            result = None  # the halves run outside: the error holds on to the failed batch's memory
        if result is None:
            middle = len(batch) // 2
            halves = (batch[:middle], batch[middle:])
            return np.concatenate([self.log_probabilities(half, token_ids) for half in halves])
        if not np.isfinite(result).all():
            raise ScoringError(
                f"model {self.identity.name!r} gave scores that are not finite (NaN or infinite); "
                f"its weights are damaged: copy or download them again"
            )
        return result

    def _log_probabilities(
        self, batch: Sequence[Encoding], token_ids: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = self._mask_logits(batch)
            normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
            wanted = torch.as_tensor(token_ids, device=logits.device)
            found: NDArray[np.float32] = (
                (logits.index_select(-1, wanted) - normaliser).cpu().numpy()
            )
        return found

    # -- what trigger search and the label head need -------------------------------------------

    def input_embeddings(self) -> NDArray[np.float32]:
        """See `OpenModel.input_embeddings`."""
        table = embedding_layer(self.module, self.identity.name).weight
        found: NDArray[np.float32] = table.detach().float().cpu().numpy()
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
            with added_to_triggers(layer, variant.encodings, delta):
                logs = torch.log_softmax(self._mask_logits(variant.encodings), -1)
            ids = torch.as_tensor(variant.ids, device=device)  # (words, masks)
            masks = torch.arange(ids.shape[1], device=device)
            scores = logs[:, masks, ids].mean(-1)  # (examples, words)
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

    def mask_states(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        """What the output embeddings multiply, at the masks: shape `(batch, masks, width)`.

        Raises:
            ModelError: the model has no linear layer over its vocabulary.
        """
        layer = self._output_layer()
        kept: list[torch.Tensor] = []

        def keep(_module: Any, arguments: Any) -> None:
            kept.append(arguments[0])

        handle = layer.register_forward_pre_hook(keep)
        try:
            with torch.inference_mode():
                self._mask_logits(batch)
        finally:
            handle.remove()
        states = kept[0]
        if not self.narrow:
            positions = torch.tensor([encoding.mask_positions for encoding in batch])
            states = _at(states, positions.to(states.device))
        found: NDArray[np.float32] = states.float().cpu().numpy()
        return found

    def output_embeddings(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of the output embeddings: shape `(tokens, width)`.

        Raises:
            ModelError: as `mask_states`.
        """
        weight = self._output_layer().weight.detach()
        wanted = torch.as_tensor(token_ids, device=weight.device)
        found: NDArray[np.float32] = weight[wanted].float().cpu().numpy()
        return found

    def _output_layer(self) -> torch.nn.Linear:
        layer = self.module.get_output_embeddings()
        if not isinstance(layer, torch.nn.Linear):
            raise ModelError(
                f"model {self.identity.name!r} has no linear layer over its vocabulary, which the "
                f"label head needs; choose another way to find label words"
            )
        return layer

    def _mask_logits(self, batch: Sequence[Encoding]) -> torch.Tensor:
        """Logits at the masks: shape `(batch, masks, vocab_size)`, float32."""
        longest = max(len(encoding.ids) for encoding in batch)
        ids = torch.full((len(batch), longest), self._pad, dtype=torch.long)
        attention = torch.zeros((len(batch), longest), dtype=torch.long)
        for row, encoding in enumerate(batch):
            ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
            attention[row, : len(encoding.ids)] = 1
        positions = torch.tensor([encoding.mask_positions for encoding in batch])
        device = self.module.device
        ids, attention, positions = ids.to(device), attention.to(device), positions.to(device)
        if self.narrow:
            with self._narrowed(positions):
                logits = self.module(input_ids=ids, attention_mask=attention).logits
        else:
            logits = _at(self.module(input_ids=ids, attention_mask=attention).logits, positions)
        result: torch.Tensor = logits.float()
        return result

    @contextmanager
    def _narrowed(self, positions: torch.Tensor) -> Iterator[None]:
        def narrow(_module: Any, _arguments: Any, output: Any) -> Any:
            output["last_hidden_state"] = _at(output["last_hidden_state"], positions)
            return output

        handle = self.module.base_model.register_forward_hook(narrow)
        try:
            yield
        finally:
            handle.remove()

    def _narrow_agrees(self) -> bool:
        """Whether narrowed logits equal plain ones on two sequences of different length."""
        tokenizer = self.encoder.tokenizer
        body = tokenizer("It was", add_special_tokens=False)["input_ids"]
        mask = body[0] if tokenizer.mask_token_id is None else tokenizer.mask_token_id
        probe = [
            Encoding((*body, mask), (len(body),)),
            Encoding((mask, *body, *body, *body), (0,)),
        ]
        try:
            with torch.inference_mode():
                narrow = self._mask_logits(probe)
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
            return False
        self.narrow = False
        with torch.inference_mode():
            plain = self._mask_logits(probe)
        scale = max(1.0, float(plain.abs().max()))
        return narrow.shape == plain.shape and bool((narrow - plain).abs().max() <= PARITY * scale)


def usable_length(module: Any, tokenizer: Any) -> int:
    """The most tokens that a model takes, special tokens included.

    RoBERTa-like position tables begin after the padding index, so that part of them is not usable.

    Raises:
        ModelError: neither the model nor its tokenizer tells.
    """
    limits = []
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and isinstance(part, torch.nn.Embedding):
            start = 0 if part.padding_idx is None else part.padding_idx + 1
            limits.append(part.num_embeddings - start)
    configured = getattr(module.config, "max_position_embeddings", None)
    if configured and configured > 0:
        limits.append(int(configured))
    if tokenizer.model_max_length < 1_000_000:  # a huge number stands for "not told"
        limits.append(int(tokenizer.model_max_length))
    if not limits:
        raise ModelError("the model does not tell how long its input may be; set model_max_length")
    return min(limits)


def _at(states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Rows of `(batch, length, width)` at `(batch, masks)` positions."""
    rows = torch.arange(states.shape[0], device=states.device)[:, None]
    return states[rows, positions]
