"""Masked models without padding, held to the module's own padded pass."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.models.gradients import LabelLoss, Variant
from autoprompt.models.label_rows import LabelRows
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.packed import PackedEncoder
from autoprompt.models.packing import ALONE, _runs
from autoprompt.models.sequence import Encoding

PACKED = ("bert", "roberta", "xlm_roberta")
OTHERS = ("distilbert", "electra", "albert", "modernbert", "deberta")
packed_families = pytest.mark.parametrize("family", PACKED)
batches = st.lists(
    st.tuples(st.integers(5, 40), st.integers(0, 99)), min_size=1, max_size=9
)  # lengths, and where the masks stand


def made(model: MaskedLanguageModel, shapes: list[tuple[int, int]]) -> list[Encoding]:
    """Sequences of ordinary tokens with two masks and a trigger."""
    mask = model.encoder.tokenizer.mask_token_id
    found = []
    for length, place in shapes:
        ids = [20 + (7 * at + place) % 50 for at in range(length)]
        masks = sorted({place % length, (place + 2) % length})
        for at in masks:
            ids[at] = mask
        found.append(Encoding(tuple(ids), tuple(masks), 0, ((place + 1) % length,)))
    return found


def plain_logits(model: MaskedLanguageModel, batch: list[Encoding]) -> torch.Tensor:
    """Each sequence by itself, logits at every position."""
    rows = []
    for encoding in batch:
        ids = torch.tensor([encoding.ids], device=model.module.device)
        logits = model.module(input_ids=ids).logits[0]
        rows.append(logits[list(encoding.mask_positions)])
    return torch.stack(rows)


@packed_families
@given(shapes=batches)
def test_logits_are_the_modules_own(
    family_models: Callable[[str], MaskedLanguageModel], family: str, shapes: list[tuple[int, int]]
) -> None:
    model = family_models(family)
    assert model.packed is not None
    batch = made(model, shapes)
    with torch.no_grad():
        wanted = plain_logits(model, batch)
    found = model.packed.mask_logits(batch)
    assert float((found - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))


@packed_families
def test_many_sequences_of_one_length_attend_without_a_mask(
    family_models: Callable[[str], MaskedLanguageModel], family: str
) -> None:
    model = family_models(family)
    assert model.packed is not None
    batch = made(model, [(16, at) for at in range(ALONE // 16)] + [(15, 3), (40, 1)])
    with torch.no_grad():
        wanted = plain_logits(model, batch)
    found = model.packed.mask_logits(batch)
    assert float((found - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))


@packed_families
def test_gradients_are_those_of_the_padded_pass(
    family_models: Callable[[str], MaskedLanguageModel], family: str
) -> None:
    model = family_models(family)
    batch = made(model, [(9, 2), (9, 5), (14, 1)])
    width = model.module.config.hidden_size

    def gradient() -> torch.Tensor:
        delta = torch.zeros(1, width, requires_grad=True)
        logits = model._moved_logits(batch, delta)
        (found,) = torch.autograd.grad(torch.log_softmax(logits, -1)[..., 30].sum(), delta)
        return found

    found = gradient()
    with mock.patch.object(model, "packed", None):
        wanted = gradient()
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


@packed_families
@given(shapes=batches)
def test_logits_of_words_alone_are_those_of_the_whole_head(
    family_models: Callable[[str], MaskedLanguageModel], family: str, shapes: list[tuple[int, int]]
) -> None:
    model = family_models(family)
    layer, packed = model.module.get_output_embeddings(), model.packed
    assert packed is not None
    assert packed.has_table_of(layer)
    batch, tokens = made(model, shapes), torch.tensor([30, 7, 9])
    wanted = packed.mask_logits(batch)[..., tokens]
    found = packed.word_logits(batch, tokens, layer)
    assert float((found - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))


@packed_families
def test_words_alone_train_all_weights_as_the_whole_head_does(
    family_models: Callable[[str], MaskedLanguageModel], family: str
) -> None:
    model = family_models(family)
    batch = made(model, [(9, 2), (9, 5), (14, 1)])
    variants = [Variant(batch, np.array([[30], [7], [9]]), np.array([0, 1, 1]))]
    loss, gold = LabelLoss(offsets=(0.1, -0.1)), torch.eye(2)[[0, 1, 1]]
    weights = list(model.module.parameters())

    def gradients(relative: bool) -> tuple[torch.Tensor, ...]:
        scores = model.label_scores(variants, loss, relative=relative)
        value = loss.expected(scores, gold)
        return torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)

    model.module.requires_grad_(True)
    try:
        with mock.patch.object(model, "_variant_scores", side_effect=AssertionError):
            found = gradients(relative=True)
        wanted = gradients(relative=False)
    finally:
        model.module.requires_grad_(False)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-5)


def test_a_head_with_rows_of_its_own_is_no_tied_one(
    family_models: Callable[[str], MaskedLanguageModel],
) -> None:
    model = family_models("bert")
    layer = model.module.get_output_embeddings()
    assert model.packed is not None
    assert not model.packed.has_table_of(LabelRows(layer, [5, 6]))
    assert not model.packed.has_table_of(torch.nn.Linear(*layer.weight.shape[::-1]))


def test_no_gradient_is_kept_where_none_is_asked_for(tiny_model: MaskedLanguageModel) -> None:
    assert tiny_model.packed is not None
    assert not tiny_model.packed.mask_logits(made(tiny_model, [(9, 2)])).requires_grad


@pytest.mark.parametrize("family", OTHERS)
def test_other_shapes_run_padded(
    family_models: Callable[[str], MaskedLanguageModel], family: str
) -> None:
    model = family_models(family)
    assert PackedEncoder.of(model.module) is None
    assert model.packed is None


def test_a_packed_pass_that_disagrees_is_not_taken(tiny_model: MaskedLanguageModel) -> None:
    def wrong(_packed: PackedEncoder, batch: list[Encoding], delta: object = None) -> torch.Tensor:
        return torch.zeros(len(batch), 1, tiny_model.module.config.vocab_size)

    with mock.patch.object(PackedEncoder, "mask_logits", wrong):
        model = MaskedLanguageModel(tiny_model.module, tiny_model.encoder, tiny_model.identity)
    assert model.packed is None


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_runs_are_all_of_the_lengths_in_order(lengths: list[int]) -> None:
    ascending = sorted(lengths)
    assert [length for run in _runs(ascending) for length in run] == ascending
