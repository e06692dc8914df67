"""`autoprompt tune` on the command line: killed and resumed, and through to predictions."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import autoprompt, command, environment
from run_files import stop_after
from safetensors.numpy import load_file
from tuning_material import prompt, write_task

from autoprompt.models.loading import load_model
from autoprompt.tuning.training import Course

OPTIONS = ("--steps", "60", "--evaluate-every", "3", "--patience", "60", "--learning-rate", "3e-3")


@pytest.fixture(scope="module")
def given(
    model_directory: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> list[object]:
    """The arguments of a tuning but its output."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("tuning")
    model = load_model(str(model_directory("bert")))
    bare = prompt()
    tokens = model.encoder.record(bare.frame, bare.verbalizer.all_words)
    replace(bare, model=model.identity, tokens=tokens).save(folder / "prompt.json")
    return ["tune", folder / "prompt.json", "--task", write_task(folder / "task"), *OPTIONS]


def kill_after_a_step(arguments: list[str], seconds: float = 0.0) -> None:
    """Start a tuning, and end it with SIGKILL some time after its first look at dev."""
    with subprocess.Popen(
        arguments, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        next((line for line in process.stderr if line.startswith("Step")), None)
        time.sleep(seconds)
        process.kill()


@pytest.mark.parametrize("method", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_killed_tuning_ends_with_the_same_weights(
    given: list[object], method: str, tmp_path: Path
) -> None:
    straight = autoprompt(*given, "--method", method, "--out", tmp_path / "straight")
    assert (straight.code, straight.err.count("Step")) == (0, 20)
    chance = random.Random(method)
    again = command(*given, "--method", method, "--out", tmp_path / "killed")
    kill_after_a_step(again, chance.uniform(0, 0.8))  # within steps, looks and checkpoints
    kill_after_a_step([*again, "--resume"], chance.uniform(0, 0.8))
    ended = autoprompt(*given, "--method", method, "--out", tmp_path / "killed", "--resume")
    if "no unfinished tuning" not in ended.err:  # else it was done before the last kill came
        assert ended.code == 0, ended.err
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    wanted, found = (load_file(tmp_path / run / name) for run in ("straight", "killed"))
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():
        assert (value == found[key]).all(), key
    records = [
        json.loads((tmp_path / run / "tuning.json").read_text()) for run in ("straight", "killed")
    ]
    for record in records:
        record["training"].pop("seconds")
    assert records[0]["training"] == records[1]["training"]


def test_other_input_cannot_be_resumed(
    given: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, Course, "look", 3, KeyboardInterrupt())
        assert autoprompt(*given, "--out", tmp_path / "out").code == 130
    ended = autoprompt(*given, "--out", tmp_path / "out", "--resume", "--weight-decay", "0.3")
    assert ended.code == 2
    assert "weight_decay was 0.01, is 0.3" in ended.err
    refused = autoprompt(*given, "--out", tmp_path / "out")
    assert refused.code == 2
    assert "pass --resume" in refused.err


def test_from_the_command_to_predictions(given: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = autoprompt(*given, "--out", out, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    (task,) = document["tasks"]
    assert task["test"]["accuracy"]["n"] == 32
    test = Path(str(given[3])) / "test.jsonl"
    scored = json.loads(autoprompt("score", out, "--data", test, "--json").out)
    assert scored["split"] == "test"
    assert scored["measures"]["accuracy"]["value"] == task["test"]["accuracy"]["value"]
    predicted = autoprompt("predict", out, "--data", "-", stdin=b"a very good film\n")
    assert json.loads(predicted.out)["label"] in ("neg", "pos")
    again = autoprompt(*given, "--out", tmp_path / "again")
    assert "of 26,901 parameters" in again.out
    assert f"autoprompt predict {tmp_path / 'again'}" in again.out
