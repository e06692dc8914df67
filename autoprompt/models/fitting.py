"""Making a sequence fit into the model: what is left out, and what is cut.

Whole demonstrations are left out, the first ones first; when none is left, the example's texts are
cut, the longest first. Where n demonstrations fit, fewer do: so bisection finds how many.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from autoprompt.errors import TemplateError
from autoprompt.models.sequence import Encoding
from autoprompt.models.truncation import cut, levelled
from autoprompt.pieces import Field
from autoprompt.prompts import Frame

# Words of up to so many tokens share a frame's demonstrations, whatever else is scored: which ones
# fit is decided as if the longest such word stood at the mask.
MASKS = 8


class TextEncoder(Protocol):
    """The part of an encoder that fitting asks."""

    max_length: int
    reads_masks: bool

    def encoded(
        self, frame: Frame, texts: Sequence[Mapping[str, str]], masks: int
    ) -> list[Encoding]:
        """Texts by field as the model reads them, whatever their length."""
        ...

    def limit(self, masks: int) -> int:
        """The most tokens of an encoding for words of some token count."""
        ...

    def token_ends(self, text: str) -> list[int]:
        """For each token of a text the position of its last character plus one."""
        ...


def most_tokens(encoder: TextEncoder, frame: Frame, masks: int) -> int:
    """The most tokens that a sequence with all of a frame's demonstrations may have."""
    if not frame.demonstrations:
        return encoder.limit(masks)
    unread = max(MASKS - masks, 0) if encoder.reads_masks else 0
    return min(encoder.limit(masks), encoder.limit(MASKS)) - unread


class Fitting:
    """Fits sequences of one frame.

    Args:
        encoder: which encodes.
        frame: its demonstrations may be left out.
        masks: how many tokens the word at the mask has.
    """

    def __init__(self, encoder: TextEncoder, frame: Frame, masks: int) -> None:
        self.encoder = encoder
        self.frame = frame
        self.masks = masks
        self._usable = self._with_usable_demonstrations()

    def fitted(self, fields: Mapping[str, str], encoding: Encoding) -> Encoding:
        """The encoding of an example, shortened until it fits.

        Args:
            fields: its texts.
            encoding: with all demonstrations and the whole texts.

        Raises:
            TemplateError: the template alone does not fit.
        """
        shorter = self.frame
        if shorter.demonstrations:
            shorter = self._with_those_that_fit(fields)
            (encoding,) = self.encoder.encoded(shorter, [fields], self.masks)
        found = self._truncated(shorter, fields, encoding)
        left_out = len(self.frame.demonstrations) - len(shorter.demonstrations)
        return replace(found, left_out=left_out)

    def _fits(self, frame: Frame, fields: Mapping[str, str]) -> bool:
        (found,) = self.encoder.encoded(frame, [fields], self.masks)
        return len(found.ids) <= most_tokens(self.encoder, frame, self.masks)

    def _with_usable_demonstrations(self) -> Frame:
        """The frame without the demonstrations that alone, with empty texts, do not fit."""
        empty = dict.fromkeys(self.frame.template.fields, "")
        usable = [
            shown
            for shown in self.frame.demonstrations
            if self._fits(replace(self.frame, demonstrations=(shown,)), empty)
        ]
        return replace(self.frame, demonstrations=tuple(usable))

    def _with_those_that_fit(self, fields: Mapping[str, str]) -> Frame:
        """The frame with as many of its last demonstrations as fit beside the uncut texts."""
        usable = self._usable.demonstrations

        def shorter(count: int) -> Frame:
            return replace(self._usable, demonstrations=usable[count:])

        fits = bisect_left(range(len(usable)), True, key=lambda n: self._fits(shorter(n), fields))
        return shorter(fits)

    def _truncated(self, frame: Frame, fields: Mapping[str, str], encoding: Encoding) -> Encoding:
        """The encoding of an example with its texts cut until it fits."""
        original = len(encoding.ids)
        kept = {name: fields[name] for name in frame.template.fields}
        repeats = {name: frame.template.pieces.count(Field(name)) for name in kept}
        # Words merge across a cut, so a cut of n tokens may save more or fewer: cut until it fits.
        while (surplus := len(encoding.ids) - self.encoder.limit(self.masks)) > 0:
            ends = {name: self.encoder.token_ends(text) for name, text in kept.items()}
            if not any(ends.values()):
                most = self.encoder.max_length
                raise TemplateError(
                    f"template {frame.template.text!r} alone has {most + surplus} tokens, the "
                    f"model takes {most}; shorten it"
                )
            lengths = {name: len(found) for name, found in ends.items()}
            for name, left in levelled(lengths, repeats, surplus).items():
                if left < lengths[name]:
                    kept[name] = cut(kept[name], ends[name], left)
            (encoding,) = self.encoder.encoded(frame, [kept], self.masks)
        return replace(encoding, lost=original - len(encoding.ids))
