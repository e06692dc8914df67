"""Interruptions (Ctrl-C, SIGTERM) that wait until a transaction is over.

Python raises them between any two instructions. One that comes inside a database library may leave
a transaction open that the traceback keeps alive: giving the trial back would then wait for a lock
that this very process holds.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

HELD = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def held_back() -> Iterator[None]:
    """Let a first interruption wait for the end of the block; a second one gets through at once.

    Outside the main thread nothing is to be done: Python raises none there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    come: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if not come:
            come.append(number)
            return
        come.clear()
        before[signal.Signals(number)](number, frame)

    # A handler that was not set from Python (None) could not be put back.
    now = {one: signal.getsignal(one) for one in HELD}
    before = {one: handler for one, handler in now.items() if callable(handler)}
    try:
        with ExitStack() as stack:  # puts all back, even if one comes in between
            for one, handler in before.items():
                stack.callback(_put_back, one, hold, handler)
                signal.signal(one, hold)
            yield
    finally:
        if come:
            signal.raise_signal(come[0])


def _put_back(one: signal.Signals, held: Any, handler: Any) -> None:
    """Set the handler again, unless one that got through has set another."""
    if signal.getsignal(one) is held:
        signal.signal(one, handler)
