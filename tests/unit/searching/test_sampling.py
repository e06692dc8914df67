"""The sampler of a proposal."""

from __future__ import annotations

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler

from autoprompt.searching.sampling import STARTUP, sampler_of


def first_choice(index: int, repeats: int = 0) -> float:
    study = optuna.create_study(sampler=sampler_of(3, index, 100, repeats))
    return study.ask().suggest_float("x", 0, 1)


@pytest.mark.parametrize("repeats", [0, 1])
def test_a_proposal_has_a_seed_of_its_own(repeats: int) -> None:
    choices = [first_choice(index, repeats) for index in (0, 1, 0, 1)]
    assert choices[:2] == choices[2:]
    assert choices[0] != choices[1]


def test_after_a_repetition_a_proposal_is_drawn_at_random() -> None:
    assert isinstance(sampler_of(0, 0, 100, 0), TPESampler)
    assert isinstance(sampler_of(0, 0, 100, 1), RandomSampler)


@pytest.mark.parametrize(("likely", "startup"), [(1, STARTUP[0]), (60, 20), (10_000, STARTUP[1])])
def test_a_third_of_the_trials_may_be_random(likely: int, startup: int) -> None:
    sampler = sampler_of(0, 0, likely, 0)
    assert isinstance(sampler, TPESampler)
    assert sampler._n_startup_trials == startup
