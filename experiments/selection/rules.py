"""Selection rules: from the prompts of a search to the index of the one that is returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import NormalDist
from unittest.mock import patch

from autoprompt.objective import Scored
from autoprompt.scoring.ledger import Spent
from autoprompt.searching import selection
from autoprompt.searching.study import Record
from autoprompt.searching.trials import Outcome
from experiments.selection.candidates import Measured

Rule = Callable[[Sequence[Measured], int], int]
"""Takes a search's prompts, seeds first, and the number of seeds."""


def best_seed(search: Sequence[Measured], seeds: int) -> int:
    """The seed prompt with the best accuracy on train and dev: the product's baseline."""
    return _selected(search, seeds).baseline[0]


def best_on_dev(search: Sequence[Measured], seeds: int) -> int:  # noqa: ARG001
    """The best accuracy on dev; likelihood on dev breaks ties. The obvious rule."""
    return max(range(len(search)), key=lambda index: search[index].dev)


def most_accurate(search: Sequence[Measured], seeds: int) -> int:  # noqa: ARG001
    """The best accuracy on train and dev; likelihood breaks ties."""
    return max(
        range(len(search)), key=lambda index: (_metric(search[index]), _value(search[index]))
    )


def likeliest(search: Sequence[Measured], seeds: int) -> int:  # noqa: ARG001
    """The highest tempered likelihood on train and dev."""
    return max(range(len(search)), key=lambda index: _value(search[index]))


def product(search: Sequence[Measured], seeds: int) -> int:
    """The product's rule."""
    return _selected(search, seeds).winner[0]


def product_with_bar(standard_errors: float, search: Sequence[Measured], seeds: int) -> int:
    """The product's rule with one bar, however many candidates there are.

    Args:
        standard_errors: by how many a contender's likelihood must exceed the baseline's.
        search, seeds: see `Rule`.
    """
    # The product divides ALPHA by the number of candidates; this one comes to the wanted quantile.
    beyond = 1 - NormalDist().cdf(standard_errors)
    with patch.object(selection, "ALPHA", beyond * (len(search) - 1)):
        return product(search, seeds)


def oracle(search: Sequence[Measured], seeds: int) -> int:  # noqa: ARG001
    """The prompt that is truly best. No rule can know it."""
    return max(range(len(search)), key=lambda index: search[index].truth)


BASELINE = "best seed"
DEV = "best dev accuracy"
PRODUCT = "product's rule"
FIXED_BAR = "product's rule, bar of 2 standard errors"
ORACLE = "oracle"
RULES: Mapping[str, Rule] = {
    BASELINE: best_seed,
    DEV: best_on_dev,
    "best accuracy, train + dev": most_accurate,
    "highest likelihood, train + dev": likeliest,
    PRODUCT: product,
    "product's rule, bar of 1 standard error": partial(product_with_bar, 1.0),
    FIXED_BAR: partial(product_with_bar, 2.0),
    ORACLE: oracle,
}


def _selected(search: Sequence[Measured], seeds: int) -> selection.Selection:
    records = [
        Record(index, found.outcome, None, Spent(), {}) for index, found in enumerate(search)
    ]
    return selection.select(records, seeds, "accuracy", _scored)


def _scored(outcome: Outcome) -> Scored:
    assert outcome.scored is not None
    return outcome.scored


def _metric(found: Measured) -> float:
    assert found.outcome.metric is not None
    return found.outcome.metric


def _value(found: Measured) -> float:
    assert found.outcome.value is not None
    return found.outcome.value
