"""`python -m experiments.soak.run`: everything that a long search may meet; writes RESULTS.md.

`--short` is what continuous integration runs: the same, fewer times, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoprompt.files import write_json
from experiments.soak.disk import disks
from experiments.soak.kills import kills
from experiments.soak.report import failures, write_report
from experiments.soak.server import MISSING, programs, serving
from experiments.soak.shared import chaos, throughput

HERE = Path(__file__).parent
PARTS = ("kills", "disks", "throughput", "chaos")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run the soaks, report."""
    parser = argparse.ArgumentParser(description="Kill, starve and share searches.")
    parser.add_argument("--short", action="store_true", help="a few of each, and write nothing")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    short = options.short
    found: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="autoprompt-soak-"))
    try:
        if "kills" in options.only:
            wanted = 8 if short else options.kills
            found["kills"] = kills(folder / "kills", wanted, 16 if short else 60, options.seed)
        if "disks" in options.only:
            found["disks"] = _where_possible(lambda: disks(folder / "disks", 16))
        if {"throughput", "chaos"} & {*options.only}:
            if programs() is None:
                print(MISSING, file=sys.stderr)
            else:
                with serving() as server:
                    if "throughput" in options.only:
                        prompts, seconds = (40, 4.0) if short else (80, 6.0)
                        found["throughput"] = throughput(folder, server, prompts, seconds)
                    if "chaos" in options.only:
                        seeds = range(1 if short else 3)
                        found["chaos"] = [chaos(folder, server, 60, 4.0, n) for n in seeds]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=2, default=str))
    if not short:
        _keep(found)
    wrong = failures(found)
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if wrong else 0


def _where_possible(soak: Any) -> Any:
    """A soak that wants root; None where it cannot be."""
    import os

    if os.getuid() != 0:
        print("no small disks without root: left out", file=sys.stderr)
        return None
    return soak()


def _keep(found: dict[str, Any]) -> None:
    """Write the results, beside those of parts that were run before."""
    path = HERE / "results.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    together = {**before, **json.loads(json.dumps(found, default=str))}
    write_json(path, together)
    write_report(together, HERE / "RESULTS.md")


if __name__ == "__main__":
    sys.exit(main())
