"""Changed inputs: the same examples as they come from elsewhere, or with a part of them lost.

Case, white space and punctuation change nothing for a reader. Key words and cut-off words do: there
the question is how fast a prompt gets worse, and whether it was the words that it listened to.
Words are what white space or punctuation bounds; scripts that write without spaces are one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from autoprompt.errors import InputError
from autoprompt.seeding import generator
from autoprompt.tasks.examples import Example

_WORD = re.compile(r"\w+(?:[-'’]\w+)*")
_FUNCTION_WORDS = """
a an the this that these those some any each every all both such same own other another
i me my mine we us our ours you your yours he him his she her hers it its they them their
theirs who whom whose which what there here one myself yourself himself herself itself
themselves is am are was were be been being has have had having do does did doing will would
can could shall should may might must isn't aren't wasn't weren't doesn't didn't don't it's
that's i'm i've you're they're he's she's let's of in on at by for from to into onto with
without about as than over under up down out off through between after before during until
since against among upon within and or but nor so yet if then because while although though
unless whether when where why how just also too very only even still again ever already
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
Span = tuple[int, int]


def changed_texts(
    examples: Sequence[Example], share: float = 0.3, seed: int = 0
) -> dict[str, list[Example]]:
    """Every change of this module: name to examples in the order given.

    Args:
        examples: whatever fields they have, each of them is changed.
        share: of key words, or of words, that are lost; above 0, at most 1.
        seed: of what is drawn.

    Raises:
        InputError: `share` is out of its range.
    """
    return {
        "upper case": each_text(examples, str.upper),
        "lower case": each_text(examples, str.lower),
        "doubled white space": each_text(examples, lambda text: text.replace(" ", "  ")),
        "no punctuation": each_text(examples, without_punctuation),
        "no key words": without_key_words(examples, share, seed),
        **shortened(examples, share, seed),
    }


def check_share(share: float) -> None:
    """Raise InputError where a share is not above 0 and at most 1."""
    if not 0 < share <= 1:
        raise InputError(
            f"the share of words to discard must be above 0 and at most 1, not {share:g}; "
            f"0.3 is usual"
        )


def each_text(examples: Iterable[Example], change: Callable[[str], str]) -> list[Example]:
    """The examples with every field changed; labels stay."""
    return [
        Example({name: change(text) for name, text in example.fields.items()}, example.label)
        for example in examples
    ]


def without_punctuation(text: str) -> str:
    """Text without punctuation, but for what stands inside a word or number.

    >>> without_punctuation("Well... it's 3.5 stars, (really)!")
    "Well it's 3.5 stars really"
    """
    spans: list[Span] = []
    for index, char in enumerate(text):
        if unicodedata.category(char).startswith("P") and not _is_inside(text, index):
            start = spans.pop()[0] if spans and spans[-1][1] == index else index
            spans.append((start, index + 1))
    return _cut(text, spans)


def without_key_words(examples: Sequence[Example], share: float, seed: int = 0) -> list[Example]:
    """The examples without the words that tell a text from the others.

    Key words are a text's content words in the order of their inverse document frequency in
    `examples` (Spärck Jones 1972); among equals the order is drawn. `share` of a text's different
    content words go, one at least, wherever they stand.

    Raises:
        InputError: `share` is out of its range.
    """
    check_share(share)
    seen = Counter(word for example in examples for word in _content_words(*example.key))
    chance = generator(seed, "key words")

    def dropped(text: str) -> str:
        words = sorted(_content_words(text))
        order = dict(zip(words, chance.permutation(len(words)).tolist(), strict=True))
        # In the fewest texts: with the highest inverse document frequency, log(texts / seen).
        rarest = sorted(words, key=lambda word: (seen[word], order[word]))
        gone = {*rarest[: max(1, round(share * len(words)))]}
        found = _WORD.finditer(text)
        return _cut(text, [word.span() for word in found if word[0].casefold() in gone])

    return each_text(examples, dropped)


def shortened(examples: Sequence[Example], share: float, seed: int = 0) -> dict[str, list[Example]]:
    """The examples with a share of each text's words discarded: three ways to choose them.

    Of a text of several words one is discarded at least, and one is kept.

    Raises:
        InputError: `share` is out of its range.
    """
    check_share(share)
    chance = generator(seed, "words at random")

    def lost(words: Sequence[Span]) -> int:
        return min(max(1, round(share * len(words))), len(words) - 1) if words else 0

    def end_cut(text: str) -> str:
        words = _tokens(text)
        return text[: words[-1 - lost(words)][1]] if words else text

    def start_cut(text: str) -> str:
        words = _tokens(text)
        return text[words[lost(words)][0] :] if words else text

    def thinned(text: str) -> str:
        words = _tokens(text)
        picked = chance.permutation(len(words))[: lost(words)]
        return _cut(text, [words[index] for index in sorted(picked)])

    return {
        "end cut off": each_text(examples, end_cut),
        "start cut off": each_text(examples, start_cut),
        "words lost at random": each_text(examples, thinned),
    }


def _content_words(*texts: str) -> set[str]:
    words = {word.casefold() for text in texts for word in _WORD.findall(text)}
    return {word for word in words if word.replace("’", "'") not in FUNCTION_WORDS}


def _tokens(text: str) -> list[Span]:
    return [found.span() for found in re.finditer(r"\S+", text)]


def _is_inside(text: str, index: int) -> bool:
    """Whether a character stands alone between two letters or digits."""
    before, after = text[:index][-1:], text[index + 1 : index + 2]
    return before.isalnum() and after.isalnum()


def _cut(text: str, spans: Sequence[Span]) -> str:
    """Text without some spans: words that they held apart stay apart, by one white space."""
    kept: list[str] = []
    end = 0
    for start, stop in [*spans, (len(text), len(text))]:
        part = text[end:start]
        before = kept[-1] if kept else ""
        if end:  # something was cut before this part
            if not before or before[-1:].isspace():
                part = part.lstrip()
            elif before[-1:].isalnum() and part[:1].isalnum():
                part = f" {part}"
        if part:
            kept.append(part)
        end = stop
    whole = "".join(kept)
    return whole if not spans or spans[-1][1] < len(text) else whole.rstrip()
