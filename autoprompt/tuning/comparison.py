"""Prompting against tuning, side by side: rows from runs and tuned models, and what to use.

The recommendation looks at selection data alone; what the test split said stands beside it as an
aggregate.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError, RunDirectoryError
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory, prompt_file
from autoprompt.scoring.metrics import Measure, Z
from autoprompt.searching.verdict import NOT_SIGNIFICANT, WORSE
from autoprompt.tuning.card import SEARCHED_ON, trials_of
from autoprompt.tuning.output import TunedDirectory
from autoprompt.tuning.retention import Retention
from autoprompt.tuning.sources import SEED, baseline_file, verdict_of

EXPERT, SEARCHED = "expert prompt", "searched prompt"
DEV = "dev"
DOUBTS = {  # of a searched prompt, by its verdict
    NOT_SIGNIFICANT: "on test it could not be told from the best seed prompt",
    WORSE: "on test it was worse than the best seed prompt",
}
FORGETS = 1.5  # times the perplexity on ordinary text, from which it is worth a word


@dataclass(frozen=True)
class Row:
    """A way to do the task.

    Attributes:
        name: for people.
        place: the directory that it is from.
        metric: the task's.
        selection: the metric on data that was not fitted: dev, or where `n` says so train and dev.
        test: the metric on test; None where it was not read.
        test_digest: which test split that was.
        parameters: trained; 0 for prompts.
        seconds: of search or training.
        peak_memory: bytes; None where it is not known.
        bytes_to_ship: for the task, beside the base model where that is enough.
        examples: labelled ones that it took.
        retention: what the model still knows; None where it was not measured.
        needs: the directory of the tuned model that it needs; None where the base model serves.
        labels: of the task, in alphabetical order.
        dev_digest: which dev split; "" where that is not known.
        weights: digest of those that the prompt is asked on; "" where that is not known.
        bright: why the selection value is on the bright side; "" where it is not.
        doubt: what the run's verdict on test says against a searched prompt; "" for nothing.
    """

    name: str
    place: Path
    metric: str
    selection: Measure
    test: Measure | None
    test_digest: str
    parameters: int
    seconds: float
    peak_memory: int | None
    bytes_to_ship: int
    examples: int
    retention: Retention | None = None
    needs: Path | None = None
    labels: tuple[str, ...] = ()
    dev_digest: str = ""
    weights: str = ""
    bright: str = ""
    doubt: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        needs = str(self.needs) if self.needs else None
        return {**asdict(self), "place": str(self.place), "needs": needs}


def rows_of(place: Path) -> list[Row]:
    """The rows of a directory: two of a search, one for each task of a tuned model.

    Raises:
        RunDirectoryError: it is neither, or not finished.
    """
    if (place / "tuning.json").is_file():
        return _tuned_rows(place)
    if (place / "verdict.json").is_file():
        return _search_rows(place)
    raise RunDirectoryError(
        f"{place} holds neither a finished search nor a tuned model; name directories that "
        f"`autoprompt search` or `autoprompt tune` has written"
    )


def of_one_task(rows: Sequence[Row]) -> list[Row]:
    """The rows of the task that all directories have, of those with several the others left out.

    Raises:
        InputError: they have none in common.
    """
    tasks: dict[Path, set[tuple[str, ...]]] = {}
    for row in rows:
        tasks.setdefault(row.place, set()).add(row.labels)
    common = set[tuple[str, ...]].intersection(*tasks.values()) if tasks else set()
    if rows and not common:
        known = dict.fromkeys(row.labels for row in rows)
        raise InputError(
            f"the directories are of different tasks, with the labels "
            f"{'; '.join(', '.join(labels) for labels in known)}; name those of one task"
        )
    return [row for row in rows if row.labels in common]


def on_one_split(rows: Sequence[Row], tuned: Sequence[Path]) -> list[Row]:
    """The rows, those of prompts with their values on dev where a tuned model has measured that.

    A search scores its prompts on train and dev together; a tuning has fitted train. One on another
    dev split than the search's says nothing here, nor does one over folds.
    """
    known: dict[tuple[str, str, str, str], Measure] = {}
    for place in tuned:
        record = _record(place)
        for task in record["tasks"]:
            found = task["before"].get(metric := task["metric"])
            if found and task["judged_on"] == DEV:
                dev = task["splits"].get(DEV, "")
                known[task["prompt"], record["base"]["weights"], dev, metric] = Measure(**found)
    result = []
    for row in rows:
        key = (_digest_of(row), row.weights, row.dev_digest, row.metric)
        if row.needs is None and key in known:
            row = replace(row, selection=known[key])
        result.append(row)
    return result


def recommendation(rows: Sequence[Row]) -> tuple[Row, str]:
    """Which way to use, and why.

    The simplest way (fewest bytes to ship) that is within one standard error of the best one on
    the selection data.

    Raises:
        InputError: there are no rows.
    """
    if not rows:
        raise InputError("nothing to compare: name two directories at least")
    best = max(rows, key=lambda row: (row.selection.value, -row.bytes_to_ship))
    error = (best.selection.high - best.selection.low) / (2 * Z)
    close = [row for row in rows if row.selection.value >= best.selection.value - error]
    chosen = min(close, key=lambda row: (row.bytes_to_ship, row.parameters, row.seconds))
    value = f"{chosen.metric} {chosen.selection.value:.3f} on the selection data"
    if chosen is best:
        others = [row.selection.value for row in rows if row is not best]
        reason = f"it has the best {value}" + (
            f", the next one {max(others):.3f}" if others else ""
        )
    else:
        reason = (
            f"with {value} it is within one standard error ({error:.3f}) of the best one "
            f"({best.name}, {best.selection.value:.3f}), and it ships "
            f"{size(chosen.bytes_to_ship)} a task where that ships {size(best.bytes_to_ship)}"
        )
    if chosen.retention is not None and chosen.retention.ratio > FORGETS:
        reason += (
            f"; but the model has become {chosen.retention.ratio:.1f} times as surprised by "
            f"ordinary text, so use it for this task alone"
        )
    if chosen.bright:
        reason += f"; {chosen.bright}, so the value is on the bright side"
    if chosen.doubt:
        reason += f"; but {chosen.doubt}"
    if _on_different_dev(rows):
        reason += "; but the values rest on different dev splits, so do not rely on this"
    elif len({row.selection.n for row in rows}) > 1:
        reason += "; but the values rest on different examples, so do not rely on this"
    if _in_different_metrics(rows):
        reason += "; but the values are of different metrics, so do not rely on this"
    return chosen, reason


def notes_on(rows: Sequence[Row]) -> list[str]:
    """What a careful reader should know of the rows."""
    found = []
    if _in_different_metrics(rows):
        found.append("the rows have different metrics; give all runs the same --metric")
    if len({row.test_digest for row in rows if row.test_digest}) > 1:
        found.append("the rows were measured on different test splits, and do not compare there")
    if _on_different_dev(rows):
        found.append(
            "the rows rest on different dev splits, so their selection values do not compare; give "
            "searches and tunings the same --k-shot and --seed"
        )
    elif len({row.selection.n for row in rows}) > 1:
        found.append(
            "selection values rest on different numbers of examples (n): a search scores prompts "
            "on train and dev, a tuning on dev alone, one over folds on both; a searched prompt "
            "has seen train, which is easier for it than dev"
        )
    if any(row.name == EXPERT for row in rows):
        found.append(
            "the expert prompt is the best of its search's seeds; which one that is took the "
            "examples of the search, a seed by itself takes none"
        )
    return found


def _on_different_dev(rows: Sequence[Row]) -> bool:
    return len({row.dev_digest for row in rows if row.dev_digest}) > 1


def _in_different_metrics(rows: Sequence[Row]) -> bool:
    return len({row.metric for row in rows}) > 1


def size(count: int) -> str:
    """Bytes for people."""
    if count < 10_000:
        return f"{count} B"
    if count < 10_000_000:
        return f"{count / 1000:,.0f} kB"
    return f"{count / 1e6:,.0f} MB"


def _search_rows(place: Path) -> list[Row]:
    run, verdict = RunDirectory(place), verdict_of(place)
    sizes = run.read_config().get("sizes", {})
    try:
        ledger = json.loads(run.ledger.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{place} has no readable ledger.json") from error
    rows = []
    for name, file, side in (
        (EXPERT, baseline_file(place), "baseline"),
        (SEARCHED, prompt_file(place), "winner"),
    ):
        prompt, expert = Prompt.load(file), name == EXPERT
        needs = _tuned_model_of(prompt)
        tuned = _record(needs) if needs else {}
        first = (tuned.get("tasks") or [{}])[0]
        bright = [_brightness_of(first, tuned)] if needs else []
        if not expert:
            bright.append("it is the best of many there")
        sizes_of_search = sizes.get("train", 0) + sizes.get("dev", 0)
        rows.append(
            Row(
                name=f"{name} on a tuned model" if needs else name,
                place=place,
                metric=verdict["metric"],
                selection=Measure(**prompt.scores["selection"][verdict["metric"]]),
                test=Measure(**verdict[side]),
                test_digest=verdict["test_digest"],
                parameters=tuned.get("parameters", 0),
                seconds=tuned.get("seconds", 0.0) + (0.0 if expert else float(ledger["seconds"])),
                peak_memory=None,
                bytes_to_ship=file.stat().st_size + tuned.get("bytes_to_ship", 0),
                examples=max(first.get("examples", 0), 0 if expert else sizes_of_search),
                needs=needs,
                labels=tuple(sorted(prompt.verbalizer.labels)),
                dev_digest=prompt.splits.get(DEV, ""),
                weights=prompt.model.weights if prompt.model else "",
                bright=" and ".join(bright),
                doubt="" if expert else DOUBTS.get(verdict["status"], ""),
            )
        )
    return rows


def _tuned_model_of(prompt: Prompt) -> Path | None:
    """The tuned model that a prompt was found on, as strategy `w>p` does; None for a base model."""
    place = Path(prompt.model.name) if prompt.model else None
    return place if place and TunedDirectory(place).record.is_file() else None


def _tuned_rows(place: Path) -> list[Row]:
    record = _record(place)
    rows = []
    for number, task in enumerate(record["tasks"]):
        origin = (record.get("origins") or ["given"])[number : number + 1]
        through = {SEED: "expert prompt", "searched": "searched prompt"}.get(
            origin[0] if origin else "", "prompt"
        )
        plan = record.get("plan", "single")
        how = "" if plan == "single" else f", {plan.split(' of ')[0]}"
        how += ", before its search" if record.get(SEARCHED_ON) else ""
        which = f" ({task['name']})" if len(record["tasks"]) > 1 else ""
        metric = task["metric"]
        rows.append(
            Row(
                name=f"{record['settings']['method']}, through the {through}{how}{which}",
                place=place,
                metric=metric,
                selection=Measure(**task["after"][metric]),
                test=Measure(**task["test"][metric]) if task["test"] else None,
                test_digest=task["splits"].get("test", ""),
                parameters=record["parameters"],
                seconds=float(record["seconds"]),
                peak_memory=record["peak_memory"],
                bytes_to_ship=record["bytes_to_ship"] // len(record["tasks"]),
                examples=task["examples"],
                needs=place,
                labels=tuple(sorted(task["words"])),
                dev_digest=task["splits"].get(DEV, ""),
                weights=record["base"]["weights"],
                bright=_brightness_of(task, record),
            )
        )
    return rows


def _brightness_of(task: dict[str, Any], record: dict[str, Any]) -> str:
    """Why a tuned model's selection value is on the bright side."""
    trials = trials_of(record)
    several = f", and the numbers are the best of {trials['count']} trials" if trials else ""
    if task["judged_on"] == DEV:
        return f"dev chose its weights{several}"
    return f"the value is that of its folds' own models, each stopped by its fold{several}"


def _record(place: Path) -> dict[str, Any]:
    path = TunedDirectory(place).record
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{path} is damaged; tune again") from error


def base_of(place: Path) -> tuple[str, str]:
    """Name and revision of the model that a tuned one was made from."""
    base = _record(place)["base"]
    return base["name"], base["revision"]


def _digest_of(row: Row) -> str:
    """Of the prompt of a search's row; "" for others."""
    if row.name == EXPERT:
        return str(verdict_of(row.place)["baseline_prompt"])
    return str(verdict_of(row.place)["winner_prompt"]) if row.name == SEARCHED else ""
