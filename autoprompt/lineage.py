"""Where a prompt came from: seed -> edit -> edit, each step as it read.

Printed as a token-level diff in the notation of `wdiff`: [-what went-] {+what came+}.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# A slot holds a name and perhaps a number only, so that no token looks like a mark of the diff.
_TOKEN = re.compile(r"\{\w+(?::\d*)?\}|\w+|[^\w\s]")


@dataclass(frozen=True)
class Edit:
    """One step of a lineage.

    Attributes:
        how: what made it, in words.
        text: the template after it, trigger tokens in their places; "" where it is not known.
        words: label to label words after it.
    """

    how: str
    text: str = ""
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        words = {label: list(group) for label, group in self.words.items()}
        return {"how": self.how, "text": self.text, "words": words}

    @classmethod
    def from_record(cls, record: Any) -> Edit:
        """From the JSON form; a plain string is a step of which only the name is known.

        Raises:
            TypeError: it is neither.
        """
        if isinstance(record, str):
            return cls(record)
        if not isinstance(record, Mapping) or not isinstance(record.get("words", {}), Mapping):
            raise TypeError(f"lineage: {record!r} is not a step")
        how, text = record.get("how"), record.get("text", "")
        if not isinstance(how, str) or not isinstance(text, str):
            raise TypeError(f"lineage: {record!r} has a step that is not text")
        groups = record.get("words", {})
        if not all(isinstance(group, list | tuple) for group in groups.values()):
            raise TypeError(f"lineage: {record!r} has label words that are not lists")
        words = {str(label): tuple(map(str, group)) for label, group in groups.items()}
        return cls(how, text, words)


def tokens_of(text: str) -> list[str]:
    """Words, marks and slots of a template.

    >>> tokens_of("{text} It was {mask}.")
    ['{text}', 'It', 'was', '{mask}', '.']
    """
    return _TOKEN.findall(text)


def token_diff(before: str, after: str) -> str:
    """What changed between two texts, token by token.

    >>> token_diff("{text} It was {mask}.", "{text} It is {mask}!")
    '{text} It [-was-] {+is+} {mask} [-.-] {+!+}'
    """
    marks = {"same": "{}", "gone": "[-{}-]", "new": "{{+{}+}}"}
    return " ".join(marks[kind].format(text) for kind, text in changes(before, after))


def changes(before: str, after: str) -> list[tuple[str, str]]:
    """The same as pairs of a kind ("same", "gone" or "new") and the tokens.

    >>> changes("It was {mask}.", "It is {mask}.")
    [('same', 'It'), ('gone', 'was'), ('new', 'is'), ('same', '{mask} .')]
    """
    old, new = tokens_of(before), tokens_of(after)
    parts: list[tuple[str, str]] = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind == "equal":
            parts.append(("same", " ".join(old[i:j])))
            continue
        if i < j:
            parts.append(("gone", " ".join(old[i:j])))
        if k < m:
            parts.append(("new", " ".join(new[k:m])))
    return parts


def nearest(text: str, others: Sequence[str]) -> int:
    """The index of the text that shares most tokens in order; the first of equals."""
    tokens = tokens_of(text)
    ratios = [
        difflib.SequenceMatcher(a=tokens_of(other), b=tokens, autojunk=False).ratio()
        for other in others
    ]
    return max(range(len(others)), key=lambda index: (ratios[index], -index))


def told(lineage: Sequence[Edit]) -> list[str]:
    """The lineage in lines, for people: the first step in full, then what each one changed."""
    lines: list[str] = []
    before: Edit | None = None
    for edit in lineage:
        line = edit.how
        if edit.text and before is None:
            line += f": {edit.text}{_words(edit.words)}"
        elif edit.text and before is not None:
            changed = []
            if edit.text != before.text:
                changed.append(token_diff(before.text, edit.text))
            if edit.words != before.words:
                changed.append(_words(edit.words).strip())
            line += f": {'; '.join(changed)}" if changed else " (same text)"
        lines.append(line)
        before = edit if edit.text else before
    return lines


def _words(words: Mapping[str, Sequence[str]]) -> str:
    shown = ", ".join(f"{label}: {' / '.join(group)}" for label, group in words.items())
    return f"  ({shown})" if shown else ""
