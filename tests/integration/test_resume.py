"""A run that is killed and resumed ends where an uninterrupted one ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import tiny_models
from command_line import Ended, command, environment
from run_files import (
    check_same_scores,
    document,
    reproducible,
    stop_after,
    trials,
    without_scores,
)

from autoprompt import results, session
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory
from autoprompt.searching.claims import Claims
from autoprompt.searching.patience import PatientStorage

TRIALS = 12
PATIENCE = 120  # seconds until a test gives up on a process
Search = Callable[..., Ended]
# A model that strips accents reads two of the words as one: a trial with both fails after it has
# scored train.
CROSSED = """
name: crossed
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{text} not {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
templates:
  patterns: ["{text} {stem} {mask} ."]
  slots: {stem: [film, it, was]}
label_words: {per_label: [2, 2], candidates: {neg: [gréat]}, search: true}
calibration: [none, contextual]
"""


@pytest.fixture(scope="module")
def whole(search: Search, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run, with trials of every kind."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert search(run, trials=TRIALS).code == 0
    rows = trials(run)
    assert {row["state"] for row in rows} == {"scored", "dropped", "repeated", "failed"}
    return run


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy of the uninterrupted run that a test may damage."""
    return shutil.copytree(whole, tmp_path / "run")


# -- real signals -----------------------------------------------------------------------------


def finished_trials(run: Path) -> int:
    """How many trials the study of a running search has finished; -1 before there is one."""
    if not (run / "study.db").is_file():
        return -1
    query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')"
    place = f"file:{run / 'study.db'}?mode=rw"
    with contextlib.closing(sqlite3.connect(place, uri=True)) as database:
        try:
            return int(database.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # the tables are not there yet
            return -1


def states(run: Path) -> set[str]:
    """The states of the trials in a study that no process has open."""
    with contextlib.closing(sqlite3.connect(run / "study.db")) as database:
        return {state for (state,) in database.execute("SELECT DISTINCT state FROM trials")}


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the directory is there": Path.is_dir,
    "the database is there": lambda run: (run / "study.db").is_file(),
    "a seed was scored": lambda run: finished_trials(run) >= 1,
    "some trials are done": lambda run: finished_trials(run) >= 5,
    "most trials are done": lambda run: finished_trials(run) >= 8,
}


def stopped(arguments: list[str], run: Path, moment: str, how: signal.Signals) -> int:
    """Start a search, send it a signal when the moment has come, and return its exit code."""
    process = subprocess.Popen(
        command(*arguments),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A test run that was started in the background ignores Ctrl-C, and its children with it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + PATIENCE
    while not MOMENTS[moment](run) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(how)
    return process.wait(PATIENCE)


@pytest.mark.parametrize(
    "moment",
    [
        "some trials are done",
        *(pytest.param(n, marks=pytest.mark.slow) for n in MOMENTS if n != "some trials are done"),
    ],
)
def test_a_killed_run_ends_as_the_whole_one(
    arguments: Callable[..., list[str]], search: Search, whole: Path, tmp_path: Path, moment: str
) -> None:
    run = tmp_path / "run"
    given = arguments(run, trials=TRIALS)
    assert stopped(given, run, moment, signal.SIGKILL) == -signal.SIGKILL
    assert not (run / "verdict.json").exists()
    done = search(run, "--resume", trials=TRIALS)
    assert done.code == 0, done.err
    assert reproducible(run) == reproducible(whole)


def test_sigterm_is_143_and_gives_the_trial_back(
    arguments: Callable[..., list[str]], search: Search, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = arguments(run, trials=TRIALS)
    assert stopped(given, run, "a seed was scored", signal.SIGTERM) == 143
    assert "RUNNING" not in states(run)
    assert search(run, "--resume", trials=TRIALS).code == 0
    assert reproducible(run) == reproducible(whole)


@pytest.mark.slow  # in one process, below, it is sent at many more moments
def test_ctrl_c_is_130_and_can_be_resumed(
    arguments: Callable[..., list[str]], search: Search, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = arguments(run, trials=TRIALS)
    assert stopped(given, run, "a seed was scored", signal.SIGINT) == 130
    assert search(run, "--resume", trials=TRIALS).code == 0
    assert reproducible(run) == reproducible(whole)


# -- the nasty moments ------------------------------------------------------------------------


STUDY, TRIAL = optuna.study.Study, optuna.trial.Trial
NASTY = {
    "the study was made, its settings not": (optuna, "create_study", 1),
    "the settings were kept": (STUDY, "set_user_attr", 2),
    "the plan was kept, the limits not": (STUDY, "set_user_attr", 3),
    "a seed's trial was made": (PatientStorage, "_create_new_trial", 1),
    "a seed was claimed": (Claims, "claim", 2),
    "a trial's trial was made": (PatientStorage, "_create_new_trial", 8),
    "a trial was claimed": (Claims, "claim", 8),
    "scores were written": (RunDirectory, "write_scores", 4),
    "a seed's outcome was noted": (TRIAL, "set_user_attr", 2),
    "an outcome was noted, not told": (TRIAL, "set_user_attr", 8),
    "a failure was noted, not told": (TRIAL, "set_user_attr", 19),
    "a rung was reported": (TRIAL, "report", 7),
    "a seed was told": (STUDY, "tell", 1),
    "a trial was told": (STUDY, "tell", 9),
    "the choice was made": (session, "select", 1),
    "the verdict was found": (results, "judge", 1),
    "the reading of test was kept": (session, "read_test", 1),
    "the trials were written": (RunDirectory, "write_trials", 1),
    "the best prompt was written": (Prompt, "save", 1),
}


@pytest.mark.parametrize("moment", NASTY)
def test_an_interruption_at_a_nasty_moment_leaves_no_trace(
    search: Search,
    whole: Path,
    tmp_path: Path,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, *NASTY[moment], KeyboardInterrupt())
        assert search(run, trials=TRIALS).code == 130
    done = search(run, "--resume", trials=TRIALS)
    assert done.code == 0, done.err
    assert reproducible(run) == reproducible(whole)
    assert states(run) == {"COMPLETE", "PRUNED", "FAIL"}  # none is left running or waiting


def interrupted_often(search: Search, run: Path, *options: object) -> None:
    """Search until the end, with an interruption after every second trial."""
    codes: list[int] = []
    while not codes or codes[-1] == 130:
        resume = ["--resume"] if codes else []
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, STUDY, "tell", 2 if codes else 1, KeyboardInterrupt())
            codes.append(search(run, *resume, *options, trials=TRIALS).code)
    assert codes[-1] == 0
    assert len(codes) > 4


def test_a_run_may_be_interrupted_often(search: Search, whole: Path, tmp_path: Path) -> None:
    interrupted_often(search, tmp_path / "run")
    assert reproducible(tmp_path / "run") == reproducible(whole)


def test_work_of_failed_trials_makes_no_other_cheaper(search: Search, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(CROSSED, encoding="utf-8")
    whole, run = tmp_path / "whole/run", tmp_path / "interrupted/run"
    options = ("--space", space, "--seed", 1, "--trials", 6)
    assert search(whole, *options).code == 0
    failed = [row["spent"]["forwards"] for row in trials(whole) if row["state"] == "failed"]
    assert any(failed)
    interrupted_often(search, run, *options)
    assert reproducible(run) == reproducible(whole)


def test_a_system_exit_is_an_interruption_too(
    search: Search, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, Claims, "claim", 5, SystemExit(143))
        assert search(run, trials=TRIALS).code == 143
    assert search(run, "--resume", trials=TRIALS).code == 0
    assert reproducible(run) == reproducible(whole)


@pytest.mark.parametrize("name", ["best.json", "ledger.json", "trials.jsonl"])
def test_a_half_written_file_is_taken_away(search: Search, copy: Path, name: str) -> None:
    (copy / f".{name}.x7k2").write_text('{"half', encoding="utf-8")
    (copy / "scores/.0123.npz.x7k2").write_bytes(b"PK")
    assert search(copy, "--resume", trials=TRIALS).code == 0
    left = {*copy.iterdir(), *(copy / "scores").iterdir()}
    assert [path.name for path in left if path.name.startswith(".")] == [".lock"]


# -- resuming what is finished, and going on --------------------------------------------------


def test_resuming_a_finished_run_changes_nothing(search: Search, whole: Path, copy: Path) -> None:
    before = reproducible(copy)
    done = search(copy, "--resume", trials=TRIALS)
    assert done.code == 0
    assert "test split has been used" not in done.out
    assert reproducible(copy) == before
    for name in ("best.json", "verdict.json", "trials.jsonl", "config.json"):
        assert (copy / name).read_bytes() == (whole / name).read_bytes(), name


def test_more_trials_on_resume_go_on(search: Search, whole: Path, copy: Path) -> None:
    more = TRIALS + 3
    assert search(copy, "--resume", trials=more).code == 0
    before, after = trials(whole), trials(copy)
    assert after[: len(before)] == before
    assert len({row.get("prompt") for row in after if row["state"] != "failed"}) == more
    assert document(copy / "ledger.json")["trials"] == len(after) > len(before)


def test_fewer_trials_on_resume_keep_what_was_done(search: Search, copy: Path) -> None:
    before, config = reproducible(copy), document(copy / "config.json")
    assert search(copy, "--resume", trials=4).code == 0
    assert reproducible(copy) == before
    after = document(copy / "config.json")
    (earlier,) = after["earlier"]
    assert (earlier["budget"]["trials"], after["budget"]["trials"]) == (TRIALS, 4)
    assert earlier["command"] == config["command"]
    assert f"--trials {TRIALS}" in earlier["command"]
    assert "--trials 4" in after["command"]


def test_files_that_were_lost_are_made_anew(search: Search, whole: Path, copy: Path) -> None:
    for name in ("best.json", "verdict.json", "trials.jsonl", "ledger.json", "config.json"):
        (copy / name).unlink()
    shutil.rmtree(copy / "prompts")
    assert search(copy, "--resume", trials=TRIALS).code == 0
    assert reproducible(copy) == reproducible(whole)


def test_scores_that_were_lost_are_computed_again(search: Search, whole: Path, copy: Path) -> None:
    for number, path in enumerate(sorted((copy / "scores").iterdir())):
        if number % 2:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:100])
    assert search(copy, "--resume", trials=TRIALS).code == 0
    assert "are lost; they are computed again" in (copy / "log.txt").read_text("utf-8")
    assert without_scores(copy) == without_scores(whole)
    for path in (copy / "scores").iterdir():
        if path.stat().st_size == 100:  # nobody has asked for what a dropped trial had
            path.unlink()
    check_same_scores(copy, whole)


# -- refusals ---------------------------------------------------------------------------------


@pytest.fixture
def other(
    tmp_path: Path, write_task: Callable[[Path], Path], space: Path
) -> Callable[[str], list[str]]:
    """From a setting's name to options that change it."""

    def options(setting: str) -> list[str]:
        if setting == "task":
            changed = write_task(tmp_path / "task")
            lines = (changed / "train.jsonl").read_text("utf-8").splitlines()
            (changed / "train.jsonl").write_text("\n".join(lines[:-2]), encoding="utf-8")
            return ["--task", str(changed)]
        if setting == "space":
            text = space.read_text("utf-8").replace("this is", "that is")
            (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
            return ["--space", str(tmp_path / "space.yaml")]
        if setting == "model":
            return ["--model", str(tiny_models.build("bert", tmp_path / "model", seed=1))]
        return [f"--{setting}", {"seed": "5", "metric": "macro_f1"}[setting]]

    return options


@pytest.mark.parametrize("setting", ["task", "space", "model", "seed", "metric"])
def test_a_resume_with_other_input_is_refused(
    search: Search, copy: Path, other: Callable[[str], list[str]], setting: str
) -> None:
    kept = {path: path.read_bytes() for path in copy.iterdir() if path.suffix == ".json"}
    kept[copy / "trials.jsonl"] = (copy / "trials.jsonl").read_bytes()
    done = search(copy, "--resume", *other(setting), trials=TRIALS)
    assert (done.code, done.out) == (2, "")
    message = done.err.splitlines()[-1]
    assert f"{copy} was begun with other input: " in message
    assert f"{setting} was " in message
    assert "resume with the same input, or choose another --out" in message
    assert all(path.read_bytes() == content for path, content in kept.items())


def overwritten(database: Path) -> None:
    database.write_bytes(b"not a database at all" * 100)


def cut(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def torn(database: Path) -> None:
    content = database.read_bytes()
    start = len(content) // 4
    database.write_bytes(content[:start] + b"\xff" * start * 2 + content[3 * start :])


@pytest.mark.parametrize("damage", [overwritten, cut, torn])
def test_a_damaged_database_is_named(
    search: Search, copy: Path, damage: Callable[[Path], None]
) -> None:
    damage(copy / "study.db")
    done = search(copy, "--resume", trials=TRIALS)
    assert (done.code, done.out) == (2, "")
    assert f"{copy / 'study.db'} is damaged" in done.err.splitlines()[-1]
    assert "restore it from a backup" in done.err
