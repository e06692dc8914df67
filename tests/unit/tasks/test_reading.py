"""Rows from files: every format, and everything that is wrong with real ones."""

import builtins
import contextlib
import csv
import json

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from autoprompt.errors import InputError, TaskError
from autoprompt.tasks.reading import Row, read_rows, text_value

ROW = Row({}, "data.csv, line 2")
TABLE = [{"text": "a film", "label": "pos"}, {"text": "b, film", "label": "neg"}]


@pytest.fixture
def write(tmp_path):
    def write_file(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def values(path, encoding="utf-8"):
    return [row.values for row in read_rows(path, encoding)]


def message_of(path, encoding="utf-8") -> str:
    with pytest.raises(TaskError) as caught:
        read_rows(path, encoding)
    return str(caught.value)


def test_csv_is_read(write):
    assert values(write("a.csv", 'text,label\na film,pos\n"b, film",neg\n')) == TABLE


def test_tsv_is_read(write):
    assert values(write("a.tsv", "text\tlabel\na film\tpos\nb, film\tneg\n")) == TABLE


def test_jsonl_is_read(write):
    assert values(write("a.jsonl", "".join(json.dumps(row) + "\n" for row in TABLE))) == TABLE


def test_parquet_is_read(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TABLE), tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == TABLE


def test_ending_may_be_upper_case(write):
    assert len(values(write("A.CSV", "text\nx\n"))) == 1


def test_last_line_needs_no_newline(write):
    assert values(write("a.csv", "text\nx")) == [{"text": "x"}]
    assert values(write("a.jsonl", '{"text": "x"}')) == [{"text": "x"}]


def test_place_is_the_line_where_a_row_begins(write):
    rows = read_rows(write("a.csv", '\ntext,label\n"two\nlines",pos\n\nb,neg\n'))
    assert [row.where.rpartition("line ")[2] for row in rows] == ["3", "6"]


def test_place_in_jsonl_counts_blank_lines(write):
    rows = read_rows(write("a.jsonl", '{"text": "x"}\n\n{"text": "y"}\n'))
    assert [row.where.rpartition("line ")[2] for row in rows] == ["1", "3"]


def test_place_in_parquet_is_the_row(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(TABLE), tmp_path / "a.parquet")
    assert read_rows(tmp_path / "a.parquet")[1].where.endswith("a.parquet, row 2")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_empty_file_is_refused(write, name, content):
    """BAD_INPUTS 1."""
    assert "holds no examples; a data file needs at least one row" in message_of(
        write(name, content)
    )


@pytest.mark.parametrize("content", ["text,label\n", "text,label", "\ufefftext,label\r\n\r\n"])
def test_header_only_file_is_refused(write, content):
    """BAD_INPUTS 1."""
    assert "a.csv holds no examples" in message_of(write("a.csv", content))


def test_empty_parquet_is_refused(tmp_path):
    """BAD_INPUTS 1."""
    table = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert "holds no examples" in message_of(tmp_path / "a.parquet")


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "utf_8", "U8"])
def test_bom_is_dropped(write, encoding):
    """BAD_INPUTS 6."""
    assert values(write("a.csv", "\ufefftext\nx\n"), encoding) == [{"text": "x"}]
    assert values(write("a.jsonl", '\ufeff{"text": "x"}\n'), encoding) == [{"text": "x"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_bom_of_utf_16_is_dropped(write, encoding):
    content = ("" if encoding == "utf-16" else "\ufeff") + "text\nfür\n"
    assert values(write("a.csv", content.encode(encoding)), encoding) == [{"text": "für"}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_give_the_same_rows(write, end):
    """BAD_INPUTS 7."""
    assert values(write("a.csv", f"text,label{end}a film,pos{end}{end}")) == TABLE[:1]
    assert values(write("a.tsv", f"text\tlabel{end}a film\tpos{end}")) == TABLE[:1]
    line = json.dumps(TABLE[0])
    assert values(write("a.jsonl", f"{line}{end}{end}{line}{end}")) == TABLE[:1] * 2


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_wrong_encoding_gives_byte_and_way_out(write, name):
    """BAD_INPUTS 8."""
    message = message_of(write(name, b"text\ncaf\xe9\n"))
    assert f"{name} is not utf-8: byte 8 is 0xe9; convert it, or name its encoding" in message
    assert "--encoding" in message


def test_named_encoding_is_used(write):
    """BAD_INPUTS 8."""
    assert values(write("a.csv", b"text\ncaf\xe9\n"), "latin-1") == [{"text": "café"}]


@pytest.mark.parametrize("encoding", ["utf-9", "", "hex", "rot13", "undefined", "a\0b"])
def test_unknown_encoding_is_named(write, encoding):
    message = message_of(write("a.csv", b"text\nx..y\n"), encoding)
    assert message == f"unknown encoding {encoding!r}; try utf-8 or latin-1"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_nul_byte_gives_its_line(write, name, end):
    """BAD_INPUTS 9."""
    message = message_of(write(name, f"text{end}fine{end}not\0fine{end}"))
    assert f"{name}, line 3: holds a NUL byte; remove it or convert the file" in message


def test_long_cell_is_read(write):
    """BAD_INPUTS 10: the csv module's own limit is 131,072 characters."""
    text = "x" * 10_000_000
    assert values(write("a.csv", f"text\n{text}\n")) == [{"text": text}]


@pytest.mark.parametrize("content", ["text\nx\n", 'text\n"x'])
def test_csv_limit_of_the_process_is_put_back(write, content):
    before = csv.field_size_limit(150_000)
    try:
        with contextlib.suppress(TaskError):
            read_rows(write("a.csv", content + "y" * 200_000))
        assert csv.field_size_limit() == 150_000
    finally:
        csv.field_size_limit(before)


def test_unclosed_quote_gives_the_line_of_the_row(write):
    """BAD_INPUTS 11: not one row that swallows the others."""
    message = message_of(write("a.csv", 'text,label\nx,pos\n"y,neg\nz,pos\nz,pos\n'))
    assert "a.csv, line 3: not valid CSV (unexpected end of data)" in message
    assert "look for an unclosed quote" in message


def test_unclosed_quote_that_meets_another_is_refused(write):
    """BAD_INPUTS 11."""
    message = message_of(write("a.csv", 'text,label\n"x,pos\ny,neg\n"z",pos\n'))
    assert "a.csv, line 2: not valid CSV" in message


def test_unclosed_quote_in_the_header_is_refused(write):
    assert "a.csv, line 1: not valid CSV" in message_of(write("a.csv", 'te"xt,"label\nx,pos\n'))


def test_quotes_inside_an_unquoted_cell_are_text(write):
    assert values(write("a.csv", 'text\na "fine" film\n')) == [{"text": 'a "fine" film'}]


@pytest.mark.parametrize("text", ["NA", "null", "nan", "None", "N/A", "", " "])
def test_words_for_nothing_stay_text(write, text):
    """BAD_INPUTS 12."""
    assert values(write("a.csv", f"text,label\n{text},pos\n")) == [{"text": text, "label": "pos"}]


def test_quoted_empty_cell_is_a_row(write):
    """BAD_INPUTS 20."""
    assert values(write("a.csv", 'text\n""\nx\n')) == [{"text": ""}, {"text": "x"}]


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_other_line_separators_do_not_cut_a_row(write, char):
    """BAD_INPUTS 13."""
    row = {"text": f"one{char}row"}
    raw = json.dumps(row, ensure_ascii=ord(char) < 32)
    assert values(write("a.jsonl", f"{raw}\n{raw}\n")) == [row, row]
    assert values(write("a.csv", f"text\none{char}row\n")) == [row]


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "x"',
        "{'text': 'x'}",
        "text",
        '{"text": "x"} {"text": "y"}',
        '{"text": "x",}',
        '{"a": ' + "1" * 5000 + "}",
        "[" * 100_000,
    ],
    ids=["cut", "quotes", "bare", "two", "comma", "digits", "deep"],
)
def test_malformed_jsonl_gives_its_line(write, line):
    """BAD_INPUTS 19."""
    message = message_of(write("a.jsonl", f'{{"text": "x"}}\n{line}\n'))
    assert "a.jsonl, line 2: not valid JSON (" in message
    assert message.endswith("one object a line")


@pytest.mark.parametrize("line", ["[1]", '"text"', "5", "null"])
def test_jsonl_line_must_be_an_object(write, line):
    message = message_of(write("a.jsonl", f"{line}\n"))
    assert 'a.jsonl, line 1: must be an object like {"text": ..., "label": ...}' in message


def test_key_that_stands_twice_is_refused(write):
    message = message_of(write("a.jsonl", '{"text": "x"}\n{"text": "x", "text": "y"}\n'))
    assert "line 2: a key stands twice; keep one of them" in message


def test_column_that_stands_twice_is_refused(write):
    message = message_of(write("a.csv", "text,label,text\nx,pos,y\n"))
    assert "the header names a column twice: text, label, text" in message


@pytest.mark.parametrize(("row", "cells"), [("x, y,pos", 3), ("x", 1), (" ", 1)])
def test_row_of_another_length_gives_its_line(write, row, cells):
    message = message_of(write("a.csv", f"text,label\nx,pos\n{row}\n"))
    assert f"a.csv, line 3: has {cells} cells, the header 2 columns; quote cells" in message
    assert "that hold ','" in message


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a.jsonl.gz", "a.xlsx"])
def test_unknown_ending_lists_the_valid(write, name):
    suffix = name[name.rindex(".") :]
    message = message_of(write(name, "x"))
    assert f"cannot read {suffix}; valid endings: .jsonl, .csv, .tsv, .parquet" in message


def test_file_without_ending_is_refused(write):
    assert "cannot read a file without an ending" in message_of(write("data", "x"))


def test_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read data file .*a\.csv: No such file"):
        read_rows(tmp_path / "a.csv")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"x,y\n1,2\n"])
