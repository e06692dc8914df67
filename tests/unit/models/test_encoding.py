"""Encoding: truncation's arithmetic, trigger slots, demonstrations, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import tiny_models
import transformers
from hypothesis import assume, given
from hypothesis import strategies as st

from autoprompt.errors import ModelError, VerbalizerError
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.fitting import MASKS
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.truncation import cut, levelled
from autoprompt.prompts import Frame
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

FRAME = Frame(Template.parse("{text} It was {mask}."))


@pytest.fixture(scope="module")
def bert(family_models: Callable[[str], MaskedLanguageModel]) -> PromptEncoder:
    return family_models("bert").encoder


@pytest.fixture(scope="module")
def roberta(family_models: Callable[[str], MaskedLanguageModel]) -> PromptEncoder:
    return family_models("roberta").encoder


def tokens(encoder: PromptEncoder, ids: tuple[int, ...]) -> list[str]:
    return list(encoder.tokenizer.convert_ids_to_tokens(list(ids)))


# -- which tokens a text loses ----------------------------------------------------------------

lengths_and_surplus = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 3)), min_size=1, max_size=4
).flatmap(
    lambda fields: st.tuples(
        st.just(fields), st.integers(1, max(1, sum(length * times for length, times in fields)))
    )
)


def naively_levelled(lengths: list[int], repeats: list[int], surplus: int) -> int:
    """The longest field's length after taking one token of the longest, again and again."""
    lengths = list(lengths)
    while surplus > 0:
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        lengths[longest] -= 1
        surplus -= repeats[longest]
    return max(lengths)


@given(lengths_and_surplus)
def test_levelling_saves_enough_and_shortens_only_the_longest(
    drawn: tuple[list[tuple[int, int]], int],
) -> None:
    fields, surplus = drawn
    assume(sum(length * times for length, times in fields) >= surplus)
    lengths = {str(at): length for at, (length, _) in enumerate(fields)}
    repeats = {str(at): times for at, (_, times) in enumerate(fields)}
    left = levelled(lengths, repeats, surplus)
    saved = sum((lengths[name] - left[name]) * repeats[name] for name in lengths)
    assert surplus <= saved < surplus + max(repeats.values())
    cut = [name for name in lengths if left[name] < lengths[name]]
    assert min(left[name] for name in cut) >= max(left.values()) - 1
    naive = naively_levelled(list(lengths.values()), list(repeats.values()), surplus)
    assert abs(max(left.values()) - naive) <= 1


@pytest.mark.parametrize(
    ("ends", "left", "kept"),
    [
        ([1, 3, 5], 2, "a b"),
        ([1, 3, 5], 0, ""),
        ([1, 5, 5, 5], 3, "a"),  # a character of three tokens goes as a whole
        ([5, 5], 1, ""),
    ],
)
def test_a_cut_is_always_shorter_than_the_text(ends: list[int], left: int, kept: str) -> None:
    assert cut("a b c", ends, left) == kept


def test_long_texts_are_cut_in_a_few_steps(
    bert: PromptEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Frame(Template.parse("{a} {mask} {b}"))
    calls: list[int] = []
    plain = bert.encode_texts
    monkeypatch.setattr(bert, "encode_texts", lambda *given: (calls.append(1), plain(*given))[1])
    bert.encode(frame, [Example({"a": "good " * 5000, "b": "bad " * 5000})])
    assert len(calls) <= 3


def test_a_character_of_several_tokens_is_not_cut_in_two(roberta: PromptEncoder) -> None:
    frame = Frame(Template.parse("{text} {mask}"))
    (found,) = roberta.encode(frame, [Example({"text": "🎬" * 100})])
    assert set(roberta.tokenizer.decode(list(found.ids[1:-2]))) == {"🎬"}
    assert len(found.ids) > roberta.max_length - 4


# -- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "first"),
    [
        ("{text} It was {mask}.", "Ġgreat"),
        ("{text} {mask}", "Ġgreat"),
        ("It was  {mask} {text}", "Ġgreat"),
        ("{mask}: {text}", "great"),
        ("{text} ({mask})", "great"),
        ("{text}\n{mask}", "great"),
        ("{text}{mask}", "great"),
        ("{demonstrations}{mask} {text}", "great"),
    ],
)
def test_the_context_decides_whether_a_word_starts_with_a_space(
    roberta: PromptEncoder, template: str, first: str
) -> None:
    ids = roberta.word_ids(Frame(Template.parse(template)), "great")
    assert tokens(roberta, ids) == [first]


