"""What a tuning came to, and its JSON form."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.prompts import ModelIdentity, Prompt
from autoprompt.scoring.metrics import Measure
from autoprompt.tuning.measuring import DECIDES, SAME
from autoprompt.tuning.processes import processes
from autoprompt.tuning.settings import TuningSettings
from autoprompt.tuning.trained import Trained

VERSIONED = ("autoprompt", "torch", "transformers", "accelerate", "peft", "tokenizers", "numpy")


@dataclass(frozen=True)
class TunedTask:
    """One task of a tuned model.

    Attributes:
        name: of it.
        prompt: through which it is asked, as it is shipped.
        metric: the task's.
        before, after: measures on dev, untuned and as shipped, by name; of a tuning over folds
            those of each example by the fold that was not fitted to it.
        test: measures on test as shipped; empty where there is none.
        examples: labelled examples that tuning has seen, train and dev.
        is_too_sure: its probabilities are far above how often it is right.
    """

    name: str
    prompt: Prompt
    metric: str
    before: dict[str, Measure]
    after: dict[str, Measure]
    test: dict[str, Measure]
    examples: int
    is_too_sure: bool

    @property
    def judged_on(self) -> str:
        """What `before` and `after` were measured on, for people."""
        return "dev" if "dev" in self.prompt.scores else "held-out folds"

    @property
    def is_worse(self) -> bool:
        """Whether the prompt alone tells labels apart better: a soft prompt begins worse."""
        return self.after[DECIDES].value > self.before[DECIDES].value + SAME

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "name": self.name,
            "is_worse": self.is_worse,
            "is_too_sure": self.is_too_sure,
            "judged_on": self.judged_on,
            "metric": self.metric,
            "prompt": self.prompt.digest,
            "template": self.prompt.shown,
            "words": self.prompt.verbalizer.as_dict(),
            "examples": self.examples,
            "splits": dict(self.prompt.splits),
            **{
                split: {name: one.to_dict() for name, one in getattr(self, split).items()}
                for split in ("before", "after", "test")
            },
        }


@dataclass(frozen=True)
class TuningResult:
    """What a tuning came to.

    Attributes:
        out: the directory that holds the model.
        tasks: one at least.
        trained: how the training went.
        settings: that it was done with.
        base: the model that was tuned.
        parameters: how many were trained.
        all_parameters: how many the model has.
        seconds: of training.
        peak_memory: the most bytes that the process, or the accelerator, held.
        bytes_to_ship: of what a user needs beside the base model, if an adapter, or of all.
    """

    out: Path
    tasks: tuple[TunedTask, ...]
    trained: Trained
    settings: TuningSettings
    base: ModelIdentity
    parameters: int
    all_parameters: int
    seconds: float
    peak_memory: int
    bytes_to_ship: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "tasks": [task.to_dict() for task in self.tasks],
            "settings": self.settings.to_dict(),
            "training": self.trained.to_dict(),
            "weights": self.trained.weights,
            "base": dict(vars(self.base)),
            "parameters": self.parameters,
            "all_parameters": self.all_parameters,
            "seconds": round(self.seconds, 3),
            "peak_memory": self.peak_memory,
            "bytes_to_ship": self.bytes_to_ship,
            "processes": processes(),
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Of the packages that a tuned model depends on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED}
