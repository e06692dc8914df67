"""The side "ours": the product, by its public seams alone.

What the product changes inside does not change this file; what it changes at its seams changes no
other file of the benchmark.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprompt.models.gradients import OpenModel, open_model
from autoprompt.models.loading import load_model
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.transformer import TransformerModel
from autoprompt.objective import evaluate
from autoprompt.prompts import Frame
from autoprompt.scoring.label_scores import label_scores
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.refinement import DECIDED
from autoprompt.searching.triggers import Ids, Line, TriggerSearch, TriggerSettings
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer
from experiments.bench.serving import Clock, Turn, serve

WARM = 32  # examples before the first turn
SETTING = "the product's own batches"


def load(path: str, dtype: str) -> LanguageModel:
    """The product's model.

    Args:
        path: a model directory.
        dtype: "float32", "bfloat16", or "screened": float32 decides, bfloat16 screens.

    """
    if dtype == "bfloat16":
        return load_model(path, dtype="bfloat16").screening
    return load_model(path, dtype="bfloat16" if dtype == "screened" else dtype)


def prepare(job: dict[str, Any], dtype: str) -> tuple[str, Turn]:
    """See `serving.serve`."""
    model = load(job["model"], "float32" if job["kind"] == "training" else dtype)
    turns = {
        "score": _score,
        "factorised": _factorised,
        "trigger": _trigger,
        "causal": _causal,
        "linearity": _linearity,
    }
    if job["kind"] == "training":
        return _training(job, dtype)
    return turns[job["kind"]](model, job)


def _score(model: LanguageModel, job: dict[str, Any]) -> tuple[str, Turn]:
    frame = Frame(Template.parse(job["template"]))
    verbalizer = Verbalizer.of({label: [word] for label, word in job["words"].items()})
    examples = _examples(job["texts"])

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        scorer = WordScorer(model, verbalizer.all_words, relative=True)
        scores = scorer.scores(frame, examples)
        found = label_scores(scores, scorer.columns(frame, verbalizer), verbalizer.aggregation)
        predictions = found.argmax(axis=1)
        return {
            "seconds": clock.seconds,
            "numbers": {
                "predictions": predictions.tolist(),
                "margins": (found[:, 0] - found[:, 1]).tolist(),
            },
        }

    WordScorer(model, verbalizer.all_words, relative=True).scores(frame, examples[:WARM])
    return SETTING, turn


def _factorised(model: LanguageModel, job: dict[str, Any]) -> tuple[str, Turn]:
    frames = [Frame(Template.parse(text)) for text in job["templates"]]
    verbalizers = [Verbalizer.of(words) for words in job["verbalizers"]]
    examples = _examples(job["texts"])

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        predictions = pair_predictions(model, frames, verbalizers, examples)
        return {
            "seconds": clock.seconds,
            "numbers": {
                "predictions": [
                    label for pair in job["pairs"] for label in predictions[tuple(pair)].tolist()
                ]
            },
        }

    pair_predictions(model, frames[:1], verbalizers, examples[:WARM])
    return "one pass a template, all pairs measured", turn


def pair_predictions(
    model: LanguageModel,
    frames: Sequence[Frame],
    verbalizers: Sequence[Verbalizer],
    examples: Sequence[Example],
) -> dict[tuple[int, int], Any]:
    """Predicted label indices of each pair (template, verbalizer)."""
    words = [word for one in verbalizers for word in one.all_words]
    scorer = WordScorer(model, words, relative=True)
    found = {}
    for at, frame in enumerate(frames):
        scores = scorer.scores(frame, examples)
        for number, verbalizer in enumerate(verbalizers):
            columns = scorer.columns(frame, verbalizer)
            labels = label_scores(scores, columns, verbalizer.aggregation)
            found[at, number] = labels.argmax(axis=1)
    return found


def _trigger(model: LanguageModel, job: dict[str, Any]) -> tuple[str, Turn]:
    template = job["template"].replace("{triggers}", f"{{trigger:{len(job['start'])}}}")
    examples = _examples(job["texts"], job["labels"])
    return SETTING, _step_of(model, template, examples, job["words"], job)


def _causal(model: LanguageModel, job: dict[str, Any]) -> tuple[str, Turn]:
    template = f"{{text}}{{trigger:{len(job['start'])}}}{job['after']} {{mask}}"
    words = {"wanted": job["target"].strip(), "other": job["other"].strip()}
    examples = _examples([job["before"]], ["wanted"])
    return SETTING, _step_of(model, template, examples, words, job)


def _step_of(
    model: LanguageModel,
    template: str,
    examples: Sequence[Example],
    words: dict[str, str],
    job: dict[str, Any],
) -> Turn:
    """The first step of a search, from the same tokens each turn."""
    labels = list(words)
    gold = np.array([labels.index(str(example.label)) for example in examples])
    screens = model.screening is not model
    search = _Watched(
        open_model(model.screening),
        Frame(Template.parse(template)),
        Verbalizer.of({label: [word] for label, word in words.items()}),
        examples,
        gold,
        TriggerSettings(
            candidates=job["candidates"],
            batch=len(examples),
            beam=1,
            flips=1,
            over_labels=False,
            decided=DECIDED if screens else 0,
        ),
        seed=0,
        exact=open_model(model),
    )
    start: Ids = tuple(job["start"])
    rows = np.arange(len(examples))

    def turn(sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        search.step(Line((start,)))
        found: dict[str, Any] = {"seconds": clock.seconds, "flipped": search.flipped(start)}
        if sent["check"]:
            checked = [tuple(tokens) for tokens in job["checked"]]
            found["numbers"] = {
                "losses": search.values(checked, rows).tolist(),
                "promises": search.promises(start, rows)[:, job["tokens"]].ravel().tolist(),
            }
        return found

    search.values([start], rows)
    return turn


class _Watched(TriggerSearch):
    """Remembers what a step scored first: how much of it a cache can save depends on that."""

    scored: Sequence[Ids] = ()

    def values(self, candidates: Sequence[Ids], rows: Any, model: OpenModel | None = None) -> Any:
        """As the search; the candidates are noted."""
        if model is None:
            self.scored = list(candidates)
        return super().values(candidates, rows, model)

    def flipped(self, start: Ids) -> list[int]:
        """For each candidate the first trigger token that is not the start's."""
        return [
            next((at for at, (a, b) in enumerate(zip(one, start, strict=True)) if a != b), len(one))
            for one in self.scored
        ]


