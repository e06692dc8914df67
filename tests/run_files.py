"""Reading what a run wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MACHINES = ("seconds", "recomputed", "tokens")  # what a clock or an interruption changes


def document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def trials(run: Path) -> list[dict[str, Any]]:
    """The rows of trials.jsonl as they stand."""
    lines = (run / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def reproducible(run: Path) -> dict[str, Any]:
    """All of a run that is the same each time, on one machine."""
    rows = [{**row, "spent": _counts(row["spent"])} for row in trials(run)]
    best = document(run / "best.json")
    return {
        "trials": rows,
        "best": {key: best[key] for key in ("digest", "scores", "splits", "lineage", "tokens")},
        "verdict": document(run / "verdict.json"),
        "ledger": _counts(document(run / "ledger.json")),
        "prompts": sorted(path.name for path in (run / "prompts").iterdir()),
        "scores": sorted(path.name for path in (run / "scores").iterdir()),
    }


def without_scores(run: Path) -> dict[str, Any]:
    """All of a run that is the same each time, but the names of its score files."""
    return {**reproducible(run), "scores": None}


def check_same_scores(run: Path, other: Path) -> None:
    """Assert that the score files of a run, two at least, hold what another's do."""
    paths = list((run / "scores").iterdir())
    assert len(paths) >= 2
    for path in paths:
        with np.load(path) as found, np.load(other / "scores" / path.name) as wanted:
            assert found["examples"] == wanted["examples"]
            np.testing.assert_allclose(
                found["log_probabilities"], wanted["log_probabilities"], atol=1e-5
            )


def _counts(spent: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spent.items() if key not in MACHINES}


def stop_after(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int, error: BaseException
) -> None:
    """Let a function do its work, and raise after the call of this number."""
    original = getattr(owner, name)
    calls = 0

    def stopping(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        result = original(*arguments, **options)
        calls += 1
        if calls == call:
            raise error
        return result

    monkeypatch.setattr(owner, name, stopping)
