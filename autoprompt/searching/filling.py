"""What a masked language model puts at the places of a template, averaged over examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from autoprompt.errors import TaskError, TemplateError, VerbalizerError, listing
from autoprompt.models.encoding import PromptEncoder
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.sections import PROBE
from autoprompt.models.sequence import Encoding
from autoprompt.models.vocabulary import whole_words
from autoprompt.pieces import MAX_TRIGGERS, Trigger
from autoprompt.prompts import Frame
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.places import PUNCTUATION, Place, places_of
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

AT_ONCE = 512  # sequences whose scores are held together: each has thousands of words
ONE_LETTER = ("a", "I")  # `whole_words` begins at two
LOOKED_AT = 8  # times `options`: how far down a place's list an edit is looked for
Gaining = tuple[str, float]  # a text, and its score in nats


class Filler:
    """Asks a model what stands at the places of templates, over the same examples.

    Args:
        model: a masked language model.
        seed: the template whose edits will be asked for.
        examples: texts for its fields.
        words: label to word, or None; see `generation.fill`.
        options: the most edits with different words at one place.
        shorten: whether words may be left out.

    Attributes:
        spent: on all that was asked so far.

    Raises:
        TaskError: there are no examples, or one lacks a field of the template.
        TemplateError: the seed alone does not fit into the model.
        VerbalizerError: an example's label has no word, or the word cannot be written at the mask.
    """

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

    def most_forwards(self, template: Template) -> int:
        """The most sequences that `edits` runs: each word may be asked for a second time."""
        places = places_of(template)
        return self._examples * (len(places) + sum(bool(place.word) for place in places))

    def edits(self, template: Template) -> Iterator[Gaining]:
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
    ) -> Iterator[Gaining]:
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
        for start in range(0, len(owned), AT_ONCE):
            part = owned[start : start + AT_ONCE]
            rows = self.model.log_probabilities([encoding for _, encoding in part], tokens)
            for (owner, _), row in zip(part, rows, strict=True):
                sums[owner] += row
        length = sum(len(encoding.ids) for _, encoding in owned)
        self.spent += Spent(forwards=len(owned), tokens=length)
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
