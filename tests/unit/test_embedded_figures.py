"""Zero- and few-shot accuracy in experiments/embedded, their tables, and the card's results."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoprompt.models.transformer import TransformerModel
from autoprompt.scoring.metrics import wilson
from autoprompt.tasks.task import sample_tasks
from experiments.embedded import accuracy, card, cloze, evaluate
from experiments.embedded.accuracy import SPACES, Extent, Measured, measured_tasks
from experiments.embedded.cloze import Cloze, Item
from experiments.embedded.compare import all_tables, loss_table

ROWS = [
    (f"{start} {what} {end}", label)
    for label, whats in (("negative", ("bad", "dull")), ("positive", ("fun", "warm")))
    for what in whats
    for start, end in (("a", "film"), ("the", "story"), ("very", "plot"))
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A real task's folder without a test file: it must not be opened."""
    place = tmp_path / "sst2_sent"
    place.mkdir()
    (place / "task.yaml").write_text(
        "fields: [text]\nlabel: label\nlabels: [negative, positive]\nmetric: accuracy\n"
    )
    for split, ending in (("train", ""), ("dev", " again")):
        lines = [json.dumps({"text": text + ending, "label": label}) for text, label in ROWS]
        (place / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture
def task(folder: Path) -> Measured:
    return Measured.load(folder, "dev")


def test_sample_tasks_come_first_and_real_ones_where_they_are(folder: Path) -> None:
    names = [task.name for task in measured_tasks(folder.parent, most=8)]
    assert names == [*sample_tasks(), "sst2_sent"]
    assert [task.name for task in measured_tasks(None, most=8)] == sample_tasks()


def test_the_split_that_is_scored_is_no_part_of_a_draw(task: Measured) -> None:
    drawn = task.few_shot(13)
    assert drawn.test == task.scored
    assert not {e.key for e in drawn.train + drawn.dev} & {e.key for e in task.scored}
    assert len(drawn.train) == len(drawn.dev) == len(ROWS) // 2


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_zero_shot_reports_every_expert_prompt_that_the_model_can_read(
    family_models: Callable[[str], TransformerModel], task: Measured, family: str
) -> None:
    """A masked model never sees instructions, a causal one nothing behind the gap."""
    rows = accuracy.zero_shot(family_models(family), task)
    seeds = [seed.template.text for seed in task.space.seeds]
    if family == "gpt2":
        seeds = [text for text in seeds if text.index("{text}") < text.index("{mask}")]
        seeds.remove("{text} I would {mask} recommend it.")
        seeds += [seed.template.text for seed in task.space.instructions.seeds]
    assert [row["prompt"] for row in rows] == seeds
    for row in rows:
        assert row["majority"] == 0.5
        for way in ("plain", "calibrated"):
            found = row[way]
            right = round(found["value"] * len(ROWS))
            assert (found["low"], found["high"]) == pytest.approx(wilson(right, found["n"]))


def test_a_search_is_scored_on_the_whole_split(
    family_models: Callable[[str], TransformerModel], task: Measured
) -> None:
    found = accuracy.few_shot(family_models("bert"), task, 13, len(task.space.seeds) + 1)
    assert (found["task"], found["draw"], found["shots"]) == ("sst2_sent", 13, len(ROWS) // 4)
    assert found["searched"]["n"] == found["expert"]["n"] == len(ROWS)


def test_all_tasks_and_draws_are_measured(
    tiny_model: TransformerModel, task: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "few_shot", lambda model, task, draw, trials: (draw, trials))
    found = accuracy.accuracies(tiny_model, [task], Extent((1, 2), 9), lambda text: None)
    assert found["few_shot"] == [(1, 9), (2, 9)]
    assert len(found["zero_shot"]) == len(task.space.seeds)


# -- tables and card -------------------------------------------------------------------------------


def share(value: float) -> dict[str, float]:
    return {"value": value, "n": 10, "low": value - 0.1, "high": value + 0.1, "chance": 0.5}


def figures(family: str = "masked", shift: float = 0.0, **more: Any) -> dict[str, Any]:
    prompts = [("{text} {mask}", 0.5), ("{mask}|{text}\n", 0.7)]
    return {
        "family": family,
        "parameters": 1000,
        "vocabulary": 100,
        "held_out": None,
        "cloze": {
            "accuracy": {"all": share(0.6 + shift), "facts": share(0.4), "facts: time": share(0.3)},
            "open": [{"text": "A {mask}.", "words": ["dog"], "probabilities": [0.25]}],
        },
        "zero_shot": [
            {
                "task": "rte",
                "majority": 0.5,
                "prompt": prompt,
                "plain": share(value + shift),
                "calibrated": share(value),
            }
            for prompt, value in prompts
        ],
        "few_shot": [
            {"task": "rte", "draw": 1, "shots": 16, "searched": share(0.8), "expert": share(0.55)}
        ],
        **more,
    }


HELD_OUT = {
    "loss": 2.0,
    "loss a word": 2.5,
    "perplexity": float(np.exp(2.0)),
    "masked": 1200,
    "sources": {"books": {"loss": 2.0, "loss a word": 2.5, "masked": 1200}},
}


def test_tables_stand_side_by_side() -> None:
    shown = all_tables({"one": figures(), "two": figures(shift=0.1, few_shot=[])})
    assert "| all | 10 | 0.500 | 0.600 [0.500, 0.700] | 0.700 [0.600, 0.800] |" in shown
    assert "| facts: time | 10 |" in shown
    spreads = "0.600 (0.500 to 0.700) | 0.600 (0.500 to 0.700) | 0.700 (0.600 to 0.800)"
    assert f"| rte | 10 | 0.500 | {spreads} |" in shown
    assert "| mean |  |  | 0.600 | 0.600 | 0.700 | 0.600 |" in shown
    assert "| rte | 16 | 10 | 0.550 (0.550 to 0.550) | 0.800 (0.800 to 0.800) | – | – |" in shown
    assert r"| rte | `{mask}\|{text}\n` | 0.700 | 0.700 | 0.800 | 0.700 |" in shown
    assert "| `A {mask}.` | dog (0.25) | dog (0.25) |" in shown
    assert "Held-out" not in shown


def test_means_are_over_the_tasks_that_all_models_have() -> None:
    more = [{**row, "task": "trec6", "plain": share(0.1)} for row in figures()["zero_shot"]]
    two = figures(zero_shot=figures()["zero_shot"] + more)
    shown = all_tables({"one": figures(), "two": two})
    assert "| trec6 | 10 | 0.500 | – | – | 0.100 (0.100 to 0.100) | 0.600" in shown
    assert "| mean |  |  | 0.600 | 0.600 | 0.600 | 0.600 |" in shown


def test_a_loss_is_shown_only_for_the_models_that_have_one() -> None:
    shown = loss_table({"one": figures(held_out=HELD_OUT), "two": figures()})
    assert "| books | 2.500 | – |" in shown
    assert "| all | 2.500 | – |" in shown


def test_the_card_of_a_masked_model_stands_beside_the_earlier_one() -> None:
    shown = card.results_section(figures(held_out=HELD_OUT), figures(shift=-0.1))
    assert "Masked-LM loss" in shown
    assert "| books | 2.000 | 1,200 | 2.500 |" in shown
    assert "| group | n | chance | this model | earlier model |" in shown
    assert "0.600 [0.500, 0.700] | 0.500 [0.400, 0.600] |" in shown
    assert all(len(line) < 100 for line in shown.splitlines() if not line.startswith("|"))


def test_the_card_of_a_causal_model_stands_alone() -> None:
    shown = card.results_section(figures("causal", held_out=HELD_OUT))
    assert "Masked-LM" not in shown
    assert "earlier" not in shown
    assert "whole sentence" in shown.replace("\n", " ")


def test_the_earlier_figures_are_whole() -> None:
    earlier = card.earlier_figures()
    tasks = {*sample_tasks(), *SPACES}
    assert {row["task"] for row in earlier["zero_shot"]} == tasks
    draws = {(row["task"], row["draw"]) for row in earlier["few_shot"]}
    assert draws == {(task, draw) for task in tasks for draw in accuracy.DRAWS}
    assert all_tables({"earlier": earlier})


def test_one_command_measures_models_side_by_side(
    model_directory: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(accuracy, "measured_tasks", lambda *given: [])
    item = Item("facts", "time", "it was {mask}.", "good", ("bad",))
    monkeypatch.setattr(cloze, "read_cloze", lambda: Cloze((item,), ("A {mask}.",)))
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps({"earlier": figures()}))
    command = ["evaluate", "--model", f"masked={model_directory('bert')}", "--json", str(after)]
    command += ["--model", str(model_directory("llama")), "--beside", str(before)]
    monkeypatch.setattr(sys, "argv", command)
    evaluate.main()
    written = json.loads(after.read_text())
    assert list(written) == ["masked", str(model_directory("llama"))]
    assert [one["family"] for one in written.values()] == ["masked", "causal"]
    assert f"| group | n | chance | earlier | {' | '.join(written)} |" in capsys.readouterr().out
