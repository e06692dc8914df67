"""A T5 or a BART searches, ships and predicts as a masked model does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
from command_line import autoprompt
from run_files import trials

import autoprompt as ap
from autoprompt.errors import ModelError

SPACE = """
name: both sides
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} , all in all"
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [very bad, awful], pos: [very good, fine]}
templates:
  patterns: ["{stem} {mask} {text}"]
  slots: {stem: ["a", "my"]}
label_words:
  candidates: {neg: [boring, dull], pos: [funny, warm]}
  search: true
triggers: {max_tokens: 2, positions: [own_words, suffix]}
calibration: [none, contextual, batch]
"""


@pytest.mark.parametrize("family", tiny_models.SEQ2SEQ)
def test_from_search_to_prediction(
    task: Path, model_directory: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    out, model = tmp_path / "run", model_directory(family)
    given = ["--task", task, "--space", tmp_path / "space.yaml", "--model", model]
    done = autoprompt("search", *given, "--out", out, "--trials", 8, "--seed", 3)
    assert done.code == 0, done.err
    assert "never sees" not in done.err
    rows = trials(out)
    assert not [row for row in rows if row["state"] == "failed"]
    assert any("trigger" in row["template"] for row in rows)
    best = ap.Prompt.load(out / "best.json")
    assert best.model is not None
    assert best.model.family == "seq2seq"
    assert best.tokens is not None
    for prompt in (out / "prompts").iterdir():
        words = ap.Prompt.load(prompt).tokens.words  # type: ignore[union-attr]
        assert all(len(ids) == len(word.split()) for word, ids in words.items())
    scored = autoprompt("score", out / "best.json", "--data", task / "test.jsonl", "--json")
    assert scored.code == 0, scored.err
    found = json.loads(scored.out)
    assert found["measures"]["accuracy"] == found["recorded"]["accuracy"]
    texts = autoprompt("predict", out / "best.json", "--data", "-", stdin=b"a great film\n")
    assert texts.code == 0, texts.err


def generating(space: str) -> str:
    return space.replace("templates:", "templates:\n  generated: 3", 1)


@pytest.mark.slow
def test_a_t5_writes_templates_of_its_own(
    task: Path, model_directory: Callable[[str], Path], tmp_path: Path
) -> None:
    result = ap.search(
        ap.Task.load(task),
        ap.SearchSpace.parse(generating(SPACE), "space.yaml"),
        ap.load_model(str(model_directory("t5"))),
        out=tmp_path / "run",
        budget=ap.Budget(trials=8),
        seed=3,
    )
    assert result.prompts == 8
    written = json.loads((tmp_path / "run" / "config.json").read_text())["generator"]
    assert written == str(model_directory("t5"))


def test_a_bart_cannot(task: Path, model_directory: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=r"a seq2seq model, cannot fill masks.*name a T5"):
        ap.search(
            ap.Task.load(task),
            ap.SearchSpace.parse(generating(SPACE), "space.yaml"),
            ap.load_model(str(model_directory("bart"))),
            budget=ap.Budget(trials=8),
        )
