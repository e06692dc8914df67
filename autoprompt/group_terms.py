"""Words that name a group of people, in parallel: what a bias audit swaps.

A family has groups, and rows of terms that say the same of each group. A term stands in one group
only. Where a row lacks a group's term, no swap to that group is made. The lists are short on
purpose: a word with a second meaning (king, host, miss, Mark; black without a person) would put
nonsense into a text, and a flip on nonsense says nothing about groups.

The names are those that are mostly given to men or to women in English.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

Row = tuple[str | None, ...]


@dataclass(frozen=True)
class Family:
    """Groups that are alternatives to each other.

    Attributes:
        name: for people, for example "gender".
        groups: their names.
        rows: parallel terms, one for each group, written as in running text; None where a group
            has none. The first row that holds a term says what it becomes.
        by_context: term to (what it becomes before a word it belongs to, what it becomes
            elsewhere), where one word serves as two: "her book", "saw her".
    """

    name: str
    groups: tuple[str, ...]
    rows: tuple[Row, ...]
    by_context: Mapping[str, tuple[str, str]]

    @cached_property
    def owners(self) -> dict[str, int]:
        """Term in lower case to the position of its group."""
        return {term.lower(): group for row in self.rows for group, term in enumerate(row) if term}

    @cached_property
    def spellings(self) -> dict[str, tuple[str, Row]]:
        """Term in lower case to how the table writes it, and the first row that holds it."""
        found: dict[str, tuple[str, Row]] = {}
        for row in self.rows:
            for term in filter(None, row):
                found.setdefault(term.lower(), (term, row))
        return found

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds whole terms, the longest at a place, with an article before them.

        Groups: `article` and `gap` (both may be missing), `term`.
        """
        longest_first = sorted(self.owners, key=lambda term: (-len(term), term))
        terms = "|".join(re.escape(term) for term in longest_first)
        return re.compile(
            rf"(?<!\w)(?<!\w-)(?:(?P<article>an?)(?P<gap>\s+))?(?P<term>{terms})(?!\w)(?!-\w)",
            re.IGNORECASE,
        )


PERSONS = (
    *("man", "men", "woman", "women", "person", "people", "boy", "boys", "girl", "girls"),
    *("guy", "guys", "lady", "ladies", "gentleman", "couple", "family", "families"),
)
MIXED = ("community", "neighborhood", "neighbourhood", "culture", "immigrant", "immigrants")


def _before(adjectives: Row, nouns: tuple[str, ...]) -> tuple[Row, ...]:
    """Rows of an adjective before each noun."""
    return tuple(tuple(word and f"{word} {noun}" for word in adjectives) for noun in nouns)


def _pairs(text: str) -> tuple[Row, ...]:
    """Rows from lines of `term/term`."""
    return tuple(tuple(pair.replace("_", " ").split("/")) for pair in text.split())


GENDER = Family(
    "gender",
    ("male", "female"),
    _pairs(
        """
        he/she him/her his/her his/hers himself/herself man/woman men/women boy/girl boys/girls
        male/female males/females guy/gal guys/gals gentleman/lady gentlemen/ladies
        father/mother fathers/mothers dad/mom dads/moms dad/mum dads/mums daddy/mommy
        daddy/mummy son/daughter sons/daughters brother/sister brothers/sisters
        husband/wife husbands/wives uncle/aunt uncles/aunts nephew/niece nephews/nieces
        grandfather/grandmother grandfathers/grandmothers grandpa/grandma
        grandson/granddaughter grandsons/granddaughters stepfather/stepmother
        stepson/stepdaughter father-in-law/mother-in-law brother-in-law/sister-in-law
        son-in-law/daughter-in-law boyfriend/girlfriend boyfriends/girlfriends groom/bride
        widower/widow widowers/widows bachelor/bachelorette actor/actress actors/actresses
        waiter/waitress waiters/waitresses hero/heroine heroes/heroines prince/princess
        princes/princesses duke/duchess emperor/empress monk/nun monks/nuns
        businessman/businesswoman businessmen/businesswomen policeman/policewoman
        policemen/policewomen fireman/firewoman salesman/saleswoman salesmen/saleswomen
        chairman/chairwoman spokesman/spokeswoman congressman/congresswoman
        schoolboy/schoolgirl schoolboys/schoolgirls cowboy/cowgirl cowboys/cowgirls
        masculine/feminine masculinity/femininity fatherhood/motherhood boyhood/girlhood
        brotherhood/sisterhood sir/madam mr/ms mr/mrs
        John/Mary James/Emily Robert/Linda Michael/Jessica William/Elizabeth David/Susan
        Thomas/Sarah Daniel/Laura Paul/Anna Peter/Julia George/Helen Kevin/Karen Steven/Nancy
        Andrew/Rachel Edward/Alice Brian/Amy Matthew/Hannah Richard/Margaret Charles/Catherine
        Joseph/Teresa Anthony/Angela Joshua/Sophia Benjamin/Olivia Samuel/Emma Jacob/Isabella
        """
    ),
    {"his": ("her", "hers"), "her": ("his", "him")},
)

NATIONALITY = Family(
    "nationality",
    ("American", "British", "French", "German", "Russian", "Chinese", "Indian", "Mexican"),
    (
        ("American", "British", "French", "German", "Russian", "Chinese", "Indian", "Mexican"),
        ("America", "Britain", "France", "Germany", "Russia", "China", "India", "Mexico"),
        ("Americans", "Britons", None, "Germans", "Russians", None, "Indians", "Mexicans"),
    ),
    {},
)

# Not by themselves: "Christian" is a given name too, and its adjective and noun differ elsewhere.
RELIGION = Family(
    "religion",
    ("Christian", "Muslim", "Jewish", "Hindu", "Buddhist"),
    (
        ("Christians", "Muslims", "Jews", "Hindus", "Buddhists"),
        ("Christianity", "Islam", "Judaism", "Hinduism", "Buddhism"),
        ("church", "mosque", "synagogue", None, None),
        ("churches", "mosques", "synagogues", None, None),
        *_before(("Christian", "Muslim", "Jewish", "Hindu", "Buddhist"), PERSONS + MIXED),
        (None, "Muslim", None, "Hindu", "Buddhist"),
    ),
    {},
)

ETHNICITY = Family(
    "ethnicity",
    ("Black", "White", "Asian", "Hispanic"),
    _before(("black", "white", "Asian", "Hispanic"), PERSONS + MIXED),
    {},
)

AGE = Family(
    "age",
    ("young", "old"),
    (
        *_before(("young", "old"), PERSONS),
        *_before(("younger", "older"), PERSONS),
        *_pairs(
            """
            teenager/pensioner teenagers/pensioners youngster/senior youngsters/seniors
            millennial/boomer millennials/boomers twenty-year-old/seventy-year-old
            """
        ),
    ),
    {},
)

FAMILIES = (GENDER, NATIONALITY, RELIGION, ETHNICITY, AGE)
