"""Trackers hear of a search, offline, and never break it."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from command_line import Ended, autoprompt
from run_files import document, trials

from autoprompt.errors import InputError
from autoprompt.tracking import TRACKERS, Trackers, tracked


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def run(search: Callable[..., Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that all trackers that are installed hear of."""
    out = tmp_path_factory.mktemp("tracked") / "run"
    options = [part for name in installed() for part in ("--track", name)]
    done = search(out, *options, trials=6)
    assert done.code == 0, done.err
    assert "is left out" not in (out / "log.txt").read_text(encoding="utf-8")
    return out


def installed() -> list[str]:
    import importlib.util

    return [name for name, module in TRACKERS.items() if importlib.util.find_spec(module)]


def needs(name: str) -> None:
    if name not in installed():
        pytest.skip(f"{name} is not installed")


def test_tensorboard(run: Path) -> None:
    needs("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(run / "tracking" / "tensorboard")).Reload()
    scored = [row for row in trials(run) if row["state"] == "scored"]
    found = {event.step: event.value for event in events.Scalars("accuracy")}
    assert found == pytest.approx({row["trial"]: row["metric"] for row in scored})
    assert len(events.Scalars("forwards spent")) == len(trials(run))
    verdict = document(run / "verdict.json")
    (lift,) = events.Scalars("result/lift")
    assert lift.value == pytest.approx(verdict["lift"])
    assert "result/template/text_summary" in events.Tags()["tensors"]


def test_mlflow(run: Path) -> None:
    needs("mlflow")
    database = sqlite3.connect(run / "tracking" / "mlflow.db")
    try:
        ((name, status),) = database.execute("select name, status from runs").fetchall()
        values = dict(
            database.execute(
                "select step, value from metrics where key = 'log-likelihood'"
            ).fetchall()
        )
        given = dict(database.execute("select key, value from params").fetchall())
    finally:
        database.close()
    assert (name, status) == ("tiny with tiny on " + Path(given["model"]).name, "FINISHED")
    scored = {row["trial"]: row["value"] for row in trials(run) if row["state"] == "scored"}
    assert values == pytest.approx(scored)
    assert (given["space"], given["metric"], given["recipe"]) == ("tiny", "accuracy", "default")
    texts = {path.name: path.read_text() for path in run.glob("tracking/artifacts/*/artifacts/*")}
    assert texts["prompt.txt"] == document(run / "best.json")["digest"]


def test_wandb(run: Path) -> None:
    needs("wandb")
    (kept,) = (run / "tracking" / "wandb").glob("offline-run-*/run-*.wandb")
    written = kept.read_bytes()
    for text in (b"best accuracy", b"log-likelihood", b"tiny with tiny on"):
        assert text in written
    assert document(run / "best.json")["digest"].encode() in written


def test_the_study_has_names_that_a_person_understands(run: Path) -> None:
    storage = f"sqlite:///{run / 'study.db'}"
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.user_attrs["about"].startswith("tiny with tiny on ")
    assert study.metric_names == ["log-likelihood of the right labels"]
    rows = trials(run)
    for trial in study.get_trials():
        row = rows[trial.user_attrs["proposal"]]
        if row["state"] != "failed":
            assert "{mask}" in trial.user_attrs["prompt"]
            assert "   [neg: " in trial.user_attrs["prompt"]


def test_the_dashboard_opens_the_study(run: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    storage = optuna.storages.RDBStorage(f"sqlite:///{run / 'study.db'}")
    app = dashboard.wsgi(storage)
    told: list[str] = []
    environment: dict[str, Any] = {"PATH_INFO": "/api/studies"}
    setup_testing_defaults(environment)
    body = b"".join(app(environment, lambda status, *more: told.append(status)))
    assert told == ["200 OK"]
    assert b"tiny with tiny on" in body
    storage.remove_session()
    storage.engine.dispose()


def test_a_resumed_run_goes_on_being_tracked(run: Path, search: Callable[..., Ended]) -> None:
    needs("tensorboard")
    done = search(run, "--resume", "--track", "tensorboard", trials=8)
    assert done.code == 0, done.err
    assert len(list((run / "tracking" / "tensorboard").iterdir())) == 2


# -- what goes wrong --------------------------------------------------------------------------


class Failing:
    """A tracker that fails at the second trial."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def trial(self, number: int, values: Any) -> None:
        self.heard.append(number)
        if number:
            raise ConnectionError("no server")

    def end(self, summary: Any, texts: Any) -> None:
        raise AssertionError("it was left out")

    close = trial  # type: ignore[assignment]


def test_a_tracker_that_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing()
    trackers = Trackers({"mine": failing})  # type: ignore[dict-item]
    for number in range(3):
        trackers.trial(number, {})
    trackers.end({}, {})
    trackers.close()
    assert failing.heard == [0, 1]
    assert caplog.messages == ["tracker mine is left out: ConnectionError: no server"]


def test_a_tracker_that_does_not_open_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    needs("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://")
    with tracked(["mlflow"], tmp_path / "tracking", "name", {}) as trackers:
        trackers.trial(0, {"a": 1.0})
    assert "tracker mlflow is left out" in caplog.messages[0]


def test_bad_requests(search: Callable[..., Ended], tmp_path: Path, monkeypatch: Any) -> None:
    done = search(tmp_path / "run", "--track", "wandb.ai")
    assert done.code == 2
    assert "unknown tracker 'wandb.ai'; did you mean 'wandb'" in done.err
    monkeypatch.setitem(TRACKERS, "mlflow", "no_such_module")
    done = search(tmp_path / "run", "--track", "mlflow")
    assert done.code == 2
    assert "pip install 'autoprompt[mlflow]'" in done.err
    assert not (tmp_path / "run").exists()


def test_a_search_that_keeps_nothing_has_no_place_for_trackers(task: Path, space: Path) -> None:
    needs("tensorboard")
    from autoprompt.models.loading import load_model
    from autoprompt.pipeline import search as run_search
    from autoprompt.spaces import SearchSpace
    from autoprompt.tasks.task import Task

    with pytest.raises(InputError, match="name its directory with `out`"):
        run_search(Task.load(task), SearchSpace.load(space), load_model(), track=["tensorboard"])


def test_the_command_line_names_the_trackers() -> None:
    told = " ".join(autoprompt("search", "--help").out.split())
    assert ", ".join(TRACKERS) in told


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tuning_tells_of_its_looks(run: Path, task: Path, tmp_path: Path, name: str) -> None:
    """`transformers` does the telling; where to is ours: beside the model, and nowhere else."""
    needs(name)
    before = {path.name for path in Path.cwd().iterdir()}
    numbers = ("--steps", 4, "--evaluate-every", 2, "--seed", 1)
    given = ("--task", task, "--out", tmp_path / "out", "--report-to", name)
    done = autoprompt("tune", run, *given, *numbers)
    assert done.code == 0, done.err
    place = tmp_path / "out" / "tracking"
    assert {path.name for path in Path.cwd().iterdir()} == before
    if name == "tensorboard":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

            events = EventAccumulator(str(place / "tensorboard")).Reload()
        steps = [event.step for event in events.Scalars("eval/tempered_cross_entropy")]
        assert steps[:2] == [2, 4]
    elif name == "mlflow":
        with sqlite3.connect(place / "mlflow.db") as database:
            rows = database.execute("SELECT step FROM metrics WHERE key LIKE 'eval%' ORDER BY step")
            assert {2, 4} <= {step for (step,) in rows}
    else:
        assert list(place.glob("wandb/offline-run-*"))
