"""What may stand right before the mask in a space's templates: it decides how a word is spelt.

A space may hold a million templates, but they end in few ways before the mask. So the options of
its slots are followed leftwards from the mask, only as far as the text there bears on the word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from autoprompt.demonstrations import with_demonstrations
from autoprompt.models.sections import PROBE, context_of, ending_of
from autoprompt.pieces import (
    DEMONSTRATIONS,
    Demonstrations,
    Field,
    Literal,
    Mask,
    Piece,
    pieces_of,
    slot_names,
)
from autoprompt.prompts import Frame
from autoprompt.space_content import Pattern
from autoprompt.spaces import SearchSpace

SHOWN = f"{PROBE} "  # demonstrations end in some word and a space
Pieces = tuple[Piece, ...]
Choices = Mapping[str, int]


def frames_of(space: SearchSpace, patterns: Iterable[Pattern]) -> list[Frame]:
    """One frame for each text that may stand right before the mask.

    Args:
        space: has the options of the patterns' slots.
        patterns: what is composed.

    Returns:
        Frames with different contexts, which are those of all templates, with and without
        demonstrations where the space has some. Their trigger slots are not filled.
    """
    found: dict[str, Frame] = {}
    for pattern in patterns:
        for choices in _Walk(space, pattern).endings():
            template = space.compose(pattern, {**dict.fromkeys(pattern.slots, 0), **choices})
            frame = Frame(template)
            if choices.get(DEMONSTRATIONS):
                frame = Frame(with_demonstrations(template), demonstrations=(SHOWN,))
            found.setdefault(context_of(frame), frame)
    return list(found.values())


class _Walk:
    """From the end of a pattern to the left, through the options of its slots."""

    def __init__(self, space: SearchSpace, pattern: Pattern) -> None:
        self.pieces = tuple(pieces_of(pattern.text))
        if Demonstrations() not in self.pieces:
            self.pieces = (Demonstrations(), *self.pieces)
        self.options: dict[str, list[Pieces]] = {
            name: [tuple(pieces_of(option)) for option in (space.slots or {})[name]]
            for name in pattern.slots
        }
        # Demonstrations are there or not, like a slot with two options.
        shown: list[Pieces] = [(Literal(SHOWN),)] if any(space.demonstrations) else []
        self.options[DEMONSTRATIONS] = [(), *shown]
        names = slot_names(pattern.text)
        self.repeated = [name for name in self.options if names.count(name) > 1]
        self.seen: set[object] = set()

    def endings(self) -> Iterator[Choices]:
        """Choices of options, one or more for each text before the mask."""
        yield from self._followed(self.pieces, None, {})

    def _followed(self, before: Pieces, text: str | None, choices: Choices) -> Iterator[Choices]:
        """Go on to the left.

        Args:
            before: what is left of the place reached.
            text: what stands between there and the mask; None to the right of the mask.
            choices: made on the way. Those of repeated slots bind what is to come.
        """
        state = (before, text, tuple(choices.get(name) for name in self.repeated))
        if state in self.seen:
            return
        self.seen.add(state)
        if text is not None and (not before or ending_of(text) != text):
            yield choices  # whatever stands further left, the end stays as it is
            return
        rest, piece = before[:-1], before[-1]
        name = piece.name if isinstance(piece, Field) else DEMONSTRATIONS
        if isinstance(piece, Demonstrations) or (isinstance(piece, Field) and name in self.options):
            for index, option in enumerate(self.options[name]):
                if choices.get(name, index) == index:
                    yield from self._followed((*rest, *option), text, {**choices, name: index})
        elif isinstance(piece, Mask):
            yield from self._followed(rest, "", choices)
        else:
            own = piece.text if isinstance(piece, Literal) else PROBE
            yield from self._followed(rest, text if text is None else own + text, choices)
