"""Prompting against tuning on few-shot draws of real tasks; writes TUNING.md and tuning.json.

    python -m experiments.fewshot.tuning --datasets DIR --model DIR --work DIR [--phase dev]

Phase "dev" is for choosing defaults: draws 1 to 5, and the tasks' dev files for the truth; no test
file is opened. Phase "test" makes the table: draws 13, 21, 42, 87 and 100, and the test files.
Searches come first, one for each task and draw; finished rows are kept in WORK, so that an
interrupted command goes on where it stopped. Each search and each row has a process of its own, for
its memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments.fewshot.baselines import BASELINES
from experiments.fewshot.run import DRAWS, FORWARDS, TASKS, _Raw, material, rows_of

UNLABELLED = 300  # texts of the train file, without their labels, for the ensemble
MEMBERS = 4
SURVEYED = 2  # draws in which it is measured what the tuned models still know: as slow as tuning
EXPERT, SEARCHED = "expert prompt, zero-shot", "searched prompt"
DEFAULT = "full, searched prompt"

Job = tuple[str, str, int]  # task, row, draw
_given: dict[str, Any] = {}


@dataclass(frozen=True)
class Tuned:
    """A row that is tuned.

    Attributes:
        method: of `autoprompt tune`.
        through: `EXPERT` or `SEARCHED`.
        plan: "single", "seeds", "folds" or "ensemble".
        settings: changes to the method's defaults.
    """

    method: str
    through: str = SEARCHED
    plan: str = "single"
    settings: dict[str, Any] = field(default_factory=dict)


TUNED = {
    "full, expert prompt": Tuned("full", EXPERT),
    DEFAULT: Tuned("full"),
    "classifier head, searched prompt": Tuned("head"),
    "bitfit, searched prompt": Tuned("bitfit"),
    "lora, searched prompt": Tuned("lora"),
    "soft, searched prompt": Tuned("soft"),
    "full, searched prompt, 3 seeds averaged": Tuned("full", plan="seeds"),
    "full, searched prompt, 4 folds averaged": Tuned("full", plan="folds"),
    f"ensemble of {MEMBERS} tuned prompts, distilled": Tuned("full", plan="ensemble"),
}
ROWS = (EXPERT, SEARCHED, *TUNED, *BASELINES)


def main() -> None:
    """Parse, run what is missing, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--phase", choices=DRAWS, default="test")
    parser.add_argument(
        "--rows", nargs="*", default=list(ROWS), choices=ROWS, metavar="ROW", help="of the table"
    )
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--draws", nargs="*", type=int)
    parser.add_argument("--forwards", type=int, default=FORWARDS, help="of a search")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=NUMBER", help="in all tuned")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / f"tuning-{given.phase}.jsonl"
    changes = dict(_number(one) for one in given.set)
    if any(settings_of(row) != (given.forwards, changes) for row in rows_of(kept)):
        parser.error(f"{kept} has rows with another --forwards or --set; name another --work")
    done = {(r["task"], r["row"], r["draw"]) for r in rows_of(kept)}
    draws = given.draws or DRAWS[given.phase]
    jobs = [
        (task, row, draw)
        for draw in draws
        for row in given.rows
        for task in given.tasks
        if (task, row, draw) not in done
    ]
    searches = sorted({(task, draw) for task, row, draw in jobs if row not in BASELINES})
    options = (given.datasets, given.model, given.work, given.phase, given.forwards, changes)
    context = multiprocessing.get_context("spawn")
    with (
        context.Pool(given.processes, prepare, options, maxtasksperchild=1) as pool,
        kept.open("a") as out,
    ):
        for run in pool.imap_unordered(searched, searches):
            print("searched:", run.name, flush=True)
        for row in pool.imap_unordered(measured, jobs):
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(row["task"], row["row"], row["draw"], f"{row['accuracy']:.3f}", flush=True)
    from experiments.fewshot.tuning_report import write

    write(
        rows_of(kept), given.phase, Path(__file__).parent if given.phase == "test" else given.work
    )


