"""The directory of a tuned model: who may write it, and what lies in it.

| file | holds |
|---|---|
| `config.json`, `model.safetensors`, tokenizer | the model, as `save_pretrained` writes it; or |
| `adapter_config.json`, `adapter_model.safetensors` | a `peft` adapter |
| `prompt.json` | the prompt; written last, so that it means all is there |
| `prompts/NAME.json` | one for each task, where there are several |
| `prompts/tuned_through.json` | the prompt of training, where `w>p` has found another one since |
| `tuning.json` | what was done and measured |
| `README.md` | the model card |
| `search/` | the search on the tuned model, of strategy `w>p` |
| `settings.json`, `checkpoints/` | of a run that is not finished |
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autoprompt.errors import RunDirectoryError
from autoprompt.files import write_atomically, write_json
from autoprompt.prompts import ABOVE, BESIDE, Prompt
from autoprompt.runs import TUNED_PROMPT, TUNED_RECORD, TUNED_SETTINGS
from autoprompt.tuning.card import SEARCHED_ON, card_of
from autoprompt.tuning.trainer import sweep

SEARCH = "search"  # the run directory of a search on the tuned model
TUNED_THROUGH = "tuned_through.json"  # the prompt that such a search has replaced


class TunedDirectory:
    """Paths and rules of one tuned model's directory."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.checkpoints = self.path / "checkpoints"
        self.settings = self.path / TUNED_SETTINGS
        self.record = self.path / TUNED_RECORD
        self.prompt = self.path / TUNED_PROMPT
        self.prompts = self.path / "prompts"
        self.card = self.path / "README.md"
        self.search = self.path / SEARCH
        self.database = self.path / "study.db"

    def check(self, resume: bool) -> None:
        """Refuse a place that cannot be used, before anything is loaded or written.

        Raises:
            RunDirectoryError: the path is a file, cannot be written, holds something and `resume`
                is false, or holds what is no unfinished tuning and `resume` is true.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f"{self.path} is a file; name a directory for the tuned model")
        ancestor = next(p for p in [self.path, *self.path.parents] if p.exists())
        if not ancestor.is_dir() or not os.access(ancestor, os.W_OK | os.X_OK):
            raise RunDirectoryError(
                f"cannot write a tuned model to {self.path}: {ancestor} is not a writable "
                f"directory; choose another --out"
            )
        found = {entry.name for entry in self.path.iterdir()} if self.path.is_dir() else set()
        if resume and not self.settings.is_file():
            raise RunDirectoryError(
                f"{self.path} holds no unfinished tuning to go on with; check the path, or leave "
                f"--resume out"
            )
        if not resume and found - {".lock"}:
            what = "a tuned model" if self.record.is_file() else "files"
            also = "; pass --resume to go on with it" if self.settings.is_file() else ""
            raise RunDirectoryError(
                f"{self.path} holds {what} already{also}; choose an empty or new directory"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory: one process at a time writes it.

        Raises:
            RunDirectoryError: another process holds it, or it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock", timeout=0):
                for folder in (self.checkpoints, *self.checkpoints.glob("**/")):
                    sweep(folder)
                yield
        except Timeout as error:
            raise RunDirectoryError(
                f"another process is writing {self.path}; wait for it, or choose another --out"
            ) from error
        except PermissionError as error:
            raise RunDirectoryError(
                f"cannot write a tuned model to {self.path}: {error.strerror}; choose another --out"
            ) from error

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Note what the run depends on, or compare it with what it was begun with.

        Raises:
            RunDirectoryError: a resumed run is given other input.
        """
        if not self.settings.is_file():
            write_json(self.settings, settings)
            return
        known = json.loads(self.settings.read_text(encoding="utf-8"))
        given = json.loads(json.dumps(settings))
        changed = [
            f"{key} was {known.get(key)!r}, is {given.get(key)!r}"
            for key in sorted({*known, *given})
            if known.get(key) != given.get(key)
        ]
        if changed:
            raise RunDirectoryError(
                f"{self.path} was begun with other input: {'; '.join(changed)}; resume with the "
                f"same input, or choose another --out"
            )

    def replace_prompt(self, found: Prompt) -> None:
        """Ship another prompt, which was found for the tuned model; the first one is kept beside.

        Args:
            found: of a search on the model that lies here.
        """
        assert found.model is not None
        first = Prompt.load(self.prompt)
        assert first.model is not None
        self.prompts.mkdir(exist_ok=True)
        replace(first, model=replace(first.model, name=ABOVE)).save(self.prompts / TUNED_THROUGH)
        words = found.verbalizer.as_dict()
        record = json.loads(self.record.read_text(encoding="utf-8"))
        record[SEARCHED_ON] = {"prompt": found.digest, "template": found.shown, "words": words}
        replace(found, model=replace(found.model, name=BESIDE)).save(self.prompt)
        write_json(self.record, record)
        write_atomically(self.card, card_of(record))

    def finish(self) -> None:
        """Remove what only an unfinished run needs."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        self.settings.unlink(missing_ok=True)

    def bytes_to_ship(self) -> int:
        """The size of what a user of the model needs: weights, tokenizer, configuration, prompt."""
        left_out = {TUNED_RECORD, "README.md", ".lock", "study.db", TUNED_SETTINGS}
        left_out |= {"checkpoints", "tracking", SEARCH}
        return sum(
            file.stat().st_size
            for file in self.path.rglob("*")
            if file.is_file() and file.relative_to(self.path).parts[0] not in left_out
        )
