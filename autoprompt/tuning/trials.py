"""Hyper-parameters by Optuna: learning rate, steps, batch, and where asked the method.

Our own ask and tell, as in a search: every proposal is drawn from (seed, number), so that a killed
run goes on to the same trials. A trial's value is its lowest tempered cross-entropy on dev, so the
best of many is on the bright side: take few, or folds beside.
"""

from __future__ import annotations

import math
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoprompt.errors import DivergedError, InputError, ModelError, ScoringError, SearchError
from autoprompt.files import digest
from autoprompt.runs import RunDirectory
from autoprompt.searching.addresses import Address
from autoprompt.searching.storage import Place
from autoprompt.seeding import derive_seed
from autoprompt.sharing import place_beside
from autoprompt.tuning.output import TunedDirectory
from autoprompt.tuning.settings import LEARNING_RATES, TuningSettings
from autoprompt.tuning.storage import tuning_study
from autoprompt.tuning.trained import Trained
from autoprompt.tuning.training import Say, silent

NUMBER, SETTINGS, SECONDS, FAILURE = "number", "settings", "seconds", "failure"
WIDER = 10.0  # times higher or lower than the method's own learning rate
STEPS = (50, 100, 200, 400)  # those below what is asked for, and that
BATCHES = (4, 8, 16, 32)
STARTUP = 8  # random trials before the sampler learns from them

Run = Callable[[TuningSettings, Path], Trained]


@dataclass(frozen=True)
class Best:
    """What the trials came to.

    Attributes:
        settings: with the lowest tempered cross-entropy on dev.
        folder: that they were trained in.
        seconds: of all trials, the failed ones too.
        failed: how many did.
    """

    settings: TuningSettings
    folder: Path
    seconds: float
    failed: int


@dataclass(frozen=True)
class Trials:
    """A search for hyper-parameters.

    Attributes:
        count: how many trials.
        methods: that a trial may choose from; one of them leaves no choice.
        place: of the study: in the run's storage, where the prompt comes from a run.
    """

    count: int
    methods: tuple[str, ...]
    place: Place

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InputError(f"trials of a tuning are one at least, not {self.count}")

    def best(
        self,
        settings: TuningSettings,
        folder: Path,
        run: Run,
        identity: dict[str, Any],
        say: Say = silent,
    ) -> Best:
        """Run what is missing of the trials.

        Args:
            settings: where trials begin: the first one has just these, with the first of `methods`
                where their own is none of them.
            folder: each trial has one of its own in it.
            run: trains with some settings in a folder.
            identity: what the study depends on.
            say: takes lines about the progress.

        Raises:
            SearchError: every trial failed.
        """
        if settings.method not in self.methods:
            settings = settings.with_(method=self.methods[0])
        with tuning_study(self.place, identity) as study:
            for number in range(self.count):
                if number not in _finished(study):
                    self._run(study, number, settings, folder, run, say)
                self._keep_the_best(study, folder, number)
            best = self._best(study)
            if best is None:
                raise SearchError(
                    f"every trial of the tuning failed, the last one so: "
                    f"{study.trials[-1].user_attrs.get(FAILURE)}"
                )
            number, own = best.user_attrs[NUMBER], range(self.count)
            value = f"tempered cross-entropy {best.value:.4f} on dev"
            settings = TuningSettings(**best.user_attrs[SETTINGS])
            say(f"The best trial is number {number + 1}: {value} ({_told(settings)})")
            ended = [trial for trial in study.trials if trial.user_attrs.get(NUMBER) in own]
            return Best(
                settings,
                folder / f"trial-{number}",
                sum(trial.user_attrs.get(SECONDS, 0.0) for trial in ended),
                sum(FAILURE in trial.user_attrs for trial in ended),
            )

    def _best(self, study: Study) -> FrozenTrial | None:
        done = [
            trial
            for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.user_attrs[NUMBER] < self.count
        ]
        return min(done, key=lambda one: (one.value, one.user_attrs[NUMBER]), default=None)

    def _keep_the_best(self, study: Study, folder: Path, number: int) -> None:
        """Remove the weights of the trials so far but the best."""
        best = self._best(study)
        for other in range(number + 1):
            if best is None or other != best.user_attrs[NUMBER]:
                shutil.rmtree(folder / f"trial-{other}", ignore_errors=True)

    def _run(
        self, study: Study, number: int, settings: TuningSettings, folder: Path, run: Run, say: Say
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.TPESampler(
                seed=derive_seed(settings.seed, "tuning trial", number),
                multivariate=True,
                group=True,
                n_startup_trials=STARTUP,
            )
        trial = study.ask()
        trial.set_user_attr(NUMBER, number)
        chosen = settings if number == 0 else self._proposal(trial, settings)
        trial.set_user_attr(SETTINGS, chosen.to_dict())
        say(f"Trial {number + 1} of {self.count}: {_told(chosen)}")
        began = time.monotonic()
        try:
            trained = run(chosen, folder / f"trial-{number}")
        except (DivergedError, ScoringError, ModelError) as error:
            trial.set_user_attr(SECONDS, time.monotonic() - began)
            trial.set_user_attr(FAILURE, str(error))
            study.tell(trial, state=TrialState.FAIL)
            return
        trial.set_user_attr(SECONDS, trained.seconds)
        study.tell(trial, trained.after if math.isfinite(trained.after) else 1e6)

    def _proposal(self, trial: Trial, settings: TuningSettings) -> TuningSettings:
        method = settings.method
        if len(self.methods) > 1:
            method = trial.suggest_categorical("method", self.methods)
        middle = LEARNING_RATES[method]
        rate = trial.suggest_float(
            f"learning rate, {method}", middle / WIDER, middle * WIDER, log=True
        )
        lengths = [*(one for one in STEPS if one < settings.steps), settings.steps]
        steps = lengths[trial.suggest_int("steps", 0, len(lengths) - 1)]
        batch = BATCHES[trial.suggest_int("batch", 0, len(BATCHES) - 1)]
        return settings.with_(method=method, learning_rate=rate, steps=steps, batch=batch)


def _told(settings: TuningSettings) -> str:
    return (
        f"{settings.method}, learning rate {settings.rate:.2g}, at most {settings.steps} steps of "
        f"{settings.batch}"
    )


def trials_place(directory: TunedDirectory, run: Path | None, storage: str) -> Place:
    """Where the study of a tuning's trials is.

    Args:
        directory: of the tuned model; two of one name have studies of their own.
        run: of the prompt, in whose storage it is; by default in the directory itself.
        storage: URL of that, where the run does not know its password.
    """
    name = f"tuning {directory.path.name} {digest(str(directory.path))[:8]}"
    if run is not None:
        return place_beside(RunDirectory(run), name, storage)
    return Place(Address.of_file(directory.database), name, str(directory.path))


def _finished(study: Study) -> set[int]:
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    # A zombie that was failed has no failure of its own: it runs again.
    return {
        trial.user_attrs[NUMBER]
        for trial in ended
        if NUMBER in trial.user_attrs
        and (trial.state == TrialState.COMPLETE or FAILURE in trial.user_attrs)
    }
