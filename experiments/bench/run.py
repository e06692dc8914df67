"""Measure, and write RESULTS.md and results.json.

    python -m experiments.bench.run [--jobs J1 J3] [--texts FILE] [--tokenizer DIR]
                                    [--peers DIR --checkout ucinlp=DIR lm-bff=DIR]

By default all jobs, in about half an hour with the peers on two cores that nothing else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoprompt.files import write_atomically, write_json
from experiments.bench import texts
from experiments.bench.jobs import Job, jobs_of, linearity
from experiments.bench.material import BRIEF, FULL, Material
from experiments.bench.measure import grown, measured
from experiments.bench.report import table
from experiments.bench.sides import PEERS, ROOT, Environment

HERE = Path(__file__).parent
LINEARITY = "linearity"
SHAPES_OF = {
    "J1": ("mini", "base"),
    "J2": ("mini",),
    "J3": ("mini", "base"),
    "J4": ("gpt2",),
    "J5": ("mini", "base"),
    LINEARITY: ("mini",),
}


def main() -> None:
    """Parse, measure, write."""
    given = _parser().parse_args()
    given.out.mkdir(parents=True, exist_ok=True)  # before half an hour is spent
    threads = given.threads
    load = os.getloadavg()[0]
    shapes = dict.fromkeys(shape for name in given.jobs for shape in SHAPES_OF[name])
    with tempfile.TemporaryDirectory() as folder:
        material = Material(
            texts.read(given.texts),
            _models(list(shapes), Path(folder), given.tokenizer),
            Environment(given.peers, dict(given.checkout)),
            FULL if given.full else BRIEF,
            given.width,
        )
        found = []
        gain, pays = _bfloat16_gain()
        for job in jobs_of(material, given.jobs):
            job = job if gain > pays else without_bfloat16(job, gain)
            _say(f"{job.name}: {job.title}")
            found.append(measured(job, given.repeats, threads, _say))
        rows: list[dict[str, Any]] = []
        if LINEARITY in given.jobs:
            _say(LINEARITY)
            rows = grown(*linearity(material), given.repeats, threads, _say)
    document = {
        "jobs": found,
        "linearity": rows,
        "options": {
            "repeats": given.repeats,
            "threads": threads,
            "full": given.full,
            "texts": "/".join(given.texts.parts[-2:]) if given.texts else "the sample task's",
            "tokenizer": given.tokenizer.name if given.tokenizer else "the embedded model's",
        },
        "machine": {
            "cores": os.cpu_count(),
            "platform": platform.machine(),
            "load before": load,
            "bfloat16 over float32": round(gain, 2),
            "huge pages": os.environ.get("THP_MEM_ALLOC_ENABLE", "") == "1",
        },
    }
    kept = given.out / "results.json"
    if kept.is_file():
        document = beside(json.loads(kept.read_text("utf-8")), document, given.jobs)
    write_json(kept, document)
    write_atomically(given.out / "RESULTS.md", table(document))


def beside(before: dict[str, Any], now: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """New results with those jobs of an earlier run, done alike, that were not run again.

    Args:
        before: the earlier run's document.
        now: the new one's.
        names: of the jobs that were run.
    """
    same_cores = before["machine"]["cores"] == now["machine"]["cores"]
    if before["options"] != now["options"] or not same_cores:
        return now
    jobs = [*now["jobs"], *(job for job in before["jobs"] if job["job"] not in names)]
    linearity = now["linearity"] if LINEARITY in names else before["linearity"]
    return {**now, "jobs": sorted(jobs, key=lambda job: str(job["job"])), "linearity": linearity}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", nargs="+", choices=SHAPES_OF, default=list(SHAPES_OF))
    parser.add_argument("--repeats", type=int, default=3, help="rounds of turns")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--width", type=int, nargs="+", default=[32], help="search widths of J4")
    parser.add_argument("--full", action="store_true", help="base models on all of the data")
    parser.add_argument("--texts", type=Path, help='a file of {"text": ...} lines')
    parser.add_argument("--tokenizer", type=Path, help="of BERT, with 30,522 entries")
    parser.add_argument("--peers", type=Path, help="the environment of `make bench-peers`")
    parser.add_argument("--checkout", type=checkout, nargs="+", default=[], help="NAME=DIR")
    parser.add_argument("--out", type=Path, default=HERE, help="for the two files")
    return parser


def checkout(text: str) -> tuple[str, Path]:
    """A peer's checkout from `NAME=DIR`.

    Raises:
        ArgumentTypeError: it is not that, or no peer has the name.
    """
    known = sorted(peer.checkout for peer in PEERS.values() if peer.checkout)
    name, _, path = text.partition("=")
    if name not in known or not path:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=DIR with a NAME of {', '.join(known)}"
        )
    return name, Path(path)


def _models(shapes: list[str], folder: Path, tokenizer: Path | None) -> dict[str, Path]:
    """Checkpoints, made by a process of their own: this one stays small."""
    options = [str(tokenizer.resolve())] if tokenizer else []
    made = {}
    for shape in shapes:
        _say(f"making {shape}")
        made[shape] = folder / shape
        command = [sys.executable, "-m", "experiments.bench.checkpoints", shape, str(made[shape])]
        subprocess.run([*command, *options], check=True, cwd=ROOT, stderr=subprocess.DEVNULL)
    return made


def _bfloat16_gain() -> tuple[float, float]:
    """What the product's probe says, asked in a process of its own, and from where on it pays."""
    ask = "from autoprompt.models.precision import *; print(measured_gain('cpu'), PAYS)"
    said = subprocess.run([sys.executable, "-c", ask], check=True, cwd=ROOT, capture_output=True)
    gain, pays = map(float, said.stdout.split())
    return gain, pays


def without_bfloat16(job: Job, gain: float) -> Job:
    """A job in float32 alone: where bfloat16 does not pay, the product does not use it."""
    slow = f"matrix products in bfloat16 are {gain:.2f} times as fast as in float32 here"
    sides = tuple(side for side in job.sides if side.dtype == "float32")
    left_out = {side.key: slow for side in job.sides if side not in sides}
    return replace(job, sides=sides, left_out={**job.left_out, **left_out})


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