def test_demonstrations_before_the_mask_give_the_word_its_space(roberta: PromptEncoder) -> None:
    frame = Frame(Template.parse("{demonstrations}{mask} {text}"), (), ("It was bad. ",))
    assert tokens(roberta, roberta.word_ids(frame, "great")) == ["Ġgreat"]


def test_a_word_that_melts_into_its_neighbour_is_refused(
    family_models: Callable[[str], MaskedLanguageModel],
) -> None:
    encoder = family_models("xlm_roberta").encoder
    with pytest.raises(VerbalizerError, match=r"melts.*put a space before \{mask\}"):
        encoder.word_ids(Frame(Template.parse("{text} mo{mask}")), "vie")


def test_a_word_of_unknown_characters_is_refused(bert: PromptEncoder) -> None:
    with pytest.raises(VerbalizerError, match="does not know; choose another word"):
        bert.word_ids(FRAME, "한국")


# -- triggers and demonstrations --------------------------------------------------------------


def test_trigger_ids_are_kept_as_they_are(bert: PromptEncoder) -> None:
    frame = Frame(Template.parse("{trigger:2} {text} {trigger:1} {mask}"), ((9, 0), (11,)))
    (found,) = bert.encode(frame, [Example({"text": "film"})], 2)
    mask = bert.tokenizer.mask_token_id
    film = bert.tokenizer.convert_tokens_to_ids("film")
    assert found.ids[1:-1] == (9, 0, film, 11, mask, mask)
    assert found.mask_positions == (5, 6)


def test_triggers_that_do_not_survive_as_text_make_a_prompt_of_ids_only(
    bert: PromptEncoder,
) -> None:
    template = Template.parse("{trigger:2} {text} {mask}")
    letters = bert.tokenizer.convert_tokens_to_ids(["g", "##o"])
    assert bert.record(Frame(template, (tuple(letters),)), []).ids_only is False
    assert bert.record(Frame(template, (tuple(letters[::-1]),)), []).ids_only is True


def test_demonstrations_stand_in_their_slot_as_text(bert: PromptEncoder) -> None:
    frame = Frame(Template.parse("{demonstrations}{text} {mask}"), (), ("Good film [MASK]. ",))
    (found,) = bert.encode(frame, [Example({"text": "bad"})])
    assert tokens(bert, found.ids)[1:4] == ["good", "film", "["]
    assert found.ids.count(bert.tokenizer.mask_token_id) == 1


def test_no_examples_give_no_encodings(bert: PromptEncoder) -> None:
    assert bert.encode(FRAME, []) == []


# -- tokenizers -------------------------------------------------------------------------------


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ModelError, match="no fast version"):
        PromptEncoder(SimpleNamespace(is_fast=False), 10)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    tokenizer = transformers.BertTokenizer(tiny_models.wordpiece_vocabulary(), mask_token=None)
    with pytest.raises(ModelError, match=r"no mask token.*choose a BERT-like model"):
        PromptEncoder(tokenizer, 10)


def test_a_mask_that_swallows_the_space_after_it_is_followed() -> None:
    mask = transformers.AddedToken("[MASK]", rstrip=True, special=True, normalized=False)
    vocabulary, merges = tiny_models.byte_level_bpe(tiny_models.BERT_SPECIALS)
    tokenizer = transformers.DebertaTokenizer(vocabulary, merges, mask_token=mask)
    encoder = PromptEncoder(tokenizer, 48)
    (found,) = encoder.encode(Frame(Template.parse("{text} {mask} film")), [Example({"text": "a"})])
    assert list(found.ids) == tokenizer("a [MASK] film")["input_ids"]
    assert encoder.exact


def test_a_tokenizer_that_rejoins_text_is_not_exact(bert: PromptEncoder) -> None:
    """One whose special tokens are text to itself: plain tokenization then differs."""
    tokenizer = transformers.BertTokenizer(tiny_models.wordpiece_vocabulary())
    tokenizer.split_special_tokens = True
    encoder = PromptEncoder(tokenizer, 48)
    assert not encoder.exact
    assert encoder.record(FRAME, []).ids_only
    assert bert.exact


def test_the_fingerprint_follows_the_vocabulary(bert: PromptEncoder) -> None:
    vocabulary = tiny_models.wordpiece_vocabulary()
    same = transformers.BertTokenizer(vocabulary)
    other = transformers.BertTokenizer({**vocabulary, "extra": len(vocabulary)})
    cased = transformers.BertTokenizer(vocabulary, do_lower_case=False)
    prints = [PromptEncoder(tokenizer, 48).fingerprint for tokenizer in (same, other, cased)]
    assert prints[0] == bert.fingerprint
    assert len(set(prints)) == 3


