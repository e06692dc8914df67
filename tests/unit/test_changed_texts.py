"""Changed inputs."""

from __future__ import annotations

import pytest

from autoprompt.changed_texts import (
    changed_texts,
    shortened,
    without_key_words,
    without_punctuation,
)
from autoprompt.errors import InputError
from autoprompt.tasks.examples import Example


def examples(*texts: str) -> list[Example]:
    return [Example({"text": text}, "label") for text in texts]


def texts(found: list[Example]) -> list[str]:
    return [example.fields["text"] for example in found]


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Well... it's 3.5 stars, (really)!", "Well it's 3.5 stars really"),
        ("cute - but bland", "cute but bland"),
        ("film...but", "film but"),
        ("'quoted' well-made", "quoted well-made"),
        (" kept  white\tspace ", " kept  white\tspace "),
        ("¡no!", "no"),
        ("...", ""),
        ("", ""),
    ],
)
def test_punctuation_goes_where_it_stands_between_words(text: str, bare: str) -> None:
    assert without_punctuation(text) == bare


def test_key_words_are_the_rare_content_words() -> None:
    data = examples("the film was dreadful", "the film was superb", "a film")
    assert texts(without_key_words(data, 0.5)) == ["the film was", "the film was", "a"]


def test_a_key_word_goes_wherever_it_stands_in_its_text() -> None:
    data = examples("Superb film, superb", "film")
    assert texts(without_key_words(data, 0.5)) == ["film,", ""]


def test_each_field_loses_its_own_share() -> None:
    data = [Example({"text_a": "one cat", "text_b": "two dogs bark"}, "label")]
    (found,) = without_key_words(data, 1)
    assert dict(found.fields) == {"text_a": "one", "text_b": ""}


def test_ties_among_key_words_are_drawn_by_the_seed() -> None:
    data = examples("red green blue black white pink")
    drawn = {texts(without_key_words(data, 0.3, seed))[0] for seed in range(20)}
    assert len(drawn) > 1
    assert without_key_words(data, 0.3, 5) == without_key_words(data, 0.3, 5)


def test_three_ways_to_discard_words() -> None:
    text = "one two  three four five"
    found = {name: texts(some)[0] for name, some in shortened(examples(text), 0.4).items()}
    assert found["end cut off"] == "one two  three"
    assert found["start cut off"] == "three four five"
    thinned = found["words lost at random"].split()
    assert len(thinned) == 3
    assert [word for word in text.split() if word in thinned] == thinned


@pytest.mark.parametrize("text", ["", " ", "word"])
def test_what_cannot_lose_a_word_keeps_it(text: str) -> None:
    assert [texts(some) for some in shortened(examples(text), 1).values()] == [[text]] * 3


def test_all_changes_keep_fields_labels_and_order() -> None:
    data = [Example({"b": "A Film!", "a": "It is."}, "x"), Example({"b": "C", "a": "D"}, "y")]
    for found in changed_texts(data).values():
        assert [example.label for example in found] == ["x", "y"]
        assert [list(example.fields) for example in found] == [["b", "a"]] * 2
    assert changed_texts(data)["upper case"][0].fields == {"b": "A FILM!", "a": "IT IS."}
    assert changed_texts(data)["doubled white space"][0].fields == {"b": "A  Film!", "a": "It  is."}


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="above 0 and at most 1, not"):
        changed_texts(examples("a film"), share)
