"""Named child generators from one seed.

Each use of chance asks for its own generator by name, so that a new use does not shift the
numbers that the others draw.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """A 32-bit seed that depends on `seed` and on every name, and on nothing else.

    Args:
        seed: the run's seed, any integer (0 counts).
        names: what the numbers are for, for example `("sampler", 17)`.
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one named use of chance."""
    return np.random.default_rng(derive_seed(seed, *names))