def test_using_a_tokenizer_does_not_change_its_fingerprint() -> None:
    tokenizer = transformers.BertTokenizer(tiny_models.wordpiece_vocabulary())
    before = PromptEncoder(tokenizer, 48).fingerprint
    tokenizer(["a film", "film"], padding=True, truncation=True, max_length=8)
    assert PromptEncoder(tokenizer, 48).fingerprint == before


def test_a_tokenizer_that_changes_text_under_special_tokens_is_refused(
    bert: PromptEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bert, "_ids", lambda text: [1, 2, 3])
    with pytest.raises(ModelError, match="changes text"):
        bert._special_tokens()


# -- demonstrations that do not fit -----------------------------------------------------------

SHOWING = Template.parse("{demonstrations}{text} It was {mask}.")
words_of = st.integers(0, 14).map(lambda count: "good " * count)


def showing(*texts: str) -> Frame:
    return Frame(SHOWING, (), tuple(f"{text.strip()} It was bad. " for text in texts))


@given(demonstrations=st.lists(words_of, max_size=6), text=words_of, masks=st.integers(1, 3))
def test_as_many_whole_demonstrations_stay_as_fit_the_last_ones(
    bert: PromptEncoder, demonstrations: list[str], text: str, masks: int
) -> None:
    frame = showing(*demonstrations)
    (found,) = bert.encode(frame, [Example({"text": text})], masks)
    fields = {"text": text}
    # Slow oracle: every number of last demonstrations, the most first.
    for count in range(len(demonstrations), -1, -1):
        kept = Frame(SHOWING, (), frame.demonstrations[len(demonstrations) - count :])
        (wanted,) = bert.encode_texts(kept, [fields], MASKS)
        if len(wanted.ids) <= bert.max_length:
            break
    (whole,) = bert.encode_texts(kept, [fields], masks)
    assert (found.ids, found.mask_positions) == (whole.ids, whole.mask_positions)
    assert found.left_out == len(demonstrations) - count
    assert found.lost == 0
    assert found.is_shortened == (count < len(demonstrations))


@given(demonstrations=st.lists(words_of, max_size=5), text=words_of, masks=st.integers(1, 8))
def test_the_mask_outlives_the_demonstrations(
    bert: PromptEncoder, demonstrations: list[str], text: str, masks: int
) -> None:
    (found,) = bert.encode(showing(*demonstrations), [Example({"text": text * 9})], masks)
    assert len(found.ids) <= bert.max_length
    mask = bert.tokenizer.mask_token_id
    assert [found.ids[at] for at in found.mask_positions] == [mask] * masks
    assert found.left_out == len(demonstrations) or found.lost == 0


def test_the_text_is_cut_only_when_no_demonstration_is_left(bert: PromptEncoder) -> None:
    long = Example({"text": "good " * 100})
    (found,) = bert.encode(showing("a film", "good"), [long])
    (bare,) = bert.encode(showing(), [long])
    assert (found.ids, found.lost, found.left_out) == (bare.ids, bare.lost, 2)


def test_words_of_one_token_and_of_several_see_the_same_demonstrations(
    bert: PromptEncoder,
) -> None:
    frame, left_out = showing("good " * 8, "good " * 8), set()
    for count in range(30):
        example = Example({"text": "good " * count})
        numbers = {bert.encode(frame, [example], masks)[0].left_out for masks in (1, 2, 8)}
        assert len(numbers) == 1
        left_out |= numbers
    assert left_out == {0, 1, 2}


def test_one_that_never_fits_does_not_take_the_others_with_it(bert: PromptEncoder) -> None:
    with_long = showing("a film", "good " * 100)
    (found,) = bert.encode(with_long, [Example({"text": "bad"})])
    (short,) = bert.encode(showing("a film"), [Example({"text": "bad"})])
    assert (found.ids, found.left_out) == (short.ids, 1)


def test_what_is_left_out_does_not_depend_on_the_neighbours(bert: PromptEncoder) -> None:
    frame = showing("good " * 8, "bad " * 8, "film " * 20)
    examples = [Example({"text": "good " * count}) for count in range(0, 60, 7)]
    alone = [bert.encode(frame, [example])[0] for example in examples]
    assert bert.encode(frame, examples) == alone
    assert bert.encode(frame, examples[::-1]) == alone[::-1]
