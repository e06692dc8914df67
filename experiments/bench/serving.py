"""The child's half of a measurement: prepare once, then one measured turn for each line of stdin.

A side is a program `python -m MODULE JOB DTYPE`. It reads the job from a JSON file, loads its
model and warms up, says so in one line of JSON, and answers each line that it is sent by one turn
in one line of JSON. It ends with its input. This module knows neither the product nor a peer, so
that the peers' own environments can run it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Turn = Callable[[dict[str, Any]], dict[str, Any]]


class UnavailableError(Exception):
    """This side cannot do the job; the message says why."""


def serve(prepare: Callable[[dict[str, Any], str], tuple[str, Turn]]) -> None:
    """Run as a side.

    Args:
        prepare: from a job and a dtype ("float32", "bfloat16" or "screened") to the setting, for
            people, and the turn. A turn takes what it was sent and returns `seconds` and, where
            they are to be compared with those of other sides, `numbers`: name to a flat list.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print belongs to the log
    job = json.loads(Path(sys.argv[1]).read_text())
    import torch

    torch.set_num_threads(job["threads"])

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=answers, flush=True)

    try:
        setting, turn = prepare(job, sys.argv[2])
    except UnavailableError as error:
        answer({"unavailable": str(error)})
        return
    versions = {name: version(name) for name in ("torch", "transformers")}
    answer({"setting": setting, "versions": versions})
    for line in sys.stdin:
        answer({**turn(json.loads(line)), "peak_mib": peak_mib()})


def peak_mib() -> float:
    """The most memory that this process held at once, in MiB, its loading included.

    `ru_maxrss` of a process that was started by another begins at the other's peak on Linux;
    the kernel's own count of this process does not.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(part for part in status.read_text().splitlines() if part.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 2**20 if sys.platform == "darwin" else used / 1024


class Clock:
    """Seconds since it was made.

    >>> Clock().seconds >= 0
    True
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started
