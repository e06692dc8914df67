"""The processes that train together, and the GPU of one."""

from __future__ import annotations

import os

import torch

from autoprompt.errors import InputError


def processes() -> int:
    """How many processes train together, as `accelerate launch` and `torchrun` tell."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes and speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def check_gpu(asked: torch.device, used: torch.device) -> None:
    """Refuse a GPU that is not the one that the Trainer uses: the first that the process sees.

    Raises:
        InputError: it is another one.
    """
    if asked.type == "cuda" and (asked.index or 0) != (used.index or 0):
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        own = seen[asked.index] if asked.index < len(seen) > 1 else asked.index
        raise InputError(
            f"a tuning runs on the first GPU that its process sees, not on {asked}; set "
            f"CUDA_VISIBLE_DEVICES={own} and give --device cuda"
        )
