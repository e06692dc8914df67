"""Examples about another group of people."""

from __future__ import annotations

import pytest

from autoprompt.counterfactuals import swapped, swapped_groups
from autoprompt.group_terms import AGE, ETHNICITY, FAMILIES, GENDER, NATIONALITY, RELIGION, Family
from autoprompt.tasks.examples import Example


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("He met the man.", "She met the woman."),
        ("she hurt herself", "he hurt himself"),
        ("HE and Mrs. Smith", "SHE and Mr. Smith"),
        ("He's a hero; it's John's.", "She's a heroine; it's Mary's."),
        ("a manual for human heroism", None),
        ("the man-made he-man", None),
        ("my mother-in-law, a mother", "my father-in-law, a father"),
        ("Emma thanked dad", "Samuel thanked mom"),
        ("her own film", "his own film"),
        ("his own film", "her own film"),
        ("I saw her.", "I saw him."),
        ("I saw her in it", "I saw him in it"),
        ("her “great” film", "his “great” film"),
        ("the film was his", "the film was hers"),
        ("hers, not him", "his, not her"),
        ("he loves her", "she loves him"),
    ],
)
def test_gender(text: str, other: str | None) -> None:
    found = swapped_groups(Example({"text": text}, "label"))
    gender = [swap.example.fields["text"] for swap in found if swap.family == "gender"]
    assert gender == ([other] if other else [])


@pytest.mark.parametrize(
    ("family", "pair", "text", "other"),
    [
        (NATIONALITY, (0, 3), "An American film", "A German film"),
        (NATIONALITY, (0, 3), "a german in america", "an american in germany"),
        (NATIONALITY, (0, 3), "A GERMAN FILM", "AN AMERICAN FILM"),
        (NATIONALITY, (0, 3), "a American film", "a German film"),
        (NATIONALITY, (1, 5), "The Britons left China", None),
        (RELIGION, (0, 1), "Christian families at church", "Muslim families at mosque"),
        (RELIGION, (0, 3), "at church", None),
        (RELIGION, (0, 1), "christian bale", "christian bale"),
        (RELIGION, (0, 2), "Jews and Christians", "Christians and Jews"),
        (ETHNICITY, (0, 2), "a black man, an Asian woman", "an Asian man, a Black woman"),
        (ETHNICITY, (0, 1), "in black and white", "in black and white"),
        (ETHNICITY, (0, 1), "A Black Man", "A White Man"),
        (AGE, (0, 1), "Old people, a teenager", "Young people, a pensioner"),
        (AGE, (0, 1), "an old film", "an old film"),
    ],
)
def test_other_families(family: Family, pair: tuple[int, int], text: str, other: str) -> None:
    assert swapped(text, family, pair) == other


def test_a_counterfactual_says_what_was_exchanged() -> None:
    (found,) = swapped_groups(Example({"a": "his film", "b": "good"}, "positive"))
    assert (found.family, found.groups, found.source) == ("gender", ("male", "female"), "male")
    assert found.example == Example({"a": "her film", "b": "good"}, "positive")


def test_a_text_of_both_groups_has_no_source() -> None:
    (found,) = swapped_groups(Example({"a": "his film", "b": "her book"}))
    assert found.source is None
    assert found.example.fields == {"a": "her film", "b": "his book"}


def test_each_other_group_comes_once() -> None:
    found = swapped_groups(Example({"text": "a German film"}))
    assert [swap.source for swap in found] == ["German"] * 7
    assert len({swap.groups for swap in found}) == 7


def test_other_groups_of_the_family_stay() -> None:
    found = swapped_groups(Example({"text": "a German and a Russian"}))
    texts = {swap.groups: swap.example.fields["text"] for swap in found}
    assert texts["German", "Indian"] == "an Indian and a Russian"
    assert texts["German", "Russian"] == "a Russian and a German"
    assert len(texts) == 13


def test_an_exchange_without_a_counterpart_is_not_made() -> None:
    found = swapped_groups(Example({"a": "at church", "b": "Christian families"}))
    assert [swap.groups[1] for swap in found] == ["Muslim", "Jewish"]


@pytest.mark.parametrize("text", ["", "a good film", "theatre, shepherd, Mexicano"])
def test_a_text_that_names_no_group_has_no_counterfactual(text: str) -> None:
    assert swapped_groups(Example({"text": text})) == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_tables_are_in_order(family: Family) -> None:
    assert len(set(family.groups)) == len(family.groups) > 1
    owner: dict[str, int] = {}
    for row in family.rows:
        assert len(row) == len(family.groups)
        assert sum(term is not None for term in row) > 1
        for group, term in enumerate(row):
            if term is not None:
                assert term == term.strip()
                assert owner.setdefault(term.lower(), group) == group, f"{term} is in two groups"
    assert set(family.by_context) <= set(owner)


def test_no_name_is_a_term_of_gender_twice() -> None:
    names = [term for row in GENDER.rows for term in row if term and term[0].isupper()]
    assert len(names) == len(set(names)) > 40
