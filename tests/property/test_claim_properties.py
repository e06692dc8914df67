"""Whatever workers do on one study, in whatever order: one result a proposal, and none is lost."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from optuna.samplers import RandomSampler
from optuna.trial import Trial, TrialState

from autoprompt.searching.addresses import Address
from autoprompt.searching.claims import Claims, LostTrialError, View
from autoprompt.searching.heartbeat import Heartbeat
from autoprompt.searching.patience import storage_of
from autoprompt.searching.records import OUTCOME, has_result
from autoprompt.searching.storage import PLAN, Place, join_study, open_study

WORKERS = 3
workers = st.integers(0, WORKERS - 1)


class Workers(RuleBasedStateMachine):
    """Three workers that look, claim, finish, give back, die and are taken for dead."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        place = Place(Address.of_file(folder / "study.db"), "autoprompt", "here")
        study = self.stack.enter_context(open_study(place, {"seed": 0}))
        study.set_user_attr(PLAN, {})
        studies = [study] + [
            self.stack.enter_context(join_study(place)) for _ in range(WORKERS - 1)
        ]
        self.beats = [Heartbeat(own, storage_of(own), 6.0) for own in studies]
        self.claims = [
            Claims(own, beat, creates=number == 0)
            for number, (own, beat) in enumerate(zip(studies, self.beats, strict=True))
        ]
        self.views = [View() for _ in studies]
        self.seen: list[dict[int, int]] = [{} for _ in studies]  # proposal: trial that counts
        self.held: list[tuple[int, Trial] | None] = [None] * WORKERS
        self.told: dict[int, list[float]] = {}

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    @rule(who=workers)
    def look(self, who: int) -> None:
        self.views[who] = self.claims[who].view()
        for proposal, trial in self.views[who].finished.items():
            assert proposal not in self.seen[who]
            self.seen[who][proposal] = trial.number

    @rule(who=workers)
    def claim(self, who: int) -> None:
        """On what it saw last, however long ago."""
        if self.held[who] is None:
            proposal = self.views[who].next
            trial = self.claims[who].claim(proposal, "composed", RandomSampler(seed=0))
            self.held[who] = None if trial is None else (proposal, trial)

    @rule(who=workers, value=st.floats(-1, 0))
    def finish(self, who: int, value: float) -> None:
        if (held := self.held[who]) is None:
            return
        proposal, trial = held
        try:
            self.claims[who].note(trial, {OUTCOME: {"repeats": None}})
            self.claims[who].tell(trial, TrialState.COMPLETE, value)
        except LostTrialError:
            pass
        else:
            self.told.setdefault(proposal, []).append(value)
        self.held[who] = None

    @rule(who=workers)
    def give_back(self, who: int) -> None:
        if (held := self.held[who]) is not None:
            self.claims[who].give_back(held[1])
            self.held[who] = None

    @rule(who=workers, other=workers)
    def take_for_dead(self, who: int, other: int) -> None:
        """The other may live and finish, as one that was frozen does, or be gone for good."""
        if (held := self.held[other]) is not None and who != other:
            self.beats[who]._reap(held[1]._trial_id)

    @rule(who=workers)
    def die(self, who: int) -> None:
        if (held := self.held[who]) is not None:
            self.held[who] = None
            self.beats[(who + 1) % WORKERS]._reap(held[1]._trial_id)

    @invariant()
    def each_proposal_has_one_result(self) -> None:
        if not hasattr(self, "claims"):
            return
        results: dict[int, list[Any]] = {}
        for trial in self.claims[0].study.get_trials(deepcopy=False):
            if has_result(trial):
                results.setdefault(trial.user_attrs["proposal"], []).append(trial)
        assert {p: [t.value for t in found] for p, found in results.items()} == self.told
        assert all(len(found) == 1 for found in results.values())
        for seen in self.seen:
            assert all(results[proposal][0].number == trial for proposal, trial in seen.items())

    @invariant()
    def nobody_holds_what_another_holds(self) -> None:
        if not hasattr(self, "claims"):
            return
        running = {
            trial.number: trial.user_attrs["proposal"]
            for trial in self.claims[0].study.get_trials(deepcopy=False)
            if trial.state == TrialState.RUNNING
        }
        assert len(set(running.values())) == len(running)


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(settings.default, max_examples=8, stateful_step_count=25)
