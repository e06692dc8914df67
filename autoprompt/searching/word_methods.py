"""How well each word stands for each label: three answers, each a matrix `(labels, words)`.

What they have in common: log-probabilities on train in, higher is better out, and nothing of which
label gets which word in the end, which `label_words` decides. The fourth way, which looks for
words of all labels together, is in `word_assignment`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autoprompt.scoring.label_scores import Floats, log_softmax
from autoprompt.scoring.metrics import Ints

L1_SHARE = 0.5  # of the elastic net's penalty; the rest is ridge
STRENGTH = 0.3  # of the penalty, in units of the least one that leaves a label without words
STEPS = 300  # of the elastic net's solver, at most
TOLERANCE = 1e-3  # of its weights, in units of the greatest


def likelihood_ratios(word_scores: NDArray[np.floating], gold: Ints, labels: int) -> Floats:
    """How much more a word is expected in a label's examples than in the others.

    The log-likelihood ratio of PETAL (Schick, Schmid and Schütze 2020, section 4): the sum of
    s(y) (log q(w|x) - log(1 - q(w|x))) over the label's examples, less the same over all others
    with weight 1. The weight s(y) balances the two: the number of the others over the number of the
    label's. So it is the number of the others times the difference of two mean log-odds. That
    factor is left out here: it changes no label's order of words, but would favour rare labels
    where two claim one word (PETAL lets labels share words).

    Args:
        word_scores: shape `(examples, words)`, log-probabilities; NaN columns stay NaN.
        gold: shape `(examples,)`, label indices; every label occurs.
        labels: the number of labels, two at least.

    Returns:
        Shape `(labels, words)`: differences of mean log-odds.
    """
    logs = np.minimum(word_scores.astype(np.float64), -1e-7)  # a certain word has finite odds
    odds = logs - np.log(-np.expm1(logs))
    members = np.eye(labels)[gold].T  # (labels, examples)
    count = members.sum(axis=1, keepdims=True)
    inside = members @ odds
    outside = odds.sum(axis=0) - inside
    result: Floats = inside / count - outside / (len(gold) - count)
    return result


def head_log_odds(
    states: NDArray[np.floating], gold: Ints, labels: int, embeddings: NDArray[np.floating]
) -> Floats:
    """The log-odds that a classifier of mask states gives each label for a word's embedding.

    AutoPrompt's label head (Shin et al. 2020, section 3.3): a logistic classifier p(y|h) is fitted
    on the states h at the mask, then s(y, w) = p(y|e_w) puts the word's output embedding in the
    state's place. The log-odds order words as s does, and tell them apart where s rounds to 1.

    Where this differs from the paper, and why:

    - The classifier is scikit-learn's, with an L2 penalty (C = 1) on states scaled by one number:
      16 examples a label are separable in hundreds of dimensions, so that the likelihood alone has
      no maximum. The authors stop Adam after a number of epochs to the same end.
    - The bias is left out of s, as in the authors' code (the paper's text has it in): it makes up
      for where the states lie, and embeddings lie elsewhere.
    - Embeddings are centred. To add one vector to all of them changes no prediction of the language
      model (its softmax is over words), so it must not change which label a word goes to either.
      They are then scaled by one number, as the states are.

    Args:
        states: shape `(examples, width)`, what the output embeddings multiply at the mask.
        gold: shape `(examples,)`, label indices; every label occurs.
        labels: the number of labels, two at least.
        embeddings: shape `(words, width)`; NaN rows for words of several tokens.

    Returns:
        Shape `(labels, words)`; NaN columns for NaN rows.
    """
    from sklearn.linear_model import LogisticRegression

    known = np.isfinite(embeddings).all(axis=1)
    result = np.full((labels, len(embeddings)), np.nan)
    if not known.any():
        return result
    inputs = _centred(states)
    # What lies outside the span of the states gets no weight from the penalty: fitting in an
    # orthonormal basis of that span gives the same classifier in less time.
    basis: Floats | None = None
    if inputs.shape[0] < inputs.shape[1]:
        basis = np.linalg.qr(inputs.T)[0]  # (width, examples)
        inputs = inputs @ basis
    head = LogisticRegression(C=1.0, tol=1e-4, max_iter=10_000).fit(inputs, gold)
    weights = head.coef_ if labels > 2 else np.concatenate([-head.coef_, head.coef_]) / 2
    if basis is not None:
        weights = weights @ basis.T
    logits = weights @ _centred(embeddings[known]).T  # (labels, known words)
    for label in range(labels):
        others = np.delete(logits, label, axis=0)
        result[label, known] = logits[label] - np.logaddexp.reduce(others, axis=0)
    return result


def _centred(rows: NDArray[np.floating]) -> Floats:
    """Rows less their mean, divided by one number so that the mean square is 1."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    scale = np.sqrt(np.square(centred).mean())
    result: Floats = centred / (scale or 1.0)
    return result


