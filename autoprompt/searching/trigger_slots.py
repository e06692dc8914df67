"""Where trigger tokens stand in a template, and what they begin as.

A search that starts from the human prompt turns words of its own into trigger tokens: the first
prompt of the search is then, id by id, the one that the expert wrote.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autoprompt.errors import InputError
from autoprompt.models.causal import CausalEncoder
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.seq2seq import Seq2SeqEncoder
from autoprompt.pieces import USER, Literal, Mask, Piece, Role, Trigger
from autoprompt.prompts import Frame, TriggerTokens
from autoprompt.templates import Template

_NEUTRAL = " the"  # stands for any word when the spacing around a fresh slot is tried out


@dataclass(frozen=True)
class Slotted:
    """A template with trigger slots, and the ids that they begin as.

    Attributes:
        template: has one slot at least.
        initial: ids for each slot.
        how: for the lineage.
    """

    template: Template
    initial: tuple[tuple[int, ...], ...]
    how: str

    @property
    def frame(self) -> Frame:
        """The frame at the start."""
        return Frame(self.template, self.initial)


def slotted(
    encoder: PromptEncoder, template: Template, positions: Sequence[str], most: int
) -> list[Slotted]:
    """The ways to give a template trigger tokens.

    Args:
        encoder: spells the template's words.
        template: as it is; one that has trigger slots keeps them, and gets no others.
        positions: some of `TRIGGER_POSITIONS`: "own_words" takes the template's words in front of
            the mask, where there are some (in a chat whose assistant says nothing before it, the
            last ones of the user); the others add fresh tokens there, in front of all (in a chat
            of what the user says), or behind all.
        most: trigger tokens, at most.

    Raises:
        InputError: only "suffix" is asked for, on a causal model, which never sees it.
    """
    if template.trigger_counts:
        initial = blank_frame(encoder, template).triggers
        return [Slotted(template, initial, "trigger tokens in their slots")]
    sides = {"prefix": -1, "before_mask": 0, "suffix": 1}
    found: dict[str, Slotted] = {}
    if isinstance(encoder, CausalEncoder):  # it reads nothing after the mask
        seen = [position for position in positions if position != "suffix"]
        if positions and not seen:
            raise InputError(
                "trigger tokens behind the prompt are never seen by a causal model, which reads "
                "left to right; put them at 'before_mask' or 'prefix'"
            )
        positions = seen
    for position in positions:
        if position == "own_words":
            made = _own_words(encoder, template, most)
        else:
            made = _fresh(encoder, template, most, sides[position])
        if made is not None:
            found.setdefault(made.template.text, made)
    # A template without words before its mask gets fresh tokens where nothing else was asked for.
    return list(found.values()) or [_fresh(encoder, template, most, 0)]


def blank(encoder: PromptEncoder) -> int:
    """The id that a fresh trigger token begins as: the mask of a masked model, else a word."""
    if isinstance(encoder, CausalEncoder | Seq2SeqEncoder):
        return encoder.text_ids(_NEUTRAL)[-1]
    return encoder.mask_id


def blank_frame(encoder: PromptEncoder, template: Template) -> Frame:
    """A template whose trigger slots hold blank tokens, without demonstrations."""
    return Frame(template, tuple((blank(encoder),) * count for count in template.trigger_counts))


def split_by_slot(template: Template, ids: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The ids of all slots in a row, slot by slot."""
    waiting = iter(ids)
    return tuple(tuple(next(waiting) for _ in range(count)) for count in template.trigger_counts)


def trigger_tokens(
    encoder: PromptEncoder, triggers: Sequence[Sequence[int]]
) -> tuple[TriggerTokens, ...]:
    """The slots' tokens with their strings, which joined give the slot's text."""
    found = []
    for ids in triggers:
        texts = [encoder.tokenizer.decode(list(ids[: n + 1])) for n in range(len(ids))]
        # A token may be a part of a character, and then shows as a replacement sign until the
        # character is whole: what the whole text does not begin with is no token's string.
        ends = [0, *(_shared(text, texts[-1]) for text in texts)]
        ends = list(itertools.accumulate(ends, max))
        strings = [texts[-1][start:end] for start, end in itertools.pairwise(ends)]
        found.append(TriggerTokens(tuple(ids), tuple(strings)))
    return tuple(found)


