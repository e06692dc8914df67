"""The search spaces that ship: each must load, fit its label sets, and know its own seeds."""

import re
from dataclasses import replace

import pytest

from autoprompt.models.causal import check_order
from autoprompt.pieces import substitute
from autoprompt.spaces import SearchSpace, shipped_spaces
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer, normalised_word

NAMES = ["nli", "paraphrase", "question_type", "sentiment", "topic"]
LABEL_SETS = [(name, labels) for name in NAMES for labels in SearchSpace.load(name).label_sets]
ONE_WORD = re.compile(r"[A-Za-z]+(?:[-'][A-Za-z]+)*\Z")


def restricted(name: str, labels: tuple[str, ...]) -> SearchSpace:
    space = SearchSpace.load(name)
    return space.restricted(space.fields, labels)


def test_the_shipped_spaces_are_these():
    assert list(shipped_spaces()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_space_is_named_like_its_file(name):
    assert SearchSpace.load(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_space_says_what_it_is_for(name):
    assert SearchSpace.load(name).description


@pytest.mark.parametrize("name", NAMES)
def test_space_has_several_expert_prompts(name):
    seeds = SearchSpace.load(name).seeds
    assert len({seed.template.text for seed in seeds}) == len(seeds) >= 5


@pytest.mark.parametrize(("name", "labels"), LABEL_SETS)
def test_space_is_restricted_to_each_label_set(name, labels):
    space = restricted(name, tuple(reversed(labels)))
    assert space.labels == tuple(reversed(labels))
    assert len(space.verbalizers()) >= 3


@pytest.mark.parametrize(("name", "labels"), LABEL_SETS)
def test_words_are_single_plain_words(name, labels):
    words = [w for words in restricted(name, labels).label_candidates().values() for w in words]
    assert [word for word in words if not ONE_WORD.match(word)] == []


@pytest.mark.parametrize(("name", "labels"), LABEL_SETS)
def test_every_label_has_candidates_beyond_the_seeds(name, labels):
    space = restricted(name, labels)
    assert set(space.candidates) == set(labels)
    for label, words in space.candidates.items():
        seeds = {normalised_word(word) for seed in space.seeds for word in seed.words[label]}
        assert {normalised_word(word) for word in words} - seeds


@pytest.mark.parametrize(("name", "labels"), LABEL_SETS)
def test_candidates_of_two_labels_do_not_collide(name, labels):
    space = restricted(name, labels)
    Verbalizer.of(space.candidates, labels)


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_template_can_be_composed(name):
    """The search can come back to what the expert wrote."""
    space = SearchSpace.load(name)
    composed = {text for pattern in space.patterns for text in all_templates(space, pattern)}
    assert [s.template.text for s in space.seeds if s.template.text not in composed] == []


@pytest.mark.parametrize("name", NAMES)
def test_space_has_room_to_search(name):
    space = SearchSpace.load(name)
    assert sum(space.compositions(pattern) for pattern in space.patterns) >= 200


@pytest.mark.parametrize("name", NAMES)
def test_options_leave_no_doubled_space(name):
    space = SearchSpace.load(name)
    texts = [text for pattern in space.patterns for text in all_templates(space, pattern)]
    assert [text for text in texts if "  " in text or text != text.strip()] == []


def all_templates(space: SearchSpace, pattern) -> list[str]:
    texts = [pattern.text]
    for name in pattern.slots:
        texts = [substitute(text, {name: option}) for text in texts for option in space.slots[name]]
    return texts


# -- instructions -----------------------------------------------------------------------------

SLOTS = {"role", "context", "task_description", "format", "steps"}


@pytest.mark.parametrize("name", NAMES)
def test_instructions_say_what_to_do_and_how_to_answer(name):
    assert set(SearchSpace.load(name).instructions.slots) >= SLOTS


@pytest.mark.parametrize("name", NAMES)
def test_a_causal_model_reads_every_instruction(name):
    space = SearchSpace.load(name)
    own = replace(space, seeds=space.instructions.seeds, patterns=space.instructions.patterns)
    whole = space.for_family("causal")
    texts = [text for pattern in own.patterns for text in all_templates(whole, pattern)]
    for template in [*map(Template.parse, texts), *(seed.template for seed in own.seeds)]:
        check_order(template)
    assert [seed.template.text for seed in own.seeds if seed.template.text not in texts] == []
    assert [text for text in texts if "  " in text or text != text.strip()] == []


@pytest.mark.parametrize("name", NAMES)
def test_instructions_are_chats_and_plain_text(name):
    """A model without a chat template and a seq2seq one have plain text to begin with."""
    own = SearchSpace.load(name).instructions
    assert {seed.template.is_chat for seed in own.seeds} == {True, False}
    assert {"{user:}" in pattern.text for pattern in own.patterns} == {True, False}
    assert not any("{user:}" in option for options in own.slots.values() for option in options)


@pytest.mark.parametrize(("name", "labels"), LABEL_SETS)
def test_words_of_instructions_are_single_plain_words(name, labels):
    space = restricted(name, labels).for_family("causal")
    words = [w for words in space.label_candidates().values() for w in words]
    assert [word for word in words if not ONE_WORD.match(word)] == []
    assert len(space.verbalizers()) > len(restricted(name, labels).verbalizers())
