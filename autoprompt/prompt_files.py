"""The JSON form of a prompt: stable (`schema`), and read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from autoprompt.errors import InputError, PromptError
from autoprompt.files import digest
from autoprompt.lineage import Edit
from autoprompt.prompt_content import (
    Calibration,
    ModelIdentity,
    PromptContent,
    TokenRecord,
    TriggerTokens,
)
from autoprompt.retrieval import Retrieval
from autoprompt.tasks.columns import Columns
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

SCHEMA = 1


def record_of(prompt: PromptContent) -> dict[str, Any]:
    """The JSON form, with a checksum of all of it."""
    record = _record(prompt)
    return {**record, "checksum": digest(record)}


def _record(prompt: PromptContent) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "digest": prompt.digest,
        "template": prompt.template.text,
        "labels": list(prompt.verbalizer.labels),
        "verbalizer": prompt.verbalizer.as_dict(),
        "aggregation": prompt.verbalizer.aggregation,
        "triggers": [
            {"ids": list(trigger.ids), "strings": list(trigger.strings)}
            for trigger in prompt.triggers
        ],
        "demonstrations": [
            {"fields": dict(example.fields), "label": example.label}
            for example in prompt.demonstrations
        ],
        "retrieval": dict(vars(prompt.retrieval)) if prompt.retrieval else None,
        "calibration": {
            "method": prompt.calibration.method,
            "offsets": list(prompt.calibration.offsets),
        },
        "model": dict(vars(prompt.model)) if prompt.model else None,
        "tokens": {
            "probe": list(prompt.tokens.probe),
            "words": {word: list(ids) for word, ids in prompt.tokens.words.items()},
            "max_length": prompt.tokens.max_length,
            "ids_only": prompt.tokens.ids_only,
        }
        if prompt.tokens
        else None,
        "lineage": [edit.to_dict() for edit in prompt.lineage],
        "scores": dict(prompt.scores),
        "splits": dict(prompt.splits),
        "versions": dict(prompt.versions),
        "seed": prompt.seed,
        "columns": {
            "fields": dict(prompt.columns.fields),
            "label": prompt.columns.label,
            "labels": dict(prompt.columns.labels),
        },
    }


def parse_prompt(text: str, source: str) -> Any:
    """The JSON value of a prompt file's text; `source` names it in messages.

    Raises:
        PromptError: it is no JSON, or holds what is no character.
    """
    try:
        record = json.loads(text, parse_constant=_refuse)
        # "\\ud800" is valid JSON, but no character: neither a tokenizer nor a file takes it.
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{source}: not valid JSON ({error}); take an unedited copy") from error
    return record


def read_prompt(record: Any, source: str) -> PromptContent:
    """A prompt's content from its JSON form; `source` names it in messages.

    Raises:
        PromptError: a key is missing or of the wrong kind, the schema is newer than this version,
            or the digest does not fit the content.
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
        prompt = _content(record)
    except InputError as error:
        raise PromptError(f"{source}: {error}") from error
    except KeyError as error:
        raise PromptError(
            f"{source}: not a whole prompt file, the key {error} is missing; "
            f"take an unedited copy, or search again"
        ) from error
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise PromptError(
            f"{source}: not a whole prompt file ({error}); take an unedited copy, or search again"
        ) from error
    content = {key: value for key, value in record.items() if key != "checksum"}
    for key, known in (("digest", prompt.digest), ("checksum", digest(content))):
        if record.get(key, known) != known:
            raise PromptError(
                f"{source}: the content does not fit its {key} {record[key]!r}; the file was "
                f"edited by hand: to use it all the same, remove 'digest' and 'checksum'"
            )
    return prompt


def _content(record: Mapping[str, Any]) -> PromptContent:
    model, tokens = record.get("model"), record.get("tokens")
    calibration, columns = record.get("calibration") or {}, record.get("columns") or {}
    retrieval = record.get("retrieval")
    return PromptContent(
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
        retrieval=Retrieval(
            _one(retrieval["per_label"], int, "retrieval"),
            _one(retrieval["order"], str, "retrieval"),
        )
        if retrieval
        else None,
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
        columns=Columns(
            fields=_texts(columns.get("fields", {}), "columns"),
            label=_one(columns.get("label", ""), str, "columns"),
            labels=_texts(columns.get("labels", {}), "columns"),
        ),
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
