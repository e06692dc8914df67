"""`autoprompt run`: search, export and report in one go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ended, autoprompt, environment

from autoprompt.cli.run import run as verb
from autoprompt.cli.search import search as search_verb

Arguments = Callable[..., list[str]]


@pytest.fixture(scope="module")
def done(arguments: Arguments, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    out = tmp_path_factory.mktemp("whole") / "run"
    _, *given = arguments(out, "--export", "transformers", "--export", "json", trials=4)
    return out, autoprompt("run", *given)


def test_all_is_there(done: tuple[Path, Ended]) -> None:
    out, ended = done
    assert ended.code == 0, ended.err
    assert "Verdict:" in ended.out
    assert sorted(path.name for path in (out / "exports").iterdir()) == [
        "prompt_json.json",
        "prompt_transformers.py",
    ]
    assert "Only the group of people exchanged" in (out / "report.html").read_text()
    assert f"Report: {out}/report.html" in ended.err
    assert "Verdict:" in ended.out
    assert (out / "tuned" / "prompt.json").is_file()


def test_the_export_runs(done: tuple[Path, Ended]) -> None:
    out, _ = done
    found = subprocess.run(
        [sys.executable, out / "exports" / "prompt_transformers.py", "--check", "a good film"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1])["label"] in ("neg", "pos")


def test_it_goes_on_where_it_stopped(done: tuple[Path, Ended], arguments: Arguments) -> None:
    out, _ = done
    _, *given = arguments(out, "--export", "json", "--resume", "--json", trials=4)
    ended = autoprompt("run", *given)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["trials"] >= 4  # one JSON document, and nothing else


def test_what_cannot_be_carried_is_an_error_after_the_rest(
    arguments: Arguments, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    _, *given = arguments(out, "--export", "trl", "--export", "json", trials=2)
    ended = autoprompt("run", *given)
    assert ended.code == 2
    assert "Not exported: format 'trl' cannot carry a prompt for a masked" in ended.err
    assert (out / "exports" / "prompt_json.json").is_file()
    assert (out / "report.html").is_file()


def test_an_unknown_format_is_told_before_the_search(arguments: Arguments, tmp_path: Path) -> None:
    _, *given = arguments(tmp_path / "run", "--export", "transformer")
    ended = autoprompt("run", *given)
    assert ended.code == 2
    assert "did you mean 'transformers'" in ended.err
    assert not (tmp_path / "run").exists()


def test_its_options_are_those_of_search() -> None:
    names = {option.name for option in verb.params}
    assert names == {*(option.name for option in search_verb.params), "formats", "method"}
