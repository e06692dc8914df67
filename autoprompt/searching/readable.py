"""The part of a search space that a model can read.

A masked model knows no chats, a model that reads left to right nothing that stands behind the mask,
and many an instruction model no system message: what a space has of such is left out, and told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoprompt.errors import ModelError, TemplateError
from autoprompt.models.protocol import LanguageModel
from autoprompt.space_content import Pattern
from autoprompt.spaces import SearchSpace
from autoprompt.templates import Template


def readable(space: SearchSpace, model: LanguageModel) -> tuple[SearchSpace, list[str]]:
    """What of a space a model can read, and notes for the user on the rest.

    Args:
        space: restricted to the task.
        model: its family decides whether instructions are among it.

    Raises:
        TemplateError: no seed prompt is left.
        ModelError: the space demands a chat template, and the tokenizer has none.
    """
    reader = _Reader(space.for_family(model.identity.family), model)
    found = reader.space_left()
    notes = []
    if reader.refused:
        notes.append(
            f"{len(reader.refused)} seed prompts, patterns and options of the space are left out, "
            f"which this model cannot read; the first: {reader.refused[0]}"
        )
    if reader.chats and not model.encoder.writes_chats:
        if space.chat == "required":
            raise ModelError(
                f"space {space.name!r} demands a chat template (`chat: required`), and the "
                f"tokenizer of {model.identity.name!r} has none; take a model that was made for "
                f"chats, or write `chat: optional`"
            )
        notes.append(
            f"{reader.chats} seed prompts and patterns are chats, and the model's tokenizer has no "
            f"chat template: their parts are read as plain text, each on a new line"
        )
    return found, notes


class _Reader:
    """Tries the templates of a space on a model.

    Attributes:
        refused: why, for each seed prompt, pattern and option that is left out.
        chats: how many seed prompts and patterns that are left are chats.
    """

    def __init__(self, space: SearchSpace, model: LanguageModel) -> None:
        self.space, self.encoder = space, model.encoder
        self.refused: list[TemplateError] = []
        self.chats = 0

    def space_left(self) -> SearchSpace:
        """The space without what is refused."""
        space = self.space
        seeds = tuple(seed for seed in space.seeds if self._keeps(seed.template))
        if not seeds:
            raise self.refused[0]
        patterns = tuple(
            pattern
            for pattern in space.patterns
            if self._keeps(space.compose(pattern, self._start(pattern)))
        )
        slots = {
            name: self._options_left(name, [p for p in patterns if name in p.slots])
            for name in space.slots or {}
        }
        return replace(space, seeds=seeds, patterns=patterns, slots=slots)

    def _options_left(self, name: str, patterns: Sequence[Pattern]) -> tuple[str, ...]:
        """The options of a slot with which one of its patterns at least can be read."""
        options = (self.space.slots or {})[name]
        kept: list[str] = []
        for index, option in enumerate(options):
            templates = [
                self.space.compose(pattern, {**self._start(pattern), name: index})
                for pattern in patterns
            ]
            refusals = [refusal for refusal in map(self._refusal, templates) if refusal]
            if patterns and len(refusals) == len(patterns):
                self.refused.append(refusals[0])
            else:
                kept.append(option)
        return tuple(kept)

    def _start(self, pattern: Pattern) -> dict[str, int]:
        """A choice with which a pattern can be read: the first options, or with one other."""
        first = dict.fromkeys(pattern.slots, 0)
        others = [
            {**first, name: index}
            for name in pattern.slots
            for index in range(1, len((self.space.slots or {})[name]))
        ]
        for choice in (first, *others):
            if self._refusal(self.space.compose(pattern, choice)) is None:
                return choice
        return first

    def _keeps(self, template: Template) -> bool:
        refusal = self._refusal(template)
        self.refused += [refusal] if refusal else []
        self.chats += template.is_chat and refusal is None
        return refusal is None

    def _refusal(self, template: Template) -> TemplateError | None:
        try:
            self.encoder.check(template)
        except TemplateError as error:
            return error
        return None
