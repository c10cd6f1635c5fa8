"""Work on several processors: bands of rows, and works that have nothing to do with each other.

What makes a thousand short calls, as a band of many frames does, is for processes: threads would spend as long waiting
for the interpreter as they calculate. What makes some long ones, as a band of one image does, is for threads: processes
would have to share the image, and shared memory takes ten times as long to be had (docs/performance).
"""

from __future__ import annotations

import _thread
import contextlib
import itertools
import mmap
import os
import pickle
import resource
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import prod
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .signals import STOPS, deferred_signals

__all__ = [
    "Band",
    "at_once",
    "default_workers",
    "forked",
    "in_processes",
    "in_shares",
    "in_threads",
    "row_bands",
    "shared_zeros",
]

#: First row, and the one after the last.
Band = tuple[int, int]
ResultT = TypeVar("ResultT")

#: Bytes of a number on its way through a pipe; and of all numbers, which a pipe takes without waiting for a reader.
NUMBER_BYTES, PIPE_BYTES = 4, 4096


def default_workers() -> int:
    """Return the number of workers that pays: that of the processors, two at most.

    From two on, what cannot be shared takes longer than what can. Where memory is limited it is one: a thread that has
    no memory for its first line dies without a word that could be caught. So it is on other systems than Linux:
    libraries of macOS have threads of their own, which a fork does not take along.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
        return 1
    return min(len(os.sched_getaffinity(0)), 2) if sys.platform == "linux" else 1


def row_bands(spans: Iterable[Band], height: int) -> Iterator[Band]:
    """Cut row ranges into bands.

    Parameters
    ----------
    spans : iterable of (int, int)
        First row, and the one after the last.
    height : int
        Most rows of a band.

    Yields
    ------
    start, stop : int
        Rows of a band, which never crosses the end of a span.
    """
    for first, end in spans:
        for start in range(first, end, height):
            yield start, min(start + height, end)


def shared_zeros(shape: Sequence[int], dtype: DTypeLike, workers: int) -> NDArray[Any]:
    """Make an array for `in_processes` to fill: its memory belongs to all processes that are forked from this one.

    Parameters
    ----------
    shape : sequence of int
        Its shape.
    dtype : data type
        Its type.
    workers : int
        Processes; memory of one takes half of the time that shared memory takes to be had.

    Returns
    -------
    ndarray

    Raises
    ------
    MemoryError
        When there is not so much memory.
    """
    if workers == 1:
        return np.zeros(shape, dtype)
    size = prod(shape)
    try:
        memory = mmap.mmap(-1, max(1, size * np.dtype(dtype).itemsize))
    except OSError as error:
        raise MemoryError(f"{error.strerror} for an image of {' x '.join(map(str, shape))} pixels") from error
    return np.frombuffer(memory, dtype, size).reshape(shape)


def in_processes(
    work: Callable[[int, int], ResultT],
    bands: Iterable[Band],
    workers: int,
    progress: Callable[[int], None] | None = None,
) -> list[ResultT]:
    """Work on bands in processes, and return what they give in their order; see `in_shares`.

    Parameters
    ----------
    work : callable
        Called as ``work(start, stop)``; what it gives must not depend on other bands.
    bands, workers, progress
        See `in_shares`.

    Returns
    -------
    list
        What ``work`` returned for each band.
    """
    return _one_by_one(work, bands, workers, processes=True, progress=progress)


def in_threads(work: Callable[[int, int], ResultT], bands: Iterable[Band], workers: int) -> list[ResultT]:
    """Work on bands in threads, and return what they give in their order; see `in_processes`."""
    return _one_by_one(work, bands, workers, processes=False)


def _one_by_one(
    work: Callable[[int, int], ResultT],
    bands: Iterable[Band],
    workers: int,
    *,
    processes: bool,
    progress: Callable[[int], None] | None = None,
) -> list[ResultT]:
    bands = list(bands)

    def share(mine: Iterator[Band]) -> list[tuple[Band, ResultT]]:
        return [(band, work(*band)) for band in mine]

    shares = in_shares(share, bands, workers, processes=processes, progress=progress)
    results = dict(itertools.chain.from_iterable(shares))
    return [results[band] for band in bands]


def in_shares(
    work: Callable[[Iterator[Band]], ResultT],
    bands: Iterable[Band],
    workers: int,
    *,
    processes: bool,
    progress: Callable[[int], None] | None = None,
) -> list[ResultT]:
    """Work on bands, each worker on those that it gets: the next whenever it asks for one.

    This process is one of the workers. Others are threads of it, or processes forked from it, so that they know all
    that it knows without a copy or an import. What becomes of such a process does not matter: whatever it has not
    answered for is done here, and meets the same fault or none. In a program with threads nothing is forked: a lock
    that another thread holds would stay locked in a fork.

    Parameters
    ----------
    work : callable
        Called once by each worker as ``work(bands)``, with an iterator that it must exhaust. What it gives goes through
        a pipe where it comes from another process; arrays that it fills must come from `shared_zeros` then, and may be
        filled twice: what it reads from them must not be what it writes there.
    bands : iterable of (int, int)
        First row, and the one after the last; no two alike.
    workers : int
        Threads or processes, this one included.
    processes : bool
        Whether other workers are processes.
    progress : callable, optional
        Called here with the number of rows that are done, or that others work on.

    Returns
    -------
    list
        What ``work`` returned for each share of the bands; which they are, and how many, is left to chance.

    Raises
    ------
    BaseException
        What ``work`` raised; no other worker is left at work.
    """
    bands = list(bands)
    rows = list(itertools.accumulate(stop - start for start, stop in bands))

    def share(numbers: Iterable[int], tell: Callable[[int], None] | None = None) -> tuple[list[int], ResultT]:
        taken: list[int] = []

        def mine() -> Iterator[Band]:
            for number in numbers:
                taken.append(number)
                yield bands[number]
                if tell is not None:
                    tell(rows[number])

        return taken, work(mine())

    workers = min(workers, len(bands))
    if workers < 2:
        shares = [share(range(len(bands)), progress)]
    elif processes:
        shares = _shares_of_processes(share, len(bands), workers, progress)
    else:
        shares = _shares_of_threads(share, len(bands), workers, progress)
    if progress is not None and workers > 1:
        progress(rows[-1])  # another may have done the last
    return [result for _, result in shares]


def _shares_of_threads(
    share: Callable[..., ResultT], n_bands: int, workers: int, tell: Callable[[int], None] | None
) -> list[ResultT]:
    """Have threads take numbers of bands from one queue."""
    shares: list[ResultT] = []
    ends = [None] * workers  # one for each
    todo = deque([*range(n_bands), *ends])

    def take(*told: Callable[[int], None] | None) -> None:
        try:
            shares.append(share(iter(todo.popleft, None), *told))
        except BaseException:
            todo.extendleft(ends)
            raise

    at_once(partial(take, tell), *[take] * (workers - 1), workers=workers)
    return shares


def _shares_of_processes(
    share: Callable[..., tuple[list[int], ResultT]],
    n_bands: int,
    workers: int,
    tell: Callable[[int], None] | None,
) -> list[tuple[list[int], ResultT]]:
    """Have processes take numbers of bands from one queue."""
    shares = []
    with contextlib.ExitStack() as stack:
        helpers = stack.enter_context(_Helpers())
        queue: Iterable[int] = range(n_bands)
        if threading.active_count() == 1:
            with contextlib.suppress(OSError):  # as many as there can be
                queue = stack.enter_context(_Queue(n_bands))
                for _ in range(workers - 1):
                    helpers.start(share, queue)
        shares.append(share(queue, tell))
        shares += helpers.results()
    left = set(range(n_bands)).difference(*(taken for taken, _ in shares))
    if left:
        shares.append(share(sorted(left), tell))
    return shares


class _Queue:
    """Numbers from zero, each of which one process gets: whichever asks first."""

    def __init__(self, length: int) -> None:
        self._read, write = os.pipe()
        self._length = length
        #: so many go together that all fit the pipe
        self._lot = -(-length // (PIPE_BYTES // NUMBER_BYTES))
        with os.fdopen(write, "wb") as pipe:
            pipe.write(b"".join(first.to_bytes(NUMBER_BYTES, "big") for first in range(0, length, self._lot)))

    def __iter__(self) -> Iterator[int]:
        while first := os.read(self._read, NUMBER_BYTES):
            start = int.from_bytes(first, "big")
            yield from range(start, min(start + self._lot, self._length))

    def __enter__(self) -> _Queue:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._read)


class _Helpers:
    """Forked processes, each with a pipe through which its results come; none outlives this context."""

    def __init__(self) -> None:
        self._pipes: dict[int, int] = {}

    def start(self, help_out: Callable[[Iterable[int]], object], numbers: Iterable[int]) -> None:
        """Fork a process that helps out."""
        work = partial(_help, help_out, _while_alive(os.getpid(), numbers))
        with deferred_signals() as waiting:
            pid, read = forked(work, self._pipes.values(), waiting)
            self._pipes[pid] = read

    def results(self) -> Iterator[Any]:
        """Wait for what each process gives; one that failed gives nothing."""
        for read in self._pipes.values():
            with os.fdopen(read, "rb", closefd=False) as pipe, contextlib.suppress(EOFError, pickle.UnpicklingError):
                yield pickle.load(pipe)

    def __enter__(self) -> _Helpers:
        return self

    def __exit__(self, *exception: object) -> None:
        with deferred_signals():
            for pid, read in self._pipes.items():
                os.close(read)
                # the caller may have had all processes reaped by the system
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)


def _help(help_out: Callable[[Iterable[int]], ResultT], numbers: Iterable[int]) -> ResultT:
    """Help out in a process that a signal just ends: nothing is left to clean up."""
    for stop in STOPS:
        if signal.getsignal(stop) is not signal.SIG_IGN:
            signal.signal(stop, signal.SIG_DFL)
    return help_out(numbers)


def _while_alive(parent: int, numbers: Iterable[int]) -> Iterator[int]:
    """Take numbers for as long as there is someone who wants to know."""
    return itertools.takewhile(lambda _: os.getppid() == parent, numbers)


def forked(work: Callable[[], object], read_by_parent: Iterable[int], waiting: set[signal.Signals]) -> tuple[int, int]:
    """Fork a process that does one work and ends; nothing of what the program would do at its end is done there too.

    Parameters
    ----------
    work : callable
        What it gives comes back pickled.
    read_by_parent : iterable of int
        Pipes of earlier processes, which the new one closes: it must not be one of their readers.
    waiting : set of signal.Signals
        Signals that wait in the new process too, as `deferred_signals` gives them. The caller lets stops
        wait until it has noted what this returns.

    Returns
    -------
    pid : int
        The process.
    read : int
        Pipe through which its answer comes; one that dies gives none, or a part.

    Raises
    ------
    OSError
        When there can be no more processes.
    """
    read, write = os.pipe()
    try:
        with warnings.catch_warnings():
            # a thread of `at_once` that has done its work may not be gone yet; it holds nothing
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
        for other in unused:  # so that nobody reads, and nothing waits to be read, when the parent is gone
            os.close(other)
        signal.pthread_sigmask(signal.SIG_SETMASK, waiting)
        answer = work()
        with os.fdopen(pipe, "wb") as stream:
            pickle.dump(answer, stream, pickle.HIGHEST_PROTOCOL)  # large arrays go without a copy
    finally:
        os._exit(0)


def at_once(first: Callable[[], ResultT], *others: Callable[[], object], workers: int) -> ResultT:
    """Do several works at the same time, in threads: for works of long calls that let go of the interpreter.

    Parameters
    ----------
    first, *others : callable
        Works that have nothing to do with each other.
    workers : int
        Threads, this one included.

    Returns
    -------
    result
        What the first returned.

    Raises
    ------
    BaseException
        What one of them raised; no thread is left at work.
    """
    todo = deque(others)
    faults: list[BaseException] = []
    ended: list[object] = []

    def take_some() -> None:
        with contextlib.suppress(IndexError):
            while not faults:
                work = todo.popleft()
                try:
                    work()
                except BaseException as fault:  # noqa: BLE001 - raised below, in the thread that waits for it
                    faults.append(fault)
                finally:
                    ended.append(work)

    for _ in range(min(workers - 1, len(others))):
        # short of memory there are fewer threads; threading would wait for one that died before it began
        with contextlib.suppress(RuntimeError, MemoryError):
            _thread.start_new_thread(take_some, ())
    try:
        result = first()
        take_some()
    finally:
        left_out = 0
        with contextlib.suppress(IndexError):
            while True:
                todo.pop()
                left_out += 1
        while len(ended) < len(others) - left_out:
            try:
                time.sleep(0.001)
            except BaseException as fault:  # noqa: BLE001 - raised below: a stop waits for those at work, too
                faults.append(fault)
    if faults:
        raise faults[0]
    return result
