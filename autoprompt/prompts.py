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
from typing import Any, TypeVar

from autoprompt.demonstrations import render as render_demonstrations
from autoprompt.errors import InputError, PromptError, listing, nearest_of
from autoprompt.files import digest, read_text, write_json
from autoprompt.lineage import Edit
from autoprompt.space_content import CALIBRATIONS
from autoprompt.tasks.examples import Example
from autoprompt.templates import DEMONSTRATIONS, MASK, Template
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
        family: "masked", "causal" or "seq2seq".
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
    lineage: tuple[Edit, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None

    def __post_init__(self) -> None:
        if len(self.verbalizer.labels) < 2:
            raise PromptError(
                f"a prompt needs two labels at least; it has: {listing(self.verbalizer.labels)}"
            )
        counts = tuple(len(trigger.ids) for trigger in self.triggers)
        if counts != self.template.trigger_counts:
            raise PromptError(
                f"template {self.template.text!r} wants trigger tokens "
                f"{self.template.trigger_counts}, the prompt has {counts}"
            )
        self._check_demonstrations()
        self._check_calibration()

    def _check_demonstrations(self) -> None:
        if self.demonstrations and not self.template.has_demonstrations:
            raise PromptError(f"template {self.template.text!r} has no {{demonstrations}} slot")
        for example in self.demonstrations:
            if example.label not in self.verbalizer.labels:
                raise PromptError(
                    f"a demonstration has the label {example.label!r}; the prompt's labels are: "
                    f"{listing(self.verbalizer.labels)}"
                )
            if missing := [name for name in self.template.fields if name not in example.fields]:
                raise PromptError(f"a demonstration has no text for {listing(missing)}")

    def _check_calibration(self) -> None:
        method, offsets = self.calibration.method, self.calibration.offsets
        if method not in CALIBRATIONS:
            raise PromptError(
                f"unknown calibration {method!r}; {nearest_of(method, CALIBRATIONS)}"
                f"valid: {listing(CALIBRATIONS)}"
            )
        expected = 0 if method == "none" else len(self.verbalizer.labels)
        if len(offsets) != expected:
            raise PromptError(
                f"calibration {method!r} has {len(offsets)} offsets; it must have {expected} (one "
                f"for each label, none without calibration)"
            )
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
    def shown(self) -> str:
        """The template as it reads: trigger tokens in their places, slots as slots."""
        strings = ["".join(trigger.strings) for trigger in self.triggers]
        slots = {name: f"{{{name}}}" for name in self.template.fields}
        place = f"{{{DEMONSTRATIONS}}}" if self.template.has_demonstrations else ""
        return self.template.render(slots, f"{{{MASK}}}", strings, place)

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
        """The JSON form, with a checksum of all of it."""
        record = self._record()
        return {**record, "checksum": digest(record)}

    def _record(self) -> dict[str, Any]:
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
            "model": dict(vars(self.model)) if self.model else None,
            "tokens": {
                "probe": list(self.tokens.probe),
                "words": {word: list(ids) for word, ids in self.tokens.words.items()},
                "max_length": self.tokens.max_length,
                "ids_only": self.tokens.ids_only,
            }
            if self.tokens
            else None,
            "lineage": [edit.to_dict() for edit in self.lineage],
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
        if not isinstance(record, Mapping):
            raise PromptError(f"{source}: a prompt file holds one JSON object")
        schema = record.get("schema")
        if schema != SCHEMA:
            raise PromptError(
                f"{source}: prompt schema {schema!r} is not one that this version reads "
                f"({SCHEMA}); upgrade autoprompt, or export the prompt again"
            )
        try:
            prompt = cls._read(record)
        except InputError as error:
            raise PromptError(f"{source}: {error}") from error
        except KeyError as error:
            raise PromptError(
                f"{source}: not a whole prompt file, the key {error} is missing; "
                f"take an unedited copy, or search again"
            ) from error
        except (TypeError, AttributeError, ValueError, OverflowError) as error:
            raise PromptError(
                f"{source}: not a whole prompt file ({error}); "
                f"take an unedited copy, or search again"
            ) from error
        content = {key: value for key, value in record.items() if key != "checksum"}
        for key, known in (("digest", prompt.digest), ("checksum", digest(content))):
            if record.get(key, known) != known:
                raise PromptError(
                    f"{source}: the content does not fit its {key} {record[key]!r}; the file was "
                    f"edited by hand: to use it all the same, remove 'digest' and 'checksum'"
                )
        return prompt

    @classmethod
    def _read(cls, record: Mapping[str, Any]) -> Prompt:
        model, tokens = record.get("model"), record.get("tokens")
        calibration = record.get("calibration") or {}
        return cls(
            template=Template.parse(_one(record["template"], str, "template")),
            verbalizer=Verbalizer.of(
                {
                    label: _many(words, str, "verbalizer")
                    for label, words in record["verbalizer"].items()
                },
                _many(record["labels"], str, "labels") if "labels" in record else None,
                record.get("aggregation", "logsumexp"),
            ),
            triggers=tuple(
                TriggerTokens(
                    _many(item["ids"], int, "triggers"), _many(item["strings"], str, "triggers")
                )
                for item in record.get("triggers", ())
            ),
            demonstrations=tuple(
                Example(_texts(item["fields"], "demonstrations"), item["label"])
                for item in record.get("demonstrations", ())
            ),
            calibration=Calibration(
                _one(calibration.get("method", "none"), str, "calibration"),
                tuple(float(x) for x in calibration.get("offsets", ())),
            ),
            model=ModelIdentity(**_texts(model, "model")) if model else None,
            tokens=TokenRecord(
                _many(tokens["probe"], int, "tokens"),
                {word: _many(ids, int, "tokens") for word, ids in tokens["words"].items()},
                _one(tokens["max_length"], int, "max_length"),
                _one(tokens["ids_only"], bool, "ids_only"),
            )
            if tokens
            else None,
            lineage=tuple(Edit.from_record(edit) for edit in record.get("lineage", ())),
            scores=dict(record.get("scores", {})),
            splits=_texts(record.get("splits", {}), "splits"),
            versions=_texts(record.get("versions", {}), "versions"),
            seed=None if record.get("seed") is None else _one(record["seed"], int, "seed"),
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
            record = json.loads(text, parse_constant=_refuse)
            # "\\ud800" is valid JSON, but no character: neither a tokenizer nor a file takes it.
            json.dumps(record, ensure_ascii=False).encode("utf-8")
        except (ValueError, RecursionError) as error:
            raise PromptError(f"{path}: not valid JSON ({error}); take an unedited copy") from error
        return cls.from_dict(record, str(path))

    def with_scores(self, split: str, measures: Mapping[str, Any], data_digest: str) -> Prompt:
        """This prompt with the measures of one more split."""
        return replace(
            self,
            scores={**self.scores, split: dict(measures)},
            splits={**self.splits, split: data_digest},
        )


T = TypeVar("T")


def _one(value: Any, kind: type[T], what: str) -> T:
    # `type`, not `isinstance`: True is an int in Python, but not in a prompt file.
    if type(value) is not kind:
        raise TypeError(f"{what}: {value!r} is not of the kind {kind.__name__}")
    return value


def _many(values: Any, kind: type[T], what: str) -> tuple[T, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{what}: {values!r} is not a list")
    return tuple(_one(value, kind, what) for value in values)


def _texts(values: Any, what: str) -> dict[str, str]:
    if not isinstance(values, Mapping):
        raise TypeError(f"{what}: {values!r} is not an object")
    return {name: _one(value, str, what) for name, value in values.items()}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
