"""The limits of a search as its workers know them: its creator keeps them in the study.

A resume may change them, so that workers look before each trial.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from optuna.study import Study

from autoprompt.searching.budget import Budget

LIMITS = "limits"
DEADLINE = "deadline"


@dataclass(frozen=True)
class SharedLimits:
    """What a search may spend, and when its time is up.

    Attributes:
        budget: the limits.
        deadline: when the seconds of the budget end, on the creator's clock, in seconds since the
            epoch; None where they are not limited.
    """

    budget: Budget
    deadline: float | None

    @classmethod
    def from_now(cls, budget: Budget, used: float) -> SharedLimits:
        """The limits of a search that has used some seconds of its budget before."""
        deadline = None if budget.seconds is None else time.time() + budget.seconds - used
        return cls(budget, deadline)

    @classmethod
    def of(cls, study: Study) -> SharedLimits | None:
        """What the creator has published; None where it has not yet."""
        limits = study.user_attrs.get(LIMITS)
        if limits is None:
            return None
        deadline = limits.pop(DEADLINE, None)
        return cls(Budget(**limits), deadline)

    def publish(self, study: Study) -> None:
        """Keep the limits in the study."""
        limits: dict[str, Any] = dict(vars(self.budget))
        if self.deadline is not None:
            limits[DEADLINE] = self.deadline
        study.set_user_attr(LIMITS, limits)

    def seconds_used(self) -> float | None:
        """Of the budget, since the search began; None where they are not limited."""
        if self.deadline is None or self.budget.seconds is None:
            return None
        return self.budget.seconds - (self.deadline - time.time())
