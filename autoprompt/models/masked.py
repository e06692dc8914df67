"""Masked language models: any `AutoModelForMaskedLM`, with the head on mask positions only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from autoprompt.errors import ModelError
from autoprompt.models.encoding import Encoding, PromptEncoder
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import ModelIdentity

PARITY = {"float32": 1e-4, "bfloat16": 0.05}  # of the largest logit


class MaskedLanguageModel(TransformerModel):
    """A Hugging Face masked language model behind the `LanguageModel` protocol.

    The head maps every hidden state to the vocabulary, which costs more than a small encoder
    itself. A forward hook on the base model narrows the hidden states to the mask positions before
    the head sees them. At load the narrowed logits are compared with plain ones; where a model's
    head does not follow that shape, the plain way is taken.

    Args:
        module: the model, in evaluation mode.
        encoder: its encoder.
        identity: its name and digests.
        screens_in: the precision that screens candidates.
    """

    def __init__(
        self,
        module: Any,
        encoder: PromptEncoder,
        identity: ModelIdentity,
        screens_in: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(module, encoder, identity, screens_in)
        self.narrow = True
        self.narrow = self._narrow_agrees()

    def _mask_logits(self, batch: Sequence[Encoding]) -> torch.Tensor:
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
            logits = at(self.module(input_ids=ids, attention_mask=attention).logits, positions)
        result: torch.Tensor = logits.float()
        return result

    def _head_inputs(self, batch: Sequence[Encoding]) -> torch.Tensor:
        kept: list[torch.Tensor] = []

        def keep(_module: Any, arguments: Any) -> None:
            kept.append(arguments[0])

        handle = self._output_layer().register_forward_pre_hook(keep)
        try:
            self._mask_logits(batch)
        finally:
            handle.remove()
        states = kept[0]
        if not self.narrow:
            positions = torch.tensor([encoding.mask_positions for encoding in batch])
            states = at(states, positions.to(states.device))
        return states

    @contextmanager
    def _narrowed(self, positions: torch.Tensor) -> Iterator[None]:
        def narrow(_module: Any, _arguments: Any, output: Any) -> Any:
            output["last_hidden_state"] = at(output["last_hidden_state"], positions)
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
        most = PARITY[self.precision] * scale
        return narrow.shape == plain.shape and bool((narrow - plain).abs().max() <= most)


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


def at(states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Rows of `(batch, length, width)` at `(batch, masks)` positions."""
    rows = torch.arange(states.shape[0], device=states.device)[:, None]
    return states[rows, positions]
