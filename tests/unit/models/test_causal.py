"""Causal encoding: what is read, where the space goes, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import tokenizers
import transformers
from tokenizers import pre_tokenizers, processors, trainers

from autoprompt.demonstrations import with_demonstrations
from autoprompt.errors import ModelError, TemplateError, VerbalizerError
from autoprompt.models.causal import CausalEncoder
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.families import FAMILIES, family_of
from autoprompt.models.loading import load_model
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Frame
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

FILM = [Example({"text": "A film"})]
SEVERAL = "unspeakably"  # tokens


@pytest.fixture(scope="module")
def encoders(family_models: Callable[[str], TransformerModel]) -> Callable[[str], PromptEncoder]:
    return lambda family: family_models(family).encoder


@pytest.fixture(scope="module")
def gpt2(encoders: Callable[[str], PromptEncoder]) -> PromptEncoder:
    return encoders("gpt2")


@pytest.fixture
def copied(model_directory: Callable[[str], Path], tmp_path: Path) -> Path:
    """A whole tiny Llama, to be damaged."""
    return Path(shutil.copytree(model_directory("llama"), tmp_path / "model"))


def frame(text: str, *demonstrations: str) -> Frame:
    return Frame(Template.parse(text), (), demonstrations)


def tokens(encoder: PromptEncoder, ids: Any) -> list[str]:
    return list(encoder.tokenizer.convert_ids_to_tokens(list(ids)))


def read(encoder: PromptEncoder, given: Frame, text: str = "A film") -> list[str]:
    """The tokens that the model sees."""
    return tokens(encoder, encoder.encode(given, [Example({"text": text})])[0].ids)


# -- the order of a template ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{mask} news: {text}", "the words 'news:'"),
        ("{mask} {text}", r"the field \{text\}"),
        ("{text} {mask} film.", "the words 'film.'"),
        ("{text} {mask}/5", "the words '/5'"),
        ("{text} {mask} 很", "the words '很'"),
        ("{text} {mask} {demonstrations}", "a slot"),
        ("{text} {mask} {trigger:2}", "a slot"),
    ],
)
def test_words_after_the_mask_are_refused(gpt2: PromptEncoder, template: str, what: str) -> None:
    given = Frame(Template.parse(template), ((7, 8),) if "trigger" in template else ())
    message = rf"{what} after \{{mask\}}.*reads left to right; put \{{mask\}} last"
    for ask in (
        lambda: gpt2.encode(given, FILM),
        lambda: gpt2.word_ids(given, "great"),
        lambda: gpt2.record(given, ["great"]),
    ):
        with pytest.raises(TemplateError, match=message) as caught:
            ask()
        assert template in str(caught.value)


@pytest.mark.parametrize("end", [".", "!", " .", '".', ")", " ...\n", "。"])
def test_signs_after_the_mask_are_not_read(gpt2: PromptEncoder, end: str) -> None:
    bare, ended = frame("{text} It was {mask}"), frame(f"{{text}} It was {{mask}}{end}")
    assert gpt2.encode(ended, FILM) == gpt2.encode(bare, FILM)
    assert gpt2.word_ids(ended, "great") == gpt2.word_ids(bare, "great")


# -- the space before the word ----------------------------------------------------------------


@pytest.mark.parametrize("family", tiny_models.CAUSAL)
def test_the_text_ends_without_the_space_that_the_word_starts_with(
    encoders: Callable[[str], PromptEncoder], family: str
) -> None:
    encoder = encoders(family)
    given = frame("{text} It was {mask}.")
    assert read(encoder, given)[-2:] == ["ĠIt", "Ġwas"]
    assert tokens(encoder, encoder.word_ids(given, "great")) == ["Ġgreat"]


@pytest.mark.parametrize(
    ("template", "last", "word"),
    [
        ("{text} was  {mask}", "Ġ", "Ġgreat"),  # of two spaces the first is text
        ("{text} was\n{mask}", "Ċ", "great"),
        ("{text} was\n {mask}", "Ċ", "Ġgreat"),
        ("{text} was\t{mask}", "ĉ", "great"),
        ("{text}{mask}", "Ġ", "great"),  # the text's own space is not the template's
    ],
)
def test_one_space_of_the_template_goes_to_the_word(
    gpt2: PromptEncoder, template: str, last: str, word: str
) -> None:
    given = frame(template)
    assert read(gpt2, given, "A film ")[-1] == last
    assert tokens(gpt2, gpt2.word_ids(given, "great")) == [word]


def test_the_space_after_demonstrations_goes_to_the_word(gpt2: PromptEncoder) -> None:
    given = frame("{text} : {demonstrations}{mask}", "good film. ")
    assert gpt2.tokenizer.convert_tokens_to_string(read(gpt2, given)) == "A film : good film."
    assert tokens(gpt2, gpt2.word_ids(given, "great")) == ["Ġgreat"]
    without = frame("{text} : {demonstrations}{mask}")
    assert read(gpt2, without)[-1] == ":"
    assert tokens(gpt2, gpt2.word_ids(without, "great")) == ["Ġgreat"]


def test_demonstrations_in_front_are_read_with_their_full_stops(gpt2: PromptEncoder) -> None:
    template = with_demonstrations(Template.parse("{text} It was {mask}."))
    found = read(gpt2, Frame(template, (), ("dull It was bad. ",)), "fine")
    assert gpt2.tokenizer.convert_tokens_to_string(found) == "dull It was bad. fine It was"


def test_triggers_stand_where_the_encoding_says(gpt2: PromptEncoder) -> None:
    given = Frame(Template.parse("{trigger:2} {text} It was{trigger:1} {mask}."), ((40, 41), (42,)))
    (found,) = gpt2.encode(given, FILM)
    assert [found.ids[at] for at in found.trigger_positions] == [40, 41, 42]
    assert found.mask_positions == (len(found.ids) - 1,) == found.trigger_positions[-1:]
    assert tokens(gpt2, gpt2.word_ids(given, "great")) == ["Ġgreat"]


# -- the beginning and the end of the sequence ------------------------------------------------


@pytest.mark.parametrize(
    ("family", "first"), [("gpt2", "<|endoftext|>"), ("llama", "<|begin_of_text|>")]
)
@pytest.mark.parametrize("template", ["{text}{mask}", "{text} {mask}"])
def test_the_first_word_of_a_text_is_predicted_from_the_bos_token(
    family_models: Callable[[str], TransformerModel], family: str, first: str, template: str
) -> None:
    model = family_models(family)
    (found,) = model.encoder.encode(frame(template), [Example({"text": ""})])
    assert tokens(model.encoder, found.ids) == [first]
    assert found.mask_positions == (0,)
    assert np.isfinite(model.log_probabilities([found], np.arange(9))).all()


def test_a_word_cannot_be_predicted_from_nothing(encoders: Callable[[str], PromptEncoder]) -> None:
    with pytest.raises(TemplateError, match=r"no BOS token.*begin the template with a word"):
        encoders("qwen2").encode(frame("{text} {mask}"), [Example({"text": ""})])


def test_a_bos_token_is_not_added_where_the_tokenizer_does_not_add_it(gpt2: PromptEncoder) -> None:
    assert read(gpt2, frame("{text} {mask}")) == ["A", "Ġfilm"]


def with_end(tokenizer: Any) -> Any:
    """A Llama tokenizer that puts an EOS token at the end."""
    first, last = tiny_models.LLAMA_SPECIALS
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, 0), (last, 1)]
    )
    return tokenizer


def test_an_eos_token_at_the_end_is_dropped() -> None:
    tokenizer = with_end(tiny_models.llama()[0])
    encoder = CausalEncoder(tokenizer, 48)
    assert tokenizer("A film")["input_ids"][-1] == tokenizer.eos_token_id
    assert read(encoder, frame("{text} {mask}")) == ["<|begin_of_text|>", "A", "Ġfilm"]
    assert encoder.exact
    assert not encoder.record(frame("{text} {mask}"), ["great"]).ids_only


# -- a tokenizer of another kind --------------------------------------------------------------


@pytest.fixture(scope="module")
def spaces_first() -> CausalEncoder:
    """As Llama 2's: spaces are a letter of their own, and two of them are one token."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    trainer = trainers.BpeTrainer(
        vocab_size=120,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=tiny_models.PRINTABLE,
        show_progress=False,
    )
    lines = ["It was great", "A text was great", "(great"] * 9
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
            pre_tokenizers.Split(tokenizers.Regex("▁?[a-zA-Z]+|▁+(?!▁)"), behavior="isolated"),
        ]
    )
    trained.train_from_iterator(lines, trainer)
    vocabulary, merges = tiny_models._vocabulary_and_merges(trained)
    vocabulary.setdefault("▁▁", len(vocabulary))
    tokenizer = transformers.LlamaTokenizer(vocabulary, [("▁", "▁"), *merges])
    return CausalEncoder(tokenizer, 48)


