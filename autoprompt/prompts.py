"""The frozen prompt: the sole currency between search and everything after it.

A prompt says all that a prediction needs beside the model's weights. Its JSON form is stable
(`schema`), and its digest names what it does, not where it came from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoprompt.demonstrations import render as render_demonstrations
from autoprompt.errors import PromptError
from autoprompt.files import digest, read_text, write_json
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

SCHEMA = 1


@dataclass(frozen=True)
class TriggerTokens:
    """The tokens of one trigger slot: ids, which are what is scored, and their strings."""

    ids: tuple[int, ...]
    strings: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """A correction of label scores.

    Attributes:
        method: "none", "contextual" or "batch".
        offsets: one log-prior for each label, subtracted from the label scores; empty for "none".
    """

    method: str = "none"
    offsets: tuple[float, ...] = ()


@dataclass(frozen=True)
class ModelIdentity:
    """Which model a prompt was scored with.

    Attributes:
        name: a Hugging Face name, a directory, or "embedded".
        revision: the hub's revision, or "" for a directory.
        family: "masked".
        tokenizer: the tokenizer's fingerprint; a prompt is refused by another tokenizer.
        weights: digest of the weight files.
    """

    name: str
    revision: str
    family: str
    tokenizer: str
    weights: str


@dataclass(frozen=True)
class TokenRecord:
    """The exact ids that a prompt was scored with, for a check on loading.

    Attributes:
        probe: ids of the prompt with the word "text" in every field and one mask.
        words: the ids of each label word in this template's context.
        max_length: the most tokens that a sequence may have.
        ids_only: whether plain tokenization of the rendered text gives other ids than these.
    """

    probe: tuple[int, ...]
    words: Mapping[str, tuple[int, ...]]
    max_length: int
    ids_only: bool


@dataclass(frozen=True)
class Frame:
    """What the model sees of a prompt: all but the label words' meaning.

    Prompts with equal frames share their forward passes.
    """

    template: Template
    triggers: tuple[tuple[int, ...], ...] = ()
    demonstrations: str = ""

    @property
    def key(self) -> str:
        """A digest."""
        return digest([self.template.text, self.triggers, self.demonstrations])


@dataclass(frozen=True)
class Prompt:
    """Template, verbalizer, trigger tokens, demonstrations and calibration, frozen.

    Attributes:
        model: the model that it was found on; None for a prompt that nothing has scored.
        tokens: the ids that it was scored with; None as above.
        lineage: where it came from, the oldest first.
        scores: split name to measures (`value`, `n`, `low`, `high`).
        splits: split name to digest of the data that the scores were measured on.
        versions: of the packages that made it.
        seed: of the run that found it.
    """

    template: Template
    verbalizer: Verbalizer
    triggers: tuple[TriggerTokens, ...] = ()
    demonstrations: tuple[Example, ...] = ()
    calibration: Calibration = Calibration()
    model: ModelIdentity | None = None
    tokens: TokenRecord | None = None
    lineage: tuple[str, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        counts = tuple(len(trigger.ids) for trigger in self.triggers)
        if counts != self.template.trigger_counts:
            raise PromptError(
                f"template {self.template.text!r} wants trigger tokens {self.template.trigger_counts}"
                f", the prompt has {counts}"
            )
        for example in self.demonstrations:
            if example.label not in self.verbalizer.labels:
                raise PromptError(f"a demonstration has the label {example.label!r}, not a task's")
        if self.demonstrations and not self.template.has_demonstrations:
            raise PromptError(f"template {self.template.text!r} has no {{demonstrations}} slot")
        offsets = self.calibration.offsets
        if self.calibration.method != "none" and offsets:
            if len(offsets) != len(self.verbalizer.labels):
                raise PromptError("a calibration needs one offset for each label")
            if not all(math.isfinite(offset) for offset in offsets):
                raise PromptError("a calibration's offsets must be finite numbers")

    @property
    def frame(self) -> Frame:
        """What the model sees."""
        strings = ["".join(trigger.strings) for trigger in self.triggers]
        return Frame(
            self.template,
            tuple(trigger.ids for trigger in self.triggers),
            render_demonstrations(self.template, self.demonstrations, self.verbalizer, strings),
        )

    @property
    def digest(self) -> str:
        """Names what the prompt does. Calibration counts by method: its numbers follow from it."""
        return digest(
            [
                self.template.text,
                [self.verbalizer.as_dict(), self.verbalizer.aggregation],
                [trigger.ids for trigger in self.triggers],
                [[*example.key, example.label] for example in self.demonstrations],
                self.calibration.method,
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "schema": SCHEMA,
            "digest": self.digest,
            "template": self.template.text,
            "labels": list(self.verbalizer.labels),
            "verbalizer": self.verbalizer.as_dict(),
            "aggregation": self.verbalizer.aggregation,
            "triggers": [
                {"ids": list(trigger.ids), "strings": list(trigger.strings)}
                for trigger in self.triggers
            ],
            "demonstrations": [
                {"fields": dict(example.fields), "label": example.label}
                for example in self.demonstrations
            ],
            "calibration": {
                "method": self.calibration.method,
                "offsets": list(self.calibration.offsets),
            },
            "model": vars(self.model) if self.model else None,
            "tokens": {
                "probe": list(self.tokens.probe),
                "words": {word: list(ids) for word, ids in self.tokens.words.items()},
                "max_length": self.tokens.max_length,
                "ids_only": self.tokens.ids_only,
            }
            if self.tokens
            else None,
            "lineage": list(self.lineage),
            "scores": dict(self.scores),
            "splits": dict(self.splits),
            "versions": dict(self.versions),
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], source: str = "prompt") -> Prompt:
        """A prompt from its JSON form.

        Raises:
            PromptError: a key is missing or of the wrong kind, the schema is newer than this
                version, or the digest does not fit the content.
        """
        schema = record.get("schema")
        if schema != SCHEMA:
            raise PromptError(
                f"{source}: prompt schema {schema!r} is not one that this version reads "
                f"({SCHEMA}); upgrade autoprompt, or export the prompt again"
            )
        try:
            prompt = cls._read(record)
        except (KeyError, TypeError, AttributeError) as error:
            raise PromptError(
                f"{source}: not a whole prompt file ({type(error).__name__}: {error}); "
                f"take an unedited copy, or search again"
            ) from error
        if "digest" in record and record["digest"] != prompt.digest:
            raise PromptError(
                f"{source}: the content does not fit its digest {record['digest']!r}; the file was "
                f"edited by hand: remove the key 'digest' to use it all the same"
            )
        return prompt

    @classmethod
    def _read(cls, record: Mapping[str, Any]) -> Prompt:
        model, tokens = record.get("model"), record.get("tokens")
        return cls(
            template=Template.parse(record["template"]),
            verbalizer=Verbalizer.of(
                record["verbalizer"],
                record.get("labels"),
                record.get("aggregation", "logsumexp"),
            ),
            triggers=tuple(
                TriggerTokens(tuple(item["ids"]), tuple(item["strings"]))
                for item in record.get("triggers", ())
            ),
            demonstrations=tuple(
                Example(dict(item["fields"]), item["label"])
                for item in record.get("demonstrations", ())
            ),
            calibration=Calibration(
                record.get("calibration", {}).get("method", "none"),
                tuple(float(x) for x in record.get("calibration", {}).get("offsets", ())),
            ),
            model=ModelIdentity(**model) if model else None,
            tokens=TokenRecord(
                tuple(tokens["probe"]),
                {word: tuple(ids) for word, ids in tokens["words"].items()},
                tokens["max_length"],
                tokens["ids_only"],
            )
            if tokens
            else None,
            lineage=tuple(record.get("lineage", ())),
            scores=dict(record.get("scores", {})),
            splits=dict(record.get("splits", {})),
            versions=dict(record.get("versions", {})),
            seed=record.get("seed"),
        )

    def save(self, path: str | Path) -> None:
        """Write the JSON form, atomically."""
        write_json(Path(path), self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> Prompt:
        """Read a prompt file.

        Raises:
            PromptError: it is damaged or foreign.
        """
        text = read_text(Path(path), "prompt file")
        try:
            record = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PromptError(f"{path}: not valid JSON ({error}); take an unedited copy") from error
        if not isinstance(record, dict):
            raise PromptError(f"{path}: a prompt file holds one JSON object")
        return cls.from_dict(record, str(path))

    def with_scores(self, split: str, measures: Mapping[str, Any], data_digest: str) -> Prompt:
        """This prompt with the measures of one more split."""
        return replace(
            self,
            scores={**self.scores, split: dict(measures)},
            splits={**self.splits, split: data_digest},
        )
