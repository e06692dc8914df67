"""The command's frame: help, exit codes, and how errors reach the user."""

from __future__ import annotations

import os
import subprocess

import click
import pytest
from command_line import autoprompt, command, environment

from autoprompt import __version__
from autoprompt.cli.main import INTERRUPTED, cli
from autoprompt.errors import InputError, ScoringError, SearchError

VERBS = [
    "demo",
    "init",
    "search",
    "tune",
    "compare",
    "score",
    "predict",
    "audit",
    "spaces",
    "doctor",
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """A verb `fail` that raises what it is given."""

    def add(error: BaseException) -> None:
        @click.command("fail")
        def fail() -> None:
            raise error

        monkeypatch.setitem(cli.commands, "fail", fail)

    return add


def test_the_verbs() -> None:
    assert sorted(cli.commands) == sorted(VERBS)


@pytest.mark.parametrize("verb", [*VERBS, "spaces list", "spaces show", "spaces validate"])
def test_every_verb_has_help(verb: str) -> None:
    done = autoprompt(*verb.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert f"Usage: autoprompt {verb}" in done.out


def test_help_of_the_command_lists_the_verbs() -> None:
    done = autoprompt("-h")
    assert all(f"\n  {verb} " in done.out for verb in VERBS)


def test_the_version() -> None:
    assert autoprompt("--version").out == f"autoprompt, version {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("mend the input"), 2),
        (SearchError("the run failed"), 1),
        (ScoringError("scores are NaN"), 1),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(failing, error: Exception, code: int) -> None:
    failing(error)
    done = autoprompt("fail")
    assert (done.code, done.out, done.err) == (code, "", f"autoprompt: {error}\n")


def test_an_unexpected_error_is_one_line_too(failing) -> None:
    failing(RuntimeError("the first line\nthe second line"))
    done = autoprompt("fail")
    assert done.code == 1
    assert done.err == (
        "autoprompt: RuntimeError: the first line (unexpected; `autoprompt --debug ...` shows "
        "where)\n"
    )


def test_an_unexpected_error_without_a_message(failing) -> None:
    failing(AssertionError())
    assert "AssertionError: no message (unexpected" in autoprompt("fail").err


@pytest.mark.parametrize(("error", "code"), [(InputError("mend it"), 2), (KeyError("lost"), 1)])
def test_debug_shows_a_traceback_and_keeps_the_exit_code(
    failing, error: Exception, code: int
) -> None:
    failing(error)
    done = autoprompt("--debug", "fail")
    assert done.code == code
    assert done.err.startswith("Traceback (most recent call last)")
    assert "raise error" in done.err
    assert done.err.splitlines()[-1].startswith("autoprompt: ")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.exceptions.Abort()])
def test_an_interruption_is_130(failing, error: BaseException) -> None:
    failing(error)
    done = autoprompt("fail")
    assert done.code == 130
    assert done.err.split("\n")[-2:] == [f"autoprompt: {INTERRUPTED}", ""]


@pytest.mark.parametrize("arguments", [["serach"], ["search"], ["search", "--trials", "many"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    done = autoprompt(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Usage:" in done.err
    assert "Error:" in done.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command("spaces", "show", "nli"),
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
    )
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1
