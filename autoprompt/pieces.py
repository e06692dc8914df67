"""What templates and patterns are made of: literals and slots, and how they are written.

A slot is a name in braces; a literal brace is written twice. One scanner reads all of it, and
evaluates nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprompt.errors import TemplateError, listing

MASK = "mask"
DEMONSTRATIONS = "demonstrations"
TRIGGER = "trigger"
RESERVED = (MASK, DEMONSTRATIONS, TRIGGER)
SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
ROLES = (SYSTEM, USER, ASSISTANT)
ROLE_MARKS = tuple(f"{role}:" for role in ROLES)  # as `slot_names` gives them
MAX_TRIGGERS = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Literal:
    """The template's own words."""

    text: str


@dataclass(frozen=True)
class Field:
    """The place of one of the example's texts."""

    name: str


@dataclass(frozen=True)
class Mask:
    """Where the label word stands."""


@dataclass(frozen=True)
class Trigger:
    """A run of `count` trigger tokens."""

    count: int


@dataclass(frozen=True)
class Demonstrations:
    """Where the demonstrations stand."""


@dataclass(frozen=True)
class Role:
    """Where the part of one role begins: the template is a chat."""

    name: str


Piece = Literal | Field | Mask | Trigger | Demonstrations | Role


def merged(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The pieces with literals that touch made one, and without empty ones."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, Literal) and isinstance(last, Literal):
            found[-1] = Literal(last.text + piece.text)
        elif piece != Literal(""):
            found.append(piece)
    return tuple(found)


def written(pieces: Sequence[Piece]) -> str:
    """Pieces as the text of a template, not checked.

    >>> written([Field("text"), Literal(" {so} "), Mask()])
    '{text} {{so}} {mask}'
    """
    return "".join(piece_text(piece) for piece in pieces)


def piece_text(piece: Piece) -> str:
    """A piece as it is written in a template."""
    if isinstance(piece, Literal):
        return escape(piece.text)
    if isinstance(piece, Field):
        return f"{{{piece.name}}}"
    if isinstance(piece, Trigger):
        return f"{{{TRIGGER}:{piece.count}}}"
    if isinstance(piece, Role):
        return f"{{{piece.name}:}}"
    return f"{{{MASK if isinstance(piece, Mask) else DEMONSTRATIONS}}}"


def escape(text: str) -> str:
    """Text as it must be written in a template to stand for itself.

    >>> escape("f{x}")
    'f{{x}}'
    """
    return text.replace("{", "{{").replace("}", "}}")


def slot_names(text: str) -> list[str]:
    """The names in braces of a template or pattern, in order, without checking what they mean.

    Raises:
        TemplateError: a brace is stray or a name is malformed.
    """
    return [inside for kind, inside in _scan(text) if kind == "slot"]


def substitute(pattern: str, choices: Mapping[str, str]) -> str:
    """A pattern with some of its slots replaced by template text; the others stay slots.

    >>> substitute("{text} {stem} {mask}{end}", {"stem": "It was", "end": "."})
    '{text} It was {mask}.'
    """
    parts = []
    for kind, inside in _scan(pattern):
        if kind == "text":
            parts.append(escape(inside))
        else:
            parts.append(choices.get(inside, f"{{{inside}}}"))
    return "".join(parts)


def _scan(text: str) -> list[tuple[str, str]]:
    """Cut a template into ("text", characters) and ("slot", name) parts in one pass."""
    parts: list[tuple[str, str]] = []
    plain: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        if char not in "{}":
            plain.append(char)
            position += 1
        elif text.startswith(char * 2, position):
            plain.append(char)
            position += 2
        else:
            end = text.find("}", position) if char == "{" else -1
            if end < 0:
                raise TemplateError(
                    f"stray {char!r} at column {position + 1} of template {text!r}; "
                    f"write a literal brace twice: {char * 2}"
                )
            if plain:
                parts.append(("text", "".join(plain)))
                plain = []
            parts.append(("slot", _checked_name(text, position, end)))
            position = end + 1
    if plain:
        parts.append(("text", "".join(plain)))
    return parts


def _checked_name(text: str, start: int, end: int) -> str:
    inside = text[start + 1 : end]
    if inside in ROLE_MARKS:
        return inside
    name, colon, count = inside.partition(":")
    if not _NAME.match(name) or (colon and name != TRIGGER):
        raise TemplateError(
            f"{{{inside}}} at column {start + 1} of template {text!r} is not a slot: a slot is a "
            f"plain name in braces (no dots, indices or formats), or begins a part of a chat "
            f"({listing(ROLE_MARKS)}); a literal brace is written twice"
        )
    if name == TRIGGER:
        valid = count.isascii() and count.isdigit() and len(count) <= 3
        if not valid or not 1 <= int(count) <= MAX_TRIGGERS:
            raise TemplateError(
                f"{{{inside}}} at column {start + 1} of template {text!r}: write the number of "
                f"trigger tokens, 1 to {MAX_TRIGGERS}, as in {{trigger:3}}"
            )
        return f"{TRIGGER}:{int(count)}"
    return name


def pieces_of(text: str) -> list[Piece]:
    """The literals and slots of a template or pattern, in order, without checking what they mean.

    Raises:
        TemplateError: as `slot_names`.
    """
    pieces: list[Piece] = []
    for kind, inside in _scan(text):
        if kind == "text":
            pieces.append(Literal(inside))
        elif inside == MASK:
            pieces.append(Mask())
        elif inside == DEMONSTRATIONS:
            pieces.append(Demonstrations())
        elif inside.startswith(f"{TRIGGER}:"):
            pieces.append(Trigger(int(inside.partition(":")[2])))
        elif inside in ROLE_MARKS:
            pieces.append(Role(inside.removesuffix(":")))
        else:
            pieces.append(Field(inside))
    return pieces