def settings_of(row: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Forwards of the search and changes to the defaults of tuning that a row was made with."""
    return row.get("forwards", FORWARDS), row.get("changes", {})


def _number(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, int(value) if value.isdigit() else float(value)


def prepare(
    datasets: Path, model: str, work: Path, phase: str, forwards: int, changes: dict[str, Any]
) -> None:
    """Tell a process what it needs, once."""
    import torch

    from autoprompt.cli.console import quiet_libraries

    torch.set_num_threads(1)
    quiet_libraries()
    _given.update(
        datasets=datasets, model=model, work=work, phase=phase, forwards=forwards, changes=changes
    )


def measured(job: Job) -> dict[str, Any]:
    """One row of one draw of a task."""
    name, row, draw = job
    task, truth = material(_given["datasets"] / name, draw, _given["phase"])
    settings = {"forwards": _given["forwards"], "changes": _given["changes"]}
    found = {"task": name, "row": row, "draw": draw, "n": len(truth), **settings}
    if row in BASELINES:
        return {**found, **_baseline(row, task, truth, draw)}
    run = run_of(name, draw)
    if row in TUNED:
        return {**found, **_tuned(TUNED[row], row, name, task, truth, draw, run)}
    return {**found, **_prompted(row, task, truth, run)}


def _baseline(row: str, task: Any, truth: Any, draw: int) -> dict[str, Any]:
    from autoprompt.tuning.memory import peak_memory

    found = BASELINES[row](task, truth, _given["model"], draw)
    right = sum(one == example.label for one, example in zip(found.predictions, truth, strict=True))
    return {
        "accuracy": right / len(truth),
        "parameters": found.parameters,
        "seconds": found.seconds,
        "peak memory": peak_memory("cpu"),
        "bytes": found.bytes_to_ship,
        "examples": len(task.train) + len(task.dev),
        "knowledge": None,
    }


def searched(job: tuple[str, int]) -> Path:
    """The run of a task's draw, and beside it the memory that it took."""
    from filelock import FileLock

    import autoprompt
    from autoprompt.files import write_atomically
    from autoprompt.searching.budget import Budget
    from autoprompt.tuning.memory import peak_memory

    name, draw = job
    folder = run_of(name, draw)
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "best.json").is_file():
            task, _ = material(_given["datasets"] / name, draw, _given["phase"])
            autoprompt.search(
                task,
                autoprompt.SearchSpace.load(TASKS[name]),
                autoprompt.load_model(_given["model"]),
                out=folder,
                budget=Budget(forwards=_given["forwards"]),
                seed=draw,
                resume=folder.exists(),
            )
            write_atomically(_memory_of(folder), str(peak_memory("cpu")))
    return folder


def run_of(name: str, draw: int) -> Path:
    """Where a task's draw is searched."""
    return Path(_given["work"] / "runs" / f"{_given['phase']}-{name}-{draw}")


def _memory_of(run: Path) -> Path:
    return run.with_name(f"{run.name}.memory")


def _prompted(row: str, task: Any, truth: Any, run: Path) -> dict[str, Any]:
    from autoprompt.prediction import Predictor
    from autoprompt.tuning.comparison import EXPERT as EXPERT_ROW
    from autoprompt.tuning.comparison import rows_of as compared
    from autoprompt.tuning.memory import peak_memory
    from autoprompt.tuning.sources import Source

    prompt = Source.of(run, seed=row == EXPERT).prompt
    scored = Predictor(prompt, _model()).score(truth)
    known = next(one for one in compared(run) if (one.name == EXPERT_ROW) is (row == EXPERT))
    memory, search = peak_memory("cpu"), _memory_of(run)
    if row != EXPERT and search.is_file():
        memory = max(memory, int(search.read_text()))
    return {
        "accuracy": scored.metric("accuracy"),
        "parameters": 0,
        "seconds": known.seconds,
        "peak memory": memory,
        "bytes": known.bytes_to_ship,
        "examples": 0 if row == EXPERT else len(task.train) + len(task.dev),
        "knowledge": 1.0,
        "template": prompt.shown,
    }


