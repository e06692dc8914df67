"""The rows of the table: parts of our search, and the neighbours' recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from autoprompt.space_content import WORD_METHODS, TriggerPlan
from autoprompt.spaces import SearchSpace

Change = Callable[[SearchSpace], SearchSpace]
VOCABULARY = 1000
GENERATED = 20
TRIGGERS = TriggerPlan(3, ("own_words", "before_mask"))


@dataclass(frozen=True)
class Method:
    """One row.

    Attributes:
        space: what is taken of a task's shipped space, and added to it.
        recipe: the way to search.
    """

    space: Change
    recipe: str = "default"


def structure(space: SearchSpace) -> SearchSpace:
    """Composed templates and calibration, the seeds' words."""
    return replace(space, fit_words=False, candidates={})


def words(space: SearchSpace) -> SearchSpace:
    """And words fitted from the listed candidates, by likelihood ratio."""
    return replace(space, word_methods=WORD_METHODS[:1], vocabulary=0)


def word_methods(space: SearchSpace) -> SearchSpace:
    """And words fitted by any of the four methods."""
    return replace(words(space), word_methods=WORD_METHODS)


def vocabulary(space: SearchSpace) -> SearchSpace:
    """And words of the model's own vocabulary, by any of the four methods."""
    return replace(word_methods(space), vocabulary=VOCABULARY)


def triggers(space: SearchSpace) -> SearchSpace:
    """Words, and trigger tokens."""
    return replace(words(space), triggers=TRIGGERS)


def generated(space: SearchSpace) -> SearchSpace:
    """Words, and templates that the model writes."""
    return replace(words(space), generated=GENERATED)


def everything(space: SearchSpace) -> SearchSpace:
    """All of it."""
    return replace(vocabulary(space), triggers=TRIGGERS, generated=GENERATED)


def shipped(space: SearchSpace) -> SearchSpace:
    """The space as it ships: our default."""
    return space


METHODS = {
    "expert seed alone": Method(shipped, "manual"),
    "+ structure": Method(structure),
    "+ label words, listed": Method(words),
    "+ label words, four methods": Method(word_methods),
    "+ label words, vocabulary": Method(vocabulary),
    "+ triggers": Method(triggers),
    "+ generated templates": Method(generated),
    "everything": Method(everything),
    "recipe autoprompt": Method(shipped, "autoprompt"),
    "recipe lm-bff-fill": Method(shipped, "lm-bff"),
    "recipe petal": Method(shipped, "petal"),
}
