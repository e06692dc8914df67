"""The notebooks run from top to bottom."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "experiments" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cell by cell in one namespace, as a kernel does."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, object] = {"__name__": "__main__"}
    printed = io.StringIO()
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells
    for number, cell in enumerate(cells, start=1):
        assert cell["outputs"] == [], "clear the outputs before you commit"
        with contextlib.redirect_stdout(printed):
            exec(
                compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec"), names
            )
    assert "on test" in printed.getvalue()  # the verdict
    (run,) = tmp_path.glob("*/run")
    assert (run / "report.html").is_file()
    assert (run.parent / "prompt.py").is_file()


def test_there_is_one() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first_search"]
