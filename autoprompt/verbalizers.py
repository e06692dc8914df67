"""Verbalizers: the map from labels to the words that stand for them at the mask."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoprompt.errors import UnknownNameError, VerbalizerError, listing, nearest_of

AGGREGATIONS = ("logsumexp", "mean")


@dataclass(frozen=True)
class Verbalizer:
    """Label words.

    Attributes:
        labels: the labels, in the task's order.
        words: for each label its words; a word may become several tokens.
        aggregation: how a label's word scores become one: "logsumexp" (the probability of any
            of the words) or "mean" (of the log-probabilities).
    """

    labels: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    aggregation: str = "logsumexp"

    @classmethod
    def of(
        cls,
        words: Mapping[str, Sequence[str]],
        labels: Sequence[str] | None = None,
        aggregation: str = "logsumexp",
    ) -> Verbalizer:
        """A checked verbalizer.

        Args:
            words: label to its words.
            labels: the task's labels; by default those of `words`, in their order.
            aggregation: one of `AGGREGATIONS`.

        Raises:
            VerbalizerError: a label has no words, a word is empty or stands for two labels, a
                label stands twice, or `words` has a label that is not in `labels`.
        """
        order = tuple(words if labels is None else labels)
        if len(set(order)) < len(order):
            raise VerbalizerError(f"a label stands twice in {listing(order)}; keep one of them")
        if aggregation not in AGGREGATIONS:
            raise UnknownNameError("aggregation", aggregation, AGGREGATIONS)
        for label in words:
            if label not in order:
                raise VerbalizerError(
                    f"words are given for {label!r}, which is not a label; "
                    f"{nearest_of(label, order)}the labels are: {listing(order)}"
                )
        owner: dict[str, str] = {}
        for label in order:
            if not words.get(label):
                raise VerbalizerError(f"label {label!r} has no words; give it one at least")
            if isinstance(words[label], str):  # a string is a sequence too: of its letters
                raise VerbalizerError(
                    f"the words of label {label!r} must be a list, as in [{words[label]!r}]"
                )
            for word in words[label]:
                form = normalised_word(word)
                if not form:
                    raise VerbalizerError(f"label {label!r} has an empty word; remove it")
                if "\0" in word:
                    raise VerbalizerError(f"the word {word!r} holds a NUL character; remove it")
                if form in owner:
                    raise VerbalizerError(
                        f"the word {word!r} of label {label!r} stands for {owner[form]!r} too; "
                        f"take it out of one of them"
                        if owner[form] != label
                        else f"the word {word!r} stands twice for label {label!r}; keep one"
                    )
                owner[form] = label
        return cls(order, tuple(tuple(words[label]) for label in order), aggregation)

    def as_dict(self) -> dict[str, list[str]]:
        """Label to words."""
        return {label: list(words) for label, words in zip(self.labels, self.words, strict=True)}

    @property
    def all_words(self) -> tuple[str, ...]:
        """Every word, label by label."""
        return tuple(word for words in self.words for word in words)

    def __str__(self) -> str:
        pairs = zip(self.labels, self.words, strict=True)
        return ", ".join(f"{label}: {' / '.join(words)}" for label, words in pairs)


def normalised_word(word: str) -> str:
    """The form in which two words count as the same: NFKC, case-folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split())