def test_a_space_that_melts_into_the_one_before_it_stays_with_the_text(
    spaces_first: CausalEncoder,
) -> None:
    """Two spaces are one token there, so that none is left for the word."""
    for template in ("{text} was {mask}", "{text} was  {mask}"):
        given = frame(template)
        text = template.partition("{mask}")[0].replace("{text}", "A film")
        written = spaces_first.tokenizer(text + "great")["input_ids"]
        (found,) = spaces_first.encode(given, FILM)
        assert [*found.ids, *spaces_first.word_ids(given, "great")] == written
    assert read(spaces_first, frame("{text} was  {mask}"))[-1] == "▁▁"
    assert spaces_first.exact


# -- words ------------------------------------------------------------------------------------


def test_words_that_end_differently_share_a_sequence(gpt2: PromptEncoder) -> None:
    (encoding,) = gpt2.encode(frame("{text} It was {mask}."), FILM, masks=3)
    words = np.array([[40, 41, 42], [50, 41, 42], [40, 41, 43]])
    asked, way = gpt2.asked([encoding, encoding], words)
    assert [one.ids[len(encoding.ids) :] for one in asked] == [(40, 41)] * 2 + [(50, 41)] * 2
    assert way.tolist() == [0, 1, 0]


def test_every_sequence_is_counted(family_models: Callable[[str], TransformerModel]) -> None:
    """Words of one token count whose first tokens differ are not read in one pass."""
    model, given = family_models("gpt2"), frame("{text} It was {mask}.")
    words = ["great", "very good", "very bad", "rather dull"]
    ids = [model.encoder.word_ids(given, word) for word in words]
    heads = {(len(one), one[:-1]) for one in ids}
    scorer = WordScorer(model, words)
    scorer.scores(given, FILM)
    assert len(heads) >= 3
    assert scorer.variants(given) == scorer.spent.forwards == len(heads)
    assert scorer.unpaid(given, FILM) == 0
    assert scorer.unpaid(given, [Example({"text": "news"})]) == len(heads)


