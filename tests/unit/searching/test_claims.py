"""What several workers do on one study: one claim a proposal, and nothing lost or counted twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState

from autoprompt.searching import heartbeat
from autoprompt.searching.addresses import Address
from autoprompt.searching.claims import Claims, LostTrialError
from autoprompt.searching.heartbeat import SIGNS, Heartbeat
from autoprompt.searching.patience import storage_of
from autoprompt.searching.records import FAILURE, OUTCOME
from autoprompt.searching.storage import PLAN, Place, join_study, open_study

GRACE = 6.0
RESULT = {"repeats": None}


class Worker:
    """A process's claims, without the process."""

    def __init__(self, study: Study, creates: bool) -> None:
        self.study = study
        self.heartbeat = Heartbeat(study, storage_of(study), GRACE)  # looks when it is told to
        self.claims = Claims(study, self.heartbeat, creates)

    def claim(self, proposal: int, **more: Any) -> Trial | None:
        return self.claims.claim(proposal, "composed", RandomSampler(seed=0), **more)

    def finish(self, trial: Trial, value: float = 0.5) -> None:
        self.claims.note(trial, {OUTCOME: RESULT})
        self.claims.tell(trial, TrialState.COMPLETE, value)

    def beat(self) -> None:
        self.heartbeat._beat()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place(Address.of_file(tmp_path / "study.db"), "autoprompt", "here")
    return Place(Address.parse(request.getfixturevalue("database")), "test", "here")


