"""Where trigger tokens stand: a search begins, id by id, as the expert's prompt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tiny_models

from autoprompt.errors import InputError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.pieces import Literal, Mask, Trigger
from autoprompt.prompts import Frame
from autoprompt.searching.trigger_slots import (
    Slotted,
    blank,
    slotted,
    split_by_slot,
    trigger_tokens,
)
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

MASKED, CAUSAL = tuple(tiny_models.FAMILIES), tuple(tiny_models.CAUSAL)
FAMILIES = (*MASKED, *CAUSAL)
families = pytest.mark.parametrize("family", FAMILIES)
EXAMPLES = [Example({"text": text}) for text in ("A good film", "", "slow ", "don't , no!")]
WORDED = (
    "{text} It was {mask}.",
    "{text} It was {mask}",
    "All in all , it was {mask}",
    "{text} this is about {mask} .",
    "{text}\nTopic: {mask}",
    "{text} a (very {mask})",
    "{text} {{it}} was {mask}.",
    "{text} What?   it was {mask}",
)
Models = Callable[[str], MaskedLanguageModel]


def one(model: MaskedLanguageModel, text: str, position: str, most: int = 3) -> Slotted:
    found = slotted(model.encoder, Template.parse(text), [position], most)
    assert len(found) == 1
    return found[0]


def worded(text: str) -> str:
    return text if "{text}" in text else "{text} " + text


@families
@pytest.mark.parametrize("text", WORDED)
@pytest.mark.parametrize("most", [1, 2, 5, 20])
def test_own_words_are_the_ids_of_the_experts_prompt(
    family_models: Models, family: str, text: str, most: int
) -> None:
    model, template = family_models(family), Template.parse(worded(text))
    own = slotted(model.encoder, template, ["own_words"], most)[0]
    assert own.template.trigger_counts == tuple(len(ids) for ids in own.initial)
    assert own.template.fields == template.fields
    if "before the mask" in own.how:  # fresh ones: no word is that short
        assert most < (3 if "(" in text else 2)
        return
    wanted = model.encoder.encode(Frame(template), EXAMPLES)
    found = model.encoder.encode(own.frame, EXAMPLES)
    assert [one.ids for one in found] == [one.ids for one in wanted]
    assert [one.mask_positions for one in found] == [one.mask_positions for one in wanted]
    assert 1 <= sum(own.template.trigger_counts) <= most
    triggers = [tuple(one.ids[at] for at in one.trigger_positions) for one in found]
    assert set(triggers) == {sum(own.initial, ())}


@families
def test_two_words_become_two_triggers(family_models: Models, family: str) -> None:
    model = family_models(family)
    own = one(model, "{text} it was {mask}", "own_words", 2)
    assert own.template.trigger_counts == (2,)
    assert own.how == "'it was' as trigger tokens"
    assert model.encoder.tokenizer.decode(list(own.initial[0])).split() == ["it", "was"]


@families
def test_the_words_nearest_to_the_mask_are_taken_where_not_all_fit(
    family_models: Models, family: str
) -> None:
    own = one(family_models(family), "{text} this is about the {mask}", "own_words", 2)
    assert own.how == "'about the' as trigger tokens"


@families
@pytest.mark.parametrize("text", ["{text} {mask}", "{text}{mask}", "{text}\n{mask}"])
def test_a_template_without_words_gets_fresh_tokens(
    family_models: Models, family: str, text: str
) -> None:
    model = family_models(family)
    found = one(model, text, "own_words")
    assert found == one(model, text, "before_mask")
    assert found.template.trigger_counts == (3,)
    assert found.initial == ((blank(model.encoder),) * 3,)


def test_a_template_that_begins_with_its_mask_gets_fresh_tokens(
    tiny_model: MaskedLanguageModel,
) -> None:
    found = one(tiny_model, "{mask} : {text}", "own_words")
    assert isinstance(found.template.pieces[0], Trigger)


@families
@pytest.mark.parametrize("text", WORDED)
@pytest.mark.parametrize("position", ["prefix", "before_mask", "suffix"])
def test_fresh_tokens_stand_where_they_should(
    family_models: Models, family: str, text: str, position: str
) -> None:
    if family in CAUSAL and position == "suffix":
        return  # see below
    model, template = family_models(family), Template.parse(worded(text))
    found = one(model, worded(text), position, 4)
    pieces = [piece for piece in found.template.pieces if piece != Literal(" ")]
    at = pieces.index(Trigger(4))
    assert pieces.count(Trigger(4)) == 1
    if position == "prefix":
        assert at == 0
    elif position == "suffix":
        assert at == len(pieces) - 1
    else:
        assert pieces[at + 1] == Mask()
    rest = "".join(piece.text for piece in found.template.pieces if isinstance(piece, Literal))
    own = "".join(piece.text for piece in template.pieces if isinstance(piece, Literal))
    assert rest.split() == own.split()
    assert found.initial == ((blank(model.encoder),) * 4,)
    encodings = model.encoder.encode(found.frame, EXAMPLES)
    assert all(len(encoding.trigger_positions) == 4 for encoding in encodings)
    # Words in the slots are read as they are written: what a search proposes passes its filter.
    word = model.encoder.text_ids(" film")[-1]
    assert model.encoder.round_trips(Frame(found.template, ((word,) * 4,)))


@families
def test_each_place_is_tried_once(family_models: Models, family: str) -> None:
    encoder = family_models(family).encoder
    places = ["own_words", "prefix", "before_mask", "suffix", "prefix"]
    found = slotted(encoder, Template.parse("{text} it was {mask}"), places, 2)
    texts = [way.template.text for way in found]
    assert len(set(texts)) == len(texts) == (3 if family in CAUSAL else 4)
    assert [way.template.trigger_counts for way in found] == [(2,)] * len(found)


@pytest.mark.parametrize("family", CAUSAL)
def test_a_causal_model_gets_no_slot_after_the_mask(family_models: Models, family: str) -> None:
    encoder, template = family_models(family).encoder, Template.parse("{text} It was {mask}.")
    for way in slotted(encoder, template, ["suffix", "before_mask", "prefix"], 2):
        pieces = way.template.pieces
        assert pieces.index(Trigger(2)) < pieces.index(Mask())
    with pytest.raises(InputError, match="never seen by a causal model"):
        slotted(encoder, template, ["suffix"], 2)


CHATS = {
    # The last words before the mask, of the assistant or else of the user.
    "{user:}{text} or so ?{assistant:}it was {mask}": "'it was' as trigger tokens",
    "{user:}{text} it was ?{assistant:}{mask}": "'was ?' as trigger tokens",
}


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize("text", CHATS)
def test_own_words_of_a_chat_are_the_ids_of_the_experts_prompt(
    family_models: Models, family: str, text: str
) -> None:
    model, template = family_models(family), Template.parse(text)
    own = one(model, text, "own_words")
    assert own.how == CHATS[text]
    wanted = model.encoder.encode(Frame(template), EXAMPLES)
    found = model.encoder.encode(own.frame, EXAMPLES)
    assert [one.ids for one in found] == [one.ids for one in wanted]


@pytest.mark.parametrize("family", CAUSAL)
@pytest.mark.parametrize(
    ("position", "slotted_text"),
    [
        ("prefix", "{system:}a{user:}{trigger:2} {text}{assistant:}{mask}"),
        ("before_mask", "{system:}a{user:}{text}{assistant:}{trigger:2} {mask}"),
        ("own_words", "{system:}a{user:}{text}{assistant:}{trigger:2} {mask}"),  # there are none
    ],
)
def test_fresh_tokens_stay_within_the_parts_of_a_chat(
    family_models: Models, family: str, position: str, slotted_text: str
) -> None:
    model = family_models(family)
    found = one(model, "{system:}a{user:}{text}{assistant:}{mask}", position, 2)
    assert found.template.text == slotted_text
    encodings = model.encoder.encode(found.frame, EXAMPLES)
    assert all(len(encoding.trigger_positions) == 2 for encoding in encodings)


@families
def test_slots_of_the_template_are_kept(family_models: Models, family: str) -> None:
    encoder = family_models(family).encoder
    template = Template.parse("{trigger:2} {text} {trigger:1} was {mask}")
    (found,) = slotted(encoder, template, ["own_words", "prefix"], 1)
    assert found.template == template
    assert found.initial == ((blank(encoder),) * 2, (blank(encoder),))


@families
def test_a_blank_is_the_mask_or_a_word(family_models: Models, family: str) -> None:
    tokenizer = family_models(family).encoder.tokenizer
    found = blank(family_models(family).encoder)
    if family in MASKED:
        assert found == tokenizer.mask_token_id
    else:
        assert tokenizer.decode([found]) == " the"


def test_ids_are_split_slot_by_slot() -> None:
    template = Template.parse("{trigger:2} {text} {trigger:1} {mask} {trigger:3}")
    assert split_by_slot(template, [1, 2, 3, 4, 5, 6]) == ((1, 2), (3,), (4, 5, 6))


@families
@pytest.mark.parametrize(
    "text", [" the film was", "naïve café", "don't , no!", "한국", "unspeakably zzyx", "🎬 film 🎬"]
)
def test_the_strings_of_a_slot_give_its_text(family_models: Models, family: str, text: str) -> None:
    encoder = family_models(family).encoder
    ids = encoder.text_ids(text)
    slots = trigger_tokens(encoder, [ids, ids[:1]])
    for slot, tokens in zip(slots, (ids, ids[:1]), strict=True):
        assert slot.ids == tuple(tokens)
        assert len(slot.strings) == len(tokens)
        assert "".join(slot.strings) == encoder.tokenizer.decode(tokens)


def test_each_token_has_its_own_string(tiny_model: MaskedLanguageModel) -> None:
    ids = tiny_model.encoder.text_ids("film boring , not")
    (slot,) = trigger_tokens(tiny_model.encoder, [ids])
    assert [string.strip() for string in slot.strings] == ["film", "boring", ",", "not"]
