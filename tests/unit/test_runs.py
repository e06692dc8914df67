"""The layout of a run directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprompt.errors import RunDirectoryError
from autoprompt.files import write_json
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory, held_out_of, prompt_file
from autoprompt.tasks.held_out import HeldOut
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


@pytest.fixture
def made(run: RunDirectory) -> RunDirectory:
    """A run directory with its folders."""
    with run.locked():
        pass
    return run


# -- check ------------------------------------------------------------------------------------


def test_a_new_or_empty_place_will_do(run: RunDirectory) -> None:
    run.check(resume=False)
    run.path.mkdir()
    run.check(resume=False)


def test_checking_writes_nothing(run: RunDirectory) -> None:
    run.check(resume=False)
    assert not run.path.exists()


def test_what_is_not_there_cannot_be_resumed(run: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match=r"no run to go on with at .*leave --resume out"):
        run.check(resume=True)
    assert not run.path.exists()


def test_what_a_refused_search_leaves_is_no_run(run: RunDirectory) -> None:
    run.path.mkdir()
    (run.path / ".lock").touch()
    run.check(resume=False)


def test_a_run_is_there_only_to_be_resumed(made: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match="holds a run already; pass --resume"):
        made.check(resume=False)
    made.check(resume=True)


@pytest.mark.parametrize("name", ["notes.md", ".bashrc", "best.json.bak", ".other.json.x1"])
@pytest.mark.parametrize("resume", [True, False])
def test_files_of_others_are_named(made: RunDirectory, name: str, resume: bool) -> None:
    (made.path / name).touch()
    with pytest.raises(RunDirectoryError, match="files that are not of a run") as caught:
        made.check(resume)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", [".best.json.k2x7", ".trials.jsonl._a", "study.db-journal"])
def test_what_a_kill_leaves_behind_is_of_a_run(made: RunDirectory, name: str) -> None:
    (made.path / name).touch()
    made.check(resume=True)


def test_a_file_is_no_place_for_a_run(run: RunDirectory) -> None:
    run.path.touch()
    with pytest.raises(RunDirectoryError, match="is a file; name a directory"):
        run.check(resume=False)


def test_below_a_file_is_no_place_for_a_run(run: RunDirectory) -> None:
    run.path.touch()
    with pytest.raises(RunDirectoryError, match="is not a writable directory"):
        RunDirectory(run.path / "a/b").check(resume=False)


# -- the lock ---------------------------------------------------------------------------------


def test_one_process_at_a_time(run: RunDirectory) -> None:
    with run.locked():
        again = RunDirectory(run.path)
        with pytest.raises(RunDirectoryError, match="another process is writing"), again.locked():
            pass
    with run.locked():
        assert run.prompts.is_dir()
        assert run.scores.is_dir()


def test_the_lock_is_given_back_after_an_error(run: RunDirectory) -> None:
    with pytest.raises(KeyboardInterrupt), run.locked():
        raise KeyboardInterrupt
    with run.locked():
        pass


def test_half_written_files_are_swept_away(made: RunDirectory) -> None:
    made.write_trials([{"trial": 0}])
    made.write_scores("abc", np.zeros((1, 2)), "digest")
    halves = [
        made.path / ".best.json.x1",
        made.path / ".trials.jsonl.x2",
        made.prompts / ".abc.json.x3",
        made.scores / ".abc.npz.x4",
    ]
    for half in halves:
        half.write_text("half", encoding="utf-8")
    with made.locked():
        assert not [half for half in halves if half.exists()]
    assert made.trials.exists()
    assert made.read_scores("abc") is not None


# -- what is written --------------------------------------------------------------------------


def test_scores_come_back_as_they_were(made: RunDirectory) -> None:
    scores = np.log(np.array([[0.1, 0.9], [0.25, 0.75], [1 / 3, 2 / 3]]))
    made.write_scores("abc", scores, "digest of the examples")
    found = made.read_scores("abc")
    assert found is not None
    np.testing.assert_array_equal(found, scores)
    assert made.read_scores("other") is None


@pytest.mark.parametrize("damage", [b"", b"PK half a file", None])
def test_damaged_scores_are_lost_scores(made: RunDirectory, damage: bytes | None) -> None:
    made.write_scores("abc", np.zeros((50, 2)), "digest of the examples")
    path = made.scores / "abc.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert made.read_scores("abc") is None


def test_what_a_run_was_given_before_is_kept(made: RunDirectory) -> None:
    def given(command: str, trials: int) -> dict[str, Any]:
        return {"command": command, "budget": {"trials": trials}, "versions": {}, "seed": 0}

    made.write_config(given("first", 9))
    assert made.read_config() == {**given("first", 9), "earlier": []}
    made.write_config(given("first --resume", 9))
    assert made.read_config() == {**given("first", 9), "earlier": []}
    for trials in (4, 20):
        made.write_config(given(f"with {trials}", trials))
    found = made.read_config()
    assert [before["command"] for before in found["earlier"]] == ["first", "with 4"]
    assert [before["budget"]["trials"] for before in found["earlier"]] == [9, 4]
    assert found["budget"] == {"trials": 20}
    assert "seed" not in found["earlier"][0]


def test_a_trial_is_a_line(made: RunDirectory) -> None:
    made.write_trials([{"text": "café\nau lait"}, {"value": None}])
    assert made.trials.read_text(encoding="utf-8") == (
        '{"text": "café\\nau lait"}\n{"value": null}\n'
    )


def test_nan_is_not_json(made: RunDirectory) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        made.write_trials([{"value": float("nan")}])
    assert not made.trials.exists()


def test_finalists_are_named_by_their_digests(made: RunDirectory) -> None:
    words = Verbalizer.of({"a": ["bad"], "b": ["good"]})
    prompts = [Prompt(Template.parse(text), words) for text in ("{text} {mask}", "{mask} {text}")]
    made.write_finalists(prompts)
    found = {path.stem: Prompt.load(path) for path in made.prompts.iterdir()}
    assert found == {prompt.digest: prompt for prompt in prompts}


def test_the_config_is_empty_where_it_cannot_be_read(made: RunDirectory) -> None:
    assert made.read_config() == {}
    for text in ("{half", "[1]", "\xff"):
        made.config.write_text(text, encoding="latin-1")
        assert made.read_config() == {}
    write_json(made.config, {"seed": 1})
    assert made.read_config() == {"seed": 1}


# -- reading the test split -------------------------------------------------------------------


def test_verdicts_of_neighbours_on_the_same_test_split_count(made: RunDirectory) -> None:
    for name, digest in (("one", "same"), ("two", "same"), ("three", "other")):
        (made.path.parent / name).mkdir()
        write_json(
            made.path.parent / name / "verdict.json", {"test_digest": digest, "own_test_reads": 2}
        )
    write_json(made.verdict, {"test_digest": "same"})  # its own is not a neighbour's
    assert made.neighbours_test_reads("same") == 4


@pytest.mark.parametrize("text", ["{half", "[]", '{"test": "McNemar"}', "{}"])
def test_a_foreign_verdict_is_no_evidence(made: RunDirectory, text: str) -> None:
    (made.path.parent / "other").mkdir()
    (made.path.parent / "other" / "verdict.json").write_text(text, encoding="utf-8")
    assert made.neighbours_test_reads("same") == 0


# -- prompt files -----------------------------------------------------------------------------


def test_a_prompt_is_named_by_its_file_or_its_run(made: RunDirectory) -> None:
    made.best.touch()
    assert prompt_file(made.best) == made.best
    assert prompt_file(made.path) == made.best
    assert prompt_file("absent.json") == Path("absent.json")


def test_a_run_without_a_best_prompt_is_not_finished(made: RunDirectory) -> None:
    with pytest.raises(RunDirectoryError, match=r"holds no best\.json; finish its search"):
        prompt_file(made.path)
    (made.path / "settings.json").touch()
    with pytest.raises(RunDirectoryError, match="tuning that is not finished; go on"):
        prompt_file(made.path)


# -- what only a verdict reads ----------------------------------------------------------------

HELD_OUT = HeldOut("the test split", ("text",), (("0123",),))
FOUND_HERE = Prompt(
    Template.parse("{text} {mask}"),
    Verbalizer.of({"neg": ["bad"], "pos": ["good"]}),
    splits={"test": "the test split"},
)


@pytest.mark.parametrize("named", ["", "best.json", "prompts/0123.json"])
def test_held_out_examples_are_found_from_the_prompt(made: RunDirectory, named: str) -> None:
    made.write_held_out(HELD_OUT)
    made.check(resume=True)  # the file is one of a run
    assert held_out_of(made.path / named, FOUND_HERE) == HELD_OUT


def test_held_out_examples_of_another_run_are_not_the_prompts(
    made: RunDirectory, tmp_path: Path
) -> None:
    assert held_out_of(made.best, FOUND_HERE) is None
    made.write_held_out(HELD_OUT)
    assert held_out_of(made.best, replace(FOUND_HERE, splits={"test": "another"})) is None
    assert held_out_of(tmp_path / "copied.json", FOUND_HERE) is None


def test_damaged_held_out_examples_are_named(made: RunDirectory) -> None:
    made.held_out.write_text('{"split": "the', encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"held_out\.json is damaged .*--resume"):
        held_out_of(made.best, FOUND_HERE)
