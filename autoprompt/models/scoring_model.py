"""What all kinds of language models score with: batches, memory, the head at masks only.

A kind says how logits at the masks are computed (`_mask_logits`), if not by one padded pass;
everything else is here. What looks inside a model is in `transformer`.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from autoprompt.errors import ScoringError
from autoprompt.models.batches import lacks_memory, length_bucketed, tokens_per_batch, width
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.heads import at, has_plain_head, head_of, narrowed
from autoprompt.models.sequence import Encoding
from autoprompt.prompts import ModelIdentity

Rows = NDArray[np.float32]
PARITY = {"float32": 1e-4, "bfloat16": 0.05}  # of the largest logit
# What a model may raise that does not do what a faster way asks of it.
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


class ScoringModel:
    """A Hugging Face model behind the `LanguageModel` protocol.

    The head maps every hidden state to the vocabulary, which costs more than a small encoder
    itself. A forward hook on the body narrows the hidden states to the mask positions before the
    head sees them. At load the narrowed logits are compared with plain ones; where a model's head
    does not follow that shape, the plain way is taken.

    A tokenizer without a padding token pads with its first one: padding is not attended to.

    Args:
        module: the model, in evaluation mode.
        encoder: its encoder.
        identity: its name and digests.
        screens_in: the precision that screens candidates.

    Attributes:
        precision: of its own numbers.
        tokens_per_batch: the most tokens in a padded batch; less after a lack of memory.
        narrow: whether the head works on mask positions only.
        selects: whether it can be made to work on some tokens only.
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
        self._alone = threading.RLock()
        self.narrow, self.selects = True, False
        self._probe()
        self.selects = has_plain_head(self.module) and self._selected_agrees()

    def _probe(self) -> None:
        """Try the faster ways, and keep to those that give what the plain one gives."""
        self.narrow = self._narrow_agrees()

    # -- one batch --------------------------------------------------------------------------------

    @cached_property
    def screening(self) -> Self:
        """See `LanguageModel.screening`; the copy is made when it is first asked for."""
        if self.precision == str(self._screens_in).removeprefix("torch."):
            return self
        found = type(self)(
            _in_precision(self.module, self._screens_in),
            self.encoder,
            self.identity,
            self._screens_in,
        )
        found.selects = found.selects and self.selects  # rounding would hide what is unfit
        return found

    def _mask_logits(self, batch: Sequence[Encoding]) -> torch.Tensor:
        """Logits at the masks of one batch: shape `(batch, masks, vocab_size)`, float32."""
        ids, attention = self._padded([encoding.ids for encoding in batch])
        positions = [encoding.mask_positions for encoding in batch]
        return self._logits_at(positions, input_ids=ids, attention_mask=attention)

    def _padded(self, sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids padded on the right, and which of them are: each of shape `(rows, longest)`."""
        longest = max(len(sequence) for sequence in sequences)
        ids = torch.full((len(sequences), longest), self._pad, dtype=torch.long)
        attention = torch.zeros((len(sequences), longest), dtype=torch.long)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence)
            attention[row, : len(sequence)] = 1
        return ids.to(self.module.device), attention.to(self.module.device)

    def _logits_at(
        self,
        positions: Sequence[Sequence[int]],
        rows: Sequence[int] | None = None,
        **inputs: Any,
    ) -> torch.Tensor:
        """What the model says of its inputs, as `_mask_logits`.

        Args:
            positions: shape `(batch, masks)`.
            rows: for each sequence of the batch its row in the inputs; by default each has its own.
            inputs: of the module.
        """
        if self.narrow:
            with narrowed(self._body(), positions, rows):
                logits = self.module(**inputs).logits
        else:
            logits = at(self.module(**inputs).logits, positions, rows)
        result: torch.Tensor = logits.float()
        return result

    def _body(self) -> Any:
        """The part of the model whose last hidden states the head gets."""
        return self.module.base_model

    def _narrow_probe(self) -> list[Encoding]:
        tokenizer = self.encoder.tokenizer
        body = tokenizer("It was", add_special_tokens=False)["input_ids"]
        mask = body[0] if tokenizer.mask_token_id is None else tokenizer.mask_token_id
        return [
            Encoding((*body, mask), (len(body),)),
            Encoding((mask, *body, *body, *body), (0,)),
        ]

    def _narrow_agrees(self) -> bool:
        """Whether narrowed logits equal plain ones on two sequences of different length."""
        probe = self._narrow_probe()
        try:
            with torch.inference_mode():
                narrow = self._mask_logits(probe)
        except UNFIT:
            return False
        self.narrow = False
        with torch.inference_mode():
            plain = self._mask_logits(probe)
        scale = max(1.0, float(plain.abs().max()))
        most = PARITY[self.precision] * scale
        return narrow.shape == plain.shape and bool((narrow - plain).abs().max() <= most)

    # -- scores -----------------------------------------------------------------------------------

    def log_probabilities(
        self,
        encodings: Sequence[Encoding],
        token_ids: NDArray[np.int64],
        relative: bool = False,
    ) -> Rows:
        """See `LanguageModel.log_probabilities`; a batch too large for the memory is halved.

        Raises:
            ScoringError: a score is not finite, or one sequence alone is too large.
        """
        masks = len(encodings[0].mask_positions) if encodings else 1
        result = np.empty((len(encodings), masks, len(token_ids)), np.float32)
        with self._alone:  # what narrows the module is seen by all threads
            selected = relative and self.selects and has_plain_head(self.module)
            scores = self._selected if selected else self._log_probabilities
            for rows, found in self._in_batches(encodings, lambda batch: scores(batch, token_ids)):
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

    def _selected(self, batch: Sequence[Encoding], token_ids: NDArray[np.int64]) -> torch.Tensor:
        """Logits of some tokens: shape `(batch, masks, tokens)`."""
        with head_of(self.module.get_output_embeddings(), token_ids):
            return self._mask_logits(batch)

    def _selected_agrees(self) -> bool:
        """Whether logits of some tokens equal theirs among all, up to a number for each mask."""
        if not torch.isfinite(self.module.get_output_embeddings().weight).all():
            return False  # seen among all tokens alone, and then refused
        probe = self._narrow_probe()
        tokens = np.unique([token for encoding in probe for token in encoding.ids])
        with torch.inference_mode():
            plain = self._mask_logits(probe)[..., torch.as_tensor(tokens)]
            try:
                found = self._selected(probe, tokens)
            except UNFIT:
                return False
        most = PARITY[self.precision] * max(1.0, float(plain.abs().max()))
        if found.shape != plain.shape:
            return False
        apart = found - plain
        return bool((apart - apart[..., :1]).abs().max() <= most)

    def _in_batches(
        self,
        encodings: Sequence[Encoding],
        run: Callable[[Sequence[Encoding]], torch.Tensor],
    ) -> list[tuple[list[int], Rows]]:
        """Run all sequences in batches of like length; each batch's indices and result."""
        done: list[tuple[list[int], Rows]] = []

        def ran(rows: list[int]) -> None:
            done.append((rows, run([encodings[row] for row in rows]).cpu().numpy()))

        self._batched([len(encoding.ids) for encoding in encodings], ran)
        return done

    def _batched(
        self,
        lengths: Sequence[int],
        run: Callable[[list[int]], None],
        known: Sequence[int] | None = None,
    ) -> None:
        """Run sequences, given by their lengths, in batches that the memory holds.

        Args:
            lengths: tokens of each that are run.
            run: takes the indices of a batch.
            known: tokens of each that have been run before; none by default.
        """
        before = known or [0] * len(lengths)
        waiting = length_bucketed(lengths, self.tokens_per_batch, before)[::-1]
        while waiting:
            rows = waiting.pop()
            try:
                with torch.inference_mode():
                    run(rows)
                    continue
            except RuntimeError as error:
                if not lacks_memory(error):
                    raise
                if len(rows) == 1:
                    raise ScoringError(
                        f"a single sequence of {lengths[rows[0]]} tokens does not fit into the "
                        f"memory of {self.device!r}; free some, or run on another device"
                    ) from error
            # Here, and not above: the error holds on to the batch's memory. What did not fit is not
            # tried again.
            widest = max(width(lengths[rows[0]], before[row]) for row in rows)
            self.tokens_per_batch = max(len(rows) // 2 * widest, 1)
            left = [*rows, *(row for later in waiting[::-1] for row in later)]
            parts = length_bucketed(
                [lengths[row] for row in left],
                self.tokens_per_batch,
                [before[row] for row in left],
            )
            waiting = [[left[at] for at in part] for part in parts][::-1]


def _in_precision(module: Any, dtype: torch.dtype) -> Any:
    """A copy of a module with its weights in some precision.

    What rotary positions turn by is no weight, and stays: rounded, its error grows with distance.
    """
    found = copy.deepcopy(module).to(dtype)
    for name, exact in module.named_buffers():
        if name.endswith("inv_freq"):
            part, _, own = name.rpartition(".")
            setattr(found.get_submodule(part), own, exact.clone())
    return found
