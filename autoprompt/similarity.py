"""How alike texts are, by the words that they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORDS = re.compile(r"\w+|[^\w\s]")


class TextVectors:
    """TF-IDF vectors over words, of length one, with the document frequencies of some texts.

    Args:
        texts: that the frequencies are counted on.

    Attributes:
        own: the vectors of these texts: a sparse or dense matrix, one row a text.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer: Any = None
        self.own: Any = np.zeros((len(texts), 1))  # where nothing tells them apart
        if any(WORDS.search(text) for text in texts):
            self._vectorizer = TfidfVectorizer(token_pattern=WORDS.pattern)
            self.own = self._vectorizer.fit_transform(texts)

    def cosines(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Cosines of texts to these texts: shape `(texts, own texts)`.

        Rounded, so that equal ones are equal on every machine.
        """
        if self._vectorizer is None:
            return np.zeros((len(texts), self.own.shape[0]))
        found = self._vectorizer.transform(texts) @ self.own.T
        return np.round(np.asarray(found.todense()), 9)


@lru_cache(maxsize=16)
def vectors_of(texts: tuple[str, ...]) -> TextVectors:
    """The vectors of some texts; they are made once."""
    return TextVectors(texts)
