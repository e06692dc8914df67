r"""Templates: text with slots, parsed once, never evaluated.

A template is text with `{field}` placeholders, one `{mask}`, and optionally trigger-token slots
`{trigger:3}` and one `{demonstrations}` slot. A literal brace is written twice.

    >>> Template.parse("{text} It was {mask}.").render({"text": "A {joke}."}, mask="[MASK]")
    'A {joke}. It was [MASK].'

The marks `{system:}`, `{user:}` and `{assistant:}` make it a chat: each begins a part, which is
sent as that role's message, and the mask stands in the assistant's. The colon keeps them apart from
fields: `{user}` is a field's text.

    >>> list(Template.parse("{user:}Is it good? {text}{assistant:}{mask}").parts)
    ['user', 'assistant']

This module knows text only: what the pieces become as tokens is decided in `models.encoding`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprompt.errors import TemplateError, listing, nearest_of
from autoprompt.pieces import (
    ASSISTANT,
    DEMONSTRATIONS,
    MASK,
    RESERVED,
    ROLE_MARKS,
    ROLES,
    SYSTEM,
    USER,
    Demonstrations,
    Field,
    Literal,
    Mask,
    Piece,
    Role,
    Trigger,
    merged,
    piece_text,
    pieces_of,
    written,
)


@dataclass(frozen=True)
class Template:
    """A parsed template.

    Attributes:
        text: as it was written; equal texts are equal templates.
        pieces: literals and slots in their order; no two literals are neighbours.
    """

    text: str
    pieces: tuple[Piece, ...]

    @classmethod
    def parse(cls, text: str, fields: Sequence[str] | None = None) -> Template:
        """Parse a template, and check it against the task's fields where they are given.

        Raises:
            TemplateError: a brace is stray, a slot is unknown, there is not exactly one `{mask}`,
                no field stands in the template, or the parts of a chat are not in order. The
                message gives the column.
        """
        template = cls(text, tuple(pieces_of(text)))
        for kind, name in ((Mask, MASK), (Demonstrations, DEMONSTRATIONS)):
            count = sum(isinstance(piece, kind) for piece in template.pieces)
            if count > 1 or (count == 0 and kind is Mask):
                raise TemplateError(
                    f"template {text!r} has {count} {{{name}}} slots; it must have exactly one"
                )
        if not template.fields:
            raise TemplateError(
                f"template {text!r} shows no field of the example; put one in, "
                f"for example {{{fields[0] if fields else 'text'}}}"
            )
        if template.is_chat:
            template._check_parts()
        if fields is not None:
            template.check_fields(fields)
        return template

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Template:
        """The template that consists of some pieces; literals that touch become one.

        Raises:
            TemplateError: as `parse`.
        """
        return cls.parse(written(pieces))

    def check_fields(self, fields: Sequence[str]) -> None:
        """Raise TemplateError where the template names a field that the task does not have."""
        for name in self.fields:
            if name not in fields:
                raise TemplateError(
                    f"template {self.text!r} has an unknown slot {{{name}}}; "
                    f"{nearest_of(name, [*fields, *RESERVED, *ROLE_MARKS])}"
                    f"valid: {listing([*fields, MASK, DEMONSTRATIONS, 'trigger:N', *ROLE_MARKS])}"
                )

    def _check_parts(self) -> None:
        roles = [piece.name for piece in self.pieces if isinstance(piece, Role)]
        wrong = ""
        if not isinstance(self.pieces[0], Role):
            wrong = f"something in front of {{{roles[0]}:}}"
        elif repeated := [role for role in ROLES if roles.count(role) > 1]:
            wrong = f"{roles.count(repeated[0])} {repeated[0]} parts"
        elif roles not in ([SYSTEM, USER, ASSISTANT], [USER, ASSISTANT]):
            wrong = f"the parts {listing(roles)}"
        elif not any(isinstance(piece, Mask) for piece in self.parts[ASSISTANT]):
            wrong = "its {mask} outside of the assistant's part"
        elif empty := [role for role in roles[:-1] if not _says_something(self.parts[role])]:
            wrong = f"an empty {empty[0]} part"
        if wrong:
            raise TemplateError(
                f"template {self.text!r} has {wrong}; a chat is written {{system:}} (which may be "
                f"left out), {{user:}}, {{assistant:}}, each with its text behind it, and {{mask}} "
                f"in the assistant's part"
            )

    @property
    def is_chat(self) -> bool:
        """Whether it is written as the messages of a chat."""
        return any(isinstance(piece, Role) for piece in self.pieces)

    @property
    def parts(self) -> dict[str, tuple[Piece, ...]]:
        """Role to the pieces of its part, in order; empty where the template is no chat."""
        found: dict[str, tuple[Piece, ...]] = {}
        role = ""
        for piece in self.pieces:
            if isinstance(piece, Role):
                role = piece.name
                found[role] = ()
            elif role:
                found[role] += (piece,)
        return found

    def unmarked(self, roles: Sequence[str] = ROLES) -> Template:
        """A chat as plain text: the parts of some roles one after another, each on a new line.

        >>> Template.parse("{user:}{text} Good?{assistant:}{mask}").unmarked().pieces[1:]
        (Literal(text=' Good?\\n'), Mask())
        """
        pieces: list[Piece] = []
        for role, part in self.parts.items():
            if role in roles:
                pieces += [Literal("\n"), *part] if pieces else part
        return Template(self.text, merged(pieces)) if self.is_chat else self

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields, each once, in order of appearance."""
        names = [piece.name for piece in self.pieces if isinstance(piece, Field)]
        return tuple(dict.fromkeys(names))

    @property
    def trigger_counts(self) -> tuple[int, ...]:
        """The number of tokens of each trigger slot, in order."""
        return tuple(piece.count for piece in self.pieces if isinstance(piece, Trigger))

    @property
    def has_demonstrations(self) -> bool:
        """Whether demonstrations have a place."""
        return any(isinstance(piece, Demonstrations) for piece in self.pieces)

    def render(
        self,
        fields: Mapping[str, str],
        mask: str,
        triggers: Sequence[str] = (),
        demonstrations: str = "",
    ) -> str:
        """The template as one string, in which the parts of a chat keep their marks.

        Args:
            fields: field name to text; must hold every field of the template. Braces in the
                texts are plain characters.
            mask: what stands for `{mask}`.
            triggers: one string for each trigger slot.
            demonstrations: what stands for `{demonstrations}`.

        Raises:
            TemplateError: a field or a trigger is missing.
        """
        if missing := [name for name in self.fields if name not in fields]:
            raise TemplateError(f"no text for {listing(missing)} in template {self.text!r}")
        if len(triggers) != len(self.trigger_counts):
            raise TemplateError(
                f"template {self.text!r} has {len(self.trigger_counts)} trigger slots, "
                f"{len(triggers)} were given"
            )
        waiting = iter(triggers)
        parts: list[str] = []
        for piece in self.pieces:
            if isinstance(piece, Literal):
                parts.append(piece.text)
            elif isinstance(piece, Field):
                parts.append(fields[piece.name])
            elif isinstance(piece, Mask):
                parts.append(mask)
            elif isinstance(piece, Trigger):
                parts.append(next(waiting))
            elif isinstance(piece, Role):
                parts.append(piece_text(piece))
            else:
                parts.append(demonstrations)
        return "".join(parts)


def _says_something(part: Sequence[Piece]) -> bool:
    """Whether a part has a text of its own, which demonstrations are not: there may be none."""
    return any(
        bool(piece.text.strip()) if isinstance(piece, Literal) else piece != Demonstrations()
        for piece in part
    )
