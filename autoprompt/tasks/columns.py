"""Which column is which: the description of a task, written (`task.yaml`) or guessed.

Columns are guessed only where there is one reading.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoprompt.documents import parse_yaml
from autoprompt.errors import TaskError, UnknownNameError, listing, nearest_of, shortened
from autoprompt.files import read_text
from autoprompt.tasks.examples import Example
from autoprompt.tasks.reading import Row, text_value

METRICS = ("accuracy", "macro_f1", "matthews")
TEXT_COLUMNS = ("text", "sentence", "review", "content", "question", "title", "document")
PAIR_COLUMNS = (
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
)
LABEL_COLUMNS = ("label", "labels", "class", "category", "sentiment", "target")
TASK_KEYS = ("name", "fields", "label", "labels", "metric")


@dataclass(frozen=True)
class Columns:
    """How a row becomes an example.

    Attributes:
        fields: field name to column name.
        label: the label's column.
        labels: value in the file to the label's name; empty where the values are the names.
        metric: one of `METRICS`.
        name: the task's name, or "" where none was given.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    metric: str = "accuracy"
    name: str = ""

    def over(self, described: Columns) -> Columns:
        """These columns, with what they leave open taken from a task's description.

        The description's label names hold for its own label column only.
        """
        other_label = self.label and described.label and self.label != described.label
        return Columns(
            fields=self.fields or described.fields,
            label=self.label or described.label,
            labels=self.labels or ({} if other_label else described.labels),
            metric=self.metric if self.metric != Columns.metric else described.metric,
            name=self.name or described.name,
        )

    def recalled(self, known: Columns, header: Sequence[str], wanted: Sequence[str]) -> Columns:
        """These columns, with what they leave open taken from an earlier file's.

        Args:
            known: the columns of that file. Columns with the names of the fields will do as well,
                which is how a run writes its splits.
            header: of the file at hand.
            wanted: the fields that are needed; the others come along where they are there.
        """
        recalled = Columns()
        for way in (known.fields, {name: name for name in (*known.fields, *wanted)}):
            found = {field: column for field, column in way.items() if column in header}
            if wanted and set(wanted) <= found.keys():
                recalled = Columns(fields=found)
                break
        if known.label in header:
            recalled = replace(recalled, label=known.label, labels=known.labels)
        return self.over(recalled)

    def completed(self, header: Sequence[str], where: str, labelled: bool = True) -> Columns:
        """These columns with what is missing guessed from a file's header.

        Raises:
            TaskError: a named column is absent, or there is not exactly one reading.
        """
        fields = self.fields or _guess_fields(header, where)
        label = self.label or (_guess_label(header, where) if labelled else "")
        for column in [*fields.values(), *([label] if labelled else [])]:
            if column not in header:
                raise TaskError(
                    f"{where}: no column {column!r}; {nearest_of(column, header)}"
                    f"the columns are: {listing(header)}"
                )
        return replace(self, fields=dict(fields), label=label)

    def example(self, row: Row, labelled: bool = True) -> Example:
        """The example of one row; its label is None where `labelled` is false."""
        texts = {
            name: text_value(row.values.get(column), column, row)
            for name, column in self.fields.items()
        }
        return Example(texts, self.label_of(row) if labelled else None)

    def label_of(self, row: Row) -> str:
        """The label's name in a row, normalised (NFC, no white space around it)."""
        text = text_value(row.values.get(self.label), self.label, row)
        raw = unicodedata.normalize("NFC", text).strip()
        if not raw:
            raise TaskError(f"{row.where}: the label is empty; fill it or drop the row")
        if not self.labels:
            return raw
        if raw in self.labels:
            return self.labels[raw]
        if raw in self.labels.values():
            return raw
        raise TaskError(
            f"{row.where}: the label {shortened(raw)!r} is none of the task's; "
            f"{nearest_of(raw, self.labels)}valid: {listing(self.labels)}"
        )

    def spelling_notes(self, rows: Sequence[Row]) -> list[str]:
        """Notes on labels that are read as one, but stand in the files in several ways.

        So it is with 1 and "1", with white space, and with the two ways to write an accent.
        """
        spellings: dict[str, dict[str, None]] = {}
        for row in rows:
            value = row.values.get(self.label)
            text = unicodedata.normalize("NFC", text_value(value, self.label, row)).strip()
            spellings.setdefault(text, {})[ascii(value)] = None  # ascii tells accents apart
        return [
            f"the label {text!r} is written in {len(ways)} ways ({listing(ways)}); "
            f"they are read as one"
            for text, ways in spellings.items()
            if len(ways) > 1
        ]


def read_description(path: Path) -> Columns:
    """A `task.yaml`: `name`, `fields`, `label`, `labels`, `metric`, each of them optional.

    `fields` is a list of column names or a mapping of field to column; `labels` is a list of
    names or a mapping of the file's value to a name.
    """
    record = parse_yaml(read_text(path, "task file"), str(path), TaskError).record(
        "a task", TASK_KEYS
    )
    metric = record["metric"].text("metric") if "metric" in record else "accuracy"
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    pairs: dict[str, dict[str, str]] = {"fields": {}, "labels": {}}
    for key, target in pairs.items():
        if key not in record:
            continue
        node = record[key]
        if isinstance(node.value, dict):
            target.update({name: item.text(key) for name, item in node.value.items()})
        else:
            target.update({name: name for name in node.texts(key)})
    labels = {
        unicodedata.normalize("NFC", raw).strip(): unicodedata.normalize("NFC", name).strip()
        for raw, name in pairs["labels"].items()
    }
    return Columns(
        fields=pairs["fields"],
        label=record["label"].text("label") if "label" in record else "",
        labels=labels,
        metric=metric,
        name=record["name"].text("name") if "name" in record else "",
    )


def _guess_fields(header: Sequence[str], where: str) -> dict[str, str]:
    pairs = [pair for pair in PAIR_COLUMNS if set(pair) <= set(header)]
    singles = [name for name in TEXT_COLUMNS if name in header]
    singles = [name for name in singles if not any(name in pair for pair in pairs)]
    if len(pairs) == 1 and not singles:
        return {"text_a": pairs[0][0], "text_b": pairs[0][1]}
    if len(singles) == 1 and not pairs:
        return {"text": singles[0]}
    reading = "more than one reading" if pairs or singles else "no text column that it knows"
    raise TaskError(
        f"{where}: {reading} in the columns {listing(header)}; name the text with --text-column "
        f"(twice for a pair), or write a task.yaml with `fields`"
    )


def _guess_label(header: Sequence[str], where: str) -> str:
    found = [name for name in LABEL_COLUMNS if name in header]
    if len(found) == 1:
        return found[0]
    reading = "more than one label column" if found else "no label column"
    raise TaskError(
        f"{where}: {reading} in the columns {listing(header)}; name it with --label-column, "
        f"or write a task.yaml with `label`"
    )
