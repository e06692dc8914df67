"""A finished run as its files tell it: what a report shows and a review asks about.

Nothing here opens the study. Of the test split a run keeps aggregates only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoprompt.errors import RunDirectoryError
from autoprompt.objective import Scored
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory, prompt_file
from autoprompt.tasks.examples import Example


@dataclass(frozen=True)
class Judged:
    """One selection example with what two prompts said of it.

    Attributes:
        example: fields and label.
        split: "train" (then fitted prompts were fitted without it) or "dev".
        winner, baseline: label to probability; None where the prompt was not judged on it.
    """

    example: Example
    split: str
    winner: Mapping[str, float] | None
    baseline: Mapping[str, float] | None


@dataclass(frozen=True)
class FinishedRun:
    """What the files of a run say.

    Attributes:
        path: its directory.
        best: the winning prompt.
        prompts: seeds and finalists, by digest.
        verdict, ledger, config: as the JSON files hold them.
        trials: the rows of `trials.jsonl`.
        selection: the selection examples, in the order of the search; empty where an earlier
            version wrote the run.
    """

    path: Path
    best: Prompt
    prompts: Mapping[str, Prompt]
    verdict: Mapping[str, Any]
    ledger: Mapping[str, Any]
    config: Mapping[str, Any]
    trials: Sequence[Mapping[str, Any]]
    selection: Sequence[Judged]

    @property
    def metric(self) -> str:
        """The task's."""
        return str(self.verdict["metric"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's, in its order."""
        return self.best.verbalizer.labels

    @property
    def baseline(self) -> Prompt:
        """The best seed prompt."""
        return self.prompts[str(self.verdict["baseline_prompt"])]

    @property
    def kept_seed(self) -> bool:
        """Whether the winner is the best seed prompt."""
        return bool(self.verdict["winner_prompt"] == self.verdict["baseline_prompt"])

    def scored(self, side: str) -> Scored | None:
        """What the "winner" or the "baseline" said of the examples it was judged on."""
        rows = [row for row in self.selection if getattr(row, side) is not None]
        if not rows:
            return None
        probabilities = [[getattr(row, side)[label] for label in self.labels] for row in rows]
        gold = [self.labels.index(str(row.example.label)) for row in rows]
        # A probability is rounded in the file: none may become the logarithm of 0.
        logs = np.log(np.maximum(np.array(probabilities), 1e-12))
        return Scored(logs, np.array(gold, dtype=np.int64))

    @classmethod
    def load(cls, path: str | Path) -> FinishedRun:
        """Read a run directory.

        Raises:
            RunDirectoryError: it holds no finished run, or a file of it is damaged.
            PromptError: a prompt file is.
        """
        run = RunDirectory(path)
        if not run.path.is_dir():
            raise RunDirectoryError(f"no run directory at {run.path}; check the path")
        best = Prompt.load(prompt_file(run.path))
        try:
            return cls(
                path=run.path,
                best=best,
                prompts={
                    place.stem: Prompt.load(place) for place in sorted(run.prompts.glob("*.json"))
                },
                verdict=_whole(run.verdict, VERDICT_KEYS),
                ledger=_whole(run.ledger, ("forwards",)),
                config=run.read_config(),
                trials=_rows(run.trials),
                selection=[_judged(row) for row in _rows(run.selection)],
            )._checked()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, RunDirectoryError):
                raise
            raise RunDirectoryError(
                f"a file of {run.path} is damaged or missing ({error}); finish the search once "
                f"more with --resume, which writes it anew"
            ) from error

    def _checked(self) -> FinishedRun:
        for row in self.trials:
            if "state" not in row or "trial" not in row:
                raise KeyError("a trial's state or number")
        for name in ("winner_prompt", "baseline_prompt"):
            if self.verdict[name] not in self.prompts:
                raise KeyError(f"prompts/{self.verdict[name]}.json")
        for side in ("winner", "baseline"):
            self.scored(side)
        return self


VERDICT_KEYS = ("metric", "winner_prompt", "baseline_prompt", "winner", "baseline", "status")


def judged_rows(
    examples: Sequence[Example],
    fit_count: int,
    labels: Sequence[str],
    winner: Scored,
    baseline: Scored,
) -> list[dict[str, Any]]:
    """The rows of `selection.jsonl`.

    Args:
        examples: all selection examples.
        fit_count: how many of the first are of train.
        labels: the task's.
        winner, baseline: scores on the last of them, all that judge the prompt.
    """
    rows: list[dict[str, Any]] = []
    for number, example in enumerate(examples):
        row: dict[str, Any] = {
            "split": "train" if number < fit_count else "dev",
            "fields": dict(example.fields),
            "label": example.label,
        }
        for name, scored in (("winner", winner), ("baseline", baseline)):
            at = number - (len(examples) - len(scored.gold))
            row[name] = None
            if at >= 0:
                found = np.exp(scored.log_probabilities[at])
                row[name] = {k: round(float(p), 6) for k, p in zip(labels, found, strict=True)}
        rows.append(row)
    return rows


def _judged(row: Mapping[str, Any]) -> Judged:
    fields = {str(name): str(text) for name, text in row["fields"].items()}
    example = Example(fields, str(row["label"]))
    return Judged(example, str(row["split"]), row["winner"], row["baseline"])


def _whole(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise ValueError(f"{path.name} has no {key!r}")
    return dict(found)


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.name == "selection.jsonl" and not path.exists():
        return []
    # Not `splitlines`, which cuts at separators that stand in texts.
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]
