"""Template generation: mask filling against a slow reference, and what must never come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_t5
import torch

from autoprompt.errors import (
    InputError,
    ModelError,
    TaskError,
    TemplateError,
    VerbalizerError,
)
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.vocabulary import whole_words
from autoprompt.prompts import Frame
from autoprompt.searching.filling import Filler
from autoprompt.searching.generation import Generated, fill, generate_with_t5
from autoprompt.searching.places import PUNCTUATION, places_of
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

Models = Callable[[str], MaskedLanguageModel]
FAMILIES = ["bert", "roberta", "albert", "xlm_roberta"]
EXAMPLES = [
    Example({"text": "A gripping film"}, "pos"),
    Example({"text": "the plot was slow"}, "neg"),
    Example({"text": "Not boring!"}, "pos"),
]
WORDS = {"neg": "bad", "pos": "great"}
SEED = Template.parse("{text} it was {mask}.")
# Place, the word there, its neighbours, whether punctuation may stand there.
PLACES = [
    ("{text} # was {mask}.", "it", {"was"}, True),
    ("{text} it # {mask}.", "was", {"it"}, True),
    ("# {text} it was {mask}.", "", set(), False),
    ("{text} # it was {mask}.", "", {"it"}, True),
    ("{text} it # was {mask}.", "", {"it", "was"}, True),
    ("{text} it was # {mask}.", "", {"was"}, True),
    ("{text} it was {mask} #.", "", set(), False),
    ("{text} it was {mask}. #", "", set(), False),
]


# -- a slow reference: one mask, one example, one plain forward at a time -----------------------


def log_probabilities(
    model: MaskedLanguageModel, place: str, example: Example, words: dict[str, str] | None
) -> tuple[list[int], int, torch.Tensor]:
    """Ids with both masks, position and distribution of `#`, by transformers alone."""
    tokenizer = model.encoder.tokenizer
    mask = tokenizer.mask_token
    text = place.replace("{text}", example.fields["text"])
    ids = tokenizer(text.replace("#", mask).replace("{mask}", mask))["input_ids"]
    at = [i for i, token in enumerate(ids) if token == tokenizer.mask_token_id]
    plain = list(ids)
    here, label = at if place.index("#") < place.index("{mask}") else at[::-1]
    if words is not None:
        written = text.replace("#", mask).replace("{mask}", words[str(example.label)])
        ids[label] = tokenizer(written)["input_ids"][label]
    with torch.no_grad():
        logits = model.module(input_ids=torch.tensor([ids])).logits[0, here]
    return plain, here, torch.log_softmax(logits.double(), -1)


def entry(model: MaskedLanguageModel, place: str, ids: list[int], here: int, word: str) -> int:
    """The one token that a word is at a place; -1 where it is none."""
    tokenizer = model.encoder.tokenizer
    whole = place.replace(" #", word) if word in PUNCTUATION else place.replace("#", word)
    text = whole.replace("{text}", EXAMPLES[0].fields["text"])
    found = tokenizer(text.replace("{mask}", tokenizer.mask_token))["input_ids"]
    same = found[:here] == ids[:here] and tokenizer.decode([found[here]]).strip() in (
        word,
        word.lower(),
    )
    return int(found[here]) if same else -1


def reference(
    model: MaskedLanguageModel, options: int, words: dict[str, str] | None
) -> dict[str, float]:
    known = [*whole_words(model.encoder), "a", "I"]
    candidates = [*known, *(word.capitalize() for word in known)]
    means, own, found = [], [], {}
    for place, word, _, _ in PLACES:
        rows = [log_probabilities(model, place, example, words) for example in EXAMPLES]
        means.append((rows[0], torch.stack([row for _, _, row in rows]).mean(0)))
        if word:
            ids, here, _ = rows[0]
            own.append(float(means[-1][1][entry(model, place, ids, here, word)]))
    usual = sum(own) / len(own)
    for number, (place, word, neighbours, stops) in enumerate(PLACES):
        (ids, here, _), mean = means[number]
        scored: dict[int, tuple[float, str]] = {}
        for piece in [*candidates, *(PUNCTUATION if stops else ())]:
            token = entry(model, place, ids, here, piece)
            if token >= 0 and piece.lower() not in {word, *neighbours}:
                scored.setdefault(token, (float(mean[token]), piece))
        base = own[number] if word else usual
        for value, piece in sorted(scored.values(), reverse=True)[:options]:
            old = " #" if piece in PUNCTUATION else "#"
            text = place.replace(old, piece)
            found[text] = max(value - base, found.get(text, -1e9))
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("words", [None, WORDS], ids=["masked", "gold"])
def test_a_round_is_what_a_slow_reference_gives(
    family_models: Models, family: str, words: dict[str, str] | None
) -> None:
    model = family_models(family)
    found, _ = fill(model, SEED, EXAMPLES, words, rounds=1, options=5, most=1000)
    expected = reference(model, 5, words)
    uncased = family in ("bert", "albert")
    form = str.lower if uncased else str
    scores = {form(item.template.text): item.score for item in found}
    assert scores.keys() == {form(text) for text in expected}
    assert scores == pytest.approx({form(t): s for t, s in expected.items()}, abs=1e-3)
    assert all(item.edits == (SEED.text,) for item in found)


def test_later_rounds_add_up_gains_along_the_way(family_models: Models) -> None:
    model = family_models("roberta")
    found, _ = fill(model, SEED, EXAMPLES, beam=2, rounds=2, options=3, most=1000)
    longest = next(item for item in found if len(item.edits) == 2)
    first, _ = fill(model, SEED, EXAMPLES, rounds=1, options=3, most=1000)
    front = [item.template.text for item in first][:2]
    assert longest.edits[0] == SEED.text
    assert longest.edits[1] in front
    parent = next(item for item in first if item.template.text == longest.edits[1])
    again, _ = fill(model, parent.template, EXAMPLES, rounds=1, options=3, most=1000)
    gain = next(i.score for i in again if i.template == longest.template)
    assert longest.score == pytest.approx(parent.score + gain, abs=1e-4)


# -- places -------------------------------------------------------------------------------------


def shown(template: str) -> set[str]:
    return {place.text("#") for place in places_of(Template.parse(template))}


def test_the_places_of_a_plain_seed() -> None:
    found = places_of(SEED)
    assert [place.text("#") for place in found] == [text for text, _, _, _ in PLACES]
    assert [place.word for place in found] == [word for _, word, _, _ in PLACES]
    assert [place.neighbours for place in found] == [near for _, _, near, _ in PLACES]
    assert [place.stops for place in found] == [stops for _, _, _, stops in PLACES]


@pytest.mark.parametrize(
    ("template", "places"),
    [
        ("{text} {mask}", {"# {text} {mask}", "{text} # {mask}", "{text} {mask} #"}),
        ("{text}{mask}", {"# {text}{mask}", "{text} # {mask}", "{text}{mask} #"}),
        # Words that touch a slot are part of what it makes.
        ("{text}s un{mask}", {"# {text}s un{mask}", "{text}s # un{mask}", "{text}s un{mask} #"}),
        (
            "({mask}) {{x}} {text}",
            {"({mask} #) {{x}} {text}", "({mask}) # {{x}} {text}", "({mask}) {{#}} {text}"}
            | {"({mask}) {{x}} # {text}", "({mask}) {{x}} {text} #", "# ({mask}) {{x}} {text}"},
        ),
        (
            "{demonstrations}{text}{trigger:2} {mask}",
            {
                "{demonstrations}# {text}{trigger:2} {mask}",
                "{demonstrations}{text} # {trigger:2} {mask}",
                "{demonstrations}{text}{trigger:2} # {mask}",
                "{demonstrations}{text}{trigger:2} {mask} #",
            },
        ),
        ("{text}\nNow: {mask}", {"# {text}\nNow: {mask}", "{text} #\nNow: {mask}"}
         | {"{text}\n#: {mask}", "{text}\nNow #: {mask}", "{text}\nNow: # {mask}"}
         | {"{text}\nNow: {mask} #"}),
    ],
)  # fmt: skip
def test_places(template: str, places: set[str]) -> None:
    assert shown(template) == places
    for place in places_of(Template.parse(template)):
        again = Template.parse(place.text("word"))
        assert again.trigger_counts == Template.parse(template).trigger_counts


def test_words_that_can_be_left_out() -> None:
    found = {
        place.word: place.shorter
        for place in places_of(Template.parse("It (so) was. {text} {mask}"))
    }
    assert found["It"] == "(so) was. {text} {mask}"
    assert found["was"] == "It (so). {text} {mask}"
    assert found["so"] == ""


# -- what comes out -------------------------------------------------------------------------------


SEEDS = [
    "{text} {mask}",
    "{mask} : {text}",
    "{a}? {mask}, {b}",
    "{{{text}}} It {{was}} {mask}!",
    "{demonstrations}{text} It was{trigger:2} {mask}.",
    "Review: {text}\nAnswer: ({mask})",
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", SEEDS)
def test_templates_are_valid_and_differ(family_models: Models, family: str, seed: str) -> None:
    model = family_models(family)
    template = Template.parse(seed)
    fields = template.fields
    examples = [Example(dict.fromkeys(fields, e.fields["text"]), e.label) for e in EXAMPLES]
    found, spent = fill(model, template, examples, beam=2, rounds=2, options=3, most=12)
    assert len(found) == 12
    ids = set()
    for item in [Generated(template, 0.0), *found]:
        text = item.template.text
        assert Template.parse(text, fields) == item.template
        assert item.template.fields == fields
        assert item.template.trigger_counts == template.trigger_counts
        assert item.template.has_demonstrations == template.has_demonstrations
        assert text.count("{{") == seed.count("{{")
        assert not set(model.encoder.tokenizer.all_special_tokens) & set(text.split())
        triggers = tuple((5,) * count for count in template.trigger_counts)
        frame = Frame(item.template, triggers)
        assert model.encoder.word_ids(frame, "great")
        probe = Example(dict.fromkeys(fields, "x"))
        ids.add(model.encoder.encode(frame, [probe])[0].ids)
    assert len(ids) == 13
    assert [item.score for item in found] == sorted((item.score for item in found), reverse=True)
    again, cost = fill(model, template, examples, beam=2, rounds=2, options=3, most=12)
    assert (again, cost) == (found, spent)


def test_labels_are_read_only_where_words_are_given(tiny_model: MaskedLanguageModel) -> None:
    found = fill(tiny_model, SEED, EXAMPLES, rounds=1)
    bare = [replace(example, label=None) for example in EXAMPLES]
    assert fill(tiny_model, SEED, bare, rounds=1) == found
    gold, _ = fill(tiny_model, SEED, EXAMPLES, WORDS, rounds=1)
    assert gold != found[0]
    wrong = [replace(example, label="neg") for example in EXAMPLES]
    assert fill(tiny_model, SEED, wrong, WORDS, rounds=1)[0] != gold


def test_gold_words_of_several_tokens(tiny_model: MaskedLanguageModel) -> None:
    """A word of n tokens stands at n masks, all of them its ids."""
    words = {"neg": "bad", "pos": "very great film"}
    filler = Filler(tiny_model, SEED, EXAMPLES, words, 3, False)
    place = next(place for place in places_of(SEED) if place.word == "was")
    tokenizer = tiny_model.encoder.tokenizer
    decoded = {tokenizer.decode(encoding.ids) for encoding in filler._encoded(place, 1)}
    assert decoded == {
        "[CLS] a gripping film it [MASK] very great film. [SEP]",
        "[CLS] the plot was slow it [MASK] bad. [SEP]",
        "[CLS] not boring! it [MASK] very great film. [SEP]",
    }


def test_own_words_of_several_tokens(tiny_model: MaskedLanguageModel) -> None:
    """Their fit is the mean over as many masks; one more pass is spent on them."""
    seed = Template.parse("{text} zest {mask}")  # z, ##e, ##s, ##t
    found, spent = fill(tiny_model, seed, EXAMPLES, rounds=1, options=1, most=1000)
    assert spent.forwards == len(EXAMPLES) * (len(places_of(seed)) + 1)
    tokenizer = tiny_model.encoder.tokenizer
    word = tokenizer("zest", add_special_tokens=False)["input_ids"]
    assert len(word) == 4
    fits, best = [], []
    for example in EXAMPLES:
        for count, into in ((len(word), fits), (1, best)):
            ids = tokenizer(f"{example.fields['text']} {'[MASK] ' * (count + 1)}")["input_ids"]
            with torch.no_grad():
                logits = tiny_model.module(input_ids=torch.tensor([ids])).logits[0]
            start = ids.index(tokenizer.mask_token_id)
            into.append(torch.log_softmax(logits[start : start + count], -1))
    fit = torch.stack(fits).mean(0)[range(4), word].mean()
    replaced = next(
        i for i in found if i.template.text.count(" ") == 2 and "zest" not in str(i.template.text)
    )
    token = tokenizer(replaced.template.text.split()[1], add_special_tokens=False)["input_ids"]
    gain = torch.stack(best).mean(0)[0, token[0]] - fit
    assert replaced.score == pytest.approx(float(gain), abs=1e-3)


def test_words_are_left_out_on_request(tiny_model: MaskedLanguageModel) -> None:
    texts = {i.template.text for i in fill(tiny_model, SEED, EXAMPLES, rounds=1, most=1000)[0]}
    found, _ = fill(tiny_model, SEED, EXAMPLES, rounds=1, most=1000, shorten=True)
    scores = {item.template.text: item.score for item in found}
    gone = set(scores) - texts
    assert gone == {"{text} was {mask}.", "{text} it {mask}."}
    assert sum(scores[text] for text in gone) == pytest.approx(0, abs=1e-9)


def test_capitals_where_the_model_has_none(tiny_model: MaskedLanguageModel) -> None:
    found = places_of(Template.parse("{text} It was {mask}. I do"))
    assert {place.recased("word") for place in found} == {
        "{text} Word was {mask}. I do",  # the case of the word that it replaces
        "{text} It word {mask}. I do",
        "{text} It was {mask}. Word do",
        "{text} It was {mask}. I word",
        "Word {text} It was {mask}. I do",  # the beginning of a sentence
        "{text} Word it was {mask}. I do",  # it takes over the capital
        "{text} It word was {mask}. I do",
        "{text} It was word {mask}. I do",
        "{text} It was {mask} word. I do",
        "{text} It was {mask}. Word I do",
        "{text} It was {mask}. I word do",
        "{text} It was {mask}. I do word",
    }
    seed = Template.parse("{text} It was {mask}.")
    texts = [item.template.text for item in fill(tiny_model, seed, EXAMPLES, rounds=1)[0]]
    assert not any("{text} it" in text for text in texts)


def test_forwards_and_tokens_are_counted(
    tiny_model: MaskedLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[int] = []
    plain = tiny_model.log_probabilities

    def counted(batch: Any, tokens: Any) -> Any:
        run.extend(len(encoding.ids) for encoding in batch)
        return plain(batch, tokens)

    monkeypatch.setattr(tiny_model, "log_probabilities", counted)
    _, spent = fill(tiny_model, SEED, EXAMPLES, rounds=2, beam=2)
    assert (spent.forwards, spent.tokens) == (len(run), sum(run))


def test_edits_that_do_not_fit_are_no_edits(tiny_model: MaskedLanguageModel) -> None:
    long = Template.parse("{text} " + "film " * 43 + "was {mask}.")  # with two specials 48 of 48
    found, _ = fill(tiny_model, long, EXAMPLES, rounds=2, beam=1, options=1, most=1000)
    assert {len(item.template.text.split()) for item in found} == {46}  # no word came in
    too_long = Template.parse("{text} " + "film " * 50 + "{mask}.")
    with pytest.raises(TemplateError, match="alone has"):
        fill(tiny_model, too_long, EXAMPLES)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"beam": 0}, InputError, "beam must be 1 or more; it is 0"),
        ({"examples": []}, TaskError, "give one at least"),
        ({"examples": [Example({"a": "x"})]}, TaskError, "no text for text.*it has: a"),
        ({"words": {"pos": "great"}}, VerbalizerError, "the label 'neg'.*words for: pos"),
        ({"words": {"pos": "great", "neg": "☃"}}, VerbalizerError, "does not know"),
    ],
)
def test_wrong_use(
    tiny_model: MaskedLanguageModel, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    given: dict[str, Any] = {"examples": EXAMPLES, **change}
    with pytest.raises(error, match=message):
        fill(tiny_model, SEED, **given)


def test_a_causal_model_is_refused() -> None:
    model: Any = SimpleNamespace(identity=SimpleNamespace(name="gpt2", family="causal"))
    with pytest.raises(ModelError, match="'gpt2' is a causal one"):
        fill(model, SEED, EXAMPLES)


# -- T5 -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def infiller(tmp_path_factory: pytest.TempPathFactory) -> SentinelInfiller:
    directory: Path = tiny_t5.build(tmp_path_factory.mktemp("t5"))
    return SentinelInfiller.load(str(directory))


def test_templates_of_a_t5(infiller: SentinelInfiller) -> None:
    found, spent = generate_with_t5(
        infiller, EXAMPLES, ["text"], WORDS, beam=8, most=6, max_tokens=4
    )
    texts = dict(infiller.generate(EXAMPLES, ["text"], WORDS, beam=8, most=6, max_tokens=4))
    assert {item.template.text: item.score * len(EXAMPLES) for item in found} == pytest.approx(
        texts
    )
    assert all(item.edits == () for item in found)
    assert infiller.forwards == 2 * spent.forwards > 0
    assert infiller.tokens == 2 * spent.tokens > 0
