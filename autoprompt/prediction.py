"""Using a prompt: predictions and scores outside a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoprompt.errors import InputError, PromptError, listing
from autoprompt.models.loading import load_model
from autoprompt.models.protocol import LanguageModel
from autoprompt.objective import Scored, evaluate, predict
from autoprompt.prompts import Prompt
from autoprompt.runs import prompt_file
from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example


@dataclass(frozen=True)
class Prediction:
    """A label with its probabilities over labels."""

    label: str
    probabilities: Mapping[str, float]


class Predictor:
    """A prompt on its model.

    Args:
        prompt: a `Prompt`, or the path of a prompt file or run directory.
        model: a loaded model; by default the one that the prompt names.

    Raises:
        PromptError: the model is not the one that the prompt was scored with, or its tokenizer
            gives other ids than those in the file.
        RunDirectoryError: the directory holds no finished run.

    Example::

        Predictor("runs/sst2/best.json").predict(["a gripping, funny film"])
    """

    def __init__(self, prompt: Prompt | str | Path, model: LanguageModel | None = None) -> None:
        self.prompt = prompt if isinstance(prompt, Prompt) else Prompt.load(prompt_file(prompt))
        self.model = model or model_of(self.prompt)
        check_prompt_fits(self.prompt, self.model)
        self.scorer = WordScorer(self.model, self.prompt.verbalizer.all_words, relative=True)

    def predict(self, texts: Sequence[str | Mapping[str, str]]) -> list[Prediction]:
        """Predict labels.

        Args:
            texts: strings, where the template has one field, or mappings of field to text.

        Raises:
            InputError: `texts` is a single text, a field is missing, or a value is no text.
        """
        if isinstance(texts, str | Mapping):
            raise InputError(
                "predict takes a list of texts; write predict([text]) for a single one"
            )
        examples = [self._example(text) for text in texts]
        labels = self.prompt.verbalizer.labels
        return [
            Prediction(
                labels[int(row.argmax())],
                {label: float(p) for label, p in zip(labels, np.exp(row), strict=True)},
            )
            for row in self._log_probabilities(examples)
        ]

    def score(self, examples: Sequence[Example]) -> Scored:
        """Scores on labelled examples."""
        return evaluate(self.prompt, self.scorer, examples)

    def _log_probabilities(self, examples: Sequence[Example]) -> Floats:
        if not examples:
            return np.zeros((0, len(self.prompt.verbalizer.labels)))
        return predict(self.prompt, self.scorer, examples)

    def _example(self, text: str | Mapping[str, str]) -> Example:
        fields = self.prompt.template.fields
        if isinstance(text, str):
            if len(fields) != 1:
                raise InputError(
                    f"the prompt has the fields {listing(fields)}; give each text as a mapping"
                )
            text = {fields[0]: text}
        if not isinstance(text, Mapping):
            raise InputError(f"{text!r} is no text; give strings, or mappings of field to string")
        if missing := [name for name in fields if name not in text]:
            raise InputError(
                f"a text lacks the fields {listing(missing)}; it has {listing(map(str, text))}"
            )
        for name in fields:
            _check_text(name, text[name])
        return Example({name: text[name] for name in fields})


def _check_text(field: str, text: object) -> None:
    if not isinstance(text, str):
        raise InputError(f"field {field!r} holds {text!r}, which is no text; give a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"field {field!r} holds half a surrogate pair; mend the text") from error


def model_of(
    prompt: Prompt,
    name: str | None = None,
    *,
    device: str = "cpu",
    revision: str = "",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load the model that a prompt names, or another copy of it by `name`.

    Raises:
        PromptError: neither the prompt nor the caller names a model.
        ModelError: it cannot be loaded.
    """
    if name is None and prompt.model is None:
        raise PromptError("the prompt names no model; name one with --model")
    known = prompt.model
    return load_model(
        name or (known.name if known else ""),
        dtype="float32",  # nothing is screened here
        device=device,
        revision=revision or (known.revision if known and name is None else ""),
        trust_remote_code=trust_remote_code,
        max_length=prompt.tokens.max_length if prompt.tokens else None,
    )


def check_prompt_fits(prompt: Prompt, model: LanguageModel) -> None:
    """Refuse a model that would not give the scores in the prompt file.

    Raises:
        PromptError: the tokenizer, the weights or the longest input differ, or the ids in the file
            are not those that this installation makes.
    """
    if prompt.model is None:
        return
    for what, known, given in (
        ("tokenizer", prompt.model.tokenizer, model.identity.tokenizer),
        ("set of weights", prompt.model.weights, model.identity.weights),
    ):
        if known != given:
            raise PromptError(
                f"the prompt was scored with {prompt.model.name!r}; {model.identity.name!r} has "
                f"another {what} ({known} against {given}); use the model it names, or search "
                f"again on this one"
            )
    if prompt.tokens is not None:
        length = prompt.tokens.max_length
        if model.encoder.max_length != length:
            raise PromptError(
                f"the prompt was scored on at most {length} tokens, the model is loaded for "
                f"{model.encoder.max_length}; load it with max_length={length}"
            )
        now = model.encoder.record(prompt.frame, list(prompt.tokens.words))
        if (now.probe, dict(now.words)) != (prompt.tokens.probe, dict(prompt.tokens.words)):
            raise PromptError(
                "this installation encodes the prompt to other token ids than those it was scored "
                "with; install the versions that the prompt file names"
            )
