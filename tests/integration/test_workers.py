"""Several processes on one search: exact budgets, one ledger, and a drain that loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, autoprompt, environment
from run_files import document, trials

import autoprompt as ap
from autoprompt.errors import StorageError, UnknownNameError
from autoprompt.joining import Worked, join
from autoprompt.searching.addresses import Address
from autoprompt.searching.heartbeat import Heartbeat
from autoprompt.searching.records import CREATOR, has_result
from autoprompt.searching.records import joined as joined_value
from autoprompt.searching.storage import STUDY
from autoprompt.searching.trials import TrialRunner
from experiments.soak.ledgers import faults, study_of, workers_of

ROOT = Path(__file__).parents[2]
PATIENCE = 180  # seconds until a test gives up on a process
PROMPTS = 12
SLOW = 3  # seconds a trial of the process that others join: they must have come by then
Start = Callable[..., subprocess.Popen[str]]
Search = Callable[..., Ended]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts autoprompt with a model that takes its time; ends what a test leaves behind."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object, seconds: float = 0.4, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.soak.process", str(seconds), *map(str, arguments)],
            cwd=ROOT,
            env=environment(**{"PYTHONPATH": str(ROOT), **more}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(happens: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := happens():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen in {PATIENCE} seconds")


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def test_a_worker_joins_by_the_run_directory(
    start: Start, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    creator = start(*arguments(run, "--grace", 30, trials=PROMPTS), seconds=SLOW)
    until((run / "study.db").is_file, "the study")
    worker = start("worker", run, "--json")
    code, out, err = ended(worker)
    assert code == 0, err
    assert ended(creator)[0] == 0
    address = Address.of_file(run / "study.db")
    assert faults(run, address, STUDY, PROMPTS) == []
    done = workers_of(address, STUDY)
    assert set(done) <= {CREATOR, *done}
    own = json.loads(out)
    assert own["trials"] == sum(done.values()) - done[CREATOR] > 0
    assert own["finish_reason"] == document(run / "ledger.json")["finish_reason"] == "trials"
    prompts = {row["prompt"] for row in trials(run) if row["state"] in ("scored", "dropped")}
    assert {path.stem for path in (run / "scores").iterdir()} == prompts


@pytest.mark.slow
def test_workers_on_a_server_are_terminated_and_join_again(
    start: Start, arguments: Callable[..., list[str]], database: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shared = {"AUTOPROMPT_STORAGE": database}
    creator = start(*arguments(run, trials=PROMPTS), seconds=SLOW, **shared)
    until((run / "storage.json").is_file, "the study")
    name = document(run / "storage.json")["study"]
    address = Address.parse(database)
    drained = start("worker", name, seconds=600, **shared)
    until(lambda: _is_at_work(drained, address, name), "the worker's trial")
    drained.send_signal(signal.SIGTERM)
    code, _, err = ended(drained)
    assert code == 143
    assert "interrupted; what was finished is kept" in err
    other = start("worker", name, **shared)  # without the run directory: its scores go by storage
    code, out, err = ended(creator)
    assert code == 0, err
    assert f"autoprompt worker {name} --storage" in err
    assert "Verdict: " in out
    assert ended(other)[0] == 0
    assert faults(run, address, name, PROMPTS) == []
    prompts = {row["prompt"] for row in trials(run) if row["state"] in ("scored", "dropped")}
    assert {path.stem for path in (run / "scores").iterdir()} == prompts
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"p@ss" not in path.read_bytes(), path
            assert b"p%40ss" not in path.read_bytes(), path


def _is_at_work(process: subprocess.Popen[str], address: Address, name: str) -> bool:
    assert process.poll() is None, process.communicate()
    try:
        found, _ = study_of(address, name)
    except (StorageError, UnknownNameError):
        return False  # it is not there yet
    return any(trial.user_attrs.get("worker", "").endswith(f":{process.pid}") for trial in found)


def test_a_search_on_a_server_is_the_same_as_one_on_a_file(
    search: Search, database: str, tmp_path: Path
) -> None:
    assert search(tmp_path / "file" / "run").code == 0
    done = search(tmp_path / "server" / "run", "--storage", database)
    assert done.code == 0, done.err
    from run_files import reproducible

    assert reproducible(tmp_path / "server" / "run") == reproducible(tmp_path / "file" / "run")
    assert not (tmp_path / "server" / "run" / "study.db").exists()


def test_a_search_on_a_server_goes_on_after_an_interruption(
    search: Search, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.study import Study
    from run_files import reproducible, stop_after

    whole, run = tmp_path / "whole" / "run", tmp_path / "other" / "run"
    assert search(whole).code == 0
    with monkeypatch.context() as patch:
        stop_after(patch, Study, "tell", 4, KeyboardInterrupt())
        assert search(run, "--storage", database).code == 130
    done = search(run, "--resume")
    assert done.code == 2
    assert "passwords are not written down: give the whole URL by --storage" in done.err
    assert "***" in done.err
    assert search(run, "--resume", "--storage", database).code == 0
    assert reproducible(run) == reproducible(whole)


def test_a_worker_that_was_frozen_discards_its_result_and_goes_on(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from run_files import reproducible

    whole, run = tmp_path / "whole" / "run", tmp_path / "other" / "run"
    assert search(whole).code == 0
    plain, frozen = TrialRunner.run, []

    def freezing(runner: TrialRunner, *given: Any, **options: Any) -> Any:
        outcome = plain(runner, *given, **options)
        if len(frozen) < 2:
            (beat,) = beats
            frozen.append(beat._reap(beat._mine))  # what another worker does after the grace
        return outcome

    beats: list[Heartbeat] = []
    enter = Heartbeat.__enter__
    monkeypatch.setattr(Heartbeat, "__enter__", lambda self: beats.append(self) or enter(self))
    monkeypatch.setattr(TrialRunner, "run", freezing)
    done = search(run)
    assert done.code == 0, done.err
    assert frozen == [True, True]
    assert "was given to another worker; its result is discarded" in (run / "log.txt").read_text()
    assert reproducible(run) == reproducible(whole)


def test_a_proposal_on_which_workers_die_counts_as_failed(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats: list[Heartbeat] = []
    enter = Heartbeat.__enter__
    monkeypatch.setattr(Heartbeat, "__enter__", lambda self: beats.append(self) or enter(self))
    plain = TrialRunner.run

    def dying(runner: TrialRunner, candidate: Any, *given: Any, **options: Any) -> Any:
        outcome = plain(runner, candidate, *given, **options)
        if candidate.calibration == "batch":
            beats[-1]._reap(beats[-1]._mine)
        return outcome

    monkeypatch.setattr(TrialRunner, "run", dying)
    run = tmp_path / "run"
    assert search(run).code == 0
    reasons = {row["reason"] for row in trials(run) if row["state"] == "failed"}
    assert "3 workers died while they ran it" in reasons


# -- in one process, where that is enough ------------------------------------------------------

REFINED_SPACE = """
name: refined
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
templates:
  patterns: ["{text} {stem} {mask}{end}"]
  slots: {stem: [it was, very, a film], end: [" .", " !", ""]}
