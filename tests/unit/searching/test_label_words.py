"""Fitting label words on train."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoprompt.errors import VerbalizerError
from autoprompt.searching.label_words import fit_verbalizer, likelihood_ratios

GOLD = np.array([0, 0, 1, 1, 2])
SCORES = np.log(np.array([[0.5, 0.1], [0.6, 0.2], [0.1, 0.7], [0.2, 0.6], [0.3, 0.3]]))


def test_likelihood_ratios_equal_a_plain_loop() -> None:
    found = likelihood_ratios(SCORES, GOLD, labels=3)
    for label in range(3):
        for word in range(2):
            inside, outside = [], []
            for row, gold in enumerate(GOLD):
                p = math.exp(SCORES[row, word])
                (inside if gold == label else outside).append(math.log(p / (1 - p)))
            expected = sum(inside) / len(inside) - sum(outside) / len(outside)
            assert found[label, word] == pytest.approx(expected)


def test_a_certain_word_gives_a_finite_ratio() -> None:
    found = likelihood_ratios(np.array([[0.0], [-3.0]]), np.array([0, 1]), labels=2)
    assert np.isfinite(found).all()


COLUMN = {"great": 0, "bad": 1, "film": 2}
WORDS = np.log(np.array([[0.6, 0.1, 0.3], [0.7, 0.1, 0.2], [0.1, 0.6, 0.3], [0.1, 0.7, 0.2]]))
TWO = np.array([0, 0, 1, 1])


def test_the_word_that_tells_the_label_is_chosen() -> None:
    found = fit_verbalizer(
        WORDS, TWO, COLUMN, {"pos": ["film", "great"], "neg": ["bad"]}, 1, "logsumexp"
    )
    assert found.as_dict() == {"pos": ["great"], "neg": ["bad"]}


def test_a_label_gets_no_more_words_than_asked_for() -> None:
    candidates = {"pos": ["film", "great"], "neg": ["bad"]}
    found = fit_verbalizer(WORDS, TWO, COLUMN, candidates, 3, "mean")
    assert found.as_dict() == {"pos": ["great", "film"], "neg": ["bad"]}
    assert found.aggregation == "mean"


def test_a_word_that_two_labels_claim_is_left_out() -> None:
    candidates = {"pos": ["great", "film"], "neg": ["great", "bad"]}
    found = fit_verbalizer(WORDS, TWO, COLUMN, candidates, 3, "mean")
    assert found.as_dict() == {"pos": ["film"], "neg": ["bad"]}


def test_a_word_that_cannot_be_written_is_passed_over() -> None:
    scores = WORDS.copy()
    scores[:, 0] = np.nan
    found = fit_verbalizer(
        scores, TWO, COLUMN, {"pos": ["great", "film"], "neg": ["bad"]}, 1, "mean"
    )
    assert found.as_dict()["pos"] == ["film"]


def test_a_label_without_a_usable_word_is_an_error() -> None:
    scores = WORDS.copy()
    scores[:, 1] = np.nan
    with pytest.raises(VerbalizerError, match="'neg' has no candidate word"):
        fit_verbalizer(scores, TWO, COLUMN, {"pos": ["great"], "neg": ["bad"]}, 1, "mean")
