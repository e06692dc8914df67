"""Teacher forcing: a model that reads a word's tokens to predict those after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from autoprompt.models.sequence import Encoding

Ids = tuple[int, ...]


def forced(
    encodings: Sequence[Encoding],
    ids: NDArray[np.int64],
    continued: Callable[[Encoding, Ids], Encoding],
) -> tuple[list[Encoding], NDArray[np.int64]]:
    """The sequences that score words by what is read before each of their tokens.

    Words that differ in their last token alone share a sequence.

    Args:
        encodings: each up to the word.
        ids: shape `(words, tokens)`.
        continued: adds a word's tokens but the last to an encoding, and asks at each of them.

    Returns:
        As `PromptEncoder.asked`.
    """
    heads: dict[Ids, int] = {}
    way = [heads.setdefault(tuple(map(int, word[:-1])), len(heads)) for word in ids]
    asked = [continued(encoding, head) for head in heads for encoding in encodings]
    return asked, np.array(way, dtype=np.int64)
