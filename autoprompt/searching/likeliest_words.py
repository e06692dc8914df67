"""Which words of a model's vocabulary are worth trying as label words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoprompt.errors import InputError
from autoprompt.models.protocol import LanguageModel
from autoprompt.prompts import Frame
from autoprompt.tasks.examples import Example


def likeliest_words(
    model: LanguageModel,
    frames: Sequence[Frame],
    examples: Sequence[Example],
    words: Mapping[str, int],
    most: int,
) -> tuple[list[str], int]:
    """The words that the model expects most at the masks of some frames.

    A word's value is its mean probability at a frame's mask over the examples, at the frame where
    that is highest: a word that one template asks for and no other does is worth trying. Means are
    of probabilities, not of their logarithms, so that a word which few examples ask for, as that of
    a rare label, is not lost for being hopeless in the others. Labels are not looked at: what is
    fitted on these words may be cross-fitted on the same examples. (PETAL and LM-BFF take the
    likeliest words of each label, which would let the fold that is scored have its say.)

    Args:
        model: the language model.
        frames: with one mask each; equal ones count once.
        examples: their texts alone; equal texts count once.
        words: word to vocabulary entry, as `whole_words` finds them.
        most: how many words are wanted.

    Returns:
        At most `most` words, the likeliest first, of equals the first in `words` first; and how
        many sequences went through the model.

    Raises:
        InputError: there are no frames or no examples.
    """
    different = list({example.key: example for example in examples}.values())
    if not frames or not different:
        raise InputError(
            f"the likeliest words are found in templates filled with examples, and there are "
            f"{len(frames)} templates and {len(different)} examples; give one of each at least"
        )
    names = list(words)
    ids = np.array([words[name] for name in names], dtype=np.int64)
    best = np.zeros(len(names))
    forwards = 0
    for frame in {frame.key: frame for frame in frames}.values():
        encodings = model.encoder.encode(frame, different)
        forwards += len(encodings)
        found = model.log_probabilities(encodings, ids)[:, 0]
        best = np.maximum(best, np.exp(found.astype(np.float64)).mean(axis=0))
    order = np.argsort(-best, kind="stable")[:most]
    return [names[index] for index in order], forwards