def test_a_word_that_only_one_token_may_be_is_left_out_of_scoring(
    family_models: Callable[[str], TransformerModel],
) -> None:
    given = frame("{text} It was {mask}.")
    words = ["great", SEVERAL, "very good"]
    scorer = WordScorer(family_models("gpt2"), words, one_token=[SEVERAL])
    assert scorer.variants(given) == 2
    np.testing.assert_array_equal(np.isnan(scorer.scores(given, FILM)), [[False, True, False]])
    with pytest.raises(VerbalizerError, match=r"is \d+ tokens at this mask"):
        scorer.columns(given, Verbalizer.of({"neg": ["great"], "pos": [SEVERAL]}))


def test_words_that_begin_alike_are_one_forward_of_each_sequence(
    family_models: Callable[[str], TransformerModel],
) -> None:
    scorer = WordScorer(family_models("gpt2"), ["great", "bad", "very good", "very bad", "not bad"])
    scorer.scores(frame("{text} It was {mask}."), [*FILM, Example({"text": "dull"})])
    assert scorer.spent.forwards == 2 * 3  # one token; "very ..."; "not ..."


def test_a_word_that_melts_into_the_text_is_refused(gpt2: PromptEncoder) -> None:
    with pytest.raises(VerbalizerError, match=r"melts.*put a space before \{mask\}"):
        gpt2.word_ids(frame("{text} gre{mask}"), "at")


