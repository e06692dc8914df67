"""Word scores of random templates, computed once for every example that the experiment looks at.

Only the train and dev files are read. The small train and dev splits of each seed are drawn from
the train file, as `--k-shot` draws them; the dev file serves as the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.files import digest
from autoprompt.models.protocol import LanguageModel
from autoprompt.prompts import Frame
from autoprompt.scoring.calibration import inputs_without_content
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.words import words_to_score
from autoprompt.seeding import generator
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.columns import read_description
from autoprompt.tasks.examples import Example
from autoprompt.tasks.splits import draw_k_shot, shuffled_by_label
from autoprompt.tasks.task import Task, load_examples
from autoprompt.templates import Template

SHOTS = 16
SPACES = {"sst2_sent": "sentiment", "trec6": "question_type", "agnews": "topic"}


@dataclass(frozen=True)
class Material:
    """One task's data and templates.

    Attributes:
        name: the task's.
        draws: seed to the few-shot task drawn with it; it has no test split.
        truth: examples of the dev file, on which nothing is fitted or selected.
        table: the choices of the task's space.
        templates: those of the seed prompts first, then random ones.
    """

    name: str
    draws: Mapping[int, Task]
    truth: tuple[Example, ...]
    table: CandidateTable
    templates: tuple[Template, ...]

    @classmethod
    def load(
        cls, folder: Path, space: str, seeds: Sequence[int], templates: int, truth: int
    ) -> Material:
        """Read a task's train and dev files and draw what the experiment needs.

        Args:
            folder: holds `task.yaml`, `train.jsonl` and `dev.jsonl`.
            space: a shipped search space.
            seeds: of the few-shot draws.
            templates: how many, those of the seed prompts included.
            truth: examples of the dev file, at most.
        """
        columns = read_description(folder / "task.yaml")
        train = load_examples(folder / "train.jsonl", columns, labelled=True)
        known = {example.key for example in train}
        others = [
            example
            for example in load_examples(folder / "dev.jsonl", columns, labelled=True)
            if example.key not in known
        ]
        fields, labels = tuple(columns.fields), tuple(columns.labels.values())
        draws = {}
        for seed in seeds:
            fit, dev = draw_k_shot(train, SHOTS, seed)
            dev = shuffled_by_label(dev, seed)
            draws[seed] = Task(
                folder.name, fields, labels, columns.metric, tuple(fit), tuple(dev), ()
            )
        order = generator(0, "truth").permutation(len(others))[:truth]
        restricted = SearchSpace.load(space).restricted(fields, labels)
        return cls(
            folder.name,
            draws,
            tuple(others[index] for index in order),
            CandidateTable(restricted),
            random_templates(restricted, templates),
        )

    @property
    def examples(self) -> list[Example]:
        """Every input that a prompt of the experiment may be asked to score, each once."""
        drawn = [example for task in self.draws.values() for example in (*task.train, *task.dev)]
        blank = inputs_without_content("contextual", self.table.space.fields)
        return list({example.key: example for example in (*drawn, *self.truth, *blank)}.values())


def random_templates(space: SearchSpace, count: int) -> tuple[Template, ...]:
    """The templates of the seed prompts, and others composed at random until there are `count`."""
    rng = generator(0, "templates")
    found = {seed.template.text: seed.template for seed in space.seeds}
    while len(found) < count:
        pattern = space.patterns[rng.integers(len(space.patterns))]
        options = space.slots or {}
        choices = {name: int(rng.integers(len(options[name]))) for name in pattern.slots}
        template = space.compose(pattern, choices)
        found.setdefault(template.text, template)
    return tuple(found.values())


class RecordedScorer(WordScorer):
    """A word scorer that looks its scores up.

    Args:
        model: whose encoder tells which words a mask can take.
        words: the columns.
        examples: the rows.
        found: frame key to word scores of shape `(examples, words)`.
    """

    def __init__(
        self,
        model: LanguageModel,
        words: Sequence[str],
        examples: Iterable[Example],
        found: Mapping[str, NDArray[np.float32]],
    ) -> None:
        super().__init__(model, words)
        self._row = {example.key: row for row, example in enumerate(examples)}
        self._found = found

    def scores(self, frame: Frame, examples: Sequence[Example]) -> NDArray[np.float32]:
        """Recorded log-probabilities of the words: shape `(examples, words)`."""
        return self._found[frame.key][[self._row[example.key] for example in examples]]


def word_scores(model: LanguageModel, material: Material, work: Path | None) -> RecordedScorer:
    """Score every word of the space in every template on every example.

    Args:
        model: the language model.
        material: the task's.
        work: a folder for the scores; what it holds of the same model, words, templates and
            examples is not computed again. None keeps nothing.
    """
    asked = words_to_score(material.table, model, ())
    words = [*asked.seeds, *asked.candidates]
    examples = material.examples
    frames = [Frame(template) for template in material.templates]
    file = None
    if work is not None:
        texts = [example.key for example in examples]
        key = digest([model.identity.weights, words, [frame.key for frame in frames], texts])
        file = work / f"{material.name}-{key}.npz"
    if file is not None and file.is_file():
        with np.load(file) as kept:
            return RecordedScorer(model, words, examples, dict(kept))
    scorer = WordScorer(model, words)
    found: dict[str, Any] = {frame.key: scorer.scores(frame, examples) for frame in frames}
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **found)
    return RecordedScorer(model, words, examples, found)
