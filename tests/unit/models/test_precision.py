"""In which precision candidates are screened."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autoprompt.errors import UnknownNameError
from autoprompt.models import precision
from autoprompt.models.loading import load_model
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.precision import PAYS, screening_dtype
from autoprompt.prompts import Frame
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

FRAME = Frame(Template.parse("{text} It was {mask}."))
EXAMPLES = [Example({"text": text}) for text in ("a good film", "dull", "the story was slow")]


@pytest.mark.parametrize(("gain", "wanted"), [(PAYS, torch.float32), (PAYS + 0.01, torch.bfloat16)])
def test_auto_follows_the_measured_gain(
    monkeypatch: pytest.MonkeyPatch, gain: float, wanted: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "bfloat16_gain", lambda device: gain)
    assert screening_dtype("auto", "cpu") is wanted


def test_the_gain_is_not_asked_for_where_the_user_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bfloat16_gain", lambda device: 1 / 0)
    assert screening_dtype("float32", "cpu") is torch.float32
    assert screening_dtype("bfloat16", "cpu") is torch.bfloat16


def test_an_unknown_precision_is_an_error_before_anything_is_loaded() -> None:
    with pytest.raises(UnknownNameError, match="auto, float32, bfloat16"):
        load_model("no/such-model", dtype="float16")


def test_the_probe_times_both() -> None:
    assert precision._seconds(torch.float32, 4, "cpu") > 0
    assert precision._seconds(torch.bfloat16, 4, "cpu") > 0


@pytest.mark.parametrize(("on_few", "rows"), [(0.1, [16]), (0.9, [16, 512])])
def test_emulated_bfloat16_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, on_few: float, rows: list[int]
) -> None:
    asked: list[int] = []

    def gain(count: int, device: str) -> float:
        asked.append(count)
        return on_few

    monkeypatch.setattr(precision, "_gain", gain)
    assert precision.measured_gain("cpu") == on_few
    assert asked == rows


def test_a_model_that_screens_in_its_own_precision_screens_itself(
    tiny_model: MaskedLanguageModel,
) -> None:
    assert tiny_model.precision == "float32"
    assert tiny_model.screening is tiny_model


def test_the_screening_copy_is_near_and_changes_nothing(tiny_model: MaskedLanguageModel) -> None:
    model = MaskedLanguageModel(
        tiny_model.module, tiny_model.encoder, tiny_model.identity, torch.bfloat16
    )
    tokens = np.arange(len(tiny_model.encoder.tokenizer))
    encodings = model.encoder.encode(FRAME, EXAMPLES)
    before = model.log_probabilities(encodings, tokens)
    copy = model.screening
    assert copy is model.screening
    assert copy.screening is copy
    assert (copy.precision, model.precision) == ("bfloat16", "float32")
    found = copy.log_probabilities(encodings, tokens)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - before).max() < 0.05 * np.abs(before).max()
    np.testing.assert_array_equal(model.log_probabilities(encodings, tokens), before)
    assert all(p.dtype == torch.float32 for p in model.module.parameters())
