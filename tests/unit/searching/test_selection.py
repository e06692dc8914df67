"""Which prompt a search returns."""

from __future__ import annotations

import numpy as np
import pytest

from autoprompt.errors import SearchError
from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.prompts import Prompt
from autoprompt.scoring.ledger import Spent
from autoprompt.searching.selection import Selection, select
from autoprompt.searching.study import Record
from autoprompt.searching.trials import Outcome
from autoprompt.templates import Template
from autoprompt.verbalizers import Verbalizer

WORDS = Verbalizer.of({"negative": ["bad"], "positive": ["good"]})
GOLD = np.array([0, 1] * 32)


def scored(right: int, sure: float, noise: float = 0.0, seed: int = 0) -> Scored:
    """Scores of which the first `right` are right, with a margin of `sure` on each."""
    margins = np.where(np.arange(len(GOLD)) < right, sure, -sure)
    margins = margins + np.random.default_rng(seed).normal(0, noise, len(GOLD))
    signed = np.where(GOLD == 1, margins, -margins)
    return Scored(np.stack([-np.logaddexp(0, signed), -np.logaddexp(0, -signed)], axis=1), GOLD)


class Case:
    """Finished trials, the first of which are seeds."""

    def __init__(self, metric: str = "accuracy") -> None:
        self.metric = metric
        self.records: list[Record] = []
        self.scores: dict[str, Scored] = {}

    def add(self, result: Scored | None, repeats: int | None = None) -> Case:
        """Add a trial; None stands for one that was dropped by the race."""
        number = len(self.records)
        prompt = Prompt(Template.parse(f"{{text}} {number} {{mask}}"), WORDS)
        value = None if result is None else float(tempered_log_likelihoods(result).mean())
        metric = None if result is None else result.metric(self.metric)
        outcome = Outcome(prompt, value, metric, 64, {}, repeats=repeats)
        if result is not None:
            self.scores[prompt.digest] = result
        self.records.append(Record(number, outcome, None, Spent(), {}))
        return self

    def fail(self) -> Case:
        """Add a trial that failed."""
        self.records.append(Record(len(self.records), None, "reason", Spent(), {}))
        return self

    def select(self, seeds: int) -> Selection:
        """The choice."""
        return select(
            self.records, seeds, self.metric, lambda outcome: self.scores[outcome.prompt.digest]
        )


def test_a_candidate_that_clearly_beats_the_seed_wins() -> None:
    found = Case().add(scored(40, 0.5)).add(scored(60, 2.0)).select(seeds=1)
    assert found.winner[0] == 1
    assert not found.kept_seed
    assert found.contenders == 1


def test_a_candidate_that_is_one_example_better_does_not() -> None:
    found = Case().add(scored(40, 1.0)).add(scored(41, 1.0)).select(seeds=1)
    assert found.kept_seed


def test_the_seed_is_kept_where_it_is_best() -> None:
    found = Case().add(scored(60, 2.0)).add(scored(40, 0.5)).select(seeds=1)
    assert found.kept_seed
    assert found.contenders == 0


def test_a_candidate_of_lower_accuracy_never_wins() -> None:
    # Its few errors are mild and its hits sure, so that its likelihood is higher.
    seed, other = scored(50, 0.05), scored(49, 0.05)
    better = other.log_probabilities.copy()
    better[:49] = scored(49, 6.0).log_probabilities[:49]
    found = Case().add(seed).add(Scored(better, GOLD)).select(seeds=1)
    assert found.kept_seed


def test_the_baseline_is_the_most_accurate_seed() -> None:
    found = Case().add(scored(40, 1.0)).add(scored(50, 1.0)).add(scored(45, 1.0)).select(seeds=3)
    assert found.baseline[0] == 1


def uneven(right: int) -> Scored:
    """As many hits as `scored(right, ...)`, with margins that no temperature makes likely."""
    signs = np.where(np.arange(len(GOLD)) < right, 1.0, -1.0)
    margins = np.where(np.arange(len(GOLD)) % 2 == 0, 0.2, 2.0) * signs
    signed = np.where(GOLD == 1, margins, -margins)
    return Scored(np.stack([-np.logaddexp(0, signed), -np.logaddexp(0, -signed)], axis=1), GOLD)


def test_likelihood_breaks_the_tie_of_seeds() -> None:
    first, second = uneven(50), scored(50, 1.0)
    assert first.metric("accuracy") == second.metric("accuracy")
    assert Case().add(first).add(second).select(seeds=2).baseline[0] == 1
    assert Case().add(second).add(first).select(seeds=2).baseline[0] == 0


def test_the_likelier_of_two_equally_accurate_contenders_wins() -> None:
    found = Case().add(scored(34, 0.1)).add(uneven(62)).add(scored(62, 2.0)).select(seeds=1)
    assert found.contenders == 2
    assert found.winner[0] == 2


def test_closeness_is_that_of_the_metric() -> None:
    # 16 of 160 are positive. One finds them at the cost of false alarms, the other hardly any of
    # them: more accurate and likelier, but far behind by macro-F1.
    gold = np.array([1] * 16 + [0] * 144)

    def made(found: int, alarms: int, sure: float) -> Scored:
        hit = np.array([i < found for i in range(16)] + [i >= alarms for i in range(144)])
        signed = np.where(hit, sure, -0.1) * np.where(gold == 1, 1, -1)
        rows = np.stack([-np.logaddexp(0, signed), -np.logaddexp(0, -signed)], axis=1)
        return Scored(rows, gold)

    seed, finder, idler = made(2, 60, 0.1), made(15, 14, 2.0), made(7, 1, 3.0)
    case = Case("macro_f1").add(seed).add(finder).add(idler)
    assert idler.metric("accuracy") >= finder.metric("accuracy")
    assert case.select(seeds=1).winner[0] == 1


def test_more_candidates_raise_the_bar() -> None:
    seed, near = scored(40, 0.8), scored(48, 0.8)
    alone = Case().add(seed).add(near).select(seeds=1)
    crowded = Case().add(seed).add(near)
    for _ in range(400):
        crowded.add(scored(30, 0.8))
    assert not alone.kept_seed
    assert crowded.select(seeds=1).kept_seed


def test_dropped_failed_and_repeated_trials_do_not_count() -> None:
    case = Case().add(scored(40, 0.5)).add(None).fail().add(scored(64, 3.0), repeats=0)
    assert case.select(seeds=1).kept_seed


def test_finalists_are_ranked_by_likelihood() -> None:
    found = Case().add(scored(40, 0.5)).add(scored(60, 2.0)).add(scored(50, 1.0)).select(seeds=1)
    values = [outcome.value for _, outcome in found.finalists]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3


def test_the_winner_and_its_rivals_lead_the_finalists() -> None:
    """In whatever order their likelihoods are: float32 must have its word on them."""
    case = Case().add(scored(40, 0.5)).add(scored(60, 1.0))
    for _ in range(9):
        case.add(scored(38, 3.0))  # likely, but less accurate than the seed
    found = case.select(seeds=1)
    assert found.winner[0] == 1
    assert found.finalists[0] == found.winner


def test_a_run_without_a_scored_seed_is_an_error() -> None:
    with pytest.raises(SearchError, match="no seed prompt was scored"):
        Case().fail().add(scored(60, 2.0)).select(seeds=1)
