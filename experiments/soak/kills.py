"""Kill a single search at random moments, many times, and compare its end with an undisturbed one.

Each attempt is a fork of a process that has the libraries and the model loaded, so that most of its
life is the search itself and not Python's start.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.soak.material import search_arguments

MACHINES = ("seconds", "recomputed", "tokens")  # what a clock or an interruption changes
SHARE = 0.2  # of an undisturbed search, that an attempt lives beyond its first trial at most
PATIENCE = 1800  # seconds for an attempt that is not killed


def kills(folder: Path, wanted: int, prompts: int, seed: int = 0) -> dict[str, Any]:
    """Search once undisturbed and once with kills; returns what came of it.

    Args:
        folder: for both runs.
        wanted: how many SIGKILLs.
        prompts: the budget.
        seed: of the moments.
    """
    _load_once()
    draw = random.Random(seed)
    whole = folder / "whole" / "run"
    whole.parent.mkdir(parents=True)
    began = time.monotonic()
    assert _attempt(search_arguments(whole, prompts), None) == 0
    life = _begin_of(whole) + SHARE * (time.monotonic() - began)
    wanted_result = reproducible(whole)
    died, ends = [], []
    while sum(died) < wanted:
        # A search that ends before all kills were dealt is followed by another.
        run = folder / f"killed-{len(ends)}" / "run"
        run.parent.mkdir()
        died.append(0)
        while True:
            resume = ["--resume"] if run.exists() else []
            left = draw.uniform(0, life) if sum(died) < wanted else None
            code = _attempt(search_arguments(run, prompts, *resume), left)
            if code == 0:
                break
            if code != -signal.SIGKILL:
                raise RuntimeError(f"an attempt ended with {code}; see {folder}")
            died[-1] += 1
            print(f"{sum(died)} kills, {_finished(run)} trials", file=sys.stderr, flush=True)
        ends.append(reproducible(run) == wanted_result)
    return {
        "kills": sum(died),
        "searches": len(ends),
        "trials": len(wanted_result["trials"]),
        "longest life": round(life, 1),
        "same": all(ends),
    }


def _load_once() -> None:
    """Load libraries and model, for all forks.

    On one thread: OpenMP's threads do not survive a fork, and a fork that waits for them hangs.
    """
    import torch

    import autoprompt.pipeline
    from autoprompt.models import loading

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    model = loading.load_model("embedded", dtype="float32")
    loading.load_model = lambda *_, **__: model  # type: ignore[assignment]
    del autoprompt


def _begin_of(run: Path) -> float:
    """Seconds until the first trial of a finished search."""
    lines = (run / "log.txt").read_text(encoding="utf-8").splitlines()
    made = (run / ".lock").stat().st_ctime
    first = next(line for line in lines if " trial 0: " in line)
    when = time.mktime(time.strptime(first[:19], "%Y-%m-%d %H:%M:%S"))
    return max(when - made, 0.0) + 1.0


def reproducible(run: Path) -> dict[str, Any]:
    """All of a run that is the same each time, on one machine."""
    import json

    def document(name: str) -> Any:
        return json.loads((run / name).read_text(encoding="utf-8"))

    def counts(spent: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in spent.items() if key not in MACHINES}

    rows = [json.loads(line) for line in (run / "trials.jsonl").read_text("utf-8").splitlines()]
    best = document("best.json")
    scores = {}
    for path in sorted((run / "scores").glob("*.npz")):
        with np.load(path) as arrays:
            scores[path.name] = arrays["log_probabilities"].round(5).tolist()
    return {
        "trials": [{**row, "spent": counts(row["spent"])} for row in rows],
        "best": {key: best[key] for key in ("digest", "scores", "splits", "lineage", "tokens")},
        "verdict": document("verdict.json"),
        "ledger": counts(document("ledger.json")),
        "prompts": sorted(path.name for path in (run / "prompts").iterdir()),
        "scores": scores,
    }


def _finished(run: Path) -> int:
    """Trials with a result; 0 before there is a study."""
    import sqlite3

    if not (run / "study.db").is_file():
        return 0
    query = (
        "SELECT count(DISTINCT a.value_json) FROM trials t JOIN trial_user_attributes a "
        "ON a.trial_id = t.trial_id WHERE a.key = 'proposal' AND t.state IN ('COMPLETE', 'PRUNED')"
    )
    connection = sqlite3.connect(f"file:{run / 'study.db'}?mode=ro", uri=True)
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def _attempt(arguments: Sequence[str], life: float | None) -> int:
    """Run the command line in a fork; kill it after `life` seconds. Returns its exit code."""
    child = os.fork()
    if child == 0:
        _become(arguments)
    deadline = time.monotonic() + (PATIENCE if life is None else life)
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _become(arguments: Sequence[str]) -> None:
    """Run the command line in this process, and end it."""
    from autoprompt.cli.main import main

    sys.argv = ["autoprompt", *arguments]
    log = Path(arguments[arguments.index("--out") + 1]).parent.parent / "attempts.log"
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        code = 70
    finally:
        sys.stdout.flush()
        os._exit(code)
