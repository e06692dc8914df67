"""In which precision a model screens candidates. What is decided or reported is in float32.

bfloat16 moves a score by a few per cent of the spread between prompts: enough to tell poor
candidates from good ones, not to choose among the best.
"""

from __future__ import annotations

import statistics
import time
from functools import cache

import torch

from autoprompt.errors import UnknownNameError

DTYPES = ("auto", "float32", "bfloat16")
PAYS = 1.3  # times as fast as float32, below which bfloat16 is not worth its error
REPEATS = 7
ROWS = 512  # of a batch
FEW_ROWS = 16
LAYER = (768, 3072)  # a BERT's feed-forward layer
HOPELESS = 0.5  # on a few rows; where bfloat16 is emulated, products of a batch take seconds each


def screening_dtype(name: str, device: str) -> torch.dtype:
    """The precision that screens candidates.

    Args:
        name: one of `DTYPES`; "auto" is bfloat16 where matrix products show it to pay.
        device: as torch names it.

    Raises:
        UnknownNameError: there is no such precision.
    """
    if name not in DTYPES:
        raise UnknownNameError("dtype", name, DTYPES)
    if name == "auto":
        return torch.bfloat16 if bfloat16_gain(device) > PAYS else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


@cache
def bfloat16_gain(device: str) -> float:
    """How many times as fast as float32 matrix products are in bfloat16; measured once."""
    return measured_gain(device)


def measured_gain(device: str) -> float:
    """The same, measured now."""
    on_few = _gain(FEW_ROWS, device)
    return on_few if on_few < HOPELESS else _gain(ROWS, device)


def _gain(rows: int, device: str) -> float:
    return _seconds(torch.float32, rows, device) / _seconds(torch.bfloat16, rows, device)


def _seconds(dtype: torch.dtype, rows: int, device: str) -> float:
    """The median time of a matrix product."""
    left = torch.ones(rows, LAYER[0], dtype=dtype, device=device)
    right = torch.ones(LAYER, dtype=dtype, device=device)
    found = []
    with torch.inference_mode():
        for _ in range(REPEATS):
            started = time.perf_counter()
            product = left @ right
            float(product[0, 0])  # waits for the device
            found.append(time.perf_counter() - started)
    return statistics.median(found[1:])
