"""Where a tuning's prompt comes from: a prompt file, or a run and one of its prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.errors import InputError, RunDirectoryError, TaskError
from autoprompt.prompts import Prompt
from autoprompt.runs import RunDirectory, held_out_of, prompt_file
from autoprompt.tasks.task import Task
from autoprompt.tuning.lessons import Assignment

SEED, SEARCHED, GIVEN = "seed", "searched", "given"


@dataclass(frozen=True)
class Source:
    """A prompt and what is known of it.

    Attributes:
        prompt: it.
        origin: `SEED` (the best expert prompt of a run), `SEARCHED` (the winner of one) or `GIVEN`.
        path: of its file.
        run: the directory of its run, or None.
    """

    prompt: Prompt
    origin: str
    path: Path
    run: Path | None

    @classmethod
    def of(cls, path: str | Path, seed: bool = False) -> Source:
        """Read what a user names.

        Args:
            path: a prompt file or a run directory.
            seed: whether a run's best expert prompt is meant, and not its winner.

        Raises:
            RunDirectoryError: the directory holds no finished run.
            PromptError: the file is damaged.
            InputError: `seed` of a file.
        """
        given = Path(path)
        if not given.is_dir():
            if seed:
                raise InputError(
                    f"{given} is a prompt file, which has no seed prompt; name its run directory"
                )
            return cls(Prompt.load(given), GIVEN, given, None)
        best = prompt_file(given)
        if not seed:
            origin = SEARCHED if best.name == "best.json" else GIVEN
            return cls(Prompt.load(best), origin, best, given)
        found = baseline_file(given)
        return cls(Prompt.load(found), SEED, found, given)

    def needs_run(self) -> Path:
        """The directory of the prompt's run.

        Raises:
            InputError: a bare prompt file was given.
        """
        if self.run is None or self.origin == GIVEN:
            raise InputError(
                f"{self.path} is a prompt by itself; an ensemble is of a run's prompts: name the "
                f"run directory"
            )
        return self.run

    def assignment(self, task: Task) -> Assignment:
        """The task as it is learnt through the prompt.

        Raises:
            TaskError: the task has other labels or fields than the prompt, or examples that the
                prompt's run holds out for its test.
        """
        labels = self.prompt.verbalizer.labels
        if set(task.labels) != set(labels):
            raise TaskError(
                f"task {task.name!r} has the labels {', '.join(task.labels)}, the prompt "
                f"{', '.join(labels)}; give the task that the prompt is for"
            )
        if missing := [name for name in self.prompt.template.fields if name not in task.fields]:
            raise TaskError(
                f"task {task.name!r} has no field {missing[0]!r}, which the prompt's template has; "
                f"name its column with --text-column"
            )
        held_out = held_out_of(self.path, self.prompt)
        leaked = held_out.among([*task.train, *task.dev]) if held_out else []
        if leaked:
            raise TaskError(
                f"{len(leaked)} of the examples to tune on are in the test split of the prompt's "
                f"run; give the task with the same --seed and --k-shot as the search"
            )
        return Assignment(task.name, self.prompt, task.train, task.dev, task.metric)

    def saw_others(self, task: Task) -> bool:
        """Whether the prompt was found with other train or dev examples than the task's."""
        splits, own = self.prompt.splits, task.digests()
        return any(splits.get(name, own[name]) != own[name] for name in ("train", "dev"))


def members_of(run: Path, count: int, seeds_only: bool = False) -> list[Prompt]:
    """The prompts of an ensemble: a run's winner, its best seed, and then the likeliest others.

    Args:
        run: its directory.
        count: how many, at most.
        seeds_only: the expert's prompts alone, the best first.

    Raises:
        RunDirectoryError: the run is not finished, or has fewer than two such prompts.
    """
    winner, baseline = Prompt.load(prompt_file(run)), Prompt.load(baseline_file(run))
    others = [Prompt.load(path) for path in RunDirectory(run).prompts.glob("*.json")]
    others.sort(key=lambda one: (_entropy(one), one.digest))
    ranked = [baseline, *others] if seeds_only else [winner, baseline, *others]
    # A seed prompt's way has one step: itself.
    chosen = {one.digest: one for one in ranked if not seeds_only or len(one.lineage) == 1}
    if len(chosen) < 2:
        kind = "seed prompts" if seeds_only else "prompts"
        raise RunDirectoryError(f"{run} has fewer than two {kind}, which make no ensemble")
    return list(chosen.values())[:count]


def _entropy(prompt: Prompt) -> float:
    """On the selection data."""
    return float(prompt.scores.get("selection", {}).get("cross_entropy", {}).get("value", 1e9))


def baseline_file(run: Path) -> Path:
    """The prompt file of a run's best seed prompt.

    Raises:
        RunDirectoryError: the run is not finished, or has lost the file.
    """
    digest = verdict_of(run).get("baseline_prompt", "")
    found = RunDirectory(run).prompts / f"{digest}.json"
    if not digest or not found.is_file():
        raise RunDirectoryError(
            f"{run} has no file of its best seed prompt; finish its search with --resume"
        )
    return found


def verdict_of(run: Path) -> dict[str, Any]:
    """A run's verdict.

    Raises:
        RunDirectoryError: there is none, or it is damaged.
    """
    path = RunDirectory(run).verdict
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"{run} holds no readable verdict.json; finish its search with --resume"
        ) from error
    return dict(found)


def paired(sources: Sequence[Source], tasks: Sequence[Task]) -> list[Assignment]:
    """Each task with its prompt.

    Raises:
        InputError: there are not as many of the one as of the other, or two models among the
            prompts.
    """
    if len(sources) != len(tasks):
        raise InputError(
            f"{len(sources)} prompts and {len(tasks)} tasks: give a --task for each prompt, in "
            f"their order"
        )
    models = {one.prompt.model.weights for one in sources if one.prompt.model}
    if len(models) > 1:
        raise InputError("the prompts belong to different models; one model is tuned at a time")
    return [source.assignment(task) for source, task in zip(sources, tasks, strict=True)]
