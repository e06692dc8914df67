"""A prompt's story: what changed from step to step, and that nothing is lost in the telling."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autoprompt.lineage import Edit, nearest, token_diff, tokens_of, told

GONE, CAME = re.compile(r"\[-(.*?)-\]", re.DOTALL), re.compile(r"\{\+(.*?)\+\}", re.DOTALL)
token = st.sampled_from(
    [
        "It",
        "was",
        "{mask}",
        "{text}",
        "{trigger:3}",
        "{user:}",
        "-",
        "+",
        "[",
        "]",
        "{",
        "}",
        "{{",
        ".",
        "It's",
    ]
)
texts = st.lists(token, max_size=8).map(" ".join) | st.text(max_size=12)
texts |= st.lists(token, max_size=8).map("".join)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("{text} It was {mask}.", ["{text}", "It", "was", "{mask}", "."]),
        ("", []),
        ("  ", []),
        ("{trigger:3}({mask})!?", ["{trigger:3}", "(", "{mask}", ")", "!", "?"]),
        ("don't naïve\n2nd", ["don", "'", "t", "naïve", "2nd"]),
        ("{{ {text_a} }}", ["{", "{", "{text_a}", "}", "}"]),
        ("{user:}{user} so{assistant:}", ["{user:}", "{user}", "so", "{assistant:}"]),
        ("{not a slot}", ["{", "not", "a", "slot", "}"]),
    ],
)
def test_tokens_are_words_marks_and_slots(text: str, tokens: list[str]) -> None:
    assert tokens_of(text) == tokens


@pytest.mark.parametrize(
    ("before", "after", "diff"),
    [
        ("{text} It was {mask}.", "{text} It was {mask}.", "{text} It was {mask} ."),
        ("{text} It was {mask}.", "{text} It is {mask}.", "{text} It [-was-] {+is+} {mask} ."),
        ("{text} {mask}", "{text} so {mask}", "{text} {+so+} {mask}"),
        ("{text} so it {mask}", "{text} {mask}", "{text} [-so it-] {mask}"),
        ("a b c", "x y", "[-a b c-] {+x y+}"),
        ("", "a", "{+a+}"),
        ("a", "", "[-a-]"),
        ("", "", ""),
        ("It was", "It  was\n", "It was"),  # white space is not shown
    ],
)
def test_a_diff_marks_what_went_and_what_came(before: str, after: str, diff: str) -> None:
    assert token_diff(before, after) == diff


@given(before=texts, after=texts)
@example("a", "{+b+}")
@example("a {+b+}", "a")
@example("[-a-]", "b")
@example("-", "- ]")
@example("+ }", "+")
def test_a_diff_holds_both_texts(before: str, after: str) -> None:
    diff = token_diff(before, after)
    new = CAME.sub(r" \1 ", GONE.sub(" ", diff))
    old = GONE.sub(r" \1 ", CAME.sub(" ", diff))
    assert new.split() == tokens_of(after)
    assert old.split() == tokens_of(before)


@given(text=texts)
def test_a_text_and_itself_do_not_differ(text: str) -> None:
    assert token_diff(text, text) == " ".join(tokens_of(text))


# -- the nearest ------------------------------------------------------------------------------


def test_the_nearest_shares_most_tokens_in_order() -> None:
    others = ["{mask} : {text}", "{text} It was {mask}.", "{text} It is {mask}."]
    assert nearest("{text} It was really {mask}.", others) == 1
    assert nearest("{mask} news : {text}", others) == 0
    assert nearest(others[2], others) == 2


def test_of_equally_near_texts_the_first_is_taken() -> None:
    assert nearest("a b", ["c", "a", "b", "a"]) == 1
    assert nearest("x", ["c", "a"]) == 0


@given(others=st.lists(texts, min_size=1, max_size=4), data=st.data())
def test_a_text_is_nearest_to_itself(others: list[str], data: st.DataObject) -> None:
    own = data.draw(st.sampled_from(others))
    assert tokens_of(others[nearest(own, others)]) == tokens_of(own)


# -- the story --------------------------------------------------------------------------------

WORDS = {"neg": ("bad",), "pos": ("great", "fine")}


def test_the_first_text_is_told_in_full_and_then_what_changed() -> None:
    lineage = [
        Edit("seed 1", "{text} It was {mask}.", WORDS),
        Edit("filling masks", "{text} This was {mask}.", WORDS),
        Edit("label words", "{text} This was {mask}.", {"neg": ("dull",), "pos": ("fine",)}),
        Edit("both", "{text} {mask}.", WORDS),
        Edit("calibration", "{text} {mask}.", WORDS),
    ]
    assert told(lineage) == [
        "seed 1: {text} It was {mask}.  (neg: bad, pos: great / fine)",
        "filling masks: {text} [-It-] {+This+} was {mask} .",
        "label words: (neg: dull, pos: fine)",
        "both: {text} [-This was-] {mask} .; (neg: bad, pos: great / fine)",
        "calibration (same text)",
    ]


def test_a_step_without_a_text_is_passed_over_by_the_diffs() -> None:
    lineage = [
        Edit("old"),
        Edit("seed", "{text} {mask}"),
        Edit("unknown"),
        Edit("edit", "{text} so {mask}"),
    ]
    assert told(lineage) == [
        "old",
        "seed: {text} {mask}",
        "unknown",
        "edit: {text} {+so+} {mask}",
    ]
    assert told([]) == []


# -- records ----------------------------------------------------------------------------------


def test_an_edit_comes_back_from_its_record() -> None:
    edit = Edit("seed 1", "{text} {mask}", WORDS)
    assert edit.to_dict() == {
        "how": "seed 1",
        "text": "{text} {mask}",
        "words": {"neg": ["bad"], "pos": ["great", "fine"]},
    }
    assert Edit.from_record(edit.to_dict()) == edit


@pytest.mark.parametrize("record", ["seed 1", {"how": "seed 1"}, {"how": "seed 1", "words": {}}])
def test_a_step_may_be_known_by_name_only(record: object) -> None:
    assert Edit.from_record(record) == Edit("seed 1")


@pytest.mark.parametrize(
    "record",
    [
        None,
        3,
        ["seed"],
        {},
        {"how": 3},
        {"text": "x"},
        {"how": "x", "text": None},
        {"how": "x", "words": ["bad"]},
        {"how": "x", "words": None},
    ],
)
def test_what_is_no_step_is_refused(record: object) -> None:
    with pytest.raises(TypeError, match=r"^lineage: "):
        Edit.from_record(record)


@pytest.mark.parametrize("words", [{"neg": "bad"}, {"neg": 3}, {"neg": None}])
def test_words_that_are_no_list_are_refused(words: object) -> None:
    with pytest.raises(TypeError, match=r"^lineage: "):
        Edit.from_record({"how": "x", "words": words})
