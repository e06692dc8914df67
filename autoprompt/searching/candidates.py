"""What a trial may choose: from Optuna's parameters to a candidate.

Nothing is scored here, and nothing of Optuna is imported: `Chooser` is the part of its trial
that is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from autoprompt.lineage import Edit, nearest
from autoprompt.pieces import Trigger, pieces_of, slot_names
from autoprompt.prompts import Frame
from autoprompt.searching.mask_contexts import frames_of
from autoprompt.space_content import ORDERS, SELECTIONS, SIMILAR, WORD_METHODS, Pattern
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Template
from autoprompt.verbalizers import AGGREGATIONS, Verbalizer

FITTED, AS_WRITTEN = "fitted", "a seed's"
DRAWS = 8  # different sets of demonstrations that a trial may ask for
WRITTEN, BY_MODEL = "written", "by the model"


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
        template: composed, or written by the model.
        words: index of the seed verbalizer, or None where words are fitted.
        method: how they are fitted, one of `WORD_METHODS`.
        per_label: how many words a label are fitted.
        aggregation, calibration: methods.
        demonstrations: how many a label.
        draw: which draw of them.
        select: how they are chosen, one of `SELECTIONS`.
        order: how they are ordered, one of `ORDERS`.
        verbalizer: words that were fitted before; then `words` and `method` do not count.
        triggers: ids for the template's trigger slots; none: blank ones.
        label_fitted: whether template, triggers or demonstrations were found with train's labels in
            sight, so that only dev can judge them.
        how: what made it, for the lineage.
        lineage: what it was made from, the oldest first.
    """

    template: Template
    words: int | None
    per_label: int = 1
    aggregation: str = AGGREGATIONS[0]
    calibration: str = "none"
    demonstrations: int = 0
    draw: int = 0
    method: str = WORD_METHODS[0]
    verbalizer: Verbalizer | None = None
    triggers: tuple[tuple[int, ...], ...] = ()
    label_fitted: bool = False
    how: str = ""
    lineage: tuple[Edit, ...] = ()
    select: str = SELECTIONS[0]
    order: str = ORDERS[0]

    @property
    def fits_words(self) -> bool:
        """Whether its label words are fitted on train."""
        return self.words is None and self.verbalizer is None

    @property
    def is_fitted(self) -> bool:
        """Whether its scores on train depend on train."""
        return self.fits_words or self.calibration == "batch"


@dataclass(frozen=True)
class ModelTemplate:
    """A template that the language model wrote.

    Attributes:
        template: the template.
        path: the texts of the templates on the way to it, from the seed on.
    """

    template: Template
    path: tuple[str, ...]


