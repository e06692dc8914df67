"""What the soaks search on: the sample task of the package, its space and its embedded model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TASK = ("--task", "sentiment", "--space", "sentiment", "--k-shot", "8", "--dtype", "float32")


def search_arguments(out: Path, prompts: int, *more: str) -> list[str]:
    """The arguments of a search with an exact budget."""
    return ["search", *TASK, "--out", str(out), "--trials", str(prompts), "--seed", "3", *more]


def environment(**more: str) -> dict[str, str]:
    """For processes that share the machine's cores."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(ROOT),
        **more,
    }


def begun(
    arguments: list[str], log: Path, seconds: str = "0", **more: str
) -> subprocess.Popen[bytes]:
    """Start autoprompt as a process whose output goes to a file.

    Args:
        arguments: of its command line.
        log: the file.
        seconds: how long a trial takes; see `process`.
        more: environment variables.
    """
    with log.open("ab") as handle:
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.soak.process", seconds, *arguments],
            cwd=ROOT,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
        )
