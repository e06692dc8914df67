"""Zero- and few-shot accuracy of a model, through the product itself.

Zero-shot: every expert prompt of the task's search space that the model can read, as it stands.
None is picked by its accuracy: all are reported, and their mean is the figure. A causal model reads
no prompt with text behind the gap, and instructions beside the rest: its mean is over other prompts
than a masked model's. *Calibrated* takes each label's prior over the scored texts off, whose labels
are not looked at (batch calibration, Zhou et al. 2023).

Few-shot: the default search with a small budget on 16 train and 16 dev examples a label; a label of
a sample task that has fewer than 32 examples is halved. What a search returns is scored once.

Scored are the dev files; the test files are opened only on request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoprompt.models.protocol import LanguageModel
from autoprompt.objective import Scored, gold_indices, raw_label_scores
from autoprompt.pipeline import search
from autoprompt.prompts import Prompt
from autoprompt.scoring.calibration import calibrated, log_prior
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.budget import Budget
from autoprompt.searching.readable import readable
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.columns import read_description
from autoprompt.tasks.examples import Example, label_counts
from autoprompt.tasks.splits import draw_k_shot, shuffled_by_label
from autoprompt.tasks.task import SAMPLES, Task, load_examples, sample_tasks
from autoprompt.verbalizers import Verbalizer

SPACES = {"sst2_sent": "sentiment", "trec6": "question_type", "agnews": "topic", "rte": "nli"}
"""Real task to its search space; a sample task has the name of its space."""
SHOTS = 16
DRAWS = (13, 21, 42)
TRIALS = 24
Row = dict[str, Any]


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        draws: seeds of the few-shot draws; none leaves few-shot accuracy out.
        trials: different prompts that a search tries, the expert's included.
        most: scored examples of a task, the first of its file; None for all.
    """

    draws: tuple[int, ...] = DRAWS
    trials: int = TRIALS
    most: int | None = None


FULL = Extent()
FAST = Extent(draws=(13,), trials=16, most=96)


@dataclass(frozen=True)
class Measured:
    """A task to measure on.

    Attributes:
        name: of its folder.
        space: its search space, for its fields and labels.
        train: what few-shot examples are drawn from.
        scored: what accuracies are of.
    """

    name: str
    space: SearchSpace
    train: tuple[Example, ...]
    scored: tuple[Example, ...]

    @classmethod
    def load(cls, folder: Path, split: str, most: int | None = None) -> Measured:
        """Read a task folder; of dev and test only the `split` is opened.

        Args:
            folder: with `task.yaml` and JSON lines.
            split: "dev" or "test".
            most: scored examples, at most.
        """
        columns = read_description(folder / "task.yaml")
        parts = {
            name: tuple(load_examples(folder / f"{name}.jsonl", columns, labelled=True))
            for name in ("train", split)
        }
        space = SearchSpace.load(SPACES.get(folder.name, folder.name))
        restricted = space.restricted(tuple(columns.fields), tuple(columns.labels.values()))
        return cls(folder.name, restricted, parts["train"], parts[split][:most])

    @property
    def majority(self) -> float:
        """The accuracy of the commonest label on what is scored."""
        counts = Counter(example.label for example in self.scored)
        return max(counts.values()) / len(self.scored)

    def few_shot(self, draw: int) -> Task:
        """A few-shot task; its test split is what is scored."""
        train, dev = draw_k_shot(self.train, SHOTS, draw, allow_fewer=True)
        return Task(
            self.name,
            self.space.fields,
            self.space.labels,
            "accuracy",
            tuple(train),
            tuple(shuffled_by_label(dev, draw)),
            self.scored,
        )


def measured_tasks(
    datasets: Path | None, split: str = "dev", most: int | None = None
) -> list[Measured]:
    """The package's sample tasks, and those real tasks that a folder holds."""
    folders = [SAMPLES / name for name in sample_tasks()]
    if datasets is not None:
        folders += [datasets / name for name in SPACES if (datasets / name).is_dir()]
    return [Measured.load(folder, split, most) for folder in folders]


def zero_shot(model: LanguageModel, task: Measured) -> list[Row]:
    """The accuracy of each expert prompt that the model can read, with its n and 95% interval."""
    found = []
    for seed in readable(task.space, model)[0].seeds:
        verbalizer = Verbalizer.of(seed.words, task.space.labels)
        scorer = WordScorer(model, verbalizer.all_words)
        prompt = Prompt(seed.template, verbalizer)
        scores = raw_label_scores(scorer, prompt.frame, verbalizer, task.scored)
        gold = gold_indices(task.scored, task.space.labels)
        ways = {"plain": (), "calibrated": log_prior(scores)}
        found.append(
            {
                "task": task.name,
                "majority": task.majority,
                "prompt": seed.template.text,
                "words": verbalizer.as_dict(),
                **{
                    way: Scored(calibrated(scores, offsets), gold).measures()["accuracy"].to_dict()
                    for way, offsets in ways.items()
                },
            }
        )
    return found


def few_shot(model: LanguageModel, task: Measured, draw: int, trials: int) -> Row:
    """The accuracy of what a search returns on one draw, and that of the expert's best prompt.

    The expert's best is the one that the search itself compares with: chosen on the draw.
    """
    drawn = task.few_shot(draw)
    result = search(drawn, task.space, model, budget=Budget(trials=trials), seed=draw)
    return {
        "task": task.name,
        "draw": draw,
        "shots": min(label_counts(drawn.train).values()),
        "searched": result.best.scores["test"]["accuracy"],
        "expert": result.baseline.scores["test"]["accuracy"],
        "template": result.best.template.text,
        "words": result.best.verbalizer.as_dict(),
    }


def accuracies(
    model: LanguageModel,
    tasks: Sequence[Measured],
    extent: Extent = FULL,
    say: Callable[[str], None] = print,
) -> dict[str, list[Row]]:
    """Zero- and few-shot accuracies on all tasks."""
    zero: list[Row] = []
    few: list[Row] = []
    for task in tasks:
        zero += zero_shot(model, task)
        say(f"{task.name}: zero-shot")
        for draw in extent.draws:
            few.append(few_shot(model, task, draw, extent.trials))
            say(f"{task.name}: few-shot, draw {draw}")
    return {"zero_shot": zero, "few_shot": few}
