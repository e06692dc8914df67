"""The parent's half of a measurement: starting sides, and sending them turns.

Every side of every job is a process of its own, so that no side's memory, threads or caches are
another's. All sides of a job are started together and then take turns; while one works, the others
wait for their input.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# What a side computes in: "screened" is bfloat16 that proposes and float32 that decides.
PRODUCTS = {"float32": "float32", "bfloat16": "bfloat16", "screened": "bfloat16"}


@dataclass(frozen=True)
class Side:
    """A way to do a job.

    Attributes:
        name: for people.
        module: the program, see `serving`.
        dtype: one of `PRODUCTS`.
        python: the interpreter of its environment.
        extra: what it needs to know beside the job.
    """

    name: str
    module: str
    dtype: str = "float32"
    python: str = sys.executable
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name and dtype, which no other side of a job has both."""
        return f"{self.name}, {self.dtype}"


OURS, NAIVE, GEMM = (f"experiments.bench.{name}" for name in ("ours", "naive", "gemm"))


@dataclass(frozen=True)
class Peer:
    """Another project.

    Attributes:
        name: for people.
        module: its adapter.
        checkout: the name by which `--checkout` gives its directory; empty where it is a package.
    """

    name: str
    module: str
    checkout: str = ""


PEERS = {
    peer.name: peer
    for peer in (
        Peer("OpenPrompt", "experiments.bench.peers.openprompt_side"),
        Peer("LM-BFF", "experiments.bench.peers.lm_bff_side", "lm-bff"),
        Peer("ucinlp/autoprompt", "experiments.bench.peers.ucinlp_side", "ucinlp"),
        Peer("nanoGCG", "experiments.bench.peers.nanogcg_side"),
    )
}


@dataclass(frozen=True)
class Environment:
    """Where the peers are.

    Attributes:
        folder: made by `make bench-peers`, or None.
        checkouts: name to directory.
    """

    folder: Path | None
    checkouts: dict[str, Path]

    def side(self, name: str, dtype: str = "float32") -> Side | str:
        """A peer as a side, or why it cannot be had."""
        peer = PEERS[name]
        if self.folder is None:
            return "no environment of the peers was given (--peers)"
        python = self.folder.resolve() / "bin" / "python"
        if not python.exists():
            return "the environment of the peers has no Python (make bench-peers)"
        if peer.checkout and peer.checkout not in self.checkouts:
            return f"no checkout was given (--checkout {peer.checkout}=PATH)"
        extra = {}
        if peer.checkout:
            extra["checkout"] = str(self.checkouts[peer.checkout].resolve())
        return Side(name, peer.module, dtype, str(python), extra)


class Running:
    """A side's process.

    Args:
        side: what to run.
        job: what it does.
        threads: of matrix products.
        folder: for its job file and its log.
    """

    def __init__(self, side: Side, job: dict[str, Any], threads: int, folder: Path) -> None:
        self.side = side
        name = "".join(letter if letter.isalnum() else "-" for letter in side.key)
        self._log = folder / f"{name}.log"
        written = folder / f"{name}.json"
        written.write_text(json.dumps({**job, **side.extra, "threads": threads}))
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(threads),
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false" if threads == 1 else "true",
        }
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [side.python, "-m", side.module, str(written), side.dtype],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
                env=environment,
            )

    def ready(self) -> dict[str, Any]:
        """Wait until it has loaded; "setting" and "versions", or "unavailable" with the reason."""
        return self._answer()

    def turn(self, sent: dict[str, Any]) -> dict[str, Any]:
        """One measured turn; "unavailable" where it died."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            print(json.dumps(sent), file=self._process.stdin, flush=True)
        return self._answer()

    def end(self) -> None:
        """Close its input, which ends it."""
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        self._process.wait()
        said = [part for part in self._log.read_text().splitlines() if part.strip()]
        last = said[-1].strip()[:200] if said else "nothing"
        return {"unavailable": f"it ended with {self._process.returncode}; its last words: {last}"}
