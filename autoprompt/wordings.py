"""Changed wordings of a template that mean the same to a reader.

A prompt that only works with one full stop, one capital or one synonym works by luck. Each change
here touches the template's own words only: fields, mask, triggers and demonstrations keep their
places, and no white space is taken from between the mask and a word.

    >>> list(wordings(Template.parse("{text} It was {mask}.")))[:4]
    ['end: exclamation mark', 'end: nothing', 'lower case', 'doubled white space']
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from autoprompt.pieces import Literal, Mask, Piece
from autoprompt.templates import Template

# Phrases that may stand for each other in a prompt; within a row each may replace each. Longer
# rows would make the changes many: two other ways to say a thing are enough to see an effect.
# A word that is a verb too ("answer", "view") stands here with its company only.
SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("It was", "It is", "This was"),
    ("This is", "It is"),
    ("All in all,", "Overall,", "In summary,"),
    ("All in all it", "Overall it", "In summary it"),
    ("In short,", "Briefly,"),
    ("In other words", "That is to say"),
    ("Review", "Comment"),
    ("My opinion", "My view"),
    ("Question", "Query"),
    ("Answer:", "Reply:"),
    ("The answer", "The reply"),
    ("Article", "Text"),
    ("Topic", "Subject"),
    ("Category", "Class"),
    ("Sentence", "Statement"),
    ("Hypothesis", "Claim"),
    ("Type", "Kind"),
    ("is about", "deals with"),
    ("asks for", "looks for"),
    ("Tell me", "Give me"),
    ("I think", "I believe"),
    ("I found it", "I thought it"),
    ("film", "movie"),
    ("really", "truly"),
)
# What may end the mask's sentence instead; a question keeps its kind, so its mark is only dropped.
ENDS = {".": ("!", ""), "!": (".", ""), "?": ("",)}
END_NAMES = {".": "end: full stop", "!": "end: exclamation mark", "": "end: nothing"}
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|\Z)")
_COLON = re.compile(r"(?<!\s):(?=\s)")
_WORD = re.compile(r"[^\W\d_]+")
_OUTER_SPACE = re.compile(r"\A\s+|\s+\Z")
_BEFORE_CLOSING = re.compile(r"\A\s+(?=[.,;:!?)\]}])")
_AFTER_OPENING = re.compile(r"(?<=[(\[{])\s+\Z")
_VOWELS = "aeiou"


def wordings(template: Template) -> dict[str, Template]:
    """Other wordings of a template.

    Returns:
        Name of the change to template, always in the same order. Only changes that apply are
        there, and no two of the templates are equal or equal to the one given.
    """
    found: dict[str, Template] = {}
    seen = {template.text, Template.of(template.pieces).text}
    for name, pieces in _changes(template.pieces):
        changed = Template.of(pieces)
        if changed.text not in seen:
            seen.add(changed.text)
            found[name] = changed
    return found


def _changes(pieces: tuple[Piece, ...]) -> Iterator[tuple[str, tuple[Piece, ...]]]:
    yield from _other_ends(pieces)
    dashes = [_COLON.sub(" -", text) for text in _texts(pieces)]
    yield "colons as dashes", _literals(pieces, dashes)
    yield "lower case", _literals(pieces, [text.lower() for text in _texts(pieces)])
    yield "case of the first letter", _first_letter_turned(pieces)
    doubled = [
        _OUTER_SPACE.sub(lambda run: run[0].replace(" ", "  "), text) for text in _texts(pieces)
    ]
    yield "doubled white space", _literals(pieces, doubled)
    yield "stripped white space", _stripped(pieces)
    for row in SYNONYMS:
        for old in row:
            for new in row:
                if new != old:
                    texts = [_replaced(text, old, new) for text in _texts(pieces)]
                    yield f"{old!r} as {new!r}", _literals(pieces, texts)


def _other_ends(pieces: tuple[Piece, ...]) -> Iterator[tuple[str, tuple[Piece, ...]]]:
    """The punctuation that ends the mask's sentence, changed and dropped."""
    after = pieces.index(Mask()) + 1
    if after == len(pieces):
        yield END_NAMES["."], (*pieces, Literal("."))
        return
    piece = pieces[after]
    end = _SENTENCE_END.search(piece.text) if isinstance(piece, Literal) else None
    if end is None or not isinstance(piece, Literal):
        return
    start, rest = piece.text[: end.start()], piece.text[end.end() :]
    is_last = after + 1 == len(pieces)
    for mark in ENDS.get(end[0], (".", "")):
        before = start
        if not mark and (rest or is_last):  # no second space, and none at the very end
            before = start.rstrip()
        elif not mark and not start[-1:].isspace():  # else the mask is glued to what follows
            before = f"{start} "
        yield (
            END_NAMES[mark],
            (*pieces[:after], Literal(before + mark + rest), *pieces[after + 1 :]),
        )


def _first_letter_turned(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """The first letter of the template's own words as a capital, or as none.

    "I" and words in capitals stay: nobody writes them otherwise.
    """
    texts = _texts(pieces)
    for index, text in enumerate(texts):
        if found := _WORD.search(text):
            word, at = found[0], found.start()
            if word != "I" and not (word.isupper() and len(word) > 1):
                texts[index] = text[:at] + text[at].swapcase() + text[at + 1 :]
            break
    return _literals(pieces, texts)


def _stripped(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """No white space at the template's ends, before closing punctuation, after brackets."""
    changed: list[Piece] = []
    for index, piece in enumerate(pieces):
        if isinstance(piece, Literal):
            text = _AFTER_OPENING.sub("", _BEFORE_CLOSING.sub("", piece.text))
            text = text.lstrip() if index == 0 else text
            piece = Literal(text.rstrip() if index == len(pieces) - 1 else text)
        changed.append(piece)
    return tuple(changed)


def _replaced(text: str, old: str, new: str) -> str:
    """Text with whole phrases replaced, their first letter's case kept.

    A phrase whose article would no longer fit ("an answer", "a reply") stays as it is.
    """

    def other(match: re.Match[str]) -> str:
        phrase = match["phrase"]
        if match["article"] and (old[0].lower() in _VOWELS) != (new[0].lower() in _VOWELS):
            return match[0]
        first = new[0].upper() if phrase[0].isupper() else new[0].lower()
        return (match["article"] or "") + first + new[1:]

    first = f"[{old[0].upper()}{old[0].lower()}]"
    phrase = rf"(?P<article>[Aa]n?\s+)?(?P<phrase>{first}{re.escape(old[1:])})"
    return re.sub(rf"(?<!\w){phrase}(?!\w)", other, text)


def _texts(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text for piece in pieces if isinstance(piece, Literal)]


def _literals(pieces: tuple[Piece, ...], texts: list[str]) -> tuple[Piece, ...]:
    """The pieces with other literals, in their order."""
    waiting = iter(texts)
    return tuple(
        Literal(next(waiting)) if isinstance(piece, Literal) else piece for piece in pieces
    )
