"""`python -m experiments.soak.process SECONDS ...`: autoprompt, with a model that takes its time.

Each trial waits SECONDS as a large model would: many workers then share two cores as they would
share as many GPUs.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from autoprompt.cli.main import main
from autoprompt.searching.trials import TrialRunner

PLAIN = TrialRunner.run


def slowed(seconds: float) -> Any:
    """`TrialRunner.run` that takes longer."""

    def run(runner: TrialRunner, *arguments: Any, **options: Any) -> Any:
        outcome = PLAIN(runner, *arguments, **options)
        time.sleep(seconds)
        return outcome

    return run


if __name__ == "__main__":
    TrialRunner.run = slowed(float(sys.argv.pop(1)))  # type: ignore[method-assign]
    main()
