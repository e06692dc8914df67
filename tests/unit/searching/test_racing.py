"""Dropping candidates early."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoprompt.objective import Scored, tempered_log_likelihoods
from autoprompt.scoring.label_scores import Floats, log_softmax
from autoprompt.searching.racing import (
    BEHIND,
    CANNOT_WIN,
    CRUMB,
    FIRST_BLOCK,
    LEVEL,
    Race,
    rungs,
)


def part(scored: Scored, start: int, stop: int) -> Scored:
    return Scored(scored.log_probabilities[start:stop], scored.gold[start:stop])


def value_of(scored: Scored) -> float:
    return float(tempered_log_likelihoods(scored).mean())


def random_candidates(seed: int, count: int, examples: int, labels: int = 3) -> list[Scored]:
    """Candidates that share the examples' difficulty and differ in skill."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(labels, size=examples)
    hard = rng.normal(size=examples)
    found = []
    for skill in rng.normal(size=count):
        logits = rng.normal(size=(examples, labels))
        logits[np.arange(examples), gold] += 1.5 * skill - hard
        found.append(Scored(log_softmax(2 * logits), gold))
    return found


def with_probabilities(right: Sequence[float] | Floats) -> Scored:
    """Two labels, the right one first, with these probabilities."""
    of_right = np.asarray(right, dtype=np.float64)
    return Scored(
        np.log(np.stack([of_right, 1 - of_right], axis=1)), np.zeros(len(of_right), np.int64)
    )


def verdicts(race: Race, scored: Scored, start: int = 0) -> list[str | None]:
    """The verdict after each block but the last, up to the one that drops it."""
    found = []
    examples = len(scored.gold)
    for size in rungs(examples)[:-1]:
        found.append(race.verdict_on(part(scored, 0, size), start))
        if found[-1]:
            break
    return found


def run(race: Race, candidates: Sequence[Scored]) -> list[list[str | None]]:
    """Race candidates in order, the first in full."""
    found = []
    for position, scored in enumerate(candidates):
        said = verdicts(race, scored) if position else []
        found.append(said)
        dropped = bool(said and said[-1])
        race.finish(None if dropped else value_of(scored), lambda scored=scored: scored)
    return found


def race_against(scored: Scored, start: int = 0, **options: float) -> Race:
    race = Race(len(scored.gold) + start, **options)
    race.finish(value_of(scored), lambda: scored, start)
    return race


def unwanted() -> Scored:
    raise AssertionError("these scores are not needed")


class TestRungs:
    @given(st.integers(1, 20_000))
    def test_they_ascend_and_end_with_all_examples(self, examples: int) -> None:
        sizes = rungs(examples)
        assert sizes[-1] == examples
        assert all(small < large for small, large in itertools.pairwise(sizes))

    @given(st.integers(FIRST_BLOCK * 2, 20_000))
    def test_the_last_block_is_not_a_crumb(self, examples: int) -> None:
        sizes = rungs(examples)
        assert sizes[-1] >= sizes[-2] * CRUMB - 1

    @pytest.mark.parametrize("examples", [1, 2, FIRST_BLOCK])
    def test_few_examples_are_one_block(self, examples: int) -> None:
        assert rungs(examples) == [examples]


class TestLossless:
    @given(st.integers(0, 10_000), st.integers(1, 12), st.integers(30, 150))
    def test_the_winner_is_that_of_an_exhaustive_search(
        self, seed: int, count: int, examples: int
    ) -> None:
        candidates = random_candidates(seed, count, examples)
        race = Race(examples, level=0)
        run(race, candidates)
        assert race.incumbent == max(map(value_of, candidates))

    def test_it_drops_what_is_far_behind(self) -> None:
        race = race_against(with_probabilities([0.99] * 100), level=0)
        hopeless = with_probabilities([0.01] * 100)
        assert race.verdict_on(part(hopeless, 0, 50)) == CANNOT_WIN

    def test_a_perfect_beginning_is_not_hopeless(self) -> None:
        race = race_against(with_probabilities([0.999] * 100), level=0)
        assert race.verdict_on(with_probabilities([0.9999] * 24)) is None


