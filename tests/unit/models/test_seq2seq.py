"""Models with an encoder and a decoder: what each reads, what is run once, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_t5
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import ModelError, ScoringError
from autoprompt.models.infilling import own_infiller
from autoprompt.models.loading import load_model
from autoprompt.models.seq2seq import Seq2SeqEncoder, decoder_start
from autoprompt.models.seq2seq_model import Read, Seq2SeqLanguageModel, States
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Frame
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

Models = Callable[[str], TransformerModel]
FILM = [Example({"text": "A film"})]
TOKENS = np.arange(60)
both = pytest.mark.parametrize("family", tiny_models.SEQ2SEQ)


def frame(text: str, *triggers: tuple[int, ...]) -> Frame:
    return Frame(Template.parse(text), triggers)


def told(model: TransformerModel, encoding: Encoding) -> tuple[str, str]:
    """What the encoder reads, and what the decoder reads."""
    decode = model.encoder.tokenizer.decode
    return decode(list(encoding.ids)), decode(list(encoding.decoder_ids))


# -- what is read -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "template", "encoder", "decoder"),
    [
        ("t5", "{text} It was {mask}", "A film It was<extra_id_0></s>", "<pad><extra_id_0>"),
        ("t5", "{mask} film: {text}", "<extra_id_0> film: A film</s>", "<pad><extra_id_0>"),
        ("bart", "{text} It was {mask}.", "<s>A film It was<mask>.</s>", "</s><s>A film It was"),
        ("bart", "{mask} film: {text}", "<s><mask> film: A film</s>", "</s><s>"),
    ],
)
def test_the_encoder_reads_the_prompt_and_the_decoder_is_asked_for_the_word(
    family_models: Models, family: str, template: str, encoder: str, decoder: str
) -> None:
    model = family_models(family)
    (found,) = model.encoder.encode(frame(template), FILM)
    assert told(model, found) == (encoder, decoder)


@both
def test_the_decoder_reads_a_word_but_for_its_last_token(
    family_models: Models, family: str
) -> None:
    model = family_models(family)
    given = frame("{text} It was {mask} , all in all")
    words = [model.encoder.word_ids(given, word) for word in ("very good", "very bad", "not bad")]
    (encoding,) = model.encoder.encode(given, FILM, 2)
    asked, way = model.encoder.asked([encoding], np.array(words))
    very, negated = asked
    assert way.tolist() == [0, 0, 1]
    assert very.decoder_ids == (*encoding.decoder_ids, words[0][0])
    assert negated.decoder_ids == (*encoding.decoder_ids, words[2][0])
    last = len(encoding.decoder_ids) - 1
    assert very.mask_positions == negated.mask_positions == (last, last + 1)
    assert very.ids == negated.ids == encoding.ids


@both
def test_other_trigger_tokens_are_read_wherever_they_stand(
    family_models: Models, family: str
) -> None:
    """A decoder that repeats the text repeats the triggers before the mask, not those behind."""
    encoder = family_models(family).encoder
    template = "{trigger:1} {text} {trigger:2} was {mask} {trigger:1}"
    (first,) = encoder.encode(frame(template, (40,), (41, 42), (43,)), FILM)
    (second,) = encoder.encode(frame(template, (50,), (51, 52), (53,)), FILM)
    assert first.with_triggers((50, 51, 52, 53)) == second


@pytest.mark.parametrize("sentinels", [0, 1])
def test_a_tokenizer_without_sentinels_or_mask_is_refused(tmp_path: Path, sentinels: int) -> None:
    tiny_t5.build(tmp_path, sentinels=sentinels)
    with pytest.raises(ModelError, match=r"neither sentinel tokens \(<extra_id_0>.*nor a mask"):
        load_model(str(tmp_path))


def test_sentinels_go_before_a_mask_token() -> None:
    """CodeT5 has both, and was trained on the sentinels."""
    tokenizer = tiny_models.t5()[0]
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    assert Seq2SeqEncoder(tokenizer, 48, 0).mask == "<extra_id_0>"


@pytest.mark.parametrize(
    ("config", "generation", "family", "start"),
    [
        ({"decoder_start_token_id": 5}, {}, "bart", 5),
        ({"decoder_start_token_id": 0}, {"decoder_start_token_id": 5}, "bart", 0),
        ({}, {"decoder_start_token_id": 5}, "bart", 5),
        ({"decoder_start_token_id": None}, {}, "t5", 0),  # a T5's padding
        ({}, {}, "bart", None),
    ],
)
def test_how_a_decoder_begins(
    config: dict[str, Any], generation: dict[str, Any], family: str, start: int | None
) -> None:
    tokenizer = tiny_models.SEQ2SEQ[family]()[0]
    module = SimpleNamespace(
        config=SimpleNamespace(**config), generation_config=SimpleNamespace(**generation)
    )
    if start is not None:
        assert decoder_start(module, tokenizer) == start
        return
    with pytest.raises(ModelError, match="set decoder_start_token_id in its config"):
        decoder_start(module, tokenizer)


# -- what is run ------------------------------------------------------------------------------


@both
def test_an_input_is_encoded_once_for_all_words_of_a_length(
    family_models: Models, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = family_models(family)
    texts = [Example({"text": text}) for text in ("dull", "a good film", "very very slow", "dull")]
    assert isinstance(model, Seq2SeqLanguageModel)
    inputs: list[int] = []
    batches: list[int] = []
    encode, decode = model._states, model._mask_logits

    def encoded(rows: Sequence[tuple[int, ...]]) -> States:
        inputs.append(len(rows))
        return encode(rows)

    def decoded(batch: Sequence[Encoding]) -> torch.Tensor:
        batches.append(len(batch))
        return decode(batch)

    monkeypatch.setattr(model, "_states", encoded)
    monkeypatch.setattr(model, "_mask_logits", decoded)
    words = ["very good", "very bad", "not good", "all good"]
    scorer = WordScorer(model, words)
    scorer.scores(frame("{text} It was {mask}"), texts)
    assert inputs == [3]  # different texts
    assert batches == [3 * 3]  # by different first tokens
    assert scorer.spent.forwards == 3 * 3


@both
@given(order=st.permutations(range(6)), limit=st.sampled_from([8, 30, 1024]))
def test_batches_do_not_change_scores(
    family_models: Models, family: str, order: list[int], limit: int
) -> None:
    model = family_models(family)
    texts = ("", "dull", "a good film", "the story was slow , and the acting was not very good")
    examples = [Example({"text": text}) for text in (*texts, "dull", "poor")]
    encodings = model.encoder.encode(frame("{text} It was {mask} , film"), examples)
    wanted = model.log_probabilities(encodings, TOKENS)
    usual, model.tokens_per_batch = model.tokens_per_batch, limit
    try:
        found = model.log_probabilities([encodings[at] for at in order], TOKENS)
    finally:
        model.tokens_per_batch = usual
    np.testing.assert_allclose(found, wanted[order], rtol=0, atol=1e-4)


@both
@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_batch_that_does_not_fit_is_halved(
    family_models: Models, family: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = family_models(family)
    examples = [Example({"text": "good " * count}) for count in range(9)]
    encodings = model.encoder.encode(frame("{text} It was {mask}"), examples)
    wanted = model.log_probabilities(encodings, TOKENS)
    plain = model._mask_logits

    def limited(batch: Sequence[Encoding]) -> torch.Tensor:
        if len(batch) > most:
            raise torch.OutOfMemoryError("out of memory")
        return plain(batch)

    monkeypatch.setattr(model, "_mask_logits", limited)
    monkeypatch.setattr(model, "tokens_per_batch", model.tokens_per_batch)  # undone afterwards
    np.testing.assert_allclose(model.log_probabilities(encodings, TOKENS), wanted, atol=1e-4)
    monkeypatch.setattr(model, "_mask_logits", lambda batch: limited([*batch] * 6))
    with pytest.raises(ScoringError, match="does not fit into the memory"):
        model.log_probabilities(encodings, TOKENS)


@both
def test_states_come_with_or_without_an_encoded_input(family_models: Models, family: str) -> None:
    model = family_models(family)
    encodings = model.encoder.encode(frame("{text} It was {mask}"), FILM * 2)
    assert isinstance(model, Seq2SeqLanguageModel)
    with torch.inference_mode():
        plain = model._mask_logits(encodings)
        read = model._mask_logits(Read(encodings, model._states([encodings[0].ids])))
    torch.testing.assert_close(plain, read)


# -- loading ----------------------------------------------------------------------------------


@both
def test_a_model_with_a_decoder_says_so(family_models: Models, family: str) -> None:
    """transformers lists BART as a masked model too."""
    model = family_models(family)
    assert model.identity.family == "seq2seq"
    assert model.narrow


def test_a_t5_that_tells_no_length_takes_what_t5s_were_trained_on(tmp_path: Path) -> None:
    assert load_model(str(tiny_t5.build(tmp_path))).encoder.max_length == 512


def test_missing_weights_of_a_bart_are_told(
    model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(model_directory("bart"), tmp_path / "model"))
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "decoder_layers": 3}))
    with pytest.raises(ModelError, match=r"lacks weights of its body \(model.decoder.layers.2"):
        load_model(str(copy))


def test_a_t5_writes_templates_itself_and_a_bart_does_not(family_models: Models) -> None:
    t5 = family_models("t5")
    infiller = own_infiller(t5)
    assert infiller is not None
    assert infiller.module is t5.module
    assert infiller.name == t5.identity.name
    for family in ("bart", "gpt2", "bert"):
        assert own_infiller(family_models(family)) is None
