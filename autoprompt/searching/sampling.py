"""What chooses the parameters of a trial, seeded anew for each proposal."""

from __future__ import annotations

import warnings

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from autoprompt.seeding import derive_seed

STUCK = 1  # repetitions in a row after which a proposal is drawn at random
STARTUP = (10, 40)  # random trials before the sampler models anything: fewest, most


def sampler_of(seed: int, index: int, likely_trials: int, repeats: int) -> BaseSampler:
    """The sampler of one proposal: a resumed run has the same one as an uninterrupted run.

    Args:
        seed: the run's.
        index: the proposal's.
        likely_trials: about how many the budget allows; a third of them at most are random.
        repeats: trials in a row before this one that gave nothing new.
    """
    own = derive_seed(seed, "sampler", index)
    if repeats >= STUCK:
        return RandomSampler(seed=own)
    startup = min(max(STARTUP[0], likely_trials // 3), STARTUP[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=own, multivariate=True, group=True, n_startup_trials=startup)
