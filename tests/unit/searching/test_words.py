"""Which words a search asks for."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from autoprompt.errors import InputError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.scoring.ledger import Spent
from autoprompt.searching import words as module
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.words import LOOKED_AT, Words, words_to_score
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example

SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
label_words: {candidates: {neg: [dull, unspeakably], pos: [fine]}, vocabulary: 40}
"""
EXAMPLES = [
    Example({"text": f"{word} film {n}"}, ("neg", "pos")[n % 2])
    for n, word in enumerate(["good", "bad", "slow", "warm", "funny", "boring", "a", "the"] * 6)
]


def found(
    model: MaskedLanguageModel, text: str = SPACE, examples: list[Example] = EXAMPLES
) -> Words:
    space = SearchSpace.parse(text)
    return words_to_score(CandidateTable(space), model, examples)


def test_listed_and_vocabulary_words_come_in_the_order_of_trust(
    tiny_model: MaskedLanguageModel,
) -> None:
    words = found(tiny_model)
    assert words.seeds == ("terrible", "great")
    assert words.candidates[:2] == ("dull", "fine")
    assert words.left_out == ("unspeakably",)
    assert words.by_label["neg"][:2] == ("terrible", "dull")
    assert words.by_label["pos"][:2] == ("great", "fine")
    shared = set(words.by_label["neg"]) & set(words.by_label["pos"])
    assert len(shared) >= 30  # the vocabulary's words may stand for either
    assert len(set(words.candidates)) == len(words.candidates)
    assert {*words.by_label["neg"], *words.by_label["pos"]} <= {*words.seeds, *words.candidates}


def test_finding_likely_words_costs_one_pass_of_each_example_looked_at(
    tiny_model: MaskedLanguageModel,
) -> None:
    words = found(tiny_model)
    assert words.spent == Spent(forwards=LOOKED_AT)
    assert found(tiny_model, SPACE.replace(", vocabulary: 40", "")).spent == Spent()


def test_labels_have_no_say(tiny_model: MaskedLanguageModel) -> None:
    """What the words are fitted on may then be cross-fitted on the same examples."""
    flipped = [replace(e, label={"neg": "pos", "pos": "neg"}[str(e.label)]) for e in EXAMPLES]
    labels = [e.label for e in EXAMPLES]
    random.Random(0).shuffle(labels)
    shuffled = [replace(e, label=label) for e, label in zip(EXAMPLES, labels, strict=True)]
    assert shuffled != EXAMPLES
    words = found(tiny_model)
    assert found(tiny_model, examples=flipped) == words
    assert found(tiny_model, examples=shuffled) == words
    other = [replace(e, fields={"text": "a team of the world"}) for e in EXAMPLES]
    assert found(tiny_model, examples=other) != words


def test_the_names_of_fields_are_no_label_words(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = SPACE.replace("vocabulary: 40", "vocabulary: 100000")
    plain = found(tiny_model, every)
    name = plain.candidates[-1]
    renamed = every.replace("[text]", f"[{name}]").replace("{text}", f"{{{name}}}")
    examples = [replace(e, fields={name: e.fields["text"]}) for e in EXAMPLES]
    assert name not in found(tiny_model, renamed, examples).candidates
    capital = every.replace("[text]", f"[{name.upper()}]").replace("{text}", f"{{{name.upper()}}}")
    examples = [replace(e, fields={name.upper(): e.fields["text"]}) for e in EXAMPLES]
    assert name not in found(tiny_model, capital, examples).candidates


def test_without_fitting_there_are_the_seeds_words_alone(tiny_model: MaskedLanguageModel) -> None:
    text = SPACE.replace("vocabulary: 40", "vocabulary: 40, search: false")
    assert found(tiny_model, text) == Words(("terrible", "great"), (), {}, (), Spent())


def test_a_vocabulary_without_usable_words_is_an_error(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "whole_words", lambda _: {"text": 7, "Text": 8})
    with pytest.raises(InputError, match=r"no whole words.*leave label_words\.vocabulary out"):
        found(tiny_model)


def test_seeds_that_all_have_trigger_slots_name_no_words(tiny_model: MaskedLanguageModel) -> None:
    text = SPACE.replace("it was {mask}", "{trigger:2} {mask}")
    with pytest.raises(InputError, match="write a seed prompt without triggers"):
        found(tiny_model, text)


@pytest.mark.parametrize("many", [0, 1])
def test_a_label_with_fewer_than_two_examples_is_an_error(
    tiny_model: MaskedLanguageModel, many: int
) -> None:
    few = [e for e in EXAMPLES if e.label == "neg"] + EXAMPLES[1 : 1 + many]
    with pytest.raises(InputError, match=rf"label 'pos' has {many} of them.*`search: false`"):
        found(tiny_model, examples=few)
    assert found(tiny_model, SPACE.replace("40}", "40, search: false}"), few).candidates == ()
