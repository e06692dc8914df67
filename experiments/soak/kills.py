"""Kill a single search at random moments, many times, and compare its end with an undisturbed one.

Each attempt is a fork of a process that has the libraries loaded, so that most of its life is the
search itself and not Python's start.
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
LONGEST_LIFE = 4.0  # seconds of an attempt, at first
PATIENCE = 1800  # seconds for an attempt that is not killed


def kills(folder: Path, wanted: int, prompts: int, seed: int = 0) -> dict[str, Any]:
    """Search once undisturbed and once with kills; returns what came of it.

    Args:
        folder: for both runs.
        wanted: how many SIGKILLs.
        prompts: the budget.
        seed: of the moments.
    """
    import autoprompt.pipeline  # loaded once, for all forks

    del autoprompt
    draw = random.Random(seed)
    whole, run = folder / "whole" / "run", folder / "killed" / "run"
    for path in (whole, run):
        path.parent.mkdir(parents=True)
    assert _attempt(search_arguments(whole, prompts), None) == 0
    died = early = 0
    life = LONGEST_LIFE
    while died < wanted:
        resume = ["--resume"] if run.exists() else []
        before = _finished(run)
        code = _attempt(search_arguments(run, prompts, *resume), draw.uniform(0, life))
        if code == -signal.SIGKILL:
            died += 1
            early += not resume
            # The kills are to fall all over the search: its end should come about with the last.
            ahead = _finished(run) / prompts > (died + 1) / wanted
            life *= 0.8 if ahead else 1.1 if _finished(run) == before else 1.0
        elif code == 0:
            break
        else:
            raise RuntimeError(f"an attempt ended with {code}; see {folder / 'attempts.log'}")
        print(f"{died} kills, {_finished(run)} trials", file=sys.stderr, flush=True)
    while (code := _attempt(search_arguments(run, prompts, "--resume"), None)) != 0:
        raise RuntimeError(f"the last attempt ended with {code}")
    return {
        "kills": died,
        "trials": _finished(run),
        "same": reproducible(run) == reproducible(whole),
    }


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
