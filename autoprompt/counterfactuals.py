"""Counterfactual examples: the same text about another group of people.

Only the terms of two groups are exchanged, and an article before them where its sound would not fit
any more ("an American", "a German"). Case is kept. Whole words only: a "manual" names no man.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import combinations

from autoprompt.group_terms import FAMILIES, Family
from autoprompt.tasks.examples import Example

# Words before which "her" is an object ("saw her in town") rather than a possessive ("her town").
_OBJECT_ENDS = """
to and or but nor so yet in on at by for from of off out over up into onto about after before
as if when while because than then that which who whom whose where why how what the a an this
these those is was are were be has had have do does did will would can could shall should may
might must not never again away through until till since during under against around along
here there now too also anyway i you he she it we they his my your our their like though
although unless toward towards behind beyond between with without
"""
_AFTER_OBJECT = frozenset(_OBJECT_ENDS.split())
_NEXT_WORD = re.compile(r"\s+[\"'“‘]?(\w+)")
_VOWELS = "aeiou"


@dataclass(frozen=True)
class Counterfactual:
    """An example with two groups' terms exchanged.

    Attributes:
        family: the name of a family of groups, for example "gender".
        groups: the two that are exchanged, in the family's order.
        source: the one of them that the original names; None where it names both.
        example: the changed example, with the original's label.
    """

    family: str
    groups: tuple[str, str]
    source: str | None
    example: Example


def swapped_groups(example: Example) -> list[Counterfactual]:
    """Every exchange of two groups that an example allows.

    Returns:
        Nothing where no field names a group. Each pair of groups of which one is named at least
        comes once, unless a term has no counterpart in the other group.
    """
    found: list[Counterfactual] = []
    texts = list(example.fields.values())
    for family in FAMILIES:
        named: set[int] = set().union(*(_groups_in(family, text) for text in texts))
        for pair in combinations(range(len(family.groups)), 2):
            if not named & {*pair}:
                continue
            changed = [swapped(text, family, pair) for text in texts]
            if None in changed:
                continue
            fields = {name: str(text) for name, text in zip(example.fields, changed, strict=True)}
            first, second = (family.groups[group] for group in pair)
            both = {*pair} <= named
            source = None if both else first if pair[0] in named else second
            found.append(
                Counterfactual(family.name, (first, second), source, Example(fields, example.label))
            )
    return found


def swapped(text: str, family: Family, pair: tuple[int, int]) -> str | None:
    """A text with the terms of two groups exchanged.

    Args:
        text: any text.
        family: whose groups.
        pair: the positions of the two groups in the family.

    Returns:
        None where a term of one group has no counterpart in the other.

    >>> swapped("He gave her an uncle's book.", GENDER, (0, 1))
    "She gave his an aunt's book."
    """
    parts: list[str] = []
    end = 0
    for match in family.pattern.finditer(text):
        group = family.owners[match["term"].lower()]
        if group not in pair:
            continue
        other = pair[1] if group == pair[0] else pair[0]
        term = _counterpart(family, match["term"], other, text[match.end() :])
        if term is None:
            return None
        article = _article(match["article"] or "", match["term"], term)
        parts += [text[end : match.start()], article, match["gap"] or "", term]
        end = match.end()
    return "".join([*parts, text[end:]])


def _groups_in(family: Family, text: str) -> set[int]:
    return {family.owners[match["term"].lower()] for match in family.pattern.finditer(text)}


def _counterpart(family: Family, term: str, other: int, rest: str) -> str | None:
    """What a term becomes in another group; `rest` is the text after it."""
    spelling, row = family.spellings[term.lower()]
    found = row[other]
    if found is None:
        return None
    if term.lower() in family.by_context:
        following = _NEXT_WORD.match(rest)
        belongs = following is not None and following[1].lower() not in _AFTER_OBJECT
        found = family.by_context[term.lower()][0 if belongs else 1]
    return _in_case_of(term, spelling, found)


def _in_case_of(term: str, spelling: str, found: str) -> str:
    """`found` in the case in which `term` stands in the text, where the table has `spelling`."""
    if term.isupper():
        return found.upper()
    if term[0].isupper():
        words = re.split(r"(\s)", found)
        every = all(word[0].isupper() for word in term.split())  # "Black Man", as in a headline
        heads = len(words) if every else 1
        return "".join(word[:1].upper() + word[1:] for word in words[:heads]) + "".join(
            words[heads:]
        )
    # A proper term in lower case: the text has no capitals.
    return found.lower() if spelling[0].isupper() else found


def _article(article: str, old: str, new: str) -> str:
    """The article before a new term; one that did not fit the old term stays."""
    fits = (len(article) == 2) == _begins_with_vowel(old)
    if not article or not fits or _begins_with_vowel(old) == _begins_with_vowel(new):
        return article
    if len(article) == 2:
        return article[0]
    return article + ("N" if new.isupper() else "n")


def _begins_with_vowel(term: str) -> bool:
    return term[0].lower() in _VOWELS  # enough for the terms in the table
