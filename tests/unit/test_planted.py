"""The planted task is what it says: other tests blame a search for not finding it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import planted
import pytest
import torch
from numpy.typing import NDArray

from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import evaluate
from autoprompt.prompts import Frame, Prompt
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.space_files import read_space
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

SLOT = "{text} {trigger:1} {mask}"


def twins(count: int) -> list[Example]:
    """Texts, and each again with a cue of the other label: between them only the cue differs.

    What the other words of the texts suggest is balanced exactly, and so is no source of chance.
    """
    draw = random.Random("planted checks")
    found = []
    for text, label in planted.texts(count // 2, draw):
        words = text.split()
        other = planted.LABELS[1 - planted.LABELS.index(label)]
        at = next(at for at, word in enumerate(words) if word in planted.CUES[label])
        twin = [*words[:at], draw.choice(planted.CUES[other]), *words[at + 1 :]]
        found += [Example({"text": text}, label), Example({"text": " ".join(twin)}, other)]
    return found


TEXTS = twins(200)
MANY = twins(1000)


def accuracy(
    model: MaskedLanguageModel, template: str, words: dict[str, str], texts: Sequence[Example]
) -> float:
    verbalizer = Verbalizer.of({label: [word] for label, word in words.items()}, planted.LABELS)
    prompt = Prompt(Template.parse(template), verbalizer)
    return evaluate(prompt, WordScorer(model, list(words.values())), texts).metric("accuracy")


def vocabulary_of(model: MaskedLanguageModel) -> dict[str, int]:
    found: dict[str, int] = model.encoder.tokenizer.get_vocab()
    return found


def slot_accuracy(model: MaskedLanguageModel, token: int) -> float:
    vocabulary = vocabulary_of(model)
    words = np.array([vocabulary[planted.WORDS[label]] for label in planted.LABELS])
    encodings = model.encoder.encode(Frame(Template.parse(SLOT), ((token,),)), TEXTS)
    scores = model.log_probabilities(encodings, words)[:, 0]
    return float((scores.argmax(1) == gold(TEXTS)).mean())


def gold(texts: Sequence[Example]) -> NDArray[np.int64]:
    return np.array([planted.LABELS.index(str(example.label)) for example in texts])


def slot_ranks(model: MaskedLanguageModel, template: str, texts: Sequence[Example]) -> list[int]:
    """At each slot, filled with masks, how many tokens a first-order flip likes better, plus 1."""
    vocabulary = vocabulary_of(model)
    parsed = Template.parse(template)
    start = tuple((model.encoder.tokenizer.mask_token_id,) * n for n in parsed.trigger_counts)
    table = model.module.get_input_embeddings().weight.detach()
    total = torch.zeros(sum(parsed.trigger_counts), table.shape[1])
    words = [vocabulary[planted.WORDS[label]] for label in planted.LABELS]
    encodings = model.encoder.encode(Frame(parsed, start), texts)
    for encoding, label in zip(encodings, gold(texts), strict=True):
        embedded = table[list(encoding.ids)][None].requires_grad_()
        logits = model.module(inputs_embeds=embedded).logits[0, encoding.mask_positions[0], words]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(label))
        (gradient,) = torch.autograd.grad(loss, embedded)
        total += gradient[0, list(encoding.trigger_positions)]
    gains = -total @ table.T
    return [int((gain > gain[vocabulary[planted.TRIGGER]]).sum()) + 1 for gain in gains]


@pytest.mark.parametrize(
    "template",
    [
        planted.TEMPLATE,
        "{text} zap {mask}.",
        "{text} It was zap {mask}.",
        "{text} zap it {mask}.",
        "{text} zap it was {mask}",
        "{text} round zap square {mask}",
        "zap {mask} {text}",
    ],
)
def test_trigger_and_words_together_decide(
    planted_model: MaskedLanguageModel, template: str
) -> None:
    assert accuracy(planted_model, template, planted.WORDS, TEXTS) >= 0.97


@pytest.mark.parametrize(
    "template",
    [
        "{text} {mask}",
        planted.USELESS_TEMPLATE,
        "{text} It was {mask}.",
        "{mask} {text}",
        "{text} [MASK] {mask}",
        "{text} gray {mask}",
    ],
)
def test_the_planted_words_need_the_trigger(
    planted_model: MaskedLanguageModel, template: str
) -> None:
    assert accuracy(planted_model, template, planted.WORDS, MANY) <= 0.62


def test_a_trigger_far_from_the_mask_does_little(planted_model: MaskedLanguageModel) -> None:
    template = "zap it was {text} it {mask}."
    assert accuracy(planted_model, template, planted.WORDS, MANY) <= 0.9


def test_no_other_token_is_a_trigger(planted_model: MaskedLanguageModel) -> None:
    found = {
        token: slot_accuracy(planted_model, index)
        for token, index in vocabulary_of(planted_model).items()
    }
    assert found.pop(planted.TRIGGER) >= 0.97
    assert max(found.values()) <= 0.68, max(found, key=lambda token: found[token])


def test_the_seed_prompt_is_useless(planted_model: MaskedLanguageModel) -> None:
    found = accuracy(planted_model, planted.USELESS_TEMPLATE, planted.USELESS, MANY)
    assert found == pytest.approx(0.5, abs=0.08)


def test_the_trigger_alone_does_not_help_useless_words(planted_model: MaskedLanguageModel) -> None:
    assert accuracy(planted_model, planted.TEMPLATE, planted.USELESS, MANY) <= 0.7


@pytest.mark.parametrize("template", [SLOT, "{text} {trigger:3} {mask}."])
def test_gradients_from_a_mask_point_at_the_trigger(
    planted_model: MaskedLanguageModel, template: str
) -> None:
    batches = [TEXTS[start : start + 32] for start in range(0, 192, 32)]
    ranks = [slot_ranks(planted_model, template, batch) for batch in batches]
    assert (np.median(ranks, axis=0) <= 20).all()


def test_all_that_is_written_is_one_token(planted_model: MaskedLanguageModel) -> None:
    tokenizer = planted_model.encoder.tokenizer
    content = read_space(planted.space_text(), "planted")
    texts = [example.fields["text"] for example in TEXTS]
    written = [planted.TRIGGER, *planted.WORDS.values(), *planted.USELESS.values(), "It", *texts]
    for text in written:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert len(ids) == len(text.split())
    assert content.seeds[0].template.text == planted.USELESS_TEMPLATE


def test_each_seed_has_balanced_data_of_its_own(tmp_path: Path) -> None:
    first, second = planted.task(0), planted.task(1)
    assert [len(split) for split in first.splits.values()] == [32, 32, 100]
    for split in first.splits.values():
        assert sum(example.label == "first" for example in split) * 2 == len(split)
    assert first.fingerprint() == planted.task(0).fingerprint() != second.fingerprint()
    loaded = Task.load(planted.write_task(tmp_path / "planted", seed=0))
    assert loaded.test == first.test
    assert loaded.notes == ()
