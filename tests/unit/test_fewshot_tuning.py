"""The table of prompting against tuning in experiments/fewshot, and its ways without a prompt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuning_material import examples

from autoprompt.tasks.task import Task
from experiments.fewshot import baselines, tuning
from experiments.fewshot.tuning_report import write


@pytest.fixture
def task() -> Task:
    rows = examples(96)
    return Task("tiny", ("text",), ("neg", "pos"), "accuracy", rows[:32], rows[32:64], rows[:2])


@pytest.mark.parametrize("name", baselines.BASELINES)
def test_a_baseline_learns_from_train_and_dev(
    name: str,
    task: Task,
    model_directory: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "STEPS", 20)
    monkeypatch.setattr(baselines, "ITERATIONS", 1)
    truth = examples(96)[64:]
    found = baselines.BASELINES[name](task, truth, str(model_directory("bert")), 3)
    assert len(found.predictions) == len(truth)
    assert set(found.predictions) <= set(task.labels)
    assert found.bytes_to_ship == 4 * found.parameters > 0
    if name.startswith("TF-IDF"):
        right = sum(a == b.label for a, b in zip(found.predictions, truth, strict=True))
        assert right / len(truth) > 0.8


def row(name: str, draw: int, accuracy: float, task: str = "rte", **more: Any) -> dict[str, Any]:
    numbers = ("parameters", "seconds", "peak memory", "bytes", "examples")
    given = {"task": task, "row": name, "draw": draw, "n": 9, "accuracy": accuracy}
    return {**given, **dict.fromkeys(numbers, 7), "knowledge": None, **more}


def test_the_report_compares_with_the_default(tmp_path: Path) -> None:
    rows = [row(tuning.DEFAULT, draw, 0.5) for draw in (1, 2, 3)]
    rows += [row(tuning.EXPERT, draw, 0.3 + 0.01 * draw) for draw in (1, 2, 3)]
    rows.append(row(tuning.SEARCHED, 1, 0.4))
    write(rows, "dev", tmp_path)
    text = (tmp_path / "TUNING.md").read_text()
    assert f"left out: {tuning.SEARCHED}; full, expert prompt; " in text
    assert f"| {tuning.SEARCHED} |" not in text
    assert "**Not finished: without " in text
    assert "defaults of\n`autoprompt tune`, stop" in text
    assert f"| {tuning.EXPERT} | 0.320 ± 0.010 | 0.320 |" in text
    assert f"| {tuning.EXPERT} | -0.180 | [-0.205, -0.155] |" in text
    assert json.loads((tmp_path / "tuning.json").read_text())[0]["row"] == tuning.EXPERT


def test_a_report_of_one_draw_compares_nothing(tmp_path: Path) -> None:
    more = {"forwards": 900, "changes": {"steps": 4}}
    write([row(name, 1, 0.5, **more) for name in tuning.ROWS], "dev", tmp_path)
    text = (tmp_path / "TUNING.md").read_text()
    assert "of 900 forwards" in text
    assert "`autoprompt tune` but for steps 4, stop" in text
    assert text.endswith("|---|---|---|---|---|\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "full, exprt prompt"], "invalid choice"),
        (["--set", "steps=9"], "another --forwards or --set"),
        (["--forwards", "9"], "another --forwards or --set"),
    ],
)
def test_rows_that_would_mislead_are_refused(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = json.dumps(row(tuning.DEFAULT, 1, 0.5))
    (tmp_path / "tuning-dev.jsonl").write_text(kept + "\n")
    given = ["--datasets", ".", "--model", "m", "--work", str(tmp_path), "--phase", "dev"]
    monkeypatch.setattr("sys.argv", ["tuning", *given, *options])
    with pytest.raises(SystemExit):
        tuning.main()
    assert message in capsys.readouterr().err
