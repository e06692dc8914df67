"""What a report says of a run: numbers and rows made from its files, on selection data.

Of the test split only the verdict's aggregates are here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.finished_runs import FinishedRun, Judged
from autoprompt.objective import Scored
from autoprompt.prompts import Prompt
from autoprompt.scoring.metrics import wilson

BINS = 10
FIRST, SHOWN = 10, 60  # disagreements at once, and in all: more is not read
CHARACTERS = 900  # of an example's text


@dataclass(frozen=True)
class Leader:
    """A row of the leaderboard.

    Attributes:
        prompt: the prompt.
        role: "winner", "best seed", "seed" or "".
        measures: on the selection data.
    """

    prompt: Prompt
    role: str
    measures: Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A trial in the history.

    Attributes:
        trial: its number.
        state: "scored", "dropped", "repeated" or "failed".
        value: what the search maximises; None where it was not scored in full.
        metric: the task's metric; None as above.
        best: the highest value so far; None before the first.
        is_seed: whether it is an expert's prompt.
        template: its template, or "".
    """

    trial: int
    state: str
    value: float | None
    metric: float | None
    best: float | None
    is_seed: bool
    template: str


@dataclass(frozen=True)
class LabelRow:
    """One label in the predictions of a prompt.

    Attributes:
        label: its name.
        n: examples that have it.
        precision, recall, f1: None where they are not defined.
        predicted: of those examples, how many are predicted as each label.
    """

    label: str
    n: int
    precision: float | None
    recall: float | None
    f1: float | None
    predicted: tuple[int, ...]


@dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence.

    Attributes:
        low, high: the bounds of the confidence.
        n: predictions.
        confidence: their mean confidence.
        right: the share that is right; `right_low` and `right_high` are its 95 % interval.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: float
    right_low: float
    right_high: float


@dataclass(frozen=True)
class Reading:
    """An example to be read by a person.

    Attributes:
        texts: field name to text, cut after `CHARACTERS`.
        label: the right one, as the data has it.
        winner, baseline: predicted label and its probability; None where not judged.
        split: "train" or "dev".
    """

    texts: Mapping[str, str]
    label: str
    winner: tuple[str, float] | None
    baseline: tuple[str, float] | None
    split: str


def leaderboard(run: FinishedRun) -> list[Leader]:
    """Seeds and finalists, the winner first, then by the metric on the selection data."""
    winner, baseline = run.verdict["winner_prompt"], run.verdict["baseline_prompt"]
    seeds = seed_digests(run)
    found = []
    for digest, prompt in run.prompts.items():
        measures = prompt.scores.get("selection", {})
        if run.metric not in measures:
            continue
        role = "seed" if digest in seeds else ""
        role = "best seed" if digest == baseline else role
        role = "winner" if digest == winner else role
        found.append(Leader(prompt, role, measures))

    def rank(row: Leader) -> tuple[bool, float, float]:
        loss = row.measures.get("cross_entropy", {}).get("value", 0.0)
        return row.role != "winner", -row.measures[run.metric]["value"], loss

    return sorted(found, key=rank)


def seed_digests(run: FinishedRun) -> set[str]:
    """The prompts that an expert wrote: nothing was edited on the way to them."""
    return {digest for digest, prompt in run.prompts.items() if len(prompt.lineage) == 1}


def history(run: FinishedRun) -> list[Point]:
    """Every trial, in order."""
    seeds = seed_digests(run)
    points: list[Point] = []
    best: float | None = None
    for row in run.trials:
        value = row.get("value") if row["state"] == "scored" else None
        if value is not None:
            best = value if best is None else max(best, value)
        points.append(
            Point(
                row["trial"],
                row["state"],
                value,
                row.get("metric"),
                best,
                row["state"] == "scored" and row["prompt"] in seeds,
                str(row.get("template") or row.get("reason") or ""),
            )
        )
    return points


