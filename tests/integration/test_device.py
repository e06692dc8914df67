"""All that runs a model, on another device than the CPU: `AUTOPROMPT_TEST_DEVICE=cuda`.

What a device gives is compared with what the CPU gives.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import autoprompt
from run_files import document, reproducible
from tuning_material import assignment

from autoprompt.models.batches import lacks_memory
from autoprompt.models.gradients import LabelLoss, Variant
from autoprompt.models.loading import load_model
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel
from autoprompt.prediction import Predictor, model_of
from autoprompt.prompts import Frame, Prompt
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task
from autoprompt.templates import Template
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.tuning import Request, tune

pytestmark = pytest.mark.skipif(
    "AUTOPROMPT_TEST_DEVICE" not in os.environ, reason="AUTOPROMPT_TEST_DEVICE names no device"
)
FAMILIES = ("bert", "roberta", "deberta_v2", "modernbert", "gpt2", "llama", "mistral", "t5", "bart")
families = pytest.mark.parametrize("family", FAMILIES)
TEXTS = ("a good film", "", "the story was slow , and the acting was not very good", "dull")
WORDS = ("great", "very good", "not very good")
Models = Callable[[str], TransformerModel]
SPACE = """
name: either
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
templates:
  patterns: ["{text} {stem} {mask} ."]
  slots: {stem: ["it was", "this is", "all in all it was"]}
triggers: {max_tokens: 2}
label_words:
  candidates: {neg: [boring, dull, slow], pos: [funny, warm, nice]}
  search: true
  methods: [likelihood ratio, label head]
calibration: [none, contextual, batch]
"""


@pytest.fixture(scope="module")
def on_cpu(model_directory: Callable[[str], Path]) -> Models:
    """The same models as `family_models`, on the CPU."""

    def load(family: str) -> TransformerModel:
        found = load_model(str(model_directory(family)))
        assert isinstance(found, TransformerModel)
        return found

    return load


def predictor(path: Path, place: str) -> Predictor:
    prompt = Prompt.load(path)
    return Predictor(prompt, model_of(prompt, device=place))


def triggered(model: TransformerModel, texts: Sequence[str] = TEXTS) -> list[Encoding]:
    frame = Frame(Template.parse("{trigger:2} {text} it was {mask}"), ((40, 41),))
    return model.encoder.encode(frame, [Example({"text": text}) for text in texts])


@families
def test_the_model_is_there_and_takes_its_fast_ways(
    family: str, family_models: Models, on_cpu: Models, device: str
) -> None:
    found, wanted = family_models(family), on_cpu(family)
    assert found.module.device.type == torch.device(device).type
    assert found.identity == wanted.identity
    for way in ("narrow", "selects", "reuse", "precision"):
        assert getattr(found, way, None) == getattr(wanted, way, None)
    packed = [getattr(model, "packed", None) is None for model in (found, wanted)]
    assert packed[0] == packed[1]


@families
def test_scores_are_the_cpus(family: str, family_models: Models, on_cpu: Models) -> None:
    frame = Frame(Template.parse("{text} it was {mask}"))
    examples = [Example({"text": text}) for text in TEXTS * 9]
    for relative in (False, True):
        found, wanted = (
            WordScorer(model, WORDS, relative=relative).scores(frame, examples)
            for model in (family_models(family), on_cpu(family))
        )
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-4)


@families
def test_gradients_and_states_are_the_cpus(
    family: str, family_models: Models, on_cpu: Models
) -> None:
    results = []
    for model in (family_models(family), on_cpu(family)):
        batch = triggered(model)
        variant = Variant(batch, np.array([[61], [62]]), np.array([0, 1]))
        loss, gradients = model.trigger_gradients(
            [variant], np.array([0, 1, 1, 0]), LabelLoss(offsets=(-0.5, -0.9), anti_collapse=0.5)
        )
        states, rows = model.mask_states(batch), model.output_embeddings(np.array([5, 7]))
        results.append((np.array(loss), gradients, states, rows, model.input_embeddings()))
    for found, wanted in zip(*results, strict=True):
        scale = max(1e-3, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3 * scale)


@families
def test_bfloat16_screens_near_float32(
    family: str, model_directory: Callable[[str], Path], family_models: Models, device: str
) -> None:
    screening = load_model(str(model_directory(family)), device=device, dtype="bfloat16").screening
    assert screening.precision == "bfloat16"
    frame = Frame(Template.parse("{text} it was {mask}"))
    examples = [Example({"text": text}) for text in TEXTS]
    found = WordScorer(screening, WORDS).scores(frame, examples)
    wanted = WordScorer(family_models(family), WORDS).scores(frame, examples)
    assert np.abs(found - wanted).mean() < 0.05 * max(1.0, float(np.abs(wanted).max()))


def test_a_full_memory_is_known_as_such(device: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8, device=device)
    assert lacks_memory(caught.value)


@pytest.mark.parametrize(
    ("family", "method"),
    [
        *(("bert", method) for method in ("full", "head", "bitfit", "lora", "soft")),
        *(("llama", method) for method in ("full", "head", "lora", "soft")),
        *(("t5", method) for method in ("full", "lora", "soft")),
    ],
)
def test_tuning_trains_there_and_what_it_writes_loads_anywhere(
    family: str,
    method: str,
    model_directory: Callable[[str], Path],
    device: str,
    tmp_path: Path,
) -> None:
    settings = TuningSettings(steps=4, batch=8, evaluate_every=2, method=method)
    request = Request((assignment(train=16, dev=8),), settings)

    def load() -> TransformerModel:
        found = load_model(str(model_directory(family)), device=device)
        assert isinstance(found, TransformerModel)
        return found

    assert tune(request, load, tmp_path / "out").peak_memory > 0
    found, wanted = (
        predictor(tmp_path / "out/prompt.json", place).predict(list(TEXTS))
        for place in (device, "cpu")
    )
    for one, other in zip(found, wanted, strict=True):
        assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=1e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_tuning_in_half_precision(
    precision: str, model_directory: Callable[[str], Path], device: str, tmp_path: Path
) -> None:
    if precision == "float16" and device == "cpu":
        pytest.skip("float16 is for GPUs")
    settings = TuningSettings(steps=4, batch=8, evaluate_every=2)
    request = Request((assignment(train=16, dev=8),), replace(settings, precision=precision))

    def load() -> TransformerModel:
        found = load_model(str(model_directory("bert")), device=device)
        assert isinstance(found, TransformerModel)
        return found

    assert tune(request, load, tmp_path / "out").trained.steps == 4


@pytest.mark.parametrize("family", ["bert", "llama", "t5"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_search_is_the_same_twice(
    family: str,
    dtype: str,
    task: Path,
    model_directory: Callable[[str], Path],
    device: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE, encoding="utf-8")
    runs = []
    for name in ("one", "two"):
        out = tmp_path / name / "run"  # neighbours' looks at the test split would be counted
        given = ("--task", task, "--space", tmp_path / "space.yaml", "--out", out)
        more = ("--model", model_directory(family), "--trials", "14", "--device", device)
        done = autoprompt("search", *given, *more, "--dtype", dtype)
        assert done.code == 0, done.err
        runs.append(reproducible(out))
    assert runs[0]["trials"] == runs[1]["trials"]
    assert runs[0] == runs[1]
    best = tmp_path / "one/run/best.json"
    on_cpu = predictor(best, "cpu").score(Task.load(task).dev).measures()
    for name, said in document(best)["scores"]["dev"].items():
        assert said["value"] == pytest.approx(on_cpu[name].value, abs=1e-3)