def regularised_weights(
    word_scores: NDArray[np.floating], gold: Ints, allowed: NDArray[np.bool_]
) -> Floats:
    """Weights of words in a sparse classifier of all labels at once.

    A multinomial logistic regression from standardised log-probabilities to labels, with an
    elastic-net penalty (Zou and Hastie 2005; multinomial: Friedman, Hastie and Tibshirani 2010)
    and weights that are not negative. Unlike a score of single words, it prefers words that add to
    one another, and it sees that what all words of a mask have in common tells no label.

    - Not negative: a verbalizer can only add up its words. A fit that leans on negative weights,
      which the selection would throw away, says little of the words that are left.
    - The ridge part lets words that say the same share the weight: the lasso alone takes one of
      them, more or less by chance, and several are steadier.
    - Strength by a rule: for each label `STRENGTH` times the least penalty under which it has no
      words at all. Each label has its own, or one whose words tell little would get none. Inner
      folds would choose it on three quarters of a few examples, at many times the cost.
    - Each example's log-probabilities are centred over the words first. A verbalizer's scores are
      normalised over labels, which takes out what an example's words have in common; the
      regression must not use it either.

    Solved by accelerated proximal gradients (Beck and Teboulle 2009) with the restarts of
    O'Donoghue and Candès (2015); nothing in it is random.

    Args:
        word_scores: shape `(examples, words)`, log-probabilities; finite.
        gold: shape `(examples,)`, label indices; every label occurs.
        allowed: shape `(labels, words)`, which words a label may have.

    Returns:
        Shape `(labels, words)`, not negative, 0 where not allowed.
    """
    examples, labels = len(gold), len(allowed)
    inputs = word_scores.astype(np.float64)
    inputs = inputs - inputs.mean(axis=1, keepdims=True)
    inputs -= inputs.mean(axis=0)
    spread = inputs.std(axis=0)
    inputs /= np.where(spread > 1e-9, spread, np.inf)  # a word that never varies tells nothing
    gold_rows = np.eye(labels)[gold]

    def gradient(weights: Floats, bias: Floats) -> tuple[Floats, Floats]:
        errors = np.exp(log_softmax(inputs @ weights.T + bias)) - gold_rows
        return errors.T @ inputs / examples, errors.mean(axis=0)

    bias = np.log(gold_rows.mean(axis=0))
    weights = np.zeros(allowed.shape)
    first, _ = gradient(weights, bias)
    most = np.where(allowed, -first, 0.0).max(axis=1, initial=0.0, keepdims=True) / L1_SHARE
    lasso, ridge = STRENGTH * most * L1_SHARE, STRENGTH * most * (1 - L1_SHARE)
    # The softmax's second derivatives are at most 1/2; the bias is one more column of ones.
    step = 1.0 / (0.5 * (_greatest_square(inputs) / examples + 1.0) + float(ridge.max()))
    ahead, ahead_bias, momentum = weights, bias, 1.0
    for _ in range(STEPS):
        slope, bias_slope = gradient(ahead, ahead_bias)
        moved = ahead - step * (slope + ridge * ahead + lasso)
        moved = np.where(allowed, np.maximum(moved, 0.0), 0.0)
        moved_bias = ahead_bias - step * bias_slope
        change, bias_change = moved - weights, moved_bias - bias
        if np.vdot(ahead - moved, change) > 0:
            momentum = 1.0  # the momentum points uphill: begin anew
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        factor = (momentum - 1) / following
        weights, bias, momentum = moved, moved_bias, float(following)
        ahead, ahead_bias = weights + factor * change, bias + factor * bias_change
        if np.abs(change).max() <= TOLERANCE * weights.max():
            break
    return weights


def _greatest_square(matrix: Floats) -> float:
    """A little more than the square of the greatest singular value, by power iteration."""
    vector = matrix[np.square(matrix).sum(axis=1).argmax()]
    square = 0.0
    for _ in range(30):
        length = float(np.linalg.norm(vector))
        if not length:
            break
        vector = matrix.T @ (matrix @ (vector / length))
        square = float(np.linalg.norm(vector))
    return 1.1 * square
