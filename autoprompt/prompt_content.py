"""What a prompt holds: all that a prediction needs beside the model's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from autoprompt.demonstrations import render as render_demonstrations
from autoprompt.errors import PromptError, listing, nearest_of
from autoprompt.files import digest
from autoprompt.lineage import Edit
from autoprompt.pieces import DEMONSTRATIONS, MASK
from autoprompt.retrieval import Retrieval, RetrievalPool
from autoprompt.space_content import CALIBRATIONS
from autoprompt.tasks.columns import Columns
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer


@dataclass(frozen=True)
class TriggerTokens:
    """The tokens of one trigger slot: ids, which are what is scored, and their strings."""

    ids: tuple[int, ...]
    strings: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """A correction of label scores.

    Attributes:
        method: one of `CALIBRATIONS`.
        offsets: one log-prior for each label, subtracted from the label scores; empty for "none".
    """

    method: str = "none"
    offsets: tuple[float, ...] = ()


@dataclass(frozen=True)
class ModelIdentity:
    """Which model a prompt was scored with.

    Attributes:
        name: a Hugging Face name, a directory, "embedded" or "embedded-causal".
        revision: the hub's revision, or "" for a directory.
        family: "masked", "causal" or "seq2seq".
        tokenizer: the tokenizer's fingerprint; a prompt is refused by another tokenizer.
        weights: digest of the weight files.
    """

    name: str
    revision: str
    family: str
    tokenizer: str
    weights: str


@dataclass(frozen=True)
class TokenRecord:
    """The exact ids that a prompt was scored with, for a check on loading.

    Attributes:
        probe: ids of the prompt with the word "text" in every field and one mask.
        words: the ids of each label word in this template's context.
        max_length: the most tokens that a sequence may have.
        ids_only: whether plain tokenization of the rendered text gives other ids than these.
    """

    probe: tuple[int, ...]
    words: Mapping[str, tuple[int, ...]]
    max_length: int
    ids_only: bool


@dataclass(frozen=True)
class Frame:
    """What the model sees of a prompt: all but the label words' meaning.

    Prompts with equal frames share their forward passes.

    Attributes:
        template: the template.
        triggers: the ids of each trigger slot.
        demonstrations: each as it is written in its slot, in order; one that does not fit into
            the model beside an example is left out as a whole.
        pool: what they are chosen from for each input, or None where all inputs are shown the same.
    """

    template: Template
    triggers: tuple[tuple[int, ...], ...] = ()
    demonstrations: tuple[str, ...] = ()
    pool: RetrievalPool | None = None

    @property
    def shown(self) -> str:
        """What stands for `{demonstrations}`; one of the pool, where inputs differ in it."""
        return self.pool.written[-1] if self.pool else "".join(self.demonstrations)

    @property
    def key(self) -> str:
        """A digest."""
        chosen = [self.pool.key] if self.pool else []
        return digest([self.template.text, self.triggers, self.demonstrations, *chosen])

    def seen_by(self, examples: Sequence[Example]) -> list[Frame]:
        """For each example the frame with what it is shown, and nothing left to choose."""
        if self.pool is None:
            return [self] * len(examples)
        return [
            replace(self, demonstrations=chosen, pool=None) for chosen in self.pool.chosen(examples)
        ]


@dataclass(frozen=True)
class PromptContent:
    """Template, verbalizer, trigger tokens, demonstrations and calibration, frozen.

    Attributes:
        demonstrations: shown to all inputs; or, with `retrieval`, what those of an input are
            chosen from.
        retrieval: how they are chosen.
        model: the model that it was found on; None for a prompt that nothing has scored.
        tokens: the ids that it was scored with; None as above.
        lineage: where it came from, the oldest first.
        scores: split name to measures (`value`, `n`, `low`, `high`).
        splits: split name to digest of the data that the scores were measured on.
        versions: of the packages that made it.
        seed: of the run that found it.
        columns: of the data that it was found on: which ones hold texts and label, and how labels
            are named.
    """

    template: Template
    verbalizer: Verbalizer
    triggers: tuple[TriggerTokens, ...] = ()
    demonstrations: tuple[Example, ...] = ()
    calibration: Calibration = Calibration()
    model: ModelIdentity | None = None
    tokens: TokenRecord | None = None
    lineage: tuple[Edit, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    splits: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    columns: Columns = field(default_factory=Columns)
    retrieval: Retrieval | None = None

    def __post_init__(self) -> None:
        if len(self.verbalizer.labels) < 2:
            raise PromptError(
                f"a prompt needs two labels at least; it has: {listing(self.verbalizer.labels)}"
            )
        counts = tuple(len(trigger.ids) for trigger in self.triggers)
        if counts != self.template.trigger_counts:
            raise PromptError(
                f"template {self.template.text!r} wants trigger tokens "
                f"{self.template.trigger_counts}, the prompt has {counts}"
            )
        self._check_demonstrations()
        self._check_calibration()

    def _check_demonstrations(self) -> None:
        if self.demonstrations and not self.template.has_demonstrations:
            raise PromptError(f"template {self.template.text!r} has no {{demonstrations}} slot")
        if self.retrieval and not self.demonstrations:
            raise PromptError(
                "a prompt that chooses demonstrations for each input has none to choose from"
            )
        for example in self.demonstrations:
            if example.label not in self.verbalizer.labels:
                raise PromptError(
                    f"a demonstration has the label {example.label!r}; the prompt's labels are: "
                    f"{listing(self.verbalizer.labels)}"
                )
            if missing := [name for name in self.template.fields if name not in example.fields]:
                raise PromptError(f"a demonstration has no text for {listing(missing)}")

    def _check_calibration(self) -> None:
        method, offsets = self.calibration.method, self.calibration.offsets
        if method not in CALIBRATIONS:
            raise PromptError(
                f"unknown calibration {method!r}; {nearest_of(method, CALIBRATIONS)}"
                f"valid: {listing(CALIBRATIONS)}"
            )
        expected = 0 if method == "none" else len(self.verbalizer.labels)
        if len(offsets) != expected:
            raise PromptError(
                f"calibration {method!r} has {len(offsets)} offsets; it must have {expected} (one "
                f"for each label, none without calibration)"
            )
        if not all(math.isfinite(offset) for offset in offsets):
            raise PromptError("a calibration's offsets must be finite numbers")

    @property
    def frame(self) -> Frame:
        """What the model sees."""
        strings = ["".join(trigger.strings) for trigger in self.triggers]
        ids = tuple(trigger.ids for trigger in self.triggers)
        written = render_demonstrations(
            self.template, self.demonstrations, self.verbalizer, strings
        )
        if self.retrieval is None:
            return Frame(self.template, ids, written)
        pool = RetrievalPool(self.retrieval, self.demonstrations, written)
        return Frame(self.template, ids, pool=pool)

    @property
    def shown_to_all(self) -> tuple[Example, ...]:
        """The demonstrations that every input is shown, itself among them or not."""
        return () if self.retrieval else self.demonstrations

    @property
    def shown(self) -> str:
        """The template as it reads: trigger tokens in their places, slots as slots."""
        strings = ["".join(trigger.strings) for trigger in self.triggers]
        slots = {name: f"{{{name}}}" for name in self.template.fields}
        place = f"{{{DEMONSTRATIONS}}}" if self.template.has_demonstrations else ""
        return self.template.render(slots, f"{{{MASK}}}", strings, place)

    @property
    def digest(self) -> str:
        """Names what the prompt does. Calibration counts by method: its numbers follow from it."""
        return digest(
            [
                self.template.text,
                [self.verbalizer.as_dict(), self.verbalizer.aggregation],
                [trigger.ids for trigger in self.triggers],
                [[*example.key, example.label] for example in self.demonstrations],
                self.calibration.method,
                *([vars(self.retrieval)] if self.retrieval else []),
            ]
        )

    def with_scores(self, split: str, measures: Mapping[str, Any], data_digest: str) -> Self:
        """This prompt with the measures of one more split."""
        return replace(
            self,
            scores={**self.scores, split: dict(measures)},
            splits={**self.splits, split: data_digest},
        )
