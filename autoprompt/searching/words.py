"""Every word that a search may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprompt.errors import InputError, VerbalizerError
from autoprompt.models.protocol import LanguageModel
from autoprompt.models.vocabulary import whole_words
from autoprompt.prompts import Frame
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.likeliest_words import likeliest_words
from autoprompt.tasks.examples import Example, label_counts
from autoprompt.verbalizers import normalised_word

FEWEST = 2  # examples a label to fit words on
LOOKED_AT = 32  # examples whose masks tell which words of the vocabulary are likely


@dataclass(frozen=True)
class Words:
    """The words of a search.

    Attributes:
        seeds: the experts'; scored whatever their length.
        candidates: words that are one token in some template, and are scored there.
        by_label: label to what may be fitted for it, the most trusted first.
        left_out: listed candidates that are several tokens everywhere.
        spent: on finding likely words of the vocabulary.
    """

    seeds: tuple[str, ...]
    candidates: tuple[str, ...]
    by_label: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...]
    spent: Spent


def words_to_score(
    table: CandidateTable, model: LanguageModel, examples: Sequence[Example]
) -> Words:
    """Find the words.

    Args:
        table: the space's choices.
        model: spells words, and says which ones of its vocabulary are likely.
        examples: train examples; their labels are not looked at.

    Raises:
        InputError: a label has too few examples to fit words on, or the vocabulary has no word
            that could be a candidate.
    """
    seeds = dict.fromkeys(w for verbalizer in table.verbalizers for w in verbalizer.all_words)
    space = table.space
    if not space.fit_words:
        return Words(tuple(seeds), (), {}, (), Spent())
    _check_examples(table, examples)
    listed = space.label_candidates()
    kept: dict[str, None] = {}
    dropped: dict[str, None] = {}
    for words in listed.values():
        for word in words:
            if word not in seeds:
                fits = any(_is_one_token(model, frame, word) for frame in table.frames())
                (kept if fits else dropped)[word] = None
    spent = Spent()
    found: list[str] = []
    if space.vocabulary:
        found, forwards = _from_vocabulary(table, model, examples)
        spent = Spent(forwards=forwards)
        known = {normalised_word(word) for word in (*seeds, *kept)}
        kept.update(dict.fromkeys(w for w in found if normalised_word(w) not in known))
    usable = {*seeds, *kept}
    by_label = {
        label: tuple(dict.fromkeys(word for word in (*words, *found) if word in usable))
        for label, words in listed.items()
    }
    return Words(tuple(seeds), tuple(kept), by_label, tuple(dropped), spent)


def _check_examples(table: CandidateTable, examples: Sequence[Example]) -> None:
    counts = label_counts(examples)
    for label in table.space.labels if examples else ():
        if counts.get(label, 0) < FEWEST:
            raise InputError(
                f"label words are fitted on train without the examples that judge them, and label "
                f"{label!r} has {counts.get(label, 0)} of them; give {FEWEST} at least, or write "
                f"`search: false` under label_words"
            )


def _from_vocabulary(
    table: CandidateTable, model: LanguageModel, examples: Sequence[Example]
) -> tuple[list[str], int]:
    """Likely words of the vocabulary, no field's name and none banned, and what it took."""
    space = table.space
    left_out = {*(normalised_word(name) for name in space.fields), *space.banned_words}
    known = {
        word: token
        for word, token in whole_words(model.encoder).items()
        if normalised_word(word) not in left_out
    }
    if not known:
        raise InputError(
            "the model's vocabulary has no whole words that could stand for labels; list some "
            "under label_words.candidates, and leave label_words.vocabulary out"
        )
    frames = [Frame(seed.template) for seed in table.space.seeds]
    frames = [frame for frame in frames if not frame.template.trigger_counts]
    if not frames:
        raise InputError(
            "all seed prompts have trigger slots, and words of the vocabulary are chosen at the "
            "masks of the others; write a seed prompt without triggers"
        )
    return likeliest_words(model, frames, examples[:LOOKED_AT], known, table.space.vocabulary)


def _is_one_token(model: LanguageModel, frame: Frame, word: str) -> bool:
    try:
        return len(model.encoder.word_ids(frame, word)) == 1
    except VerbalizerError:
        return False
