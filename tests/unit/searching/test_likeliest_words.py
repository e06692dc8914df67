"""The words that a model expects at the mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autoprompt.errors import InputError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.sequence import Encoding
from autoprompt.models.vocabulary import whole_words
from autoprompt.prompts import Frame
from autoprompt.searching.likeliest_words import likeliest_words
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

FRAMES = [
    Frame(Template.parse("{text} It was {mask}.")),
    Frame(Template.parse("The {mask} news: {text}")),
]
EXAMPLES = [
    Example({"text": text}, label)
    for text, label in [("a good film", "x"), ("", "y"), ("dull", "y"), ("the story was slow", "x")]
]


class Written:
    """A model that says what is written: for each text the probabilities of three entries."""

    def __init__(self, inner: MaskedLanguageModel, table: dict[str, list[float]]) -> None:
        self.encoder, self.identity, self.device = inner.encoder, inner.identity, inner.device
        self.table, self.sequences = table, 0

    def log_probabilities(
        self, batch: Sequence[Encoding], token_ids: NDArray[np.int64], relative: bool = False
    ) -> NDArray[np.float32]:
        self.sequences += len(batch)
        texts = [self.encoder.tokenizer.decode(list(encoding.ids)) for encoding in batch]
        rows = [next(p for text, p in self.table.items() if text in whole) for whole in texts]
        return np.log(np.array(rows, dtype=np.float32))[:, None, :]


THREE = {"warm": 30, "slow": 31, "fast": 32}


def test_the_words_are_those_of_a_plain_loop(tiny_model: MaskedLanguageModel) -> None:
    words = whole_words(tiny_model.encoder)
    highest = dict.fromkeys(words, 0.0)
    for frame in FRAMES:
        rows = []
        for example in EXAMPLES:
            (encoding,) = tiny_model.encoder.encode(frame, [example])
            with torch.no_grad():
                logits = tiny_model.module(input_ids=torch.tensor([encoding.ids])).logits[0]
            rows.append(logits[encoding.mask_positions[0]].double().softmax(-1))
        for word, entry in words.items():
            mean = sum(float(row[entry]) for row in rows) / len(rows)
            highest[word] = max(highest[word], mean)
    wanted = sorted(words, key=lambda word: -highest[word])
    for most in (1, 5, len(words), 10**6):
        found, forwards = likeliest_words(tiny_model, FRAMES, EXAMPLES, words, most)
        assert found == wanted[:most]
        assert forwards == len(FRAMES) * len(EXAMPLES)


def test_a_word_that_few_examples_ask_for_is_not_lost(tiny_model: MaskedLanguageModel) -> None:
    # The mean of the logarithms would take "slow"; the mean probability of "warm" is higher.
    table = {"dull": [0.9, 0.1, 0.0001], "good": [0.0001, 0.1, 0.0001]}
    model = Written(tiny_model, table)
    examples = [Example({"text": "dull"}), Example({"text": "a good film"})]
    assert likeliest_words(model, FRAMES[:1], examples, THREE, 1) == (["warm"], 2)


def test_a_word_that_one_frame_asks_for_is_not_lost(tiny_model: MaskedLanguageModel) -> None:
    model = Written(tiny_model, {"it was": [0.3, 0.31, 0.1], "news": [0.3, 1e-4, 0.5]})
    found, forwards = likeliest_words(model, FRAMES, EXAMPLES, THREE, 2)
    assert found == ["fast", "slow"]
    assert forwards == model.sequences == 8


def test_equal_texts_and_frames_count_once_and_labels_not_at_all(
    tiny_model: MaskedLanguageModel,
) -> None:
    words = whole_words(tiny_model.encoder)
    found = likeliest_words(tiny_model, FRAMES, EXAMPLES, words, 9)
    again = [Example(example.fields, label) for label in ("z", None) for example in EXAMPLES]
    assert likeliest_words(tiny_model, FRAMES * 2, again, words, 9) == found


def test_ties_go_to_the_word_that_is_listed_first(tiny_model: MaskedLanguageModel) -> None:
    model = Written(tiny_model, {"": [0.2, 0.3, 0.3]})
    assert likeliest_words(model, FRAMES[:1], EXAMPLES, THREE, 2)[0] == ["slow", "fast"]


@pytest.mark.parametrize(("frames", "examples"), [([], EXAMPLES), (FRAMES, [])])
def test_nothing_to_look_at_is_an_error(
    tiny_model: MaskedLanguageModel, frames: list[Frame], examples: list[Example]
) -> None:
    with pytest.raises(InputError, match="give one of each at least"):
        likeliest_words(tiny_model, frames, examples, THREE, 3)
