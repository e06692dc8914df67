"""Encoding for causal language models: they read the text before the mask, and predict the word.

The last token before the word predicts its first token, which is read to predict the second, and
so on: teacher forcing. This module is about what is read, and how the word goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import TemplateError
from autoprompt.files import digest
from autoprompt.models.chat import ChatWriter
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.forcing import Ids, forced
from autoprompt.models.layouts import MARK, Layout, Run, with_places
from autoprompt.models.sections import PROBE, context_of
from autoprompt.models.sequence import Encoding
from autoprompt.models.text_reader import HIDDEN
from autoprompt.pieces import Demonstrations, Field, Literal, Mask, Piece, Trigger, merged
from autoprompt.prompts import Frame
from autoprompt.templates import Template


class CausalEncoder(PromptEncoder):
    """Encodes frames for a model that reads left to right.

    The text from the mask on is not encoded: signs after it, such as a full stop, are never seen
    (demonstrations do show them), and words or fields there are refused.

    A space before the mask belongs to the word, because that is how such tokenizers cut text: the
    model reads "It was" and is asked for " great". With the space in the text it would stand after
    a lone space token, where no word of its training text goes on.

    The special tokens that the tokenizer puts in front stay; those at the end would end the text
    before the word, and are dropped.

    A chat is written by the tokenizer's chat template (see `chat`), with the special tokens that it
    has. Without a chat template the parts are read as plain text, line by line.

    Args:
        tokenizer: a fast Hugging Face tokenizer; it needs no mask token.
        max_length: the most tokens in a sequence, special tokens included.

    Raises:
        ModelError: the tokenizer is not a fast one.
    """

    reads_masks = False

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
        self._chat = ChatWriter(tokenizer) if tokenizer.chat_template else None
        if self._chat is not None:
            self._reader = self._chat.reader
            self.writes_chats = True

    def check(self, template: Template) -> None:
        """Refuse a template that a causal model cannot read.

        Raises:
            TemplateError: it does not end in the mask, or is a chat of a kind that the chat
                template cannot write.
        """
        check_order(template)
        if template.is_chat and self._chat is not None:
            self._chat.openings(template)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what the tokenizer does, its chat template included."""
        known = super().fingerprint
        return known if self._chat is None else digest([known, self.tokenizer.chat_template])

    def asked(
        self, encodings: Sequence[Encoding], ids: NDArray[np.int64]
    ) -> tuple[list[Encoding], NDArray[np.int64]]:
        """See `PromptEncoder.asked`: the text goes on with all of a word's tokens but the last."""
        return forced(encodings, ids, _continued)

    def word_ids(self, frame: Frame, word: str) -> Ids:
        """The ids of a label word after the frame's text, with the space before it.

        Raises:
            TemplateError: the template does not end in the mask.
            VerbalizerError: as `PromptEncoder.word_ids`.
        """
        check_order(frame.template)
        return super().word_ids(self._written(frame), word)

    def hiding_triggers(self, encoding: Encoding) -> list[Encoding]:
        """See `PromptEncoder.hiding_triggers`: each token is predicted by the one before it."""
        places = tuple(at - 1 for at in encoding.trigger_positions if at)
        return [replace(encoding, mask_positions=places)] if places else []

    def layout(self, frame: Frame) -> Layout:
        """See `PromptEncoder.layout`: what is read, in the words of the chat template.

        Demonstrations that touch the word may be cut otherwise than here.
        """
        if frame.demonstrations:
            frame = replace(frame, demonstrations=(MARK,))
        pieces: list[Piece | Run] = list(with_places(self._read(frame).template.pieces))
        chat = self._chat_of(frame)
        if chat is None:
            return Layout(tuple(pieces), self._head, ())
        runs = chat.runs(_shown(frame).template)
        pieces = [
            runs[piece.name] if isinstance(piece, Field) and piece.name in runs else piece
            for piece in pieces
        ]
        return Layout(tuple(pieces), (), (), controls=tuple(sorted(chat.controls)))

    # -- the seams of `PromptEncoder` ---------------------------------------------------------

    def _mask_of(self, tokenizer: Any) -> str:  # noqa: ARG002 (the text ends where a mask would be)
        return ""

    def _special_tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        head, self._end = super()._special_tokens()
        return head, ()

    def limit(self, masks: int) -> int:
        """See `PromptEncoder.limit`."""
        return self.max_length - (masks - 1)  # the word's last token is predicted, and not read

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

    def encode_texts(
        self, frame: Frame, texts: Sequence[Mapping[str, str]], masks: int
    ) -> list[Encoding]:
        """See `PromptEncoder.encode_texts`."""
        if chat := self._chat_of(frame):
            template = _shown(frame).template
            texts = [chat.filled(template, fields) for fields in texts]
        encoded = super().encode_texts(self._read(frame), texts, masks)
        if chat:
            encoded = [self._without_head(encoding) for encoding in encoded]
        return [self._at_the_last(frame, encoding) for encoding in encoded]

    def _plain_ids(self, frame: Frame, fields: Mapping[str, str]) -> tuple[int, ...]:
        if chat := self._chat_of(frame):
            # Trigger tokens as words: at a message's end they may be trimmed as such.
            words = _shown(frame, [self.tokenizer.decode(list(ids)) for ids in frame.triggers])
            written = self._read(words).template
            text = written.render(chat.filled(words.template, fields), "").replace(HIDDEN, "")
            return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        found = super()._plain_ids(self._read(frame), fields)
        return found[: len(found) - len(self._end)]

    # -- what is read -------------------------------------------------------------------------

    def _read(self, frame: Frame) -> Frame:
        """The frame up to the word: without the mask, what follows it, and the word's space."""
        check_order(frame.template)
        frame = self._written(frame)
        # Merged, so that all of the white space before the mask stands in one literal.
        pieces = list(merged(frame.template.pieces[: frame.template.pieces.index(Mask())]))
        before = context_of(frame)
        (read,) = self._contexts(before)
        last = pieces[-1] if pieces else None
        if isinstance(last, Literal):
            pieces[-1] = Literal(last.text.removesuffix(before[len(read) :]))
        return Frame(Template(frame.template.text, tuple(pieces)), frame.triggers)

    def _written(self, frame: Frame) -> Frame:
        """The frame as text that the reader knows: no marks of roles, no demonstrations' slot."""
        shown = _shown(frame)
        if chat := self._chat_of(frame):
            return chat.written(shown)
        return replace(shown, template=shown.template.unmarked())

    def _chat_of(self, frame: Frame) -> ChatWriter | None:
        """What writes the frame's messages, if it is a chat and sent as one."""
        return self._chat if frame.template.is_chat else None

    def _without_head(self, encoding: Encoding) -> Encoding:
        """A chat's encoding: its special tokens are those of the chat template."""
        start = len(self._head)
        triggers = tuple(position - start for position in encoding.trigger_positions)
        return replace(encoding, ids=encoding.ids[start:], trigger_positions=triggers)

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


def _shown(frame: Frame, triggers: Sequence[str] = ()) -> Frame:
    """The frame with its demonstrations as words of its template, and its triggers if given."""
    waiting = iter(triggers)
    pieces: list[Piece] = []
    for piece in frame.template.pieces:
        if isinstance(piece, Demonstrations):
            piece = Literal(frame.shown)
        elif isinstance(piece, Trigger) and triggers:
            piece = Literal(next(waiting))
        pieces.append(piece)
    template = Template(frame.template.text, merged(pieces))
    return Frame(template, () if triggers else frame.triggers)


def _continued(encoding: Encoding, head: Ids) -> Encoding:
    last = len(encoding.ids) - 1
    places = tuple(range(last, last + len(head) + 1))
    return replace(encoding, ids=encoding.ids + head, mask_positions=places)


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
