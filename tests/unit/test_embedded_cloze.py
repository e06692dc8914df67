"""The cloze set of experiments/embedded, and how models are scored on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from autoprompt.errors import InputError
from autoprompt.models.loading import Parts
from autoprompt.tasks.task import SAMPLES
from experiments.embedded import cloze
from experiments.embedded.cloze import GAP, Item, filled, read_cloze

ITEMS = (
    Item("group", "part", "this film was {mask} good", "very", ("gripping", "don")),
    Item("group", "part", "{mask} is a slow and very boring story", "it", ("spellings",)),
    Item("other", "part", "the plot was {mask}.", "unfunny", ("bad",)),
)


@pytest.fixture(scope="module")
def load(model_directory: Callable[[str], Path]) -> Callable[[str], Parts]:
    return lambda family: cloze.load(str(model_directory(family)))


# -- the set ---------------------------------------------------------------------------------------


def test_the_shipped_set_is_valid_and_large_enough() -> None:
    found = read_cloze()
    assert len(found.items) >= 240
    assert {item.group for item in found.items} == {"grammar", "facts", "sentiment"}
    for group in ("grammar", "facts", "sentiment"):
        assert sum(item.group == group for item in found.items) >= 80
    assert 5 <= len(found.open) <= 12


def test_word_frequencies_alone_stay_at_chance() -> None:
    """Whatever the frequencies are: in each set one word is most frequent, and right once."""
    items = read_cloze().items
    words = sorted({word for item in items for word in item.words})
    for seed in range(3):
        frequency = dict(
            zip(words, np.random.default_rng(seed).permutation(len(words)), strict=True)
        )
        rights = [max(item.words, key=frequency.__getitem__) == item.right for item in items]
        found = cloze.by_group(items, rights)
        assert all(one["value"] == pytest.approx(one["chance"]) for one in found.values())


def test_no_sentence_is_of_a_sample_task() -> None:
    texts = "".join(path.read_text() for path in sorted(SAMPLES.rglob("*.jsonl"))).lower()
    for item in read_cloze().items:
        assert filled(item.text, item.right)[0].lower() not in texts


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ('{on: "A {mask}."}', "quotes"),
        ('{a: "A {mask}."}', "a set has 1 words"),
        ('{a: "A {mask}.", b: "B {mask}.", c: "C {mask}.", d: "D {mask}.", e: "E {mask}."}', "5"),
        ('{a: "A {mask}.", b: "B."}', "0 gaps"),
        ('{a: "A {mask} {mask}.", b: "B {mask}."}', "2 gaps"),
        ('{a: "A {mask}.", b: "A {mask}."}', "twice"),
        ('{a b: "A {mask}.", c: "B {mask}."}', "one word"),
    ],
)
def test_a_broken_set_is_refused(tmp_path: Path, sets: str, message: str) -> None:
    path = tmp_path / "cloze.yaml"
    path.write_text(f"groups: {{group: {{part: [{sets}]}}}}\nopen: []\n")
    with pytest.raises(InputError, match=message):
        read_cloze(path)


def test_a_word_at_the_start_gets_a_capital() -> None:
    assert filled("{mask} is raining.", "it") == ("It is raining.", (0, 2))
    assert filled("So {mask} rains.", "it") == ("So it rains.", (3, 5))


# -- scores ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
def test_a_word_is_scored_left_to_right_with_its_later_tokens_masked(
    load: Callable[[str], Parts], family: str
) -> None:
    parts = load(family)
    found = cloze.word_scores(parts, ITEMS)
    longest = 0
    for item, scores in zip(ITEMS, found, strict=True):
        for word, score in zip(item.words, scores, strict=True):
            expected, tokens = _slow_masked(parts, *filled(item.text, word))
            assert score == pytest.approx(expected, abs=1e-3)
            longest = max(longest, tokens)
    assert longest > 1


def _slow_masked(parts: Parts, text: str, span: tuple[int, int]) -> tuple[float, int]:
    """One forward pass a token, without padding; and the number of the word's tokens."""
    encoded = parts.tokenizer(text, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    inside = [
        at
        for at, (start, end) in enumerate(offsets)
        if end > start and end > span[0] and start < span[1]
    ]
    assert inside == list(range(inside[0], inside[-1] + 1))
    total = 0.0
    for at in inside:
        tail = [parts.tokenizer.mask_token_id] * (inside[-1] + 1 - at)
        shown = torch.tensor([ids[:at] + tail + ids[inside[-1] + 1 :]])
        with torch.no_grad():
            total += float(parts.module(input_ids=shown).logits[0, at].log_softmax(-1)[ids[at]])
    return total, len(inside)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_a_causal_model_scores_the_whole_sentence(
    load: Callable[[str], Parts], family: str
) -> None:
    parts = load(family)
    found = cloze.word_scores(parts, ITEMS)
    for item, scores in zip(ITEMS, found, strict=True):
        for word, score in zip(item.words, scores, strict=True):
            assert score == pytest.approx(_slow_causal(parts, filled(item.text, word)[0]), abs=1e-3)


def _slow_causal(parts: Parts, text: str) -> float:
    """One forward pass a token."""
    tokenizer = parts.tokenizer
    first = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    ids = [first, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    total = 0.0
    for at in range(1, len(ids)):
        with torch.no_grad():
            logits = parts.module(input_ids=torch.tensor([ids[:at]])).logits[0, -1]
        total += float(logits.log_softmax(-1)[ids[at]])
    return total


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_figures_have_every_group_with_n_interval_and_chance(
    load: Callable[[str], Parts], family: str
) -> None:
    found = cloze.measure_cloze(load(family), cloze.Cloze(ITEMS, (f"the film was {GAP}.",)))
    assert list(found["accuracy"]) == ["all", "group", "group: part", "other", "other: part"]
    every = found["accuracy"]["all"]
    assert every["n"] == 3
    assert every["low"] <= every["value"] <= every["high"]
    assert every["chance"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    (shown,) = found["open"]
    assert len(shown["words"]) == len(shown["probabilities"]) == cloze.SHOWN
    assert shown["probabilities"] == sorted(shown["probabilities"], reverse=True)


def test_a_tie_is_not_right(load: Callable[[str], Parts], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloze, "log_probabilities", lambda module, queries: [0.0] * len(queries))
    found = cloze.measure_cloze(load("bert"), cloze.Cloze(ITEMS, ()))
    assert found["accuracy"]["all"]["value"] == 0.0
