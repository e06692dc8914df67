"""Cosines of texts."""

import numpy as np
import pytest

from autoprompt.similarity import TextVectors, vectors_of

TEXTS = ["a good film", "a bad film", "the weather today"]


def test_a_text_is_nearest_to_itself():
    cosines = TextVectors(TEXTS).cosines(TEXTS)
    assert cosines.argmax(axis=1).tolist() == [0, 1, 2]
    assert cosines.diagonal() == pytest.approx(1.0)


def test_shared_words_count_and_foreign_ones_do_not():
    (cosines,) = TextVectors(TEXTS).cosines(["xyzzy good"])
    assert cosines[0] > 0
    assert cosines[1:].tolist() == [0, 0]


@pytest.mark.parametrize("texts", [[""], ["", " "]])
def test_texts_without_words_are_all_alike(texts):
    assert not TextVectors(texts).cosines(["a", ""]).any()


def test_vectors_of_equal_texts_are_made_once():
    assert vectors_of(tuple(TEXTS)) is vectors_of(tuple(TEXTS))
    assert np.array_equal(vectors_of(tuple(TEXTS)).own.todense(), TextVectors(TEXTS).own.todense())
