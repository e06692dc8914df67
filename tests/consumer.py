"""Other programs that read what is exported, each in an environment of its own.

`AUTOPROMPT_CONSUMERS` names a directory of virtual environments (`make consumers` makes them). A
program that is in none of them, nor in the environment of the tests, is not tried.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONSUMERS = "AUTOPROMPT_CONSUMERS"
REPORT = "\nprint('FOUND' + json.dumps(found))\n"


@functools.cache
def python_with(module: str) -> str | None:
    """The Python that has a module; None where none has."""
    folder = os.environ.get(CONSUMERS)
    for path in sorted(Path(folder).glob("*/bin/python")) if folder else ():
        code = f"import importlib.util, sys; sys.exit(not importlib.util.find_spec({module!r}))"
        if subprocess.run([str(path), "-c", code], check=False).returncode == 0:
            return str(path)
    return sys.executable if importlib.util.find_spec(module) else None


def found_by(module: str, code: str, *arguments: object, seconds: float = 300) -> Any:
    """What code finds that runs where a module is: the JSON value of its variable `found`.

    Args:
        module: the consumer.
        code: Python code; `sys.argv[1:]` are the arguments.
        arguments: for the code.
        seconds: the longest that it may take.
    """
    python = python_with(module)
    if python is None:
        pytest.skip(f"{module} is in no environment (make consumers)")
    done = subprocess.run(
        [python, "-c", f"import json, sys\n{code}{REPORT}", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    return json.loads(line.removeprefix("FOUND"))
