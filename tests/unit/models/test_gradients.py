"""Gradients at the trigger tokens, held to plain autograd and to finite differences.

The oracle runs a copy of the model in double precision, one example at a time and without padding,
on `inputs_embeds`, with logits at every position.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from listening_models import ListeningModel
from numpy.typing import NDArray

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models.gradients import LabelLoss, Variant, checked, embedding_layer, open_model
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Frame
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

EVERY = [*tiny_models.FAMILIES, *tiny_models.CAUSAL, *tiny_models.SEQ2SEQ]
families = pytest.mark.parametrize("family", EVERY)
TEXTS = ["a good film", "", "the story was slow , and the acting was not very good", "dull"]
GOLD = np.array([1, 0, 2, 1])
LABELS = 3
EPSILON = 5e-4  # not less: some models compute parts in single precision whatever is asked
LOSSES = {
    "plain": LabelLoss(),
    "mean": LabelLoss("mean"),
    "vocabulary": LabelLoss(over_labels=False),
    "mean of vocabulary": LabelLoss("mean", over_labels=False),
    "offsets": LabelLoss(offsets=(-0.2, -1.5, -2.5)),
    "offsets win": LabelLoss("mean", offsets=(-0.2, -1.5, -2.5), over_labels=False),
    "anti-collapse": LabelLoss(anti_collapse=2.0),
    "all": LabelLoss("mean", (-0.2, -1.5, -2.5), True, 0.7),
    "anti-collapse of vocabulary": LabelLoss(over_labels=False, anti_collapse=0.7),
}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@dataclass(frozen=True)
class Case:
    """A model with a batch, and the model again in double precision."""

    model: TransformerModel
    exact: Any
    variants: list[Variant]


@pytest.fixture(scope="module")
def cases(family_models: Callable[[str], TransformerModel]) -> Callable[[str], Case]:
    made: dict[str, Case] = {}

    def case(family: str) -> Case:
        if family not in made:
            model = family_models(family)
            exact = copy.deepcopy(model.module).cpu().double()  # the oracle is slow anyway
            made[family] = Case(model, exact, variants_of(model))
        return made[family]

    return case


def variants_of(model: TransformerModel) -> list[Variant]:
    """Two slots and words of one and two tokens; for a causal model what it can read."""
    causal = model.identity.family == "causal"
    text = "{trigger:1} {text} {trigger:2} was {mask}"
    template = Template.parse(text if causal else f"{text} {{trigger:1}} .")
    spare = iter(range(40, 60))
    triggers = tuple(tuple(next(spare) for _ in range(n)) for n in template.trigger_counts)

    def encoded(masks: int) -> list[Encoding]:
        examples = [Example({"text": one}) for one in TEXTS]
        return model.encoder.encode(Frame(template, triggers), examples, masks)

    return [
        Variant(encoded(1), np.array([[61], [62], [63]]), np.array([0, 1, 1])),
        Variant(encoded(2), np.array([[64, 65], [61, 66], [67, 67]]), np.array([0, 2, 2])),
    ]


# -- the oracle -------------------------------------------------------------------------------


def plain_loss(scores: Sequence[Sequence[torch.Tensor]], loss: LabelLoss) -> torch.Tensor:
    """The loss of `scores[example][label]`, as the formulas read, one number at a time."""
    total = torch.zeros((), dtype=torch.float64)
    predictions = []
    for row, gold in zip(scores, GOLD, strict=True):
        judged = list(row)
        if loss.offsets:
            whole = sum(one.exp() for one in row)
            judged = [
                (one.exp() / whole).log() - shift
                for one, shift in zip(row, loss.offsets, strict=True)
            ]
        probabilities = [one.exp() / sum(other.exp() for other in judged) for one in judged]
        predictions.append(probabilities)
        if loss.over_labels or loss.offsets:
            total = total - probabilities[gold].log() / len(GOLD)
        else:
            total = total - row[gold] / len(GOLD)
    if loss.anti_collapse:
        mean = [sum(p[label] for p in predictions) / len(GOLD) for label in range(LABELS)]
        entropy = -sum(one * one.log() for one in mean)
        total = total + loss.anti_collapse * (math.log(LABELS) - entropy)
    return total


def aggregated(words: Sequence[torch.Tensor], loss: LabelLoss) -> torch.Tensor:
    if loss.aggregation == "mean":
        return sum(words) / len(words)
    return sum(word.exp() for word in words).log()


def logs_of(
    case: Case,
    table: torch.Tensor,
    moved: torch.Tensor,
    encoding: Encoding,
    word: NDArray[np.int64],
) -> torch.Tensor:
    """Log-probabilities `(tokens, vocab_size)` where a word's tokens are predicted.

    What is in `moved` is added to the triggers' embeddings, wherever the model reads them.
    """
    family, head = case.model.identity.family, tuple(word[:-1].tolist())
    places = encoding.trigger_positions

    def embedded(ids: Sequence[int], shift: int = 0) -> torch.Tensor:
        rows = [table[one] for one in ids]
        for slot, at in enumerate(places):
            # A decoder may have read the text up to the mask alone, or none of it.
            if at + shift < len(ids) and ids[at + shift] == encoding.ids[at]:
                rows[at + shift] = rows[at + shift] + moved[slot]
        return torch.stack(rows)[None]

    if family == "masked":
        logits = case.exact(inputs_embeds=embedded(encoding.ids)).logits[0]
        return logits[list(encoding.mask_positions)].log_softmax(-1)
    if family == "causal":
        logits = case.exact(inputs_embeds=embedded(encoding.ids + head)).logits[0]
    else:
        inputs = embedded(encoding.ids), embedded(encoding.decoder_ids + head, shift=1)
        logits = case.exact(inputs_embeds=inputs[0], decoder_inputs_embeds=inputs[1]).logits[0]
    return logits[-len(word) :].log_softmax(-1)


def oracle(
    case: Case, loss: LabelLoss, added: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss, and its gradients at the trigger tokens, with something added to them or not."""
    table = case.exact.get_input_embeddings().weight.detach()
    leaves: list[torch.Tensor] = []
    scores = []
    for example in range(len(TEXTS)):
        words: list[list[torch.Tensor]] = [[] for _ in range(LABELS)]
        for variant in case.variants:
            encoding = variant.encodings[example]
            for ids, label in zip(variant.ids, variant.labels, strict=True):
                moved = torch.zeros_like(table[: len(encoding.trigger_positions)])
                moved = (moved if added is None else added).clone().requires_grad_()
                leaves.append(moved)
                logs = logs_of(case, table, moved, encoding, ids)
                words[label].append(sum(logs[at, ids[at]] for at in range(len(ids))) / len(ids))
        scores.append([aggregated(group, loss) for group in words])
    total = plain_loss(scores, loss)
    # With scores over the vocabulary, words of labels that are not gold do not count.
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return total.detach(), sum(gradients)


