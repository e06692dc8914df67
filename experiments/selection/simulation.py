"""Simulated searches: the seed prompts and some random candidates, and what each rule picks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import t as students_t

from autoprompt.scoring.label_scores import Floats
from autoprompt.scoring.metrics import Ints
from autoprompt.seeding import generator
from experiments.selection.candidates import Pool
from experiments.selection.rules import BASELINE, RULES

ALL = "mean of the tasks"


@dataclass(frozen=True)
class Mean:
    """A mean over few-shot draws with its 95 % interval (Student's t); None for one draw."""

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        """The mean of one number for each draw."""
        value, count = float(np.mean(values)), len(values)
        if count < 2:
            return cls(value, None, None)
        half = float(students_t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
        return cls(value, value - half, value + half)

    def written(self, form: str = ".3f") -> str:
        """For a table."""
        if self.low is None:
            return f"{self.value:{form}}"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


@dataclass(frozen=True)
class Row:
    """How one rule does in searches of one size.

    Attributes:
        task: its name, or `ALL` for the mean of several.
        candidates: random candidates of a search, beside the seed prompts.
        rule: its name.
        accuracy: true accuracy of what is picked.
        gain: the same less that of the best seed, which is picked on the same data.
        worse: the share of searches whose pick is truly worse than the best seed.
        kept: the share of searches that return the best seed itself.
        by_draw: true accuracy and gain for each few-shot draw.
    """

    task: str
    candidates: int
    rule: str
    accuracy: Mean
    gain: Mean
    worse: float
    kept: float
    by_draw: Mapping[str, list[float]]

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(frozen=True)
class Picks:
    """What a rule picked in the searches of one few-shot draw: indices, and true accuracies."""

    index: Ints
    truth: Floats


def simulate(task: str, pools: Mapping[int, Pool], candidates: int, repetitions: int) -> list[Row]:
    """Let every rule choose in the same searches.

    Args:
        task: its name.
        pools: few-shot seed to all prompts, scored on that draw.
        candidates: of one search; drawn without replacement.
        repetitions: searches for each few-shot draw.
    """
    found: dict[str, list[Picks]] = {rule: [] for rule in RULES}
    for seed, pool in pools.items():
        rng = generator(seed, "searches", task, candidates)
        searches = []
        for _ in range(repetitions):
            drawn = rng.permutation(len(pool.others))[:candidates]
            searches.append([*pool.seeds, *(pool.others[index] for index in drawn)])
        for name, rule in RULES.items():
            picks = [rule(search, len(pool.seeds)) for search in searches]
            truth = [search[pick].truth for search, pick in zip(searches, picks, strict=True)]
            found[name].append(Picks(np.array(picks), np.array(truth)))
    return [_row(task, candidates, name, picks, found[BASELINE]) for name, picks in found.items()]


def _row(
    task: str, candidates: int, rule: str, picks: Sequence[Picks], baseline: Sequence[Picks]
) -> Row:
    pairs = list(zip(picks, baseline, strict=True))
    gains = [chosen.truth - known.truth for chosen, known in pairs]
    accuracy = [float(chosen.truth.mean()) for chosen in picks]
    gain = [float(values.mean()) for values in gains]
    return Row(
        task,
        candidates,
        rule,
        Mean.of(accuracy),
        Mean.of(gain),
        worse=float(np.mean([values < 0 for values in gains])),
        kept=float(np.mean([chosen.index == known.index for chosen, known in pairs])),
        by_draw={"accuracy": accuracy, "gain": gain},
    )


def over_tasks(rows: Sequence[Row]) -> list[Row]:
    """The mean of several tasks, every task alike, for each size and rule."""
    found = []
    for candidates in dict.fromkeys(row.candidates for row in rows):
        for rule in RULES:
            same = [row for row in rows if (row.candidates, row.rule) == (candidates, rule)]
            by_draw = {
                what: np.mean([row.by_draw[what] for row in same], axis=0).tolist()
                for what in ("accuracy", "gain")
            }
            found.append(
                Row(
                    ALL,
                    candidates,
                    rule,
                    Mean.of(by_draw["accuracy"]),
                    Mean.of(by_draw["gain"]),
                    worse=float(np.mean([row.worse for row in same])),
                    kept=float(np.mean([row.kept for row in same])),
                    by_draw=by_draw,
                )
            )
    return found
