"""Several processes: `accelerate launch` on CPUs, over gloo."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from command_line import autoprompt, environment
from safetensors.numpy import load_file
from tuning_material import prompt, write_task

from autoprompt.models.loading import load_model

LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch"),
    # "--multi_gpu" starts the processes; that they run on CPUs is said below.
    *("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"),
    *("--dynamo_backend", "no", "--main_process_port", "0", "-m", "autoprompt.cli.main"),
]
OPTIONS = ("--steps", 20, "--evaluate-every", 5, "--learning-rate", "3e-3", "--dropout", 0)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(model_directory: object, tmp_path: Path) -> None:
    assert callable(model_directory)
    model = load_model(str(model_directory("bert")))
    bare = prompt()
    tokens = model.encoder.record(bare.frame, bare.verbalizer.all_words)
    replace(bare, model=model.identity, tokens=tokens).save(tmp_path / "prompt.json")
    task = write_task(tmp_path / "task")
    given = ["tune", tmp_path / "prompt.json", "--task", task, *OPTIONS]
    alone = autoprompt(*given, "--out", tmp_path / "alone")
    assert alone.code == 0, alone.err
    # Neither process may take the tracker's files for something that lay there before.
    tracker = ["--report-to", "tensorboard"] if find_spec("tensorboard") else []
    done = subprocess.run(
        [*LAUNCH, *map(str, given), "--out", str(tmp_path / "both"), "--json", *tracker],
        env=environment(ACCELERATE_USE_CPU="true", GLOO_SOCKET_IFNAME="lo"),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["processes"] == 2  # one document: the main process speaks alone
    records = [
        json.loads((tmp_path / name / "tuning.json").read_text()) for name in ("alone", "both")
    ]
    one, two = (record["training"] for record in records)
    # Without dropout the steps are the same sums in another order.
    assert [row["step"] for row in one["history"]] == [row["step"] for row in two["history"]]
    for first, second in zip(one["history"], two["history"], strict=True):
        assert second["cross_entropy"] == pytest.approx(first["cross_entropy"], abs=0.02)
    assert two["after"] == pytest.approx(one["after"], abs=0.02)
    wanted, found = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "both"))
    assert max(float(abs(wanted[key] - found[key]).max()) for key in wanted) < 0.05


def test_a_batch_that_processes_cannot_share_is_refused(
    model_directory: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(model_directory)
    bare = prompt()
    model = load_model(str(model_directory("bert")))
    tokens = model.encoder.record(bare.frame, bare.verbalizer.all_words)
    replace(bare, model=model.identity, tokens=tokens).save(tmp_path / "prompt.json")
    given = ["tune", tmp_path / "prompt.json", "--task", write_task(tmp_path / "task")]
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = autoprompt(*given, "--batch", 7, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "a multiple of 2" in ended.err
    ended = autoprompt(*given, "--tune-trials", 2, "--out", tmp_path / "out2")
    assert ended.code == 2
    assert "run in one process" in ended.err