# -- gradients --------------------------------------------------------------------------------


@families
@losses
def test_gradients_are_those_of_plain_autograd(
    cases: Callable[[str], Case], family: str, loss: LabelLoss
) -> None:
    case = cases(family)
    value, found = case.model.trigger_gradients(case.variants, GOLD, loss)
    wanted_value, wanted = oracle(case, loss)
    slots = len(case.variants[0].encodings[0].trigger_positions)
    assert found.shape == (slots, case.model.input_embeddings().shape[1])
    assert value == pytest.approx(float(wanted_value), rel=1e-4)
    largest = float(wanted.abs().max())
    assert largest > 1e-3  # else anything near nothing would pass
    np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-3 * largest)


@families
@pytest.mark.parametrize("loss", [LOSSES["plain"], LOSSES["all"]], ids=["plain", "all"])
def test_gradients_are_those_of_finite_differences(
    cases: Callable[[str], Case], family: str, loss: LabelLoss
) -> None:
    case = cases(family)
    _, found = case.model.trigger_gradients(case.variants, GOLD, loss)
    chance = torch.Generator().manual_seed(1)
    for slot in range(len(found)):
        step = torch.zeros(found.shape, dtype=torch.float64)
        step[slot] = torch.randn(found.shape[1], generator=chance, dtype=torch.float64)
        up, down = (float(oracle(case, loss, sign * EPSILON * step)[0]) for sign in (1, -1))
        size = float(np.linalg.norm(found[slot]) * step.norm())
        assert float((found * step.numpy()).sum()) == pytest.approx(
            (up - down) / (2 * EPSILON), abs=1e-3 * size
        )


