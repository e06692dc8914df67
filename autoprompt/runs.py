"""The layout of a run directory: what a search writes and others read.

`study.db` is the truth. All other files can be made anew from it; they are written atomically, by
the one process that holds the lock.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from autoprompt.errors import RunDirectoryError
from autoprompt.files import write_atomically, write_json
from autoprompt.prompts import Prompt
from autoprompt.scoring.label_scores import Floats
from autoprompt.tasks.examples import Example
from autoprompt.tasks.held_out import HeldOut

OURS = {
    "study.db",
    "study.db-journal",
    "study.db-wal",
    "study.db-shm",
    "scores",
    "prompts",
    "splits",
    "storage.json",
    "config.json",
    "ledger.json",
    "trials.jsonl",
    "best.json",
    "verdict.json",
    "held_out.json",
    "selection.jsonl",
    "report.html",
    "feedback.yaml",
    "tracking",
    "exports",
    "tuned",
    "log.txt",
    ".lock",
}
GIVEN = ("command", "budget", "versions")  # what may be others when a run is resumed
TUNED_PROMPT = "prompt.json"  # of a tuned model's directory
TUNED_RECORD = "tuning.json"
TUNED_SETTINGS = "settings.json"  # of one that is not finished
HALF_WRITTEN = tuple(f".{name}." for name in OURS)  # how `write_atomically` begins


class RunDirectory:
    """Paths and writers of one run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.database = self.path / "study.db"
        self.storage = self.path / "storage.json"
        self.config = self.path / "config.json"
        self.ledger = self.path / "ledger.json"
        self.trials = self.path / "trials.jsonl"
        self.best = self.path / "best.json"
        self.verdict = self.path / "verdict.json"
        self.held_out = self.path / "held_out.json"
        self.selection = self.path / "selection.jsonl"
        self.report = self.path / "report.html"
        self.feedback = self.path / "feedback.yaml"
        self.tracking = self.path / "tracking"
        self.exports = self.path / "exports"
        self.tuned = self.path / "tuned"
        self.log = self.path / "log.txt"
        self.prompts = self.path / "prompts"
        self.scores = self.path / "scores"
        self.splits = self.path / "splits"

    def check(self, resume: bool) -> None:
        """Refuse a place that cannot be used, before anything is loaded or written.

        Raises:
            RunDirectoryError: the path is a file, cannot be written, or holds something and
                `resume` is false, or holds what no run wrote; or `resume` is true and it is not
                there.
        """
        if resume and not self.path.exists():
            raise RunDirectoryError(
                f"no run to go on with at {self.path}; check the path, or leave --resume out"
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"{self.path} is a file; name a directory for the run")
        ancestor = next(p for p in [self.path, *self.path.absolute().parents] if p.exists())
        if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
            raise RunDirectoryError(
                f"cannot write a run to {self.path}: {ancestor} is not a writable directory; "
                f"choose another --out"
            )
        found = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if foreign := sorted(name for name in found if not _is_ours(name)):
            raise RunDirectoryError(
                f"{self.path} holds files that are not of a run ({', '.join(foreign[:3])}); "
                f"choose an empty or new directory"
            )
        if found - {".lock"} and not resume:
            raise RunDirectoryError(
                f"{self.path} holds a run already; pass --resume to go on with it, or choose "
                f"another --out"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory: one process at a time writes a run.

        Raises:
            RunDirectoryError: another process holds it, or it cannot be made.
        """
        try:
            for folder in (self.path, self.prompts, self.scores):
                folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            with lock:
                self._sweep()
                yield
        except Timeout as error:
            raise RunDirectoryError(
                f"another process is writing {self.path}; wait for it, or choose another --out"
            ) from error
        except PermissionError as error:
            raise RunDirectoryError(
                f"cannot write a run to {self.path}: {error.strerror}; choose another --out"
            ) from error

    def _sweep(self) -> None:
        """Remove the files that a killed process had half written."""
        own = [path for path in self.path.iterdir() if path.name.startswith(HALF_WRITTEN)]
        for path in [*own, *self.prompts.glob(".*.json.*"), *self.scores.glob(".*.npz.*")]:
            path.unlink()

    def read_config(self) -> dict[str, Any]:
        """What the run was begun with; empty where nothing readable is there."""
        try:
            found = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_config(self, config: Mapping[str, Any]) -> None:
        """What the run is given: command, budget, versions, and what makes the run what it is.

        A run that is resumed with another budget keeps what it was given before under "earlier";
        one that is given the same again keeps its file as it is.
        """
        before = self.read_config()
        earlier = before.pop("earlier", [])
        if {**before, "command": config["command"]} == json.loads(json.dumps(config)):
            return
        if before:
            earlier = [*earlier, {key: before[key] for key in GIVEN if key in before}]
        write_json(self.config, {**config, "earlier": earlier})

    def write_scores(self, digest: str, log_probabilities: Floats, examples: str) -> None:
        """Keep a prompt's per-example scores on the selection data, by the prompt's digest."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, log_probabilities=log_probabilities, examples=np.array(examples)
        )
        write_atomically(self.scores / f"{digest}.npz", buffer.getvalue())

    def read_scores(self, digest: str) -> Floats | None:
        """The per-example scores of a prompt, shape `(examples, labels)`; None if they are lost."""
        try:
            content = (self.scores / f"{digest}.npz").read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                result: Floats = arrays["log_probabilities"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        return result

    def write_trials(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """One JSON object a trial."""
        _write_lines(self.trials, rows)

    def write_selection(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """The selection examples with what winner and baseline said of each."""
        _write_lines(self.selection, rows)

    def write_split(self, name: str, examples: Iterable[Example]) -> None:
        """The examples of a split that was drawn, so that its scores can be measured again."""
        self.splits.mkdir(exist_ok=True)
        rows = [{**example.fields, "label": example.label} for example in examples]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_atomically(self.splits / f"{name}.jsonl", "".join(lines))

    def write_held_out(self, held_out: HeldOut) -> None:
        """The test examples as digests, by which an audit knows them."""
        write_atomically(self.held_out, json.dumps(held_out.to_dict()) + "\n")

    def write_finalists(self, prompts: Iterable[Prompt]) -> None:
        """Prompt files of the seeds and the best candidates, by digest, and no others."""
        names = set()
        for prompt in prompts:
            names.add(name := f"{prompt.digest}.json")
            write_json(self.prompts / name, prompt.to_dict())
        for path in self.prompts.glob("*.json"):
            if path.name not in names:
                path.unlink()

    def neighbours_test_reads(self, test_digest: str) -> int:
        """How often runs and tunings in neighbouring directories have read the same test split."""
        count = 0
        beside = self.path.absolute().parent
        # The last one is of a tuned model that has a search of its own in it.
        others = [*beside.glob("*/verdict.json"), *beside.glob("*/tuning.json")]
        for path in [*others, beside / "tuning.json"]:
            if path.parent == self.path.absolute():
                continue
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if test_digest in (record["test_digest"], *record.get("test_digests", [])):
                    count += int(record["own_test_reads"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a foreign or damaged file is no evidence
        return count


def held_out_of(path: str | Path, prompt: Prompt) -> HeldOut | None:
    """The test examples of the run that found a prompt, as digests; None away from that run.

    Args:
        path: the prompt's file or its run directory.
        prompt: the prompt; a run with another test split is not its own.

    Raises:
        RunDirectoryError: what the run keeps of them is damaged.
    """
    place = Path(path).absolute()
    for folder in (place, *place.parents[:2]):  # RUN, RUN/best.json or RUN/prompts/DIGEST.json
        kept = RunDirectory(folder).held_out
        if not kept.is_file():
            continue
        try:
            found = HeldOut.from_dict(json.loads(kept.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(
                f"{kept} is damaged ({error}); finish the run once more with --resume, which "
                f"writes it anew"
            ) from error
        if found.split == prompt.splits.get("test"):
            return found
    return None


def learnt_splits(model: str) -> set[str]:
    """Digests of the splits that a tuned model was fitted to; empty for another model.

    Args:
        model: its name: of a tuned one the directory.
    """
    try:
        record = json.loads((Path(model) / TUNED_RECORD).read_text(encoding="utf-8"))
        return {
            str(task["splits"][name])
            for task in record["tasks"]
            for name in ("train",) + (() if task["judged_on"] == "dev" else ("dev",))
        }
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows]
    write_atomically(path, "".join(line + "\n" for line in lines))


def _is_ours(name: str) -> bool:
    return name in OURS or name.startswith(HALF_WRITTEN)


def prompt_file(path: str | Path) -> Path:
    """The prompt file that a user means: itself, the best one of a run, or a tuned model's.

    Raises:
        RunDirectoryError: the directory holds no finished run and no tuned model.
    """
    found = Path(path)
    if not found.is_dir():
        return found
    if (found / TUNED_PROMPT).is_file():
        return found / TUNED_PROMPT
    if (found / TUNED_SETTINGS).is_file():
        raise RunDirectoryError(
            f"{found} holds a tuning that is not finished; go on with it by `tune --resume`"
        )
    if not (found / "best.json").is_file():
        raise RunDirectoryError(
            f"{found} holds no best.json; finish its search with --resume, or name a prompt file"
        )
    return found / "best.json"
