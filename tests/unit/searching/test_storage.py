"""Making and joining a study: first starts, earlier versions, damage, and what must not differ."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from command_line import environment
from optuna.trial import TrialState

from autoprompt.errors import RunDirectoryError, StorageError, UnknownNameError
from autoprompt.searching.addresses import Address
from autoprompt.searching.storage import (
    PLAN,
    SCHEMA,
    SETTINGS,
    STUDY,
    VERSION,
    Place,
    join_study,
    open_study,
)
from experiments.soak.server import Server

ROOT = Path(__file__).parents[3]
STARTERS = 8
START = """
import sys
from pathlib import Path
from autoprompt.searching.addresses import Address
from autoprompt.searching.storage import Place, open_study
text, number = sys.argv[1:]
address = Address.parse(text) if "://" in text else Address.of_file(Path(text))
print("ready", flush=True)
sys.stdin.readline()
with open_study(Place(address, f"study-{number}", "here"), {"seed": int(number)}) as study:
    study.set_user_attr("mine", int(number))
"""


def place(folder: Path, study: str = STUDY) -> Place:
    return Place(Address.of_file(folder / "study.db"), study, str(folder))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_simultaneous_first_starts_crash_nobody(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    where = str(tmp_path / "study.db")
    if kind == "postgresql":
        where = request.getfixturevalue("database")
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", START, where, str(number)],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(STARTERS)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    for starter in starters:
        _, err = starter.communicate(timeout=120)
        assert starter.returncode == 0, err
    address = Address.parse(where) if kind == "postgresql" else Address.of_file(Path(where))
    for number in range(STARTERS):
        with open_study(Place(address, f"study-{number}", "x"), {"seed": number}) as study:
            assert study.user_attrs["mine"] == number


def test_a_study_keeps_its_settings(tmp_path: Path) -> None:
    with open_study(place(tmp_path), {"seed": 0, "task": "a"}) as study:
        assert study.user_attrs == {SCHEMA: VERSION, SETTINGS: {"seed": 0, "task": "a"}}
    with open_study(place(tmp_path), {"seed": 0, "task": "a"}):
        pass
    with (
        pytest.raises(RunDirectoryError, match=r"was begun with other input: task was 'a', is 'b'"),
        open_study(place(tmp_path), {"seed": 0, "task": "b"}),
    ):
        pass


def test_a_study_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """It enqueued its seeds, and did not say who ran a trial."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = optuna.storages.RDBStorage(url)
    old = optuna.create_study(storage=storage, study_name=STUDY, direction="maximize")
    old.set_user_attr(SETTINGS, {"seed": 0})
    old.enqueue_trial({"n": 1})
    old.enqueue_trial({"n": 2})
    old.ask()
    storage.remove_session()
    storage.engine.dispose()
    with open_study(place(tmp_path), {"seed": 0}) as study:
        assert study.user_attrs[SCHEMA] == VERSION
        assert [trial.state for trial in study.trials] == [TrialState.RUNNING, TrialState.FAIL]


def test_a_study_of_a_later_version_is_refused(tmp_path: Path) -> None:
    with open_study(place(tmp_path), {"seed": 0}) as study:
        study.set_user_attr(SCHEMA, VERSION + 1)
        study.set_user_attr(PLAN, {})
    expected = rf"written by a newer autoprompt \(schema {VERSION + 1}, this one knows {VERSION}\)"
    with (
        pytest.raises(RunDirectoryError, match=expected),
        open_study(place(tmp_path), {"seed": 0}),
    ):
        pass
    with (
        pytest.raises(RunDirectoryError, match="was made by another version of autoprompt"),
        join_study(place(tmp_path)),
    ):
        pass


def test_who_joins_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError), join_study(place(tmp_path / "absent"), wait=0):
        pass
    assert not list(tmp_path.iterdir())


def test_who_joins_waits_for_the_plan(tmp_path: Path) -> None:
    with open_study(place(tmp_path), {"seed": 0}) as study:
        with (
            pytest.raises(StorageError, match="has not begun its trials; start it first"),
            join_study(place(tmp_path), wait=0),
        ):
            pass
        study.set_user_attr(PLAN, {"grace": 60})
        with join_study(place(tmp_path), wait=0) as joined:
            assert joined.user_attrs[PLAN] == {"grace": 60}


def test_an_unknown_study_lists_those_that_there_are(tmp_path: Path) -> None:
    with (
        open_study(place(tmp_path, "run-1"), {"seed": 0}),
        pytest.raises(UnknownNameError, match="unknown search 'run-2'; did you mean 'run-1'"),
        join_study(place(tmp_path, "run-2"), wait=0),
    ):
        pass


def test_a_wrong_password_is_not_repeated(postgres_server: Server) -> None:
    address = Address.parse(postgres_server.url(password="wrong-secret"))
    for opened in (
        lambda: open_study(Place(address, "s", "s"), {"seed": 0}),
        lambda: join_study(Place(address, "s", "s"), wait=0),
    ):
        with pytest.raises(StorageError, match="password authentication failed") as found, opened():
            pass
        assert "wrong-secret" not in str(found.value)
        assert "check" in str(found.value)


@pytest.mark.parametrize("content", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "study.db").write_bytes(content)
    with (
        pytest.raises(RunDirectoryError, match=r"study.db is damaged or not a study .*; restore"),
        open_study(place(tmp_path), {"seed": 0}),
    ):
        pass
    assert (tmp_path / "study.db").read_bytes() == content
