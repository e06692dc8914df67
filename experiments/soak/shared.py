"""Several workers on one PostgreSQL: how much faster, and what kills and restarts leave."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from autoprompt.searching.addresses import Address
from autoprompt.searching.records import PROPOSAL, has_result
from experiments.soak.ledgers import faults, study_of, workers_of
from experiments.soak.material import begun, search_arguments
from experiments.soak.server import Server

PATIENCE = 1800.0  # seconds until a soak gives up
SEEDS = 2  # proposals that only the search's own process scores, before the others begin


class Team:
    """A search and workers that joined it.

    Args:
        folder: for its run, `folder/run`, and the processes' output.
        server: where its study is.
        prompts: its budget.
        seconds: how long a trial takes; see `process`.
        grace: after which a silent worker counts as dead.
    """

    def __init__(
        self, folder: Path, server: Server, prompts: int, seconds: str, grace: float = 60.0
    ) -> None:
        folder.mkdir(parents=True)
        self.folder, self.run, self.prompts, self.seconds = folder, folder / "run", prompts, seconds
        self.url = server.create(f"soak-{folder.name}-{os.getpid()}")
        self.address = Address.parse(self.url)
        self.options = ("--grace", str(grace))
        self.workers: list[subprocess.Popen[bytes]] = []
        self.search = self._begin(search_arguments(self.run, prompts, *self.options), "search")
        try:
            until(lambda: self.is_going(0), "the study", self.search)
        except RuntimeError as error:  # the folder goes with the soak: what it says is told here
            said = (folder / "search.log").read_text("utf-8", errors="replace")
            raise RuntimeError(f"{error}; it said:\n{said[-4000:]}") from error
        self.study = json.loads((self.run / "storage.json").read_text("utf-8"))["study"]

    def join(self, count: int) -> None:
        """Let more workers join, by the study's name alone."""
        for _ in range(count):
            name = f"worker-{len(self.workers)}"
            self.workers.append(self._begin(["worker", self.study], name))

    def resume(self) -> None:
        """Go on with the search after its own process was killed."""
        arguments = search_arguments(self.run, self.prompts, *self.options, "--resume")
        self.search = self._begin(arguments, "search")

    def _begin(self, arguments: list[str], name: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{name}.log"
        return begun(arguments, log, self.seconds, AUTOPROMPT_STORAGE=self.url)

    def is_going(self, results: int) -> bool:
        """Whether so many proposals have a result."""
        if not (self.run / "storage.json").is_file():
            return False
        try:
            study = json.loads((self.run / "storage.json").read_text("utf-8"))["study"]
            trials, _ = study_of(self.address, study)
        except Exception:  # whatever a server that is being restarted makes the driver raise
            return False  # not made yet, or the server is away
        return sum(map(has_result, trials)) >= results

    def is_at_work(self, worker: subprocess.Popen[bytes]) -> bool:
        """Whether a worker is at a trial."""
        trials, _ = study_of(self.address, self.study)
        return any(
            trial.state == TrialState.RUNNING
            and str(trial.user_attrs.get("worker", "")).endswith(f":{worker.pid}")
            for trial in trials
        )

    def end(self) -> dict[str, Any]:
        """Wait for the end; returns what is wrong, and who did how much."""
        codes = [self.search.wait(PATIENCE)]
        for worker in self.workers:
            codes.append(worker.wait(PATIENCE))
        found = faults(self.run, self.address, self.study, self.prompts)
        results = dict(workers_of(self.address, self.study))
        return {"codes": codes, "faults": found, "results": sorted(results.values())}

    def close(self) -> None:
        """End what is left of the processes."""
        for process in (self.search, *self.workers):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()


def until(
    happens: Callable[[], Any], what: str, process: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not happen in {PATIENCE:.0f} seconds")
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the process ended with {process.returncode} before {what}")
        time.sleep(0.2)


def throughput(folder: Path, server: Server, prompts: int, seconds: float) -> dict[str, Any]:
    """One worker against four, on the same budget and a simulated model."""
    found: dict[str, Any] = {}
    for count in (1, 4):
        team = Team(folder / f"of-{count}", server, prompts, f"simulated:{seconds}")
        try:
            team.join(count - 1)
            ended = team.end()
            best = json.loads((team.run / "best.json").read_text("utf-8"))
            trials, _ = study_of(team.address, team.study)
            value = max(t.value for t in trials if t.state == TrialState.COMPLETE)
            found[str(count)] = {
                **ended,
                **rate(trials, count),
                "value": value,
                "metric": best["scores"]["selection"]["accuracy"],
            }
        finally:
            team.close()
    ratio = found["4"]["trials a minute"] / found["1"]["trials a minute"]
    return {**found, "ratio": ratio, "simulated seconds a trial": seconds}


def rate(trials: list[Any], workers: int) -> dict[str, float]:
    """Results a minute while all workers were there and had something to do."""
    done = [trial for trial in trials if has_result(trial) and trial.user_attrs[PROPOSAL] >= SEEDS]
    first: dict[str, Any] = {}
    last: dict[str, Any] = {}
    for trial in done:
        who = trial.user_attrs["worker"]
        first[who] = min(first.get(who, trial.datetime_start), trial.datetime_start)
        last[who] = max(last.get(who, trial.datetime_start), trial.datetime_start)
    begin, end = max(first.values()), min(last.values())
    counted = [trial for trial in done if begin <= trial.datetime_start < end]
    minutes = (end - begin).total_seconds() / 60
    return {
        "trials a minute": len(counted) / minutes if minutes else 0.0,
        "minutes": minutes,
        "workers": len(first) if len(first) == workers else -1,
    }


def chaos(folder: Path, server: Server, prompts: int, seconds: float, seed: int) -> dict[str, Any]:
    """Four workers: two are killed, one is frozen, the server restarted; then the creator dies."""
    draw = random.Random(seed)
    team = Team(folder / f"chaos-{seed}", server, prompts, str(seconds), grace=6.0)
    try:
        team.join(3)
        for worker in team.workers:
            until(lambda worker=worker: team.is_at_work(worker), "a worker's trial", worker)
        killed, frozen = draw.sample(team.workers, 2)
        killed.kill()
        frozen.send_signal(signal.SIGSTOP)
        time.sleep(draw.uniform(0, 2))
        server.restart()
        other = next(w for w in team.workers if w not in (killed, frozen))
        until(lambda: team.is_at_work(other), "a worker's trial after the restart", other)
        other.kill()
        time.sleep(10)  # longer than the grace: the frozen one's trial is given to another
        frozen.send_signal(signal.SIGCONT)
        until(lambda: team.is_at_work(frozen), "a trial of the worker that was frozen", frozen)
        team.search.kill()
        team.search.wait()
        team.resume()
        return team.end()
    finally:
        team.close()
