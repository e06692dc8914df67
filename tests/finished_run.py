"""A finished run without a search: files as a search writes them, of any size, with any texts."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from export_prompts import prompt_for

from autoprompt.finished_runs import judged_rows
from autoprompt.lineage import Edit
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import Scored
from autoprompt.prediction import Predictor
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory
from autoprompt.scoring.metrics import measure
from autoprompt.searching.verdict import judge
from autoprompt.tasks.examples import Example

SEED, WINNER = "{text} It was {mask}.", "{text} In all it is a {mask} film."
STATES = ("scored", "scored", "dropped", "repeated", "failed")


def examples_of(count: int, texts: Sequence[str] = ()) -> list[Example]:
    """Labelled examples; some texts of one's own come last."""
    draw = random.Random(0)
    words = ["good", "film", "very", "dull", "story", "he", "she", "american", "boring", "fine"]
    found = [" ".join(draw.choice(words) for _ in range(8)) for _ in range(count - len(texts))]
    found += texts
    return [
        Example({"text": text}, ("negative", "positive")[n % 2]) for n, text in enumerate(found)
    ]


def finished_run(
    path: Path,
    model: TransformerModel,
    *,
    trials: int = 40,
    texts: Sequence[str] = (),
    kept_seed: bool = False,
) -> Path:
    """Write a run directory."""
    run = RunDirectory(path)
    run.prompts.mkdir(parents=True)
    examples = examples_of(64, texts)
    seed = _scored(prompt_for(model, SEED), model, examples, (Edit("seed prompt 1", SEED),))
    lineage = (*seed.lineage, Edit("composed by the search (trial 9)", WINNER))
    other = {"negative": ["great"], "positive": ["bad"]}  # they disagree
    winner = _scored(prompt_for(model, WINNER, other, calibrated=True), model, examples, lineage)
    winner = seed if kept_seed else winner
    for prompt in (seed, winner):
        prompt.save(run.prompts / f"{prompt.digest}.json")
    said = [Predictor(prompt, model).score(examples) for prompt in (winner, seed)]
    run.write_selection(
        judged_rows(examples, 24, winner.verbalizer.labels, said[0].last(40), said[1])
    )
    verdict = judge(*_on_test(), "accuracy", kept_seed)
    record = {
        **verdict.to_dict(),
        "winner_prompt": winner.digest,
        "baseline_prompt": seed.digest,
        "baseline_is_drafted": False,
        "test_digest": "0",
        "own_test_reads": 1,
        "test_reads": 1,
        "seed": 7,
    }
    run.verdict.write_text(json.dumps(record), encoding="utf-8")
    run.ledger.write_text(
        json.dumps({"forwards": 4321, "seconds": 61.5, "trials": trials, "prompts": trials}),
        encoding="utf-8",
    )
    run.write_config(
        {
            "command": "autoprompt search --task t",
            "task_name": "films",
            "seed": 7,
            "model_name": "tiny",
            "metric": "accuracy",
            "sizes": {"dev": 40},
            "versions": {"torch": "2"},
            "splits": {"dev": "0"},
        }
    )
    run.write_trials(_trial(n, seed, winner) for n in range(trials))
    winner.save(run.best)
    return path


def _scored(
    prompt: Prompt, model: TransformerModel, examples: list[Example], lineage: tuple[Edit, ...]
) -> Prompt:
    found = Predictor(prompt, model).score(examples)
    measures = {
        name: measure(name, found.log_probabilities, found.gold).to_dict()
        for name in ("accuracy", "cross_entropy")
    }
    return replace(prompt, lineage=lineage).with_scores("selection", measures, "0")


def _on_test() -> tuple[Scored, Scored]:
    draw = np.random.default_rng(0)
    gold = np.arange(200) % 2
    found = []
    for pull in (1.5, 0.4):
        raw = draw.normal(size=(200, 2))
        raw[np.arange(200), gold] += pull
        found.append(Scored(raw - np.logaddexp.reduce(raw, axis=1, keepdims=True), gold))
    return found[0], found[1]


def _trial(number: int, seed: Prompt, winner: Prompt) -> dict[str, Any]:
    state = "scored" if number == 0 else STATES[number % len(STATES)]
    prompt = seed if number == 0 else winner
    row: dict[str, Any] = {
        "trial": number,
        "parameters": {"slot end": [".", "!", ""][number % 3], "calibration": number % 2},
        "state": state,
        "spent": {},
    }
    if state == "failed":
        return {**row, "reason": "the template is too long"}
    value = -1.0 + 0.1 * (number % 3) + 0.001 * number if state == "scored" else None
    return {
        **row,
        "value": value,
        "metric": None if value is None else 0.5 + 0.1 * (number % 3),
        "template": prompt.template.text,
        "prompt": prompt.digest,
    }
