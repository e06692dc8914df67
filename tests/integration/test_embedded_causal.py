"""`--model embedded-causal` does what `--model embedded` does; on a stand-in, and on what ships."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, autoprompt
from run_files import document

from autoprompt.errors import InputError
from autoprompt.models import embedded
from autoprompt.models.embedded import EMBEDDED_CAUSAL
from autoprompt.models.loading import load_model
from autoprompt.prediction import Predictor
from autoprompt.searching.budget import Budget
from autoprompt.tasks.task import sample_tasks
from autoprompt.templates import Template

TEXTS = ["a gripping, funny film", "dull"]
pytestmark = pytest.mark.usefixtures("causal_stand_in")
ships = pytest.mark.skipif(
    not embedded.is_installed(EMBEDDED_CAUSAL), reason="embedded-causal has no weights yet"
)
SHIPPED = embedded.FOLDERS[EMBEDDED_CAUSAL]


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real model, instead of the stand-in."""
    monkeypatch.setitem(embedded.FOLDERS, EMBEDDED_CAUSAL, SHIPPED)
    return SHIPPED


def search(out: Path, name: str = "sentiment", *more: object) -> Ended:
    given = ("--task", name, "--space", name, "--model", EMBEDDED_CAUSAL, "--out", out)
    return autoprompt("search", *given, *more)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stand_in_directory: Path) -> Path:
    out = tmp_path_factory.mktemp("causal") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(embedded.FOLDERS, EMBEDDED_CAUSAL, stand_in_directory)
        done = search(out, "sentiment", "--trials", "9", "--k-shot", "4")
    assert done.code == 0, done.err
    assert "left out, which this model cannot read" in done.err
    assert "Verdict: " in done.out
    return out


def test_a_search_names_the_model_and_ends_in_the_mask(run: Path, causal_stand_in: Path) -> None:
    best = document(run / "best.json")
    loaded = load_model(EMBEDDED_CAUSAL).identity
    assert best["model"] == {**vars(loaded), "name": EMBEDDED_CAUSAL}
    assert loaded.family == "causal"
    assert loaded.weights == load_model(str(causal_stand_in)).identity.weights
    encoder = load_model(EMBEDDED_CAUSAL).encoder
    for path in [*(run / "prompts").glob("*.json"), run / "best.json"]:
        encoder.check(Template.parse(document(path)["template"]))


def test_a_prompt_finds_its_model_again(run: Path) -> None:
    done = autoprompt("predict", run / "best.json", "--data", "-", stdin="\n".join(TEXTS).encode())
    assert done.code == 0, done.err
    labels = [json.loads(line)["label"] for line in done.out.splitlines()]
    assert labels == [found.label for found in Predictor(str(run)).predict(TEXTS)]


def test_exports_name_the_directory_of_the_model(
    run: Path, causal_stand_in: Path, tmp_path: Path
) -> None:
    for name, place in (("transformers", "prompt.py"), ("peft", "adapter")):
        done = autoprompt("export", run, "--format", name, "--out", tmp_path / place)
        assert done.code == 0, done.err
    config = document(tmp_path / "adapter/adapter_config.json")
    assert config["base_model_name_or_path"] == str(causal_stand_in)
    file = runpy.run_path(str(tmp_path / "prompt.py"))
    assert file["PROMPT"]["model"]["name"] == str(causal_stand_in)


def test_an_adapter_names_the_model(run: Path, tmp_path: Path) -> None:
    given = ("--task", "sentiment", "--k-shot", "4", "--method", "lora", "--steps", "2")
    done = autoprompt("tune", run, *given, "--out", tmp_path / "tuned")
    assert done.code == 0, done.err
    config = document(tmp_path / "tuned/adapter_config.json")
    assert config["base_model_name_or_path"] == EMBEDDED_CAUSAL
    assert len(Predictor(str(tmp_path / "tuned")).predict(TEXTS)) == 2


@pytest.mark.parametrize("name", sample_tasks())
def test_the_seeds_of_each_sample_task_fit_the_usual_budget(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were each counted as the dearest of them, those of two tasks would not."""
    check = Budget.check

    def checked(*arguments: Any) -> None:
        check(*arguments)
        raise InputError("they fit")

    monkeypatch.setattr(Budget, "check", checked)
    assert search(tmp_path / "run", name).err.endswith("autoprompt: they fit\n")


# -- what ships -------------------------------------------------------------------------------


@ships
def test_the_shipped_model_is_what_its_users_rely_on(shipped: Path) -> None:
    model = load_model(EMBEDDED_CAUSAL)
    assert model.identity.family == "causal"
    assert (model.precision, model.encoder.max_length) == ("float32", 256)
    assert model.encoder.exact
    tokenizer = model.encoder.tokenizer
    assert len(tokenizer) == 10_240
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 1)
    assert tokenizer("text")["input_ids"] == model.encoder.text_ids("text")  # no special tokens
    assert (shipped / "model.safetensors").stat().st_size < 16 * 2**20


@ships
@pytest.mark.slow
@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("name", sample_tasks())
def test_the_demo_runs_on_the_causal_model(name: str, tmp_path: Path) -> None:
    done = autoprompt("demo", "--task", name, "--model", EMBEDDED_CAUSAL, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert "Verdict: " in done.out
    labels = {"sentiment": 2, "topic": 4, "question_type": 6}[name]
    assert document(tmp_path / "run/verdict.json")["winner"]["value"] > 1.2 / labels
