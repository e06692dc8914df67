"""What the soaks found, and whether that is what was promised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoprompt.files import write_atomically

LEAST_RATIO = 3.5
KILLED = -9


def failures(found: Mapping[str, Any]) -> list[str]:
    """What breaks a promise."""
    wrong: list[str] = []
    if (kills := found.get("kills")) and not kills["same"]:
        wrong.append("a search that was killed ended elsewhere than the undisturbed one")
    for name, disk in (found.get("disks") or {}).items():
        if disk["code"] not in (1, 2) or disk["traceback"]:
            wrong.append(f"disk {name}: no clear error ({disk})")
        if not disk.get("the same after", True):
            wrong.append(f"disk {name}: the search did not go on as it should")
    if shared := found.get("throughput"):
        if shared["ratio"] < LEAST_RATIO:
            wrong.append(f"four workers are {shared['ratio']:.2f} times as fast as one")
        one, four = shared["1"]["metric"], shared["4"]["metric"]
        if not one["low"] <= four["value"] <= one["high"]:
            wrong.append("four workers find another best value than one, beyond noise")
        for count in ("1", "4"):
            wrong += [f"{count} workers: {fault}" for fault in shared[count]["faults"]]
    for number, ended in enumerate(found.get("chaos", [])):
        wrong += [f"chaos {number}: {fault}" for fault in ended["faults"]]
        if any(code not in (0, KILLED) for code in ended["codes"]):
            wrong.append(f"chaos {number}: exit codes {ended['codes']}")
    return wrong


def write_report(found: Mapping[str, Any], path: Path) -> None:
    """RESULTS.md from results.json."""
    lines = [
        "# Soaks: searches that are killed, starved and shared",
        "",
        "Made by `python -m experiments.soak.run` on the embedded model and the sample task",
        "`sentiment`, on two cores that other work shared; times are simulated, so ratios hold.",
        "`python -m experiments.soak.fuzz` feeds rubbish to every reader. `.ci/run` runs both, the",
        "first in a short form.",
    ]
    if kills := found.get("kills"):
        lines += [
            "",
            "## SIGKILL at random moments",
            "",
            f"{kills['kills']} SIGKILLs, each after 0 to {kills['longest life']} seconds of an "
            f"attempt, over {kills['searches']} searches of {kills['trials']} trials that were "
            f"resumed each time. All ended with "
            f"{'the same' if kills['same'] else 'ANOTHER'} result as the one that was left alone: "
            f"trials, prompts, scores, ledger, verdict.",
        ]
    if shared := found.get("throughput"):
        lines += [
            "",
            "## One PostgreSQL, one worker and four",
            "",
            f"A simulated model takes {shared['simulated seconds a trial']:g} seconds a trial; "
            f"counted while all workers were there.",
            "",
            "| workers | trials a minute | best value | accuracy on the selection data | faults |",
            "|---|---|---|---|---|",
        ]
        for count in ("1", "4"):
            part = shared[count]
            metric = part["metric"]
            lines.append(
                f"| {count} | {part['trials a minute']:.1f} | {part['value']:.4f} | "
                f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}] | "
                f"{len(part['faults'])} |"
            )
        lines += ["", f"Ratio {shared['ratio']:.2f}."]
    if shared := found.get("chaos"):
        lines += [
            "",
            "## Two of four workers killed, one frozen, the server restarted, the creator killed",
            "",
            "Faults are trials left unfinished, proposals lost or counted twice, a budget missed",
            "by a prompt, a ledger that does not add up.",
            "",
            "| run | results by worker | exit codes | faults |",
            "|---|---|---|---|",
        ]
        for number, ended in enumerate(shared):
            results = ", ".join(map(str, ended["results"]))
            codes = ", ".join(map(str, ended["codes"]))
            wrong = "; ".join(ended["faults"]) or "none"
            lines.append(f"| {number + 1} | {results} | {codes} | {wrong} |")
    if disks := found.get("disks"):
        lines += [
            "",
            "## Full and read-only disks",
            "",
            "| disk | exit code | message | the same result, given room and --resume |",
            "|---|---|---|---|",
        ]
        for name, disk in disks.items():
            after = {True: "yes", False: "NO", None: "-"}[disk.get("the same after")]
            message = disk["message"].replace("|", "\\|")
            lines.append(f"| {name} | {disk['code']} | {message} | {after} |")
    write_atomically(path, "\n".join(lines) + "\n")