triggers: {max_tokens: 2, positions: [own_words, before_mask]}
"""


def test_workers_refine_together(task: Path, model: Path, tmp_path: Path) -> None:
    run, space = tmp_path / "run", ap.SearchSpace.parse(REFINED_SPACE)
    examples = ap.Task.load(task)
    models = [ap.load_model(str(model)) for _ in range(3)]  # transformers loads one at a time
    parts: list[Worked] = []

    def join_in(own: Any) -> None:
        until((run / "study.db").is_file, "the study")
        with join(run) as joined:
            parts.append(joined.work(examples, space, own))

    threads = [threading.Thread(target=join_in, args=[own]) for own in models[1:]]
    for thread in threads:
        thread.start()
    ap.search(examples, space, models[0], out=run, budget=ap.Budget(trials=14), seed=1)
    for thread in threads:
        thread.join(PATIENCE)
    assert len(parts) == 2
    address = Address.of_file(run / "study.db")
    assert faults(run, address, STUDY, 14) == []
    found, _ = study_of(address, STUDY)
    steps = [
        (state["line"], state["step"])
        for trial in found
        if has_result(trial)
        and (state := (joined_value(trial.user_attrs, "outcome") or {}).get("line"))
    ]
    assert len(steps) == len(set(steps)) > 2  # no step was taken twice
    for line in {line for line, _ in steps}:
        numbers = sorted(step for own, step in steps if own == line)
        assert numbers == list(range(1, len(numbers) + 1))  # and none was left out


# -- refusals -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(search: Search, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    assert search(run, trials=4).code == 0
    return run


def message(done: Ended) -> str:
    assert (done.code, done.out) == (2, ""), done
    return done.err.splitlines()[-1].removeprefix("autoprompt: ")


def test_a_worker_of_a_finished_search_has_nothing_to_do(finished: Path) -> None:
    done = autoprompt("worker", finished)
    assert done.code == 0, done.err
    assert "This worker finished 0 trials with 0 forwards; the search ended by: trials" in done.out


def test_a_worker_with_other_input_is_refused(
    finished: Path, write_task: Callable[[Path], Path], tmp_path: Path
) -> None:
    other = write_task(tmp_path / "other")
    lines = (other / "train.jsonl").read_text("utf-8").splitlines()
    (other / "train.jsonl").write_text("\n".join(lines[:-2]), encoding="utf-8")
    found = message(autoprompt("worker", finished, "--task", other))
    assert "was begun with other input: " in found
    assert "task was " in found


@pytest.mark.parametrize("name", ["absent", "../absent", "a'; DROP TABLE studies; --"])
def test_a_worker_without_a_search(tmp_path: Path, name: str) -> None:
    found = message(autoprompt("worker", tmp_path / name))
    assert f"no search to join at {tmp_path / name}; name the directory of a search" in found
    assert not list(tmp_path.iterdir())


def test_a_worker_of_an_unknown_study(
    database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autoprompt.searching import storage

    monkeypatch.setattr(storage._await, "__defaults__", None)
    monkeypatch.setattr(storage.join_study.__wrapped__, "__defaults__", (5.0, 0.0))
    monkeypatch.chdir(tmp_path)
    for name in ("../../etc", "x' OR 'a'='a", "<script>"):
        found = message(autoprompt("worker", name, "--storage", database))
        assert f"unknown search {name!r}" in found
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--storage", "postgresql://me:secret@127.0.0.1:1/db"], "cannot use the storage postgre"),
        (["--storage", "redis://me:secret@host"], "--storage must be a URL that begins with"),
        (["--storage", "sqlite:///x.db"], "leave --storage out"),
        (["--grace", "1"], "--grace must be 3 seconds or more, not 1"),
        (["--grace", "nan"], "--grace must be 3 seconds or more, not nan"),
    ],
)
def test_wrong_options(search: Search, tmp_path: Path, options: list[str], expected: str) -> None:
    found = message(search(tmp_path / "run", *options))
    assert expected in found
    assert "secret" not in found


def test_a_run_on_a_file_does_not_move_to_a_server(search: Search, finished: Path) -> None:
    url = "postgresql://me:secret@host/db"
    found = message(search(finished, "--resume", "--storage", url, trials=4))
    assert "keeps its study in its own study.db; go on with it without --storage" in found


def test_a_server_in_the_environment_is_not_for_a_run_on_a_file(
    search: Search, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "AUTOPROMPT_STORAGE", "postgresql://me:secret@host/db")
    assert search(finished, "--resume", trials=4).code == 0
