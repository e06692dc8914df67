"""Templates that a model writes itself: a seed's words filled anew, and gaps filled by a T5.

`fill` edits a seed template with any masked language model: a word of the template, or a gap beside
one, is masked, and what the model puts there, on average over some examples, is an edit. The best
edits are edited again, as a beam. `generate_with_t5` takes whole templates from a model that was
trained to fill gaps (LM-BFF: Gao, Fisch and Chen 2021, section 5.2).

The scores rank the templates of one call, no more: what a template is worth, a search measures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import (
    InputError,
    ModelError,
    TaskError,
    TemplateError,
    VerbalizerError,
    listing,
)
from autoprompt.models.encoding import Encoding, PromptEncoder
from autoprompt.models.infilling import SentinelInfiller
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.sections import PROBE
from autoprompt.models.vocabulary import whole_words
from autoprompt.prompts import Frame
from autoprompt.scoring.batches import length_bucketed
from autoprompt.scoring.ledger import Spent
from autoprompt.tasks.examples import Example
from autoprompt.templates import (
    MAX_TRIGGERS,
    Demonstrations,
    Field,
    Literal,
    Mask,
    Piece,
    Template,
    Trigger,
    escape,
)

ONE_LETTER = ("a", "I")  # `whole_words` begins at two
PUNCTUATION = (".", ",", "!", "?", ":", ";")
LOOKED_AT = 8  # times `options`: how far down a place's list an edit is looked for
# Words (with inner apostrophes and hyphens), white space, and any other character by itself.
_UNIT = re.compile(r"\w+(?:['’-]\w+)*|\s+|[^\w\s]")
_MASK_SLOT = Literal(PROBE)  # stands for the label word in the text before a place
Edit = tuple[str, float]


@dataclass(frozen=True)
class Generated:
    """A template that a model wrote.

    Attributes:
        template: valid, and other than the seed.
        score: in nats, higher is better, comparable within one call. From `fill`: the sum of the
            gains of the edits that led here from the seed (see `fill`), each a mean over the
            examples. From `generate_with_t5`: the mean over the examples of the log-probability
            of the two filled gaps.
        edits: the texts of the templates on the way from the seed, oldest first, without this one;
            empty where there was no seed.
    """

    template: Template
    score: float
    edits: tuple[str, ...] = ()


def fill(
    model: LanguageModel,
    template: Template,
    examples: Sequence[Example],
    words: Mapping[str, str] | None = None,
    *,
    beam: int = 4,
    rounds: int = 3,
    options: int = 8,
    most: int = 20,
    shorten: bool = False,
) -> tuple[list[Generated], Spent]:
    """Edit a seed template by iterated mask filling.

    In each round every word of each template in the beam is masked in turn (to be replaced), and
    so is every gap beside a word or slot (to be filled). The model's log-probabilities there,
    averaged over the examples, name the best whole words and punctuation marks. The gain of

    - putting w in the place of v is mean log p(w) - mean log p(v), both at the same mask;
    - putting w into a gap is mean log p(w) - r, where r is the mean over the template's own words
      v of mean log p(v), 0 in a template without words: a word is welcome where it fits better
      than the others do on average;
    - leaving out v, if `shorten`, is r - mean log p(v): what putting it back would cost.

    A word of n tokens is measured at n masks, by the mean of its tokens' log-probabilities, as
    label words are. The `{mask}`, the fields, trigger slots (masks stand for them) and
    demonstrations (none are shown) stay as they are.

    Args:
        model: any masked language model.
        template: the seed.
        examples: texts for the fields, 8 to 16 of them; the caller draws them from train.
        words: label to word. None, the default, leaves the label's mask a mask, and reads no
            label. Else the gold label's word stands there, as in LM-BFF: then the templates are
            fitted on the labels of these examples.
        beam: how many templates of a round are edited in the next.
        rounds: edits that a template may be away from the seed.
        options: the most edits with different words at one place.
        most: the most templates that are returned.
        shorten: whether words may be left out. The model is not asked what it thinks of the
            shorter text, so this rests on a guess; a hard word in the seed invites it.

    Returns:
        The templates, the best first, each once (two are one where the model gets equal ids), and
        what they cost: one forward for each sequence.

    Raises:
        InputError: a number is smaller than 1.
        ModelError: the model is not a masked one.
        TaskError: there are no examples, or one lacks a field of the template.
        TemplateError: the seed alone does not fit into the model.
        VerbalizerError: an example's label has no word, or the word cannot be written at the mask.
        ScoringError: the model gave a score that is not finite.
    """
    for name, value in {"beam": beam, "rounds": rounds, "options": options, "most": most}.items():
        if value < 1:
            raise InputError(f"{name} must be 1 or more; it is {value}")
    if model.identity.family != "masked":
        raise ModelError(
            f"mask filling needs a masked language model; {model.identity.name!r} is a "
            f"{model.identity.family} one: take a model such as BERT or RoBERTa for it"
        )
    filler = _Filler(model, template, examples, words, options, shorten)
    seen = {filler.key(template)}
    found: list[Generated] = []
    front = [Generated(template, 0.0)]
    for _ in range(rounds):
        fresh: dict[tuple[int, ...], Generated] = {}
        for parent in front:
            for text, gain in filler.edits(parent.template):
                child = Generated(
                    Template.parse(text), parent.score + gain, (*parent.edits, parent.template.text)
                )
                key = filler.key(child.template)
                if key and key not in seen and (key not in fresh or _best(child, fresh[key])):
                    fresh[key] = child
        seen.update(fresh)
        found += fresh.values()
        front = sorted(fresh.values(), key=_rank)[:beam]
    return sorted(found, key=_rank)[:most], filler.spent


def generate_with_t5(
    infiller: SentinelInfiller,
    examples: Sequence[Example],
    fields: Sequence[str],
    words: Mapping[str, str],
    *,
    beam: int = 100,
    most: int = 100,
    max_tokens: int = 20,
) -> tuple[list[Generated], Spent]:
    """Templates from a T5, by LM-BFF's method; see `SentinelInfiller.generate` for the rest.

    Returns:
        The templates, the best first, each once, and what they cost. `score` is the mean over the
        examples of the log-probability that the infiller sums.
    """
    forwards, tokens = infiller.forwards, infiller.tokens
    texts = infiller.generate(examples, fields, words, beam=beam, most=most, max_tokens=max_tokens)
    found = [
        Generated(Template.parse(text, fields), total / len(examples)) for text, total in texts
    ]
    spent = Spent(forwards=infiller.forwards - forwards, tokens=infiller.tokens - tokens)
    return sorted(found, key=_rank), spent


def _rank(generated: Generated) -> tuple[float, str]:
    return -generated.score, generated.template.text


def _best(one: Generated, other: Generated) -> bool:
    return _rank(one) < _rank(other)


# -- places: text only ------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a word may be written.

    Attributes:
        before: what stands before it, without the space that a word has of its own.
        after: what stands after it.
        spaced: whether a word here has a space before it.
        word: the word that stands here now; empty for a gap.
        stops: whether punctuation may stand here, which then touches what is before it.
        shorter: the template without the word; empty where none can be left out.
    """

    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    spaced: bool
    word: str = ""
    stops: bool = False
    shorter: str = ""

    def text(self, piece: str, touching: bool = False) -> str:
        """The template's text with a piece of template text here."""
        space = " " if self.spaced and not touching else ""
        return f"{_written(self.before)}{space}{piece}{_written(self.after)}"

    def context(self, touching: bool = False) -> Frame:
        """A frame whose mask stands here, with the same text before it."""
        before = [_MASK_SLOT if isinstance(piece, Mask) else piece for piece in self.before]
        space = " " if self.spaced and not touching else ""
        return Frame(Template.parse(f"{_written(before)}{space}{{mask}} {{{PROBE}}}"))

    @property
    def neighbours(self) -> set[str]:
        """The words on both sides, case-folded: none is written twice in a row."""
        sides = (_last(self.before), _last(self.after[::-1]))
        return {_text(side).casefold() for side in sides if _is_word(side)}

    def recased(self, word: str) -> str:
        """The template's text with a word of a model that has no capitals.

        A word takes the case of the one that it replaces. A new one begins with a capital at the
        beginning of a sentence, and before a word that did, which loses its own.
        """
        if self.word:
            return self.text(word.capitalize() if self.word.istitle() else word)
        last, following = _last(self.before), _last(self.after[::-1])
        if _text(following).istitle() and _text(following) != "I":
            at = self.after.index(Literal(_text(following)))
            after = (*self.after[:at], Literal(_text(following).lower()), *self.after[at + 1 :])
            return replace(self, after=after).text(word.capitalize())
        opens = last is None or (isinstance(last, Literal) and last.text in ".!?")
        return self.text(word.capitalize() if opens else word)


