"""What stands right before the mask, against composing all templates of a space."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.demonstrations import with_demonstrations
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.sections import context_of
from autoprompt.pieces import slot_names
from autoprompt.prompts import Frame
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching.candidates import CandidateTable
from autoprompt.searching.mask_contexts import SHOWN, frames_of
from autoprompt.searching.words import words_to_score
from autoprompt.space_content import Pattern, SeedPrompt
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

SEED = SeedPrompt(Template.parse("{text} It was {mask}."), {"neg": ("bad",), "pos": ("great",)})
OPTIONS = (
    "",
    "It was",
    " ",
    "was ",
    "(",
    "so\n",
    "un",
    "{text}",
    " {text} (",
    "{trigger:2}",
    "a b",
)


def space_of(text: str, shown: bool, **slots: tuple[str, ...]) -> tuple[SearchSpace, Pattern]:
    names = dict.fromkeys(name for name in slot_names(text) if name in slots)
    space = SearchSpace(
        name="tiny",
        fields=("text",),
        label_sets=(("neg", "pos"),),
        seeds=(SEED,),
        slots=slots,
        demonstrations=(0, 1) if shown else (0,),
    )
    return space, Pattern(text, tuple(names))


def all_contexts(space: SearchSpace, pattern: Pattern) -> set[str]:
    """The contexts of every template, each composed."""
    slots = space.slots or {}
    found = set()
    for choice in itertools.product(*(range(len(slots[name])) for name in pattern.slots)):
        template = space.compose(pattern, dict(zip(pattern.slots, choice, strict=True)))
        found.add(context_of(Frame(template)))
        if any(space.demonstrations):
            found.add(context_of(Frame(with_demonstrations(template), demonstrations=(SHOWN,))))
    return found


def contexts(space: SearchSpace, pattern: Pattern) -> list[str]:
    return [context_of(frame) for frame in frames_of(space, [pattern])]


def check(space: SearchSpace, pattern: Pattern) -> None:
    found = contexts(space, pattern)
    assert set(found) == all_contexts(space, pattern)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "{text} {a} {mask}{b}",
        "{text} {a}{mask}",
        "{text}{a}{b}{mask}{a}",
        "{text} {a} {b}{a}{mask}",
        "{b}{mask} {a} {text}",
        "{mask} {text}{a}",
        "{text} {demonstrations}{a}{mask}",
        "{text} {a}{trigger:2}{mask}",
    ],
)
def test_every_context_is_found_once(text: str, shown: bool) -> None:
    check(*space_of(text, shown, a=("It was", "", " (", "so"), b=(".", "un", " ")))


@pytest.mark.parametrize("shown", [False, True])
def test_the_mask_may_stand_in_an_option(shown: bool) -> None:
    endings = ("It was {mask}.", "({mask})", "{mask} at last", "all: {mask} {demonstrations}")
    check(*space_of("{text} {a}{end} {a}", shown, a=("", "So", "un"), end=endings[:3]))
    check(*space_of("{text}{end}", shown, end=endings))


PARTS = st.sampled_from(["{a}", "{b}", "{c}", "{text}", " ", "the", "\n", "So,", " :", "(", "{a} "])


@given(
    left=st.lists(PARTS, max_size=5),
    right=st.lists(PARTS, max_size=3),
    slots=st.lists(st.sets(st.sampled_from(OPTIONS), min_size=1, max_size=4), min_size=3),
    shown=st.booleans(),
)
def test_contexts_are_those_of_all_templates(
    left: list[str], right: list[str], slots: list[set[str]], shown: bool
) -> None:
    text = "".join([*left, "{mask}", *right, " {text}"])
    named = dict(zip("abc", (tuple(sorted(options)) for options in slots), strict=False))
    check(*space_of(text, shown, **named))


def test_only_what_bears_on_the_word_is_looked_at() -> None:
    """A space of 10^12 templates has three contexts."""
    many = tuple(f"word {n}" for n in range(10_000))
    slots = {"a": many, "b": many, "c": many, "near": ("It was", "A", "(so)")}
    space, pattern = space_of("{text} {a} {b} {near} {mask} {c}", True, **slots)
    assert contexts(space, pattern) == ["was ", "A ", "(so) "]


# -- what hangs on it -------------------------------------------------------------------------

SPACE = """
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask}."
    verbalizer: {neg: [bad], pos: [great]}
templates:
  patterns: ["{text} so{glue}{mask}."]
  slots: {glue: [" ", " un", " ("]}
label_words: {candidates: {neg: [x], pos: [good]}}
"""
EXAMPLES = [Example({"text": f"a {n}"}, ("neg", "pos")[n % 2]) for n in range(4)]


def test_another_option_may_cost_more_passes(tiny_model: MaskedLanguageModel) -> None:
    """Glued to a word's beginning, the words are several tokens, and not equally many."""
    table = CandidateTable(SearchSpace.parse(SPACE))
    scorer = WordScorer(tiny_model, ["bad", "great", "good", "x"], one_token=["good", "x"])
    passes = {}
    for frame in table.frames():
        scorer.begin()
        scorer.scores(frame, EXAMPLES)
        passes[context_of(frame)] = scorer.spent.forwards // len(EXAMPLES)
        assert scorer.variants(frame) == passes[context_of(frame)]
    assert passes == {"was ": 1, "so ": 1, "un": 3, "(": 1}


def test_a_word_that_another_option_makes_one_token_is_kept(
    family_models: Callable[[str], MaskedLanguageModel],
) -> None:
    """After a bracket no space belongs to a word: "x" is one token there and nowhere else."""
    table, model = CandidateTable(SearchSpace.parse(SPACE)), family_models("roberta")
    counts = {context_of(f): len(model.encoder.word_ids(f, "x")) for f in table.frames()}
    assert (counts["so "], counts["("]) == (2, 1)
    words = words_to_score(table, model, EXAMPLES)
    assert (words.candidates, words.left_out) == (("x", "good"), ())
