"""Drafting a search space from a task."""

from __future__ import annotations

import unicodedata

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from autoprompt.drafts import draft_space, is_drafted, label_word
from autoprompt.errors import InputError, TaskError
from autoprompt.models.causal import check_order
from autoprompt.spaces import SearchSpace, shipped_spaces
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

HOSTILE = ["yes", "1", "a: b", "'", '"', "x\ny", "~", "{b}", "- c", "# d", "\\n", "\x07", "🎬", "é"]
names = st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=12)


@given(labels=st.lists(names, min_size=2, max_size=5, unique=True), name=st.text(max_size=20))
@example(labels=HOSTILE, name="a task")
@example(labels=["\u2028", "\x85b", "\ufeff", "\U0001f3ac\ufe0f"], name="")
def test_any_label_names_give_a_space_that_loads_or_an_error(labels: list[str], name: str) -> None:
    try:
        space = SearchSpace.parse(draft_space(name, ["text"], labels))
    except InputError:
        return
    assert space.labels == tuple(unicodedata.normalize("NFC", label).strip() for label in labels)
    assert all(set(seed.words) == set(space.labels) for seed in space.seeds)


@pytest.mark.parametrize("label", HOSTILE)
def test_hostile_label_names_load(label: str) -> None:
    space = SearchSpace.parse(draft_space("task", ["text"], [label, "other"]))
    assert space.labels == (label, "other")


@given(fields=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
@example(fields=["text"])
@example(fields=["trigger:3"])
@example(fields=["a} {b"])
def test_any_field_names_give_a_space_that_loads_or_an_error(fields: list[str]) -> None:
    try:
        space = SearchSpace.parse(draft_space("task", fields, ["a", "b"]))
    except InputError:
        return
    assert space.fields == tuple(fields)
    assert all(seed.template.fields == tuple(fields) for seed in space.seeds)


@pytest.mark.parametrize("field", ["the text", "mask", "stem", "trigger:2", "naïve"])
def test_a_field_that_cannot_be_a_slot_is_named(field: str) -> None:
    with pytest.raises(TaskError, match=r"a field called .*task\.yaml") as caught:
        draft_space("task", [field], ["a", "b"])
    assert repr(field) in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_seed_shows_every_field(count: int) -> None:
    fields = ["one", "two", "three"][:count]
    space = SearchSpace.parse(draft_space("task", fields, ["a", "b"]))
    assert all(set(seed.template.fields) == set(fields) for seed in space.seeds)


@pytest.mark.parametrize("fields", [["text"], ["a", "b"], ["a", "b", "c"]])
def test_instructions_name_the_words_and_come_as_a_chat_and_as_plain_text(
    fields: list[str],
) -> None:
    space = SearchSpace.parse(draft_space("task", fields, ["{SPAM}", "not_spam"]))
    chat, plain = space.instructions.seeds
    assert (chat.template.is_chat, plain.template.is_chat) == (True, False)
    for seed in (chat, plain):
        check_order(seed.template)
        shown = seed.template.render(dict.fromkeys(fields, "x"), "")
        assert "Answer with one of these: {spam}, not spam." in shown
        assert set(seed.template.fields) == set(fields)
        assert seed.words == space.seeds[0].words
    texts = {
        space.for_family("causal").compose(p, dict.fromkeys(p.slots, 0)).text
        for p in space.instructions.patterns
    }
    assert texts == {chat.template.text, plain.template.text}


def test_labels_that_give_one_word_are_named() -> None:
    with pytest.raises(TaskError, match="'not_spam' and 'not-spam' give the same word 'not spam'"):
        draft_space("task", ["text"], ["not_spam", "not-spam"])


@pytest.mark.parametrize(
    ("label", "word"),
    [("not_entailment", "not entailment"), ("SPAM", "spam"), ("eBay", "eBay"), ("__", "__")],
)
def test_label_words(label: str, word: str) -> None:
    assert label_word(label) == word


def test_a_draft_is_plain_yaml() -> None:
    assert yaml.safe_load(draft_space("my task!", ["text"], ["a", "b"]))["name"] == "my-task-"


def seeds_of(text: str) -> list[tuple[Template, Verbalizer]]:
    space = SearchSpace.parse(text)
    return [(seed.template, Verbalizer.of(seed.words, space.labels)) for seed in space.seeds]


@pytest.mark.parametrize("fields", [["text"], ["a", "b"], ["x", "y", "z"]])
def test_the_seeds_of_a_draft_are_known_again(fields: list[str]) -> None:
    text = draft_space("task", fields, ["SPAM", "not_spam"])
    assert [is_drafted(*seed) for seed in seeds_of(text)] == [True] * 4
    assert not any(is_drafted(*seed) for seed in seeds_of(text.replace('"spam"', '"junk"')))
    other = text.replace("{mask}", "rather {mask}")
    assert not any(is_drafted(*seed) for seed in seeds_of(other))


@pytest.mark.parametrize("name", shipped_spaces())
def test_what_is_shipped_is_no_draft(name: str) -> None:
    space = SearchSpace.load(name)
    for labels in space.label_sets:
        for seed in space.seeds:
            words = {label: seed.words[label] for label in labels}
            assert not is_drafted(seed.template, Verbalizer.of(words, labels))