class TestPairedTest:
    def test_a_clearly_worse_one_is_dropped_after_the_first_block(self) -> None:
        rng = np.random.default_rng(0)
        best = with_probabilities(rng.uniform(0.45, 0.75, size=200))
        worse = with_probabilities(rng.uniform(0.35, 0.6, size=200))
        assert verdicts(race_against(best), worse) == [BEHIND]

    @given(st.integers(0, 10_000), st.integers(30, 300))
    def test_a_copy_of_the_best_is_never_dropped(self, seed: int, examples: int) -> None:
        (best,) = random_candidates(seed, 1, examples)
        assert not any(verdicts(race_against(best), best))

    @given(st.integers(0, 10_000))
    def test_one_that_is_ahead_is_never_dropped(self, seed: int) -> None:
        candidates = random_candidates(seed, 2, 120)
        known, other = candidates
        race = race_against(known)
        for size in rungs(120)[:-1]:
            seen = part(other, 0, size)
            if value_of(seen) >= value_of(part(known, 0, size)):
                assert race.verdict_on(seen) is None

    def test_pairs_tell_apart_what_means_do_not(self) -> None:
        """Examples differ far more than candidates: only the pairs show the difference."""
        hard = np.random.default_rng(1).uniform(0.05, 0.95, size=100)
        best = with_probabilities(hard)
        slightly_worse = with_probabilities(hard * 0.97)
        race = race_against(best)
        assert race.verdict_on(part(slightly_worse, 0, 24)) == BEHIND
        shuffled = with_probabilities(hard[::-1] * 0.97)
        assert race.verdict_on(part(shuffled, 0, 24)) is None

    def test_a_higher_level_never_drops_less(self) -> None:
        candidates = random_candidates(3, 30, 100)
        for other in candidates[1:]:
            seen = part(other, 0, 36)
            strict = race_against(candidates[0], level=0.01).verdict_on(seen)
            loose = race_against(candidates[0], level=0.4).verdict_on(seen)
            assert strict is None or loose is not None

    def test_false_drops_stay_within_the_level_over_all_looks(self) -> None:
        """An equal one (the same mean over all examples) met in random orders of the examples."""
        rng = np.random.default_rng(7)
        examples, searches = 200, 400
        drops = 0
        for _ in range(searches):
            right = rng.uniform(0.2, 0.95, size=examples)
            other = rng.permutation(right)  # the same values: the same mean, example by example not
            race = race_against(with_probabilities(right))
            drops += any(verdicts(race, with_probabilities(other)))
        assert drops / searches <= LEVEL
        assert drops  # the simulation does test something

    @pytest.mark.parametrize("level", [-0.1, 0.5, 1.0])
    def test_a_level_that_is_none_is_refused(self, level: float) -> None:
        with pytest.raises(ValueError, match="level of a race"):
            Race(10, level)


class TestEdges:
    def test_nothing_is_dropped_before_a_first_candidate(self) -> None:
        race = Race(100)
        assert race.incumbent == -np.inf
        assert race.verdict_on(with_probabilities([0.01] * 24)) is None

    def test_what_has_seen_all_is_not_dropped(self) -> None:
        race = race_against(with_probabilities([0.9] * 30))
        assert race.verdict_on(with_probabilities([0.1] * 30)) is None

    @pytest.mark.parametrize("right", [0.1, 0.5, 0.9])
    def test_equal_scores_on_all_examples(self, right: float) -> None:
        race = race_against(with_probabilities([right] * 100))
        assert race.verdict_on(with_probabilities([right] * 24)) is None

    def test_a_constant_lag_needs_no_spread(self) -> None:
        rng = np.random.default_rng(2)
        right = rng.uniform(0.4, 0.9, size=100)
        race = race_against(with_probabilities(right))
        assert race.verdict_on(part(with_probabilities(right * 0.9), 0, 24)) == BEHIND

    def test_a_single_example(self) -> None:
        race = race_against(with_probabilities([0.9]))
        assert race.verdict_on(with_probabilities([0.2])) is None
        one_of_ten = race_against(with_probabilities([0.6] * 10))
        assert one_of_ten.verdict_on(with_probabilities([0.5])) is None

    def test_a_dropped_candidate_does_not_become_the_best(self) -> None:
        race = race_against(with_probabilities([0.6] * 50))
        before = race.incumbent
        race.finish(None, unwanted)
        assert race.incumbent == before

    def test_the_first_of_equals_stays(self) -> None:
        first = with_probabilities([0.8] * 50)
        race = race_against(first)
        race.finish(value_of(first), unwanted)
        race.verdict_on(part(first, 0, 24))