class CandidateTable:
    """The choices that a space leaves open.

    Args:
        space: restricted to the task.

    Attributes:
        written: templates by the model; filled in once the seeds are scored.
        generator: how they were made, for the lineage.
        written_with_labels: whether train's labels were in sight then.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.verbalizers = space.verbalizers()
        self.patterns: dict[str, Pattern] = {}
        for seed in space.seeds:
            self.patterns.setdefault(seed.template.text, Pattern(seed.template.text, ()))
        for pattern in space.patterns:
            self.patterns.setdefault(pattern.text, pattern)
        self._frames = frames_of(space, self.patterns.values())
        self.words = [f"seed {i + 1}" for i in range(len(self.verbalizers))]
        self.written: list[ModelTemplate] = []
        self.generator = ""
        self.written_with_labels = False

    @property
    def seeds(self) -> int:
        """The number of seed prompts."""
        return len(self.space.seeds)

    @property
    def templates(self) -> int:
        """The number of templates (choices of pattern and slots), the model's own included."""
        composed = sum(self.space.compositions(pattern) for pattern in self.patterns.values())
        return composed + self.space.generated

    @property
    def trigger_tokens(self) -> int:
        """The most trigger tokens that a template of the space has in slots of its own."""
        slots = self.space.slots or {}
        most = {name: max(map(_trigger_tokens, options)) for name, options in slots.items()}
        return max(
            _trigger_tokens(pattern.text)
            + sum(most.get(name, 0) for name in slot_names(pattern.text))
            for pattern in self.patterns.values()
        )

    def frames(self) -> list[Frame]:
        """One frame for each text that may stand right before the mask; see `frames_of`."""
        return self._frames

    def seed_edit(self, index: int) -> Edit:
        """A seed prompt as the beginning of a lineage."""
        seed = self.space.seeds[index]
        words = {label: tuple(seed.words[label]) for label in self.space.labels}
        return Edit(f"seed prompt {index + 1}", seed.template.text, words)

    def seed_parameters(self, index: int) -> dict[str, Any]:
        """The parameters with which `suggest` gives the seed prompt, as the expert wrote it."""
        return {
            "source": WRITTEN,
            "template": self.space.seeds[index].template.text,
            "words": AS_WRITTEN,
            "seed words": self.words[self.seed_words(index)],
            "aggregation": AGGREGATIONS[0],
            "calibration": "none",
            "demonstrations": 0,
        }

    def opening_parameters(self) -> list[dict[str, Any]]:
        """Parameters of every seed's template with words fitted to it, by each method.

        The seeds have been through the model by then, so that most of these cost array time only,
        and the search begins with the better of them known.
        """
        if not self.space.fit_words:
            return []
        texts = dict.fromkeys(seed.template.text for seed in self.space.seeds)
        methods = self.space.word_methods
        return [
            {
                "source": WRITTEN,
                "template": text,
                "words": FITTED,
                "word method": method,
                "words per label": self.space.words_per_label[1],
                "aggregation": AGGREGATIONS[0],
                "calibration": "batch" if "batch" in self.space.calibration else "none",
                "demonstrations": 0,
            }
            for text in texts
            for method in methods
        ]

    def seed_words(self, index: int) -> int:
        """The index of a seed prompt's verbalizer."""
        known = [verbalizer.as_dict() for verbalizer in self.verbalizers]
        seed = self.space.seeds[index]
        return known.index({label: list(seed.words[label]) for label in self.space.labels})

    def suggest(self, trial: Chooser) -> Candidate:
        """Ask for the parameters of one candidate. Those without a choice are not asked for."""
        made = self._template(trial)
        sources = [FITTED, AS_WRITTEN] if self.space.fit_words else [AS_WRITTEN]
        fitted = self._one_of(trial, "words", sources) == FITTED
        method, words = made.method, None
        if fitted:
            method = self._one_of(trial, "word method", self.space.word_methods)
        else:
            words = self.words.index(self._one_of(trial, "seed words", self.words))
        low, high = self.space.words_per_label
        per_label = (
            trial.suggest_int("words per label", low, high) if fitted and low < high else low
        )
        several = (
            per_label > 1
            if words is None
            else any(len(group) > 1 for group in self.verbalizers[words].words)
        )
        aggregation = self._one_of(trial, "aggregation", AGGREGATIONS) if several else "logsumexp"
        calibration = self._one_of(trial, "calibration", self._with_none(self.space.calibration))
        # Fitted words would stand in the demonstrations, where no fold can be left out.
        numbers = [0] if fitted else self._with_zero(self.space.demonstrations)
        shown = self._one_of(trial, "demonstrations", numbers)
        if shown:
            made = self._shown(trial, made)
        return replace(
            made,
            words=words,
            method=method,
            per_label=per_label,
            aggregation=aggregation,
            calibration=calibration,
            demonstrations=shown,
        )

    def _shown(self, trial: Chooser, made: Candidate) -> Candidate:
        """A candidate of which it is chosen which demonstrations are shown, and in what order."""
        select = self._one_of(trial, "selection of demonstrations", self.space.selections)
        order = self._one_of(trial, "order of demonstrations", self.space.orders)
        draw = 0  # what is chosen for each input is not drawn
        if select != SIMILAR:
            draw = trial.suggest_int("draw of demonstrations", 0, DRAWS - 1)
        # Every train example has drawn its label's centroid, and what is shown, towards itself.
        label_fitted = made.label_fitted or select == "class"
        return replace(made, select=select, order=order, draw=draw, label_fitted=label_fitted)

    def _template(self, trial: Chooser) -> Candidate:
        """A candidate of which only the template and its origin are chosen."""
        sources = [WRITTEN, BY_MODEL] if self.space.generated else [WRITTEN]
        if self._one_of(trial, "source", sources) == BY_MODEL and self.written:
            return self.model_written(trial.suggest_int("own template", 0, len(self.written) - 1))
        text = self._one_of(trial, "template", list(self.patterns))
        pattern = self.patterns[text]
        options: Mapping[str, tuple[str, ...]] = self.space.slots or {}
        choices = {
            name: options[name].index(self._one_of(trial, f"slot {name}", list(options[name])))
            for name in pattern.slots
        }
        template = self.space.compose(pattern, choices)
        return self.composed(template, "composed by the search")

    def composed(self, template: Template, how: str) -> Candidate:
        """A candidate with a template; its lineage begins with the seed that reads most like it."""
        texts = [seed.template.text for seed in self.space.seeds]
        return Candidate(
            template, 0, how=how, lineage=(self.seed_edit(nearest(template.text, texts)),)
        )

    def model_written(self, index: int) -> Candidate:
        """A candidate with one of the templates that the model wrote."""
        made = self.written[index]
        first, *others = made.path or (made.template.text,)  # a T5 edits no seed
        texts = [seed.template.text for seed in self.space.seeds]
        seed = self.seed_edit(nearest(first, texts))
        steps = [Edit(self.generator, text, seed.words) for text in others]
        return Candidate(
            made.template,
            0,
            label_fitted=self.written_with_labels,
            how=self.generator,
            lineage=(seed, *steps),
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


def _trigger_tokens(text: str) -> int:
    """How many trigger tokens the slots of a pattern or an option hold."""
    return sum(piece.count for piece in pieces_of(text) if isinstance(piece, Trigger))
