"""A causal model searches, ships and predicts as a masked one does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
import transformers
from command_line import autoprompt
from run_files import trials

import autoprompt as ap
from autoprompt.errors import (
    InputError,
    ModelError,
    PromptError,
    TemplateError,
    VerbalizerError,
)
from autoprompt.models.transformer import TransformerModel
from autoprompt.progress import Observer

SPACE = """
name: left to right
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "film : {text} . answer : {mask}"
    verbalizer: {neg: [bad, awful], pos: [good, fine]}
templates:
  patterns: ["{text} {stem} {mask}{end}"]
  slots: {stem: ["it was", "this is"], end: [" .", "!", ""]}
label_words:
  per_label: [1, 2]
  candidates: {neg: [boring, dull, unspeakably], pos: [funny, warm]}
  search: true
demonstrations: {per_label: [0, 1]}
calibration: [none, contextual, batch]
"""
Models = Callable[[str], TransformerModel]


class Notes(Observer):
    """Keeps what a search says."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


def search(task: Path, model: TransformerModel, space: str, **options: object) -> ap.SearchResult:
    return ap.search(
        ap.Task.load(task),
        ap.SearchSpace.parse(space, "space.yaml"),
        model,
        budget=ap.Budget(trials=6),
        seed=3,
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("family", tiny_models.CAUSAL)
def test_a_search_finds_a_prompt_that_predicts_as_it_was_scored(
    task: Path, family_models: Models, tmp_path: Path, family: str
) -> None:
    model, notes = family_models(family), Notes()
    result = search(task, model, SPACE, out=tmp_path / "run", observer=notes)
    assert result.prompts == 6
    assert not [note for note in notes.heard if "failed" in note]
    assert any("left out: unspeakably" in note for note in notes.heard)
    best = ap.Prompt.load(tmp_path / "run" / "best.json")
    assert best.model is not None
    assert best.model.family == "causal"
    assert best.tokens is not None
    assert not best.tokens.ids_only
    scored = ap.Predictor(best, model).score(ap.Task.load(task).splits["test"])
    assert scored.metric("accuracy") == pytest.approx(best.scores["test"]["accuracy"]["value"])


def test_the_same_seed_gives_the_same_run(task: Path, family_models: Models) -> None:
    first, second = (search(task, family_models("gpt2"), SPACE) for _ in range(2))
    assert first.best.digest == second.best.digest
    assert first.best.scores == second.best.scores


LONG_WORDS = """
name: words of two tokens
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [very bad], pos: [very good]}
triggers: {max_tokens: 2, positions: [own_words]}
calibration: [none, contextual]
"""


def test_words_of_two_tokens_from_search_to_prediction(
    task: Path, model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text(LONG_WORDS, encoding="utf-8")
    out = tmp_path / "run"
    given = ["--task", task, "--space", tmp_path / "space.yaml", "--model", model_directory("gpt2")]
    done = autoprompt("search", *given, "--out", out, "--trials", 4, "--seed", 3)
    assert done.code == 0, done.err
    rows = trials(out)
    assert {row["state"] for row in rows} <= {"scored", "dropped"}
    assert any("trigger:2" in row["template"] for row in rows)
    best = ap.Prompt.load(out / "best.json")
    assert best.tokens is not None
    assert {word: len(ids) for word, ids in best.tokens.words.items()} == {
        "very bad": 2,
        "very good": 2,
    }
    scored = autoprompt("score", out / "best.json", "--data", task / "test.jsonl", "--json")
    assert scored.code == 0, scored.err
    found = json.loads(scored.out)
    assert found["measures"]["accuracy"] == found["recorded"]["accuracy"]


SIDEWAYS = [  # words or a field after the mask, in a seed prompt and in a pattern
    ("{text} it was {mask} .", "{mask} : {text}"),
    ("{text} {stem} {mask}{end}", "{stem} {mask}{end} {text}"),
]


@pytest.mark.parametrize(("old", "new"), SIDEWAYS)
def test_what_a_causal_model_cannot_read_is_left_out(
    task: Path, family_models: Models, old: str, new: str
) -> None:
    notes = Notes()
    result = search(task, family_models("llama"), SPACE.replace(old, new, 1), observer=notes)
    note = next(note for note in notes.heard if "which this model cannot read" in note)
    assert note.startswith("1 seed prompts, patterns and options of the space are left out")
    assert "never sees: it reads left to right" in note
    assert all(prompt.template.text.rstrip(" .!").endswith("{mask}") for prompt in result.seeds)


@pytest.mark.parametrize(
    ("replaced", "error", "message"),
    [
        (
            [SIDEWAYS[0], ("film : {text} . answer : {mask}", "{mask} . {text}")],
            TemplateError,
            r"put \{mask\} last",
        ),
        (
            [("it was {mask}", "it was gre{mask}"), ("[great]", "[at]")],
            VerbalizerError,
            r"seed prompt 1: the word 'at' melts .*put a space before \{mask\}",
        ),
    ],
)
def test_seeds_that_a_causal_model_cannot_read_are_refused_before_anything_is_written(
    task: Path,
    family_models: Models,
    tmp_path: Path,
    replaced: list[tuple[str, str]],
    error: type[Exception],
    message: str,
) -> None:
    space = SPACE
    for old, new in replaced:
        space = space.replace(old, new, 1)
    with pytest.raises(error, match=message):
        search(task, family_models("llama"), space, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_that_a_causal_model_cannot_read_are_left_out(
    task: Path, family_models: Models
) -> None:
    space = SPACE.replace('end: [" .", "!", ""]', 'end: [" film .", " .", " , no", "!", ""]')
    notes = Notes()
    result = search(task, family_models("llama"), space, observer=notes)
    assert result.prompts == 6
    assert not [note for note in notes.heard if "failed" in note]
    note = next(note for note in notes.heard if "which this model cannot read" in note)
    assert note.startswith("2 seed prompts, patterns and options")


# -- chats and instructions -------------------------------------------------------------------

INSTRUCTIONS = """
instructions:
  seeds:
    - template: "{user:}good ? {text}{assistant:}{mask}"
      verbalizer: {neg: [bad], pos: [good]}
  patterns: ["{who}{user:}{task} {text}{assistant:}{stem} {mask}"]
  slots:
    who: ["", "{system:}a film"]
    task: ["what is it ?", "good or bad ?"]
"""
SHORT = "demonstrations: {per_label: [0, 1]}\n"  # chats leave no room for them in the tiny models
CHAT_SPACE = SPACE.replace(SHORT, "") + INSTRUCTIONS
ALL_CHATS = CHAT_SPACE.replace("{text} it was", "{user:}so {text}{assistant:}it was").replace(
    "film : {text} . answer", "{user:}{text}{assistant:}answer"
)
REFUSES_SYSTEM = "{{ raise_exception('no system') if messages[0].role == 'system' }}"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_search_over_chats_ships_what_it_scored(
    task: Path, family_models: Models, tmp_path: Path, family: str
) -> None:
    """With a chat template and, as plain text, without one."""
    model, notes = family_models(family), Notes()
    result = search(task, model, ALL_CHATS, out=tmp_path / "run", observer=notes)
    assert result.prompts == 6
    assert not [note for note in notes.heard if "failed" in note]
    told = [note for note in notes.heard if "no chat template" in note]
    if family == "gpt2":
        assert told[0].startswith("4 seed prompts and patterns are chats, and the model's")
    else:
        assert not told
    best = ap.Prompt.load(tmp_path / "run" / "best.json")
    assert best.tokens is not None
    assert not best.tokens.ids_only
    scored = ap.Predictor(best, model).score(ap.Task.load(task).splits["test"])
    assert scored.metric("accuracy") == pytest.approx(best.scores["test"]["accuracy"]["value"])


def test_a_masked_search_is_the_same_with_instructions_and_without(
    task: Path, family_models: Models
) -> None:
    runs = []
    for space in (CHAT_SPACE, CHAT_SPACE.replace(INSTRUCTIONS, "")):
        notes = Notes()
        result = search(task, family_models("bert"), space, observer=notes)
        runs.append((result.best.to_dict(), result.ledger.forwards, notes.heard))
    assert runs[0] == runs[1]


def test_a_chat_prompt_is_refused_by_another_chat_template(
    task: Path, family_models: Models, model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    result = search(task, family_models("llama"), CHAT_SPACE, out=tmp_path / "run")
    copy = shutil.copytree(model_directory("llama"), tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(copy)
    tokenizer.chat_template = tiny_models.LLAMA_CHAT.replace("trim", "upper")
    tokenizer.save_pretrained(copy)
    with pytest.raises(PromptError, match="another tokenizer"):
        ap.Predictor(result.best, ap.load_model(str(copy)))


def test_system_messages_are_left_out_where_the_chat_template_knows_none(
    task: Path, model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(model_directory("llama"), tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(copy)
    tokenizer.chat_template = REFUSES_SYSTEM + tiny_models.LLAMA_CHAT
    tokenizer.save_pretrained(copy)
    notes = Notes()
    search(task, ap.load_model(str(copy)), CHAT_SPACE, observer=notes)
    assert not [note for note in notes.heard if "failed" in note]
    note = next(note for note in notes.heard if "which this model cannot read" in note)
    assert note.startswith("1 seed prompts, patterns and options")
    assert "refuses it (no system)" in note


def test_a_space_may_demand_a_chat_template(
    task: Path, family_models: Models, tmp_path: Path
) -> None:
    space = CHAT_SPACE + "chat: required\n"
    assert search(task, family_models("llama"), space).prompts == 6
    message = r"demands a chat template \(`chat: required`\).* has none; take a model"
    with pytest.raises(ModelError, match=message):
        search(task, family_models("gpt2"), space, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_templates_by_the_model_need_a_model_that_fills_masks(
    task: Path, family_models: Models, tmp_path: Path
) -> None:
    space = SPACE.replace("templates:", "templates:\n  generated: 5", 1)
    with pytest.raises(ModelError, match="cannot fill masks in a template; name a T5"):
        search(task, family_models("gpt2"), space, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_trigger_tokens_behind_the_mask_are_refused_at_once(
    task: Path, family_models: Models, tmp_path: Path
) -> None:
    space = SPACE + "triggers: {positions: [suffix]}\n"
    with pytest.raises(InputError):
        search(task, family_models("gpt2"), space, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
