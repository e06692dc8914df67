"""Who runs which proposal: claims that any number of workers make on one study.

Proposals are numbered. A worker claims one by creating a trial that carries its number; Optuna
numbers trials one after the other, in the database, and of several trials that claim a proposal the
first holds it. The others are failed by their makers at once. A trial that ends without a result
(it was given back, or its worker died) frees its proposal, which is claimed again under its own
number before any new one.

So what a proposal was given is decided by what all can see, no lock is held that could outlive its
holder, and a worker that decided on an old view of the study loses its claim.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from autoprompt.searching.heartbeat import REAPED, Heartbeat
from autoprompt.searching.patience import storage_of
from autoprompt.searching.records import (
    CREATOR,
    KIND,
    LINE,
    LINES_FROM,
    PROPOSAL,
    WORKER,
    Running,
    has_result,
    running_of,
)

FIXED = "fixed_params"  # as Optuna calls what a trial may not choose
CLAIM = "claim"
HURRY = 5.0  # seconds that an interrupted process waits for its database


class LostTrialError(Exception):
    """A trial was given to another worker; what this one has of it is to be discarded."""


@dataclass
class View:
    """What a worker sees of a study.

    Attributes:
        finished: trials with a result that were not seen before, by proposal.
        running: proposals that other workers are at, or this one.
        next: the first proposal that is neither finished nor running.
        deaths: of a proposal: how many workers died on it.
    """

    finished: dict[int, FrozenTrial] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    next: int = 0
    deaths: dict[int, int] = field(default_factory=dict)


class Claims:
    """The claims on a study that one process makes.

    Args:
        study: as `open_study` or `join_study` gives it.
        heartbeat: gives signs of life for what is claimed.
        creates: whether this process made the study, and holds its run directory.
    """

    def __init__(self, study: Study, heartbeat: Heartbeat, creates: bool) -> None:
        self.study = study
        self._heartbeat = heartbeat
        self.name = CREATOR if creates else f"{socket.gethostname()}:{os.getpid()}"
        self._known: set[int] = set()  # finished proposals that were handed out
        self._holder: dict[int, int] = {}  # finished proposal: number of the trial that counts

    def view(self) -> View:
        """Look at the study."""
        found = View()
        results: dict[int, FrozenTrial] = {}
        for trial in self.study.get_trials(deepcopy=False):  # in the order of their numbers
            proposal = trial.user_attrs.get(PROPOSAL)
            if proposal is None:
                continue
            if trial.state == TrialState.RUNNING:
                found.running.setdefault(proposal, running_of(trial))
            elif proposal not in results and (
                self._holder.get(proposal) == trial.number or has_result(trial)
            ):
                results[proposal] = trial
            elif REAPED in trial.user_attrs:
                found.deaths[proposal] = found.deaths.get(proposal, 0) + 1
        for proposal, trial in results.items():
            # Of two results of a proposal, which a worker that was frozen can leave, the first
            # counts, for everyone.
            found.running.pop(proposal, None)
            if proposal not in self._known:
                self._known.add(proposal)
                self._holder[proposal] = trial.number
                found.finished[proposal] = trial
        while found.next in self._known or found.next in found.running:
            found.next += 1
        return found

    def give_back_own(self) -> int:
        """Fail trials that a killed process of this run's creator left; returns how many."""
        count = 0
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(WORKER, CREATOR) == CREATOR and self._fail(trial._trial_id):
                count += 1
        return count

    def claim(
        self,
        proposal: int,
        kind: str,
        sampler: BaseSampler,
        fixed: Mapping[str, Any] | None = None,
        line: int | None = None,
        lines_from: int | None = None,
    ) -> Trial | None:
        """Claim a proposal; None where another worker was faster.

        Args:
            proposal: its number.
            kind: of the trial.
            sampler: proposes what the trial chooses.
            fixed: what it may not choose.
            line, lines_from: see `Running`.
        """
        mark = uuid.uuid4().hex
        attributes = {
            PROPOSAL: proposal,
            KIND: kind,
            WORKER: self.name,
            LINE: line,
            LINES_FROM: lines_from,
            CLAIM: mark,
        }
        template = create_trial(
            state=TrialState.RUNNING,
            user_attrs={key: value for key, value in attributes.items() if value is not None},
            system_attrs={} if fixed is None else {FIXED: dict(fixed)},
        )
        template.datetime_start = datetime.now()
        try:
            self.study._storage.create_new_trial(self.study._study_id, template_trial=template)
            own = self._held(proposal, mark)
            if own is None:
                return None
            self._heartbeat.begin(own._trial_id)
            self.study.sampler = sampler
            # The sampler is to see what has been finished meanwhile, as in `Study.ask`.
            self.study._thread_local.cached_all_trials = None
            return Trial(self.study, own._trial_id)
        except BaseException:
            self._hurry()
            with contextlib.suppress(Exception):
                self._withdraw(mark)
            raise

    def _held(self, proposal: int, mark: str) -> FrozenTrial | None:
        """The trial by which this worker holds a proposal, if it does."""
        holder: FrozenTrial | None = None
        for trial in self.study.get_trials(deepcopy=False):  # in the order of their numbers
            mine = trial.user_attrs.get(CLAIM) == mark
            if trial.user_attrs.get(PROPOSAL) != proposal:
                continue
            if holder is None and (trial.state == TrialState.RUNNING or has_result(trial)):
                holder = trial
            elif mine:  # another was first, or a database that went away has made it twice
                self._fail(trial._trial_id)
        return holder if holder and holder.user_attrs.get(CLAIM) == mark else None

    def _withdraw(self, mark: str) -> None:
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial.user_attrs.get(CLAIM) == mark:
                self._fail(trial._trial_id)

    def note(self, trial: Trial, attributes: Mapping[str, Any]) -> None:
        """Keep something with a trial.

        Raises:
            LostTrialError: it is no longer this worker's.
        """
        try:
            for key, value in attributes.items():
                trial.set_user_attr(key, value)
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise LostTrialError from error

    def report(self, trial: Trial, reports: Mapping[int, float]) -> None:
        """Keep a trial's values at its rungs.

        Raises:
            LostTrialError: it is no longer this worker's.
        """
        try:
            for rung, value in reports.items():
                trial.report(value, step=rung)
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise LostTrialError from error

    def tell(self, trial: Trial, state: TrialState, value: float | None = None) -> None:
        """Finish a trial, whose result has been noted.

        Raises:
            LostTrialError: it is no longer this worker's.
        """
        self._heartbeat.end()
        try:
            self.study.tell(trial, value, state=state)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
            # Either another worker has failed it, or the database finished it before it went away.
            found = self.study._storage.get_trial(trial._trial_id)
            if found.state != state or not has_result(found):
                raise LostTrialError from error

    def give_back(self, trial: Trial) -> None:
        """Give a trial back unfinished: another worker, or this one later, runs it again.

        Done on the way out, so a database that is away is not waited for: what is not given back is
        found by its silence.
        """
        self._hurry()
        with contextlib.suppress(Exception):
            self._fail(trial._trial_id)

    def _hurry(self) -> None:
        self._heartbeat.end()
        storage = storage_of(self.study)
        storage.patience = min(storage.patience, HURRY)
        storage.remove_session()  # an interrupted one may be in the middle of something

    def _fail(self, trial_id: int) -> bool:
        try:
            self.study._storage.set_trial_state_values(trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        return True
