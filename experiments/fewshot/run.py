"""Run searches on few-shot draws of real tasks, and write RESULTS.md.

    python -m experiments.fewshot.run --datasets DIR --model DIR --work DIR [--phase dev]

Phase "dev" is for choosing defaults: draws 1 to 5, and the tasks' dev files for the truth; no test
file is opened. Phase "test" makes the table: draws 13, 21, 42, 87 and 100, and the test files.
Finished runs are kept in WORK, so that an interrupted command goes on where it stopped; phase
"test" goes on from results.json as well, unless --fresh is given. Searches screen in bfloat16
where that is fast (`--dtype auto`); every accuracy that is reported is measured in float32.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.fewshot.methods import METHODS

TASKS = {"sst2_sent": "sentiment", "trec6": "question_type", "agnews": "topic", "rte": "nli"}
DRAWS = {"dev": (1, 2, 3, 4, 5), "test": (13, 21, 42, 87, 100)}
SHOTS = 16
FORWARDS = 4000
TRUTH = 500  # examples of a dev or test file, at most; a seeded sample

Job = tuple[str, str, int]  # task, method, draw
_models: dict[str, Any] = {}
_truths: dict[tuple[str, str], float] = {}


def main() -> None:
    """Parse, run what is missing, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--phase", choices=DRAWS, default="test")
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    parser.add_argument("--draws", nargs="*", type=int)
    parser.add_argument("--fresh", action="store_true", help="make what results.json has anew")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / f"{given.phase}.jsonl"
    here = Path(__file__).parent
    if given.phase == "test" and not given.fresh:
        _add_missing(kept, json.loads((here / "results.json").read_text()))
    done = {(r["task"], r["method"], r["draw"]) for r in rows_of(kept)}
    draws = given.draws or DRAWS[given.phase]
    jobs = [
        (task, method, draw)
        for draw in draws
        for method in given.methods
        for task in given.tasks
        if (task, method, draw) not in done
    ]
    context = multiprocessing.get_context("spawn")
    options = (given.datasets, given.model, given.phase)
    with context.Pool(given.processes, _prepare, options) as pool, kept.open("a") as out:
        for row in pool.imap_unordered(measured, jobs):
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(row["task"], row["method"], row["draw"], f"{row['accuracy']:.3f}", flush=True)
    from experiments.fewshot.report import write

    write(rows_of(kept), given.phase, here if given.phase == "test" else given.work)


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The finished runs; a line that was cut off by a kill does not count."""
    return list(_whole_lines(path)) if path.is_file() else []


def _add_missing(kept: Path, known: list[dict[str, Any]]) -> None:
    """Take over the rows of an earlier table."""
    done = {(r["task"], r["method"], r["draw"]) for r in rows_of(kept)}
    with kept.open("a") as out:
        for row in known:
            if (row["task"], row["method"], row["draw"]) not in done:
                out.write(json.dumps(row) + "\n")


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _prepare(datasets: Path, model: str, phase: str) -> None:
    """Load what a process needs, once."""
    import torch

    import autoprompt

    torch.set_num_threads(1)
    _models.update(datasets=datasets, phase=phase, model=autoprompt.load_model(model))


def measured(job: Job) -> dict[str, Any]:
    """One search, and its winner on the truth."""
    import autoprompt
    from autoprompt.searching.budget import Budget

    name, method_name, draw = job
    task, truth = material(_models["datasets"] / name, draw, _models["phase"])
    method = METHODS[method_name]
    space = method.space(autoprompt.SearchSpace.load(TASKS[name]))
    result = autoprompt.search(
        task,
        space,
        _models["model"],
        budget=Budget(forwards=FORWARDS),
        seed=draw,
        recipe=method.recipe,
    )
    accuracies = [accuracy(name, prompt, truth) for prompt in (result.best, result.baseline)]
    return {
        "task": name,
        "method": method_name,
        "draw": draw,
        "accuracy": accuracies[0],
        "seed accuracy": accuracies[1],
        "n": len(truth),
        "forwards": result.ledger.budgeted,
        "saved": result.ledger.saved,
        "seconds": result.ledger.seconds,
        "prompts": result.prompts,
        "kept seed": result.best.digest == result.baseline.digest,
        "template": result.best.shown,
        "words": result.best.verbalizer.as_dict(),
        "how": result.best.lineage[-1].how,
    }


def accuracy(task: str, prompt: Any, truth: tuple[Any, ...]) -> float:
    """A prompt's accuracy on the truth. Seeds come in every run: they are measured once."""
    from autoprompt.objective import evaluate
    from autoprompt.scoring.word_scores import WordScorer

    key = (task, prompt.digest)
    if key in _truths:
        return _truths[key]
    scorer = WordScorer(_models["model"], prompt.verbalizer.all_words)
    bare = replace(prompt, model=None, tokens=None)
    found = float(evaluate(bare, scorer, truth).metric("accuracy"))
    if not prompt.calibration.offsets:  # a prior is of the draw, and no part of the digest
        _truths[key] = found
    return found


def material(folder: Path, draw: int, phase: str) -> tuple[Any, tuple[Any, ...]]:
    """The few-shot task of a draw, and the examples that tell the truth.

    The search's own test split is two dev examples: the winner is measured here, in float32.
    """
    from autoprompt.seeding import generator
    from autoprompt.tasks.columns import read_description
    from autoprompt.tasks.splits import draw_k_shot, shuffled_by_label
    from autoprompt.tasks.task import Task, load_examples

    columns = read_description(folder / "task.yaml")
    train = load_examples(folder / "train.jsonl", columns, labelled=True)
    others = load_examples(folder / f"{phase}.jsonl", columns, labelled=True)
    fit, dev = draw_k_shot(train, SHOTS, draw)
    dev = shuffled_by_label(dev, draw)
    task = Task(
        folder.name,
        tuple(columns.fields),
        tuple(columns.labels.values()),
        columns.metric,
        tuple(fit),
        tuple(dev),
        tuple(dev[:2]),
    )
    order = generator(0, "truth").permutation(len(others))[:TRUTH]
    return task, tuple(others[index] for index in order)


class _Raw(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


if __name__ == "__main__":
    main()