def places_of(template: Template) -> list[Place]:
    """The words of a template that stand by themselves, and the gaps where a word may go."""
    units: list[Piece] = []
    for piece in template.pieces:
        if isinstance(piece, Literal):
            units += [Literal(text) for text in _UNIT.findall(piece.text)]
        else:
            units.append(piece)
    found = [_word_place(units, at) for at, unit in enumerate(units) if _is_word(unit)]
    found += [_gap_place(units, at) for at in range(len(units) + 1)]
    return [place for place in found if place is not None]


def _word_place(units: list[Piece], at: int) -> Place | None:
    left, right = _around(units, at, at + 1)
    if _is_slot(left) or _is_slot(right) or isinstance(right, Demonstrations):
        return None  # a part of what the slot makes
    word, after = _text(units[at]), tuple(units[at + 1 :])
    if _text(left).endswith(" "):
        kept = _text(left)[:-1]  # the last space belongs to the word
        before = (*units[: at - 1], *([Literal(kept)] if kept else []))
        shorter = _written([*units[: at - 1], *after])
        return Place(before, after, True, word, not kept and _takes_stop(before, after), shorter)
    shorter = _written([*units[:at], *after[1:]]) if _text(right).isspace() else ""
    return Place(tuple(units[:at]), after, False, word, shorter=shorter)


