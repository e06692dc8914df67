"""Turns: who is measured when, and what comes out of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.bench.jobs import Job
from experiments.bench.sides import OURS, Running, Side

Say = Callable[[str], None]


def measured(job: Job, repeats: int, threads: int, say: Say) -> dict[str, Any]:
    """Measure a job: all sides in turns, round after round.

    Args:
        job: what to do.
        repeats: rounds.
        threads: of matrix products.
        say: takes lines about the progress.

    Returns:
        A JSON object; see `report`, which reads it.
    """
    with tempfile.TemporaryDirectory() as folder:
        bodies = [(side, job.payload) for side in job.sides]
        bodies += [(side, job.gemm_payload) for side in job.gemm]
        running = [Running(side, body, threads, Path(folder)) for side, body in bodies]
        try:
            heard = {one.side.key: one.ready() for one in running}
            alive = [one for one in running if "unavailable" not in heard[one.side.key]]
            turns = _rounds(alive, repeats, say)
        finally:
            for one in running:
                one.end()
    reasons = dict(job.left_out)
    for one in running:
        for answer in (heard[one.side.key], *turns.get(one.side.key, [])):
            if "unavailable" in answer:
                reasons[one.side.key] = answer["unavailable"]
    done = {key: answers for key, answers in turns.items() if key not in reasons}
    sides = [side for side in job.sides if side.key in done]
    reference = done[sides[0].key][0].get("numbers", {}) if sides else {}
    return {
        "job": job.name,
        "title": job.title,
        "unit": job.unit,
        "work": job.work,
        "sides": [
            _side(side, heard[side.key], done[side.key], reference if side is not sides[0] else {})
            for side in sides
        ],
        "floor": _floor(job, done),
        "left out": reasons,
    }


def _rounds(alive: list[Running], repeats: int, say: Say) -> dict[str, list[dict[str, Any]]]:
    """Each side's turns; each round begins with another side."""
    turns: dict[str, list[dict[str, Any]]] = {one.side.key: [] for one in alive}
    for number in range(repeats):
        first = number % max(len(alive), 1)
        for one in [*alive[first:], *alive[:first]]:
            answer = one.turn({"check": number == 0})
            turns[one.side.key].append(answer)
            said = answer.get("unavailable", f"{answer.get('seconds', 0.0):.2f} s")
            say(f"  {one.side.key}: {said}")
        alive = [one for one in alive if "unavailable" not in turns[one.side.key][-1]]
    return turns


def _side(
    side: Side, heard: dict[str, Any], turns: list[dict[str, Any]], reference: dict[str, Any]
) -> dict[str, Any]:
    return {
        "side": side.name,
        "dtype": side.dtype,
        "setting": heard["setting"],
        "versions": heard["versions"],
        "seconds": [turn["seconds"] for turn in turns],
        "peak_mib": turns[-1]["peak_mib"],
        "differences": differences(turns[0].get("numbers", {}), reference),
    }


def differences(numbers: dict[str, list[float]], reference: dict[str, list[float]]) -> Any:
    """How far a side's numbers are from those of the side that all are compared with.

    Returns:
        Name to the largest absolute difference; for "predictions" to the share that is the same.
    """
    found = {}
    for name in numbers.keys() & reference.keys():
        own, other = np.array(numbers[name]), np.array(reference[name])
        same_shape = own.shape == other.shape
        if name == "predictions":
            found[name] = float((own == other).mean()) if same_shape else 0.0
        else:
            found[name] = float(np.abs(own - other).max()) if same_shape else float("inf")
    return dict(sorted(found.items()))


def _floor(job: Job, done: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Seconds of the least work, for each dtype."""
    # Which tokens were changed decides what a causal cache can save. All our sides see the same.
    flipped: list[int] = next(
        (
            done[s.key][0]["flipped"]
            for s in job.sides
            if s.module == OURS and s.key in done and "flipped" in done[s.key][0]
        ),
        [],
    )
    work = job.flops(flipped)
    found: dict[str, Any] = {"gflop": (work.body + work.head) / 1e9}
    for side in job.gemm:
        if side.key in done:
            turns = [turn["rates"] for turn in done[side.key]]
            rates = {kind: max(turn[kind] for turn in turns) for kind in ("body", "head")}
            found[side.dtype] = {
                "seconds": work.seconds(rates),
                **{f"{kind} gflops": rate / 1e9 for kind, rate in rates.items()},
            }
    return found


def grown(
    payload: dict[str, Any], turns: list[dict[str, int]], repeats: int, threads: int, say: Say
) -> list[dict[str, Any]]:
    """The table of linearity: each turn with its seconds, in rounds."""
    with tempfile.TemporaryDirectory() as folder:
        running = Running(Side("ours", OURS), payload, threads, Path(folder))
        try:
            heard = running.ready()
            if "unavailable" in heard:
                raise RuntimeError(f"the product cannot run: {heard['unavailable']}")
            seconds: list[list[float]] = [[] for _ in turns]
            for number in range(repeats):
                for at, sent in enumerate(turns):
                    seconds[at].append(running.turn(sent)["seconds"])
                say(f"  round {number + 1} of {repeats}")
        finally:
            running.end()
    return [{**sent, "seconds": own} for sent, own in zip(turns, seconds, strict=True)]
