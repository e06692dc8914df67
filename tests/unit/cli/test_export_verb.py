"""`autoprompt export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import autoprompt
from export_prompts import prompt_for

from autoprompt.models.transformer import TransformerModel
from autoprompt.prompts import Prompt

ROWS = [{"text": "a good film", "label": "positive"}, {"text": "dull", "label": "negative"}]


@pytest.fixture
def saved(family_models: Callable[[str], TransformerModel], tmp_path: Path) -> Path:
    prompt = prompt_for(family_models("gpt2"), calibrated=True)
    prompt.save(tmp_path / "best.json")
    return tmp_path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_a_prompt_file(saved: Path) -> None:
    out = saved / "out.json"
    done = autoprompt("export", saved / "best.json", "--format", "json", "--out", out)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"Wrote {out}\n"
    assert Prompt.load(out) == Prompt.load(saved / "best.json")


def test_a_run_directory_with_a_model(saved: Path) -> None:
    out = saved / "prompt.py"
    done = autoprompt("export", saved, "--format", "transformers", "--out", out, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["files"] == [str(out)]
    assert "PROMPT: dict[str, Any] = {'model'" in out.read_text(encoding="utf-8")


def test_examples_of_a_file(saved: Path, data: Path) -> None:
    out = saved / "rows"
    done = autoprompt("export", saved, "--format", "trl", "--out", out, "--data", data)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert rows[0] == {"prompt": "a good film It was", "completion": " great"}


def test_the_run_s_own_examples(saved: Path) -> None:
    command = ("export", saved, "--format", "chat", "--out", saved / "rows")
    done = autoprompt(*command)
    assert done.code == 2
    assert "holds labelled examples" in done.err
    assert "name a file with --data" in done.err
    (saved / "splits").mkdir()
    for name in ("train", "dev", "test"):
        row = {"text": f"a {name} text", "label": "positive"}
        (saved / "splits" / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    assert autoprompt(*command).code == 0
    (line,) = (saved / "rows" / "train.jsonl").read_text().splitlines()
    assert "a train text" in line
    done = autoprompt(
        "export", saved, "--format", "lm-eval", "--out", saved / "task", "--drop", "calibration"
    )
    assert done.code == 0, done.err
    assert "a dev text" in (saved / "task" / "test.jsonl").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--format", "lm_eval"], "unknown format 'lm_eval'; did you mean 'lm-eval'?"),
        (["--format", "lm-eval"], "cannot carry the calibration 'contextual'"),
        (["--format", "lm-eval", "--drop", "all"], "unknown piece to leave out 'all'"),
        (["--format", "openprompt"], "cannot carry a prompt for a causal language model"),
        (["--format", "trl", "--data", "none.jsonl"], "cannot read"),
    ],
)
def test_refusals_write_nothing(saved: Path, more: list[str], said: str) -> None:
    done = autoprompt("export", saved, "--out", saved / "out", *more)
    assert done.code == 2
    assert said in done.err
    assert [path.name for path in saved.iterdir()] == ["best.json"]


def test_labels_that_the_prompt_does_not_know(saved: Path, data: Path) -> None:
    data.write_text('{"text": "a", "label": "mixed"}\n')
    out = saved / "out"
    done = autoprompt("export", saved, "--format", "trl", "--out", out, "--data", data)
    assert done.code == 2
    assert "labels that the prompt does not know: mixed" in done.err
    assert not out.exists()


def test_what_exists_is_kept(saved: Path) -> None:
    out = saved / "out.json"
    out.write_text("mine")
    command = ("export", saved, "--format", "json", "--out", out)
    done = autoprompt(*command)
    assert (done.code, out.read_text()) == (2, "mine")
    assert "pass --force" in done.err
    assert autoprompt(*command, "--force").code == 0
    assert Prompt.load(out)
