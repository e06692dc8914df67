"""A prompt on examples: against a naive computation, and the value that a search maximises."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.errors import ScoringError, TaskError
from autoprompt.models.masked import MaskedLanguageModel
from autoprompt.objective import (
    CLIP,
    INVERSE_TEMPERATURES,
    Scored,
    calibrate,
    evaluate,
    gold_indices,
    predict,
    raw_label_scores,
    tempered_log_likelihoods,
)
from autoprompt.prompts import Calibration, Prompt
from autoprompt.scoring.word_scores import WordScorer
from autoprompt.tasks.examples import Example
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

PROMPT = Prompt(
    Template.parse("{text} It was {mask}."),
    Verbalizer.of({"negative": ["bad", "not good"], "positive": ["great"]}),
)
EXAMPLES = [
    Example({"text": "a good film"}, "positive"),
    Example({"text": "dull"}, "negative"),
    Example({"text": ""}, "negative"),
]


@pytest.fixture
def scorer(tiny_model: MaskedLanguageModel) -> WordScorer:
    return WordScorer(tiny_model, PROMPT.verbalizer.all_words)


# -- predictions ------------------------------------------------------------------------------


def test_a_prediction_is_the_softmax_over_labels_of_their_words(scorer: WordScorer) -> None:
    words = scorer.scores(PROMPT.frame, EXAMPLES).astype(np.float64)
    likelihood = np.stack([np.exp(words[:, 0]) + np.exp(words[:, 1]), np.exp(words[:, 2])], axis=1)
    wanted = likelihood / likelihood.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(predict(PROMPT, scorer, EXAMPLES)), wanted, rtol=1e-6)


@pytest.mark.parametrize("texts", [EXAMPLES, EXAMPLES[::-1], EXAMPLES[1:]])
def test_a_prediction_does_not_depend_on_its_neighbours(
    tiny_model: MaskedLanguageModel, texts: list[Example]
) -> None:
    calibrated = replace(PROMPT, calibration=Calibration("batch", (-0.3, -1.4)))
    together = predict(calibrated, WordScorer(tiny_model, PROMPT.verbalizer.all_words), texts)
    for row, text in zip(together, texts, strict=True):
        alone = predict(calibrated, WordScorer(tiny_model, PROMPT.verbalizer.all_words), [text])
        np.testing.assert_allclose(row, alone[0], atol=1e-5)


def test_demonstrations_that_do_not_fit_keep_predictions_to_themselves(
    tiny_model: MaskedLanguageModel,
) -> None:
    """Neither the neighbours nor longer words that are scored beside change what is left out."""
    rows = [Example({"text": f"{'dull ' * 5}{n}"}, PROMPT.verbalizer.labels[n % 2]) for n in (0, 1)]
    template = Template.parse("{demonstrations}{text} It was {mask}.")
    verbalizer = Verbalizer.of({"negative": ["bad"], "positive": ["great"]})
    shown = replace(PROMPT, template=template, verbalizer=verbalizer, demonstrations=tuple(rows))
    texts = [Example({"text": "fine " * length}) for length in range(0, 48, 3)]
    alone_left_out = {e.left_out for e in tiny_model.encoder.encode(shown.frame, texts)}
    assert alone_left_out == {0, 1, 2}
    more = [*verbalizer.all_words, "not good", "not at all good"]
    together = predict(shown, WordScorer(tiny_model, more), texts[::-1])[::-1]
    for row, text in zip(together, texts, strict=True):
        alone = predict(shown, WordScorer(tiny_model, verbalizer.all_words), [text])
        np.testing.assert_allclose(row, alone[0], atol=1e-5)


def test_evaluating_is_predicting_with_gold_labels(scorer: WordScorer) -> None:
    scored = evaluate(PROMPT, scorer, EXAMPLES)
    np.testing.assert_array_equal(scored.log_probabilities, predict(PROMPT, scorer, EXAMPLES))
    assert scored.gold.tolist() == [1, 0, 0]


# -- calibration ------------------------------------------------------------------------------


def test_no_calibration_runs_nothing(scorer: WordScorer) -> None:
    found = calibrate("none", scorer, PROMPT.frame, PROMPT.verbalizer, ["text"], EXAMPLES)
    assert found == Calibration()
    assert scorer.spent.forwards == 0


@pytest.mark.parametrize(
    ("method", "texts"),
    [
        ("contextual", ["N/A", "", "..."]),
        ("pmi", [""]),
        ("batch", [e.fields["text"] for e in EXAMPLES]),
    ],
)
def test_a_calibration_takes_the_mean_over_its_inputs(
    scorer: WordScorer, method: str, texts: list[str]
) -> None:
    found = calibrate(method, scorer, PROMPT.frame, PROMPT.verbalizer, ["text"], EXAMPLES)
    inputs = [Example({"text": text}) for text in texts]
    mean = np.exp(predict(PROMPT, scorer, inputs)).mean(axis=0)
    assert found.method == method
    np.testing.assert_allclose(np.exp(found.offsets), mean)


def test_pmi_is_the_score_less_what_the_template_s_own_words_say(scorer: WordScorer) -> None:
    """log p(y | x) - log p(y | premise), up to what all labels share (Holtzman et al. 2021)."""
    found = calibrate("pmi", scorer, PROMPT.frame, PROMPT.verbalizer, ["text"], EXAMPLES)
    pmi = predict(replace(PROMPT, calibration=found), scorer, EXAMPLES)
    premise = [Example({"text": ""})]
    label_scores = raw_label_scores(scorer, PROMPT.frame, PROMPT.verbalizer, EXAMPLES)
    wanted = label_scores - raw_label_scores(scorer, PROMPT.frame, PROMPT.verbalizer, premise)
    np.testing.assert_allclose(pmi[:, 0] - pmi[:, 1], wanted[:, 0] - wanted[:, 1], atol=1e-9)
    assert scorer.spent.forwards == scorer.variants(PROMPT.frame) * len(EXAMPLES)  # one is ""


def test_labels_of_the_calibration_s_texts_are_not_looked_at(scorer: WordScorer) -> None:
    blind = [Example(example.fields) for example in EXAMPLES]
    arguments = ("batch", scorer, PROMPT.frame, PROMPT.verbalizer, ["text"])
    assert calibrate(*arguments, EXAMPLES) == calibrate(*arguments, blind)


def test_raw_scores_are_not_normalised(scorer: WordScorer) -> None:
    raw = raw_label_scores(scorer, PROMPT.frame, PROMPT.verbalizer, EXAMPLES)
    assert (np.exp(raw).sum(axis=1) < 1).all()


# -- gold labels ------------------------------------------------------------------------------


def test_gold_labels_are_indices() -> None:
    assert gold_indices(EXAMPLES, ["positive", "negative"]).tolist() == [0, 1, 1]
    assert gold_indices([], ["positive"]).dtype == np.int64


@pytest.mark.parametrize(("label", "shown"), [("neutral", "neutral"), (None, "None")])
def test_a_label_that_the_prompt_does_not_know(label: str | None, shown: str) -> None:
    strange = [*EXAMPLES, Example({"text": "a film"}, label)]
    with pytest.raises(TaskError, match=f"does not know: {shown}; it knows positive, negative"):
        gold_indices(strange, ["positive", "negative"])


# -- the value of a search --------------------------------------------------------------------


def scored(rows: list[tuple[float, int]]) -> Scored:
    """From (log-odds of label 1, gold label) of each example."""
    odds = np.array([odd for odd, _ in rows])
    table = np.stack([-np.logaddexp(0, odds), -np.logaddexp(0, -odds)], axis=1)
    return Scored(table, np.array([gold for _, gold in rows], dtype=np.int64))


rows = st.tuples(st.floats(-60, 60), st.integers(0, 1))
drawn_scores = st.lists(rows, min_size=1, max_size=12).map(scored)


def naively_tempered(found: Scored) -> float:
    """The best mean over the temperatures, by a loop over examples."""
    best = -math.inf
    for inverse in INVERSE_TEMPERATURES:
        total = 0.0
        for row, gold in zip(found.log_probabilities, found.gold, strict=True):
            powers = [math.exp(inverse * (value - row.max())) for value in row]
            total += math.log(max(powers[gold] / sum(powers), 0.01))
        best = max(best, total / len(found.gold))
    return best


@given(drawn_scores)
def test_the_value_is_that_at_the_best_temperature(found: Scored) -> None:
    values = tempered_log_likelihoods(found)
    assert values.shape == found.gold.shape
    assert float(values.mean()) == pytest.approx(naively_tempered(found), abs=1e-9)


@given(drawn_scores)
def test_values_are_bounded(found: Scored) -> None:
    values = tempered_log_likelihoods(found)
    assert ((values >= -CLIP) & (values <= 0)).all()


@pytest.mark.parametrize("sureness", [0.3, 3.0, 10.0])
def test_how_sure_a_prompt_is_of_itself_hardly_matters(sureness: float) -> None:
    odds = [(2.0, 1), (-1.5, 0), (0.5, 0), (1.0, 1), (-0.3, 1), (-2.5, 0)]
    plain = scored(odds)
    other = scored([(odd * sureness, gold) for odd, gold in odds])
    means = [float(tempered_log_likelihoods(each).mean()) for each in (plain, other)]
    assert means[1] == pytest.approx(means[0], abs=0.02)


def test_a_better_ranking_has_a_higher_value_at_equal_accuracy() -> None:
    good = scored([(3.0, 1), (2.0, 1), (-3.0, 0), (0.1, 0)])
    poor = scored([(0.1, 1), (0.2, 1), (-0.1, 0), (3.0, 0)])
    assert good.metric("accuracy") == poor.metric("accuracy")
    assert tempered_log_likelihoods(good).mean() > tempered_log_likelihoods(poor).mean()


def test_one_hopeless_example_does_not_outweigh_the_rest() -> None:
    rest = [(8.0, 1)] * 50
    values = tempered_log_likelihoods(scored([(-1000.0, 1), *rest]))
    assert values.min() == -CLIP
    assert values.mean() > -0.2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_have_no_value(bad: float) -> None:
    """NumPy's `argmax` would make the NaN the winner."""
    with pytest.raises(ScoringError, match="not finite"):
        Scored(np.array([[-0.1, -2.4], [bad, -0.2]]), np.array([0, 0]))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_last_examples_keep_their_scores(count: int) -> None:
    whole = scored([(1.0, 1), (2.0, 0), (-1.0, 0)])
    part = whole.last(count)
    assert part.predictions.tolist() == [1, 1, 0][3 - count :]
    assert part.gold.tolist() == [1, 0, 0][3 - count :]


def test_measures_agree_with_the_bare_metric() -> None:
    found = scored([(1.0, 1), (2.0, 0), (-1.0, 0), (0.5, 1)])
    for name in ("accuracy", "macro_f1", "matthews"):
        assert found.measures()[name].value == pytest.approx(found.metric(name))
