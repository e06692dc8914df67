"""`python -m experiments.soak.process SECONDS ...`: autoprompt, with a model that takes its time.

Each trial waits SECONDS as a large model would: many workers then share two cores as they would
share as many GPUs. With `simulated:SECONDS` the model is a mere hash of what it reads, so that a
trial costs next to nothing but its time.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprompt.cli.main import main
from autoprompt.models.sequence import Encoding
from autoprompt.models.transformer import TransformerModel
from autoprompt.searching.trials import TrialRunner

SIMULATED = "simulated:"
PLAIN = TrialRunner.run


def slowed(seconds: float) -> Any:
    """`TrialRunner.run` that takes longer."""

    def run(runner: TrialRunner, *arguments: Any, **options: Any) -> Any:
        outcome = PLAIN(runner, *arguments, **options)
        time.sleep(seconds)
        return outcome

    return run


def hashed(
    model: TransformerModel,
    encodings: Sequence[Encoding],
    token_ids: NDArray[np.int64],
    relative: bool = False,
) -> NDArray[np.float32]:
    """Log-probabilities that are the same on each host, and mean nothing."""
    del model, relative
    masks = len(encodings[0].mask_positions) if encodings else 1
    found = np.empty((len(encodings), masks, len(token_ids)), np.float32)
    for row, encoding in enumerate(encodings):
        seed = zlib.crc32(np.array(encoding.ids).tobytes())
        noise = np.random.default_rng(seed).standard_normal(1024).astype(np.float32)
        found[row] = noise[token_ids % 1024] - 8.0
    return found


if __name__ == "__main__":
    given = sys.argv.pop(1)
    if given.startswith(SIMULATED):
        TransformerModel.log_probabilities = hashed  # type: ignore[method-assign]
    TrialRunner.run = slowed(float(given.removeprefix(SIMULATED)))  # type: ignore[method-assign]
    main()
