"""Other wordings of a template."""

from __future__ import annotations

import pytest

from autoprompt.templates import Template
from autoprompt.wordings import SYNONYMS, wordings


def texts_of(template: str) -> dict[str, str]:
    return {name: found.text for name, found in wordings(Template.parse(template)).items()}


def test_every_kind_of_change_on_one_template() -> None:
    assert texts_of("Review: {text} All in all, it was ( {mask} ) .") == {
        "end: exclamation mark": "Review: {text} All in all, it was ( {mask} ) !",
        "end: nothing": "Review: {text} All in all, it was ( {mask} )",
        "colons as dashes": "Review - {text} All in all, it was ( {mask} ) .",
        "lower case": "review: {text} all in all, it was ( {mask} ) .",
        "case of the first letter": "review: {text} All in all, it was ( {mask} ) .",
        "doubled white space": "Review:  {text}  All in all, it was (  {mask}  ) .",
        "stripped white space": "Review: {text} All in all, it was ({mask}) .",
        "'It was' as 'It is'": "Review: {text} All in all, it is ( {mask} ) .",
        "'It was' as 'This was'": "Review: {text} All in all, this was ( {mask} ) .",
        "'All in all,' as 'Overall,'": "Review: {text} Overall, it was ( {mask} ) .",
        "'All in all,' as 'In summary,'": "Review: {text} In summary, it was ( {mask} ) .",
        "'Review' as 'Comment'": "Comment: {text} All in all, it was ( {mask} ) .",
    }


@pytest.mark.parametrize(
    ("template", "ends"),
    [
        ("{text} It was {mask}", ["{text} It was {mask}."]),
        ("{text} {mask}.", ["{text} {mask}!", "{text} {mask}"]),
        ("{text} {mask} !", ["{text} {mask} .", "{text} {mask}"]),
        ("{text} Is it {mask}?", ["{text} Is it {mask}"]),
        ("{text} {mask}...", ["{text} {mask}.", "{text} {mask}"]),
        ("{mask}. {text}", ["{mask}! {text}", "{mask} {text}"]),
        ("{mask} . {text}", ["{mask} ! {text}", "{mask} {text}"]),
        ("{mask}.{text}", ["{mask}!{text}", "{mask} {text}"]),
        ("{mask} film. {text} So.", ["{mask} film! {text} So.", "{mask} film {text} So."]),
        ("{mask}: {text}", []),
        ("{mask}{text}", []),
        ("Version 1.5: {text} {mask} 1.5", []),
    ],
)
def test_ends_of_the_masks_sentence(template: str, ends: list[str]) -> None:
    found = texts_of(template)
    assert [text for name, text in found.items() if name.startswith("end: ")] == ends


@pytest.mark.parametrize(
    ("template", "stripped"),
    [
        (" {text} It was {mask} . ", "{text} It was {mask}."),
        ("[ {mask} ] {text}", "[{mask}] {text}"),
        ("{text_a} ? {mask} , {text_b}", "{text_a}? {mask}, {text_b}"),
        ("{text} It was {mask} indeed", None),
        ("{text} - {mask}", None),
    ],
)
def test_white_space_is_stripped_where_it_holds_no_words_apart(
    template: str, stripped: str | None
) -> None:
    assert texts_of(template).get("stripped white space") == stripped


@pytest.mark.parametrize("word", ["I", "TV"])
def test_what_is_always_a_capital_stays_one(word: str) -> None:
    assert "case of the first letter" not in texts_of(f"{word} said: {{text}} {{mask}}")


def test_a_synonym_keeps_its_case_and_is_a_whole_word() -> None:
    found = texts_of("Reviewer: {text} My REVIEW, my review, the Review: {mask}.")
    assert found["'Review' as 'Comment'"] == (
        "Reviewer: {text} My REVIEW, my comment, the Comment: {mask}."
    )


def test_an_article_that_would_not_fit_keeps_its_word() -> None:
    found = texts_of("An article: {text} The article is about {mask}.")
    assert found["'Article' as 'Text'"] == "An article: {text} The text is about {mask}."


def test_a_field_is_never_a_word_of_the_template() -> None:
    assert not [name for name in texts_of("{review} {mask}.") if "Review" in name]


def test_braces_stay_literal() -> None:
    assert texts_of("{{It was}} {text} {mask}")["lower case"] == "{{it was}} {text} {mask}"


def test_no_change_gives_the_same_template_twice() -> None:
    found = list(texts_of("It was: {text} {mask}.").values())
    assert len(found) == len(set(found))


def test_the_table_names_a_phrase_once_in_a_row() -> None:
    for row in SYNONYMS:
        assert len(row) == len({phrase.lower() for phrase in row}) > 1


def test_the_parts_of_a_chat_stay_in_their_order() -> None:
    template = Template.parse("{system:}Judge.{user:}Review: {text}{assistant:}The answer: {mask}.")
    found = wordings(template)
    assert found["lower case"].text == (
        "{system:}judge.{user:}review: {text}{assistant:}the answer: {mask}."
    )
    assert all(list(changed.parts) == list(template.parts) for changed in found.values())
