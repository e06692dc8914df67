"""Wordings keep the template's places; a changed text differs where it says so, no further."""

import re

from hypothesis import given
from hypothesis import strategies as st
from test_template_properties import pieces

from autoprompt.changed_texts import changed_texts, shortened, without_key_words
from autoprompt.counterfactuals import swapped, swapped_groups
from autoprompt.group_terms import FAMILIES
from autoprompt.pieces import Literal, Mask
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.wordings import SYNONYMS, wordings

phrases = st.sampled_from([phrase for row in SYNONYMS for phrase in row])
prompt_text = st.lists(phrases | st.sampled_from([" ", ".", "!", ":", "? ", "( ", " )", "a ", "X"]))
shares = st.floats(0.01, 1)
words = st.lists(st.from_regex(r"[a-zA-Z]{1,8}", fullmatch=True), max_size=12)
prose = words.map(" ".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def templates(draw):
    """Templates whose literals are made of what the changes look for."""
    parts = [
        "{mask}",
        "{text}",
        *draw(st.sampled_from([[], ["{trigger:2}"], ["{demonstrations}"]])),
    ]
    mixed = [part for slot in draw(st.permutations(parts)) for part in (*draw(prompt_text), slot)]
    return Template.parse("".join([*mixed, *draw(prompt_text)]))


any_template = templates() | pieces().map(
    lambda mixed: Template.parse("".join(written for written, _ in mixed))
)


def slots(template):
    return [piece for piece in template.pieces if not isinstance(piece, Literal)]


def around_mask(template):
    """What stands directly before and after the mask, with a stand-in for slots and the ends."""
    at = template.pieces.index(Mask())
    before = template.pieces[at - 1] if at else None
    after = template.pieces[at + 1] if at + 1 < len(template.pieces) else None
    return (
        before.text[-1] if isinstance(before, Literal) else "" if before is None else "x",
        after.text[0] if isinstance(after, Literal) else "" if after is None else "x",
    )


@given(any_template)
def test_a_wording_parses_and_keeps_every_slot(template):
    found = wordings(template)
    for changed in found.values():
        assert Template.parse(changed.text) == changed
        assert slots(changed) == slots(template)
        assert changed.text != template.text
    assert len({changed.text for changed in found.values()}) == len(found)


@given(any_template)
def test_a_wording_glues_no_word_to_the_mask(template):
    for changed in wordings(template).values():
        for old, new in zip(around_mask(template), around_mask(changed), strict=True):
            assert not new.isalnum() or old.isalnum()


@given(any_template)
def test_white_space_changes_change_white_space_only(template):
    found = wordings(template)
    for name in ("doubled white space", "stripped white space"):
        if name in found:
            assert "".join(found[name].text.split()) == "".join(template.text.split())


@given(st.lists(prose, min_size=1, max_size=4), shares, st.integers(0, 3))
def test_discarding_words_leaves_a_part_of_the_text_in_its_order(texts, share, seed):
    examples = [Example({"text": text}, "label") for text in texts]
    ways = {**shortened(examples, share, seed), "k": without_key_words(examples, share, seed)}
    for found in ways.values():
        for old, new in zip(texts, found, strict=True):
            kept = iter("".join(old.split()))
            assert all(char in kept for char in "".join(new.fields["text"].split()))


@given(st.lists(words.filter(len), min_size=1, max_size=4), shares, st.integers(0, 3))
def test_words_that_stay_are_whole(texts, share, seed):
    examples = [Example({"text": " ".join(text)}, "label") for text in texts]
    ways = {**shortened(examples, share, seed), "k": without_key_words(examples, share, seed)}
    for found in ways.values():
        for old, new in zip(texts, found, strict=True):
            waiting = iter(old)
            assert all(word in waiting for word in new.fields["text"].split())
    for name in ("end cut off", "start cut off", "words lost at random"):
        for old, new in zip(texts, ways[name], strict=True):
            lost = len(old) - len(new.fields["text"].split())
            assert lost == min(max(1, round(share * len(old))), len(old) - 1)


@given(st.lists(prose, max_size=4), st.integers(0, 3))
def test_the_same_seed_changes_texts_the_same_way(texts, seed):
    examples = [Example({"text": text}, "label") for text in texts]
    assert changed_texts(examples, seed=seed) == changed_texts(examples, seed=seed)


# -- groups of people -------------------------------------------------------------------------

CONTEXTUAL = {"him", "her", "his", "hers"}
OTHERS = ["good", "film", "saw", "THE", "It", "was", "well-made", "ham", ",", "."]


def reversible(family, pair):
    """Terms of two groups that lead to each other, and no words in context."""
    found = []
    for row in family.rows:
        terms = [row[group] for group in pair]
        if None in terms or {*map(str.lower, terms)} & CONTEXTUAL:
            continue
        if all(family.spellings[term.lower()][1] == row for term in terms):
            found += [term.upper() for term in terms]
            proper = {term[0].isupper() for term in terms}
            # "black" and "Asian" differ in case: only where both have a capital it comes back.
            found += terms if len(proper) == 1 else []
            found += [term.lower() for term in terms if proper == {True}]
            found += [term[0].upper() + term[1:] for term in terms if proper != {True}]
    return found


@st.composite
def group_texts(draw):
    """A family, two of its groups, and words of which some are their terms."""
    family = draw(st.sampled_from(FAMILIES))
    size = len(family.groups)
    pair = tuple(sorted(draw(st.permutations(range(size)))[:2]))
    term = st.sampled_from(reversible(family, pair))
    return family, pair, draw(st.lists(st.sampled_from(OTHERS) | term, max_size=8))


@given(group_texts())
def test_swapping_twice_gives_the_text_back(given_texts):
    family, pair, parts = given_texts
    text = " ".join(parts)
    once = swapped(text, family, pair)
    assert swapped(once, family, pair) == text


@given(group_texts())
def test_nothing_but_the_terms_changes(given_texts):
    family, pair, parts = given_texts
    once = swapped(" ; ".join(parts), family, pair).split(" ; ")
    for old, new in zip(parts, once if parts else [], strict=True):
        is_term = family.owners.get(old.lower()) in pair
        assert (old != new) == is_term
        if is_term:
            assert family.owners[new.lower()] == sum(pair) - family.owners[old.lower()]


@given(st.sampled_from(["a", "an", "A", "the"]), group_texts())
def test_an_article_stays_or_becomes_the_other(article, given_texts):
    family, pair, parts = given_texts
    for part in parts:
        text = f"{article} {part}"
        found = swapped(text, family, pair)
        assert re.split(r"\s", found)[0].lower() in {"a", "an"} or found.startswith("the ")


@given(prose)
def test_a_text_without_terms_has_no_counterfactual(text):
    named = any(family.pattern.search(text) for family in FAMILIES)
    assert bool(swapped_groups(Example({"text": text}))) <= named
