"""RESULTS.md from a document of results."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from experiments.bench.sides import PRODUCTS

TOLERANCE = 1e-4
HEAD = """# Speed, against a naive loop and other projects

Written by `make bench`; `results.json` has every turn. All sides of a job run the same random
weights on the same data in one run, each in a process of its own, {threads}, in turns; rounds:
{repeats}. A rate is that of the median turn. A ratio is one of medians, in brackets the lowest
and the highest of any round. Ratios of such a run carry over to other machines, rates do not.
Jobs that `--jobs` leaves out keep their figures of an earlier run.

- **naive**: plain transformers (`naive.py`): batches of 32 in the given order, padded to the
  longest, logits at all positions, `no_grad`, float32, one pass for each pair or candidate.
- **ours**: the product, by its public seams (`ours.py`). "bfloat16" computes all in bfloat16,
  "screened" lets bfloat16 propose and float32 decide.
- **of the floor**: the least time for the job's matrix products on true tokens (`floor.py`) at
  the rate of bare products of the job's shapes in the same dtype and run, over the time taken.
- **peak**: the most memory of the process, in MiB, with everything that it imports and loads.
- **same numbers**: the largest difference from naive on the same inputs, and the share of
  predictions that are the same; float32 has to agree within {tolerance:g}.

Load average of the machine before the last run: {load:.1f} (others at work blur all figures).
Texts: {texts}. Tokenizer: {tokenizer}. {versions}
"""
PEERS = """## The peers' settings

Peers run as they are, in an environment of their own (`make bench-peers`); nothing of theirs is
changed on disk. Names that have moved since they were written are put back in memory before the
import (`peers/`): OpenPrompt's and LM-BFF's former modules of transformers; an empty
`sentence_transformers` for LM-BFF (its filter for demonstrations is not used), a fast tokenizer's
`_convert_token_to_id`, and the tie of its output layer to the embeddings; `AutoModelWithLMHead`,
and tuples instead of named outputs, for ucinlp/autoprompt. Times of J1 begin with texts. Batches of
other sizes were tried for OpenPrompt, LM-BFF and nanoGCG and are no faster here; padding is to the
shortest length that holds the texts.
"""


def table(document: dict[str, Any]) -> str:
    """The page."""
    options = document["options"]
    threads = "one thread" if options["threads"] == 1 else f"{options['threads']} threads"
    lines = [
        HEAD.format(
            threads=threads,
            repeats=options["repeats"],
            load=document["machine"]["load before"],
            tolerance=TOLERANCE,
            texts=options["texts"],
            tokenizer=options["tokenizer"],
            versions=_versions(document["jobs"]),
        )
    ]
    for job in document["jobs"]:
        lines += [*_job(job), ""]
    if document["linearity"]:
        lines += [*_linearity(document["linearity"]), ""]
    lines += [PEERS, *_settings(document["jobs"])]
    return "\n".join(lines).rstrip() + "\n"


def _job(job: dict[str, Any]) -> list[str]:
    lines = [
        f"## {job['job']}: {job['title']}",
        "",
        f"| side | {job['unit']} | seconds | times naive's speed | ours is so many times as fast | "
        "of the floor | peak | same numbers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sides = job["sides"]
    for side in sides:
        median = statistics.median(side["seconds"])
        naive = _ratio(sides[0], side) if sides[0]["side"] == "naive" and side != sides[0] else ""
        lines.append(
            f"| {side['side']}, {side['dtype']} | {job['work'] / median:.3g} | {median:.3g} | "
            f"{naive} | {_against_ours(side, sides)} | {_of_floor(side, job)} | "
            f"{side['peak_mib']:.0f} | {_same(side)} |"
        )
    rates = [
        f"{kind} {found['body gflops']:.0f} (head {found['head gflops']:.0f})"
        for kind, found in job["floor"].items()
        if kind != "gflop"
    ]
    lines += ["", f"{job['floor']['gflop']:.3g} GFLOP at GFLOP/s: {', '.join(rates)}."]
    lines += [f"Left out: {name}: {reason}." for name, reason in job["left out"].items()]
    return lines


def _against_ours(side: dict[str, Any], sides: Sequence[dict[str, Any]]) -> str:
    """How many times as fast ours of the same dtype is, for a side that is not ours."""
    own = [one for one in sides if one["side"] == "ours" and one["dtype"] == side["dtype"]]
    return _ratio(side, own[0]) if own and side["side"] != "ours" else ""


def _ratio(slow: dict[str, Any], fast: dict[str, Any]) -> str:
    """How many times as fast: of medians, and the lowest and highest of a round."""
    middle = statistics.median(slow["seconds"]) / statistics.median(fast["seconds"])
    rounds = [a / b for a, b in zip(slow["seconds"], fast["seconds"], strict=True)]
    return f"{middle:.3g} [{min(rounds):.3g}, {max(rounds):.3g}]"


def _of_floor(side: dict[str, Any], job: dict[str, Any]) -> str:
    found = job["floor"].get(PRODUCTS[side["dtype"]])
    return f"{found['seconds'] / statistics.median(side['seconds']):.2g}" if found else ""


def _same(side: dict[str, Any]) -> str:
    """The differences in words; one of float32 beyond the tolerance is called one."""
    said = []
    for name, value in side["differences"].items():
        if name == "predictions":
            said.append(f"{name} {100 * value:.4g} %")
            wrong = value < 1
        else:
            said.append(f"{name} {value:.1g}")
            wrong = value > TOLERANCE
        if wrong and side["dtype"] == "float32":
            said[-1] = f"**differs: {said[-1]}**"
    return ", ".join(said)


def _linearity(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Cost against the first row of each kind."""
    lines = [
        "## Linearity: ours, float32, mini",
        "",
        "| grown | templates | verbalizers | examples | seconds | cost, times | "
        "a unit, times the first |",
        "|---|---|---|---|---|---|---|",
    ]
    names = ("templates", "verbalizers", "examples")
    base = {name: min(row[name] for row in rows) for name in names}
    for grown in names:
        own = [row for row in rows if all(row[n] == base[n] for n in names if n != grown)]
        own = list({row[grown]: row for row in own}.values())
        first = statistics.median(own[0]["seconds"])
        for row in own:
            seconds = statistics.median(row["seconds"])
            cost, times = seconds / first, row[grown] / base[grown]
            lines.append(
                f"| {grown} x {times:g} | {row['templates']} | {row['verbalizers']} | "
                f"{row['examples']} | {seconds:.3g} | {cost:.3g} | {cost / times:.2g} |"
            )
    return lines


def _settings(jobs: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"- {job['job']}, {side['side']}, {side['dtype']}: {side['setting']}."
        for job in jobs
        for side in job["sides"]
        if side["side"] != "ours"
    ]


def _versions(jobs: Sequence[dict[str, Any]]) -> str:
    """Who ran with which versions."""
    groups: dict[str, dict[str, None]] = {}
    for job in jobs:
        for side in job["sides"]:
            text = ", ".join(f"{name} {number}" for name, number in side["versions"].items())
            groups.setdefault(text, {})[side["side"]] = None
    return " ".join(f"{', '.join(names)}: {text}." for text, names in groups.items())
