"""Gradients of a label loss with respect to the trigger tokens' input embeddings.

Only the trigger positions get a gradient: a forward hook adds a zero vector to the embedding of
each slot, and the backward pass ends there. The weights stay frozen, which saves most of the
backward pass of a small batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.sequence import Encoding

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """The label words of one token count, on one batch.

    Attributes:
        encodings: the batch, encoded for words of so many tokens.
        ids: shape `(words, tokens)`, the words' token ids.
        labels: shape `(words,)`, the label that each word stands for.
    """

    encodings: Sequence[Encoding]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]

    def part(self, rows: slice) -> Variant:
        """The same on some rows of the batch."""
        return replace(self, encodings=self.encodings[rows])


@dataclass(frozen=True)
class LabelLoss:
    """How word scores become a loss.

    Attributes:
        aggregation: of the verbalizer: "logsumexp" or "mean".
        offsets: calibration's log-priors, one for each label, or none.
        over_labels: whether label scores are normalised over labels; else they are
            log-probabilities over the vocabulary, as in AutoPrompt (Shin et al. 2020, equation 1).
        anti_collapse: weight of the term that keeps predictions from falling into one label: the
            entropy that the mean prediction lacks, in nats.
    """

    aggregation: str = "logsumexp"
    offsets: tuple[float, ...] = ()
    over_labels: bool = True
    anti_collapse: float = 0.0

    @property
    def is_relative(self) -> bool:
        """Whether only differences between an example's label scores count."""
        return self.over_labels or bool(self.offsets)

    def of(self, label_scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
        """Losses of sets of predictions.

        Args:
            label_scores: shape `(..., examples, labels)`.
            gold: shape `(examples,)`, label indices.

        Returns:
            Shape `(...)`: the mean over examples of -log p(gold), and the anti-collapse term.
        """
        scores = label_scores
        if self.offsets:
            offsets = torch.as_tensor(self.offsets, dtype=scores.dtype, device=scores.device)
            scores = torch.log_softmax(scores, -1) - offsets
        normalised = torch.log_softmax(scores, -1)
        judged = normalised if self.is_relative else scores
        index = gold.expand(judged.shape[:-1])[..., None]
        loss = -judged.gather(-1, index)[..., 0].mean(-1)
        if self.anti_collapse:
            mean = normalised.exp().mean(-2)
            entropy = -(mean * mean.clamp_min(1e-12).log()).sum(-1)
            loss = loss + self.anti_collapse * (np.log(scores.shape[-1]) - entropy)
        return loss

    def expected(self, label_scores: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """As `of`, where labels are known with some probability.

        Args:
            label_scores: shape `(examples, labels)`.
            targets: shape `(examples, labels)`, the labels' probabilities.

        Returns:
            The mean over examples of the cross-entropy over labels, a scalar.
        """
        scores = label_scores
        if self.offsets:
            offsets = torch.as_tensor(self.offsets, dtype=scores.dtype, device=scores.device)
            scores = torch.log_softmax(scores, -1) - offsets
        return -(targets * torch.log_softmax(scores, -1)).sum(-1).mean()

    def values(self, label_scores: Floats, gold: NDArray[np.int64]) -> Floats:
        """As `of`, for arrays: `(sets, examples, labels)` to `(sets,)`."""
        found: Floats = self.of(torch.from_numpy(label_scores), torch.from_numpy(gold)).numpy()
        return found

    def label_scores(self, words: Sequence[torch.Tensor], labels: int) -> torch.Tensor:
        """Aggregate word scores, given for each label as `(..., examples, its words)`."""
        if self.aggregation == "mean":
            parts = [group.mean(-1) for group in words]
        else:
            parts = [torch.logsumexp(group, -1) for group in words]
        assert len(parts) == labels
        return torch.stack(parts, -1)


class OpenModel(LanguageModel, Protocol):
    """A language model whose inside can be used: embeddings, gradients, states at the mask."""

    def input_embeddings(self) -> NDArray[np.float32]:
        """The embedding table: shape `(vocab_size, width)`.

        Raises:
            ModelError: the model gives no access to its input embeddings.
        """
        ...

    def trigger_gradients(
        self, variants: Sequence[Variant], gold: NDArray[np.int64], loss: LabelLoss
    ) -> tuple[float, Floats]:
        """Loss and gradients on one batch.

        Args:
            variants: the same examples for each token count of the words; one at least.
            gold: shape `(examples,)`, label indices.
            loss: what is differentiated.

        Returns:
            The loss, and its gradients at the trigger tokens: shape `(triggers, width)`.

        Raises:
            ModelError: as `input_embeddings`.
            ScoringError: a gradient is not finite.
        """
        ...

    def mask_states(self, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
        """What the output embeddings multiply, at the masks: shape `(encodings, masks, width)`.

        Raises:
            ModelError: the model has no linear layer over its vocabulary.
        """
        ...

    def output_embeddings(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows of the output embeddings: shape `(tokens, width)`.

        Raises:
            ModelError: as `mask_states`.
        """
        ...


def open_model(model: LanguageModel) -> OpenModel:
    """The model, as one whose inside can be used.

    Raises:
        ModelError: it shows scores only.
    """
    if not hasattr(model, "trigger_gradients") or not hasattr(model, "mask_states"):
        raise ModelError(
            f"model {model.identity.name!r} shows scores only, and no embeddings, gradients or "
            f"states; take triggers and the label head out of the search space"
        )
    return cast("OpenModel", model)


def embedding_layer(module: Any, name: str) -> torch.nn.Embedding:
    """The input embeddings of a Hugging Face model.

    Raises:
        ModelError: it gives no access to them.
    """
    try:
        layer = module.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # transformers raises either, by model
        layer = None
    if not isinstance(layer, torch.nn.Embedding):
        raise ModelError(
            f"model {name!r} gives no access to its input embeddings, which a search for trigger "
            f"tokens needs; take the triggers out of the search space, or choose another model"
        )
    return layer


@contextmanager
def added_to_triggers(
    layer: torch.nn.Embedding, positions: Sequence[Sequence[int]], delta: torch.Tensor
) -> Iterator[None]:
    """While open, `delta` is added to the triggers' embeddings.

    Args:
        layer: makes the embeddings.
        positions: of the triggers in each sequence that it is given.
        delta: shape `(triggers, width)`.
    """
    at = torch.tensor(positions, dtype=torch.long, device=delta.device)
    rows = torch.arange(len(positions), device=delta.device)[:, None]

    def add(_module: Any, _arguments: Any, output: torch.Tensor) -> torch.Tensor:
        return output.index_put((rows, at), output[rows, at] + delta.to(output.dtype))

    handle = layer.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def inputs_of(layer: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """While open, what a layer is given is kept, call by call."""
    kept: list[torch.Tensor] = []

    def keep(_module: Any, arguments: Any) -> None:
        kept.append(arguments[0])

    handle = layer.register_forward_pre_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def checked(gradients: torch.Tensor, name: str) -> Floats:
    """Gradients as an array.

    Raises:
        ScoringError: one is not finite.
    """
    found: Floats = gradients.detach().cpu().double().numpy()
    if not np.isfinite(found).all():
        raise ScoringError(
            f"model {name!r} gave gradients that are not finite (NaN or infinite); "
            f"its weights are damaged: copy or download them again"
        )
    return found
