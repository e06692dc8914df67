"""Rows from jsonl, csv, tsv and parquet files, each with its place for messages.

This module knows files and rows; which column is which is decided in `columns`.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.errors import TaskError, listing, shortened
from autoprompt.files import read_bytes


@dataclass(frozen=True)
class Row:
    """One record of a file: column to value (text, number, bool or None), and its place."""

    values: dict[str, Any]
    where: str


def read_rows(path: Path, encoding: str = "utf-8") -> list[Row]:
    """All rows of a data file.

    Args:
        path: a `.jsonl`, `.csv`, `.tsv` or `.parquet` file.
        encoding: of the text formats; a UTF-8 byte-order mark is dropped, and rows may end in
            LF, CRLF or CR.

    Raises:
        TaskError: the format is unknown, a row is malformed, or there are no rows.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise TaskError(
            f"{path}: cannot read {suffix or 'a file without an ending'}; "
            f"valid endings: {', '.join(READERS)}"
        )
    rows = list(READERS[suffix](path, encoding))
    if not rows:
        raise TaskError(f"{path} holds no examples; a data file needs at least one row")
    return rows


def _text_of(path: Path, encoding: str) -> str:
    return decoded(read_bytes(path, "data file"), str(path), encoding)


def decoded(data: bytes, source: str, encoding: str) -> str:
    """The text of some bytes, without a byte-order mark; `source` names them in messages.

    Raises:
        TaskError: they are not of that encoding, hold a NUL, or the encoding is unknown.
    """
    try:
        codecs.lookup(encoding)
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{source} is not {encoding}: byte {error.start} is "
            f"0x{data[error.start : error.start + 1].hex()}; "
            f"convert it, or name its encoding with --encoding"
        ) from error
    except (LookupError, ValueError) as error:  # ValueError: codecs that are not for text files
        raise TaskError(f"unknown encoding {encoding!r}; try utf-8 or latin-1") from error
    if "\x00" in text:
        before = text[: text.index("\x00")].replace("\r\n", "\n").replace("\r", "\n")
        line = before.count("\n") + 1
        raise TaskError(f"{source}, line {line}: holds a NUL byte; remove it or convert the file")
    return text


def _read_jsonl(path: Path, encoding: str) -> Iterator[Row]:
    # StringIO splits on \n, \r\n and \r only; str.splitlines would also cut at U+2028.
    lines = io.StringIO(_text_of(path, encoding), newline=None)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            values = json.loads(line, object_pairs_hook=_unique(where))
        except TaskError:
            raise
        except (ValueError, RecursionError) as error:  # ValueError: an integer of 5,000 digits too
            raise TaskError(f"{where}: not valid JSON ({error}); one object a line") from error
        if not isinstance(values, dict):
            raise TaskError(f'{where}: must be an object like {{"text": ..., "label": ...}}')
        yield Row(values, where)


def _unique(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise TaskError(f"{where}: a key stands twice; keep one of them")
        return values

    return build


def _read_delimited(path: Path, encoding: str, delimiter: str) -> Iterator[Row]:
    text = _text_of(path, encoding)
    with _cells_up_to(len(text)):
        records = _records(path, text, delimiter)
        _, header = next(records, ("", []))
        if len(set(header)) < len(header):
            raise TaskError(f"{path}: the header names a column twice: {listing(header)}")
        for where, cells in records:
            if len(cells) != len(header):
                raise TaskError(
                    f"{where}: has {len(cells)} cells, the header {len(header)} columns; "
                    f"quote cells that hold {delimiter!r}"
                )
            yield Row(dict(zip(header, cells, strict=True)), where)


def _records(path: Path, text: str, delimiter: str) -> Iterator[tuple[str, list[str]]]:
    """The records of a delimited file that are not blank lines, each with where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        where = f"{path}, line {reader.line_num + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise TaskError(
                f"{where}: not valid CSV ({error}); look for an unclosed quote, and write a quote "
                f"inside a quoted cell twice"
            ) from error
        if cells is None:
            return
        if cells:
            yield where, cells


@contextlib.contextmanager
def _cells_up_to(characters: int) -> Iterator[None]:
    """Let cells be that long; the csv module's limit is the whole process's, so put it back."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, characters))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_csv(path: Path, encoding: str) -> Iterator[Row]:
    return _read_delimited(path, encoding, ",")


def _read_tsv(path: Path, encoding: str) -> Iterator[Row]:
    return _read_delimited(path, encoding, "\t")


def _read_parquet(path: Path, _encoding: str) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise TaskError(
            f"{path}: reading parquet needs pyarrow; pip install 'autoprompt[parquet]'"
        ) from error
    data = read_bytes(path, "data file")
    try:
        records = pyarrow.parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = shortened(str(error), 200)
        raise TaskError(f"{path}: not a readable parquet file: {reason}; write it again") from error
    for number, values in enumerate(records, start=1):
        yield Row(values, f"{path}, row {number}")


READERS: dict[str, Callable[[Path, str], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".parquet": _read_parquet,
}


def text_value(value: Any, column: str, row: Row) -> str:
    """A cell as text: strings as they stand, numbers as written.

    Raises:
        TaskError: the cell is missing, not text, or cannot be encoded.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise TaskError(f"{row.where}: no value in column {column!r}; fill it or drop the row")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # what a table with gaps makes of 1
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise TaskError(
            f"{row.where}: column {column!r} holds a {type(value).__name__}; it must be text"
        )
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise TaskError(f"{row.where}: column {column!r} holds half a surrogate pair; mend it")
    if "\x00" in value:  # a text file with one is refused whole; JSON and parquet can hide it
        raise TaskError(f"{row.where}: column {column!r} holds a NUL character; remove it")
    return value
