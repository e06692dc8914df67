"""The verdict: winner against baseline on test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.objective import Scored
from autoprompt.searching.verdict import (
    IMPROVED,
    KEPT_SEED,
    NOT_SIGNIFICANT,
    WORSE,
    holm,
    judge,
    mcnemar,
)


def scored(predictions: list[int], gold: list[int], labels: int = 2) -> Scored:
    """Scores whose argmax is the prediction."""
    rows = np.full((len(predictions), labels), np.log(0.1))
    rows[np.arange(len(predictions)), predictions] = np.log(1 - 0.1 * (labels - 1))
    return Scored(rows, np.array(gold))


ALL_RIGHT, HALF_RIGHT, GOLD = [0, 1] * 50, [0, 0] * 50, [0, 1] * 50


def test_a_clear_gain_is_improved() -> None:
    verdict = judge(scored(ALL_RIGHT, GOLD), scored(HALF_RIGHT, GOLD), "accuracy", False)
    assert verdict.status == IMPROVED
    assert verdict.lift == pytest.approx(0.5)
    assert verdict.low < 0.5 < verdict.high
    assert verdict.p_value < 1e-6


def test_a_clear_loss_is_worse() -> None:
    verdict = judge(scored(HALF_RIGHT, GOLD), scored(ALL_RIGHT, GOLD), "accuracy", False)
    assert verdict.status == WORSE
    assert "keep the seed" in str(verdict)


def test_one_example_more_proves_nothing() -> None:
    nearly = [1, *ALL_RIGHT[1:]]
    verdict = judge(scored(ALL_RIGHT, GOLD), scored(nearly, GOLD), "accuracy", False)
    assert verdict.status == NOT_SIGNIFICANT
    assert verdict.lift > 0


def test_the_kept_seed_is_called_that() -> None:
    same = scored(ALL_RIGHT, GOLD)
    verdict = judge(same, same, "accuracy", True)
    assert (verdict.status, verdict.lift, verdict.p_value) == (KEPT_SEED, 0.0, 1.0)


def test_mcnemar_is_the_sign_test_on_disagreements() -> None:
    # 1 lost, 5 gained: 2 * (C(6,0) + C(6,1)) / 2**6
    gold = [1] * 10
    first = scored([0, 1, 1, 1, 1, 1, 1, 1, 0, 0], gold)
    second = scored([1, 0, 0, 0, 0, 0, 1, 1, 0, 0], gold)
    assert mcnemar(first, second) == pytest.approx(2 * 7 / 64)


@pytest.mark.parametrize("metric", ["macro_f1", "matthews"])
def test_other_metrics_have_a_bootstrap_p_value(metric: str) -> None:
    verdict = judge(scored(ALL_RIGHT, GOLD), scored(HALF_RIGHT, GOLD), metric, False)
    assert verdict.status == IMPROVED
    assert verdict.test == "paired bootstrap"
    assert verdict.low > 0


def test_the_bootstrap_draws_pairs() -> None:
    # Both prompts fail on the same examples, so that their difference never varies.
    predictions = [0, 1, 0, 0] * 20
    verdict = judge(
        scored(predictions, GOLD[:80]), scored(predictions, GOLD[:80]), "accuracy", False
    )
    assert (verdict.low, verdict.high) == (0.0, 0.0)


@given(
    st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=5, max_size=60),
    st.sampled_from(["accuracy", "macro_f1"]),
)
def test_the_interval_holds_the_lift_and_swapping_turns_it(
    rows: list[tuple[int, int, int]], metric: str
) -> None:
    gold, first, second = (list(column) for column in zip(*rows, strict=True))
    a, b = scored(first, gold, 3), scored(second, gold, 3)
    forward, backward = judge(a, b, metric, False), judge(b, a, metric, False)
    assert forward.lift == pytest.approx(-backward.lift)
    if metric == "accuracy":
        assert forward.low - 1e-9 <= forward.lift <= forward.high + 1e-9
        assert forward.p_value == pytest.approx(backward.p_value)


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_that_of_the_definition(p_values: list[float]) -> None:
    """The slow way: each hypothesis is rejected at a level iff all smaller ones are (Holm 1979)."""
    found = holm(p_values)
    ordered = sorted(p_values)
    for value, corrected in zip(p_values, found, strict=True):
        steps = [
            min(1.0, (len(ordered) - rank) * p) for rank, p in enumerate(ordered) if p <= value
        ]
        assert corrected >= value
        assert corrected == pytest.approx(max(steps[: ordered.index(value) + 1]), abs=1e-12)