@pytest.fixture
def worker(place: Place) -> Iterator[Callable[[], Worker]]:
    """Makes workers on one study; the first has made it."""
    with ExitStack() as stack:
        study = stack.enter_context(open_study(place, {"seed": 0}, patience=5))
        study.set_user_attr(PLAN, {})
        made: list[Worker] = []

        def make() -> Worker:
            own = stack.enter_context(join_study(place, patience=5)) if made else study
            made.append(Worker(own, creates=not made))
            return made[-1]

        yield make


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for who looks at signs of life."""
    now = [1000.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_a_proposal_is_claimed_once(worker: Callable[[], Worker]) -> None:
    first, second = worker(), worker()
    assert first.claims.view().next == second.claims.view().next == 0
    held = first.claim(0)
    assert held is not None
    assert second.claim(0) is None  # it decided on an old view
    view = second.claims.view()
    assert (view.next, set(view.running)) == (1, {0})
    first.finish(held)
    assert second.claim(0) is None
    view = second.claims.view()
    assert (view.next, set(view.running), set(view.finished)) == (1, set(), {0})
    assert not second.claims.view().finished  # handed out once


def test_what_a_trial_is_given_is_fixed(worker: Callable[[], Worker]) -> None:
    trial = worker().claim(0, fixed={"n": 7})
    assert trial is not None
    assert trial.suggest_int("n", 0, 9) == 7


def test_what_is_given_back_is_run_again_before_anything_new(worker: Callable[[], Worker]) -> None:
    first, second = worker(), worker()
    held, other = first.claim(0), second.claim(1)
    assert held is not None
    assert other is not None
    first.claims.give_back(held)
    view = second.claims.view()
    assert (view.next, set(view.running), view.deaths) == (0, {1}, {})
    again = second.claim(0)
    assert again is not None
    second.finish(again)
    assert set(first.claims.view().finished) == {0}


def test_a_silent_worker_loses_its_trial_and_discards_what_it_has(
    worker: Callable[[], Worker], clock: Callable[[float], None]
) -> None:
    frozen, other = worker(), worker()
    held = frozen.claim(0)
    assert held is not None
    frozen.beat()
    for _ in range(2 * SIGNS):
        assert other.heartbeat.look() == []
        clock(GRACE / SIGNS / 2)  # half a grace period passes, in which it says nothing
    for _ in range(SIGNS + 1):
        other.heartbeat.look()
        clock(GRACE / SIGNS)
    view = other.claims.view()
    assert (view.next, view.deaths) == (0, {0: 1})
    again = other.claim(0)
    assert again is not None
    for discards in (
        lambda: frozen.claims.report(held, {24: 0.1}),
        lambda: frozen.claims.note(held, {OUTCOME: RESULT}),
        lambda: frozen.claims.tell(held, TrialState.COMPLETE, 0.9),
        lambda: frozen.claims.tell(held, TrialState.FAIL),
    ):
        with pytest.raises(LostTrialError):
            discards()
    other.finish(again, 0.5)
    (found,) = frozen.claims.view().finished.values()
    assert found.value == 0.5


def test_a_trial_that_never_gave_a_sign_is_found_too(
    worker: Callable[[], Worker], clock: Callable[[float], None]
) -> None:
    dead, other = worker(), worker()
    assert dead.claim(0) is not None
    for _ in range(SIGNS + 2):
        other.heartbeat.look()
        clock(GRACE / SIGNS)
    assert other.claims.view().deaths == {0: 1}


def test_who_gives_signs_is_left_alone(
    worker: Callable[[], Worker],
    clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive, other = worker(), worker()
    held = alive.claim(0)
    assert held is not None
    signs = iter(range(100))
    # A database's clock rounds to seconds; the signs of this test come faster.
    plain = other.heartbeat._running
    monkeypatch.setattr(other.heartbeat, "_running", lambda: dict.fromkeys(plain(), next(signs)))
    for _ in range(3 * SIGNS):
        assert other.heartbeat.look() == []
        clock(GRACE / SIGNS)
    alive.finish(held)


def test_who_was_frozen_itself_takes_nobody_for_dead(
    worker: Callable[[], Worker], clock: Callable[[float], None]
) -> None:
    alive, sleeper = worker(), worker()
    assert alive.claim(0) is not None
    sleeper.heartbeat.look()
    clock(3600)  # also an outage of the database: nobody could give a sign
    assert sleeper.heartbeat.look() == []
    assert sleeper.claims.view().running.keys() == {0}


def test_a_worker_does_not_take_itself_for_dead(
    worker: Callable[[], Worker], clock: Callable[[float], None]
) -> None:
    own = worker()
    held = own.claim(0)
    assert held is not None
    for _ in range(3 * SIGNS):
        assert own.heartbeat.look() == []
        clock(GRACE / SIGNS)
    own.finish(held)


def test_four_reapers_give_a_trial_back_once(
    worker: Callable[[], Worker], clock: Callable[[float], None]
) -> None:
    dead, *reapers = [worker() for _ in range(5)]
    assert dead.claim(0) is not None
    given_back = []
    for _ in range(SIGNS + 2):
        given_back += [trial for reaper in reapers for trial in reaper.heartbeat.look()]
        clock(GRACE / SIGNS)
    assert len(given_back) == 1
    won = [reaper.claim(0) for reaper in reapers]
    assert sum(trial is not None for trial in won) == 1


def test_of_two_results_the_first_counts(worker: Callable[[], Worker]) -> None:
    first, second = worker(), worker()
    held = first.claim(0)
    assert held is not None
    first.claims.note(held, {FAILURE: {"reason": "late", "spent": {}}})
    first.claims.give_back(held)  # as a reaper may, between the two writes of its worker
    assert second.claims.view().next == 1
    assert second.claim(0) is None


def test_a_killed_creator_takes_back_its_own_trials_alone(worker: Callable[[], Worker]) -> None:
    creator, other = worker(), worker()
    assert creator.claim(0) is not None
    assert other.claim(1) is not None
    assert creator.claims.give_back_own() == 1
    view = creator.claims.view()
    assert (view.next, set(view.running), view.deaths) == (0, {1}, {})


def test_a_claim_that_is_interrupted_is_withdrawn(
    worker: Callable[[], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = worker(), worker()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(own.claims, "_held", interrupt)
        with pytest.raises(KeyboardInterrupt):
            own.claim(0)
    assert other.claims.view().next == 0


def test_the_sampler_sees_what_others_have_finished(worker: Callable[[], Worker]) -> None:
    first, second = worker(), worker()
    seen: list[int] = []

    class Counting(RandomSampler):
        def sample_independent(self, study: Study, *rest: Any) -> Any:
            finished = study._get_trials(states=(TrialState.COMPLETE,), use_cache=True)
            seen.append(len(finished))
            return super().sample_independent(study, *rest)

    for proposal, own in enumerate((first, second, first)):
        trial = own.claims.claim(proposal, "composed", Counting(seed=0))
        assert trial is not None
        trial.suggest_int("n", 0, 9)
        own.finish(trial)
    assert seen == [0, 1, 2]
