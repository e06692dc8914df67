"""A frame cut at its masks and trigger slots, as a tokenizer cuts text at special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoprompt.errors import TemplateError
from autoprompt.pieces import Demonstrations, Field, Literal, Mask, Role, Trigger
from autoprompt.prompts import Frame
from autoprompt.templates import Template

PROBE = "text"  # stands for a field's text where any text will do
# What a mask token with `lstrip` swallows: Unicode's white space. Python's `strip` takes four
# separators (U+001C to U+001F) more.
WHITE_SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c < " ")


@dataclass(frozen=True)
class Fixed:
    """Ids that are put in as they are: masks or trigger tokens."""

    ids: tuple[int, ...]
    is_mask: bool


@dataclass(frozen=True)
class Section:
    """Text between fixed ids; the mask's own stripping of spaces is applied to its edges."""

    pieces: tuple[Literal | Field, ...]
    strip_left: bool
    strip_right: bool

    @property
    def has_fields(self) -> bool:
        """Whether the text differs from example to example."""
        return any(isinstance(piece, Field) for piece in self.pieces)

    def text(self, fields: Mapping[str, str]) -> str:
        """The section's characters for one example."""
        whole = "".join(
            piece.text if isinstance(piece, Literal) else fields[piece.name]
            for piece in self.pieces
        )
        whole = whole.lstrip(WHITE_SPACE) if self.strip_left else whole
        return whole.rstrip(WHITE_SPACE) if self.strip_right else whole


def sections_of(
    frame: Frame, mask_ids: tuple[int, ...], strips: tuple[bool, bool]
) -> list[Fixed | Section]:
    """The template as sections of text between fixed ids.

    Args:
        frame: template, trigger ids and demonstrations.
        mask_ids: what stands for `{mask}`.
        strips: whether the mask token swallows white space on its left and on its right.

    Raises:
        TemplateError: the template is a chat.
    """
    check_plain(frame.template)
    triggers = iter(frame.triggers)
    parts: list[Fixed | Section] = []
    pieces: list[Literal | Field] = []
    strip_next = False
    lstrip, rstrip = strips
    for piece in frame.template.pieces:
        if isinstance(piece, Literal | Field):
            pieces.append(piece)
        elif isinstance(piece, Demonstrations):
            pieces.append(Literal(frame.shown))
        else:
            is_mask = isinstance(piece, Mask)
            parts.append(Section(tuple(pieces), strip_next, is_mask and lstrip))
            if isinstance(piece, Trigger):
                parts.append(Fixed(next(triggers), False))
            else:
                parts.append(Fixed(mask_ids, True))
            pieces, strip_next = [], is_mask and rstrip
    parts.append(Section(tuple(pieces), strip_next, False))
    return parts


def check_plain(template: Template) -> None:
    """Refuse a chat.

    Raises:
        TemplateError: it is one.
    """
    if template.is_chat:
        raise TemplateError(
            f"template {template.text!r} is written as the messages of a chat, which only causal "
            f"models are sent; take such a model, or write plain text without {{system:}}, "
            f"{{user:}} and {{assistant:}}"
        )


def context_of(frame: Frame) -> str:
    """The text before the mask, as far as it bears on the word's first token.

    A field's text ends in some word; the probe stands for it. What is written before a role's part
    is for the encoder to say.
    """
    before: list[str] = []
    for piece in frame.template.pieces:
        if isinstance(piece, Mask):
            break
        if isinstance(piece, Literal):
            before.append(piece.text)
        elif isinstance(piece, Demonstrations):
            before.append(frame.shown)
        elif isinstance(piece, Role):
            before = [f"{{{piece.name}:}}"]
        else:
            before.append(PROBE)
    return ending_of("".join(before))


def ending_of(text: str) -> str:
    """The last word of a text and the white space after it: what bears on how a text goes on.

    >>> ending_of("All in all, it was ")
    'was '
    """
    trailing = text[len(text.rstrip()) :]
    words = text.split()
    return (words[-1] if words else "") + trailing