def _tuned(
    way: Tuned, row: str, name: str, task: Any, truth: Any, draw: int, run: Path
) -> dict[str, Any]:
    from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES
    from autoprompt.tuning.settings import TuningSettings
    from autoprompt.tuning.sources import Source
    from autoprompt.tuning.tuning import Request, tune

    source = Source.of(run, seed=way.through == EXPERT)
    changes = {**way.settings, **_given["changes"]}
    settings = replace(TuningSettings(method=way.method, seed=draw), **changes)
    out = _given["work"] / "tuned" / f"{_given['phase']}-{name}-{draw}-{list(TUNED).index(row)}"
    request = Request(
        assignments=(source.assignment(task),),
        settings=settings,
        tests=(truth,),
        **_plan(way, name, task, run, draw),
    )
    if (out / "prompt.json").is_file():
        shutil.rmtree(out)  # finished, but its row was not written
    resume = (out / "settings.json").is_file()
    result = tune(request, _model, out, resume=resume)
    (done,) = result.tasks
    found = {
        "accuracy": done.test["accuracy"].value,
        "parameters": result.parameters,
        "seconds": result.seconds,
        "peak memory": result.peak_memory,
        "bytes": result.bytes_to_ship,
        "examples": done.examples,
        "knowledge": _knowledge(out) if draw in DRAWS[_given["phase"]][:SURVEYED] else None,
        "template": done.prompt.shown,
        "dev": done.after["accuracy"].value,
        "dev cross-entropies": [done.after[of].value for of in (CROSS_ENTROPY, DECIDES)],
        "dev cross-entropies, untuned": [done.before[of].value for of in (CROSS_ENTROPY, DECIDES)],
        "step": result.trained.step,
        "steps": result.trained.steps,
        "rate": settings.rate,
    }
    shutil.rmtree(out)
    return found


def _plan(way: Tuned, name: str, task: Any, run: Path, draw: int) -> dict[str, Any]:
    from autoprompt.seeding import generator
    from autoprompt.tasks.columns import read_description
    from autoprompt.tasks.task import load_examples
    from autoprompt.tuning.ensemble import Ensemble
    from autoprompt.tuning.plans import over_folds, over_seeds
    from autoprompt.tuning.sources import members_of

    made: dict[str, Callable[[], Any]] = {
        "seeds": lambda: over_seeds(3),
        "folds": lambda: over_folds(4),
    }
    if way.plan in made:
        return {"plan": made[way.plan](), "plan_name": way.plan}
    if way.plan == "single":
        return {}
    folder = _given["datasets"] / name
    columns = read_description(folder / "task.yaml")
    train = load_examples(folder / "train.jsonl", columns, labelled=True)
    known = {example.key for example in (*task.train, *task.dev)}
    others = [replace(example, label=None) for example in train if example.key not in known]
    order = generator(draw, "unlabelled").permutation(len(others))[:UNLABELLED]
    ensemble = Ensemble(tuple(members_of(run, MEMBERS)), True, tuple(others[at] for at in order))
    return {"plan": ensemble.plan(), "plan_name": ensemble.name}


def _model() -> Any:
    import autoprompt

    return autoprompt.load_model(_given["model"], dtype="float32")


def _knowledge(out: Path) -> float:
    """How many times as surprised by ordinary text the tuned model is."""
    import autoprompt
    from autoprompt.files import write_json
    from autoprompt.tuning.retention import general_text, pseudo_perplexity

    kept, texts = _given["work"] / "base_perplexity.json", general_text()
    known = json.loads(kept.read_text()) if kept.is_file() else {}
    if known.get("model") != _given["model"]:
        known = {"model": _given["model"], "value": pseudo_perplexity(_model(), texts)}
        write_json(kept, known)
    tuned = autoprompt.load_model(str(out), dtype="float32")
    return float(pseudo_perplexity(tuned, texts) / known["value"])


if __name__ == "__main__":
    main()