def _own_words(encoder: PromptEncoder, template: Template, most: int) -> Slotted | None:
    """The words before the mask as trigger tokens: the same ids, as many words as fit."""
    pieces = list(template.pieces)
    at = _mask_at(pieces)
    if at and isinstance(pieces[at - 1], Role):
        at -= 1
    literal = pieces[at - 1] if at else None
    if not isinstance(literal, Literal):
        return None
    known = encoder.record(Frame(template), []).probe
    by_ids_only = None
    for start in _word_starts(literal.text):
        head, words, tail = _cut(literal.text, start)
        lead = words[: len(words) - len(words.lstrip())]
        # Tokens that begin with their space take it into the slot; others leave it outside.
        for outside, inside in ((lead, words.lstrip()), ("", words)):
            ids = tuple(encoder.text_ids(inside))
            if not 0 < len(ids) <= most:
                continue
            own: list[Piece] = [Literal(head + outside), Trigger(len(ids)), Literal(tail)]
            candidate = Template.of([*pieces[: at - 1], *own, *pieces[at:]])
            found = Slotted(candidate, (ids,), f"{inside.strip()!r} as trigger tokens")
            if encoder.record(found.frame, []).probe != known:
                continue
            if encoder.round_trips(found.frame):
                return found
            by_ids_only = by_ids_only or found
    return by_ids_only


def _fresh(encoder: PromptEncoder, template: Template, count: int, side: int) -> Slotted:
    """Fresh trigger tokens before all (-1), before the mask (0) or behind all (1)."""
    pieces = list(template.pieces)
    first = pieces.index(Role(USER)) + 1 if template.is_chat else 0
    at = {-1: first, 0: _mask_at(pieces), 1: len(pieces)}[side]
    word = encoder.text_ids(_NEUTRAL)[-1]
    chosen = None
    for before, after in ((" ", " "), ("", " "), ("", ""), (" ", "")):
        head = pieces[:at] if before else _without_space(pieces[:at])
        left = [Literal(before)] if at and not _ends_in_space(head, before) else []
        right = [Literal(after)] if at < len(pieces) else []
        candidate = Template.of([*head, *left, Trigger(count), *right, *pieces[at:]])
        chosen = chosen or candidate
        if encoder.round_trips(Frame(candidate, ((word,) * count,))):
            chosen = candidate
            break
    assert chosen is not None
    where = {-1: "in front", 0: "before the mask", 1: "behind"}[side]
    return Slotted(chosen, ((blank(encoder),) * count,), f"{count} trigger tokens {where}")


def _shared(first: str, second: str) -> int:
    """How many characters two texts begin with in common."""
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _mask_at(pieces: Sequence[Piece]) -> int:
    return next(index for index, piece in enumerate(pieces) if isinstance(piece, Mask))


def _ends_in_space(pieces: Sequence[Piece], space: str) -> bool:
    """Whether no space is wanted behind some pieces: none stands where a role's part begins."""
    last = pieces[-1]
    is_there = isinstance(last, Literal) and last.text.endswith(" ")
    return not space or is_there or isinstance(last, Role)


def _without_space(pieces: Sequence[Piece]) -> list[Piece]:
    if pieces and isinstance(pieces[-1], Literal):
        return [*pieces[:-1], Literal(pieces[-1].text.rstrip(" "))]
    return list(pieces)


def _word_starts(text: str) -> Iterator[int]:
    """Where the words of a text begin, the space before each included, from the first on."""
    for match in re.finditer(r"\s*\S+", text):
        yield match.start()


def _cut(text: str, start: int) -> tuple[str, str, str]:
    """What stands before a place, the words from there on, and the white space behind them."""
    body = text[start:].rstrip()
    return text[:start], body, text[start + len(body) :]
