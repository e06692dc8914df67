"""What the contract suite cannot ask of every family: lack of memory, odd models, odd lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models.masked import MaskedLanguageModel, usable_length
from autoprompt.models.sequence import Encoding
from autoprompt.prompts import Frame
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

TOKENS = np.arange(20)


@pytest.fixture
def batch(tiny_model: MaskedLanguageModel) -> list[Encoding]:
    texts = ["a film", "a good film , not bad", "", "news", "the story was slow"]
    frame = Frame(Template.parse("{text} It was {mask}."))
    return tiny_model.encoder.encode(frame, [Example({"text": text}) for text in texts])


NO_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
)


def with_memory_for(
    model: MaskedLanguageModel,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
    error: RuntimeError = NO_MEMORY[0],
) -> list[int]:
    """Let the model run out of memory above `most` sequences; returns the sizes that it ran."""
    ran: list[int] = []
    plain = model._mask_logits

    def limited(batch: Sequence[Encoding]) -> torch.Tensor:
        if len(batch) > most:
            raise error
        ran.append(len(batch))
        return plain(batch)

    monkeypatch.setattr(model, "_mask_logits", limited)
    monkeypatch.setattr(model, "tokens_per_batch", model.tokens_per_batch)  # undone afterwards
    return ran


def test_batches_keep_the_token_budget(
    tiny_model: MaskedLanguageModel, batch: list[Encoding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model, "tokens_per_batch", 24)
    ran = with_memory_for(tiny_model, 99, monkeypatch)
    tiny_model.log_probabilities(batch, TOKENS)
    assert sum(ran) == len(batch)
    assert max(ran) * min(len(encoding.ids) for encoding in batch) <= 24


@pytest.mark.parametrize("error", NO_MEMORY, ids=("cuda", "cublas", "cpu", "mps"))
@pytest.mark.parametrize("most", [1, 2, 4])
def test_a_batch_that_does_not_fit_is_halved(
    tiny_model: MaskedLanguageModel,
    batch: list[Encoding],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    error: RuntimeError,
) -> None:
    wanted = tiny_model.log_probabilities(batch, TOKENS)
    ran = with_memory_for(tiny_model, most, monkeypatch, error)
    np.testing.assert_allclose(tiny_model.log_probabilities(batch, TOKENS), wanted, atol=1e-5)
    assert sum(ran) == len(batch)
    assert max(ran) <= most


def test_a_size_that_did_not_fit_is_not_tried_again(
    tiny_model: MaskedLanguageModel, batch: list[Encoding], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory_for(tiny_model, 2, monkeypatch)
    tiny_model.log_probabilities(batch, TOKENS)
    limited, asked = tiny_model._mask_logits, list[int]()

    def noted(batch: Sequence[Encoding]) -> torch.Tensor:
        asked.append(len(batch))
        return limited(batch)

    monkeypatch.setattr(tiny_model, "_mask_logits", noted)
    tiny_model.log_probabilities(batch, TOKENS)
    assert max(asked) <= 2


def test_a_sequence_that_does_not_fit_alone_is_an_error(
    tiny_model: MaskedLanguageModel, batch: list[Encoding], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_memory_for(tiny_model, 0, monkeypatch)
    with pytest.raises(ScoringError, match="does not fit into the memory of 'cpu'"):
        tiny_model.log_probabilities(batch, TOKENS)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_scores_that_are_not_finite_are_an_error(
    tiny_model: MaskedLanguageModel,
    batch: list[Encoding],
    monkeypatch: pytest.MonkeyPatch,
    bad: float,
) -> None:
    logits = torch.zeros(len(batch), 1, 30)
    logits[2, 0, 5] = bad
    monkeypatch.setattr(tiny_model, "_mask_logits", lambda batch: logits)
    with pytest.raises(ScoringError, match="not finite"):
        tiny_model.log_probabilities(batch, TOKENS)


# -- models whose head does not follow the usual shape ----------------------------------------


class Shifted(torch.nn.Module):
    """A model whose head looks at neighbours too, so that it must see every position."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.device = inner.device
        self.base_model = inner.base_model

    def forward(self, **inputs: torch.Tensor) -> Any:
        logits = self.inner(**inputs).logits
        return SimpleNamespace(logits=logits + logits.roll(1, dims=1))


class Tupled(Shifted):
    """A model whose body returns a tuple."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.base_model = torch.nn.Identity()

    def forward(self, **inputs: torch.Tensor) -> Any:
        self.base_model((inputs["input_ids"],))
        return self.inner(**inputs)


@pytest.mark.parametrize("kind", [Shifted, Tupled])
def test_a_model_that_cannot_be_narrowed_runs_plainly(
    tiny_model: MaskedLanguageModel, batch: list[Encoding], kind: type[Shifted]
) -> None:
    module = kind(tiny_model.module)
    model = MaskedLanguageModel(module, tiny_model.encoder, tiny_model.identity)
    assert not model.narrow
    found = model.log_probabilities(batch[:1], TOKENS)
    with torch.no_grad():
        logits = module(input_ids=torch.tensor([batch[0].ids])).logits[0]
    wanted = logits.log_softmax(-1)[batch[0].mask_positions[0], : len(TOKENS)]
    np.testing.assert_allclose(found[0, 0], wanted.numpy(), atol=1e-5)


def test_no_hook_stays_on_the_model(tiny_model: MaskedLanguageModel, batch: list[Encoding]) -> None:
    tiny_model.log_probabilities(batch, TOKENS)
    assert not tiny_model.module.base_model._forward_hooks


def test_a_tokenizer_without_padding_pads_with_anything(
    family_models: Callable[[str], MaskedLanguageModel], batch: list[Encoding]
) -> None:
    tiny = family_models("bert")
    model = MaskedLanguageModel(tiny.module, tiny.encoder, tiny.identity)
    model._pad = 9
    wanted = tiny.log_probabilities(batch, TOKENS)
    np.testing.assert_allclose(model.log_probabilities(batch, TOKENS), wanted, atol=1e-5)


# -- lengths ----------------------------------------------------------------------------------


def body(rows: int | None, padding: int | None = None, configured: int | None = None) -> Any:
    module = torch.nn.Module()
    if rows:
        module.position_embeddings = torch.nn.Embedding(rows, 4, padding_idx=padding)
    module.config = SimpleNamespace(max_position_embeddings=configured)  # type: ignore[assignment]
    return module


@pytest.mark.parametrize(
    ("module", "told", "usable"),
    [
        (body(512), 10**30, 512),
        (body(514, padding=1), 10**30, 512),  # RoBERTa: positions begin after the padding
        (body(512), 256, 256),
        (body(None, configured=1024), 10**30, 1024),
        (body(514, configured=512), 10**30, 512),
        (body(None, configured=-1), 128, 128),
        (body(None), 128, 128),
    ],
)
def test_the_usable_length_is_the_least_that_is_told(module: Any, told: int, usable: int) -> None:
    assert usable_length(module, SimpleNamespace(model_max_length=told)) == usable


def test_a_model_that_tells_no_length_is_refused() -> None:
    with pytest.raises(ModelError, match="set model_max_length"):
        usable_length(body(None), SimpleNamespace(model_max_length=10**30))
