"""The replay of searches in experiments/racing, on made-up scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.scoring.label_scores import log_softmax
from experiments.racing.entrants import FEW_SHOT, LARGER, Entrant, Field
from experiments.racing.rules import LOSSLESS, PRODUCT, RULES, Paired
from experiments.racing.simulation import CLOSE, RANDOM, paired_loss, replay, simulate

EXAMPLES = 60


def entrant(seed: int, skill: float, template: str = "", at_once: int = 0) -> Entrant:
    """Its right labels are 0, and its scores for them are higher by its skill."""
    logits = np.random.default_rng(seed).normal(size=(EXAMPLES, 2))
    logits[:, 0] += skill
    scored = Scored(log_softmax(logits), np.zeros(EXAMPLES, np.int64))
    value = float(tempered_log_likelihoods(scored).mean())
    return Entrant(scored, value, template or f"template {seed}", at_once)


def made_up(setting: str = LARGER) -> Field:
    others = tuple(entrant(seed, seed % 7 - 3) for seed in range(1, 40))
    return Field("made up", 1, setting, (entrant(0, 1.0),), others)


def test_the_lossless_abort_finds_the_winner_and_saves_something() -> None:
    found = replay(made_up(), range(39), RULES[LOSSLESS])
    assert found.same
    assert found.loss == 0.0
    assert found.forwards < 1.0


def test_the_race_saves_more() -> None:
    found = replay(made_up(), range(39), RULES[PRODUCT])
    assert found.forwards < replay(made_up(), range(39), RULES[LOSSLESS]).forwards
    assert found.loss < 1.0


def test_forwards_are_what_was_seen() -> None:
    """A clear winner among the seeds: everybody else goes after the first block."""
    field = Field("made up", 1, LARGER, (entrant(0, 9.0),), (entrant(1, -9.0), entrant(2, -8.0)))
    first = Paired(EXAMPLES).blocks()[0]
    found = replay(field, [0, 1], Paired)
    assert found.forwards == pytest.approx((EXAMPLES + 2 * first) / (3 * EXAMPLES))
    assert found.cached == pytest.approx(found.forwards)


def test_a_template_pays_once_and_what_is_fitted_pays_for_train() -> None:
    others = (entrant(1, -9.0, "shared", at_once=40), entrant(2, -8.0, "shared"))
    field = Field("made up", 1, FEW_SHOT, (entrant(0, 9.0, "seed"),), others)
    found = replay(field, [0, 1], Paired)
    assert found.cached == pytest.approx((EXAMPLES + 40) / (2 * EXAMPLES))


def test_the_loss_of_a_worse_winner_is_in_paired_standard_errors() -> None:
    worse, best = entrant(1, 0.5), entrant(2, 1.5)
    difference = tempered_log_likelihoods(best.scored) - tempered_log_likelihoods(worse.scored)
    expected = difference.mean() / (difference.std(ddof=1) / math.sqrt(EXAMPLES))
    assert paired_loss(worse, best) == pytest.approx(expected)
    assert paired_loss(best, worse) == 0.0


def test_every_rule_is_run_on_both_kinds_of_candidates() -> None:
    runs = simulate(made_up(), candidates=10, repetitions=2)
    assert {(run.candidates, run.rule) for run in runs} == {
        (kind, rule) for kind in (RANDOM, CLOSE) for rule in RULES
    }
    assert all(0 < run.forwards <= 1 and 0 < run.cached <= 1 for run in runs)
    assert simulate(made_up(), candidates=10, repetitions=2) == runs
