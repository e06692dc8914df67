"""Which tokens of a vocabulary may be trigger tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprompt.models.gradients import OpenModel
from autoprompt.verbalizers import Verbalizer


def allowed_tokens(model: OpenModel) -> NDArray[np.bool_]:
    """Which vocabulary entries may be trigger tokens: text of their own.

    Special and unused tokens, and pieces that do not decode to visible text, are banned.

    Returns:
        Shape `(vocab_size,)` of the embeddings.
    """
    tokenizer = model.encoder.tokenizer
    allowed = np.zeros(len(model.input_embeddings()), dtype=bool)
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    for token, text in enumerate(texts):
        unused = text.startswith("[unused")
        readable = bool(text.strip()) and text.isprintable() and "\ufffd" not in text
        allowed[token] = readable and not unused and token not in special
    return allowed


def without_words(
    allowed: NDArray[np.bool_], model: OpenModel, verbalizer: Verbalizer
) -> NDArray[np.bool_]:
    """The allowed tokens but for label words: naming a label answers for every example alike.

    Args:
        allowed: shape `(vocab_size,)`; left as it is.
        model: spells the words.
        verbalizer: has them; a word of several tokens cannot be named by one.
    """
    left = allowed.copy()
    for word in verbalizer.all_words:
        for text in (word, f" {word}"):
            ids = model.encoder.text_ids(text)
            if len(ids) == 1:
                left[ids[0]] = False
    return left
