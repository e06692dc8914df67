"""The `autoprompt` command run inside the test process, or as a process of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from autoprompt.cli.main import main

MODULE = [sys.executable, "-m", "autoprompt.cli.main"]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def autoprompt(*arguments: object, stdin: bytes = b"") -> Ended:
    """Run the command line in this process, as its entry point does."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    argv = ["autoprompt", *map(str, arguments)]
    given = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    with (
        _as_it_was(),
        mock.patch.object(sys, "argv", argv),
        mock.patch.object(sys, "stdin", given),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return Ended(code, out.getvalue(), err.getvalue())


def command(*arguments: object) -> list[str]:
    """The same as a list for `subprocess`."""
    return [*MODULE, *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """For a subprocess: one thread, as the tests have, and warnings as they come."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def python(code: str, *, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a new process."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Undo what the command line sets for a whole process."""
    logger, libraries = logging.getLogger("autoprompt"), logging.getLogger("transformers")
    before = logger.propagate, libraries.level
    terminated = signal.getsignal(signal.SIGTERM)
    with mock.patch.dict(os.environ):
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, terminated)
            logger.propagate = before[0]
            libraries.setLevel(before[1])
