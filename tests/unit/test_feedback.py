"""What a person said: read, written, and put into a space and a task."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import FeedbackError
from autoprompt.feedback import Feedback
from autoprompt.space_content import SeedPrompt
from autoprompt.spaces import SearchSpace
from autoprompt.tasks.examples import Example
from autoprompt.tasks.task import Task
from autoprompt.templates import Template

SPACE = SearchSpace.parse("""
name: tiny
fields: [text]
labels: [neg, pos]
seeds:
  - template: "{text} it was {mask} ."
    verbalizer: {neg: [terrible], pos: [great]}
  - template: "{mask} film : {text}"
    verbalizer: {neg: [bad, awful], pos: [good, fine]}
templates:
  patterns: ["{text} {stem} {mask}"]
  slots: {stem: ["it was", "this is"]}
label_words:
  candidates: {neg: [boring, Dull], pos: [funny, warm]}
  search: true
""")
WORDS = {"neg": ("poor",), "pos": ("nice",)}
SEED = SeedPrompt(Template.parse("{text} all in all {mask}"), WORDS)
ALL = Feedback(
    (SEED,),
    ("{text} it was {mask} .", "{text} this is {mask}"),
    ("dull", "Fine"),
    (Example({"text": "not half bad"}, "pos"),),
)
# Any text but half surrogates, which no file holds, and what a field must have.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
words = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8)


def task(test: str = "neg") -> Task:
    def rows(*pairs: tuple[str, str]) -> tuple[Example, ...]:
        return tuple(Example({"text": text}, label) for text, label in pairs)

    return Task(
        "films",
        ("text",),
        ("neg", "pos"),
        "accuracy",
        train=rows(("good", "pos"), ("not half bad", "neg")),
        dev=rows(("dull", "neg"), ("not half bad", "neg")),
        test=rows(("not half bad", test)),
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    ALL.save(tmp_path / "feedback.yaml")
    assert Feedback.load(tmp_path / "feedback.yaml") == ALL


@given(text=texts, template=texts, word=words, label=words)
def test_any_text_survives(
    text: str, template: str, word: str, label: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`no`, `1`, `- x`, quotes, line breaks, braces: what was said is what is read."""
    path = tmp_path_factory.mktemp("feedback") / "feedback.yaml"
    said = Feedback(
        banned_templates=(template,) if template.strip() else (),
        banned_words=(word,),
        labels=(Example({"text": text}, label),),
    )
    said.save(path)
    assert Feedback.load(path) == said


def test_a_space_with_feedback() -> None:
    space = ALL.of_space(SPACE)
    assert [seed.template.text for seed in space.seeds] == ["{text} all in all {mask}"]
    assert space.candidates == {"neg": ("boring",), "pos": ("funny", "warm")}
    assert space.banned_templates == ALL.banned_templates
    assert space.banned_words == ("dull", "fine")
    assert space.fingerprint() != SPACE.fingerprint()


def test_no_feedback_changes_nothing() -> None:
    assert Feedback().of_space(SPACE) == SPACE
    assert Feedback().of_space(SPACE).fingerprint() == SPACE.fingerprint()
    assert Feedback().of_task(task()) == (task(), 0)


def test_an_accepted_prompt_stands_first_and_once() -> None:
    again = SeedPrompt(SPACE.seeds[1].template, dict(SPACE.seeds[1].words))
    space = Feedback(seeds=(again, again)).of_space(SPACE)
    assert [seed.template.text for seed in space.seeds] == [
        "{mask} film : {text}",
        "{text} it was {mask} .",
    ]


def test_labels_are_corrected_but_never_on_test() -> None:
    corrected, changed = ALL.of_task(task())
    assert changed == 2
    assert [example.label for example in corrected.train] == ["pos", "pos"]
    assert [example.label for example in corrected.dev] == ["neg", "pos"]
    assert corrected.test == task().test


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seedz: []", "feedback has no key 'seedz'; did you mean 'seeds'"),
        ("seeds: [{template: x}]", "a seed needs the key 'verbalizer'"),
        ("seeds:\n- template: '{text} {mask}'\n  verbalizer: {pos: []}", "line 3"),
        ("seeds:\n- template: '{text}'\n  verbalizer: {pos: [a]}", "must have exactly one"),
        ("bans: {template: [x]}", "bans has no key 'template'"),
        ("labels: [{label: pos}]", "a corrected label needs the key 'fields'"),
        ("labels: [{fields: {text: [a]}, label: pos}]", "field 'text' must be text"),
        ("labels: &a [*a]", "anchor"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "feedback.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FeedbackError, match=said) as found:
        Feedback.load(path)
    assert str(path) in str(found.value)


@pytest.mark.parametrize(
    ("feedback", "said"),
    [
        (Feedback(seeds=(SeedPrompt(Template.parse("{review} {mask}"), WORDS),)), "unknown slot"),
        (
            Feedback(seeds=(SeedPrompt(SEED.template, {"pos": ("nice",)}),)),
            "label 'neg' has no words",
        ),
        (
            Feedback(banned_words=("great", "good")),
            "bans every seed prompt; leave one",
        ),
    ],
)
def test_feedback_that_does_not_fit(feedback: Feedback, said: str) -> None:
    with pytest.raises(FeedbackError, match=said):
        feedback.of_space(SPACE)


def test_an_unknown_label() -> None:
    with pytest.raises(FeedbackError, match=r"corrects a label to .positive.*neg, pos"):
        Feedback(labels=(Example({"text": "good"}, "positive"),)).of_task(task())
