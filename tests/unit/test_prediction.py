"""Using a prompt outside a search, and refusing what would not give its scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprompt.errors import InputError, PromptError, TaskError
from autoprompt.models.loading import load_model
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import evaluate
from autoprompt.prediction import Predictor, check_prompt_fits, model_of
from autoprompt.prompts import Calibration, ModelIdentity, Prompt
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

EXAMPLES = [
    Example({"text": "a good film"}, "positive"),
    Example({"text": "dull"}, "negative"),
    Example({"text": "good " * 100}, "negative"),
]


def prompt_for(model: MaskedLanguageModel, template: str = "{text} It was {mask}.") -> Prompt:
    """A prompt as a search leaves it: with the model and the ids that it was scored with."""
    bare = Prompt(
        Template.parse(template),
        Verbalizer.of({"negative": ["bad", "not good"], "positive": ["great"]}),
        calibration=Calibration("contextual", (-0.2, -1.7)),
    )
    tokens = model.encoder.record(bare.frame, bare.verbalizer.all_words)
    return replace(bare, model=model.identity, tokens=tokens)


@pytest.fixture
def prompt(tiny_model: MaskedLanguageModel) -> Prompt:
    return prompt_for(tiny_model)


@pytest.fixture
def predictor(prompt: Prompt, tiny_model: MaskedLanguageModel) -> Predictor:
    return Predictor(prompt, tiny_model)


# -- predictions ------------------------------------------------------------------------------


def test_a_predictor_gives_what_evaluate_gave(
    predictor: Predictor, prompt: Prompt, tiny_model: MaskedLanguageModel
) -> None:
    scored = evaluate(prompt, WordScorer(tiny_model, prompt.verbalizer.all_words), EXAMPLES)
    np.testing.assert_allclose(
        predictor.score(EXAMPLES).log_probabilities, scored.log_probabilities, atol=1e-5
    )
    found = predictor.predict([example.fields for example in EXAMPLES])
    for prediction, row in zip(found, scored.log_probabilities, strict=True):
        assert list(prediction.probabilities) == ["negative", "positive"]
        np.testing.assert_allclose(list(prediction.probabilities.values()), np.exp(row), atol=1e-5)
        assert prediction.label == ("negative", "positive")[int(row.argmax())]


@pytest.mark.parametrize("named", ["best.json", ""])
def test_a_saved_prompt_finds_its_model(
    prompt: Prompt, predictor: Predictor, tmp_path: Path, named: str
) -> None:
    """Named by its file, or by the directory of its run."""
    prompt.save(tmp_path / "best.json")
    loaded = Predictor(tmp_path / named)
    assert loaded.model.identity == prompt.model
    assert loaded.predict(["a film"]) == predictor.predict(["a film"])


def test_strings_and_mappings_say_the_same(predictor: Predictor) -> None:
    text = "a {mask} film, {not} [MASK]"
    found = predictor.predict([text, {"text": text, "id": "7"}])
    assert found[0] == found[1]


def test_the_probabilities_add_up_to_one(predictor: Predictor) -> None:
    (found,) = predictor.predict(["a film"])
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_no_texts_have_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_two_fields_want_mappings(tiny_model: MaskedLanguageModel) -> None:
    predictor = Predictor(prompt_for(tiny_model, "{text_a} ? {mask} , {text_b}"), tiny_model)
    pair = {"text_b": "a bad film", "text_a": "a good film"}
    assert len(predictor.predict([pair])) == 1
    with pytest.raises(InputError, match="the fields text_a, text_b; give each text as a mapping"):
        predictor.predict(["a good film"])


@pytest.mark.parametrize("texts", ["a film", {"text": "a film"}])
def test_a_single_text_is_not_taken_for_a_list(predictor: Predictor, texts: Any) -> None:
    with pytest.raises(InputError, match=r"write predict\(\[text\]\)"):
        predictor.predict(texts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"body": "a film"}, "lacks the fields text; it has body"),
        ({"text": None}, "field 'text' holds None, which is no text"),
        ({"text": float("nan")}, "holds nan, which is no text"),
        (3, "3 is no text"),
        (None, "None is no text"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_a_value_that_is_no_text_is_refused(predictor: Predictor, text: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        predictor.predict([text])


def test_a_strange_label_is_refused(predictor: Predictor) -> None:
    with pytest.raises(TaskError, match="neutral"):
        predictor.score([Example({"text": "a film"}, "neutral")])


# -- models -----------------------------------------------------------------------------------


def test_another_tokenizer_is_refused(
    prompt: Prompt, family_models: Callable[[str], MaskedLanguageModel]
) -> None:
    with pytest.raises(PromptError, match="has another tokenizer"):
        Predictor(prompt, family_models("roberta"))


def test_other_weights_are_refused(
    prompt: Prompt, family_models: Callable[[str], MaskedLanguageModel]
) -> None:
    other = family_models("distilbert")  # the same vocabulary
    with pytest.raises(PromptError, match="use the model it names, or search again"):
        Predictor(prompt, other)


def test_a_copy_elsewhere_is_the_same_model(
    prompt: Prompt, model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.symlink_to(model_directory("bert"))
    assert Predictor(prompt, load_model(str(copy))).predict(["a film"])


@pytest.mark.parametrize(
    "edit",
    [
        lambda tokens: tokens["probe"].__setitem__(2, tokens["probe"][2] + 1),
        lambda tokens: tokens["words"]["great"].append(7),
    ],
    ids=["probe", "word"],
)
def test_edited_ids_are_refused(
    prompt: Prompt, tiny_model: MaskedLanguageModel, edit: Callable[[dict[str, Any]], None]
) -> None:
    record = json.loads(json.dumps(prompt.to_dict()))
    edit(record["tokens"])
    del record["checksum"]
    with pytest.raises(PromptError, match="other token ids than those it was scored"):
        Predictor(Prompt.from_dict(record), tiny_model)


def test_a_prompt_that_nothing_has_scored_fits_any_model(
    prompt: Prompt, tiny_model: MaskedLanguageModel
) -> None:
    check_prompt_fits(replace(prompt, model=None, tokens=None), tiny_model)


def test_a_prompt_without_a_model_needs_one(prompt: Prompt) -> None:
    with pytest.raises(PromptError, match="names no model; name one with --model"):
        Predictor(replace(prompt, model=None))


def test_a_model_named_by_the_caller_goes_first(
    prompt: Prompt, model_directory: Callable[[str], Path]
) -> None:
    nameless = replace(prompt, model=None, tokens=None)
    model = model_of(nameless, str(model_directory("distilbert")))
    assert model.identity.name == str(model_directory("distilbert").resolve())


def test_the_model_is_loaded_with_the_length_of_the_search(
    model_directory: Callable[[str], Path],
) -> None:
    short = load_model(str(model_directory("bert")), max_length=20)
    assert isinstance(short, MaskedLanguageModel)
    prompt = prompt_for(short)
    assert model_of(prompt).encoder.max_length == 20
    found = Predictor(prompt).score(EXAMPLES).log_probabilities
    wanted = Predictor(prompt, short).score(EXAMPLES).log_probabilities
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_a_model_of_another_length_is_refused(
    tiny_model: MaskedLanguageModel, model_directory: Callable[[str], Path]
) -> None:
    short = load_model(str(model_directory("bert")), max_length=20)
    assert isinstance(short, MaskedLanguageModel)
    with pytest.raises(PromptError, match=r"at most 20 tokens.*max_length=20"):
        Predictor(prompt_for(short), tiny_model)


def test_the_revision_of_the_prompt_is_loaded(
    prompt: Prompt, monkeypatch: pytest.MonkeyPatch, tiny_model: MaskedLanguageModel
) -> None:
    asked: list[tuple[str, str]] = []

    def loaded(name: str, *, revision: str, **options: Any) -> MaskedLanguageModel:
        asked.append((name, revision))
        return tiny_model

    monkeypatch.setattr("autoprompt.prediction.load_model", loaded)
    known = ModelIdentity("someone/tiny", "abc", "masked", "", "")
    model_of(replace(prompt, model=known))
    model_of(replace(prompt, model=known), revision="def")
    model_of(replace(prompt, model=known), "other/copy")
    assert asked == [("someone/tiny", "abc"), ("someone/tiny", "def"), ("other/copy", "")]