def _gap_place(units: list[Piece], at: int) -> Place | None:
    (left, right), before, after = _around(units, at, at), tuple(units[:at]), tuple(units[at:])
    if left is None or isinstance(left, Demonstrations):  # demonstrations end in a space
        closes = _text(right).strip("([{\"'“‘") == _text(right) and not _is_word(right)
        if right is None or isinstance(right, Demonstrations) or (_text(right) and closes):
            return None
        return Place(before, (Literal(" "), *after), False)
    if _text(left).isspace():
        return None  # the gap before the white space is the same
    stops = _takes_stop(before, after)
    if right is None or _text(right).isspace():
        return Place(before, after, True, stops=stops)
    if _text(right) in (*PUNCTUATION, ")") and (_is_word(left) or _is_slot(left)):
        return Place(before, after, True)
    if _is_slot(left) and _is_slot(right):
        return Place(before, (Literal(" "), *after), True, stops=stops)
    return None


def _takes_stop(before: Sequence[Piece], after: Sequence[Piece]) -> bool:
    """Whether punctuation fits: after a word or slot, and not before more punctuation."""
    last, following = (before[-1] if before else None), _last(after[::-1])
    touched = _is_word(last) or _is_slot(last)
    return touched and (following is None or _is_word(following) or _is_slot(following))


def _around(units: Sequence[Piece], start: int, end: int) -> tuple[Piece | None, Piece | None]:
    return (units[start - 1] if start else None), (units[end] if end < len(units) else None)


def _last(pieces: Sequence[Piece]) -> Piece | None:
    """The last piece that is not white space."""
    return next((piece for piece in reversed(pieces) if not _text(piece).isspace()), None)


def _text(piece: Piece | None) -> str:
    return piece.text if isinstance(piece, Literal) else ""


def _is_word(piece: Piece | None) -> bool:
    return bool(re.match(r"\w", _text(piece)))


def _is_slot(piece: Piece | None) -> bool:
    return isinstance(piece, Field | Mask | Trigger)


def _written(pieces: Sequence[Piece]) -> str:
    """Pieces as the text of a template."""
    texts = []
    for piece in pieces:
        if isinstance(piece, Literal):
            texts.append(escape(piece.text))
        elif isinstance(piece, Trigger):
            texts.append(f"{{trigger:{piece.count}}}")
        else:
            name = piece.name if isinstance(piece, Field) else type(piece).__name__.lower()
            texts.append(f"{{{name}}}")
    return "".join(texts)


# -- what the model puts there ----------------------------------------------------------------


