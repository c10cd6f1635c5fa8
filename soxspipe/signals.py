"""Signals that ask the program to stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

__all__ = ["STOPS", "deferred_signals"]

#: From the keyboard, from a scheduler, from a terminal that is closed.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def deferred_signals() -> Iterator[set[signal.Signals]]:
    """Let these signals wait for as long as it takes to do what must not be cut in half.

    Yields
    ------
    set of signal.Signals
        Those that waited before.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # which handles those that came just before
        yield {signal.Signals(number) for number in before}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
