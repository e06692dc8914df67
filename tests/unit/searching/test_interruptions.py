"""Interruptions that wait for the end of a transaction."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autoprompt.searching.interruptions import HELD, held_back


class TerminatedError(BaseException):
    """As the command line makes one of SIGTERM."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the command line."""

    def terminate(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise TerminatedError

    before = {one: signal.getsignal(one) for one in HELD}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: TerminatedError}


def interrupted(*numbers: signal.Signals, end: Callable[[], Any]) -> None:
    """Send signals in a block that comes to its end."""
    with held_back():
        for number in numbers:
            signal.raise_signal(number)
        end()


@pytest.mark.parametrize("number", HELD)
def test_an_interruption_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    ends: list[bool] = []
    known = signal.getsignal(number)
    with pytest.raises(RAISED[number]):
        interrupted(number, end=lambda: ends.append(True))
    assert ends
    if number == signal.SIGTERM:  # its handler has seen to that
        known = signal.SIG_IGN
    assert signal.getsignal(number) is known


@pytest.mark.parametrize("number", HELD)
def test_a_second_one_gets_through(number: signal.Signals) -> None:
    with pytest.raises(RAISED[number]):
        interrupted(signal.SIGINT, number, end=lambda: pytest.fail("it was held back"))
    assert (signal.getsignal(signal.SIGTERM) is signal.SIG_IGN) is (number == signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_block_is_kept_beside_the_interruption() -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted(signal.SIGINT, end=lambda: 1 // 0)
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_without_an_interruption_nothing_comes_of_it() -> None:
    known = [signal.getsignal(one) for one in HELD]
    with held_back(), held_back():
        pass
    assert [signal.getsignal(one) for one in HELD] == known


def test_one_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with held_back():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_threads_are_left_alone() -> None:
    ran: list[bool] = []

    def work() -> None:
        with held_back():
            ran.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran
