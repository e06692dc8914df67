"""Sentinel infilling: the beam search against brute force, and templates from its fillings."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_t5
import torch
from safetensors.torch import load_file, save_file

from autoprompt.errors import (
    InputError,
    ModelError,
    ScoringError,
    TaskError,
    TemplateError,
    VerbalizerError,
)
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

WORDS = {"neg": "bad", "pos": "great"}
EXAMPLES = [
    Example({"text": "A gripping film!"}, "pos"),
    Example({"text": "dull and <extra_id_0> slow"}, "neg"),
    Example({"text": "It was not boring"}, "pos"),
]
PLAIN = [EXAMPLES[0], Example({"text": "it is dull"}, "neg"), EXAMPLES[2]]
PAIRS = [
    Example({"a": "a film was fine", "b": "it was good"}, "pos"),
    Example({"a": "no one", "b": "a place, a team"}, "neg"),
]
Gaps = tuple[tuple[int, ...], ...]
# What every entry adds to a text: words, a part of a word, marks; "....", a lone space.
FEW = [("▁It", -2.0), ("ly", -3.0), (".", -2.0), ("▁{", -2.0), ("....", -2.0), ("▁", -4.0)]
LETTERS = [(char, -9.0) for char in "abcdefghijklmnopqrstuvwxyzAGIN!,<>_0"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_t5.build(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def infiller(directory: Path) -> SentinelInfiller:
    return SentinelInfiller.load(str(directory))


# -- against a slow reference -----------------------------------------------------------------


def input_ids(infiller: SentinelInfiller, parts: list[str | int]) -> list[int]:
    """Sentinels by number between plain texts, read by the tokenizer itself."""
    tokenizer = infiller.tokenizer
    ids: list[int] = []
    for part in parts:
        if isinstance(part, int):
            ids.append(tokenizer.convert_tokens_to_ids(f"<extra_id_{part}>"))
        else:
            ids += tokenizer(part, add_special_tokens=False)["input_ids"]
    return [*ids, tokenizer.eos_token_id]


def log_probability(infiller: SentinelInfiller, ids: list[int], gaps: Gaps) -> float:
    """Of two fillings after one input, in one plain pass; the text ends by sentinel or end."""
    first, second, last = (
        infiller.tokenizer.convert_tokens_to_ids(f"<extra_id_{number}>") for number in range(3)
    )
    targets = [first, *gaps[0], second, *gaps[1], last]
    decoder = [infiller.module.config.decoder_start_token_id, *targets[:-1]]
    with torch.no_grad():
        logits = infiller.module(
            input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([decoder])
        ).logits[0]
    logs = torch.log_softmax(logits.double(), -1)
    total = sum(float(logs[at, token]) for at, token in enumerate(targets[:-1]) if at)
    ends = logs[len(targets) - 1, [last, infiller.tokenizer.eos_token_id]]
    return total + float(torch.logsumexp(ends, 0))


def fillings(texts: dict[int, str], most: int) -> list[Gaps]:
    """All pairs of fillings of `most` tokens together that may stand in a template."""
    gaps = [gap for size in range(most + 1) for gap in itertools.product(texts, repeat=size)]
    return [
        pair
        for pair in itertools.product(gaps, gaps)
        if sum(map(len, pair)) <= most
        and not any(gap and texts[gap[0]][0].isalnum() for gap in pair)
        and not any(
            one == other and texts[one].strip() in ".{"
            for gap in pair
            for one, other in itertools.pairwise(gap)
        )
    ]


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("placement", ["{text}%s {mask}%s", "%s {mask}%s {text}"])
def test_a_wide_beam_finds_what_brute_force_finds(
    tmp_path: Path, scaled: bool, placement: str
) -> None:
    tiny_t5.build(tmp_path, [*FEW, *LETTERS], scaled=scaled, seed=3)
    infiller = SentinelInfiller.load(str(tmp_path))
    vocabulary = infiller.tokenizer.get_vocab()
    texts = {vocabulary[piece]: piece.replace("▁", " ") for piece, _ in FEW[:4]}
    for token in vocabulary.values():
        infiller._rules.barred[token] |= token not in texts  # few enough to try them all
    found = infiller.generate(PLAIN, ["text"], WORDS, beam=400, most=10_000, max_tokens=2)
    inputs = []
    for example in PLAIN:
        middle: list[str | int] = [0, WORDS[str(example.label)], 1]
        text = example.fields["text"]
        inputs.append(
            input_ids(infiller, [text, *middle] if placement[0] == "{" else [*middle, text])
        )
    expected: dict[str, float] = {}
    for pair in fillings(texts, 2):
        gaps = tuple("".join(texts[token] for token in gap).replace("{", "{{") for gap in pair)
        text = " ".join((placement % gaps).split())
        score = sum(log_probability(infiller, ids, pair) for ids in inputs)
        expected[text] = max(score, expected.get(text, score))
    first = placement[0] == "{"
    here = {text: score for text, score in found if text.startswith("{text}") == first}
    assert here.keys() == expected.keys()
    assert here == pytest.approx(expected, abs=1e-3)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_narrow_beams_keep_to_their_hypotheses(infiller: SentinelInfiller) -> None:
    """A row that goes on with another row's keys and values would have another score."""
    inputs = [input_ids(infiller, [e.fields["a"], 0, "great", 1, e.fields["b"]]) for e in PAIRS]
    for row in infiller._searched(inputs, beam=5, max_tokens=6):
        cut = row.tokens.index(infiller._sentinels[1])
        gaps = (row.tokens[:cut], row.tokens[cut + 1 : -1])
        plain = sum(log_probability(infiller, ids, gaps) for ids in inputs)
        assert row.score == pytest.approx(plain, abs=1e-3)


def test_inputs_are_what_the_tokenizer_makes(infiller: SentinelInfiller) -> None:
    example, text = EXAMPLES[0], EXAMPLES[0].fields["text"]
    after, before = [text, 0, "great", 1], [0, "great", 1, text]
    assert infiller._input(example, ["text"], [], "great") == input_ids(infiller, after)
    assert infiller._input(example, [], ["text"], "great") == input_ids(infiller, before)
    pair = infiller._input(PAIRS[0], ["a"], ["b"], "very good")
    assert pair == input_ids(infiller, ["a film was fine", 0, "very good", 1, "it was good"])


# -- templates --------------------------------------------------------------------------------


def test_templates_are_valid_and_each_stands_once(infiller: SentinelInfiller) -> None:
    found = infiller.generate(PAIRS, ["a", "b"], WORDS, beam=12, most=10, max_tokens=5)
    assert 0 < len(found) <= 10
    assert len({text for text, _ in found}) == len(found)
    for text, _ in found:
        assert Template.parse(text, ["a", "b"]).fields == ("a", "b")
        assert text.startswith("{a}")
        assert text.endswith(" {b}")
        assert " {mask}" in text
        assert "extra_id" not in text
    assert found == infiller.generate(PAIRS, ["a", "b"], WORDS, beam=12, most=10, max_tokens=5)


def test_each_placement_has_its_share(infiller: SentinelInfiller) -> None:
    found = infiller.generate(EXAMPLES, ["text"], WORDS, beam=9, most=5, max_tokens=3)
    first = [text for text, _ in found if text.startswith("{text}")]
    assert (len(first), len(found)) == (3, 5)
    three = [Example({"a": "x", "b": "y", "c": "z"}, "pos")]
    texts = [text for text, _ in infiller.generate(three, ["a", "b", "c"], WORDS, beam=4, most=4)]
    assert {text.index("{mask}") > text.index("{b}") for text in texts} == {True, False}


def test_a_sentinel_in_a_text_is_text(infiller: SentinelInfiller) -> None:
    ids = infiller._input(EXAMPLES[1], ["text"], [], "bad")
    assert [token in infiller._sentinels for token in ids].count(True) == 2


def test_long_texts_lose_what_is_far_from_the_gaps(directory: Path) -> None:
    infiller = SentinelInfiller.load(str(directory), max_length=9)
    example = Example({"a": "it was an excellent film", "b": "this is not a book"}, "pos")
    ids = infiller._input(example, ["a"], ["b"], "great")
    assert infiller.tokenizer.convert_ids_to_tokens(ids) == [
        *("▁an", "▁excellent", "▁film", "<extra_id_0>", "▁great", "<extra_id_1>"),
        *("▁this", "▁is", "</s>"),
    ]
    with pytest.raises(TemplateError, match="raise max_length"):
        infiller._input(example, ["a"], ["b"], "great great great great great great great")


def test_forwards_are_rows_of_the_beam_and_tokens_are_counted(directory: Path) -> None:
    infiller = SentinelInfiller.load(str(directory))
    infiller.generate(PAIRS, ["a", "b"], WORDS, beam=1, max_tokens=1)
    assert infiller.forwards == 2
    inputs = [infiller._input(e, ["a"], ["b"], WORDS[str(e.label)]) for e in PAIRS]
    steps = infiller.tokens - sum(map(len, inputs))
    assert steps in {2 * (2 + 1), 2 * (2 + 2)}  # the start and a sentinel, then a token a step
    infiller.generate(PAIRS, ["a", "b"], WORDS, beam=7, max_tokens=4)
    assert infiller.forwards <= 2 + 2 * 7


# -- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"beam": 0}, InputError, "beam must be 1 or more; it is 0"),
        ({"examples": []}, TaskError, "give one at least"),
        ({"fields": ["other"]}, TaskError, "an example has no text for other; it has: text"),
        ({"examples": [Example({"text": "a\0b"}, "pos")]}, TemplateError, "NUL"),
        ({"words": {"pos": "great"}}, VerbalizerError, "the label 'neg'.*words for: pos"),
    ],
)
def test_wrong_use(
    infiller: SentinelInfiller, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"examples": EXAMPLES, "fields": ["text"], "words": WORDS, **change}
    with pytest.raises(error, match=message):
        infiller.generate(**given)


@pytest.mark.parametrize("name", ["/nonexistent/model", "./nonexistent", "a/b/c"])
def test_a_directory_that_does_not_exist(name: str) -> None:
    with pytest.raises(ModelError, match="no model directory at"):
        SentinelInfiller.load(name)


def test_a_revision_of_a_directory(directory: Path) -> None:
    with pytest.raises(ModelError, match="no revisions"):
        SentinelInfiller.load(str(directory), revision="main")


def test_a_masked_model(model_directory: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=r"is a 'bert' model.* no seq2seq .*choose .*T5"):
        SentinelInfiller.load(str(model_directory("bert")))


def test_no_sentinels(tmp_path: Path) -> None:
    tiny_t5.build(tmp_path, sentinels=0)
    with pytest.raises(ModelError, match=r"no sentinel tokens.*choose a T5"):
        SentinelInfiller.load(str(tmp_path))


def test_missing_and_damaged_weights(tmp_path: Path) -> None:
    weights = tiny_t5.build(tmp_path, spare=0) / "model.safetensors"
    tensors, lost = load_file(weights), "decoder.final_layer_norm.weight"
    save_file({key: t for key, t in tensors.items() if key != lost}, weights)
    with pytest.raises(ModelError, match=rf"lacks weights \({lost}\)"):
        SentinelInfiller.load(str(tmp_path))
    weights.write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="damaged"):
        SentinelInfiller.load(str(tmp_path))


def test_another_tokenizer(tmp_path: Path) -> None:
    tiny_t5.build(tmp_path, spare=-2)
    with pytest.raises(ModelError, match="take tokenizer and weights of one checkpoint"):
        SentinelInfiller.load(str(tmp_path))


def test_scores_that_are_not_finite(directory: Path) -> None:
    infiller = SentinelInfiller.load(str(directory))
    torch.nn.init.constant_(infiller.module.shared.weight, float("nan"))
    with pytest.raises(ScoringError, match="not finite"):
        infiller.generate(EXAMPLES, ["text"], WORDS, beam=2)


def test_a_lack_of_memory(infiller: SentinelInfiller, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(infiller, "_beam_search", full)
    with pytest.raises(ScoringError, match="take a smaller beam or fewer examples"):
        infiller.generate(EXAMPLES, ["text"], WORDS)