class _Filler:
    """Asks a model what stands at the places of templates, over the same examples."""

    def __init__(
        self,
        model: LanguageModel,
        seed: Template,
        examples: Sequence[Example],
        words: Mapping[str, str] | None,
        options: int,
        shorten: bool,
    ) -> None:
        self.model = model
        self.encoder = model.encoder
        self.spent = Spent()
        self._options = options
        self._shorten = shorten
        self._examples = len(examples)
        self._probe = [Example(dict.fromkeys(seed.fields, PROBE))]
        self._groups = _by_word(seed, examples, words)
        for word, members in self._groups.items():  # what is wrong with the seed is raised here
            ids = self.encoder.word_ids(self._frame(seed), word) if word is not None else ()
            self.encoder.encode(self._frame(seed), members, len(ids) or 1)
        spaced = Frame(Template.parse(f"{{{PROBE}}} {{mask}}"))
        touching = Frame(Template.parse(f"{{{PROBE}}}{{mask}}"))
        self._words = _with_capitals(self.encoder) | self._singles(spaced, ONE_LETTER)
        # Byte-level BPE has another entry for a word without a space before it.
        vocabulary = self.encoder.tokenizer.get_vocab()
        self._bare = {word: vocabulary[word] for word in self._words if word in vocabulary}
        self._stops = self._singles(touching, PUNCTUATION)
        self._uncased = self._ids_in(spaced, "The") == self._ids_in(spaced, "the")

    def key(self, template: Template) -> tuple[int, ...]:
        """The ids of a template with probes in its fields; empty where it is too long."""
        try:
            return self.encoder.encode(self._frame(template), self._probe)[0].ids
        except TemplateError:
            return ()

    def edits(self, template: Template) -> Iterator[Edit]:
        """Texts of edited templates with their gains; some may be equal, or too long."""
        usable = ((place, self._own_ids(place)) for place in places_of(template))
        asked = [
            (place, own, encoded)
            for place, own in usable
            if bool(own) == bool(place.word) and (encoded := self._encoded(place, 1))
        ]
        known = [*self._words.values(), *self._bare.values(), *self._stops.values()]
        tokens = np.unique(np.array([*known, *(i for _, own, _ in asked for i in own)], np.int64))
        rows = self._means([encoded for _, _, encoded in asked], tokens)[:, 0]
        fits: dict[Place, float] = {}
        for (place, own, _), row in zip(asked, rows, strict=True):
            if len(own) == 1:
                fits[place] = float(row[np.searchsorted(tokens, own[0])])
            elif own and (encoded := self._encoded(place, len(own))):
                found = self._means([encoded], np.array(own, np.int64))[0]
                fits[place] = float(found.diagonal().mean())
        usual = float(np.mean(list(fits.values()))) if fits else 0.0
        for (place, _, _), row in zip(asked, rows, strict=True):
            if place.word and place not in fits:
                continue
            for text, fit in self._proposals(place, tokens, row):
                yield text, fit - fits.get(place, usual)
            if self._shorten and place.shorter and len(fits) > 1:
                yield place.shorter, usual - fits[place]

    def _proposals(
        self, place: Place, tokens: NDArray[np.int64], row: NDArray[np.float64]
    ) -> Iterator[Edit]:
        """The best texts at a place with their mean log-probabilities, the best first."""
        table = {**self._table(place), **(self._stops if place.stops else {})}
        pieces, ids = list(table), np.array(list(table.values()), np.int64)
        fits = row[np.searchsorted(tokens, ids)]
        order = np.argsort(-fits, kind="stable")[: self._options * LOOKED_AT]
        accepted = (at for at in order if self._written_as(place, pieces[at], int(ids[at])))
        for at in islice(accepted, self._options):
            if (piece := pieces[at]) in self._stops:
                text = place.text(piece, touching=True)
            else:
                text = place.recased(piece) if self._uncased else place.text(piece)
            yield text, float(fits[at])

    def _table(self, place: Place) -> dict[str, int]:
        """The words that may stand at a place, with the entries that they have there."""
        if not place.spaced:
            for word, token in self._bare.items():
                if token != self._words[word]:
                    plain = self._ids_in(place.context(), word) == (token,)
                    return self._bare if plain else self._words
        return self._words

    def _written_as(self, place: Place, piece: str, token: int) -> bool:
        """Whether a text at a place is that one token, and says something new there."""
        if piece.casefold() in {place.word.casefold(), *place.neighbours}:
            return False
        return self._ids_in(place.context(touching=piece in self._stops), piece) == (token,)

    def _own_ids(self, place: Place) -> tuple[int, ...]:
        """The ids of the word that stands at a place; empty for a gap, and if it has none."""
        ids = self._ids_in(place.context(), place.word) if place.word else ()
        return ids if len(ids) <= MAX_TRIGGERS else ()

    def _singles(self, context: Frame, texts: Sequence[str]) -> dict[str, int]:
        """Those texts that are one token in a context, with their ids."""
        found = {text: self._ids_in(context, text) for text in texts}
        return {text: ids[0] for text, ids in found.items() if len(ids) == 1}

    def _ids_in(self, context: Frame, word: str) -> tuple[int, ...]:
        try:
            return self.encoder.word_ids(context, word)
        except VerbalizerError:
            return ()

    def _frame(self, template: Template) -> Frame:
        """A frame with masks in all trigger slots, and no demonstrations."""
        mask = int(self.encoder.tokenizer.mask_token_id)
        return Frame(template, tuple((mask,) * count for count in template.trigger_counts))

    def _encoded(self, place: Place, masks: int) -> list[Encoding]:
        """All examples with masks at a place, which is what they ask; none if it does not fit.

        The masks stand in a trigger slot. Where labels are used, the gold label's ids replace the
        label's masks.
        """
        frame = self._frame(Template.parse(place.text(f"{{trigger:{masks}}}", touching=True)))
        start = sum(piece.count for piece in place.before if isinstance(piece, Trigger))
        found: list[Encoding] = []
        try:
            for word, members in self._groups.items():
                gold = self.encoder.word_ids(frame, word) if word is not None else ()
                for encoding in self.encoder.encode(frame, members, len(gold) or 1):
                    written = dict(zip(encoding.mask_positions, gold, strict=False))
                    ids = tuple(written.get(at, token) for at, token in enumerate(encoding.ids))
                    positions = encoding.trigger_positions[start : start + masks]
                    found.append(replace(encoding, ids=ids, mask_positions=positions))
        except (TemplateError, VerbalizerError):
            return []
        return found

    def _means(
        self, requests: Sequence[Sequence[Encoding]], tokens: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Log-probabilities averaged over each request: shape `(requests, masks, tokens)`."""
        owned = [(at, encoding) for at, request in enumerate(requests) for encoding in request]
        masks = len(owned[0][1].mask_positions) if owned else 1
        sums = np.zeros((len(requests), masks, len(tokens)))
        lengths = [len(encoding.ids) for _, encoding in owned]
        for batch in length_bucketed(lengths):
            rows = self.model.log_probabilities([owned[i][1] for i in batch], tokens)
            for i, row in zip(batch, rows, strict=True):
                sums[owned[i][0]] += row
        self.spent += Spent(forwards=len(owned), tokens=sum(lengths))
        return sums / self._examples


def _with_capitals(encoder: PromptEncoder) -> dict[str, int]:
    """`whole_words`, and each of them with a capital where that is an entry as well."""
    vocabulary, found = encoder.tokenizer.get_vocab(), whole_words(encoder)
    pieces = encoder.tokenizer.convert_ids_to_tokens(list(found.values()))
    for word, piece in list(zip(found, pieces, strict=True)):
        capital = piece.removesuffix(word) + word.capitalize()
        if piece.endswith(word) and capital in vocabulary:
            found.setdefault(word.capitalize(), vocabulary[capital])
    return found


def _by_word(
    template: Template, examples: Sequence[Example], words: Mapping[str, str] | None
) -> dict[str | None, list[Example]]:
    """Examples by the word that stands at the label's mask; None for the mask itself."""
    if not examples:
        raise TaskError("templates are generated from examples; give one at least")
    groups: dict[str | None, list[Example]] = {}
    for example in examples:
        if missing := [name for name in template.fields if name not in example.fields]:
            raise TaskError(
                f"an example has no text for {listing(missing)}, which the template "
                f"{template.text!r} shows; it has: {listing(example.fields)}"
            )
        if words is not None and example.label not in words:
            raise VerbalizerError(
                f"an example has the label {example.label!r}, for which no word is given; there "
                f"are words for: {listing(words)}"
            )
        word = None if words is None else words[str(example.label)]
        groups.setdefault(word, []).append(example)
    return groups
