"""Refusals of a search that refines: one line, exit code 2, nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, autoprompt

from autoprompt import preparation
from autoprompt.searching import words
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.words import Words

SPACE = """
name: refined
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
"""
TRIGGERS = "triggers: {max_tokens: 2}\n"
VOCABULARY = "label_words: {vocabulary: 50}\n"


@pytest.fixture
def search(task: Path, model: Path, tmp_path: Path) -> Callable[..., Ended]:
    """Runs a search with a space's text; what is given later wins."""

    def run(space: str, *more: object) -> Ended:
        (tmp_path / "space.yaml").write_text(space, encoding="utf-8")
        given = ["--task", task, "--space", tmp_path / "space.yaml", "--model", model]
        return autoprompt("search", *given, "--out", tmp_path / "run", "--trials", 3, *more)

    return run


def message(done: Ended, out: Path) -> str:
    """The one line that a refusal is."""
    assert (done.code, done.out) == (2, ""), done
    assert not out.exists()
    (line,) = [line for line in done.err.splitlines() if not line.startswith("Task ")]
    return line


@pytest.mark.parametrize(
    "space", [SPACE + TRIGGERS, SPACE.replace("it was {mask}", "{trigger:2} {mask}")]
)
def test_triggers_for_a_model_without_embeddings(
    search: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    original = preparation.words_to_score

    def hiding(table: CandidateTable, model: Any, examples: Any) -> Words:
        model.module.get_input_embeddings = lambda: None  # loading itself asks for them
        return original(table, model, examples)

    monkeypatch.setattr(preparation, "words_to_score", hiding)
    found = message(search(space), tmp_path / "run")
    assert "gives no access to its input embeddings" in found
    assert "take the triggers out of the search space, or choose another model" in found


def test_a_vocabulary_that_has_no_usable_words(
    search: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "whole_words", lambda _: {"Text": 7})
    found = message(search(SPACE + VOCABULARY), tmp_path / "run")
    assert "no whole words that could stand for labels" in found
    assert "leave label_words.vocabulary out" in found


def test_words_are_not_fitted_on_a_single_example(
    search: Callable[..., Ended], rows: list[dict[str, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    positive = [row for row in rows if row["label"] == "pos"]
    negative = [row for row in rows if row["label"] == "neg"]
    splits = {
        "train": [positive[0], *negative[:6]],
        "dev": [*positive[1:9], *negative[6:14]],
        "test": [*positive[9:17], *negative[14:22]],
    }
    for name, part in splits.items():
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    found = message(search(SPACE + VOCABULARY, "--task", folder), tmp_path / "run")
    assert "label 'pos' has 1 of them; give 2 at least" in found
    assert search(SPACE, "--task", folder).code == 0  # nothing is fitted
