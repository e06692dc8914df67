"""The loss that is trained is the cross-entropy of the scores that a prediction has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from tuning_material import assignment, prompt

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import evaluate
from autoprompt.prompts import Calibration, Prompt
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tuning.lessons import Assignment, Collator, Encoded, Item, Lessons
from autoprompt.tuning.module import TunedModule
from autoprompt.tuning.texts import TextLessons
from autoprompt.verbalizers import Verbalizer

FAMILIES = ("bert", "roberta", "deberta_v2", "modernbert", "gpt2", "llama", "t5", "bart")
WORDS = {"neg": ["terrible", "not good"], "pos": ["great", "very good", "fine"]}
families = pytest.mark.parametrize("family", FAMILIES)


def prompts() -> dict[str, Prompt]:
    """Words of one and of several tokens, both aggregations, with and without calibration."""
    several = Verbalizer.of(WORDS)
    return {
        "one word": prompt(),
        "several": replace(prompt(), verbalizer=several),
        "calibrated": replace(
            prompt(),
            verbalizer=replace(several, aggregation="mean"),
            calibration=Calibration("contextual", (-0.3, -1.6)),
        ),
    }


def all_of(one: Assignment, model: TransformerModel) -> dict[str, object]:
    """All train examples in one batch."""
    items = [Item(0, row, 0, 0) for row in range(len(one.train))]
    return Collator([Encoded(one, model.encoder)])(items)


@contextmanager
def trained(model: TransformerModel) -> Iterator[None]:
    """While open, the weights take gradients."""
    model.module.requires_grad_(True)
    try:
        yield
    finally:
        model.module.requires_grad_(False)
        model.module.eval()
        model.module.zero_grad(set_to_none=True)


@families
@pytest.mark.parametrize("kind", ["one word", "several", "calibrated"])
def test_the_loss_is_what_scoring_computes(
    family_models: Callable[[str], TransformerModel], family: str, kind: str
) -> None:
    model = family_models(family)
    one = assignment(train=9, prompt=prompts()[kind])
    scorer = WordScorer(model, one.prompt.verbalizer.all_words)
    wanted = evaluate(one.prompt, scorer, one.train).measures()["cross_entropy"].value
    with trained(model):
        found = TunedModule(model, [one.loss])(**all_of(one, model))["loss"]
        assert found.requires_grad
        assert float(found.detach()) == pytest.approx(wanted, abs=1e-4)


def gradients(model: TransformerModel, one: Assignment) -> dict[str, torch.Tensor]:
    with trained(model):
        module = TunedModule(model, [one.loss])
        module(**all_of(one, model))["loss"].backward()
        return {
            name: torch.zeros_like(each) if each.grad is None else each.grad.clone()
            for name, each in module.trainable().items()
        }


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_gradients_without_padding_are_those_of_the_padded_pass(
    family_models: Callable[[str], MaskedLanguageModel], family: str
) -> None:
    model = family_models(family)
    one = assignment(train=6, prompt=prompts()["several"])
    found = gradients(model, one)
    packed, model.packed = model.packed, None
    try:
        wanted = gradients(model, one)
    finally:
        model.packed = packed
    assert packed is not None
    largest = max(float(each.abs().max()) for each in wanted.values())
    assert largest > 1e-2
    for name, each in found.items():
        np.testing.assert_allclose(each, wanted[name], atol=1e-4 * largest, err_msg=name)


def test_a_module_in_training_drops_out_without_padding_too(
    tiny_model: MaskedLanguageModel,
) -> None:
    one = assignment(train=6)
    assert tiny_model.packed is not None
    with trained(tiny_model), torch.random.fork_rng():
        torch.manual_seed(0)
        module, batch = TunedModule(tiny_model, [one.loss]), all_of(one, tiny_model)
        tiny_model.module.train()
        found = {float(module(**batch)["loss"].detach()) for _ in range(3)}
        tiny_model.module.eval()
        still = {float(module(**batch)["loss"].detach()) for _ in range(3)}
    assert (len(found), len(still)) == (3, 1)


def test_parts_of_several_tasks_weigh_by_their_examples(tiny_model: MaskedLanguageModel) -> None:
    first, second = assignment(train=6), assignment(train=4, prompt=prompts()["calibrated"])
    encoded = [Encoded(one, tiny_model.encoder) for one in (first, second)]
    module = TunedModule(tiny_model, [first.loss, second.loss])
    items = [Item(0, row, 0, 0) for row in range(3)] + [Item(1, 2, 0, 0)]
    both = float(module(**Collator(encoded)(items))["loss"])
    alone = [float(module(**Collator(encoded)(part))["loss"]) for part in (items[:3], items[3:])]
    assert both == pytest.approx((3 * alone[0] + alone[1]) / 4, abs=1e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_auxiliary_loss_is_the_language_models_own(
    family_models: Callable[[str], TransformerModel], family: str
) -> None:
    model = family_models(family)
    one = assignment(train=4)
    lessons = TextLessons(["the film was a good story about money and people"] * 12, model)
    batch = lessons.batch(2, 0)
    texts = Collator([Encoded(one, model.encoder)], lessons)([Item(0, 0, 0, 0)])["batch"]
    assert texts.texts is not None
    logits = []
    with torch.no_grad():
        for encoding in batch.encodings:
            ids = torch.tensor([encoding.ids], device=model.module.device)
            all_logits = model.module(input_ids=ids).logits[0].cpu()
            logits.append(all_logits[list(encoding.mask_positions)])
        wanted = torch.nn.functional.cross_entropy(torch.cat(logits), batch.targets.flatten())
        module = TunedModule(model, [one.loss], mlm_weight=0.5)
        bare = module(replace(texts, texts=None))["loss"]
        found = module(replace(texts, texts=batch))["loss"]
    assert float(found - bare) == pytest.approx(0.5 * float(wanted), abs=1e-4)


def test_lessons_go_round_through_all_examples() -> None:
    lessons = Lessons([10], steps=5, batch=4, seed=3)
    items = [lessons[at] for at in range(len(lessons))]
    assert [item.step for item in items] == [at // 4 for at in range(20)]
    for start in (0, 10):
        assert sorted(item.row for item in items[start : start + 10]) == list(range(10))
    again = Lessons([10], steps=5, batch=4, seed=3)
    assert items == [again[at] for at in range(20)]
    other = Lessons([10], steps=5, batch=4, seed=4)
    assert items != [other[at] for at in range(20)]


def test_lessons_of_several_tasks_are_mixed() -> None:
    lessons = Lessons([100, 25], steps=100, batch=3, seed=0)
    counts = np.bincount([lessons[at].task for at in range(300)])
    assert 150 < counts[0] < 250  # by the square roots of the sizes: 2 to 1
