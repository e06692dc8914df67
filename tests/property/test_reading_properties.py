"""Readers: what other programs write is read unchanged, and noise is refused in words."""

import contextlib
import csv
import json
import tempfile
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import AutopromptError
from autoprompt.tasks.reading import READERS, read_rows
from autoprompt.tasks.task import Task

# No lone surrogates (no file can hold them) and no NUL (refused by name).
cells = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("\u2028\u2029\x85\"',;\n\r\t\ufeff\\{}"),
    max_size=20,
)
columns = st.lists(cells.filter(bool), min_size=2, max_size=4, unique=True).filter(
    lambda names: not names[0].startswith("\ufeff")
)


@st.composite
def tables(draw):
    header = draw(columns)
    rows = draw(st.lists(st.tuples(*[cells] * len(header)), min_size=1, max_size=5))
    return [dict(zip(header, row, strict=True)) for row in rows]


@contextlib.contextmanager
def file_named(name):
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / name


def values(path):
    return [row.values for row in read_rows(path)]


@given(tables(), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_csv_comes_back(table, end, bom):
    with file_named("a.csv") as path:
        with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, table[0], lineterminator=end, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(table)
        assert values(path) == table


@given(tables())
def test_csv_of_pandas_comes_back(table):
    with file_named("a.tsv") as path:
        pandas.DataFrame(table).to_csv(path, sep="\t", index=False, quoting=csv.QUOTE_ALL)
        assert values(path) == table


@given(tables(), st.sampled_from(["\n", "\r\n", "\r", "\n\n"]), st.booleans())
def test_jsonl_comes_back(table, end, ascii_only):
    with file_named("a.jsonl") as path:
        lines = [json.dumps(row, ensure_ascii=ascii_only) for row in table]
        path.write_bytes(end.join(lines).encode())
        assert values(path) == table


@given(tables())
def test_parquet_comes_back(table):
    with file_named("a.parquet") as path:
        pandas.DataFrame(table).to_parquet(path)
        assert values(path) == table


@given(tables())
def test_formats_agree(table):
    with tempfile.TemporaryDirectory() as directory:
        frame, folder = pandas.DataFrame(table), Path(directory)
        frame.to_csv(folder / "a.csv", index=False, quoting=csv.QUOTE_ALL)
        frame.to_json(folder / "a.jsonl", orient="records", lines=True)
        assert values(folder / "a.csv") == values(folder / "a.jsonl")


csv_noise = st.text(st.sampled_from('text,label\n\r"\t ab'), max_size=60).map(str.encode)
json_noise = st.text(st.sampled_from('{}[]":,text1.eE+-\n\\u0 nulltrue'), max_size=60).map(
    str.encode
)


@pytest.mark.parametrize("suffix", READERS)
@given(data=st.binary(max_size=300) | csv_noise | json_noise)
def test_noise_is_read_or_refused(suffix, data):
    """As a task, so that columns, labels and splits meet the noise too."""
    with file_named(f"a{suffix}") as path:
        for content in (data, b"text,label\n" + data, b'{"text": 1, "label": 2}\n' + data):
            path.write_bytes(content)
            with contextlib.suppress(AutopromptError):
                Task.load(path)


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "utf-16", "utf-7", "latin-1", "cp1252"]))
def test_noise_in_any_encoding_is_read_or_refused(data, encoding):
    with file_named("a.csv") as path:
        path.write_bytes(data)
        with contextlib.suppress(AutopromptError):
            read_rows(path, encoding)


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda t: t.encode("utf-8", "replace")))
def test_noise_for_a_description_is_read_or_refused(data):
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        (folder / "train.csv").write_text("text,label\na,x\nb,y\nc,x\nd,y\n")
        (folder / "task.yaml").write_bytes(data)
        with contextlib.suppress(AutopromptError):
            Task.load(folder)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=8), st.integers(0, 2**16))
def test_damaged_parquet_is_read_or_refused(bytes_, place):
    with file_named("a.parquet") as path:
        pandas.DataFrame({"text": ["a", "b"], "label": ["x", "y"]}).to_parquet(path)
        whole = bytearray(path.read_bytes())
        start = place % len(whole)
        whole[start : start + len(bytes_)] = bytes(bytes_)
        path.write_bytes(bytes(whole))
        with contextlib.suppress(AutopromptError):
            read_rows(path)
