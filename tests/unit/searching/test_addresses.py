"""Addresses of databases, and that no password is ever shown."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import StorageError
from autoprompt.searching.addresses import Address, without_password
from autoprompt.searching.storage import Place, open_study


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://me@host:5432/db", "postgresql+psycopg://me@host:5432/db"),
        ("postgresql+psycopg://me:pw@host/db", "postgresql+psycopg://me:***@host/db"),
        ("mysql://me:pw@host/db", "mysql+pymysql://me:***@host/db"),
        ("mariadb://me:pw@host/db", "mysql+pymysql://me:***@host/db"),
        (" postgresql://me:p%40w@host/db\n", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://me@host/db?password=pw", "postgresql+psycopg://me:***@host/db"),
        ("postgresql:///db?host=/run/socket", "postgresql+psycopg:///db?host=%2Frun%2Fsocket"),
    ],
)
def test_addresses_are_shown_without_their_password(text: str, shown: str) -> None:
    found = Address.parse(text)
    assert str(found) == shown
    assert repr(found) == f"Address({shown})"
    assert found.is_server


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "--storage must be a URL that begins with one of mariadb, mysql, postgresql"),
        ("secret", "--storage must be a URL"),
        ("redis://me:secret@host", "--storage must be a URL"),
        ("sqlite:///secret.db", "a run keeps its own SQLite file, study.db"),
        ("postgresql:secret", "begins with 'postgresql' but is no URL"),
        ("postgresql://me:secret@host:port/db", "begins with 'postgresql' but is no URL"),
        ("postgresql://me\udcaf:secret@host/db", "begins with 'postgresql' but is no URL"),
        ("postgresql://me:secret@host", "postgresql://me:***@host names no host or no database"),
        ("postgresql://me:secret@/db", "names no host or no database"),
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(text: str, expected: str) -> None:
    with pytest.raises(StorageError) as found:
        Address.parse(text)
    assert expected in str(found.value)
    assert "secret" not in str(found.value)


def test_a_driver_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(StorageError, match=r"pip install 'autoprompt\[mysql\]'") as found:
        Address.parse("mysql://me:secret@host/db")
    assert "secret" not in str(found.value)


def test_a_password_is_taken_out_of_a_text_in_all_its_forms() -> None:
    found = Address.parse("postgresql://me:a%2Fb%40c@host/db")
    text = found.without_secrets(f"no entry for a/b@c ({found.secret})")
    assert text == "no entry for *** (postgresql+psycopg://me:***@host/db)"


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("--storage=postgresql://me:pw@host/db", "--storage=postgresql://me:***@host/db"),
        ("postgresql://me:p@w@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("mysql://me@host/db?password=pw&a=b", "mysql://me@host/db?password=***&a=b"),
        ("data/reviews.csv", "data/reviews.csv"),
        ("--seed=3", "--seed=3"),
    ],
)
def test_a_command_line_is_written_down_without_passwords(argument: str, shown: str) -> None:
    assert without_password(argument) == shown


@given(st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=4))
def test_no_password_is_shown(password: str) -> None:
    from urllib.parse import quote

    secret = quote(password, safe="")
    url = f"postgresql://u:{secret}@h/d"
    found = Address.parse(url)
    assert found.url.password == password
    assert str(found) == "postgresql+psycopg://u:***@h/d"
    assert without_password(url) == "postgresql://u:***@h/d"


@pytest.mark.parametrize(
    "name", ["a b", "what?", "50%41", "{SCHEMA_VERSION}", "a#b", "é", "a'b\"c"]
)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    database = tmp_path / name / "study.db"
    address = Address.of_file(database)
    assert str(address) == str(database)
    with open_study(Place(address, "test", "here"), {"seed": 0}):
        pass
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT study_name FROM studies").fetchall() == [("test",)]
    connection.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("key", ["password", "passwd", "sslpassword", "PASSWORD"])
def test_no_password_among_the_options_is_shown(key: str) -> None:
    given = f"postgresql://me@host/db?{key}=a@bSECRET&sslmode=require"
    assert "SECRET" not in without_password(given)
    assert "sslmode=require" in without_password(given)
    address = Address.parse(f"postgresql://me@host/db?{key}=SECRET&sslmode=require")
    assert "SECRET" not in str(address)
    assert "SECRET" in address.secret
    assert "SECRET" not in address.without_secrets("server said: SECRET")