@families
def test_a_model_that_is_not_narrowed_gives_the_same_gradients(
    cases: Callable[[str], Case], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases(family)
    value, wanted = case.model.trigger_gradients(case.variants, GOLD, LabelLoss())
    monkeypatch.setattr(case.model, "narrow", False)
    plain_value, found = case.model.trigger_gradients(case.variants, GOLD, LabelLoss())
    assert value == pytest.approx(plain_value, rel=1e-4)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


@families
def test_gradients_leave_nothing_behind(cases: Callable[[str], Case], family: str) -> None:
    case = cases(family)
    batch, tokens = case.variants[0].encodings, np.arange(60)
    before = case.model.log_probabilities(batch, tokens)
    first = case.model.trigger_gradients(case.variants, GOLD, LabelLoss())
    second = case.model.trigger_gradients(case.variants, GOLD, LabelLoss())
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(case.model.log_probabilities(batch, tokens), before)
    assert not case.model.module.get_input_embeddings()._forward_hooks
    assert all(weight.grad is None for weight in case.model.module.parameters())


def test_the_hook_goes_when_the_model_fails(
    cases: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases("bert")

    def failing(batch: Sequence[Encoding]) -> torch.Tensor:
        raise RuntimeError("broken")

    monkeypatch.setattr(case.model, "packed", None)  # which has no hook
    monkeypatch.setattr(case.model, "_mask_logits", failing)
    with pytest.raises(RuntimeError, match="broken"):
        case.model.trigger_gradients(case.variants, GOLD, LabelLoss())
    assert not case.model.module.get_input_embeddings()._forward_hooks


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_gradient_that_does_not_fit_is_taken_in_parts(
    cases: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    case = cases("bert")
    loss, gradient = case.model.trigger_gradients(case.variants, GOLD, LabelLoss())
    plain, ran = case.model._moved_logits, []

    def limited(batch: Sequence[Encoding], delta: torch.Tensor) -> torch.Tensor:
        if len(batch) > most:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9")
        ran.append(len(batch))
        return plain(batch, delta)

    monkeypatch.setattr(case.model, "_moved_logits", limited)
    in_parts = case.model.trigger_gradients(case.variants, GOLD, LabelLoss())
    assert max(ran) <= most
    assert in_parts[0] == pytest.approx(loss, abs=1e-5)
    np.testing.assert_allclose(in_parts[1], gradient, atol=1e-5)


def test_a_gradient_of_one_example_that_does_not_fit_is_an_error(
    cases: Callable[[str], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases("bert")

    def failing(batch: Sequence[Encoding], delta: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(case.model, "_moved_logits", failing)
    with pytest.raises(ScoringError, match="gradient of a single sequence"):
        case.model.trigger_gradients(case.variants, GOLD, LabelLoss())


def test_damaged_weights_are_told(tiny_model: TransformerModel) -> None:
    module = copy.deepcopy(tiny_model.module)
    module.bert.encoder.layer[0].output.dense.weight.data[3, 3] = torch.nan
    model = MaskedLanguageModel(module, tiny_model.encoder, tiny_model.identity)
    with pytest.raises(ScoringError, match="gradients that are not finite"):
        model.trigger_gradients(variants_of(model), GOLD, LabelLoss())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_gradients_that_are_not_finite_are_an_error(bad: float) -> None:
    checked(torch.zeros(2, 3), "m")
    with pytest.raises(ScoringError, match="model 'm' gave gradients that are not finite"):
        checked(torch.tensor([[0.0, 1.0], [bad, 0.0]]), "m")


# -- the loss ---------------------------------------------------------------------------------


def looped(scores: NDArray[np.float64], gold: Sequence[int], loss: LabelLoss) -> float:
    """As `plain_loss`, without torch."""

    def normalised(row: Sequence[float]) -> list[float]:
        return [one - math.log(sum(math.exp(other) for other in row)) for one in row]

    total, mean = 0.0, [0.0] * scores.shape[1]
    for row, label in zip(scores.tolist(), gold, strict=True):
        raw = row[label]
        if loss.offsets:
            row = [one - o for one, o in zip(normalised(row), loss.offsets, strict=True)]
        row = normalised(row)
        total -= (row[label] if loss.over_labels or loss.offsets else raw) / len(gold)
        mean = [m + math.exp(one) / len(gold) for m, one in zip(mean, row, strict=True)]
    lacking = math.log(len(mean)) + sum(m * math.log(m) for m in mean)
    return total + loss.anti_collapse * lacking


@losses
def test_values_are_those_of_slow_loops(loss: LabelLoss) -> None:
    chance = np.random.default_rng(3)
    scores = chance.normal(-4, 2, (5, 7, LABELS))
    gold = chance.integers(LABELS, size=7)
    wanted = [looped(one, gold.tolist(), loss) for one in scores]
    found = loss.values(scores, gold)
    assert found.shape == (5,)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_a_collapsed_prediction_pays_the_whole_entropy() -> None:
    one_sided = np.log(np.array([[[1 - 1e-9, 1e-9]] * 4]))
    balanced = np.log(np.array([[[1 - 1e-9, 1e-9]] * 2 + [[1e-9, 1 - 1e-9]] * 2]))
    gold = np.array([0, 0, 1, 1])
    for scores, wanted in ((one_sided, math.log(2)), (balanced, 0.0)):
        paid = LabelLoss(anti_collapse=1.0).values(scores, gold) - LabelLoss().values(scores, gold)
        assert paid[0] == pytest.approx(wanted, abs=1e-6)


# -- what a model shows -----------------------------------------------------------------------


class Refusing(torch.nn.Module):
    def get_input_embeddings(self) -> Any:
        raise NotImplementedError


class OddlyEmbedded(torch.nn.Module):
    def get_input_embeddings(self) -> Any:
        return torch.nn.Linear(4, 4)


@pytest.mark.parametrize("module", [Refusing(), OddlyEmbedded(), torch.nn.Linear(2, 2)])
def test_a_model_without_input_embeddings_is_refused(module: Any) -> None:
    with pytest.raises(ModelError, match="'odd' gives no access to its input embeddings"):
        embedding_layer(module, "odd")


@families
def test_the_embeddings_are_those_of_the_model(cases: Callable[[str], Case], family: str) -> None:
    model = cases(family).model
    found = model.input_embeddings()
    assert found.dtype == np.float32
    wanted = [v for k, v in model.module.state_dict().items() if ".wor" in k or ".wte" in k]
    wanted += [v for k, v in model.module.state_dict().items() if ".tok_e" in k or ".embed_" in k]
    assert len(found) == model.module.config.vocab_size
    assert any(v.shape == found.shape and (v.cpu().numpy() == found).all() for v in wanted)


@families
@pytest.mark.parametrize("narrow", [True, False])
def test_states_and_output_embeddings_give_the_scores(
    cases: Callable[[str], Case], family: str, narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cases(family)
    size = case.model.module.config.vocab_size
    monkeypatch.setattr(case.model, "narrow", narrow)
    some = np.array([7, 50, 7])
    rows = case.model.output_embeddings(np.arange(size))
    np.testing.assert_array_equal(case.model.output_embeddings(some), rows[some])
    bias = case.model.module.get_output_embeddings().bias
    for variant in case.variants:
        states = case.model.mask_states(variant.encodings)
        masks = len(variant.encodings[0].mask_positions)
        assert states.shape == (len(TEXTS), masks, rows.shape[1])
        logits = torch.from_numpy(states.astype(np.float64) @ rows.T.astype(np.float64))
        if bias is not None:
            logits += bias.cpu()
        wanted = case.model.log_probabilities(variant.encodings, np.arange(size))
        np.testing.assert_allclose(logits.log_softmax(-1).numpy(), wanted, atol=1e-4)
    assert not case.model.module.get_output_embeddings()._forward_pre_hooks


def test_a_model_without_a_linear_head_is_refused(
    tiny_model: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_model.module, "get_output_embeddings", lambda: None)
    for ask in (lambda: tiny_model.mask_states([]), lambda: tiny_model.output_embeddings(GOLD)):
        with pytest.raises(ModelError, match="no linear layer over its vocabulary"):
            ask()


def test_a_model_that_shows_scores_only_is_refused(tiny_model: TransformerModel) -> None:
    assert open_model(tiny_model) is tiny_model
    with pytest.raises(ModelError, match="shows scores only"):
        open_model(ListeningModel(tiny_model, lambda text: True))
