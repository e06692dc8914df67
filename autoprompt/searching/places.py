"""Where a template may be edited: its words, and the gaps beside words and slots. Text only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autoprompt.models.sections import PROBE
from autoprompt.pieces import Demonstrations, Field, Literal, Mask, Piece, Trigger, written
from autoprompt.prompts import Frame
from autoprompt.templates import Template

PUNCTUATION = (".", ",", "!", "?", ":", ";")
# Words (with inner apostrophes and hyphens), white space, and any other character by itself.
_UNIT = re.compile(r"\w+(?:['’-]\w+)*|\s+|[^\w\s]")
_MASK_SLOT = Literal(PROBE)  # stands for the label word in the text before a place


@dataclass(frozen=True)
class Place:
    """Where a word may be written.

    Attributes:
        before: what stands before it, without the space that a word has of its own.
        after: what stands after it.
        spaced: whether a word here has a space before it.
        word: the word that stands here now; empty for a gap.
        stops: whether punctuation may stand here, which then touches what is before it.
        shorter: the template without the word; empty where none can be left out.
    """

    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    spaced: bool
    word: str = ""
    stops: bool = False
    shorter: str = ""

    def text(self, piece: str, touching: bool = False) -> str:
        """The template's text with a piece of template text here."""
        space = " " if self.spaced and not touching else ""
        return f"{written(self.before)}{space}{piece}{written(self.after)}"

    def context(self, touching: bool = False) -> Frame:
        """A frame whose mask stands here, with the same text before it."""
        before = [_MASK_SLOT if isinstance(piece, Mask) else piece for piece in self.before]
        space = " " if self.spaced and not touching else ""
        return Frame(Template.parse(f"{written(before)}{space}{{mask}} {{{PROBE}}}"))

    @property
    def neighbours(self) -> set[str]:
        """The words on both sides, case-folded: none is written twice in a row."""
        sides = (_last(self.before), _last(self.after[::-1]))
        return {_text(side).casefold() for side in sides if _is_word(side)}

    def recased(self, word: str) -> str:
        """The template's text with a word of a model that has no capitals.

        A word takes the case of the one that it replaces. A new one begins with a capital at the
        beginning of a sentence, and before a word that did, which loses its own.
        """
        if self.word:
            return self.text(word.capitalize() if self.word.istitle() else word)
        last, following = _last(self.before), _last(self.after[::-1])
        if _text(following).istitle() and _text(following) != "I":
            at = self.after.index(Literal(_text(following)))
            after = (*self.after[:at], Literal(_text(following).lower()), *self.after[at + 1 :])
            return replace(self, after=after).text(word.capitalize())
        opens = last is None or (isinstance(last, Literal) and last.text in ".!?")
        return self.text(word.capitalize() if opens else word)


def places_of(template: Template) -> list[Place]:
    """The words of a template that stand by themselves, and the gaps where a word may go."""
    units: list[Piece] = []
    for piece in template.pieces:
        if isinstance(piece, Literal):
            units += [Literal(text) for text in _UNIT.findall(piece.text)]
        else:
            units.append(piece)
    found = [_word_place(units, at) for at, unit in enumerate(units) if _is_word(unit)]
    found += [_gap_place(units, at) for at in range(len(units) + 1)]
    return [place for place in found if place is not None]


def _word_place(units: list[Piece], at: int) -> Place | None:
    left, right = _around(units, at, at + 1)
    if _is_slot(left) or _is_slot(right) or isinstance(right, Demonstrations):
        return None  # a part of what the slot makes
    word, after = _text(units[at]), tuple(units[at + 1 :])
    if _text(left).endswith(" "):
        kept = _text(left)[:-1]  # the last space belongs to the word
        before = (*units[: at - 1], *([Literal(kept)] if kept else []))
        shorter = written([*units[: at - 1], *after])
        return Place(before, after, True, word, not kept and _takes_stop(before, after), shorter)
    shorter = written([*units[:at], *after[1:]]) if _text(right).isspace() else ""
    return Place(tuple(units[:at]), after, False, word, shorter=shorter)


def _gap_place(units: list[Piece], at: int) -> Place | None:
    (left, right), before, after = _around(units, at, at), tuple(units[:at]), tuple(units[at:])
    if left is None or isinstance(left, Demonstrations):  # demonstrations end in a space
        closes = _text(right).strip("([{\"'“‘") == _text(right) and not _is_word(right)
        if right is None or isinstance(right, Demonstrations) or (_text(right) and closes):
            return None
        return Place(before, (Literal(" "), *after), False)
    if _text(left).isspace():
        return None  # the gap before the white space is the same
    stops = _takes_stop(before, after)
    if right is None or _text(right).isspace():
        return Place(before, after, True, stops=stops)
    if _text(right) in (*PUNCTUATION, ")") and (_is_word(left) or _is_slot(left)):
        return Place(before, after, True)
    if _is_slot(left) and _is_slot(right):
        return Place(before, (Literal(" "), *after), True, stops=stops)
    return None


def _takes_stop(before: Sequence[Piece], after: Sequence[Piece]) -> bool:
    """Whether punctuation fits: after a word or slot, and not before more punctuation."""
    last, following = (before[-1] if before else None), _last(after[::-1])
    touched = _is_word(last) or _is_slot(last)
    return touched and (following is None or _is_word(following) or _is_slot(following))


def _around(units: Sequence[Piece], start: int, end: int) -> tuple[Piece | None, Piece | None]:
    return (units[start - 1] if start else None), (units[end] if end < len(units) else None)


def _last(pieces: Sequence[Piece]) -> Piece | None:
    """The last piece that is not white space."""
    return next((piece for piece in reversed(pieces) if not _text(piece).isspace()), None)


def _text(piece: Piece | None) -> str:
    return piece.text if isinstance(piece, Literal) else ""


def _is_word(piece: Piece | None) -> bool:
    return bool(re.match(r"\w", _text(piece)))


def _is_slot(piece: Piece | None) -> bool:
    return isinstance(piece, Field | Mask | Trigger)