def _linearity(model: LanguageModel, job: dict[str, Any]) -> tuple[str, Turn]:
    """A turn is told how many templates, verbalizers and examples to score."""
    frames = [Frame(Template.parse(text)) for text in job["templates"]]
    verbalizers = [Verbalizer.of(words) for words in job["verbalizers"]]
    examples = _examples(job["texts"])

    def turn(sent: dict[str, Any]) -> dict[str, Any]:
        clock = Clock()
        pair_predictions(
            model,
            frames[: sent["templates"]],
            verbalizers[: sent["verbalizers"]],
            examples[: sent["examples"]],
        )
        return {"seconds": clock.seconds}

    pair_predictions(model, frames[:1], verbalizers[:1], examples[:WARM])
    return SETTING, turn


def _training(job: dict[str, Any], dtype: str) -> tuple[str, Turn]:
    """Each turn trains on, by the product's trainer; what begins and ends it is in the time."""
    from autoprompt.prompts import Prompt
    from autoprompt.tuning.lessons import Assignment
    from autoprompt.tuning.methods import METHODS
    from autoprompt.tuning.settings import TuningSettings
    from autoprompt.tuning.training import Course

    model = load_model(job["model"], dtype="float32")
    assert isinstance(model, TransformerModel)
    verbalizer = Verbalizer.of({label: [word] for label, word in job["words"].items()})
    prompt = Prompt(Template.parse(job["template"]), verbalizer)
    examples = tuple(_examples(job["texts"], job["labels"]))
    steps = len(examples) // job["batch"]
    settings = TuningSettings(learning_rate=1e-5, steps=steps, batch=job["batch"], precision=dtype)
    METHODS[settings.method]().attach(model, [prompt], settings)
    course = Course(model, [Assignment("bench", prompt, examples, examples[:2])])
    before = []
    for start in range(0, len(examples), job["batch"]):
        part = examples[start : start + job["batch"]]
        scored = evaluate(prompt, WordScorer(model, verbalizer.all_words), part)
        before.append(scored.measures()["cross_entropy"].value)

    def turn(_sent: dict[str, Any]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            clock = Clock()
            course.take_steps(settings, Path(folder))
            return {"seconds": clock.seconds, "numbers": {"losses": before}}

    return "the product's trainer, without looks at dev and checkpoints", turn


def _examples(texts: Sequence[str], labels: Sequence[str | None] = ()) -> list[Example]:
    kept = labels or [None] * len(texts)
    return [Example({"text": text}, label) for text, label in zip(texts, kept, strict=True)]


if __name__ == "__main__":
    serve(prepare)
