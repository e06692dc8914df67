"""Calls that outlive an outage of the database, and errors that are none."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
import sqlalchemy
from sqlalchemy import exc

from autoprompt.errors import OutageError
from autoprompt.searching import patience
from autoprompt.searching.addresses import Address
from autoprompt.searching.patience import is_outage, persistently, storage_of
from autoprompt.searching.storage import Place, open_study
from experiments.soak.server import Server

ADDRESS = Address.parse("postgresql://me:secret@host/db")
FILE = Address.of_file(Path("/nowhere/study.db"))


def wrapped(error: Exception, kind: type[exc.DBAPIError] = exc.OperationalError) -> Exception:
    return kind("SELECT 1", {}, error)


GONE = wrapped(psycopg.OperationalError("server closed the connection unexpectedly"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (GONE, True),
        (wrapped(psycopg.InterfaceError("the connection is closed"), exc.InterfaceError), True),
        (wrapped(sqlite3.OperationalError("database is locked")), True),
        (wrapped(sqlite3.OperationalError("database or disk is full")), False),
        (wrapped(psycopg.DataError("value too long"), exc.DataError), False),
        (wrapped(psycopg.errors.UniqueViolation("twice"), exc.IntegrityError), False),
        (exc.TimeoutError("the pool is empty"), True),
        (ValueError("mine"), False),
        (UnboundLocalError("mine"), False),
        (optuna.exceptions.UpdateFinishedTrialError("finished"), False),
    ],
)
def test_what_is_an_outage(error: Exception, expected: bool) -> None:
    assert is_outage(error) is expected
    internal = optuna.exceptions.StorageInternalError("masked")
    internal.__cause__ = error
    assert is_outage(internal) is expected


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = [times]

    def call() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return call


def test_a_call_is_made_again_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", pauses.append)
    afresh: list[bool] = []
    done = persistently(failing(5, GONE), ADDRESS, afresh=lambda: afresh.append(True))
    assert done == "done"
    assert len(afresh) == len(pauses) == 5
    assert max(pauses) <= 1.5 * patience.LONGEST_PAUSE


def test_patience_ends_with_a_reason_and_without_the_password() -> None:
    error = wrapped(psycopg.OperationalError("no route for secret\nto host"))
    with pytest.raises(OutageError) as found:
        persistently(failing(10**6, error), ADDRESS, patience=0.05)
    assert "postgresql+psycopg://me:***@host/db has not answered" in str(found.value)
    assert "(no route for ***); what was finished is kept" in str(found.value)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize(
    "said", ["database or disk is full", "attempt to write a readonly database", "disk I/O error"]
)
def test_a_file_that_cannot_be_written_is_said_at_once(said: str) -> None:
    with pytest.raises(OutageError, match=f"cannot write /nowhere/study.db: {said}; what was"):
        persistently(failing(1, wrapped(sqlite3.OperationalError(said))), FILE)


def test_an_interruption_waits_for_the_end_of_a_call() -> None:
    done: list[int] = []

    def call() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append(1)

    known = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            persistently(call, ADDRESS)
    finally:
        signal.signal(signal.SIGINT, known)
    assert done == [1]


def test_other_errors_go_through() -> None:
    with pytest.raises(ValueError, match="mine"):
        persistently(failing(1, ValueError("mine")), ADDRESS)


def test_every_call_of_a_study_outlives_a_restart(postgres_server: Server, database: str) -> None:
    place = Place(Address.parse(database), "test", "here")
    with open_study(place, {"seed": 0}) as study:
        calls: list[Callable[[], Any]] = [
            lambda: study.set_user_attr("a", 1),
            lambda: study.user_attrs,
            study.ask,
            lambda: study.get_trials(deepcopy=False),
            lambda: study.tell(0, 0.5),
        ]
        for call in calls:
            postgres_server.restart()
            call()
        assert [trial.value for trial in study.trials] == [0.5]


def test_a_call_waits_for_a_server_that_is_down(postgres_server: Server, database: str) -> None:
    place = Place(Address.parse(database), "test", "here")
    with open_study(place, {"seed": 0}) as study:
        postgres_server.stop()
        later = threading.Timer(1.0, postgres_server.start)
        later.start()
        started = time.monotonic()
        study.set_user_attr("a", 1)
        assert time.monotonic() - started > 0.8
        later.join()
        assert study.user_attrs["a"] == 1


def test_sqlite_waits_for_a_lock(tmp_path: Path) -> None:
    place = Place(Address.of_file(tmp_path / "study.db"), "test", "here")
    with open_study(place, {"seed": 0}) as study:
        assert isinstance(storage_of(study).engine, sqlalchemy.Engine)
        other = sqlite3.connect(
            tmp_path / "study.db", isolation_level=None, check_same_thread=False
        )
        other.execute("BEGIN IMMEDIATE")
        later = threading.Timer(0.5, other.execute, ["COMMIT"])
        later.start()
        study.set_user_attr("a", 1)
        later.join()
        other.close()
        assert study.user_attrs["a"] == 1
