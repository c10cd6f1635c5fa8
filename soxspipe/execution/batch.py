"""Several reductions: in this process, one after the other, or in processes beside each other."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import selectors
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from ..signals import deferred_signals

__all__ = ["Outcome", "outcomes"]

#: Bytes of an answer that are read at once.
READ_BYTES = 2**16


@dataclass(frozen=True)
class Outcome:
    """What is left of a reduction when its pixels are gone.

    Attributes
    ----------
    document : dict
        What JSON tells of it.
    code : int
        Its exit code.
    said : str
        What is still to be written to standard error.
    """

    document: dict[str, Any]
    code: int
    said: str = ""


def outcomes(
    reduce: Callable[[int, int], Outcome],
    reduce_aside: Callable[[int, int], Outcome],
    lost: Callable[[int, str], Outcome],
    n: int,
    workers: int,
) -> Generator[Outcome]:
    """Do several reductions, and give what comes of them in their order, each as soon as it is known.

    They are done in this process until one succeeds: what it imports, those that are forked from this process have.
    The others are done in processes beside each other, a new one for each, so that no reduction suffers from what
    another left behind. In a program with threads nothing is forked: a lock that another thread holds would stay
    locked.

    Parameters
    ----------
    reduce : callable
        Called here as ``reduce(number, workers)``, with numbers from zero.
    reduce_aside : callable
        The same in a process of its own, which says nothing by itself.
    lost : callable
        Called here as ``lost(number, reason)`` for a reduction whose process died.
    n : int
        Number of reductions.
    workers : int
        Processes in all; where they are more than the reductions left, each of these gets several.

    Yields
    ------
    Outcome
    """
    todo = deque(range(n))
    succeeded = False
    while todo and not (succeeded and min(len(todo), workers) > 1 and threading.active_count() == 1):
        outcome = reduce(todo.popleft(), workers)
        if todo and outcome.code == 0 and not succeeded:
            succeeded = True
            # tracebacks that astropy keeps of its import keep all variables that it ran below, and so the first product
            gc.collect()
        yield outcome
    if not todo:
        return
    share = max(1, workers // len(todo))
    known: dict[int, Outcome | str] = {}
    with _Processes() as processes:
        for number in tuple(todo):
            while number not in known:
                while (
                    todo
                    and len(processes) < workers
                    and processes.start(todo[0], partial(reduce_aside, todo[0], share))
                ):
                    todo.popleft()
                if len(processes):
                    ended, answer = processes.next()
                    known[ended] = answer
                else:  # not one could be had
                    known[number] = reduce(todo.popleft(), workers)
            told = known.pop(number)
            yield lost(number, told) if isinstance(told, str) else told


@dataclass
class _Process:
    """A reduction at work, and as much of its answer as has come."""

    number: int
    pid: int
    answer: bytearray


class _Processes:
    """Forked processes, each with a pipe through which its answer comes; none outlives this context."""

    def __init__(self) -> None:
        self._pipes = selectors.DefaultSelector()

    def __len__(self) -> int:
        return len(self._at_work())

    def _at_work(self) -> list[selectors.SelectorKey]:
        return list(self._pipes.get_map().values())

    def start(self, number: int, work: Callable[[], Outcome]) -> bool:
        """Fork a process that does a work, and tell whether it could be had."""
        with deferred_signals() as waiting:
            try:
                pid, read = _forked(work, [key.fd for key in self._at_work()], waiting)
            except OSError:
                return False
            self._pipes.register(read, selectors.EVENT_READ, _Process(number, pid, bytearray()))
        return True

    def next(self) -> tuple[int, Outcome | str]:
        """Wait for one to end; return its number, and what it gave or why it gave nothing."""
        while True:
            for key, _ in self._pipes.select():
                process: _Process = key.data
                part = os.read(key.fd, READ_BYTES)
                process.answer += part
                if part:
                    continue
                self._pipes.unregister(key.fd)
                os.close(key.fd)
                code = _exit_code(process.pid)
                try:
                    return process.number, pickle.loads(process.answer)
                except (EOFError, pickle.UnpicklingError):
                    return process.number, _what_happened(code)

    def __enter__(self) -> _Processes:
        gc.freeze()  # to look for garbage among what is shared would make copies of it
        return self

    def __exit__(self, *exception: object) -> None:
        gc.unfreeze()
        keys = self._at_work()
        for key in keys:  # each cleans up, as this process would
            with contextlib.suppress(ProcessLookupError):
                os.kill(key.data.pid, signal.SIGTERM)
        for key in keys:
            os.close(key.fd)
            _exit_code(key.data.pid)
        self._pipes.close()


def _forked(work: Callable[[], object], read_by_parent: Iterable[int], waiting: set[signal.Signals]) -> tuple[int, int]:
    """Fork a process that does one work and ends, and return its number and the pipe for its pickled answer."""
    read, write = os.pipe()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            _live(work, write, [read, *read_by_parent], waiting)
    except OSError:
        os.close(read)
        raise
    finally:
        os.close(write)
    return pid, read


def _live(work: Callable[[], object], pipe: int, unused: Iterable[int], waiting: set[signal.Signals]) -> NoReturn:
    try:
        for other in unused:  # so that nothing waits to be read when the parent is gone
            os.close(other)
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        answer = work()
        with os.fdopen(pipe, "wb") as stream:
            pickle.dump(answer, stream, pickle.HIGHEST_PROTOCOL)
    finally:
        os._exit(0)


def _exit_code(pid: int) -> int:
    """Wait for a process, and return its exit code, or minus the signal that ended it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # the caller may have had all processes reaped by the system
        return 0


def _what_happened(code: int) -> str:
    """Say why a process with this exit code gave no answer."""
    if code == -signal.SIGKILL:
        return "its process was killed: where memory is short, choose --workers=1"
    return f"its process was ended by signal {-code}" if code < 0 else "its process ended before it was done"
