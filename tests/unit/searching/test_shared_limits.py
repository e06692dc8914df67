"""What workers hear of a search's limits."""

from __future__ import annotations

import time

import optuna
import pytest

from autoprompt.searching.budget import Budget
from autoprompt.searching.shared_limits import SharedLimits


def heard(budget: Budget, used: float = 0.0) -> SharedLimits:
    """Limits by way of a study."""
    study = optuna.create_study()
    SharedLimits.from_now(budget, used).publish(study)
    found = SharedLimits.of(study)
    assert found is not None
    return found


def test_nothing_is_known_before_the_creator_says() -> None:
    assert SharedLimits.of(optuna.create_study()) is None


def test_limits_without_seconds_have_no_deadline() -> None:
    limits = heard(Budget(trials=7, forwards=900))
    assert limits == SharedLimits(Budget(trials=7, forwards=900), None)
    assert limits.seconds_used() is None


def test_the_time_that_a_resumed_search_has_used_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    limits = heard(Budget(seconds=60.0), used=25.0)
    assert limits.deadline == 1_035.0
    assert limits.seconds_used() == 25.0
    monkeypatch.setattr(time, "time", lambda: 1_010.0)
    assert limits.seconds_used() == 35.0


def test_a_resume_changes_what_is_known() -> None:
    study = optuna.create_study()
    for trials in (4, 9):
        SharedLimits.from_now(Budget(trials=trials), 0.0).publish(study)
        assert SharedLimits.of(study) == SharedLimits(Budget(trials=trials), None)
