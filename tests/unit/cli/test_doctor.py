"""`autoprompt doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import autoprompt

from autoprompt.cli import doctor
from autoprompt.errors import ModelError
from autoprompt.models import embedded


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_model", lambda: "a model predicts")
    monkeypatch.setattr(doctor, "_causal_model", lambda: "another predicts")


@pytest.mark.usefixtures("no_model")
def test_it_shows_versions_and_what_is_shipped() -> None:
    done = autoprompt("doctor")
    assert (done.code, done.err) == (0, "")
    shown = {line[:14].strip(): line[15:] for line in done.out.splitlines()}
    assert {*doctor.PACKAGES, "python", "devices"} <= set(shown)
    assert "sentiment" in shown["spaces"]
    assert "sentiment (" in shown["sample tasks"]
    assert done.out.endswith("All is well. Next: autoprompt demo\n")


def test_it_runs_the_embedded_model() -> None:
    assert doctor._model().startswith("embedded predicts")


@pytest.mark.usefixtures("causal_stand_in")
def test_it_runs_the_embedded_causal_model() -> None:
    assert doctor._causal_model().startswith("embedded-causal predicts")


def test_it_tells_of_a_causal_model_that_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(embedded.FOLDERS, embedded.EMBEDDED_CAUSAL, tmp_path)
    assert doctor._causal_model() == "embedded-causal is not part of this installation"


@pytest.mark.usefixtures("no_model")
def test_one_failure_does_not_hide_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ModelError("the embedded model is absent")

    monkeypatch.setattr(doctor, "_spaces", broken)
    done = autoprompt("doctor")
    assert done.code == 1
    assert "spaces         FAILED: the embedded model is absent\n" in done.out
    assert "sample tasks   " in done.out
    assert done.err == "Something is missing: install autoprompt again.\n"
