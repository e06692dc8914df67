"""A search that screens in bfloat16: every number that decides or is reported is in float32."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Ended
from run_files import document, reproducible, stop_after, trials

from autoprompt.models.loading import load_model
from autoprompt.prediction import Predictor
from autoprompt.prompts import Prompt
from autoprompt.searching import study
from autoprompt.searching.records import candidate_of
from autoprompt.searching.trials import TrialRunner
from autoprompt.tasks.task import Task

Search = Callable[..., Ended]
TRIALS = 14


@pytest.fixture(scope="module")
def run(search: Search, taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("screened") / "run"
    ended = search(out, "--dtype", "bfloat16", "--model", taught, trials=TRIALS)
    assert ended.code == 0, ended.err
    return out


def test_seeds_and_what_shares_their_passes_are_scored_in_float32_and_others_screened(
    run: Path,
) -> None:
    rows = [row for row in trials(run) if "precision" in row]
    first = 2 * 2  # the seeds, and their templates with words fitted by one method
    assert {row["precision"] for row in rows[:first]} == {"float32"}
    assert {row["precision"] for row in rows[first:]} >= {"bfloat16"}
    assert document(run / "config.json")["screening"] == "bfloat16"


def test_what_the_files_say_is_what_the_model_says_in_float32(
    run: Path, taught: Path, task: Path
) -> None:
    model, examples = load_model(str(taught)), Task.load(task).dev
    files = sorted((run / "prompts").glob("*.json"))
    assert len(files) > 2
    for path in [*files, run / "best.json"]:
        prompt = Prompt.load(path)
        found = Predictor(prompt, model).score(examples).measures()
        for name, said in prompt.scores["dev"].items():
            assert said["value"] == pytest.approx(found[name].value, abs=1e-5)


def test_a_screened_search_is_the_same_twice(
    search: Search, run: Path, taught: Path, tmp_path: Path
) -> None:
    search(tmp_path / "run", "--dtype", "bfloat16", "--model", taught, trials=TRIALS)
    assert reproducible(tmp_path / "run") == reproducible(run)


@pytest.mark.parametrize("call", [1, 5, 9])
def test_an_interrupted_screened_search_ends_as_the_whole_one(
    search: Search,
    run: Path,
    taught: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
) -> None:
    given = (tmp_path / "run", "--dtype", "bfloat16", "--model", taught)
    with monkeypatch.context() as patch:
        stop_after(patch, study.StudyLoop, "_remember", call, KeyboardInterrupt())
        assert search(*given, trials=TRIALS).code == 130
    assert search(*given, "--resume", trials=TRIALS).code == 0
    assert reproducible(tmp_path / "run") == reproducible(run)


def test_an_interruption_while_finalists_are_scored_again_loses_nothing(
    search: Search, run: Path, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (tmp_path / "run", "--dtype", "bfloat16", "--model", taught)
    with monkeypatch.context() as patch:
        stop_after(patch, TrialRunner, "rescored", 1, KeyboardInterrupt())
        assert search(*given, trials=TRIALS).code == 130
    assert search(*given, "--resume", trials=TRIALS).code == 0
    assert reproducible(tmp_path / "run") == reproducible(run)


def test_another_precision_is_refused_on_resume(
    search: Search, run: Path, taught: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    ended = search(copy, "--model", taught, "--dtype", "float32", "--resume", trials=TRIALS)
    assert ended.code == 2
    assert "screening was 'bfloat16', is 'float32'" in ended.err


def test_a_resumed_run_keeps_its_precision_whatever_the_probe_says_now(
    search: Search, run: Path, taught: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    # The probe says float32: `conftest` has it so.
    resumed = search(copy, "--model", taught, "--dtype", "auto", "--resume", trials=TRIALS)
    assert resumed.code == 0, resumed.err
    assert reproducible(copy) == reproducible(run)


def test_rescoring_in_the_same_precision_changes_nothing(
    run: Path, taught: Path, task: Path, monkeypatch: pytest.MonkeyPatch, search: Search
) -> None:
    seen: list[tuple[float, float]] = []
    plain = study.StudyLoop._remember

    def compared(loop: study.StudyLoop, record: study.Record) -> None:
        plain(loop, record)
        outcome = record.outcome
        if outcome is not None and outcome.value is not None and outcome.repeats is None:
            again = loop.runner.rescored(candidate_of(outcome), outcome)
            assert again.prompt == outcome.prompt
            seen.append((outcome.value, again.value or np.nan))

    monkeypatch.setattr(study.StudyLoop, "_remember", compared)
    assert search(run.parent / "same", "--model", taught, trials=TRIALS).code == 0
    assert len(seen) > 3
    for first, second in seen:
        assert second == pytest.approx(first, abs=1e-9)
