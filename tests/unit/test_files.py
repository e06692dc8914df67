"""Atomic writes, digests, and reading what a user named."""

import json
import os

import pytest

from autoprompt.errors import InputError
from autoprompt.files import (
    digest,
    digest_of_file,
    read_bytes,
    read_text,
    write_atomically,
    write_json,
)


@pytest.mark.parametrize("content", ["über\n", b"\x00\xff"])
def test_what_is_written_is_read(tmp_path, content):
    path = tmp_path / "file"
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_writing_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, "new")
    assert [(child.name, child.read_text()) for child in tmp_path.iterdir()] == [("file", "new")]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"cannot write .*file: No space left .*free some space"):
        write_atomically(path, "new")
    assert [(child.name, child.read_text()) for child in tmp_path.iterdir()] == [("file", "old")]


def test_writing_into_no_directory_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file or directory; choose another place"):
        write_atomically(tmp_path / "absent" / "file", "x")


def test_half_a_surrogate_pair_is_refused_before_writing(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(InputError, match="half a surrogate pair"):
        write_json(path, {"text": "\ud800"})
    assert path.read_text() == "old"


def test_results_can_be_read_by_colleagues(tmp_path):
    write_atomically(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_json_is_readable_and_ends_in_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"word": "schön"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "schön" in text
    assert text.endswith("}\n")
    assert json.loads(text) == {"word": "schön"}


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_digest_ignores_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize("other", [{"a": 2}, {"a": "1"}, {"a": [1]}, [{"a": 1}], {"a": 1, "b": 2}])
def test_digest_tells_values_apart(other):
    assert digest(other) != digest({"a": 1})


def test_digest_is_16_hex_digits():
    assert len(digest([])) == 16
    assert int(digest([]), 16) >= 0


def test_digest_of_file_follows_its_bytes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    assert digest_of_file(one) == digest_of_file(two)
    two.write_bytes(b"y")
    assert digest_of_file(one) != digest_of_file(two)


def test_absent_file_names_role_and_path(tmp_path):
    with pytest.raises(InputError, match=r"cannot read prompt file .*best\.json: No such file"):
        read_bytes(tmp_path / "best.json", "prompt file")


def test_directory_is_not_a_file(tmp_path):
    with pytest.raises(InputError, match="Is a directory; check the path"):
        read_bytes(tmp_path, "prompt file")


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000])
def test_impossible_paths_are_input_errors(tmp_path, name):
    with pytest.raises(InputError, match="cannot read data file"):
        read_bytes(tmp_path / name, "data file")


def test_bom_is_dropped(tmp_path):
    (tmp_path / "a").write_bytes("\ufeffäb".encode())
    assert read_text(tmp_path / "a", "task file") == "äb"


def test_wrong_encoding_gives_the_byte_offset(tmp_path):
    (tmp_path / "a").write_bytes(b"abc\xe4")
    with pytest.raises(InputError, match="not UTF-8: byte 3 is 0xe4; convert"):
        read_text(tmp_path / "a", "task file")
