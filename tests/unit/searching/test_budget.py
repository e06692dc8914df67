"""Budgets."""

from __future__ import annotations

import pytest

from autoprompt.errors import InputError, UnknownNameError
from autoprompt.searching.budget import MAX_REPEATS, PRESETS, Budget


def test_the_default_is_standard() -> None:
    assert Budget.of() == Budget(forwards=PRESETS["standard"])


def test_an_explicit_limit_wins_over_the_preset() -> None:
    assert Budget.of("quick", forwards=7) == Budget(forwards=7)


def test_a_limit_of_trials_alone_has_no_limit_of_forwards() -> None:
    assert Budget.of(trials=5) == Budget(trials=5)


def test_an_unknown_preset_lists_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'quick'\? valid: quick, standard"):
        Budget.of("quik")


@pytest.mark.parametrize("name", ["trials", "forwards", "seconds"])
def test_a_limit_must_be_positive(name: str) -> None:
    with pytest.raises(InputError, match=f"--{name} must be greater than 0"):
        Budget.of(**{name: 0})


def test_nan_is_no_limit_of_seconds() -> None:
    with pytest.raises(InputError, match="--seconds"):
        Budget.of(seconds=float("nan"))


@pytest.mark.parametrize(
    ("budget", "done", "reason"),
    [
        (Budget(trials=5), {"trials": 4}, None),
        (Budget(trials=5), {"trials": 5}, "trials"),
        (Budget(forwards=100), {"forwards": 60, "next_forwards": 40}, None),
        (Budget(forwards=100), {"forwards": 61, "next_forwards": 40}, "forwards"),
        (Budget(seconds=2.0), {"seconds": 2.0}, "seconds"),
        (Budget(), {"repeats": MAX_REPEATS}, "no new prompts"),
    ],
)
def test_the_limit_that_is_reached_is_named(
    budget: Budget, done: dict[str, int], reason: str | None
) -> None:
    state = {"trials": 0, "forwards": 0, "seconds": 0.0, "next_forwards": 0, "repeats": 0} | done
    assert budget.finish_reason(**state) == reason


def test_likely_trials_are_the_tightest_limit() -> None:
    assert Budget(trials=50, forwards=1000).likely_trials(100) == 10
    assert Budget(trials=5, forwards=1000).likely_trials(100) == 5
