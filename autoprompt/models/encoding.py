r"""From a frame and an example to token ids: the one canonical encoding.

The rendered text is cut at its masks and trigger slots, as a tokenizer cuts text at its special
tokens, and each section is tokenized whole, so that words that touch across a slot's edge merge as
they would in plain text. Special tokens inside a user's text are text: a copy of the tokenizer
that does not know them reads it. For plain text the ids equal the tokenization of the whole string;
`PromptEncoder.exact` says whether a tokenizer keeps that promise.

Truncation shortens only the example's texts, the longest first, and encodes again, so that the
result is what plain tokenization gives for the shortened text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from autoprompt.errors import ModelError, TemplateError, VerbalizerError
from autoprompt.files import digest
from autoprompt.prompts import Frame, TokenRecord
from autoprompt.tasks.examples import Example
from autoprompt.templates import Demonstrations, Field, Literal, Mask, Template, Trigger

PROBE = "text"
# What a mask token with `lstrip` swallows: Unicode's white space. Python's `strip` takes four
# separators (U+001C to U+001F) more.
WHITE_SPACE = "".join(c for c in map(chr, range(0x3001)) if c.isspace() and not "\x1c" <= c < " ")
Run = tuple[str, str | None]  # characters, and the field that they come from


@dataclass(frozen=True)
class Encoding:
    """One sequence.

    Attributes:
        ids: token ids with the special tokens.
        mask_positions: where the masks are, ascending.
        lost: tokens of the example's text that truncation took.
    """

    ids: tuple[int, ...]
    mask_positions: tuple[int, ...]
    lost: int = 0


class PromptEncoder:
    """Encodes frames for one tokenizer.

    Args:
        tokenizer: a fast Hugging Face tokenizer with a mask token.
        max_length: the most tokens in a sequence, special tokens included.

    Raises:
        ModelError: the tokenizer is not a fast one, or has no mask token.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelError(
                "the tokenizer has no fast version, which exact encoding needs; convert it with "
                "transformers and save it as tokenizer.json"
            )
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "the tokenizer has no mask token, so this is not a masked language model; "
                "choose a BERT-like model"
            )
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._reader = _reader_of_text(tokenizer)
        mask = tokenizer.added_tokens_decoder.get(tokenizer.mask_token_id)
        self._mask_strips = (getattr(mask, "lstrip", False), getattr(mask, "rstrip", False))
        self._head, self._tail = self._special_tokens()

    # -- frames and examples ------------------------------------------------------------------

    def encode(self, frame: Frame, examples: Sequence[Example], masks: int = 1) -> list[Encoding]:
        """Encode examples in a frame.

        Args:
            frame: template, trigger ids and demonstrations.
            examples: their fields fill the template.
            masks: how many mask tokens stand for `{mask}`.

        Raises:
            TemplateError: the template alone does not fit into the model.
        """
        texts = [dict(example.fields) for example in examples]
        encoded = self._encode_texts(frame, texts, masks)
        return [
            encoding
            if len(encoding.ids) <= self.max_length
            else self._truncated(frame, fields, masks, encoding)
            for encoding, fields in zip(encoded, texts, strict=True)
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
        before = _context_of(frame)
        whole = self._ids(before + word)
        # A space before the mask belongs to the word; other white space belongs to the text.
        contexts = [before.removesuffix(" "), before, before.rstrip()]
        prefixes = [self._ids(context) for context in contexts]
        fitting = [len(ids) for ids in prefixes if whole[: len(ids)] == ids]
        if not fitting or not whole[fitting[0] :]:
            raise VerbalizerError(
                f"the word {word!r} melts into the text before the mask of "
                f"{frame.template.text!r}; put a space before {{mask}}"
            )
        ids = whole[fitting[0] :]
        if self.tokenizer.unk_token_id is not None and self.tokenizer.unk_token_id in ids:
            raise VerbalizerError(
                f"the word {word!r} holds characters that the tokenizer does not know; "
                f"choose another word"
            )
        return tuple(ids)

    def record(self, frame: Frame, words: Sequence[str]) -> TokenRecord:
        """The ids that a prompt is stored with."""
        probe = self._probe(frame)
        return TokenRecord(
            probe.ids,
            {word: self.word_ids(frame, word) for word in words},
            self.max_length,
            not self._plain_text_gives(frame, probe),
        )

    # -- the tokenizer ------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what the tokenizer does: its whole pipeline, vocabulary included."""
        return digest([self.tokenizer.backend_tokenizer.to_str(), self.tokenizer.mask_token])

    @cached_property
    def exact(self) -> bool:
        """Whether ids equal plain tokenization of the rendered text, tried on awkward templates."""
        for text in (
            "{text} It was {mask}.",
            "{mask} news: {text}",
            "({mask}) {text}",
            "{text}{mask}",
        ):
            frame = Frame(Template.parse(text))
            for sample in ("A fine film!", "  spaced  text, don't ", "naïve café"):
                encoding = self._encode_texts(frame, [{"text": sample}], 1)[0]
                if not self._plain_text_gives(frame, encoding, {"text": sample}):
                    return False
        return True

    def _probe(self, frame: Frame) -> Encoding:
        fields = dict.fromkeys(frame.template.fields, PROBE)
        return self._encode_texts(frame, [fields], 1)[0]

    def _plain_text_gives(
        self, frame: Frame, encoding: Encoding, fields: Mapping[str, str] | None = None
    ) -> bool:
        fields = fields or dict.fromkeys(frame.template.fields, PROBE)
        strings = [self.tokenizer.decode(list(ids)) for ids in frame.triggers]
        text = frame.template.render(
            fields, self.tokenizer.mask_token, strings, frame.demonstrations
        )
        return tuple(self.tokenizer(text, verbose=False)["input_ids"]) == encoding.ids

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

    def _encode_texts(
        self, frame: Frame, texts: Sequence[Mapping[str, str]], masks: int
    ) -> list[Encoding]:
        columns: list[list[Sequence[int]]] = []  # per part, one id sequence an example
        mask_part = -1
        for part in self._parts(frame, masks):
            if isinstance(part, _Fixed):
                mask_part = len(columns) if part.is_mask else mask_part
                columns.append([part.ids] * len(texts))
            else:
                columns.append(self._section_ids(part, texts))
        encodings = []
        for parts in zip(*columns, strict=True):
            ids = list(self._head)
            start = 0
            for index, part_ids in enumerate(parts):
                start = len(ids) if index == mask_part else start
                ids.extend(part_ids)
            ids.extend(self._tail)
            encodings.append(Encoding(tuple(ids), tuple(range(start, start + masks))))
        return encodings

    def _section_ids(
        self, section: _Section, texts: Sequence[Mapping[str, str]]
    ) -> list[Sequence[int]]:
        if not section.has_fields:
            return [self._ids(section.text({}))] * len(texts)
        return list(self._batch([section.text(fields) for fields in texts]))

    def _parts(self, frame: Frame, masks: int) -> list[_Fixed | _Section]:
        """The template as sections of text between fixed ids (masks and triggers)."""
        triggers = iter(frame.triggers)
        parts: list[_Fixed | _Section] = []
        pieces: list[Literal | Field] = []
        strip_next = False
        lstrip, rstrip = self._mask_strips
        for piece in frame.template.pieces:
            if isinstance(piece, Literal | Field):
                pieces.append(piece)
            elif isinstance(piece, Demonstrations):
                pieces.append(Literal(frame.demonstrations))
            else:
                is_mask = isinstance(piece, Mask)
                parts.append(_Section(tuple(pieces), strip_next, is_mask and lstrip))
                if isinstance(piece, Trigger):
                    parts.append(_Fixed(next(triggers), False))
                else:
                    parts.append(_Fixed((self.tokenizer.mask_token_id,) * masks, True))
                pieces, strip_next = [], is_mask and rstrip
        parts.append(_Section(tuple(pieces), strip_next, False))
        return parts

    # -- truncation ---------------------------------------------------------------------------

    def _truncated(
        self, frame: Frame, fields: dict[str, str], masks: int, encoding: Encoding
    ) -> Encoding:
        original = len(encoding.ids)
        kept = {name: fields[name] for name in frame.template.fields}
        repeats = {name: frame.template.pieces.count(Field(name)) for name in kept}
        # Words merge across a cut, so a cut of n tokens may save more or fewer: cut until it fits.
        while (surplus := len(encoding.ids) - self.max_length) > 0:
            ends = {name: self._token_ends(text) for name, text in kept.items()}
            if not any(ends.values()):
                raise TemplateError(
                    f"template {frame.template.text!r} alone has {len(encoding.ids)} tokens, the "
                    f"model takes {self.max_length}; shorten it or show fewer demonstrations"
                )
            lengths = {name: len(found) for name, found in ends.items()}
            for name, left in _levelled(lengths, repeats, surplus).items():
                if left < lengths[name]:
                    kept[name] = _cut(kept[name], ends[name], left)
            encoding = self._encode_texts(frame, [kept], masks)[0]
        return Encoding(encoding.ids, encoding.mask_positions, original - len(encoding.ids))

    def _token_ends(self, text: str) -> list[int]:
        """For each token of a text the position of its last character plus one."""
        return [end for _, end in self._reader.encode(text, add_special_tokens=False).offsets]


def _levelled(
    lengths: Mapping[str, int], repeats: Mapping[str, int], surplus: int
) -> dict[str, int]:
    """How many tokens of each field stay, when the longest are shortened first.

    Args:
        lengths: field name to tokens.
        repeats: how often each field stands in the template.
        surplus: how many tokens must go.

    >>> _levelled({"a": 9, "b": 6, "c": 2}, {"a": 1, "b": 1, "c": 1}, surplus=6)
    {'a': 5, 'b': 4, 'c': 2}
    """

    def saved(level: int) -> int:
        return sum(max(length - level, 0) * repeats[name] for name, length in lengths.items())

    low, high = 0, max(lengths.values())  # the highest level that saves enough, by bisection
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if saved(middle) >= surplus else (low, middle - 1)
    spare = saved(low) - surplus
    left = {}
    for name, length in lengths.items():
        left[name] = min(length, low)
        if length > low and spare >= repeats[name]:
            left[name], spare = low + 1, spare - repeats[name]
    return left


def _cut(text: str, ends: Sequence[int], left: int) -> str:
    """The text up to the end of its `left`-th token; always shorter than the text."""
    while left and ends[left - 1] >= len(text):
        left -= 1  # one character may be several tokens; it goes as a whole
    return text[: ends[left - 1]] if left else ""


def _reader_of_text(tokenizer: Any) -> Any:
    """A copy of a tokenizer's backend that reads "[MASK]" as any other characters.

    Not to look for special tokens before the tokenization (`encode_special_tokens`) is not enough:
    the vocabulary of XLM-RoBERTa and its like has them as pieces, which its model then finds. In
    the copy they have names that no text contains, and their ids.
    """
    backend = tokenizer.backend_tokenizer
    record = json.loads(backend.to_str())
    hidden = {token: f"\0{token}" for token in tokenizer.all_special_tokens}
    for added in record["added_tokens"]:
        added["content"] = hidden.get(added["content"], added["content"])
    model = record["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {hidden.get(piece, piece): at for piece, at in model["vocab"].items()}
    else:
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token"):
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    record.update(post_processor=None, truncation=None, padding=None)
    reader = type(backend).from_str(json.dumps(record))
    reader.encode_special_tokens = True
    return reader


@dataclass(frozen=True)
class _Fixed:
    ids: tuple[int, ...]
    is_mask: bool


@dataclass(frozen=True)
class _Section:
    """Text between fixed ids; the mask's own stripping of spaces is applied to its edges."""

    pieces: tuple[Literal | Field, ...]
    strip_left: bool
    strip_right: bool

    @property
    def has_fields(self) -> bool:
        return any(isinstance(piece, Field) for piece in self.pieces)

    def text(self, fields: Mapping[str, str]) -> str:
        whole = "".join(
            piece.text if isinstance(piece, Literal) else fields[piece.name]
            for piece in self.pieces
        )
        whole = whole.lstrip(WHITE_SPACE) if self.strip_left else whole
        return whole.rstrip(WHITE_SPACE) if self.strip_right else whole


def _context_of(frame: Frame) -> str:
    """The text before the mask, as far as it bears on the word's first token.

    A field's text ends in some word; the probe stands for it.
    """
    before: list[str] = []
    for piece in frame.template.pieces:
        if isinstance(piece, Mask):
            break
        if isinstance(piece, Literal):
            before.append(piece.text)
        elif isinstance(piece, Demonstrations):
            before.append(frame.demonstrations)
        else:
            before.append(PROBE)
    text = "".join(before)
    trailing = text[len(text.rstrip()) :]
    words = text.split()
    return (words[-1] if words else "") + trailing
