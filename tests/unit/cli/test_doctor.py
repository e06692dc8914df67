"""`autoprompt doctor`."""

from __future__ import annotations

import pytest
from command_line import autoprompt

from autoprompt.cli import doctor
from autoprompt.errors import ModelError


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_model", lambda: "a model predicts")


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
    assert "predicts" in doctor._model()


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
