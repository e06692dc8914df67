"""Causal language models: they read the text before the mask, and its last token predicts the word.

`MaskedLanguageModel` runs them as they are: the position whose logits predict the word is all that
it has to know. So this module is about encoding alone: what is read, and how the word goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from autoprompt.errors import TemplateError, VerbalizerError
from autoprompt.models.encoding import Encoding, PromptEncoder
from autoprompt.models.sections import PROBE, context_of
from autoprompt.prompts import Frame
from autoprompt.tasks.examples import Example
from autoprompt.templates import Demonstrations, Field, Literal, Mask, Piece, Template


class CausalEncoder(PromptEncoder):
    """Encodes frames for a model that reads left to right.

    The text from the mask on is not encoded: signs after it, such as a full stop, are never seen
    (demonstrations do show them), and words or fields there are refused.

    A space before the mask belongs to the word, because that is how such tokenizers cut text: the
    model reads "It was" and is asked for " great". With the space in the text it would stand after
    a lone space token, where no word of its training text goes on.

    The special tokens that the tokenizer puts in front stay; those at the end would end the text
    before the word, and are dropped.

    Args:
        tokenizer: a fast Hugging Face tokenizer; it needs no mask token.
        max_length: the most tokens in a sequence, special tokens included.

    Raises:
        ModelError: the tokenizer is not a fast one.
    """

    MASKS: ClassVar[int] = 1
    AWKWARD: ClassVar[tuple[str, ...]] = (
        "{text} It was {mask}.",
        "News: {text}\nTopic: {mask}",
        "({text}) ({mask})",
        "{text}{mask}",
    )

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self._chosen: dict[str, str] = {}  # the text before the mask -> what of it is read
        self._end: tuple[int, ...] = ()
        super().__init__(tokenizer, max_length)

    def encode(self, frame: Frame, examples: Sequence[Example], masks: int = 1) -> list[Encoding]:
        """Encode examples in a frame, up to the word.

        Args:
            frame: template, trigger ids and demonstrations.
            examples: their fields fill the template.
            masks: 1.

        Raises:
            TemplateError: as `PromptEncoder.encode`; or the template does not end in the mask, or
                nothing at all stands before it and the tokenizer has no BOS token.
            VerbalizerError: `masks` is not 1.
        """
        if masks != 1:
            raise VerbalizerError(
                f"a causal model predicts words of one token, not of {masks}; choose a word of "
                f"one token"
            )
        return super().encode(frame, examples, masks)

    def word_ids(self, frame: Frame, word: str) -> tuple[int, ...]:
        """The id of a label word after the frame's text, with the space before it.

        Raises:
            TemplateError: the template does not end in the mask.
            VerbalizerError: as `PromptEncoder.word_ids`, or the word takes several tokens.
        """
        check_order(frame.template)
        ids = super().word_ids(frame, word)
        if len(ids) > 1:
            raise VerbalizerError(
                f"the word {word!r} takes {len(ids)} tokens; words of several tokens are not "
                f"supported on causal models yet; choose a word of one token"
            )
        return ids

    # -- the seams of `PromptEncoder` ---------------------------------------------------------

    def _check_mask(self, tokenizer: Any) -> None:
        """A causal model has no mask token."""

    def _special_tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        head, self._end = super()._special_tokens()
        return head, ()

    def _contexts(self, before: str) -> tuple[str, ...]:
        # What the model reads may not hang on the word: all words of a frame share one forward
        # pass. So the first way to cut that suits an ordinary word is taken for all of them.
        if before not in self._chosen:
            ways = super()._contexts(before)
            whole = self._ids(before + PROBE)
            cut = [self._ids(way) for way in ways]
            suits = [whole[: len(ids)] == ids and len(ids) < len(whole) for ids in cut]
            self._chosen[before] = ways[suits.index(True) if any(suits) else 0]
        return (self._chosen[before],)

    def _encode_texts(
        self, frame: Frame, texts: Sequence[Mapping[str, str]], masks: int
    ) -> list[Encoding]:
        return [
            self._at_the_last(frame, encoding)
            for encoding in super()._encode_texts(self._read(frame), texts, masks)
        ]

    def _plain_ids(self, frame: Frame, fields: Mapping[str, str]) -> tuple[int, ...]:
        found = super()._plain_ids(self._read(frame), fields)
        return found[: len(found) - len(self._end)]

    # -- what is read -------------------------------------------------------------------------

    def _read(self, frame: Frame) -> Frame:
        """The frame up to the word: without the mask, what follows it, and the word's space."""
        check_order(frame.template)
        pieces: list[Piece] = []
        for piece in frame.template.pieces:
            if isinstance(piece, Mask):
                break
            if isinstance(piece, Demonstrations):
                piece = Literal(frame.shown)
            last = pieces[-1] if pieces else None
            if isinstance(last, Literal) and isinstance(piece, Literal):
                pieces.pop()  # all of the white space before the mask comes to stand in one literal
                piece = Literal(last.text + piece.text)
            pieces.append(piece)
        before = context_of(frame)
        (read,) = self._contexts(before)
        last = pieces[-1]
        if isinstance(last, Literal):
            pieces[-1] = Literal(last.text.removesuffix(before[len(read) :]))
        return Frame(Template(frame.template.text, tuple(pieces)), frame.triggers)

    def _at_the_last(self, frame: Frame, encoding: Encoding) -> Encoding:
        """The encoding with the position that predicts the word: its last token."""
        ids = encoding.ids
        if not ids and self.tokenizer.bos_token_id is not None:
            ids = (self.tokenizer.bos_token_id,)  # the word is the first of the text
        if not ids:
            raise TemplateError(
                f"nothing stands before {{mask}} in template {frame.template.text!r} with an empty "
                f"text, and the tokenizer has no BOS token to predict from; begin the template "
                f"with a word"
            )
        return replace(encoding, ids=ids, mask_positions=(len(ids) - 1,))


def check_order(template: Template) -> None:
    """Refuse a template that says something after the mask.

    Raises:
        TemplateError: a slot, or text with letters or digits, stands after the mask.
    """
    after = template.pieces[template.pieces.index(Mask()) + 1 :]
    for piece in after:
        if not isinstance(piece, Literal):
            what = f"the field {{{piece.name}}}" if isinstance(piece, Field) else "a slot"
        elif any(char.isalnum() for char in piece.text):
            what = f"the words {piece.text.strip()!r}"
        else:
            continue
        raise TemplateError(
            f"template {template.text!r} has {what} after {{mask}}, which a causal model never "
            f"sees: it reads left to right; put {{mask}} last (only signs such as '.' may follow)"
        )
