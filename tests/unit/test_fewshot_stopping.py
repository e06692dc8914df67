"""The table of what a tuning stops by, in experiments/fewshot."""

from __future__ import annotations

from autoprompt.tuning.measuring import CROSS_ENTROPY, DECIDES
from experiments.fewshot.stopping import RATES, table


def test_each_measure_keeps_its_own_look() -> None:
    looks = [
        {CROSS_ENTROPY: 0.7, DECIDES: 0.7, "accuracy": 0.5},
        {CROSS_ENTROPY: 0.6, DECIDES: 0.6, "accuracy": 0.6},
        {CROSS_ENTROPY: 0.9, DECIDES: 0.4, "accuracy": 0.8},
        {CROSS_ENTROPY: 0.9, DECIDES: 0.5, "accuracy": 0.7},
    ]
    rows = [
        {"task": "trec6", "draw": d, "rate": rate, "looks": looks} for d in (1, 2) for rate in RATES
    ]
    text = table(rows)
    for rate in RATES:
        assert f"| {rate:g} | trec6 | 2 | 0.500 | 0.600 | 0.800 | 0.700 |" in text
        assert f"| {rate:g} | mean | | 0.500 | 0.600 | 0.800 | 0.700 |" in text
    assert "draws 1, 2:" in text
