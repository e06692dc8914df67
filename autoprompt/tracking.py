"""Progress of a run for people's trackers: TensorBoard, MLflow, Weights & Biases.

Each is an extra, and keeps to the run's own directory unless its own environment variables say
otherwise: nothing is sent anywhere by default. A tracker that fails is told once and left out; a
search never fails with it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from autoprompt.errors import InputError, UnknownNameError

TRACKERS = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}  # name: module
PROJECT = "autoprompt"

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where progress goes."""

    def trial(self, number: int, values: Mapping[str, float]) -> None:
        """A finished trial: name to number."""
        ...

    def end(self, summary: Mapping[str, float], texts: Mapping[str, str]) -> None:
        """The result: numbers, and texts such as the winning template."""
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


class TensorBoard:
    """Event files in `RUN/tracking/tensorboard`."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))
        rows = "".join(f"    {key}: {value}\n" for key, value in config.items())
        self._writer.add_text("run", f"{name}\n\n{rows}")  # indented: Markdown shows it as it is

    def trial(self, number: int, values: Mapping[str, float]) -> None:
        """See `Tracker.trial`."""
        for key, value in values.items():
            self._writer.add_scalar(key, value, number)

    def end(self, summary: Mapping[str, float], texts: Mapping[str, str]) -> None:
        """See `Tracker.end`."""
        for key, value in summary.items():
            self._writer.add_scalar(f"result/{key}", value, 0)
        for key, text in texts.items():
            indented = "\n".join(f"    {line}" for line in text.split("\n"))
            self._writer.add_text(f"result/{key}", indented)

    def close(self) -> None:
        """See `Tracker.close`."""
        self._writer.close()


class MLflow:
    """A database in `RUN/tracking`, or the server that MLFLOW_TRACKING_URI names."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, str]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        own = f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        self._client: Any = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or own)
        found = self._client.get_experiment_by_name(PROJECT)
        if found is None:
            place = None if os.environ.get("MLFLOW_TRACKING_URI") else (folder / "artifacts")
            options: dict[str, Any] = (
                {"artifact_location": place.absolute().as_uri()} if place else {}
            )
            experiment = self._client.create_experiment(PROJECT, **options)
        else:
            experiment = found.experiment_id
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        for key, value in config.items():
            self._client.log_param(self._run, _plain(key), value[:6000])

    def trial(self, number: int, values: Mapping[str, float]) -> None:
        """See `Tracker.trial`."""
        for key, value in values.items():
            self._client.log_metric(self._run, _plain(key), value, step=number)

    def end(self, summary: Mapping[str, float], texts: Mapping[str, str]) -> None:
        """See `Tracker.end`."""
        for key, value in summary.items():
            self._client.log_metric(self._run, _plain(f"result {key}"), value)
        for key, text in texts.items():
            self._client.log_text(self._run, text, f"{_plain(key)}.txt")

    def close(self) -> None:
        """See `Tracker.close`."""
        self._client.set_terminated(self._run)


class WandB:
    """Files in `RUN/tracking/wandb`, for `wandb sync`; online where WANDB_MODE says so."""

    def __init__(self, folder: Path, name: str, config: Mapping[str, str]) -> None:
        import wandb

        settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
        self._run: Any = wandb.init(
            project=PROJECT,
            name=name,
            dir=str(folder),
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            config=dict(config),
            settings=settings,
        )

    def trial(self, number: int, values: Mapping[str, float]) -> None:
        """See `Tracker.trial`."""
        self._run.log(dict(values), step=number)

    def end(self, summary: Mapping[str, float], texts: Mapping[str, str]) -> None:
        """See `Tracker.end`."""
        self._run.summary.update({**summary, **texts})

    def close(self) -> None:
        """See `Tracker.close`."""
        self._run.finish()


class Trackers:
    """Several trackers as one; those that fail are left out.

    Args:
        trackers: by name.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)

    def trial(self, number: int, values: Mapping[str, float]) -> None:
        """See `Tracker.trial`."""
        self._each(lambda tracker: tracker.trial(number, values))

    def end(self, summary: Mapping[str, float], texts: Mapping[str, str]) -> None:
        """See `Tracker.end`."""
        self._each(lambda tracker: tracker.end(summary, texts))

    def close(self) -> None:
        """See `Tracker.close`."""
        self._each(lambda tracker: tracker.close())

    def _each(self, act: Any) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                with _quietly():
                    act(tracker)
            except Exception as error:  # whatever a foreign library raises
                log.warning("tracker %s is left out: %s: %s", name, type(error).__name__, error)
                del self._trackers[name]


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that are unknown or not installed, before anything is done.

    Raises:
        UnknownNameError: there is no such tracker.
        InputError: its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UnknownNameError("tracker", name, TRACKERS)
        if importlib.util.find_spec(TRACKERS[name]) is None:
            raise InputError(
                f"--track {name} needs a package that is not installed; pip install "
                f"'autoprompt[{name}]'"
            )


@contextlib.contextmanager
def tracked(
    names: Sequence[str], folder: Path, name: str, config: Mapping[str, str]
) -> Iterator[Trackers]:
    """Open trackers for a run, and close them after it.

    Args:
        names: some of `TRACKERS`.
        folder: where they may write.
        name: of the run, for people.
        config: what the run was given, for people.
    """
    kinds: dict[str, Any] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
    opened: dict[str, Tracker] = {}
    if names:
        folder.mkdir(exist_ok=True)
    for one in dict.fromkeys(names):
        try:
            with _quietly():
                opened[one] = kinds[one](folder, name, config)
        except Exception as error:  # as `Trackers`
            log.warning("tracker %s is left out: %s: %s", one, type(error).__name__, error)
    trackers = Trackers(opened)
    try:
        yield trackers
    finally:
        trackers.close()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the trackers' own warnings and log off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "wandb")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _plain(key: str) -> str:
    """A key of the characters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-./ " else "_" for c in key)
