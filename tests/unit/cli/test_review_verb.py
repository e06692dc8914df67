"""`autoprompt review`, driven by what a person would type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import autoprompt
from finished_run import SEED, WINNER, finished_run

from autoprompt.feedback import Feedback
from autoprompt.finished_runs import FinishedRun
from autoprompt.models.transformer import TransformerModel
from autoprompt.review import disputed

Models = Callable[[str], TransformerModel]


@pytest.fixture
def run(family_models: Models, tmp_path: Path) -> Path:
    return finished_run(tmp_path / "run", family_models("bert"), texts=["an \x1b[31mescape"])


def typed(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_accept_then_stop(run: Path) -> None:
    done = autoprompt("review", run, stdin=typed("a", "q"))
    assert done.code == 0, done.err
    assert "Prompt 1 of 1, the winner: accuracy" in done.err
    assert "Stopped; what was said so far is kept." in done.err
    found = Feedback.load(run / "feedback.yaml")
    assert [seed.template.text for seed in found.seeds] == [WINNER]
    assert found.seeds[0].words == {"negative": ("great",), "positive": ("bad",)}
    assert f"Next: autoprompt search ... --feedback {run}/feedback.yaml" in done.out


def test_reject_and_ban_words(run: Path) -> None:
    autoprompt("review", run, "--most", 0, stdin=typed("r"))
    assert Feedback.load(run / "feedback.yaml") == Feedback(banned_templates=(WINNER,))
    done = autoprompt("review", run, "--most", 0, "--force", stdin=typed("w", "bad, great ,"))
    assert done.code == 0, done.err
    assert Feedback.load(run / "feedback.yaml") == Feedback(banned_words=("bad", "great"))


def test_an_edit_is_asked_for_until_it_is_a_prompt(run: Path) -> None:
    wrong = ("{text} It was", "dull", "fine")
    right = ("{text} So {mask}!", "dull, bad", "fine")
    done = autoprompt("review", run, "--most", 0, stdin=typed("e", *wrong, *right))
    assert done.code == 0, done.err
    assert "has 0 {mask} slots" in done.err
    (seed,) = Feedback.load(run / "feedback.yaml").seeds
    assert seed.template.text == "{text} So {mask}!"
    assert seed.words == {"negative": ("dull", "bad"), "positive": ("fine",)}


def test_labels_are_corrected(run: Path) -> None:
    rows = disputed(FinishedRun.load(run))
    other = {"negative": "positive", "positive": "negative"}[str(rows[0].example.label)]
    answers = ("s", "l", other, "l", str(rows[1].example.label), "k", "q")
    done = autoprompt("review", run, stdin=typed(*answers))
    assert done.code == 0, done.err
    (corrected,) = Feedback.load(run / "feedback.yaml").labels
    assert (corrected.fields, corrected.label) == (rows[0].example.fields, other)


def test_an_answer_that_is_none_is_asked_for_again(run: Path) -> None:
    done = autoprompt("review", run, stdin=typed("x", "s", "q"))
    assert "'x' is not one of" in done.err
    assert done.out == "Nothing was said, so nothing is written.\n"
    assert not (run / "feedback.yaml").exists()


def test_a_text_cannot_command_the_terminal(run: Path) -> None:
    done = autoprompt("review", run, "--most", 99, stdin=typed("s", *["k"] * 99))
    assert "an \\x1b[31mescape" in done.err
    assert "\x1b" not in done.err


def test_what_was_said_before_is_kept(run: Path) -> None:
    (run / "feedback.yaml").write_text("# mine\n")
    done = autoprompt("review", run)
    assert done.code == 2
    assert "pass --force" in done.err
    assert (run / "feedback.yaml").read_text() == "# mine\n"


def test_only_selection_data_is_asked_about(family_models: Models, tmp_path: Path) -> None:
    run = FinishedRun.load(finished_run(tmp_path / "kept", family_models("bert"), kept_seed=True))
    rows = disputed(run)
    assert rows
    assert {row.split for row in rows} <= {"train", "dev"}
    done = autoprompt("review", run.path, "--most", 1, stdin=typed("s", "k"))
    assert SEED in done.err
    assert "best seed:" not in done.err  # the winner is the seed
