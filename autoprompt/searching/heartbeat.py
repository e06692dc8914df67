"""Signs of life: each worker gives them for its trial, and watches those of the others.

A trial whose worker has given no sign for the grace period is failed, which gives it back: another
worker runs it anew. A worker that was frozen and wakes finds its trial finished, and discards what
it has.

No clock is compared with another host's. Each worker looks whether the others' signs *change*, on
its own clock, and counts only the time in which it was looking: while it was frozen itself, or the
database was away, nobody else grows older. So a trial that never gave a sign is found as well.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import Study
from optuna.trial import TrialState

from autoprompt.searching.patience import PatientStorage

GRACE = 60.0  # seconds
LEAST_GRACE = 3.0  # databases round a sign to a second
SIGNS = 6  # in a grace period
REAPED = "reaped"
STOPPING = 15.0  # seconds that a thread may hang on a database that is away

log = logging.getLogger(__name__)


class Heartbeat:
    """A thread that gives signs of life for one trial at a time and fails those that give none.

    Args:
        study: whose trials are watched.
        storage: of the study.
        grace: seconds without a sign after which a trial is given back.
    """

    def __init__(self, study: Study, storage: PatientStorage, grace: float) -> None:
        self._study_id = study._study_id
        self._storage = storage
        self._grace = grace
        self._interval = grace / SIGNS
        self._mine: int | None = None
        self._signs: dict[int, Any] = {}
        self._silence: dict[int, float] = {}
        self._looked = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(STOPPING)

    def begin(self, trial_id: int) -> None:
        """Give signs for a trial from now on."""
        self._mine = trial_id

    def end(self) -> None:
        """Give no more signs."""
        self._mine = None

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._interval):
                try:
                    self._beat()
                    self.look()
                except Exception as error:
                    # The database is away, most likely. Who works on finds out and waits.
                    log.debug("no sign of life was given: %s", type(error).__name__)
                    self._storage.remove_session()
        finally:
            self._storage.remove_session()

    # The plain methods: a thread that waits for the database could not be ended.

    def _beat(self) -> None:
        if (mine := self._mine) is not None:
            RDBStorage.record_heartbeat(self._storage, mine)

    def look(self) -> list[int]:
        """Look at the others' signs once; returns the ids of the trials that were given back."""
        now = time.monotonic()
        passed = min(now - self._looked, 2 * self._interval)
        self._looked = now
        signs = self._running()
        silence = {
            trial: self._silence[trial] + passed
            for trial, sign in signs.items()
            if trial != self._mine and trial in self._signs and sign == self._signs[trial]
        }
        self._silence = {trial: silence.get(trial, 0.0) for trial in signs}
        self._signs = signs
        return [
            trial for trial, quiet in silence.items() if quiet > self._grace and self._reap(trial)
        ]

    def _running(self) -> dict[int, Any]:
        """The last sign of each running trial; None where it never gave one."""
        trial, heartbeat = models.TrialModel, models.TrialHeartbeatModel
        query = (
            sqlalchemy.select(trial.trial_id, heartbeat.heartbeat)
            .join(heartbeat, heartbeat.trial_id == trial.trial_id, isouter=True)
            .where(trial.study_id == self._study_id, trial.state == TrialState.RUNNING)
        )
        with self._storage.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _reap(self, trial_id: int) -> bool:
        try:
            RDBStorage.set_trial_user_attr(self._storage, trial_id, REAPED, True)
            RDBStorage.set_trial_state_values(self._storage, trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False  # it was finished, or another worker was faster
        log.warning("a trial gave no sign of life for %.0f seconds; it is run again", self._grace)
        return True