def test_damaged_parquet_is_named(write, content):
    assert "a.parquet: not a readable parquet file" in message_of(write("a.parquet", content))


def test_parquet_without_pyarrow_says_what_to_install(write, monkeypatch):
    real = builtins.__import__

    def without_pyarrow(name, *arguments, **keywords):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_pyarrow)
    assert "pip install 'autoprompt[parquet]'" in message_of(write("a.parquet", b""))


def test_file_that_pandas_wrote_is_read(tmp_path):
    frame = pandas.DataFrame({"text": ['a "b"\nc', "d"], "label": ["x", "y"]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    assert values(tmp_path / "a.csv") == frame.to_dict("records")


def test_column_with_gaps_gives_whole_numbers(tmp_path):
    pandas.DataFrame({"label": [1, None, 0]}).to_parquet(tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet")
    assert [text_value(row.values["label"], "label", row) for row in (rows[0], rows[2])] == [
        "1",
        "0",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ("", ""),
        (" x ", " x "),
        (1, "1"),
        (1.0, "1"),
        (-0.5, "-0.5"),
        (True, "true"),
        (False, "false"),
        ("😀", "😀"),
    ],
)
def test_value_becomes_text(value, text):
    assert text_value(value, "text", ROW) == text


@pytest.mark.parametrize("value", [None, float("nan")])
def test_missing_value_names_row_and_column(value):
    """BAD_INPUTS 3."""
    with pytest.raises(TaskError, match=r"data.csv, line 2: no value in column 'text'; fill it or"):
        text_value(value, "text", ROW)


@pytest.mark.parametrize(("value", "kind"), [([1], "list"), ({}, "dict"), (b"x", "bytes")])
def test_value_that_is_no_text_names_its_kind(value, kind):
    with pytest.raises(TaskError, match=f"line 2: column 'text' holds a {kind}; it must be text"):
        text_value(value, "text", ROW)


def test_half_a_surrogate_pair_is_refused(write):
    (row,) = read_rows(write("a.jsonl", '{"text": "\\ud83d"}\n'))
    with pytest.raises(TaskError, match="line 1: column 'text' holds half a surrogate pair"):
        text_value(row.values["text"], "text", row)


def test_escaped_nul_is_refused(write):
    """BAD_INPUTS 9: JSON can hide one."""
    (row,) = read_rows(write("a.jsonl", '{"text": "a\\u0000b"}\n'))
    with pytest.raises(TaskError, match="line 1: column 'text' holds a NUL character; remove it"):
        text_value(row.values["text"], "text", row)
