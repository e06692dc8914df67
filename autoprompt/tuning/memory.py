"""How much memory a tuning took."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path


def forget_peak(device: str) -> None:
    """Let the most that was held begin anew, where the system can, at what is held now."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # Linux alone has it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: str) -> int:
    """The most bytes that were held: of a GPU, or of this process with all that it has loaded."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")  # a child's `ru_maxrss` begins at its parent's on Linux
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
