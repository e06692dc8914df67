"""A second search with what a person said of the first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ended
from run_files import document, trials

BANNED = "{text} it was {mask} ."
FEEDBACK = """
seeds:
  - template: "{text} this is {mask} !"
    verbalizer: {neg: [poor], pos: [nice]}
bans:
  templates: ["{text} it was {mask} ."]
  words: [dull]
labels:
  - fields: {text: "%s"}
    label: pos
"""


@pytest.fixture(scope="module")
def run(search: Callable[..., Ended], task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feedback")
    lines = (task / "train.jsonl").read_text(encoding="utf-8").splitlines()
    wrong = next(row for row in map(json.loads, lines) if row["label"] == "neg")
    (folder / "feedback.yaml").write_text(FEEDBACK % wrong["text"], encoding="utf-8")
    done = search(folder / "run", "--feedback", folder / "feedback.yaml", trials=20)
    assert done.code == 0, done.err
    assert "Feedback: 1 seed prompts, 1 banned templates, 1 banned words, 1 of 1" in done.err
    (folder / "text").write_text(wrong["text"], encoding="utf-8")
    return folder / "run"


def test_the_accepted_prompt_is_the_first_seed(run: Path) -> None:
    first = trials(run)[0]
    assert first["template"] == "{text} this is {mask} !"
    assert first["verbalizer"] == {"neg": ["poor"], "pos": ["nice"]}


def test_nothing_banned_is_scored(run: Path) -> None:
    scored = [row for row in trials(run) if row["state"] != "failed"]
    assert BANNED not in {row["template"] for row in scored}
    used = {word for row in scored for group in row["verbalizer"].values() for word in group}
    assert "dull" not in used
    banned = [row for row in trials(run) if "banned" in row.get("reason", "")]
    assert all(row["spent"]["forwards"] == 0 for row in banned)


def test_the_label_is_corrected_on_the_selection_data(run: Path) -> None:
    text = (run.parent / "text").read_text(encoding="utf-8")
    lines = (run / "selection.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    (row,) = [row for row in rows if row["fields"]["text"] == text]
    assert (row["label"], row["split"]) == ("pos", "train")


def test_a_search_writes_its_report(run: Path) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert document(run / "verdict.json")["winner_prompt"] in page
    assert "--feedback" in page  # the command


def test_a_bad_file_is_told_before_a_model_is_loaded(
    search: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "feedback.yaml").write_text("bans: {words: [terrible, good]}")
    done = search(tmp_path / "run", "--feedback", tmp_path / "feedback.yaml")
    assert done.code == 2
    assert "bans every seed prompt" in done.err
    assert not (tmp_path / "run").exists()
