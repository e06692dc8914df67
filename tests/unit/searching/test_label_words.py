"""Fitting label words on train: each method against a slow and obvious one, and what they share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from autoprompt.errors import UnknownNameError, VerbalizerError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.models.vocabulary import whole_words
from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.prompts import Frame
from autoprompt.scoring.calibration import calibrated, log_prior
from autoprompt.scoring.label_scores import label_scores, log_softmax
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.searching import word_methods
from autoprompt.searching.label_words import Evidence, fit_verbalizer
from autoprompt.searching.word_assignment import beam_assignments, extended, likeliest
from autoprompt.searching.word_claims import share_out
from autoprompt.searching.word_methods import (
    head_log_odds,
    likelihood_ratios,
    regularised_weights,
)
from autoprompt.space_content import WORD_METHODS as METHODS
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template

Floats = NDArray[np.float64]

every_method = pytest.mark.parametrize("method", METHODS)

GOLD = np.array([0, 0, 1, 1, 2])
SCORES = np.log(np.array([[0.5, 0.1], [0.6, 0.2], [0.1, 0.7], [0.2, 0.6], [0.3, 0.3]]))


def planted(labels: int, each: int, words: int, width: int = 16, seed: int = 0) -> Evidence:
    """Evidence in which word i is likelier, and points where the states do, in label i's examples.

    All words are about as likely overall, so that a method has nothing else to go by.
    """
    chance = np.random.default_rng(seed)
    gold = np.repeat(np.arange(labels), each)
    directions = chance.normal(size=(labels, width)) * 2
    states = directions[gold] + chance.normal(size=(len(gold), width)) * 0.5
    embeddings = chance.normal(size=(words, width)) * 0.2
    embeddings[:labels] = directions
    scores = chance.normal(size=(len(gold), words)) * 0.5 - 5.0
    scores[np.arange(len(gold)), gold] += 3.0
    column = {f"word{index}": index for index in range(words)}
    return Evidence(scores.astype(np.float32), gold, column, states, embeddings)


def shared(evidence: Evidence, labels: int) -> dict[str, list[str]]:
    """Candidates as a search over the vocabulary has them: all words for every label."""
    return {f"label {row}": list(evidence.column) for row in range(labels)}


# -- the likelihood ratio ---------------------------------------------------------------------


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


def test_likelihood_ratios_are_the_papers_up_to_the_number_of_other_examples() -> None:
    found = likelihood_ratios(SCORES, GOLD, labels=3)
    for label in range(3):
        positive = [row for row in range(5) if GOLD[row] == label]
        negative = [row for row in range(5) if GOLD[row] != label]
        weight = len(negative) / len(positive)  # s(y)
        for word in range(2):
            total = 0.0
            for row in range(5):
                p = math.exp(SCORES[row, word])
                sign = weight if row in positive else -1.0
                total += sign * (math.log(p) - math.log(1 - p))
            assert found[label, word] * len(negative) == pytest.approx(total)


def test_a_certain_word_gives_a_finite_ratio() -> None:
    found = likelihood_ratios(np.array([[0.0], [-3.0]]), np.array([0, 1]), labels=2)
    assert np.isfinite(found).all()


def test_a_column_that_is_not_known_makes_no_other_column_unknown() -> None:
    scores = np.where([[True, False]], np.nan, SCORES)
    found = likelihood_ratios(scores, GOLD, labels=3)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_allclose(found[:, 1], likelihood_ratios(SCORES, GOLD, labels=3)[:, 1])


# -- the label head ---------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("width", [4, 40])  # fewer and more than the examples
def test_the_head_is_a_plain_classifier_that_reads_embeddings(labels: int, width: int) -> None:
    evidence = planted(labels, 5, 12, width)
    states, embeddings = evidence.states, evidence.embeddings
    assert states is not None
    assert embeddings is not None
    found = head_log_odds(states, evidence.gold, labels, embeddings)

    states = states - states.mean(axis=0)
    head = LogisticRegression(tol=1e-10, max_iter=100_000)
    head.fit(states / np.sqrt((states**2).mean()), evidence.gold)
    head.intercept_[:] = 0.0
    embeddings = embeddings - embeddings.mean(axis=0)
    p = head.predict_proba(embeddings / np.sqrt((embeddings**2).mean())).T
    np.testing.assert_allclose(found, np.log(p) - np.log1p(-p), atol=0.05)


def test_one_vector_added_to_all_embeddings_changes_nothing() -> None:
    evidence = planted(3, 4, 10)
    assert evidence.states is not None
    assert evidence.embeddings is not None
    once = head_log_odds(evidence.states, evidence.gold, 3, evidence.embeddings)
    moved = head_log_odds(evidence.states, evidence.gold, 3, evidence.embeddings + 7.0)
    np.testing.assert_allclose(once, moved, atol=1e-6)


def test_the_head_knows_nothing_of_words_of_several_tokens() -> None:
    evidence = planted(2, 4, 4)
    assert evidence.states is not None
    assert evidence.embeddings is not None
    embeddings = evidence.embeddings.copy()
    embeddings[0] = np.nan
    found = head_log_odds(evidence.states, evidence.gold, 2, embeddings)
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1:]).all()
    assert np.isnan(head_log_odds(evidence.states, evidence.gold, 2, embeddings * np.nan)).all()


@pytest.mark.parametrize("missing", ["states", "embeddings"])
def test_the_head_without_its_evidence_is_an_error(missing: str) -> None:
    whole = planted(2, 4, 4)
    parts = {"states": whole.states, "embeddings": whole.embeddings, missing: None}
    evidence = Evidence(whole.word_scores, whole.gold, whole.column, **parts)
    with pytest.raises(VerbalizerError, match=r"'label head' is fitted on .* another method"):
        fit_verbalizer("label head", evidence, shared(whole, 2), 1, "mean")


def test_the_head_takes_the_spelling_that_is_one_token() -> None:
    whole = planted(2, 4, 4)
    embeddings = np.array(whole.embeddings)
    embeddings[0] = np.nan
    column = {"WORD": 0, "word": 1, "other": 2, "one": 3}
    evidence = Evidence(whole.word_scores, whole.gold, column, whole.states, embeddings)
    found = fit_verbalizer("label head", evidence, {"a": ["WORD", "word"], "b": ["one"]}, 1, "mean")
    assert found.as_dict() == {"a": ["word"], "b": ["one"]}
    with pytest.raises(VerbalizerError, match=r"'a' has no candidate .* as one token"):
        fit_verbalizer("label head", evidence, {"a": ["WORD"], "b": ["one"]}, 1, "mean")


# -- the assignment ---------------------------------------------------------------------------


def value_of(scores: Floats, gold: NDArray[np.int64], groups: list[list[int]]) -> tuple[int, float]:
    """Right answers and mean tempered log-likelihood of a verbalizer."""
    found = Scored(log_softmax(label_scores(scores, groups, "logsumexp")), gold)
    return int((found.predictions == gold).sum()), float(tempered_log_likelihoods(found).mean())


def every_tuple(
    scores: Floats, gold: NDArray[np.int64], options: list[list[int]]
) -> list[tuple[int, float]]:
    """The values of all tuples of distinct words, the best first."""
    tuples = [words for words in itertools.product(*options) if len(set(words)) == len(words)]
    found = [value_of(scores, gold, [[word] for word in words]) for words in tuples]
    return sorted(found, reverse=True)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("labels", "words"), [(2, 9), (3, 7), (4, 5)])
def test_a_beam_as_wide_as_the_product_finds_the_best_tuples(
    labels: int, words: int, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    scores = chance.normal(size=(labels * 4, words)) * 2 - 6
    gold = np.repeat(np.arange(labels), 4)
    options = [list(chance.permutation(words)[: words - label % 2]) for label in range(labels)]
    found = beam_assignments(scores, gold, options, width=words**labels)
    wanted = every_tuple(scores, gold, options)
    assert len(found) == len(wanted)
    assert len(set(found)) == len(found)
    for words_found, (hits, likelihood) in zip(found, wanted, strict=True):
        value = value_of(scores, gold, [[word] for word in words_found])
        assert value == (hits, pytest.approx(likelihood))


@pytest.mark.parametrize("seed", range(5))
def test_for_two_labels_any_beam_is_the_product(seed: int) -> None:
    chance = np.random.default_rng(seed)
    scores = chance.normal(size=(12, 15)) - 6
    gold = np.repeat([0, 1], 6)
    options = [list(range(15)), list(range(15))]
    (found,) = beam_assignments(scores, gold, options, width=1)
    best = every_tuple(scores, gold, options)[0]
    assert value_of(scores, gold, [[word] for word in found]) == (best[0], pytest.approx(best[1]))


def test_the_beam_is_usually_near_the_best_tuple() -> None:
    lost = []
    for seed in range(20):
        chance = np.random.default_rng(seed)
        scores = chance.normal(size=(20, 9)) * 2 - 6
        gold = np.repeat(np.arange(4), 5)
        options = [list(range(9)) for _ in range(4)]
        found = beam_assignments(scores, gold, options)[0]
        right = [
            int((scores[:, words].argmax(axis=1) == gold).sum())
            for words in map(list, [found, *itertools.permutations(range(9), 4)])
        ]
        lost.append(max(right) - right[0])
    assert np.mean(lost) <= 0.5  # of 20 examples
    assert max(lost) <= 2


def test_two_spellings_of_a_word_are_not_given_to_two_labels() -> None:
    scores = np.log([[0.5, 0.4, 0.1], [0.1, 0.2, 0.3]])
    options = [[0, 1], [1, 2]]
    gold, same = np.array([0, 1]), np.array([0, 0, 1])
    assert (0, 1) in beam_assignments(scores, gold, options)
    assert set(beam_assignments(scores, gold, options, identity=same)) == {(0, 2), (1, 2)}


def test_a_beam_without_distinct_words_is_empty() -> None:
    assert beam_assignments(SCORES, GOLD, [[0], [0, 1], [1]]) == []


def test_the_likeliest_words_come_first_and_only_those_that_a_label_may_have() -> None:
    means = np.array([[-3.0, -1.0, -np.inf], [-1.0, -1.0, -2.0]])
    assert likeliest(means) == [[1, 0], [0, 1, 2]]
    assert [len(words) for words in likeliest(np.zeros((2, 500)))] == [100, 100]
    assert len(likeliest(np.zeros((77, 500)))[0]) == 308


@pytest.mark.parametrize("aggregation", ["logsumexp", "mean"])
def test_more_words_join_while_the_likelihood_grows(aggregation: str) -> None:
    chance = np.random.default_rng(0)
    gold = np.repeat([0, 1], 10)
    # Each word names half of its label's examples, and 4 is noise.
    scores = chance.normal(size=(20, 5)) * 0.1 - 6
    for word, rows in enumerate([range(5), range(5, 10), range(10, 15), range(15, 20)]):
        scores[list(rows), word] += 3.0
    options = [[0, 1, 4], [2, 3, 4]]
    found = extended(scores, gold, (0, 2), options, 3, aggregation)
    assert found[0][:2] == [0, 1]
    assert found[1][:2] == [2, 3]
    before = label_scores(scores, [[0], [2]], aggregation)
    after = label_scores(scores, found, aggregation)
    values = [
        tempered_log_likelihoods(Scored(log_softmax(found), gold)).mean()
        for found in (before, after)
    ]
    assert values[1] > values[0] + 0.1
    assert extended(scores, gold, (0, 2), options, 1, aggregation) == [[0], [2]]


def test_a_word_that_makes_the_examples_less_likely_does_not_join() -> None:
    scores = np.log([[0.6, 0.1, 0.01], [0.6, 0.1, 0.02], [0.1, 0.6, 0.9], [0.1, 0.5, 0.9]])
    gold = np.array([0, 0, 1, 1])
    assert extended(scores, gold, (0, 1), [[0, 2], [1]], 4, "logsumexp") == [[0], [1]]


# -- the regularised weights ------------------------------------------------------------------


def objective(inputs: Floats, gold: NDArray[np.int64], weights: Floats, bias: Floats) -> Floats:
    """The gradient of the mean loss by the weights, one example at a time."""
    slope = np.zeros_like(weights)
    for row, label in zip(inputs, gold, strict=True):
        logits = weights @ row + bias
        p = np.exp(logits) / np.exp(logits).sum()
        p[label] -= 1.0
        slope += np.outer(p, row) / len(gold)
    return slope


@pytest.mark.parametrize("labels", [2, 4])
def test_regularised_weights_are_where_a_plain_descent_ends(
    labels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_methods, "TOLERANCE", 1e-7)
    monkeypatch.setattr(word_methods, "STEPS", 5000)
    evidence = planted(labels, 6, 10)
    allowed = np.ones((labels, 10), dtype=bool)
    allowed[1, 3] = False
    found = regularised_weights(evidence.word_scores, evidence.gold, allowed)

    inputs = evidence.word_scores.astype(np.float64)
    inputs = inputs - inputs.mean(axis=1, keepdims=True)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    bias, weights = np.zeros(labels), np.zeros((labels, 10))
    first = objective(inputs, evidence.gold, weights, bias)
    most = np.where(allowed, -first, 0.0).max(axis=1)[:, None]
    penalty = word_methods.STRENGTH * most  # half and half: of the lasso and of the ridge part
    for _ in range(4000):
        slope = objective(inputs, evidence.gold, weights, bias) + penalty + penalty * weights
        weights = np.where(allowed, np.maximum(weights - 0.1 * slope, 0.0), 0.0)
        logits = inputs @ weights.T + bias
        bias = bias - 0.1 * (np.exp(log_softmax(logits)) - np.eye(labels)[evidence.gold]).mean(0)
    np.testing.assert_allclose(found, weights, atol=1e-3)
    assert (found[:, :labels].argmax(axis=1) == np.arange(labels)).all()


def test_few_words_have_weight_and_a_word_that_never_varies_has_none() -> None:
    evidence = planted(3, 16, 200)
    scores = evidence.word_scores.copy()
    scores[:, 150] = scores.mean(axis=1)
    found = regularised_weights(scores, evidence.gold, np.ones((3, 200), dtype=bool))
    assert (found >= 0).all()
    assert ((found > 0).sum(axis=1) < 60).all()
    assert (found[:, 150] == 0).all()


def test_a_label_without_weights_falls_back_to_the_likelihood_ratio() -> None:
    evidence = planted(3, 4, 9)
    scores = evidence.word_scores.copy()
    # All that label 2 may have speaks against it.
    scores[evidence.gold == 2, 6:] -= np.array([9.0, 3.0, 6.0])
    fallen = Evidence(scores, evidence.gold, evidence.column)
    names = list(evidence.column)
    candidates = {"a": names[:3], "b": names[3:6], "c": names[6:]}
    found = fit_verbalizer("regularised", fallen, candidates, 2, "mean")
    by_ratio = fit_verbalizer("likelihood ratio", fallen, candidates, 2, "mean")
    assert found.as_dict()["c"] == by_ratio.as_dict()["c"] == ["word7", "word8"]


# -- one word, one label ----------------------------------------------------------------------


def test_a_word_goes_to_the_label_that_it_scores_best_for() -> None:
    scores = np.array([[3.0, 2.0, 1.0], [2.5, 0.0, 0.5]])
    assert share_out(scores, per_label=1) == [[1], [0]]
    wide = np.array([[3.0, 2.0, 1.0], [2.5, 0.0, 1.5]])
    assert share_out(wide, per_label=3) == [[0, 1], [2]]


@pytest.mark.parametrize("seed", range(30))
def test_first_words_have_the_highest_sum_where_a_label_would_have_none(seed: int) -> None:
    chance = np.random.default_rng(seed)
    scores = chance.normal(size=(3, 4))
    scores[1:][chance.random((2, 4)) < 0.3] = -np.inf
    scores[0] += 5  # the first label scores best for every word
    found = share_out(scores, per_label=1)
    possible = [
        [scores[row, word] for row, word in enumerate(words)]
        for words in itertools.permutations(range(4), 3)
    ]
    most, highest = max(
        (int(np.isfinite(values).sum()), sum(v for v in values if np.isfinite(v)))
        for values in possible
    )
    words = [word for group in found for word in group]
    assert len(words) == len(set(words)) == most
    value = sum(scores[row, word] for row, group in enumerate(found) for word in group)
    assert value == pytest.approx(highest)


def test_ties_go_to_what_stands_first() -> None:
    scores = np.zeros((2, 4))
    assert share_out(scores, per_label=1, ranks=np.array([[1, 0, 2, 3], [0, 1, 2, 3]])) == [
        [1],
        [0],
    ]
    assert share_out(scores[:, :1], per_label=1) == [[0], []]


@every_method
def test_the_words_that_were_planted_are_found(method: str) -> None:
    evidence = planted(4, 8, 50)
    found = fit_verbalizer(method, evidence, shared(evidence, 4), 1, "logsumexp")
    assert found.words == (("word0",), ("word1",), ("word2",), ("word3",))
    assert found.labels == ("label 0", "label 1", "label 2", "label 3")
    assert found.aggregation == "logsumexp"


@every_method
def test_one_example_a_label_is_enough(method: str) -> None:
    evidence = planted(3, 1, 20)
    found = fit_verbalizer(method, evidence, shared(evidence, 3), 2, "mean")
    assert all(1 <= len(words) <= 2 for words in found.words)


@every_method
def test_many_labels_get_words_of_their_own(method: str) -> None:
    evidence = planted(77, 2, 300, width=128)
    found = fit_verbalizer(method, evidence, shared(evidence, 77), 3, "logsumexp")
    assert len(found.labels) == 77
    assert len(set(found.all_words)) == len(found.all_words)  # and `Verbalizer` refuses it
    mine = sum(f"word{row}" in words for row, words in enumerate(found.words))
    assert mine >= 60


@every_method
def test_as_many_labels_as_words(method: str) -> None:
    evidence = planted(5, 3, 5)
    found = fit_verbalizer(method, evidence, shared(evidence, 5), 2, "mean")
    assert sorted(found.all_words) == sorted(evidence.column)


@every_method
def test_a_word_that_a_label_cannot_do_without_is_left_to_it(method: str) -> None:
    evidence = planted(2, 4, 4)
    candidates = {"a": ["word0", "word2", "word3"], "b": ["WORD0"]}
    column = {**evidence.column, "WORD0": 0}
    told = Evidence(
        evidence.word_scores, evidence.gold, column, evidence.states, evidence.embeddings
    )
    found = fit_verbalizer(method, told, candidates, 1, "mean").as_dict()
    assert found["a"] != ["word0"]


@every_method
def test_a_word_that_cannot_be_written_is_passed_over(method: str) -> None:
    evidence = planted(2, 4, 6)
    scores = evidence.word_scores.copy()
    scores[:, 0] = np.nan
    told = Evidence(scores, evidence.gold, evidence.column, evidence.states, evidence.embeddings)
    found = fit_verbalizer(method, told, shared(evidence, 2), 6, "mean")
    assert "word0" not in found.all_words
    with pytest.raises(VerbalizerError, match="'neg' has no candidate word that this mask can"):
        fit_verbalizer(method, told, {"pos": ["word1"], "neg": ["word0"]}, 1, "mean")


@every_method
def test_labels_that_fight_for_too_few_words_are_an_error(method: str) -> None:
    evidence = planted(3, 2, 6)
    candidates = {"a": ["word0", "word1"], "b": ["word0", "word1"], "c": ["word1", "word0"]}
    with pytest.raises(VerbalizerError, match=r"has no candidate word .* list more words for it"):
        fit_verbalizer(method, evidence, candidates, 1, "mean")


@every_method
def test_of_two_spellings_the_first_that_can_be_written_is_taken(method: str) -> None:
    whole = planted(2, 4, 4)
    column = {"Great": 0, "great": 2, "bad": 1, "film": 3}
    evidence = Evidence(whole.word_scores, whole.gold, column, whole.states, whole.embeddings)
    candidates = {"pos": ["Great", "great", "film"], "neg": ["bad", "film"]}
    found = fit_verbalizer(method, evidence, candidates, 1, "mean")
    assert found.as_dict() == {"pos": ["Great"], "neg": ["bad"]}


@every_method
def test_a_label_without_examples_is_an_error(method: str) -> None:
    evidence = planted(2, 4, 6)
    candidates = {**shared(evidence, 2), "rare": ["word5"]}
    with pytest.raises(VerbalizerError, match="there are none of rare: add examples"):
        fit_verbalizer(method, evidence, candidates, 1, "mean")
    with pytest.raises(VerbalizerError, match="two labels or more"):
        fit_verbalizer(method, evidence.rows(np.arange(4)), {"only": ["word1", "word2"]}, 1, "mean")


def test_an_unknown_method_lists_those_that_there_are() -> None:
    evidence = planted(2, 4, 6)
    with pytest.raises(UnknownNameError, match=r"did you mean 'label head'.*regularised"):
        fit_verbalizer("label heads", evidence, shared(evidence, 2), 1, "mean")


def test_rows_are_those_examples_alone() -> None:
    evidence = planted(2, 3, 5)
    some = evidence.rows(np.array([4, 0]))
    assert some.states is not None
    assert evidence.states is not None
    np.testing.assert_array_equal(some.word_scores, evidence.word_scores[[4, 0]])
    np.testing.assert_array_equal(some.states, evidence.states[[4, 0]])
    assert some.gold.tolist() == [1, 0]
    assert some.embeddings is evidence.embeddings
    assert Evidence(SCORES, GOLD, {"a": 0, "b": 1}).rows(np.array([2])).states is None


# -- on a model -------------------------------------------------------------------------------


@every_method
def test_a_pair_of_texts(method: str, family_models: Callable[[str], MaskedLanguageModel]) -> None:
    model = family_models("roberta")
    frame = Frame(Template.parse("{text_a} ? {mask} , {text_b}"))
    texts = [("a good film", "the film was good"), ("a good film", "the film was dull")] * 3
    pairs = [
        Example({"text_a": f"{one} {at}", "text_b": other}) for at, (one, other) in enumerate(texts)
    ]
    entries = whole_words(model.encoder)
    scorer = WordScorer(model, [*entries, "not at all"])
    encoded = model.encoder.encode(frame, pairs)
    embeddings = np.full((len(scorer.words), 32), np.nan, np.float32)
    ids = np.array(list(entries.values()), dtype=np.int64)
    embeddings[: len(ids)] = model.output_embeddings(ids)
    evidence = Evidence(
        scorer.scores(frame, pairs),
        np.array([0, 1] * 3),
        scorer.column,
        np.concatenate([model.mask_states([one])[:, 0] for one in encoded]),
        embeddings,
    )
    candidates = {"yes": scorer.words, "no": ("not at all", *scorer.words)}
    found = fit_verbalizer(method, evidence, candidates, 2, "logsumexp")
    columns = [[scorer.column[word] for word in words] for words in found.words]
    raw = label_scores(evidence.word_scores, columns, "logsumexp")
    scored = calibrated(raw, log_prior(raw))  # random weights prefer some word everywhere
    assert (scored.argmax(axis=1) == evidence.gold).mean() >= 0.8
