"""How much a search may spend."""

from __future__ import annotations

from dataclasses import dataclass

from autoprompt.errors import InputError, UnknownNameError

PRESETS = {"quick": 4_000, "standard": 20_000, "thorough": 100_000}  # forwards
MAX_REPEATS = 100  # trials in a row that met a prompt scored before
NO_NEW = "no new prompts"
FULL_SCORES = 20  # prompts that a budget of forwards allows to score in full, at least
FEWEST_EXAMPLES = 32  # to select on, however small the budget


@dataclass(frozen=True)
class Budget:
    """Limits; the first that is reached ends the search.

    Attributes:
        trials: different prompts, seeds included.
        forwards: sequences through the model, the final test left out.
        seconds: wall clock. It only stops: which trials were done then depends on the machine.
    """

    trials: int | None = None
    forwards: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if limit is not None and not limit > 0:
                raise InputError(f"--{name} must be greater than 0, not {limit}")

    @classmethod
    def of(
        cls,
        preset: str | None = None,
        trials: int | None = None,
        forwards: int | None = None,
        seconds: float | None = None,
    ) -> Budget:
        """A budget from a preset's name, explicit limits, or both (an explicit one wins).

        Raises:
            UnknownNameError: no such preset.
            InputError: a limit is not positive.
        """
        if preset is not None and preset not in PRESETS:
            raise UnknownNameError("budget", preset, PRESETS)
        if preset is None and trials is None and forwards is None and seconds is None:
            preset = "standard"
        if preset is not None and forwards is None:
            forwards = PRESETS[preset]
        return cls(trials, forwards, seconds)

    def selection_examples(self) -> int | None:
        """The most examples to compare prompts on: a limit of forwards must allow some prompts.

        None stands for no limit.
        """
        return None if self.forwards is None else max(self.forwards // FULL_SCORES, FEWEST_EXAMPLES)

    def check(self, seeds: int, forwards: int, spent: int = 0) -> None:
        """Refuse limits that the seed prompts, which are always scored, could overshoot.

        Args:
            seeds: how many there are.
            forwards: the most that they may take together.
            spent: forwards that come before them.

        Raises:
            InputError: there are too few trials or forwards.
        """
        if self.trials is not None and self.trials < seeds:
            raise InputError(
                f"--trials {self.trials} is less than the {seeds} seed prompts, which are always "
                f"scored; allow {seeds} or more"
            )
        most = spent + forwards
        if self.forwards is not None and self.forwards < most:
            raise InputError(
                f"{self.forwards:,} forwards may not suffice for the {seeds} seed prompts "
                f"({most:,}); raise --forwards, take a larger --budget, or draw fewer examples "
                "with --k-shot"
            )

    def finish_reason(
        self, trials: int, forwards: int, seconds: float, next_forwards: int, repeats: int
    ) -> str | None:
        """Why the search ends before its next trial, or None.

        Args:
            trials, forwards, seconds: done so far; repetitions are no trials.
            next_forwards: the most that the next trial may take; the limit is never overshot.
            repeats: trials in a row that met a prompt scored before.
        """
        if self.trials is not None and trials >= self.trials:
            return "trials"
        if self.forwards is not None and forwards + next_forwards > self.forwards:
            return "forwards"
        if self.seconds is not None and seconds >= self.seconds:
            return "seconds"
        if repeats >= MAX_REPEATS:
            return NO_NEW
        return None

    def share_used(self, trials: int, forwards: int, seconds: float) -> float:
        """How much of the budget is spent: the largest share of any limit."""
        shares = [0.0]
        for used, limit in ((trials, self.trials), (forwards, self.forwards)):
            if limit is not None:
                shares.append(used / limit)
        if self.seconds is not None:
            shares.append(seconds / self.seconds)
        return max(shares)

    def likely_trials(self, forwards_a_trial: int) -> int:
        """About how many trials fit, for the sampler's start-up and the forecast."""
        limits = [1_000_000]
        if self.trials is not None:
            limits.append(self.trials)
        if self.forwards is not None:
            limits.append(max(self.forwards // max(forwards_a_trial, 1), 1))
        return min(limits)
