"""Adapters that are damaged, foreign, or would run code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from autoprompt.errors import ModelError
from autoprompt.models.adapters import CONFIG, WEIGHTS
from autoprompt.models.loading import load_model


@pytest.fixture
def soft(model_directory: Callable[[str], Path], tmp_path: Path) -> Path:
    """A soft prompt of three vectors for the tiny BERT."""
    config = {"peft_type": "PROMPT_TUNING", "base_model_name_or_path": str(model_directory("bert"))}
    (tmp_path / CONFIG).write_text(json.dumps(config))
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    save_file({"prompt_embeddings": vectors}, tmp_path / WEIGHTS)
    return tmp_path


def changed(folder: Path, **changes: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


def test_its_identity_is_that_of_model_and_adapter(
    soft: Path, model_directory: Callable[[str], Path]
) -> None:
    found = load_model(str(soft)).identity
    base = load_model(str(model_directory("bert"))).identity
    assert found.name == str(soft)
    assert (found.family, found.tokenizer) == (base.family, base.tokenizer)
    assert found.weights != base.weights
    vectors = load_file(soft / WEIGHTS)["prompt_embeddings"]
    save_file({"prompt_embeddings": 2 * vectors}, soft / WEIGHTS)
    assert load_model(str(soft)).identity.weights != found.weights


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "only LORA and PROMPT_TUNING adapters"),
        ({"base_model_name_or_path": None}, "of a named model"),
        ({"base_model_name_or_path": "/nowhere/at/all"}, "no model directory at"),
    ],
)
def test_a_foreign_adapter_is_refused(soft: Path, change: dict[str, object], message: str) -> None:
    changed(soft, **change)
    with pytest.raises(ModelError, match=message):
        load_model(str(soft))


def test_damaged_files_are_refused(soft: Path) -> None:
    (soft / CONFIG).write_text("{")
    with pytest.raises(ModelError, match="is damaged"):
        load_model(str(soft))


def test_pickled_weights_are_refused(soft: Path) -> None:
    (soft / WEIGHTS).rename(soft / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickled weights can run code"):
        load_model(str(soft))


def test_an_adapter_of_another_model_is_refused(soft: Path) -> None:
    save_file({"prompt_embeddings": torch.zeros(3, 5)}, soft / WEIGHTS)
    with pytest.raises(ModelError, match="does not fit"):
        load_model(str(soft))
    save_file({"other": torch.zeros(3, 5)}, soft / WEIGHTS)
    with pytest.raises(ModelError, match="does not fit"):
        load_model(str(soft))
