"""How an encoder writes a prompt, as plain values: what another program needs to do the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autoprompt.pieces import Demonstrations, Field, Literal, Mask, Piece, Trigger, merged
from autoprompt.prompts import Frame

# Stands for demonstrations while a template is written with words in their place; the space at its
# end is there because all demonstrations end in white space.
MARK = "\ue000demonstrations\ue000 "


@dataclass(frozen=True)
class Run:
    """A part of a chat's message that is trimmed as one.

    Attributes:
        pieces: literals, fields and demonstrations.
        trims_left, trims_right: whether white space at its ends goes.
    """

    pieces: tuple[Piece, ...]
    trims_left: bool
    trims_right: bool


@dataclass(frozen=True)
class Layout:
    """How an encoder turns a frame into ids, but for the tokenizer's own work.

    Attributes:
        pieces: what is read, in order; for a causal model up to the word.
        head, tail: special tokens at the ends.
        mask_strips: whether a mask swallows white space on its left, and on its right.
        controls: the tokens that a chat is written with; empty for plain text.
        decoder_start: what a decoder begins with; -1 where there is none.
        decoder_asks: what it reads behind that, if not the text up to the mask.
    """

    pieces: tuple[Piece | Run, ...]
    head: tuple[int, ...]
    tail: tuple[int, ...]
    mask_strips: tuple[bool, bool] = (False, False)
    controls: tuple[str, ...] = ()
    decoder_start: int = -1
    decoder_asks: tuple[int, ...] = ()

    def records(self, frame: Frame) -> list[dict[str, Any]]:
        """The pieces as JSON values, with the frame's trigger ids."""
        triggers = iter(frame.triggers)
        return [
            {"ids": list(next(triggers))} if isinstance(piece, Trigger) else _record(piece)
            for piece in self.pieces
        ]


def with_places(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Pieces with demonstrations in the place of their mark."""
    found: list[Piece] = []
    for piece in pieces:
        if not isinstance(piece, Literal):
            found.append(piece)
            continue
        for number, text in enumerate(piece.text.split(MARK)):
            found += [Demonstrations()] if number else []
            found.append(Literal(text))
    return merged(found)


def _record(piece: Piece | Run) -> dict[str, Any]:
    if isinstance(piece, Run):
        return {
            "run": [_record(part) for part in piece.pieces],
            "trim": [piece.trims_left, piece.trims_right],
        }
    if isinstance(piece, Literal):
        return {"text": piece.text}
    if isinstance(piece, Field):
        return {"field": piece.name}
    return {"mask": True} if isinstance(piece, Mask) else {"demonstrations": True}


def runs_between(part: Sequence[Piece]) -> Iterator[tuple[Piece, ...]]:
    """The pieces between the trigger slots of a message."""
    run: list[Piece] = []
    for piece in part:
        if isinstance(piece, Trigger):
            yield tuple(run)
            run = []
        else:
            run.append(piece)
    yield tuple(run)
