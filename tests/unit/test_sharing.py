"""Where a run's study is, and what is written down of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoprompt.errors import InputError, RunDirectoryError, StorageError
from autoprompt.runs import RunDirectory
from autoprompt.searching.storage import STUDY
from autoprompt.sharing import Plan, check_grace, place_beside, place_to_join, run_place

URL = "postgresql://me:secret@host/db"


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    found = RunDirectory(tmp_path / "run")
    found.path.mkdir()
    return found


def test_a_run_has_its_own_file(run: RunDirectory) -> None:
    place = run_place(run, "")
    assert (place.study, str(place.address)) == (STUDY, str(run.database))
    assert not list(run.path.iterdir())


def test_a_run_on_a_server_notes_where_without_the_password(run: RunDirectory) -> None:
    place = run_place(run, URL)
    noted = json.loads(run.storage.read_text(encoding="utf-8"))
    assert noted == {"url": "postgresql+psycopg://me:***@host/db", "study": place.study}
    assert place.study.startswith("run-")
    assert "secret" not in place.shown
    assert run_place(run, URL) == place  # a resumed run finds its study
    joined, directory = place_to_join(str(run.path), URL)
    assert joined == place
    other = place_beside(run, "tuning", URL)  # as a tuning's trials are kept
    assert (other.address, other.study) == (place.address, "tuning")
    with pytest.raises(StorageError, match="give the whole URL"):
        place_beside(run, "tuning", "")
    assert directory is not None
    assert directory.path == run.path


@pytest.mark.parametrize("name", ["a b", "../up", "a/b", "'; DROP", "<script>", "é", "x" * 90])
def test_a_run_of_any_name_has_a_study_of_a_plain_one(tmp_path: Path, name: str) -> None:
    run = RunDirectory(tmp_path / "in" / name)
    run.path.mkdir(parents=True)
    study = run_place(run, URL).study
    assert set(study) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert len(study) < 60
    assert not study.startswith((".", "-"))


def test_two_runs_of_one_name_have_studies_of_their_own(tmp_path: Path) -> None:
    studies = set()
    for folder in ("a", "b"):
        run = RunDirectory(tmp_path / folder / "run")
        run.path.mkdir(parents=True)
        studies.add(run_place(run, URL).study)
    assert len(studies) == 2


def test_a_password_that_was_not_written_down_is_asked_for(run: RunDirectory) -> None:
    run_place(run, URL)
    for ask in (lambda: run_place(run, ""), lambda: place_to_join(str(run.path), "")):
        with pytest.raises(StorageError, match="give the whole URL by --storage or AUTOPROMPT_ST"):
            ask()


def test_an_address_without_a_password_is_known_again(run: RunDirectory) -> None:
    place = run_place(run, "postgresql://me@host/db")
    assert place_to_join(str(run.path), "")[0] == run_place(run, "") == place


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "x"}', '{"url": 1, "study": "s"}'])
def test_a_damaged_note_of_the_storage_is_named(run: RunDirectory, content: str) -> None:
    run.storage.write_text(content, encoding="utf-8")
    with pytest.raises(RunDirectoryError, match=r"storage.json is damaged"):
        run_place(run, URL)


def test_a_plan_comes_back() -> None:
    plan = Plan(None, 60.0, "default", "none", {"task": "a"})
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@pytest.mark.parametrize("grace", [0, 2.9, -1, float("nan"), float("inf")])
def test_a_grace_that_kills_the_living_is_refused(grace: float) -> None:
    with pytest.raises(InputError, match="--grace must be 3 seconds or more, not"):
        check_grace(grace)
