"""What comes after a search on a pair task: the same columns again, and an audit."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, autoprompt
from run_files import document

from autoprompt.prompts import Prompt

COLUMNS = ["claim", "reply", "source", "verdict"]
# What the prompts show is not all that the task has.
DESCRIPTION = """
fields: {claim: claim, reply: reply, source: source}
label: verdict
labels: {"0": agrees, "1": differs}
"""
SPACE = """
name: pairs
fields: [claim, reply, source]
labels: [agrees, differs]
seeds:
  - template: "{claim} ? {mask} , {reply}"
    verbalizer: {agrees: [great], differs: [bad]}
"""
Row = dict[str, str]


def written(path: Path, rows: Sequence[Row]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [
        {
            "claim": f"the film {i} was a film",
            "reply": ("very fine", "not a film")[i % 2],
            "source": "a book",
            "verdict": str(i % 2),
        }
        for i in range(48)
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, rows: list[Row], model: Path) -> Path:
    """A run on a file whose columns only its task.yaml tells."""
    place = tmp_path_factory.mktemp("pairs")
    (place / "task.yaml").write_text(DESCRIPTION, encoding="utf-8")
    (place / "space.yaml").write_text(SPACE, encoding="utf-8")
    data = written(place / "pairs.csv", rows)
    arguments = ["--task", data, "--space", place / "space.yaml", "--out", place / "run"]
    done = autoprompt("search", *arguments, "--model", model, "--trials", 1)
    assert done.code == 0, done.err
    return place / "run"


@pytest.fixture
def audited(run: Path, tmp_path: Path) -> Callable[..., Ended]:
    """Audits the best prompt on some rows."""

    def audit(rows: Sequence[Row], prompt: Path | None = None) -> Ended:
        return autoprompt("audit", prompt or run, "--data", written(tmp_path / "rows.csv", rows))

    return audit


def as_in_the_file(row: Row) -> Row:
    """A row of a drawn split with the columns and label values of the first file."""
    values = {"agrees": "0", "differs": "1"}
    return {"claim": row["claim"], "reply": row["reply"], "verdict": values[row["label"]]}


# -- columns ----------------------------------------------------------------------------------


def test_the_columns_of_the_search_need_not_be_named_again(
    run: Path, rows: list[Row], tmp_path: Path
) -> None:
    elsewhere = written(tmp_path / "more.csv", rows)
    score = autoprompt("score", run, "--data", elsewhere, "--json")
    assert score.code == 0, score.err
    assert json.loads(score.out)["measures"]["accuracy"]["n"] == len(rows)
    predict = autoprompt("predict", run / "best.json", "--data", elsewhere)
    assert predict.code == 0, predict.err
    found = [json.loads(line)["claim"] for line in predict.out.splitlines()]
    assert found == [row["claim"] for row in rows]


def test_the_prompt_file_holds_the_columns(run: Path) -> None:
    found: dict[str, Any] = document(run / "best.json")["columns"]
    assert found == {
        "fields": {name: name for name in COLUMNS[:3]},
        "label": "verdict",
        "labels": {"0": "agrees", "1": "differs"},
    }


# -- an audit never reads the test split ------------------------------------------------------


def test_the_whole_test_split_is_refused_in_any_order(run: Path, audited: Any) -> None:
    test = read(run / "splits/test.jsonl")
    done = audited(test[::-1])
    assert (done.code, done.out) == (2, "")
    assert "these examples are the test split" in done.err


@pytest.mark.parametrize("place", ["", "best.json", "prompts"])
def test_a_part_of_the_test_split_is_refused(run: Path, audited: Any, place: str) -> None:
    test, dev = (read(run / f"splits/{name}.jsonl") for name in ("test", "dev"))
    part = [as_in_the_file(row) for row in (*dev[:4], test[2], test[0])]
    prompt = run / place if place != "prompts" else next((run / place).iterdir())
    done = audited(part, prompt)
    assert (done.code, done.out) == (2, "")
    assert f"2 of these 6 examples (the first: '{test[2]['claim']} / " in done.err
    assert len(done.err.splitlines()) == 1


def test_the_dev_split_is_audited(run: Path, audited: Any) -> None:
    for rows in (read(run / "splits/dev.jsonl"), read(run / "splits/train.jsonl")):
        done = audited(rows)
        assert done.code == 0, done.err
        assert "the run that found the prompt is not at hand" not in done.out


def test_a_prompt_that_was_copied_away_knows_the_whole_only(
    run: Path, audited: Any, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.json"
    Prompt.load(run / "best.json").save(copy)
    test = read(run / "splits/test.jsonl")
    assert audited(test, copy).code == 2
    done = audited(test[1:], copy)
    assert done.code == 0, done.err
    assert "Note: the run that found the prompt is not at hand" in done.out
