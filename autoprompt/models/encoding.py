r"""From a frame and an example to token ids: the one canonical encoding.

The rendered text is cut at its masks and trigger slots, as a tokenizer cuts text at its special
tokens, and each section is tokenized whole, so that words that touch across a slot's edge merge as
they would in plain text. Special tokens inside a user's text are text: a copy of the tokenizer
that does not know them reads it. For plain text the ids equal the tokenization of the whole string;
`PromptEncoder.exact` says whether a tokenizer keeps that promise.

Where a sequence is longer than the model reads, whole demonstrations are left out, the first ones
first (they are the farthest from the question); when none is left, the example's texts are cut, the
longest first. What is left is encoded again, so that the result is what plain tokenization gives
for the shorter text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import ModelError, TemplateError, VerbalizerError
from autoprompt.files import digest
from autoprompt.models.fitting import Fitting, most_tokens
from autoprompt.models.layouts import Layout
from autoprompt.models.sections import (
    PROBE,
    Fixed,
    Section,
    check_plain,
    context_of,
    sections_of,
)
from autoprompt.models.sequence import Encoding, replaced
from autoprompt.models.text_reader import HIDDEN, reader_of_text
from autoprompt.prompts import Frame, TokenRecord
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

SPELLINGS = 200_000  # of words in contexts, that are remembered: some 20 MB


class PromptEncoder:
    """Encodes frames for one tokenizer, with masks where the words stand.

    Other kinds of models have encoders of their own, which inherit this one (see `causal` and
    `seq2seq`).

    Args:
        tokenizer: a fast Hugging Face tokenizer with a mask token.
        max_length: the most tokens in a sequence, special tokens included.

    Attributes:
        writes_chats: whether chats are written by a chat template of the tokenizer.
        reads_masks: whether a sequence holds as many masks as the word has tokens.
        mask: the token that stands for `{mask}`, or "" where none does.
        mask_id: its id, or -1.
        front: ids in front of every sequence, that no text has: a soft prompt's (see `soft`).

    Raises:
        ModelError: the tokenizer is not a fast one, or has no mask token.
    """

    AWKWARD: ClassVar[tuple[str, ...]] = (  # templates that tokenizers stumble over
        "{text} It was {mask}.",
        "{mask} news: {text}",
        "({mask}) {text}",
        "{text}{mask}",
    )
    writes_chats = False
    reads_masks = True

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                "the tokenizer has no fast version, which exact encoding needs; convert it with "
                "transformers and save it as tokenizer.json"
            )
        self.mask = self._mask_of(tokenizer)
        self.mask_id: int = tokenizer.convert_tokens_to_ids(self.mask) if self.mask else -1
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.front: tuple[int, ...] = ()
        self._reader = reader_of_text(tokenizer)
        # A search asks for thousands of words in templates that end in one of a few contexts.
        self._spellings: dict[tuple[str, str], tuple[int, ...] | None] = {}
        mask = tokenizer.added_tokens_decoder.get(self.mask_id)
        self._mask_strips = (getattr(mask, "lstrip", False), getattr(mask, "rstrip", False))
        self._head, self._tail = self._special_tokens()

    @classmethod
    def of(cls, module: Any, tokenizer: Any, max_length: int) -> PromptEncoder:  # noqa: ARG003
        """The encoder of a model that has been read."""
        return cls(tokenizer, max_length)

    def _mask_of(self, tokenizer: Any) -> str:
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "the tokenizer has no mask token, so this is not a masked language model; "
                "choose a BERT-like model"
            )
        return str(tokenizer.mask_token)

    # -- frames and examples ------------------------------------------------------------------

    def check(self, template: Template) -> None:
        """Refuse a template that this kind of model cannot read.

        Raises:
            TemplateError: it is a chat.
        """
        check_plain(template)

    def encode(self, frame: Frame, examples: Sequence[Example], masks: int = 1) -> list[Encoding]:
        """Encode examples in a frame.

        Args:
            frame: template, trigger ids and demonstrations.
            examples: their fields fill the template.
            masks: how many tokens the word has that is to stand for `{mask}`: so many mask tokens
                stand there, or so much room is left (see `asked`).

        Raises:
            TemplateError: the template alone does not fit into the model, or a text holds a NUL.
        """
        if frame.pool:
            frames = frame.seen_by(examples)
            return [
                self.encode(own, [example], masks)[0]
                for own, example in zip(frames, examples, strict=True)
            ]
        texts = [dict(example.fields) for example in examples]
        own = frame.template.text + frame.shown
        if HIDDEN in own or any(HIDDEN in t for text in texts for t in text.values()):
            # Special tokens are told from text by a NUL (see `text_reader`).
            raise TemplateError("a text holds a NUL character; remove it")
        encoded = self.encoded(frame, texts, masks)
        most = most_tokens(self, frame, masks)
        long = [row for row, encoding in enumerate(encoded) if len(encoding.ids) > most]
        if long:
            fitting = Fitting(self, frame, masks)
            for row in long:
                encoded[row] = fitting.fitted(texts[row], encoded[row])
        return encoded

    def asked(
        self,
        encodings: Sequence[Encoding],
        ids: NDArray[np.int64],
    ) -> tuple[list[Encoding], NDArray[np.int64]]:
        """The sequences that score words of one token count, in ways that words may share.

        Args:
            encodings: made by `encode` for words of so many tokens.
            ids: shape `(words, tokens)`, the words' ids.

        Returns:
            All sequences of the first way, then of the next, in the order of the encodings; and of
            each word the index of the way that scores it, at as many mask positions as it has
            tokens.
        """
        return list(encodings), np.zeros(len(ids), dtype=np.int64)  # one way: at the masks

    def hiding_triggers(self, encoding: Encoding) -> list[Encoding]:
        """Sequences at whose masks, one after the other, the model predicts the trigger tokens.

        It sees as much of the rest as it can. The first tokens may have no mask: nothing may stand
        in front of them.
        """
        return [
            replace(encoding, ids=replaced(encoding.ids, at, self.mask_id), mask_positions=(at,))
            for at in encoding.trigger_positions
        ]

    def word_ids(self, frame: Frame, word: str) -> tuple[int, ...]:
        """The ids of a label word at the frame's mask.

        The text before the mask decides whether the word starts with a space: after a space it
        does; at the very beginning, after a bracket or a new line, or glued to a field's text it
        does not.

        Raises:
            VerbalizerError: the word is empty or unknown to the tokenizer, or melts into the
                text before it.
        """
        before = context_of(frame)
        if (before, word) not in self._spellings:
            if len(self._spellings) >= SPELLINGS:
                self._spellings.clear()
            self._spellings[before, word] = self._spelt(before, word)
        ids = self._spellings[before, word]
        if ids is None:
            raise VerbalizerError(
                f"the word {word!r} melts into the text before the mask of "
                f"{frame.template.text!r}; put a space before {{mask}}"
            )
        if self.tokenizer.unk_token_id is not None and self.tokenizer.unk_token_id in ids:
            raise VerbalizerError(
                f"the word {word!r} holds characters that the tokenizer does not know; "
                f"choose another word"
            )
        return ids

    def _spelt(self, before: str, word: str) -> tuple[int, ...] | None:
        """The ids of a word after some text; None where no edge of tokens lies between them."""
        whole = self._ids(before + word)
        for context in self._contexts(before):
            ids = self._ids(context)
            if whole[: len(ids)] == ids:
                return tuple(whole[len(ids) :]) or None
        return None

    def _contexts(self, before: str) -> tuple[str, ...]:
        """What of the text before the mask may stay with the text, the likeliest first."""
        # A space before the mask belongs to the word; other white space belongs to the text.
        return before.removesuffix(" "), before, before.rstrip()

    def record(self, frame: Frame, words: Sequence[str]) -> TokenRecord:
        """The ids that a prompt is stored with."""
        (seen,) = frame.seen_by([_probe_of(frame)])
        probe = self._probe(seen)
        return TokenRecord(
            probe.ids,
            {word: self.word_ids(frame, word) for word in words},
            self.max_length,
            not self._plain_text_gives(seen, probe),
        )

    def layout(self, frame: Frame) -> Layout:
        """How the frame is written, for programs that do the same without this package."""
        return Layout(frame.template.pieces, self._head, self._tail, self._mask_strips)

    def text_ids(self, text: str) -> list[int]:
        """The ids of a text by itself, special tokens in it being text."""
        return self._ids(text)

    def round_trips(self, frame: Frame) -> bool:
        """Whether a frame written as plain text gives the same ids again, trigger tokens too."""
        return self._plain_text_gives(frame, self._probe(frame))

    # -- the tokenizer ------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what the tokenizer does: its whole pipeline, vocabulary included."""
        return digest([self.tokenizer.backend_tokenizer.to_str(), self.tokenizer.mask_token])

    @cached_property
    def exact(self) -> bool:
        """Whether ids equal plain tokenization of the rendered text, tried on awkward templates."""
        for text in self.AWKWARD:
            frame = Frame(Template.parse(text))
            for sample in ("A fine film!", "  spaced  text, don't ", "naïve café"):
                encoding = self.encoded(frame, [{"text": sample}], 1)[0]
                if not self._plain_text_gives(frame, encoding, {"text": sample}):
                    return False
        return True

    def _probe(self, frame: Frame) -> Encoding:
        return self.encoded(frame, [dict(_probe_of(frame).fields)], 1)[0]

    def _plain_text_gives(
        self, frame: Frame, encoding: Encoding, fields: Mapping[str, str] | None = None
    ) -> bool:
        fields = fields or _probe_of(frame).fields
        return self._plain_ids(frame, fields) == encoding.ids

    def _plain_ids(self, frame: Frame, fields: Mapping[str, str]) -> tuple[int, ...]:
        """The ids that the tokenizer itself gives for the rendered text."""
        strings = [self.tokenizer.decode(list(ids)) for ids in frame.triggers]
        text = frame.template.render(fields, self.mask, strings, frame.shown)
        return tuple(self.tokenizer(text, verbose=False)["input_ids"])

    def _special_tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        bare = self._ids(PROBE)
        whole = self.tokenizer(PROBE)["input_ids"]
        for start in range(len(whole) - len(bare) + 1):
            if whole[start : start + len(bare)] == bare:
                return tuple(whole[:start]), tuple(whole[start + len(bare) :])
        raise ModelError(
            "the tokenizer changes text when it adds special tokens; it cannot be used"
        )

    def _ids(self, text: str) -> list[int]:
        return list(self._batch([text])[0]) if text else []

    def _batch(self, texts: list[str]) -> list[list[int]]:
        found = self._reader.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def encoded(
        self, frame: Frame, texts: Sequence[Mapping[str, str]], masks: int
    ) -> list[Encoding]:
        """Texts by field as the model reads them, whatever their length."""
        found = self.encode_texts(frame, texts, masks)
        return [encoding.behind(self.front) for encoding in found] if self.front else found

    def encode_texts(
        self, frame: Frame, texts: Sequence[Mapping[str, str]], masks: int
    ) -> list[Encoding]:
        """The same without `front`; what kinds of models differ in."""
        columns: list[list[Sequence[int]]] = []  # per part, one id sequence an example
        mask_ids = (self.mask_id,) * masks
        parts = sections_of(frame, mask_ids, self._mask_strips)
        for part in parts:
            if isinstance(part, Fixed):
                columns.append([part.ids] * len(texts))
            else:
                columns.append(self._section_ids(part, texts))
        encodings = []
        for row in zip(*columns, strict=True):
            ids = list(self._head)
            at_mask: list[int] = []
            at_trigger: list[int] = []
            for part, part_ids in zip(parts, row, strict=True):
                if isinstance(part, Fixed):
                    found = at_mask if part.is_mask else at_trigger
                    found.extend(range(len(ids), len(ids) + len(part_ids)))
                ids.extend(part_ids)
            ids.extend(self._tail)
            positions = (tuple(at_mask), 0, tuple(at_trigger))
            encodings.append(Encoding(tuple(ids), *positions))
        return encodings

    def _section_ids(
        self, section: Section, texts: Sequence[Mapping[str, str]]
    ) -> list[Sequence[int]]:
        if not section.has_fields:
            return [self._ids(section.text({}))] * len(texts)
        return list(self._batch([section.text(fields) for fields in texts]))

    # -- truncation ---------------------------------------------------------------------------

    def limit(self, masks: int) -> int:  # noqa: ARG002 (others leave room)
        """The most tokens of an encoding for words of some token count."""
        return self.max_length

    def token_ends(self, text: str) -> list[int]:
        """For each token of a text the position of its last character plus one."""
        return [end for _, end in self._reader.encode(text, add_special_tokens=False).offsets]


def _probe_of(frame: Frame) -> Example:
    """An example with the same word in every field."""
    return Example(dict.fromkeys(frame.template.fields, PROBE))
