"""Searches replayed with a rule that drops candidates, and without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from autoprompt.objective import tempered_log_likelihoods
from autoprompt.seeding import generator
from experiments.racing.entrants import Entrant, Field
from experiments.racing.rules import RULES, Rule, first

RANDOM = "random"
CLOSE = "close"
CLOSE_SHARE = 0.25  # of the pool, the best: what a sampler proposes that has learned


@dataclass(frozen=True)
class Replay:
    """What one rule did in one search.

    Attributes:
        forwards: the share of the exhaustive search's, each candidate by itself.
        cached: the same, where a template meets an example once and what is fitted on train has
            seen all of it before the first block, as the product counts.
        loss: what the winner's full log-loss is above that of the exhaustive winner, in standard
            errors of their paired difference; 0 for the same prompt.
        same: whether it is the same prompt.
    """

    forwards: float
    cached: float
    loss: float
    same: bool


@dataclass(frozen=True)
class Run:
    """The mean replay of one rule over the searches of one task and draw.

    Attributes:
        task, draw, setting: of the field.
        candidates: `RANDOM`, or `CLOSE` ones, of the best quarter.
        rule: its name.
        forwards, cached, loss, same: see `Replay`.
    """

    task: str
    draw: int
    setting: str
    candidates: str
    rule: str
    forwards: float
    cached: float
    loss: float
    same: float

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


def replay(field: Field, order: Sequence[int], make: Callable[[int], Rule]) -> Replay:
    """Race candidates in an order, after the seed prompts, which are scored in full.

    Args:
        field: the entrants.
        order: indices of `field.others`.
        make: makes the rule, from the number of examples.
    """
    rule = make(field.examples)
    entrants = [*field.seeds, *(field.others[index] for index in order)]
    seen = []
    for position, entrant in enumerate(entrants):
        droppable = position >= len(field.seeds)
        seen.append(_seen_by(rule, entrant, field.examples, droppable))
        rule.finish(entrant, seen[-1])
    full = [e for e, count in zip(entrants, seen, strict=True) if count == field.examples]
    winner = max(full, key=lambda entrant: entrant.value)
    best = max(entrants, key=lambda entrant: entrant.value)
    return Replay(
        forwards=sum(seen) / (field.examples * len(entrants)),
        cached=_cached(entrants, seen) / _cached(entrants, [field.examples] * len(entrants)),
        loss=0.0 if winner is best else paired_loss(winner, best),
        same=winner is best,
    )


def _seen_by(rule: Rule, entrant: Entrant, examples: int, droppable: bool) -> int:
    """After how many examples a candidate is dropped; all where it is not."""
    for size in rule.blocks():
        if droppable and size < examples and rule.drops(first(entrant.scored, size)):
            return size
    return examples


def _cached(entrants: Sequence[Entrant], seen: Sequence[int]) -> int:
    """Forwards, where the scores of a template's examples are kept. Examples come in one order."""
    needed: dict[str, int] = {}
    for entrant, count in zip(entrants, seen, strict=True):
        most = max(count, entrant.at_once, needed.get(entrant.template, 0))
        needed[entrant.template] = most
    return sum(needed.values())


def paired_loss(winner: Entrant, best: Entrant) -> float:
    """By how many paired standard errors one log-loss is above another."""
    difference = tempered_log_likelihoods(best.scored) - tempered_log_likelihoods(winner.scored)
    mean = float(difference.mean())
    if mean <= 0:
        return 0.0
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return mean / error if error else math.inf


def simulate(field: Field, candidates: int, repetitions: int) -> list[Run]:
    """Every rule in the same searches of a field.

    Args:
        field: the entrants.
        candidates: of one search, drawn without replacement, in the order in which they come.
        repetitions: searches.
    """
    ranked = sorted(range(len(field.others)), key=lambda index: -field.others[index].value)
    pools = {RANDOM: ranked, CLOSE: ranked[: math.ceil(CLOSE_SHARE * len(ranked))]}
    found = []
    for name, pool in pools.items():
        rng = generator(field.draw, "orders", field.task, name)
        orders = [
            [pool[i] for i in rng.permutation(len(pool))[:candidates]] for _ in range(repetitions)
        ]
        for rule, make in RULES.items():
            replays = [replay(field, order, make) for order in orders]
            means = {
                what: float(np.mean([getattr(one, what) for one in replays]))
                for what in ("forwards", "cached", "loss", "same")
            }
            found.append(Run(field.task, field.draw, field.setting, name, rule, **means))
    return found
