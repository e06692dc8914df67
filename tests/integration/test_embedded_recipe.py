"""The recipe of the embedded models, run small: every step, for both objectives."""

from __future__ import annotations

import json
import lzma
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from experiments.embedded.held_out import HeldOut
from experiments.embedded.model import new_model
from experiments.embedded.recipe import read_recipe

ROOT = Path(__file__).parents[2]
EMBEDDED = ROOT / "experiments" / "embedded"
CLASSES = {"recipe.yaml": AutoModelForMaskedLM, "recipe-causal.yaml": AutoModelForCausalLM}
SECRET = "the quick envoy of the northern isles was never seen again by his own crew"

pytestmark = pytest.mark.slow


def step(name: str, *arguments: object) -> str:
    """Run one step of the recipe as its README has it; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.embedded.{name}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def small(recipe: str, folder: Path) -> dict[str, Any]:
    """A recipe of the same keys that runs in seconds, written to a folder."""
    found: dict[str, Any] = yaml.safe_load((EMBEDDED / recipe).read_text(encoding="utf-8"))
    found["sources"] = {"wordset_definitions": {"passes": 2.0, "share": 1.0, "kept_in_decay": 0.5}}
    found["vocabulary"] |= {"size": 600, "megabytes": 0.2}
    found["packing"] |= {"row_length": 64, "held_out_words": 300}
    if found["packing"]["lengths"]:
        found["packing"]["lengths"] = [[0.5, 8, 30], [0.5, 30, 62]]
    found["model"] |= {"hidden": 32, "layers": 2, "heads": 2, "feed_forward": 64}
    found["training"] |= {"rows": 8, "steps": 60, "warmup_steps": 10, "log_steps": 10}
    found["training"]["compile"] = False
    (folder / "recipe.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")
    return found


@pytest.mark.parametrize("recipe", CLASSES)
def test_every_step_of_the_recipe(recipe: str, tmp_path: Path) -> None:
    corpus, tasks, work, shipped = (
        tmp_path / name for name in ("corpus", "tasks", "work", "shipped")
    )
    for folder in (corpus, tasks, work):
        folder.mkdir()
    (tasks / "dev.jsonl").write_text(json.dumps({"text": SECRET, "label": "x"}) + "\n")
    samples = ROOT / "autoprompt" / "tasks" / "samples"
    texts = [
        json.loads(line)["text"].split()
        for path in sorted(samples.glob("*/*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    # Runs of too few words to share thirteen with the sample tasks.
    lines = [" ".join(words[at : at + 8]) for words in texts for at in range(0, len(words), 8)]
    lines.insert(5, f"Yes, {SECRET.upper()}!")
    with lzma.open(corpus / "wordset_definitions.txt.xz", "wt", encoding="utf-8") as stream:
        stream.write("\n\n".join(lines) + "\n")
    small(recipe, tmp_path)
    config = ("--config", tmp_path / "recipe.yaml", "--work", work)

    step("vocabulary", *config, "--corpus", corpus)
    step("pack", *config, "--corpus", corpus, "--tasks", tasks, "--processes", 1)
    counts = json.loads((work / "counts.json").read_text())["sources"]["wordset_definitions"]
    assert counts["dropped_lines"] == 1
    assert counts["rows"] > 60

    log = [json.loads(line) for line in step("train", *config, "--device", "cpu").splitlines()]
    assert log[-1]["step"] == 60
    assert log[-1]["loss"] < log[0]["loss"] - 0.2
    assert step("train", *config, "--device", "cpu") == ""  # nothing is left to do

    made = read_recipe(tmp_path / "recipe.yaml")
    vocabulary = json.loads((work / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    parameters = sum(weights.numel() for weights in new_model(made, len(vocabulary)).parameters())
    figures = _known(tmp_path / "figures.json", recipe, parameters)
    step("ship", *config, "--output", shipped, "--figures", figures)
    model = CLASSES[recipe].from_pretrained(shipped)
    tokenizer = AutoTokenizer.from_pretrained(shipped)
    assert model.config.vocab_size == len(tokenizer)
    weights = model.get_input_embeddings().weight
    assert weights is model.get_output_embeddings().weight or bool(
        (weights == model.get_output_embeddings().weight).all()
    )
    held_out = HeldOut(made, work)
    assert held_out.fits(shipped)
    loss = held_out.loss(shipped)
    assert 4.0 < loss["loss"] < math.log(600)
    assert loss["loss a word"] > loss["loss"]
    (work / "checkpoint.pt").unlink()
    further = step("train", *config, "--device", "cpu", "--start", shipped)
    assert json.loads(further.splitlines()[0])["loss"] < log[0]["loss"] - 0.1
    card = (shipped / "README.md").read_text(encoding="utf-8")
    assert "60 steps of 8 rows" in card
    assert "1 were dropped" in card


def _known(path: Path, recipe: str, parameters: int) -> Path:
    """Figures of the shape that `evaluate --json` writes; measuring is tested elsewhere."""
    earlier = json.loads((EMBEDDED / "earlier.json").read_text(encoding="utf-8"))
    (figures,) = earlier.values()
    figures["family"] = "masked" if recipe == "recipe.yaml" else "causal"
    figures["parameters"] = parameters
    path.write_text(json.dumps({"small": figures}), encoding="utf-8")
    return path


@pytest.mark.parametrize("recipe", CLASSES)
def test_training_resumed_is_training_uninterrupted(recipe: str, tmp_path: Path) -> None:
    """Stopped in the middle and started again, the run ends with the same weights."""
    import numpy as np
    import torch

    from experiments.embedded.batches import Rows
    from experiments.embedded.train import Trainer

    small(recipe, tmp_path)
    made = read_recipe(tmp_path / "recipe.yaml")
    draw = np.random.default_rng(0)
    ends: list[Any] = []
    for name, stops in (("whole", [60]), ("parts", [23, 47, 60])):
        work = tmp_path / name
        folder = "embedded" if recipe == "recipe.yaml" else "embedded_causal"
        tokenizer = ROOT / "autoprompt" / "models" / folder / "tokenizer.json"
        (work / "tokenizer").mkdir(parents=True)
        (work / "tokenizer" / "tokenizer.json").write_bytes(tokenizer.read_bytes())
        if name == "whole":
            ids = draw.integers(5, 600, (100, 64)).astype(np.uint16)
            ids[:, 0] = 2
            rows = Rows(ids, np.zeros(100, np.uint8))
        rows.save(work / "train.npz")
        for stop in stops:
            trainer = Trainer(made, work, "cpu")
            trainer.resume()
            while trainer.progress.step < stop:
                trainer.one_step()
            trainer.save()
        ends.append(trainer.model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    late = Trainer(
        replace(made, training=replace(made.training, steps=40)), tmp_path / "whole", "cpu"
    )
    late.progress.step = 29
    with pytest.raises(ValueError, match="raise `steps`"):
        late.run()
    late.run(minutes=0.001)  # the clock, and not the recipe, says when such a run ends
    assert late.progress.step >= 41
