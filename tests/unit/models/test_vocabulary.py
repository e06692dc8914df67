"""The words of a vocabulary, for every family of tokenizers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tiny_models
import transformers

from autoprompt.models.embedded import EMBEDDED, EMBEDDED_CAUSAL, is_installed
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.loading import load_model
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.vocabulary import whole_words
from autoprompt.prompts import Frame
from autoprompt.templates import Template
from autoprompt.verbalizers import normalised_word

FRAME = Frame(Template.parse("{text} It was {mask}."))
every_family = pytest.mark.parametrize("family", tiny_models.FAMILIES)


def wordpiece(*extra: str, **options: object) -> PromptEncoder:
    """A tokenizer with more entries than the tiny one; they have the ids that come last."""
    vocabulary = tiny_models.wordpiece_vocabulary()
    for piece in extra:
        vocabulary.setdefault(piece, len(vocabulary))
    return PromptEncoder(transformers.BertTokenizer(vocabulary, **options), 48)


@every_family
def test_all_words_that_the_tokenizer_was_made_of_are_found(
    family: str, family_models: Callable[[str], MaskedLanguageModel]
) -> None:
    found = whole_words(family_models(family).encoder)
    assert {word for word in tiny_models.WORDS if len(word) > 1} <= set(found)


@every_family
def test_a_word_is_that_one_entry_wherever_a_space_stands_before_it(
    family: str, family_models: Callable[[str], MaskedLanguageModel]
) -> None:
    encoder = family_models(family).encoder
    found = whole_words(encoder)
    for word, entry in found.items():
        assert word.isalpha()
        assert len(word) >= 2
        assert encoder.word_ids(FRAME, word) == (entry,)
    assert not set(found.values()) & set(encoder.tokenizer.all_special_ids)
    assert list(found.values()) == sorted(found.values())
    assert len({normalised_word(word) for word in found}) == len(found)


@every_family
def test_no_word_is_missed(
    family: str, family_models: Callable[[str], MaskedLanguageModel]
) -> None:
    """Slowly: whatever text an entry decodes to, tokenized after another word."""
    encoder = family_models(family).encoder
    tokenizer = encoder.tokenizer
    before = tokenizer("text", add_special_tokens=False)["input_ids"]
    wanted = set()
    for entry in range(len(tokenizer)):
        word = tokenizer.decode([entry]).strip()
        ids = tokenizer(f"text {word}", add_special_tokens=False)["input_ids"]
        if word.isalpha() and len(word) >= 2 and ids == [*before, entry]:
            wanted.add(normalised_word(word))
    assert {normalised_word(word) for word in whole_words(encoder)} == wanted


def test_of_two_spellings_the_lower_case_one_stays() -> None:
    encoder = wordpiece("Paris", "PARIS", "Great", do_lower_case=False)
    found = whole_words(encoder)
    assert "great" in found
    assert "Great" not in found
    assert "Paris" in found  # no lower-case one: the first
    assert "PARIS" not in found


def test_pieces_numbers_signs_and_letters_are_not_words() -> None:
    encoder = wordpiece("2nd", "##ness", "[unused7]", "don't", "e-mail", "naïve", "film's")
    found = whole_words(encoder)
    assert not {"2nd", "ness", "##ness", "[unused7]", "unused", "don't", "film's", "a"} & set(found)
    assert "naïve" not in found  # the tokenizer takes accents off, so it never makes this piece


def test_an_accent_that_the_tokenizer_keeps_is_a_letter() -> None:
    encoder = wordpiece("naïve", "über", do_lower_case=False, strip_accents=False)
    assert {"naïve", "über"} <= set(whole_words(encoder))


def test_a_special_token_of_letters_is_not_a_word() -> None:
    vocabulary = {**tiny_models.wordpiece_vocabulary(), "BLANK": 999}
    vocabulary["BLANK"] = len(vocabulary) - 1
    tokenizer = transformers.BertTokenizer(vocabulary, mask_token="BLANK", do_lower_case=False)
    assert not {"BLANK", "blank"} & set(whole_words(PromptEncoder(tokenizer, 48)))


@pytest.mark.parametrize("name", [EMBEDDED, EMBEDDED_CAUSAL])
def test_an_embedded_model_has_thousands_of_words(name: str) -> None:
    if not is_installed(name):
        pytest.skip(f"{name} has no weights yet")
    found = whole_words(load_model(name).encoder)
    assert len(found) > 3000
    assert {"great", "terrible", "sports", "business"} <= set(found)
