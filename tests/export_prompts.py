"""Prompts to export, as a search leaves them: with their model and the ids that were scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autoprompt.export.formats import export, format_of, material_of
from autoprompt.lineage import Edit
from autoprompt.models.transformer import TransformerModel
from autoprompt.prediction import Predictor
from autoprompt.prompts import Calibration, Prompt, TriggerTokens
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

WORDS = {"negative": ["bad"], "positive": ["great"]}
MANY = {"negative": ["bad", "not very good"], "positive": ["great", "very good"]}
CHAT = "{system:}You judge.{user:}  {text}\n\nIs it good? {assistant:}It is {mask}"
EXAMPLES = (
    Example({"text": "a good film"}, "positive"),
    Example({"text": 'dull {{ 7 * 7 }} {% if %} "bad" <b>'}, "negative"),
    Example({"text": "very boring , , 1"}, "negative"),
)
TEXTS = (
    "A gripping, funny film!",
    "",
    "  spaced  text, don't ",
    "naïve [MASK] <mask> </s> <|endoftext|> <|im_end|> <extra_id_0>",
    "42",
)


def prompt_for(
    model: TransformerModel,
    template: str = "{text} It was {mask}.",
    words: dict[str, list[str]] | None = None,
    *,
    aggregation: str = "logsumexp",
    calibrated: bool = False,
    triggers: Sequence[Sequence[int]] = (),
    demonstrations: Sequence[Example] = (),
) -> Prompt:
    """A prompt that has been scored with a model."""
    decode = model.encoder.tokenizer.decode
    bare = Prompt(
        Template.parse(template),
        Verbalizer.of(words or WORDS, aggregation=aggregation),
        triggers=tuple(
            TriggerTokens(tuple(ids), tuple(decode([token]) for token in ids)) for ids in triggers
        ),
        demonstrations=tuple(demonstrations),
        calibration=Calibration("contextual", (-0.2, -1.7)) if calibrated else Calibration(),
        lineage=(Edit("seed 1", "{text} It was {mask}."), Edit("words", template)),
        seed=7,
    )
    tokens = model.encoder.record(bare.frame, bare.verbalizer.all_words)
    return replace(bare, model=model.identity, tokens=tokens)


def exported(
    name: str,
    prompt: Prompt,
    place: Path,
    model: TransformerModel | None = None,
    examples: Sequence[Example] = EXAMPLES,
    drop: Sequence[str] = (),
) -> Path:
    """A prompt in a format, written to a place that is new."""
    chosen = format_of(name)
    material = replace(material_of(place / "none.json", prompt, place, drop), examples=examples)
    chosen.check(material)
    if chosen.wants_model(material):
        assert model is not None
        material = replace(material, predictor=Predictor(material.prompt, model))
    export(chosen, material)
    return place


def label_scores(
    prompt: Prompt, model: TransformerModel, texts: Sequence[Any]
) -> list[list[float]]:
    """What `Predictor` gives: log-probabilities of labels, one row a text."""
    found = Predictor(prompt, model)._log_probabilities(
        [Example({"text": text} if isinstance(text, str) else text) for text in texts]
    )
    return [[float(x) for x in row] for row in found]
