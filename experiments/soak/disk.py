"""A disk that is full, and one that cannot be written: a clear error, and nothing lost.

The small disk is a tmpfs, which wants root; the tests do the same with a limit on files' sizes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.soak.kills import reproducible
from experiments.soak.material import ROOT, environment, search_arguments

SIZES = (100, 250, 400, 600)  # KiB; a search of this kind writes about 1,000


def disks(folder: Path, prompts: int) -> dict[str, Any]:
    """Fill disks of several sizes, give them room, and go on; then a disk that is read-only."""
    whole = folder / "whole" / "run"
    whole.parent.mkdir(parents=True)
    assert _search(whole, prompts).returncode == 0
    found: dict[str, Any] = {}
    for size in SIZES:
        place = folder / f"disk-{size}"
        with _mounted(place, f"size={size}k"):
            run = place / "run"
            full = _search(run, prompts)
            _mount(place, "remount,size=64m")
            resume = ["--resume"] if run.exists() else []
            after = _search(run, prompts, *resume)
            same = after.returncode == 0 and reproducible(run) == reproducible(whole)
            found[f"{size} KiB"] = {**_said(full), "the same after": same}
            if not same:
                found[f"{size} KiB"]["after"] = _said(after)
    place = folder / "read-only"
    with _mounted(place, "size=64m"):
        _mount(place, "remount,ro")
        found["read-only"] = _said(_search(place / "run", prompts))
    return found


def _said(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    lines = ended.stderr.strip().splitlines()
    last = lines[-1] if lines else ""
    return {
        "code": ended.returncode,
        "message": last[-300:].replace(str(Path.cwd()), ""),
        "traceback": "Traceback" in ended.stderr,
    }


def _search(run: Path, prompts: int, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autoprompt.cli.main", *search_arguments(run, prompts, *more)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def _mounted(place: Path, options: str) -> Iterator[None]:
    place.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=True, env=os.environ
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _mount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", options, str(place)], check=True)
