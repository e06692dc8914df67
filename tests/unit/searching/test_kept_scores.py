"""Per-example scores come back bit by bit, from the directory or from the study."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprompt.objective import Scored
from autoprompt.runs import RunDirectory
from autoprompt.searching import kept_scores
from autoprompt.searching.kept_scores import KeptScores, packed, unpacked
from autoprompt.searching.records import LONGEST, SCORES, in_parts, joined

SCORED = Scored(np.log(np.array([[0.1 + 0.2, 0.7], [0.5, 0.5]])), np.array([0, 1]))


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    found = RunDirectory(tmp_path / "run")
    found.scores.mkdir(parents=True)
    return found


def test_scores_in_the_directory_stay_there(run: RunDirectory) -> None:
    kept = KeptScores(run, "examples", shared=False)
    assert kept.keep("abc", SCORED) == {}
    found = KeptScores(run, "examples", shared=False).read("abc")
    np.testing.assert_array_equal(found, SCORED.log_probabilities)


def test_scores_of_another_host_come_by_the_study(run: RunDirectory) -> None:
    attributes = KeptScores(None, "examples", shared=True).keep("abc", SCORED)
    for place in (run, None):
        kept = KeptScores(place, "examples", shared=True)
        assert kept.read("abc") is None
        kept.heard("abc", attributes)
        np.testing.assert_array_equal(kept.read("abc"), SCORED.log_probabilities)
    np.testing.assert_array_equal(run.read_scores("abc"), SCORED.log_probabilities)


def test_a_trial_without_scores_is_no_error(run: RunDirectory) -> None:
    kept = KeptScores(run, "examples", shared=True)
    kept.heard("abc", {})
    assert kept.read("abc") is None


def as_text(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def array(values: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64!",
        None,
        7,
        packed(SCORED.log_probabilities)[:-8],
        as_text(b"no array"),
        as_text(array(np.array([{}, []], dtype=object))),  # pickled
        as_text(array(np.zeros(3))),
        as_text(array(np.zeros((2, 2), dtype=int))),
    ],
)
def test_damaged_scores_are_lost_scores(text: Any) -> None:
    assert unpacked(text) is None


def test_a_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_scores, "MOST_BYTES", 1000)
    assert unpacked(packed(np.zeros((5, 2)))) is not None
    assert unpacked(packed(np.zeros((500, 2)))) is None


@pytest.mark.parametrize("length", [10, LONGEST - 10, LONGEST + 10, 5 * LONGEST])
@pytest.mark.parametrize("character", ["a", '"', "\\", "é", "\U0001f600"])
def test_long_values_go_in_parts_that_any_database_takes(length: int, character: str) -> None:
    import json

    value = {"text": character * length}
    found = in_parts(SCORES, value)
    assert list(found)[-1] == SCORES
    assert all(len(json.dumps(part)) < 65_535 for part in found.values())
    assert joined(found, SCORES) == value


def test_neither_archives_nor_headers_are_believed() -> None:
    archive = io.BytesIO()
    np.savez(archive, a=np.zeros((2, 2)))
    header = io.BytesIO()
    described = {"descr": "<f8", "fortran_order": False, "shape": (10**14, 2)}
    np.lib.format.write_array_header_1_0(header, described)
    for content in (archive.getvalue(), b"PK\x03\x04", header.getvalue() + b"12345678"):
        assert unpacked(base64.b64encode(zlib.compress(content)).decode("ascii")) is None
