"""A search that refines, and is killed on the way, ends where an uninterrupted one ends.

Its trials are of all kinds: seeds, composed ones with templates by the model and words of the
vocabulary, and steps of trigger searches with the parent's words and with fitted ones.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from command_line import Ended, autoprompt, command, environment
from run_files import (
    check_same_scores,
    document,
    reproducible,
    stop_after,
    trials,
    without_scores,
)

from autoprompt import session
from autoprompt.results import Reading
from autoprompt.runs import RunDirectory
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching import template_writing
from autoprompt.searching.claims import Claims
from autoprompt.searching.paid import restore_paid
from autoprompt.searching.records import KIND, OUTCOME, record_of
from autoprompt.searching.refinement import Refiner
from autoprompt.searching.selection import Selection
from autoprompt.searching.stages import REFINED
from autoprompt.searching.trials import TrialRunner
from autoprompt.searching.triggers import TriggerSearch

PATIENCE = 120  # seconds until a test gives up on a process
PROMPTS = 14
STRUCTURE = 7  # trials before the first step: about half of the prompts
SIZES = {"train": 12, "dev": 32, "test": 20}  # the race has rungs on train and dev together
SPACE = """
name: refined
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [bad], pos: [good]}
templates: {generated: 5}
triggers: {max_tokens: 2, positions: [own_words, before_mask]}
label_words: {vocabulary: 50, per_label: [1, 2], methods: [likelihood ratio, label head]}
calibration: [none, contextual, batch]
"""
Search = Callable[..., Ended]


@pytest.fixture(scope="module")
def arguments(
    rows: list[dict[str, str]], model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], list[str]]:
    """The arguments of a search that refines."""
    folder = tmp_path_factory.mktemp("refined")
    start = 0
    for name, size in SIZES.items():
        lines = [json.dumps(row) + "\n" for row in rows[start : start + size]]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        start += size
    space = folder / "space.yaml"
    space.write_text(SPACE, encoding="utf-8")

    def build(out: Path) -> list[str]:
        given = ["search", "--task", folder, "--space", space, "--model", model, "--out", out]
        return [*map(str, given), "--seed", "2", "--trials", str(PROMPTS)]

    return build


@pytest.fixture(scope="module")
def search(arguments: Callable[[Path], list[str]]) -> Search:
    """Runs the search in this process."""
    return lambda out, *more: autoprompt(*arguments(out), *more)


@pytest.fixture(scope="module")
def whole(search: Search, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("whole") / "run"
    done = search(run)
    assert done.code == 0, done.err
    return run


def attributes(run: Path, key: str) -> list[Any]:
    """An attribute of the finished trials, in their order."""
    query = (
        "SELECT value_json FROM trial_user_attributes JOIN trials USING (trial_id) "
        "WHERE key = ? AND state != 'RUNNING' ORDER BY trial_id"
    )
    with contextlib.closing(sqlite3.connect(f"file:{run / 'study.db'}?mode=ro", uri=True)) as base:
        return [json.loads(value) for (value,) in base.execute(query, (key,))]


def test_the_whole_run_has_what_the_other_tests_interrupt(whole: Path) -> None:
    kinds = attributes(whole, KIND)
    assert kinds[:2] == ["seed", "seed"]
    first = kinds.index(REFINED)
    assert first == STRUCTURE
    assert kinds[2:first] == sorted(kinds[2:first], reverse=True)  # openings, then composed ones
    assert set(kinds[2:first]) == {"opening", "composed"}
    assert kinds[first:].count(REFINED) >= 7
    assert "failed" not in {row["state"] for row in trials(whole)}
    lines = [outcome["line"] for outcome in attributes(whole, OUTCOME) if outcome["line"]]
    assert {bool(line["words by"]) for line in lines} == {True, False}
    assert max(line["step"] for line in lines) >= 2
    assert document(whole / "ledger.json")["backwards"] > 0
    assert any("filled in by the model" in json.dumps(row) for row in attributes(whole, OUTCOME))


STUDY, TRIAL = optuna.study.Study, optuna.trial.Trial
MOMENTS = {
    "templates were written, not kept": (template_writing, "fill", 1),
    "templates were kept": (STUDY, "set_user_attr", 5),
    "structure is searched": (STUDY, "tell", 4),
    "the first step was asked for": (Claims, "claim", STRUCTURE + 1),
    "a gradient was taken": (TriggerSearch, "promises", 1),
    "candidates of a step were scored": (TriggerSearch, "values", 2),
    "a step was taken, its prompt not scored": (Refiner, "step", 3),
    "the scores of a step's prompt were written": (RunDirectory, "write_scores", STRUCTURE + 2),
    "a step's outcome was noted, not told": (TRIAL, "set_user_attr", 2 * (STRUCTURE + 2)),
    "the first step is done": (STUDY, "tell", STRUCTURE + 1),
    "each line has made a step": (STUDY, "tell", STRUCTURE + 6),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interruption_leaves_no_trace(
    search: Search, whole: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_after(patch, *MOMENTS[moment], KeyboardInterrupt())
        assert search(run).code == 130
    done = search(run, "--resume")
    assert done.code == 0, done.err
    assert reproducible(run) == reproducible(whole)


def test_interruptions_after_every_other_trial_leave_no_trace(
    search: Search, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    codes: list[int] = []
    while not codes or codes[-1] == 130:
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, STUDY, "tell", 2 if codes else 1, KeyboardInterrupt())
            codes.append(search(run, *(["--resume"] if codes else [])).code)
    assert codes[-1] == 0
    assert len(codes) > 4
    assert reproducible(run) == reproducible(whole)


def test_the_same_seed_gives_the_same_run(search: Search, whole: Path, tmp_path: Path) -> None:
    assert search(tmp_path / "run").code == 0
    assert reproducible(tmp_path / "run") == reproducible(whole)


def test_lost_scores_of_trials_of_all_kinds_are_computed_again(
    search: Search, whole: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    shutil.rmtree(run / "scores")
    (run / "ledger.json").unlink()
    done = search(run, "--resume")
    assert done.code == 0, done.err
    check_same_scores(run, whole)
    assert without_scores(run) == without_scores(whole)


@pytest.mark.parametrize("seed", [2, 3])
def test_a_resumed_run_believes_paid_what_was_paid(
    arguments: Callable[[Path], list[str]],
    tmp_path: Path,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row by row, where a ledger shows a difference only if a later trial asks for such a row."""
    compared: list[bool] = []
    original = session.read_test

    def comparing(study: optuna.study.Study, runner: TrialRunner, selection: Selection) -> Reading:
        live = runner.scorer
        restored = WordScorer(live.model, live.words, tuple(live.one_token))
        for trial in study.get_trials():
            record = record_of(trial)
            if record is not None and record.outcome is not None:
                restore_paid(restored, runner.task, runner.data, record.outcome.paid)
        assert paid(restored) == paid(live)
        compared.append(True)
        return original(study, runner, selection)

    def paid(scorer: WordScorer) -> dict[str, set[tuple[str, ...]]]:
        return {key: rows for key, rows in scorer._paid.items() if rows}

    monkeypatch.setattr(session, "read_test", comparing)
    done = autoprompt(*arguments(tmp_path / "run"), "--seed", seed, "--trials", PROMPTS + 4)
    assert (done.code, compared) == (0, [True]), done.err


def finished_trials(run: Path) -> int:
    """How many trials a running search has finished; 0 before there is a study."""
    query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')"
    try:
        place = f"file:{run / 'study.db'}?mode=rw"
        with contextlib.closing(sqlite3.connect(place, uri=True)) as database:
            return int(database.execute(query).fetchone()[0])
    except sqlite3.OperationalError:  # neither file nor tables are there yet
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("finished", [3, STRUCTURE + 2])
def test_a_killed_run_ends_as_the_whole_one(
    arguments: Callable[[Path], list[str]],
    search: Search,
    whole: Path,
    tmp_path: Path,
    finished: int,
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        command(*arguments(run)),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE
    while finished_trials(run) < finished and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert not (run / "verdict.json").exists()
    done = search(run, "--resume")
    assert done.code == 0, done.err
    assert reproducible(run) == reproducible(whole)
