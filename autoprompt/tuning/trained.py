"""What a training came to, and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from autoprompt.files import write_json
from autoprompt.objective import Scored

DONE, VALUES = "done.json", "done.safetensors"
TRIALS = "trials"  # in `Trained.details`: how many there were, and how many failed


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        values: what was trained, by name, as it was best on dev.
        before, after: what decides on dev (see `measuring`), untuned and at its best.
        step: where it was best; 0 where tuning never helped.
        steps: how many were taken.
        reason: why it ended.
        seconds: of training, the looks at dev included; of all trials, where there were some.
        history: each look at dev: step and measures.
        diverged: what went wrong, or "".
        details: of a plan of several trainings; "weights" says whose they are.
        held_out, held_out_before: for each task the scores of examples that were not fitted, tuned
            and untuned, where dev is no such split (see `plans.over_folds`).
    """

    values: Mapping[str, torch.Tensor] = field(repr=False)
    before: float
    after: float
    step: int
    steps: int
    reason: str
    seconds: float
    history: tuple[Mapping[str, float], ...] = ()
    diverged: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    held_out: tuple[Scored, ...] = ()
    held_out_before: tuple[Scored, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it diverged before it had helped."""
        return bool(self.diverged) and not self.step

    @property
    def weights(self) -> str:
        """Whose weights they are, for people."""
        return str(self.details.get("weights", f"those of step {self.step}"))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without the values."""
        left_out = ("values", "held_out", "held_out_before")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def save(self, folder: Path) -> None:
        """Write values and record, the record last, so that it means both are there."""
        save_file(dict(self.values), folder / VALUES)
        write_json(folder / DONE, self.to_dict())

    @classmethod
    def saved_in(cls, folder: Path) -> Trained | None:
        """What `save` wrote; None where it did not."""
        if not (folder / DONE).is_file():
            return None
        record = json.loads((folder / DONE).read_text(encoding="utf-8"))
        values = load_file(folder / VALUES)
        return cls(**{**record, "values": values, "history": tuple(record["history"])})
