"""What a trial may choose: from Optuna's parameters to a candidate.

Nothing is scored here, and nothing of Optuna is imported: `Chooser` is the part of its trial
that is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autoprompt.prompts import Frame
from autoprompt.space_files import Pattern
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Template
from autoprompt.verbalizers import AGGREGATIONS

FITTED = "fitted: likelihood ratio"
DRAWS = 8  # different sets of demonstrations that a trial may ask for


class Chooser(Protocol):
    """Chooses values of named parameters."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        ...

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A prompt to be: all of it but what is fitted on train.

    Attributes:
        template: composed.
        words: index of the seed verbalizer, or None where words are fitted.
        per_label: how many words a label are fitted.
        aggregation, calibration: methods.
        demonstrations: how many a label.
        draw: which draw of them.
        origin: for the lineage.
    """

    template: Template
    words: int | None
    per_label: int = 1
    aggregation: str = AGGREGATIONS[0]
    calibration: str = "none"
    demonstrations: int = 0
    draw: int = 0
    origin: str = ""


class CandidateTable:
    """The choices that a space leaves open.

    Args:
        space: restricted to the task.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.verbalizers = space.verbalizers()
        self.patterns: dict[str, Pattern] = {}
        for seed in space.seeds:
            self.patterns.setdefault(seed.template.text, Pattern(seed.template.text, ()))
        for pattern in space.patterns:
            self.patterns.setdefault(pattern.text, pattern)
        self.words = [f"seed {i + 1}" for i in range(len(self.verbalizers))]
        if space.fit_words:
            self.words.append(FITTED)

    @property
    def seeds(self) -> int:
        """The number of seed prompts."""
        return len(self.space.seeds)

    @property
    def templates(self) -> int:
        """The number of templates (choices of pattern and slots)."""
        return sum(self.space.compositions(pattern) for pattern in self.patterns.values())

    def frames(self) -> list[Frame]:
        """One frame of each pattern: how a word is spelt depends on what stands before the mask."""
        return [
            Frame(self.space.compose(pattern, dict.fromkeys(pattern.slots, 0)))
            for pattern in self.patterns.values()
        ]

    def seed_parameters(self, index: int) -> dict[str, Any]:
        """The parameters with which `suggest` gives the seed prompt, as the expert wrote it."""
        seed = self.space.seeds[index]
        known = [verbalizer.as_dict() for verbalizer in self.verbalizers]
        words = known.index({label: list(seed.words[label]) for label in self.space.labels})
        return {
            "template": seed.template.text,
            "words": self.words[words],
            "aggregation": AGGREGATIONS[0],
            "calibration": "none",
            "demonstrations": 0,
        }

    def suggest(self, trial: Chooser) -> Candidate:
        """Ask for the parameters of one candidate. Those without a choice are not asked for."""
        text = self._one_of(trial, "template", list(self.patterns))
        pattern = self.patterns[text]
        options: Mapping[str, tuple[str, ...]] = self.space.slots or {}
        choices = {
            name: options[name].index(self._one_of(trial, f"slot {name}", list(options[name])))
            for name in pattern.slots
        }
        words = self._one_of(trial, "words", self.words)
        fitted = words == FITTED
        low, high = self.space.words_per_label
        per_label = (
            trial.suggest_int("words per label", low, high) if fitted and low < high else low
        )
        several = (
            per_label > 1
            if fitted
            else any(len(group) > 1 for group in self.verbalizers[self.words.index(words)].words)
        )
        aggregation = self._one_of(trial, "aggregation", AGGREGATIONS) if several else "logsumexp"
        calibration = self._one_of(trial, "calibration", self._with_none(self.space.calibration))
        # Fitted words would stand in the demonstrations, where no fold can be left out.
        numbers = [0] if fitted else self._with_zero(self.space.demonstrations)
        shown = self._one_of(trial, "demonstrations", numbers)
        return Candidate(
            template=self.space.compose(pattern, choices),
            words=None if fitted else self.words.index(words),
            per_label=per_label,
            aggregation=aggregation,
            calibration=calibration,
            demonstrations=shown,
            draw=trial.suggest_int("draw of demonstrations", 0, DRAWS - 1) if shown else 0,
            origin=f"template {text!r}, words {words}",
        )

    @staticmethod
    def _one_of(trial: Chooser, name: str, choices: Sequence[Any]) -> Any:
        return trial.suggest_categorical(name, choices) if len(choices) > 1 else choices[0]

    @staticmethod
    def _with_none(methods: Sequence[str]) -> list[str]:
        # The seeds are scored as written, so "none" is always among the choices.
        return ["none", *(method for method in methods if method != "none")]

    @staticmethod
    def _with_zero(numbers: Sequence[int]) -> list[int]:
        return [0, *(number for number in numbers if number)]
