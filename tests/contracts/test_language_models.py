"""What every family of language models must do, held to slow and obvious oracles.

The oracle runs transformers plainly: one sequence, no padding, logits at every position, then
`log_softmax`. The same holds for the embedded models. Causal families read templates that end in
the mask; they and those with a decoder read a word's tokens before they predict the next. Else all
must do the same. `AUTOPROMPT_TEST_DEVICE=cuda` runs all of it there, the oracle too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from autoprompt.errors import ScoringError, TemplateError
from autoprompt.models.embedded import EMBEDDED, EMBEDDED_CAUSAL, FOLDERS, is_installed
from autoprompt.models.loading import load_model
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Frame
from autoprompt.retrieval import Retrieval, RetrievalPool
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

TEXTS = (
    "A gripping, funny film!",
    "",
    "dull",
    "The acting was not very good, and the story was slow; all in all a poor film.",
    "naïve café — don't",
)
COMMON = "{text} It was {mask}."
TEMPLATES = (
    COMMON,
    "{mask} news: {text}",
    "({mask}) {text}",
    "{text}{mask}",
    "{text}\n{mask}",
    "  {text}   {mask}  !",
    "{text} ? {mask} , {text}",
)
CAUSAL_TEMPLATES = (
    COMMON,
    "News: {text}\nTopic: {mask}",
    "({text}) {mask}",
    "  {text}   {mask}  !",
    "{text} ? {text} , {mask}",
    "{text} ({mask})",
    "{text}\n{mask}",
    "{text}{mask}",
)
AFTER_A_SPACE = CAUSAL_TEMPLATES[:5]
CAUSAL_PAIR = "{text_a} ? {text_b} , {mask}"
PAIR = "{text_a} ? {mask} , {text_b}"
WORDS = {"great": 1, "very good": 2, "very bad": 2, "not very good": 3}  # word: its tokens
LONG = "The story was slow and the acting was terrible , don't . "

# Any text but half surrogate pairs, which the readers of data refuse.
plain_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
MASKED = (*tiny_models.FAMILIES, EMBEDDED)
CAUSAL = (*tiny_models.CAUSAL, *([EMBEDDED_CAUSAL] if is_installed(EMBEDDED_CAUSAL) else []))
SEQ2SEQ = tuple(tiny_models.SEQ2SEQ)
TWO_SIDED = (*MASKED, *SEQ2SEQ)
EVERY = (*TWO_SIDED, *CAUSAL)
families = pytest.mark.parametrize("family", EVERY)
causal_families = pytest.mark.parametrize("family", CAUSAL)


def readable(first: int = 99) -> pytest.MarkDecorator:
    """Each family with each (or each of the first few) templates that it can read."""
    pairs = [(family, template) for family in TWO_SIDED for template in TEMPLATES[:first]]
    pairs += [(family, template) for family in CAUSAL for template in CAUSAL_TEMPLATES[:first]]
    return pytest.mark.parametrize(("family", "template"), pairs)


def with_masks(first: int = 99) -> pytest.MarkDecorator:
    """As `readable`, for words of one and of several tokens."""
    cases = [
        (family, template, masks)
        for names, templates in ((TWO_SIDED, TEMPLATES), (CAUSAL, CAUSAL_TEMPLATES))
        for family in names
        for template in templates[:first]
        for masks in (1, 3)
    ]
    return pytest.mark.parametrize(("family", "template", "masks"), cases)


@pytest.fixture(scope="module")
def models(
    family_models: Callable[[str], TransformerModel],
    device: str,
) -> Callable[[str], TransformerModel]:
    embedded: dict[str, TransformerModel] = {}

    def model(family: str) -> TransformerModel:
        if family not in FOLDERS:
            return family_models(family)
        if family not in embedded:
            embedded[family] = load_model(family, device=device)
        return embedded[family]

    return model


@pytest.fixture(params=EVERY)
def model(
    request: pytest.FixtureRequest, models: Callable[[str], TransformerModel]
) -> TransformerModel:
    return models(request.param)


@pytest.fixture(params=MASKED)
def masked(
    request: pytest.FixtureRequest, models: Callable[[str], TransformerModel]
) -> TransformerModel:
    return models(request.param)


@pytest.fixture(params=SEQ2SEQ)
def seq2seq(
    request: pytest.FixtureRequest, models: Callable[[str], TransformerModel]
) -> TransformerModel:
    return models(request.param)


@pytest.fixture(params=CAUSAL)
def causal(
    request: pytest.FixtureRequest, models: Callable[[str], TransformerModel]
) -> TransformerModel:
    return models(request.param)


def frame(text: str) -> Frame:
    return Frame(Template.parse(text))


def examples(*texts: str) -> list[Example]:
    return [Example({"text": text}) for text in texts]


def encode(model: TransformerModel, template: str, masks: int = 1, **fields: str) -> Encoding:
    return model.encoder.encode(frame(template), [Example(fields)], masks)[0]


def up_to_word(template: str, fields: dict[str, str]) -> str:
    return Template.parse(template.partition("{mask}")[0] + "{mask}").render(fields, mask="")


def plain_ids(model: TransformerModel, template: str, fields: dict[str, str]) -> list[int]:
    """What the tokenizer itself gives for the rendered text, or for a causal model up to the word.

    The space before the word is the word's.
    """
    tokenizer = model.encoder.tokenizer
    if model.identity.family == "causal":
        before = up_to_word(template, fields)
        text = before.removesuffix(" ") if " {mask}" in template else before
    else:
        text = Template.parse(template).render(fields, model.encoder.mask)
    return list(tokenizer(text, verbose=False)["input_ids"])


def on_its_device(model: TransformerModel, ids: Sequence[int]) -> torch.Tensor:
    """Ids as a batch of one."""
    return torch.tensor([list(ids)], device=model.module.device)


def oracle(model: TransformerModel, encoding: Encoding) -> tuple[np.ndarray, float]:
    """Log-probabilities `(masks, vocab_size)` of one sequence, and the largest |logit|."""
    ids = on_its_device(model, encoding.ids)
    read = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if model.identity.family == "seq2seq":
        read["decoder_input_ids"] = on_its_device(model, encoding.decoder_ids)
    with torch.no_grad():
        logits = model.module(**read).logits[0].cpu()
    rows = logits.double().log_softmax(dim=-1)[list(encoding.mask_positions)]
    return rows.numpy(), float(logits.abs().max())


def everything(model: TransformerModel, batch: Sequence[Encoding]) -> np.ndarray:
    """Log-probabilities of the whole vocabulary as the model under test gives them."""
    return model.log_probabilities(batch, np.arange(model.module.config.vocab_size))


def pair_for(family: str) -> str:
    return CAUSAL_PAIR if family in CAUSAL else PAIR


def contains(sequence: Sequence[int], part: Sequence[int]) -> bool:
    spans = range(len(sequence) - len(part) + 1)
    return any(tuple(sequence[start : start + len(part)]) == tuple(part) for start in spans)


# -- scores -----------------------------------------------------------------------------------


def test_the_head_works_on_masks_only(model: TransformerModel) -> None:
    assert model.narrow


@with_masks(first=1)
def test_a_narrowed_head_gives_the_plain_logits(
    models: Callable[[str], TransformerModel],
    family: str,
    template: str,
    masks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = models(family)
    batch = model.encoder.encode(frame(template), examples(*TEXTS), masks)
    narrowed = everything(model, batch)
    monkeypatch.setattr(model, "narrow", False)
    np.testing.assert_allclose(narrowed, everything(model, batch), atol=1e-4)


@with_masks(first=3)
def test_log_probabilities_are_those_of_plain_transformers(
    models: Callable[[str], TransformerModel], family: str, template: str, masks: int
) -> None:
    model = models(family)
    batch = model.encoder.encode(frame(template), examples(*TEXTS), masks)
    for found, encoding in zip(everything(model, batch), batch, strict=True):
        wanted, largest = oracle(model, encoding)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1.0, largest))


@with_masks(first=2)
def test_relative_scores_differ_from_log_probabilities_by_a_number_for_each_mask(
    models: Callable[[str], TransformerModel], family: str, template: str, masks: int
) -> None:
    model = models(family)
    assert model.selects is (family != "bart")  # it adds a bias behind the head
    batch = model.encoder.encode(frame(template), examples(*TEXTS), masks)
    wanted = everything(model, batch)
    tokens = np.array([30, 7, 11])
    found = model.log_probabilities(batch, tokens, relative=True)
    assert found.shape == (*wanted.shape[:2], 3)
    apart = found - wanted[..., tokens]
    np.testing.assert_allclose(apart - apart[..., :1], 0, atol=1e-4)
    np.testing.assert_array_equal(everything(model, batch), wanted)  # the head is whole again


def test_a_failure_and_a_full_memory_leave_the_head_whole(
    model: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "tokens_per_batch", model.tokens_per_batch)  # it remembers less
    batch = model.encoder.encode(frame(COMMON), examples(*TEXTS))
    tokens, wanted = np.array([30, 7, 11]), everything(model, batch)
    plain = model._mask_logits
    found = model.log_probabilities(batch, tokens, relative=True)
    for error, times in ((torch.OutOfMemoryError("full"), 1), (ValueError("broken"), 99)):
        left = [times]

        def failing(one: Any, left: list[int] = left, error: Exception = error) -> torch.Tensor:
            left[0] -= 1
            if left[0] >= 0:
                raise error
            return plain(one)

        with monkeypatch.context() as patch:
            patch.setattr(model, "_mask_logits", failing)
            if times == 1:
                again = model.log_probabilities(batch, tokens, relative=True)
                np.testing.assert_allclose(again, found, rtol=0, atol=1e-4)
            else:
                with pytest.raises(ValueError, match="broken"):
                    model.log_probabilities(batch, tokens, relative=True)
        np.testing.assert_allclose(everything(model, batch), wanted, rtol=0, atol=1e-4)


@families
def test_threads_that_ask_for_different_tokens_get_their_own(
    models: Callable[[str], TransformerModel], family: str
) -> None:
    model = models(family)
    batch = model.encoder.encode(frame(COMMON), examples(*TEXTS))
    asked = [np.array([30, 7]), np.array([11, 12]), np.array([5, 40])]
    wanted = [model.log_probabilities(batch, tokens, relative=True) for tokens in asked]
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(lambda at: model.log_probabilities(batch, asked[at % 3], True), range(60))
        for at, one in enumerate(found):
            np.testing.assert_array_equal(one, wanted[at % 3])


def test_a_head_that_is_damaged_where_nobody_asks_is_refused_all_the_same(
    model: TransformerModel,
) -> None:
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        module.get_output_embeddings().weight[50] = float("nan")
    damaged = type(model)(module, model.encoder, model.identity)
    batch = damaged.encoder.encode(frame(COMMON), examples("A film"))
    with pytest.raises(ScoringError, match="not finite"):
        damaged.log_probabilities(batch, np.array([7, 5]), relative=True)


@families
@given(order=st.permutations(range(len(TEXTS))), size=st.integers(1, len(TEXTS)))
def test_batches_do_not_change_scores(
    models: Callable[[str], TransformerModel], family: str, order: list[int], size: int
) -> None:
    model = models(family)
    encodings = model.encoder.encode(frame(COMMON), examples(*TEXTS))
    for start in range(0, len(order), size):
        indices = order[start : start + size]
        found = everything(model, [encodings[index] for index in indices])
        for row, index in zip(found, indices, strict=True):
            wanted, largest = oracle(model, encodings[index])
            np.testing.assert_allclose(row, wanted, rtol=0, atol=1e-5 * max(1.0, largest))
        few = np.array([30, 7, 11])
        relative = model.log_probabilities([encodings[index] for index in indices], few, True)
        for row, index in zip(relative, indices, strict=True):
            wanted, largest = oracle(model, encodings[index])
            apart = row - wanted[..., few]
            np.testing.assert_allclose(
                apart, apart[..., :1].repeat(3, -1), rtol=0, atol=2e-5 * max(1.0, largest)
            )


def test_only_the_tokens_asked_for_come_back_in_their_order(model: TransformerModel) -> None:
    batch = model.encoder.encode(frame(COMMON), examples("A film"))
    wanted = np.array([7, 5, 7])
    found = model.log_probabilities(batch, wanted)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, everything(model, batch)[:, :, wanted])


@causal_families
@pytest.mark.parametrize("template", AFTER_A_SPACE)
def test_a_causal_model_scores_a_word_as_the_text_goes_on(
    models: Callable[[str], TransformerModel], family: str, template: str
) -> None:
    """The oracle reads the whole sentence, word included, as the tokenizer itself cuts it."""
    model = models(family)
    scores = WordScorer(model, WORDS).scores(frame(template), examples(*TEXTS))
    for row, text in zip(scores, TEXTS, strict=True):
        for found, (word, count) in zip(row, WORDS.items(), strict=True):
            written = up_to_word(template, {"text": text}) + word
            ids = on_its_device(model, model.encoder.tokenizer(written)["input_ids"])
            with torch.no_grad():
                logits = model.module(input_ids=ids).logits[0, -count - 1 : -1].double()
            logs = logits.log_softmax(-1).gather(1, ids[0, -count:, None])
            largest = float(logits.abs().max())
            assert found == pytest.approx(float(logs.mean()), abs=1e-5 * max(1.0, largest))


@pytest.mark.parametrize("template", [COMMON, "{text} all in all {mask} , film"])
def test_a_t5_answers_its_sentinel(
    models: Callable[[str], TransformerModel], template: str
) -> None:
    """The oracle is trained as T5 was: the decoder is to say the sentinel, and then the word."""
    model = models("t5")
    tokenizer = model.encoder.tokenizer
    scores = WordScorer(model, WORDS).scores(frame(template), examples(*TEXTS))
    for row, text in zip(scores, TEXTS, strict=True):
        written = Template.parse(template).render({"text": text}, "<extra_id_0>")
        ids = on_its_device(model, tokenizer(written)["input_ids"])
        for found, (word, count) in zip(row, WORDS.items(), strict=True):
            answer = on_its_device(model, tokenizer(f"<extra_id_0> {word}")["input_ids"][:-1])
            with torch.no_grad():
                logits = model.module(input_ids=ids, labels=answer).logits[0].double()
            logs = logits.log_softmax(-1).gather(1, answer[0][:, None])[-count:]
            largest = float(logits.abs().max())
            assert found == pytest.approx(float(logs.mean()), abs=1e-5 * max(1.0, largest))


@pytest.mark.parametrize("template", [COMMON, "{text} all in all {mask} , film"])
def test_a_bart_writes_the_text_anew(
    models: Callable[[str], TransformerModel], template: str
) -> None:
    """The oracle is trained as BART was: the decoder is to say the whole text, gap filled."""
    model = models("bart")
    tokenizer = model.encoder.tokenizer
    scores = WordScorer(model, WORDS).scores(frame(template), examples(*TEXTS))
    for row, text in zip(scores, TEXTS, strict=True):
        fields = {"text": text}
        ids = tokenizer(Template.parse(template).render(fields, "<mask>"))["input_ids"]
        at = ids.index(tokenizer.mask_token_id)
        for found, (word, count) in zip(row, WORDS.items(), strict=True):
            whole = tokenizer(Template.parse(template).render(fields, word))["input_ids"]
            given = {"input_ids": ids, "labels": whole}
            given = {name: on_its_device(model, one) for name, one in given.items()}
            with torch.no_grad():
                logits = model.module(**given).logits[0].double()
            logs = logits.log_softmax(-1).gather(1, given["labels"][0][:, None])
            largest = float(logits.abs().max())
            wanted = float(logs[at : at + count].mean())
            assert found == pytest.approx(wanted, abs=1e-5 * max(1.0, largest))


@families
def test_words_have_the_number_of_tokens_that_these_tests_say(
    models: Callable[[str], TransformerModel], family: str
) -> None:
    found = {word: len(models(family).encoder.word_ids(frame(COMMON), word)) for word in WORDS}
    assert found == WORDS


def test_probabilities_add_up_to_one(model: TransformerModel) -> None:
    batch = model.encoder.encode(frame(COMMON), examples(*TEXTS))
    totals = np.exp(everything(model, batch).astype(np.float64)).sum(axis=-1)
    np.testing.assert_allclose(totals, 1.0, atol=1e-5)


@pytest.mark.parametrize("family", MASKED)
def test_a_word_of_n_tokens_is_scored_with_n_masks(
    models: Callable[[str], TransformerModel], family: str
) -> None:
    model = models(family)
    words = [*WORDS, "unspeakably zzyx"]
    scores = WordScorer(model, words).scores(frame(COMMON), examples(*TEXTS))
    for column, word in enumerate(words):
        ids = model.encoder.word_ids(frame(COMMON), word)
        for row, encoding in zip(
            scores, model.encoder.encode(frame(COMMON), examples(*TEXTS), len(ids)), strict=True
        ):
            wanted, largest = oracle(model, encoding)
            each = [wanted[position, token] for position, token in enumerate(ids)]
            assert row[column] == pytest.approx(np.mean(each), abs=1e-5 * max(1.0, largest))


@families
@given(order=st.permutations(range(len(WORDS))), size=st.integers(1, len(WORDS)))
def test_a_word_is_scored_alike_whatever_else_is_asked_for(
    models: Callable[[str], TransformerModel], family: str, order: list[int], size: int
) -> None:
    model, words = models(family), list(WORDS)
    wanted = WordScorer(model, words).scores(frame(COMMON), examples(*TEXTS))
    asked = [words[index] for index in order[:size]]
    found = WordScorer(model, asked).scores(frame(COMMON), examples(*TEXTS))
    for column, index in enumerate(order[:size]):
        np.testing.assert_allclose(found[:, column], wanted[:, index], rtol=0, atol=1e-4)


# -- encoding ---------------------------------------------------------------------------------


def test_the_tokenizer_is_exact(model: TransformerModel) -> None:
    assert model.encoder.exact


@readable()
@given(text=plain_texts)
@example("  spaced  text, don't ")
@example("ends in a tab\t")
@example("\x1f")
@example("ﬁne １２ e\u0301 한국 🎬")
def test_ids_are_those_of_the_rendered_text(
    models: Callable[[str], TransformerModel], family: str, template: str, text: str
) -> None:
    model = models(family)
    encoder = model.encoder
    assume(not any(token in text for token in encoder.tokenizer.all_special_tokens))  # see below
    wanted = plain_ids(model, template, {"text": text})
    assume(wanted)  # a causal model must read something
    (found,) = encoder.encode_texts(frame(template), [{"text": text}], 1)  # without truncation
    assert list(found.ids) == wanted


@causal_families
@pytest.mark.parametrize("template", AFTER_A_SPACE)
@given(text=plain_texts)
@example("  spaced  text, don't ")
@example("ends in a tab\t")
@example("in a new line \r\n")
def test_text_and_word_are_the_tokens_of_the_whole_text(
    models: Callable[[str], TransformerModel], family: str, template: str, text: str
) -> None:
    encoder = models(family).encoder
    assume(not any(token in text for token in encoder.tokenizer.all_special_tokens))
    (found,) = encoder.encode_texts(frame(template), [{"text": text}], 1)
    for word in WORDS:
        written = up_to_word(template, {"text": text}) + word
        ids = [*found.ids, *encoder.word_ids(frame(template), word)]
        assert ids == encoder.tokenizer(written, verbose=False)["input_ids"]


@families
def test_a_pair_is_encoded_as_its_rendered_text(
    models: Callable[[str], TransformerModel], family: str
) -> None:
    model, template = models(family), pair_for(family)
    fields = {"text_a": "A good film", "text_b": "the film was great"}
    assert list(encode(model, template, **fields).ids) == plain_ids(model, template, fields)


@pytest.mark.parametrize("template", CAUSAL_TEMPLATES)
def test_a_causal_model_predicts_from_the_last_token(
    causal: TransformerModel, template: str
) -> None:
    for masks in (1, 3):
        encoding = encode(causal, template, masks, text="A film")
        assert encoding.mask_positions == (len(encoding.ids) - 1,)


@pytest.mark.parametrize("word", WORDS)
def test_a_long_text_leaves_room_for_the_word(causal: TransformerModel, word: str) -> None:
    ids = np.array([causal.encoder.word_ids(frame(COMMON), word)])
    encoding = encode(causal, COMMON, ids.shape[1], text=LONG * 20)
    (asked,), way = causal.encoder.asked([encoding], ids)
    assert way.tolist() == [0]
    assert asked.ids == (*encoding.ids, *ids[0, :-1])
    assert asked.mask_positions == tuple(range(len(encoding.ids) - 1, len(asked.ids)))
    assert len(asked.ids) <= causal.encoder.max_length
    assert everything(causal, [asked]).shape[:2] == (1, ids.shape[1])


def test_the_mask_is_where_the_encoding_says(masked: TransformerModel) -> None:
    model = masked
    mask = model.encoder.tokenizer.mask_token_id
    for template in TEMPLATES:
        encoding = encode(model, template, 2, text="A film")
        places = [place for place, token in enumerate(encoding.ids) if token == mask]
        assert tuple(places) == encoding.mask_positions
        assert len(places) == 2


def test_one_mask_stands_for_words_of_any_length(seq2seq: TransformerModel) -> None:
    for template in TEMPLATES:
        one, three = (encode(seq2seq, template, masks, text="A film") for masks in (1, 3))
        assert one == three
        assert one.ids.count(seq2seq.encoder.mask_id) == 1
        assert one.mask_positions == (len(one.decoder_ids) - 1,)


@pytest.mark.parametrize("word", WORDS)
def test_a_decoder_has_room_for_the_word(seq2seq: TransformerModel, word: str) -> None:
    ids = np.array([seq2seq.encoder.word_ids(frame(COMMON), word)])
    encoding = encode(seq2seq, COMMON, ids.shape[1], text=LONG * 20)
    (asked,), _ = seq2seq.encoder.asked([encoding], ids)
    assert asked.ids == encoding.ids
    assert asked.decoder_ids == (*encoding.decoder_ids, *ids[0, :-1])
    assert len(asked.decoder_ids) <= seq2seq.encoder.max_length
    assert everything(seq2seq, [asked]).shape[:2] == (1, ids.shape[1])


def test_special_tokens_in_a_text_are_text(model: TransformerModel) -> None:
    tokenizer = model.encoder.tokenizer
    ends = encode(model, COMMON, text="")
    for special in tokenizer.all_special_tokens:
        for text in (special, f"a {special} b", f"x{special}y"):
            encoding = encode(model, COMMON, text=text)
            found = [token for token in encoding.ids if token in tokenizer.all_special_ids]
            assert found == [t for t in ends.ids if t in tokenizer.all_special_ids], special
            assert len(encoding.ids) >= len(ends.ids) + 3  # it is spelled, not dropped


CHATS = (
    "{user:}Good? {text}{assistant:}{mask}",
    "{user:} {text} \n{assistant:}So: {mask}.",
    "{system:}It {{is}}.\n{user:}{text}{assistant:}It was {mask}",
)
SENT = ("llama", "qwen2")  # families with a chat template: one trims, the other does not
in_chats = pytest.mark.parametrize(
    ("family", "template"), [(family, template) for family in SENT for template in CHATS]
)


def sent(model: TransformerModel, template: str, text: str, **options: bool) -> list[int]:
    """What transformers makes of a chat: the messages, then the beginning of the answer."""
    tokenizer, parts = model.encoder.tokenizer, Template.parse(template).parts
    written = {
        role: Template("", part).render({"text": text}, mask="\0") for role, part in parts.items()
    }
    answer = written.pop("assistant").partition("\0")[0].removesuffix(" ")
    messages = [{"role": role, "content": content} for role, content in written.items()]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, **options)
    return [*ids["input_ids"], *tokenizer(answer, add_special_tokens=False)["input_ids"]]


@in_chats
@given(text=plain_texts)
@example("  spaced  text, don't \n")
@example("\x1f\u3000")
def test_a_chat_is_what_transformers_makes_of_it(
    models: Callable[[str], TransformerModel], family: str, template: str, text: str
) -> None:
    model = models(family)
    (found,) = model.encoder.encode_texts(frame(template), [{"text": text}], 1)
    assert list(found.ids) == sent(model, template, text)
    assert found.mask_positions == (len(found.ids) - 1,)


LOOK_ALIKES = (
    *tiny_models.LLAMA_SPECIALS,
    *tiny_models.LLAMA_HEADERS,
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "assistant", "{assistant:}", "{user:}"),
    *("{text}", "{mask}", "{{", "}}", "{% raw %}", "{{ messages }}", "\n", " ", "good"),
)


@in_chats
@given(text=st.lists(st.sampled_from(LOOK_ALIKES), max_size=6).map("".join))
def test_what_looks_like_a_chat_in_a_text_is_text(
    models: Callable[[str], TransformerModel], family: str, template: str, text: str
) -> None:
    model = models(family)
    (found,) = model.encoder.encode_texts(frame(template), [{"text": text}], 1)
    assert list(found.ids) == sent(model, template, text, sanitize_control_tokens=True)


@pytest.mark.parametrize("template", CHATS)
def test_every_causal_family_reads_chats(causal: TransformerModel, template: str) -> None:
    """As plain text where the tokenizer has no chat template."""
    encoder = causal.encoder
    assert encoder.writes_chats is (encoder.tokenizer.chat_template is not None)
    encoder.check(Template.parse(template))
    batch = encoder.encode(frame(template), examples(*TEXTS))
    for found, encoding in zip(everything(causal, batch), batch, strict=True):
        wanted, largest = oracle(causal, encoding)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1.0, largest))
    record = encoder.record(frame(template), ["great"])
    assert not record.ids_only
    token = encoder.tokenizer.decode(list(record.words["great"]))
    assert token == (" great" if " {mask}" in template else "great")


@pytest.mark.parametrize("template", CHATS)
def test_a_masked_family_refuses_chats(masked: TransformerModel, template: str) -> None:
    with pytest.raises(TemplateError, match="only causal models"):
        masked.encoder.check(Template.parse(template))
    with pytest.raises(TemplateError, match="only causal models"):
        encode(masked, template, text="A film")


def test_a_special_token_as_a_word_is_spelled(model: TransformerModel) -> None:
    tokenizer = model.encoder.tokenizer
    ids = model.encoder.word_ids(frame(COMMON), model.encoder.mask or tokenizer.eos_token)
    assert not set(ids) & set(tokenizer.all_special_ids)


# -- truncation -------------------------------------------------------------------------------


@with_masks()
def test_truncation_takes_only_the_end_of_the_text(
    models: Callable[[str], TransformerModel], family: str, template: str, masks: int
) -> None:
    model = models(family)
    text = LONG * 20
    found = encode(model, template, masks, text=text)
    # A T5's decoder reads the word apart from the text.
    read_later = masks - 1 if family in (*CAUSAL, "bart") else 0
    limit = model.encoder.max_length - read_later
    assert limit - 4 <= len(found.ids) <= limit
    shorter = {encode(model, template, masks, text=text[:end]).ids for end in range(1, 6 * limit)}
    assert found.ids in shorter  # the encoding of a beginning of the text, so the rest is whole


def test_truncation_tells_what_it_took(model: TransformerModel) -> None:
    text = LONG * 20
    whole = model.encoder.encode_texts(frame(COMMON), [{"text": text}], 1)[0]
    found = encode(model, COMMON, text=text)
    assert found.lost == len(whole.ids) - len(found.ids) > 0
    assert encode(model, COMMON, text="short").lost == 0


@families
@pytest.mark.parametrize(("long", "short"), [("text_a", "text_b"), ("text_b", "text_a")])
def test_the_longest_field_is_shortened_first(
    models: Callable[[str], TransformerModel], family: str, long: str, short: str
) -> None:
    model, template = models(family), pair_for(family)
    text = LONG * 20
    found = encode(model, template, **{long: text, short: "a good film"})
    limit = model.encoder.max_length
    shorter = {
        encode(model, template, **{long: text[:end], short: "a good film"}).ids
        for end in range(6 * limit)
    }
    assert found.ids in shorter


@families
def test_two_long_fields_are_shortened_to_the_same_length(
    models: Callable[[str], TransformerModel], family: str
) -> None:
    model = models(family)
    found = encode(model, pair_for(family), text_a="good " * 500, text_b="bad " * 300)
    limit = model.encoder.max_length
    tokens = model.encoder.tokenizer.convert_ids_to_tokens(list(found.ids))
    good, bad = (sum(token.endswith(word) for token in tokens) for word in ("good", "bad"))
    assert limit - 1 <= len(found.ids) <= limit
    assert abs(good - bad) <= 4


def test_a_template_longer_than_the_model_is_an_error(model: TransformerModel) -> None:
    template = "very " * model.encoder.max_length + "{text} {mask}"
    with pytest.raises(TemplateError, match="shorten it") as caught:
        encode(model, template, text="A film")
    assert str(model.encoder.max_length) in str(caught.value)


def test_a_sequence_of_full_length_runs(model: TransformerModel) -> None:
    limit = model.encoder.max_length
    spare = limit - len(encode(model, "{text} {mask}", text="good").ids)
    encoding = encode(model, "{text} {mask}", text="good" + " good" * spare)
    assert len(encoding.ids) == limit
    assert everything(model, [encoding]).shape[:2] == (1, 1)


@families
def test_the_length_is_the_most_that_the_model_takes(
    models: Callable[[str], TransformerModel], family: str
) -> None:
    model = models(family)
    lengths = {EMBEDDED: 256, EMBEDDED_CAUSAL: 256}
    assert model.encoder.max_length == lengths.get(family, tiny_models.MAX_LENGTH)
    names = [name for name, _ in model.module.named_modules()]
    if any(name.endswith(("position_embeddings", "wpe")) for name in names):
        too_long = torch.full((1, model.encoder.max_length + 1), 7)
        # On the CPU: a GPU that has refused an index refuses everything from then on.
        module = copy.deepcopy(model.module).cpu()
        with pytest.raises((IndexError, RuntimeError)):
            module(input_ids=too_long)


# -- label words ------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["great", "unspeakably"])
@pytest.mark.parametrize(
    "template",
    [
        "{text} It was {mask} , yes",  # after a space
        "{mask} : {text}",  # at the very beginning
        "{text} ( {mask} )",
        "{text} ({mask} )",  # after a bracket
        "{text} :\n{mask} !",  # after a new line
    ],
)
@pytest.mark.parametrize("family", TWO_SIDED)
def test_a_word_has_the_ids_that_it_has_in_the_text(
    models: Callable[[str], TransformerModel], family: str, template: str, word: str
) -> None:
    encoder = models(family).encoder
    ids = encoder.word_ids(frame(template), word)
    written = Template.parse(template).render({"text": "A film"}, mask=word)
    assert contains(encoder.tokenizer(written)["input_ids"], ids)
    assert encoder.tokenizer.decode(list(ids)).strip() == word


@pytest.mark.parametrize(
    ("template", "token"),
    [
        (COMMON, " great"),
        ("{text}  {mask}", " great"),
        ("{text} ( {mask} )", " great"),
        ("{text} ({mask} )", "great"),
        ("{text} :\n{mask} !", "great"),
        ("{text}{mask}", "great"),
        ("{text} {demonstrations}{mask}", " great"),
    ],
)
def test_the_context_decides_whether_a_causal_word_starts_with_a_space(
    causal: TransformerModel, template: str, token: str
) -> None:
    ids = causal.encoder.word_ids(frame(template), "great")
    assert causal.encoder.tokenizer.decode(list(ids)) == token


def test_the_record_names_what_is_scored(model: TransformerModel) -> None:
    record = model.encoder.record(frame(COMMON), ["great", "bad"])
    assert record.probe == encode(model, COMMON, text="text").ids
    assert record.words["bad"] == model.encoder.word_ids(frame(COMMON), "bad")
    assert record.max_length == model.encoder.max_length
    assert not record.ids_only


def test_demonstrations_chosen_for_each_input_are_encoded_as_if_all_saw_them(
    model: TransformerModel,
) -> None:
    shown = tuple(
        Example({"text": text}, label)
        for text, label in (
            ("a bad film", "bad"),
            ("a good film", "great"),
            ("good music", "great"),
        )
    )
    written = tuple(f"{example.fields['text']} it was {example.label} " for example in shown)
    template = Template.parse("{demonstrations}{text} it was {mask}")
    choosing = Frame(template, pool=RetrievalPool(Retrieval(1), shown, written))
    inputs = [Example({"text": text}) for text in ("a good film", "the music", "")]
    for one, found in zip(inputs, model.encoder.encode(choosing, inputs), strict=True):
        (seen,) = choosing.seen_by([one])
        assert len(seen.demonstrations) == 2
        assert found == model.encoder.encode(seen, [one])[0]
    plain = Frame(template, demonstrations=written)
    assert model.encoder.word_ids(choosing, "great") == model.encoder.word_ids(plain, "great")
    (probe,) = model.encoder.encode(choosing, [Example({"text": "text"})])
    assert model.encoder.record(choosing, ["great"]).probe == probe.ids


def test_words_of_all_lengths_see_the_same_demonstrations(model: TransformerModel) -> None:
    """Else labels were compared by what different prompts say."""
    encoder = model.encoder
    template = Template.parse("{demonstrations}{text} it was {mask}")
    shown = Frame(template, demonstrations=("a good film it was great ",) * 40)
    left_out = set()
    for count in range(24):
        one = [Example({"text": "good " * count})]
        numbers = {encoder.encode(shown, one, masks)[0].left_out for masks in (1, 2, 4, 8)}
        assert len(numbers) == 1
        left_out |= numbers
    assert len(left_out) > 1
