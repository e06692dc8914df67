"""A run on one self-contained page.

Jinja2 writes it with every value escaped; the texts of examples, prompts and labels are data and
are never rendered as templates. The page has no script, and a policy that lets it ask for nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2

from autoprompt.files import write_atomically
from autoprompt.finished_runs import FinishedRun
from autoprompt.lineage import changes
from autoprompt.report.charts import history_chart, interval_chart, reliability_chart
from autoprompt.report.findings import (
    FIRST,
    SHOWN,
    by_label,
    disagreements,
    history,
    importance,
    leaderboard,
    misses,
    reliability,
)
from autoprompt.report.model_facts import ModelFacts
from autoprompt.runs import RunDirectory
from autoprompt.searching.verdict import Verdict

SECTIONS = {
    "verdict": "Verdict",
    "leaderboard": "Leaderboard",
    "history": "History",
    "importance": "Importance",
    "lineage": "Lineage",
    "classes": "Labels and confusion",
    "disagreements": "Examples to read",
    "label-words": "Label words",
    "saliency": "Tokens' worth",
    "robustness": "Robustness and bias",
    "calibration": "Calibration",
    "spent": "Spent",
    "command": "Command and versions",
}
STATUS = {
    "improved": "improved",
    "not_significant": "not significant",
    "worse": "worse",
    "kept_seed": "kept the seed",
}


def write_report(run: FinishedRun, facts: ModelFacts | None = None) -> Path:
    """Write `report.html` into the run's directory; returns its path.

    Args:
        run: the run.
        facts: what the model says; without it, its sections say how to add it.

    Raises:
        InputError: it cannot be written.
    """
    place = RunDirectory(run.path).report
    write_atomically(place, page(run, facts))
    return place


def page(run: FinishedRun, facts: ModelFacts | None = None) -> str:
    """The page's HTML; see `write_report`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number,
        signed=lambda value: f"{value:+.3f}",
        p_value=lambda value: "< 0.0001" if value < 0.0001 else f"{value:.4f}",
        probability=_percent,
        thousands=lambda value: f"{value:,}",
    )
    return environment.get_template("page.html").render(_values(run, facts))


def _values(run: FinishedRun, facts: ModelFacts | None) -> dict[str, Any]:
    config, verdict, trials = run.config, dict(run.verdict), history(run)
    scored = run.scored("winner")
    bins, error = reliability(scored) if scored else ([], 0.0)
    sides = {"winner": verdict["winner"]}
    if not run.kept_seed:
        sides["best seed"] = verdict["baseline"]
    counted = Counter(point.state for point in trials)
    sizes = config.get("sizes", {})
    known = [abs(token.worth) for token in facts.tokens if token.worth] if facts else []
    splits = Counter(row.split for row in run.selection)
    return {
        "title": f"autoprompt: {config.get('task_name') or 'a run'}",
        "path": str(run.path),
        "sections": SECTIONS,
        "config": {"command": "", "model_name": "", "seed": verdict.get("seed"), **config},
        "sizes": ", ".join(f"{n} {name}" for name, n in sizes.items()) or "its splits",
        "sizes_selection": ", ".join(f"{n} {name}" for name, n in splits.items()) or "train, dev",
        "metric": run.metric,
        "labels": run.labels,
        "verdict": {"test_reads": 1, "baseline_is_drafted": False, **verdict},
        "status": STATUS.get(verdict["status"], verdict["status"]),
        "sentence": str(_verdict(verdict)),
        "kept_seed": run.kept_seed,
        "best": run.best,
        "leaders": leaderboard(run),
        "trials": trials,
        "states": ", ".join(f"{count} {state}" for state, count in counted.items()),
        "history_chart": history_chart(trials),
        "interval_chart": interval_chart(sides, run.metric),
        "importance": importance(run),
        "lineage": _lineage(run),
        "rows": by_label(scored, run.labels) if scored else [],
        "judged": len(scored.gold) if scored else 0,
        "differing": disagreements(run),
        "missed": misses(run),
        "first": FIRST,
        "shown": SHOWN,
        "facts": facts,
        "most_worth": max(known, default=1.0),
        "bins": bins,
        "calibration_error": error,
        "reliability_chart": reliability_chart(bins),
        "spent": _spent(run),
        "versions": {
            **config.get("versions", {}),
            "model": config.get("model_name", ""),
            "weights": run.best.model.weights if run.best.model else "",
            "prompt": run.best.digest,
            **{f"{name} split": found for name, found in config.get("splits", {}).items()},
        },
    }


def _verdict(record: dict[str, Any]) -> Verdict:
    names = Verdict.__dataclass_fields__
    return Verdict.from_dict({key: value for key, value in record.items() if key in names})


def _lineage(run: FinishedRun) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    before = ""
    for edit in run.best.lineage:
        parts = changes(before, edit.text) if before else [("same", edit.text)]
        steps.append({"how": edit.how, "parts": parts if edit.text else [], "words": edit.words})
        before = edit.text or before
    return steps


def _spent(run: FinishedRun) -> dict[str, str]:
    ledger = run.ledger
    seconds = float(ledger.get("seconds", 0))
    found = {
        "trials": f"{ledger.get('trials', 0):,}",
        "different prompts": f"{ledger.get('prompts', 0):,}",
        "forwards": f"{ledger['forwards']:,}",
        "backward passes": f"{ledger.get('backwards', 0):,}",
        "tokens": f"{ledger.get('tokens', 0):,}",
        "forwards saved by racing": f"{ledger.get('saved', 0):,}",
        "time": f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min",
        "ended by": str(ledger.get("finish_reason", "")),
    }
    return found


def _number(value: float | None, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.{digits}f}"


def _percent(value: float) -> str:
    """A probability with two digits that count: words of a large vocabulary have small ones."""
    share = value * 100
    if share and share < 0.0001:
        return "< 0.0001 %"
    digits = max(0, 1 - math.floor(math.log10(share))) if share else 0
    return f"{share:.{digits}f} %"
