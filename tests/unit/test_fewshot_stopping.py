"""The table of what a tuning stops by, in experiments/fewshot."""

from __future__ import annotations

from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES
from experiments.fewshot.stopping import RATES, kept_by, table


def looks(accuracies: list[float]) -> list[dict[str, float]]:
    """Plain cross-entropy is best at the second, tempered at the third."""
    measures = [(0.7, 0.7), (0.6, 0.6), (0.9, 0.4), (0.9, 0.5)]
    return [
        {CROSS_ENTROPY: plain, DECIDES: tempered, "accuracy": accuracy}
        for (plain, tempered), accuracy in zip(measures, accuracies, strict=True)
    ]


def test_each_measure_keeps_its_own_look() -> None:
    seen = {1: looks([0.5, 0.6, 0.8, 0.7]), 2: looks([0.3, 0.4, 0.4, 0.1])}
    rows = [
        {"task": "trec6", "draw": draw, "rate": RATES[0], "looks": seen[draw]} for draw in (2, 1)
    ]
    rows.append({"task": "trec6", "draw": 1, "rate": RATES[1], "looks": seen[2]})
    text = table(rows, "some-model")
    assert f"| {RATES[0]:g} | trec6 | 1 | 0.500 | 0.600 | 0.800 | 0.700 |" in text
    assert f"| {RATES[0]:g} | mean | | 0.400 | 0.500 | 0.600 | 0.400 |" in text
    assert f"| {RATES[1]:g} | mean | | 0.300 | 0.400 | 0.400 | 0.100 |" in text
    assert "some-model" in text
    assert "draws 1, 2:" in text


def test_a_measure_waits_as_a_tuning_does() -> None:
    late = [1.0, 0.9, *[0.95] * 6, 0.5]
    seen = [{DECIDES: value, CROSS_ENTROPY: -value} for value in late]
    assert kept_by(DECIDES, seen) == 1
    assert kept_by(DECIDES, seen[:7] + seen[8:]) == 7
    assert kept_by(CROSS_ENTROPY, seen) == 0
