"""Signals that ask a process to stop.

SIGINT raises KeyboardInterrupt, as in any Python program; SIGTERM and SIGHUP raise `Terminated`. The request is also
noted: where the exception is lost, as in a callback of a weak reference, the program must still not end as finished.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["STOP_SIGNALS", "Terminated", "deferred_signals", "raise_stop_request", "signals_as_exceptions"]

#: From the keyboard, from a scheduler, from a terminal that closes.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: A shell that closes, or `timeout`, sends its signal twice: within this time it is one request.
REPEAT_S = 1.0

#: The first signal of this process, and when it came.
_requests: list[tuple[int, float]] = []


class Terminated(BaseException):
    """A signal asked this process to stop; not an Exception, so that only ``finally`` handles it on its way."""

    def __init__(self, signum: int) -> None:
        self.exit_code = 128 + signum
        super().__init__(signum)

    def __str__(self) -> str:
        return "terminated"


def raise_stop_request() -> None:
    """Raise the exception of the signal that asked this process to stop, if one did.

    Raises
    ------
    KeyboardInterrupt, Terminated
        Again, where the exception of the signal was lost.
    """
    if _requests:
        signum = _requests[0][0]
        raise KeyboardInterrupt if signum == signal.SIGINT else Terminated(signum)


def _stop(signum: int, frame: FrameType | None) -> None:
    """Raise the exception of a signal; let a second signal end the process at once."""
    if not _requests:
        _requests.append((signum, time.monotonic()))
        raise_stop_request()
    if time.monotonic() - _requests[0][1] > REPEAT_S:
        signal.signal(signum, signal.SIG_DFL)
        signal.raise_signal(signum)


def _install(handler: Callable[[int, FrameType | None], object], stack: contextlib.ExitStack) -> bool:
    """Handle all these signals but those that are ignored, until the stack is closed; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        return False
    for number in STOP_SIGNALS:
        before = signal.getsignal(number)
        if before not in (signal.SIG_IGN, None):  # None: not set by Python, and so not to be restored by it
            stack.callback(signal.signal, number, before)
            signal.signal(number, handler)
    return True


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise an exception for each signal that asks to stop; one that the caller ignores stays ignored.

    For the entry point of a process. In threads other than the main one nothing changes.
    """
    with contextlib.ExitStack() as stack:
        if _install(_stop, stack):
            stack.callback(_requests.clear)
        yield


@contextlib.contextmanager
def deferred_signals(*, raise_earlier: bool = True) -> Iterator[None]:
    """Let signals that ask to stop wait until the block is done, then handle them.

    Signals do not interrupt threads other than the main one.

    Parameters
    ----------
    raise_earlier : bool
        Whether an earlier request to stop is raised again; not where the block cleans up after it.

    Raises
    ------
    KeyboardInterrupt, Terminated
        When the process was asked to stop before: nothing that cannot be undone begins then.
    """
    waiting: list[int] = []
    try:
        with contextlib.ExitStack() as stack:
            _install(lambda number, frame: waiting.append(number), stack)
            if raise_earlier:
                raise_stop_request()
            yield
    finally:
        for number in waiting:
            signal.raise_signal(number)
