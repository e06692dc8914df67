"""What a search space holds: an expert's prompts, and what a search may vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoprompt.templates import Template

CALIBRATIONS = ("none", "contextual", "pmi", "batch")
SIMILAR = "similar"  # demonstrations that are chosen for each input
FIXED_SELECTIONS = ("random", "class")  # of the same ones for all inputs
SELECTIONS = (*FIXED_SELECTIONS, SIMILAR)
ORDERS = ("mixed", "grouped")
WORD_METHODS = ("likelihood ratio", "label head", "assignment", "regularised")
RECIPES = ("default", "manual", "petal", "lm-bff", "autoprompt")
ROBUSTNESS = ("none", "gate", "objective")
CHAT = ("optional", "required")
TRIGGER_POSITIONS = ("own_words", "before_mask", "prefix", "suffix")


@dataclass(frozen=True)
class SeedPrompt:
    """A prompt that an expert wrote."""

    template: Template
    words: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Pattern:
    """A template with composition slots.

    Attributes:
        text: the pattern.
        slots: the names of the slots that the space fills, in order, each once.
    """

    text: str
    slots: tuple[str, ...]


@dataclass(frozen=True)
class TriggerPlan:
    """Trigger tokens that a search may add.

    Attributes:
        max_tokens: in one prompt.
        positions: some of `TRIGGER_POSITIONS`; see `searching.trigger_slots`.
        fluency: weight of the trigger tokens' own loss as language, in nats a token.
        anti_collapse: weight of the term against predicting one label for all.
    """

    max_tokens: int = 5
    positions: tuple[str, ...] = ("own_words", "before_mask")
    fluency: float = 0.0
    anti_collapse: float = 0.0


@dataclass(frozen=True)
class Instructions:
    """What models that were made to follow instructions get beside the rest.

    Attributes:
        seeds, patterns, slots: as those of `SpaceContent`, whose slots the patterns may use too.
    """

    seeds: tuple[SeedPrompt, ...] = ()
    patterns: tuple[Pattern, ...] = ()
    slots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SpaceContent:
    """What a search starts from and may vary.

    Attributes:
        name: for people and for `--space`.
        fields: the fields that a task must have.
        label_sets: the sets of labels that the space can serve, one at least.
        seeds: expert prompts; scored first, the best of them is the baseline.
        patterns: templates that the search may compose, from `slots`.
        slots: slot name to its options (template text).
        candidates: label to words that may stand for it, beside the seeds' words.
        words_per_label: the fewest and most words a label when words are fitted.
        fit_words: whether the search may fit label words on train.
        word_methods: how it may, some of `WORD_METHODS`.
        vocabulary: how many words of the model's own vocabulary join the candidates.
        generated: how many templates the model itself may write, starting from the best seed.
        triggers: trigger tokens that may be searched, or None.
        demonstrations: numbers of demonstrations a label that may be tried.
        selections: ways to choose them, some of `SELECTIONS`.
        orders: in which they may stand, some of `ORDERS`.
        calibration: methods that may be tried.
        instructions: for causal and seq2seq models alone; masked ones never see them.
        chat: one of `CHAT`: whether templates that are chats may be read as plain text where the
            tokenizer has no chat template, or such a model is refused.
        banned_templates: texts of templates that no trial may score.
        banned_words: normalised words that no label may get.
    """

    name: str
    fields: tuple[str, ...]
    label_sets: tuple[tuple[str, ...], ...]
    seeds: tuple[SeedPrompt, ...]
    patterns: tuple[Pattern, ...] = ()
    slots: Mapping[str, tuple[str, ...]] | None = None
    candidates: Mapping[str, tuple[str, ...]] | None = None
    words_per_label: tuple[int, int] = (1, 1)
    fit_words: bool = False
    word_methods: tuple[str, ...] = WORD_METHODS[:1]
    vocabulary: int = 0
    generated: int = 0
    triggers: TriggerPlan | None = None
    demonstrations: tuple[int, ...] = (0,)
    selections: tuple[str, ...] = SELECTIONS[:1]
    orders: tuple[str, ...] = ORDERS[:1]
    calibration: tuple[str, ...] = ("none",)
    instructions: Instructions = Instructions()
    chat: str = CHAT[0]
    description: str = ""
    banned_templates: tuple[str, ...] = ()
    banned_words: tuple[str, ...] = ()
