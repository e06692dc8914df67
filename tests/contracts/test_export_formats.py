"""What every export format must do: write what it can, whole; refuse the rest, and say why.

Whether the programs that read them understand is tested in `tests/consumers`, with the programs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from export_prompts import CHAT, EXAMPLES, MANY, WORDS, exported, prompt_for

from autoprompt.cli.export import FORMATS as NAMED
from autoprompt.errors import InputError, UnknownNameError
from autoprompt.export.formats import FORMATS, check_place, format_of, material_of
from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Prompt

Models = Callable[[str], TransformerModel]
HOSTILE = "\"a\" 'b' \\ <b> {{ {{% %}} {{{{7*7}}}} # {text} It was {mask}"
LINE = "Review: {text} It was {mask}."
SUITS = {  # the families that a format is for, the first one to be tried
    "json": ("bert",),
    "transformers": ("bert",),
    "lm-eval": ("gpt2",),
    "trl": ("gpt2",),
    "chat": ("gpt2",),
    "peft": ("bert",),
    "dspy": ("gpt2",),
    "openprompt": ("bert",),
    "promptsource": ("gpt2",),
    "promptfoo": ("gpt2",),
    "lm-bff": ("bert",),
}
formats = pytest.mark.parametrize("name", list(FORMATS))


def files_of(place: Path) -> dict[str, str]:
    if place.is_file():
        return {"": place.read_text(encoding="utf-8")}
    return {p.name: p.read_text(encoding="utf-8", errors="replace") for p in place.iterdir()}


def refusal(name: str, prompt: Prompt, tmp_path: Path, model: TransformerModel) -> str:
    with pytest.raises(InputError) as found:
        exported(name, prompt, tmp_path / "out", model)
    assert not list(tmp_path.iterdir())
    return str(found.value)


def test_the_command_line_names_the_formats() -> None:
    assert tuple(FORMATS) == NAMED
    with pytest.raises(UnknownNameError, match="did you mean 'lm-eval'"):
        format_of("lm_eval")


@formats
def test_it_writes_a_prompt_and_where_it_came_from(
    name: str, family_models: Models, tmp_path: Path
) -> None:
    model = family_models(SUITS[name][0])
    prompt = prompt_for(model, LINE)
    found = files_of(exported(name, prompt, tmp_path / "out", model))
    told = [text for text in found.values() if prompt.digest in text]
    assert told
    assert any("seed 1: {text} It was {mask}." in text for text in told)  # the lineage
    assert any(prompt.model.weights in text for text in told)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@formats
def test_the_same_prompt_is_the_same_files(
    name: str, family_models: Models, tmp_path: Path
) -> None:
    model = family_models(SUITS[name][0])
    prompt = prompt_for(model, LINE)
    here = files_of(exported(name, prompt, tmp_path / "a", model))
    there = files_of(exported(name, prompt, tmp_path / "b", model))
    assert {
        n: t.replace(str(tmp_path / "a"), str(tmp_path / "b")) for n, t in here.items()
    } == there


@formats
def test_hostile_words_are_carried_or_refused(
    name: str, family_models: Models, tmp_path: Path
) -> None:
    """Structured files stay what they are; no text becomes a key, a tag or code."""
    model = family_models("gpt2" if SUITS[name] == ("gpt2",) else "roberta")
    prompt = prompt_for(model, HOSTILE)
    if name in ("openprompt", "lm-bff"):
        assert f"format '{name}' cannot carry" in refusal(name, prompt, tmp_path, model)
        return
    found = files_of(exported(name, prompt, tmp_path / "out", model))
    for file, text in found.items():
        if file.endswith(".json") or (name in ("json", "dspy") and not file):
            json.loads(text)
        elif file.endswith(".jsonl"):
            assert [json.loads(line) for line in text.splitlines()]
        elif file.endswith(".yaml"):
            yaml.compose(text)
        elif name == "transformers":
            compile(text, "prompt.py", "exec")


def test_our_own_file_is_a_prompt_again(family_models: Models, tmp_path: Path) -> None:
    model = family_models("bert")
    prompt = prompt_for(model, "{trigger:1} {text} ({mask})", MANY, calibrated=True, triggers=[[9]])
    path = exported("json", prompt, tmp_path / "prompt.json")
    assert Prompt.load(path) == prompt
    assert json.loads(path.read_text())["origin"]["prompt"] == prompt.digest


# -- what cannot be carried -------------------------------------------------------------------

CALIBRATED = {"lm-eval", "dspy", "openprompt", "promptsource", "promptfoo", "lm-bff"}


@formats
def test_a_calibration(name: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models(SUITS[name][0])
    prompt = prompt_for(model, LINE, calibrated=True)
    if name not in CALIBRATED:
        exported(name, prompt, tmp_path / "out", model)
        return
    told = refusal(name, prompt, tmp_path, model)
    assert "cannot carry the calibration 'contextual'" in told
    assert "--drop calibration" in told
    found = files_of(exported(name, prompt, tmp_path / "out", model, drop=["calibration"]))
    assert any("calibration" in text.partition("left_out")[2] for text in found.values())


@formats
def test_several_words_a_label(name: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models(SUITS[name][0])
    words = {"negative": ["bad", "dull"], "positive": ["great"]}
    prompt = prompt_for(model, LINE, words)
    if name not in CALIBRATED:
        exported(name, prompt, tmp_path / "out", model)
        return
    told = refusal(name, prompt, tmp_path, model)
    assert "several words for the label 'negative'" in told
    assert "--drop words" in told
    found = files_of(exported(name, prompt, tmp_path / "out", model, drop=["words"]))
    assert any("words" in text.partition("left_out")[2] for text in found.values())


@pytest.mark.parametrize("name", ["chat", "dspy", "promptsource", "promptfoo"])
def test_triggers_stay_with_their_model(name: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models("gpt2")
    prompt = prompt_for(model, "{text} {trigger:2} It was {mask}", triggers=[[300, 301]])
    told = refusal(name, prompt, tmp_path, model)
    assert "cannot carry trigger tokens: they are ids of one model's tokenizer" in told


@pytest.mark.parametrize(("name", "family"), [("lm-eval", "gpt2"), ("lm-bff", "bert")])
def test_triggers_that_no_text_gives(
    name: str, family: str, family_models: Models, tmp_path: Path
) -> None:
    model = family_models(family)
    # Letters that their tokenizer joins, or the end of a word where a word begins.
    tokens = [model.encoder.text_ids(letter)[-1] for letter in "good"]
    if family == "bert":
        tokens = [model.encoder.text_ids("storyb")[-1]] * 4
    prompt = prompt_for(model, "{text} {trigger:4} It was {mask}", triggers=[tokens])
    assert prompt.tokens.ids_only
    assert "its text alone is tokenized to others" in refusal(name, prompt, tmp_path, model)


@pytest.mark.parametrize("name", ["lm-eval", "openprompt", "promptsource", "lm-bff", "peft"])
def test_a_chat(name: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models("qwen2")
    prompt = prompt_for(model, CHAT)
    if name in ("openprompt", "lm-bff"):
        prompt = replace(prompt, model=replace(prompt.model, family="masked"))
    assert "cannot carry a chat" in refusal(name, prompt, tmp_path, model)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("lm-eval", "bert"),
        ("trl", "bert"),
        ("trl", "t5"),
        ("dspy", "bert"),
        ("openprompt", "gpt2"),
        ("promptsource", "t5"),
        ("promptfoo", "bert"),
        ("lm-bff", "gpt2"),
    ],
)
def test_another_family(name: str, family: str, family_models: Models, tmp_path: Path) -> None:
    model = family_models(family)
    told = refusal(name, prompt_for(model), tmp_path, model)
    assert f"cannot carry a prompt for a {model.identity.family} language model" in told


@pytest.mark.parametrize(
    ("name", "family", "template", "said"),
    [
        ("lm-eval", "gpt2", "{text}{mask}", "a text of digits alone"),
        ("lm-eval", "bart", "{text} It was {mask}", "its decoder reads the text anew"),
        ("peft", "bert", "{text} It was {mask}.", "begins with the text"),
        ("peft", "bert", "{mask} film: {text}", "begins with the word"),
        ("peft", "bert", "A {mask} film: {text}", "begins with the word"),
        ("peft", "bart", "A film: {text} {mask}", "its decoder reads the prompt's words too"),
        ("chat", "bert", "{mask} film: {text}", "wants the answer last"),
        ("openprompt", "bert", "{{x}} {text} {mask}", "a brace in the template's words"),
        ("openprompt", "bert", "{text}\nIt was {mask}", "a line break"),
        ("openprompt", "bert", "{text}  It was {mask}", "two spaces in a row"),
        ("lm-bff", "bert", "{text} * {mask}", "a '*' or '_' in the template's words"),
        ("lm-bff", "bert", "{text}\nIt was {mask}", "a line break or tab"),
        ("promptsource", "gpt2", "{text} ||| {mask}", "it parts input and target"),
        ("promptsource", "gpt2", "{text}\n{mask}", "it strips the text"),
    ],
)
def test_what_a_grammar_has_no_place_for(
    name: str, family: str, template: str, said: str, family_models: Models, tmp_path: Path
) -> None:
    model = family_models(family)
    assert said in refusal(name, prompt_for(model, template), tmp_path, model)


@pytest.mark.parametrize(("name", "family"), [("openprompt", "bert"), ("lm-bff", "bert")])
def test_words_of_several_tokens(
    name: str, family: str, family_models: Models, tmp_path: Path
) -> None:
    model = family_models(family)
    words = {"negative": ["very bad"], "positive": ["great"]}
    assert "label words of several tokens" in refusal(
        name, prompt_for(model, LINE, words), tmp_path, model
    )


def test_words_of_different_lengths(family_models: Models, tmp_path: Path) -> None:
    model = family_models("gpt2")
    words = {"negative": ["very bad"], "positive": ["great"]}
    told = refusal("lm-eval", prompt_for(model, LINE, words), tmp_path, model)
    assert "label words of different numbers of tokens" in told
    words = {"negative": ["very bad"], "positive": ["very great"]}
    exported("lm-eval", prompt_for(model, LINE, words), tmp_path / "out", model)


def test_an_unknown_piece_to_leave_out(family_models: Models, tmp_path: Path) -> None:
    prompt = prompt_for(family_models("bert"))
    with pytest.raises(UnknownNameError, match="valid: calibration, words"):
        material_of(tmp_path, prompt, tmp_path / "out", ["wrods"])


# -- the place --------------------------------------------------------------------------------


def test_the_place(family_models: Models, tmp_path: Path) -> None:
    folder, file = format_of("trl"), format_of("json")
    check_place(tmp_path / "new", folder, force=False)
    (tmp_path / "file").write_text("")
    for place, chosen, force, said in (
        (tmp_path / "no" / "new", file, True, "is no directory; make it first"),
        (tmp_path / "file", folder, True, "writes a directory"),
        (tmp_path, file, True, "writes a file"),
        (tmp_path, folder, False, "exists; pass --force"),
        (tmp_path / "file", file, False, "exists; pass --force"),
    ):
        with pytest.raises(InputError, match=said):
            check_place(place, chosen, force)
    check_place(tmp_path, folder, force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written(family_models: Models, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write"):
        exported("trl", prompt_for(family_models("gpt2"), LINE), tmp_path / "out")


def test_force_replaces_file_by_file(family_models: Models, tmp_path: Path) -> None:
    model = family_models("gpt2")
    place = exported("trl", prompt_for(model, LINE), tmp_path / "out")
    (place / "own.txt").write_text("mine")
    exported("trl", prompt_for(model, LINE, WORDS), place, examples=EXAMPLES[:1])
    assert len((place / "train.jsonl").read_text().splitlines()) == 1
    assert (place / "own.txt").read_text() == "mine"