def importance(run: FinishedRun) -> list[tuple[str, float, int]]:
    """How much of the spread of trials' values each parameter explains by itself.

    That is epsilon squared of a one-way analysis of variance (Kelley 1935): eta squared less what
    as many groups explain by chance. Parameters that go together share what they explain.

    Returns:
        Name, share between 0 and 1, and trials that had the parameter; the greatest first.
    """
    scored = [row for row in run.trials if row["state"] == "scored" and row["value"] is not None]
    names = dict.fromkeys(name for row in scored for name in row["parameters"])
    found = []
    for name in names:
        rows = [row for row in scored if name in row["parameters"]]
        values = np.array([row["value"] for row in rows], dtype=np.float64)
        groups = [str(row["parameters"][name]) for row in rows]
        share = _epsilon_squared(values, groups)
        if share is not None:
            found.append((name, share, len(rows)))
    return sorted(found, key=lambda row: -row[1])


def _epsilon_squared(values: NDArray[np.float64], groups: Sequence[str]) -> float | None:
    names, index = np.unique(groups, return_inverse=True)
    n, k = len(values), len(names)
    spread = float(((values - values.mean()) ** 2).sum()) if n else 0.0
    if k < 2 or n <= k or spread == 0:
        return None
    means = np.bincount(index, weights=values) / np.bincount(index)
    within = float(((values - means[index]) ** 2).sum())
    return max(0.0, 1 - within / (n - k) * (n - 1) / spread)


def by_label(scored: Scored, labels: Sequence[str]) -> list[LabelRow]:
    """Precision, recall, F1 and the confusion of each label."""
    size = len(labels)
    cells = np.bincount(scored.gold * size + scored.predictions, minlength=size * size)
    matrix = cells.reshape(size, size)
    rows = []
    for at, label in enumerate(labels):
        hits, n, said = int(matrix[at, at]), int(matrix[at].sum()), int(matrix[:, at].sum())
        rows.append(
            LabelRow(
                label,
                n,
                hits / said if said else None,
                hits / n if n else None,
                2 * hits / (n + said) if n + said else None,
                tuple(int(count) for count in matrix[at]),
            )
        )
    return rows


def reliability(scored: Scored) -> tuple[list[Bin], float]:
    """Bins of equal width over the confidence, empty ones left out; and the calibration error.

    The error is the expected calibration error (Naeini et al. 2015): the mean distance of
    confidence and accuracy over the bins, weighed by their sizes.
    """
    confidence = np.exp(scored.log_probabilities.max(axis=1))
    right = scored.predictions == scored.gold
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for place in range(BINS):
        here = places == place
        n, hits = int(here.sum()), int(right[here].sum())
        if not n:
            continue
        mean = float(confidence[here].mean())
        bins.append(Bin(place / BINS, (place + 1) / BINS, n, mean, hits / n, *wilson(hits, n)))
        error += n / len(right) * abs(mean - hits / n)
    return bins, error


def disagreements(run: FinishedRun) -> list[Reading]:
    """Where winner and best seed predict other labels, the surest differences first."""
    found = [reading_of(row) for row in run.selection if row.winner and row.baseline]
    differing = [row for row in found if row.winner and row.baseline]
    differing = [row for row in differing if row.winner[0] != row.baseline[0]]  # type: ignore[index]
    return sorted(differing, key=_surety, reverse=True)


def misses(run: FinishedRun) -> list[Reading]:
    """Where the winner is wrong, the surest first: its mistakes, or those of the data."""
    found = [reading_of(row) for row in run.selection if row.winner]
    wrong = [row for row in found if row.winner and row.winner[0] != row.label]
    return sorted(wrong, key=_surety, reverse=True)


def reading_of(row: Judged) -> Reading:
    """An example as a person reads it."""
    return Reading(
        {name: cut(text) for name, text in row.example.fields.items()},
        str(row.example.label),
        _said(row.winner),
        _said(row.baseline),
        row.split,
    )


def cut(text: str) -> str:
    """A text, or its beginning and how much more there is."""
    rest = len(text) - CHARACTERS
    return text if rest <= 0 else f"{text[:CHARACTERS]} … ({rest:,} more characters)"


def _said(probabilities: Mapping[str, float] | None) -> tuple[str, float] | None:
    if probabilities is None:
        return None
    label = max(probabilities, key=probabilities.__getitem__)
    return label, probabilities[label]


def _surety(row: Reading) -> float:
    return sum(said[1] for said in (row.winner, row.baseline) if said)
