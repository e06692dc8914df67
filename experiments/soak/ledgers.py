"""Whether a search that several workers ran is whole: nothing lost, nothing counted twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from autoprompt.searching.addresses import Address
from autoprompt.searching.records import PROPOSAL, WORKER, has_result
from autoprompt.searching.storage import Place, join_study

COUNTED = ("forwards", "backwards", "saved")  # the budget's; what a kill makes run again differs


def study_of(address: Address, name: str) -> tuple[list[Any], dict[str, Any]]:
    """All trials of a study, and its attributes."""
    with join_study(Place(address, name, name), patience=5, wait=5) as study:
        return study.get_trials(deepcopy=False), study.user_attrs


def faults(run: Path, address: Address, name: str, prompts: int) -> list[str]:
    """What is wrong with a finished run.

    Args:
        run: its directory.
        address, name: of its study.
        prompts: its budget in trials; it must be met to the prompt.
    """
    trials, attributes = study_of(address, name)
    found: list[str] = []
    states = Counter(trial.state for trial in trials)
    if unfinished := states[TrialState.RUNNING] + states[TrialState.WAITING]:
        found.append(f"{unfinished} trials are neither finished nor failed")
    results = Counter(trial.user_attrs[PROPOSAL] for trial in trials if has_result(trial))
    if lost := sorted(set(range(max(results) + 1)) - set(results)):
        found.append(f"proposals without a result: {lost}")
    if doubled := sorted(proposal for proposal, count in results.items() if count > 1):
        found.append(f"proposals with two results: {doubled}")
    rows = [json.loads(line) for line in (run / "trials.jsonl").read_text("utf-8").splitlines()]
    if [row["trial"] for row in rows] != sorted(results):
        found.append("trials.jsonl has other trials than the study")
    ledger = json.loads((run / "ledger.json").read_text("utf-8"))
    scored = {row["prompt"] for row in rows if row["state"] in ("scored", "dropped")}
    if len(scored) != prompts or ledger["prompts"] != prompts:
        found.append(f"{len(scored)} prompts, not {prompts} as the budget has it")
    readings = attributes["readings of test"].values()
    for key in COUNTED:
        parts = sum(row["spent"][key] for row in rows)
        parts += sum(reading["spent"][key] for reading in readings)
        if ledger[key] != parts:
            found.append(f"the ledger has {ledger[key]} {key}, its parts {parts}")
    return found


def workers_of(address: Address, name: str) -> Counter[str]:
    """How many results each worker gave."""
    trials, _ = study_of(address, name)
    return Counter(trial.user_attrs[WORKER] for trial in trials if has_result(trial))