class TestLaterRows:
    """Candidates that may only be judged from a row on."""

    def test_they_are_compared_on_the_rows_that_both_have(self) -> None:
        rng = np.random.default_rng(4)
        # Bad on the first 100 rows, good on the last: there, a rival must be as good.
        best = with_probabilities([*rng.uniform(0.1, 0.4, 100), *rng.uniform(0.7, 0.9, 100)])
        race = race_against(best)
        middling = with_probabilities(rng.uniform(0.4, 0.7, 100))
        assert race.verdict_on(part(middling, 0, 36), start=100) in (BEHIND, CANNOT_WIN)
        assert race.verdict_on(part(best, 100, 136), start=100) is None

    def test_they_do_not_judge_those_of_all_rows(self) -> None:
        race = Race(200)
        late = with_probabilities([0.99] * 100)
        race.finish(value_of(late), unwanted, start=100)
        assert race.verdict_on(with_probabilities([0.2] * 24)) is None
        assert race.incumbent == -np.inf

    def test_they_have_an_incumbent_of_their_own(self) -> None:
        rng = np.random.default_rng(5)
        race = race_against(with_probabilities(rng.uniform(0.3, 0.6, 200)))
        late = with_probabilities(rng.uniform(0.7, 0.95, 100))
        race.finish(value_of(late), lambda: late, start=100)
        middling = with_probabilities(rng.uniform(0.5, 0.75, 100))
        assert race.verdict_on(part(middling, 0, 36), start=100) is not None
        assert race.verdict_on(part(late, 0, 36), start=100) is None

    @given(st.integers(0, 10_000))
    def test_the_lossless_abort_is_lossless_for_them(self, seed: int) -> None:
        known, *others = random_candidates(seed, 6, 120)
        race = race_against(known, level=0)
        tail = value_of(part(known, 60, 120))
        for other in others:
            rest = part(other, 60, 120)
            if any(verdicts(race, rest, start=60)):
                assert value_of(rest) < tail


class TestRestoring:
    def test_a_restored_race_decides_alike(self) -> None:
        first = random_candidates(11, 40, 90)
        whole = Race(90)
        said = run(whole, first)
        resumed = Race(90)
        for scored, verdict in zip(first[:20], said[:20], strict=True):
            dropped = bool(verdict and verdict[-1])
            resumed.finish(None if dropped else value_of(scored), lambda s=scored: s)
        for scored, verdict in zip(first[20:], said[20:], strict=True):
            assert verdicts(resumed, scored) == verdict
            dropped = bool(verdict and verdict[-1])
            resumed.finish(None if dropped else value_of(scored), lambda s=scored: s)
        assert resumed.incumbent == whole.incumbent

    def test_only_the_best_is_read_and_only_once(self) -> None:
        reads = []
        race = Race(90)
        candidates = random_candidates(12, 10, 90)
        best = max(candidates, key=value_of)

        def read(scored: Scored) -> Scored:
            reads.append(scored)
            return scored

        for scored in candidates:
            race.finish(value_of(scored), lambda scored=scored: read(scored))
        assert reads == []
        for scored in candidates:
            race.verdict_on(part(scored, 0, 36))
        assert len(reads) == 1
        assert reads[0] is best


class TestOnAll:
    """Means over the last rows beside means over all."""

    def test_a_value_on_all_rows_stands_for_itself(self) -> None:
        race = race_against(random_candidates(0, 1, 90)[0])
        assert race.on_all(-0.4, 0, 30) == -0.4

    def test_the_best_keeps_its_value_on_whatever_rows(self) -> None:
        (best,) = random_candidates(0, 1, 90)
        race = race_against(best)
        for count in (24, 40):
            value = value_of(part(best, 50, 50 + count))
            assert race.on_all(value, 50, count) == pytest.approx(value_of(best))

    def test_a_lead_stays_a_lead(self) -> None:
        (best,) = random_candidates(0, 1, 90)
        value = value_of(part(best, 50, 90)) + 0.1
        assert race_against(best).on_all(value, 50, 40) == pytest.approx(value_of(best) + 0.1)

    def test_nothing_to_compare_with_changes_nothing(self) -> None:
        assert Race(90).on_all(-0.4, 50, 40) == -0.4