# -- tokenizers and records -------------------------------------------------------------------


def test_the_fingerprint_needs_no_mask_token(encoders: Callable[[str], PromptEncoder]) -> None:
    others = [family for family in tiny_models.CAUSAL if family != "mistral"]  # it has Llama's
    assert len({encoders(family).fingerprint for family in others}) == len(others)
    assert encoders("gpt2").fingerprint == CausalEncoder(tiny_models.gpt2()[0], 9).fingerprint


def test_triggers_that_do_not_survive_as_text_make_a_prompt_of_ids_only(
    gpt2: PromptEncoder,
) -> None:
    template = Template.parse("{text}{trigger:2} {mask}")
    pieces = gpt2.tokenizer.convert_tokens_to_ids
    assert gpt2.record(Frame(template, (tuple(pieces(["Ġgood", "Ġfilm"])),)), []).ids_only is False
    assert gpt2.record(Frame(template, (tuple(pieces(["f", "ilm"])),)), []).ids_only is True


# -- loading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", tiny_models.CAUSAL)
def test_a_causal_model_says_so(
    family_models: Callable[[str], TransformerModel], family: str
) -> None:
    model = family_models(family)
    assert model.identity.family == "causal"
    assert model.narrow
    assert model.module.config.use_cache is False


def test_a_masked_model_that_could_be_causal_stays_masked(
    model_directory: Callable[[str], Path],
) -> None:
    assert transformers.BertConfig in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    assert load_model(str(model_directory("bert"))).identity.family == "masked"


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_a_head_that_is_tied_need_not_be_in_the_checkpoint(
    model_directory: Callable[[str], Path],
    family_models: Callable[[str], TransformerModel],
    tmp_path: Path,
    family: str,
) -> None:
    """The body alone, as OpenAI saved GPT-2, has all that a tied head needs."""
    copy = shutil.copytree(model_directory(family), tmp_path / "model")
    transformers.AutoModel.from_pretrained(copy).save_pretrained(copy)
    assert load_model(str(copy)).identity.weights == family_models(family).identity.weights


def test_a_checkpoint_without_an_untied_head_is_refused(copied: Path) -> None:
    transformers.AutoModel.from_pretrained(copied).save_pretrained(copied)
    with pytest.raises(ModelError, match=r"its causal-LM head \(lm_head.*a causal language model"):
        load_model(str(copied))


def test_a_causal_model_without_its_tokenizer_is_refused(copied: Path) -> None:
    for path in copied.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match=r"tokenizer"):
        load_model(str(copied))


@pytest.mark.parametrize("kind", ["Pegasus", "Marian", "MBart", "Bart", "T5"])
def test_the_decoder_of_a_pair_is_no_causal_model(kind: str) -> None:
    """transformers lists most of them among the causal models, without their encoders."""
    config = getattr(transformers, f"{kind}Config")()
    assert family_of("model", config).name == "seq2seq"
    with pytest.raises(ModelError, match="no masked or causal language model"):
        family_of("model", config, FAMILIES[:2])


def test_other_families_are_refused(copied: Path) -> None:
    transformers.ViTConfig().save_pretrained(copied)
    message = "is a 'vit' model, which is no masked or causal or seq2seq language model"
    with pytest.raises(ModelError, match=f"{message}.*a causal one such as GPT-2"):
        load_model(str(copied))
