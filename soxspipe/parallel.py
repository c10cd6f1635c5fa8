"""Work in threads: over bands of rows, and over independent tasks.

NumPy, hashlib, zlib and file reading release the interpreter lock during long calls, so threads share the work without
a copy of the pixels (docs/performance_notes).
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import TypeVar

from .exceptions import SoxspipeError

__all__ = ["Progress", "default_workers", "map_bands", "require_libraries", "row_bands", "run_concurrently", "tracked"]

#: First row, and the one after the last.
Band = tuple[int, int]
#: What a long work calls with its parts done and their total number.
Progress = Callable[[int, int], None]
ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT")

#: Limits of the memory of a process, their names, and the MB that Python and all libraries need below each: 340 and 220
#: on x86-64 Linux with a report (NumPy 2.4, one thread of OpenBLAS), and a third more for other versions.
MEMORY_LIMITS = (
    (resource.RLIMIT_AS, "address space (ulimit -v)", 450),
    (resource.RLIMIT_DATA, "data segment (ulimit -d)", 300),
)


def require_libraries() -> None:
    """Refuse to import the libraries where they cannot work: under limits below their need, and without docstrings.

    OpenBLAS asks again without end for memory that it does not get, and no signal but SIGKILL stops it.

    Raises
    ------
    SoxspipeError
        When a limit is too low, or Python runs with ``-OO``.
    """
    if sys.flags.optimize > 1:
        raise SoxspipeError("python -OO removes docstrings that ccdproc needs: choose -O (or PYTHONOPTIMIZE=1)")
    for limit, name, needed_mb in MEMORY_LIMITS:
        allowed = resource.getrlimit(limit)[0]
        if allowed != resource.RLIM_INFINITY and allowed < needed_mb * 10**6 and "numpy" not in sys.modules:
            raise SoxspipeError(
                f"not enough memory: the {name} is limited to {allowed // 10**6} MB, expected {needed_mb} MB and some "
                "images of the detector: raise the limit"
            )


def default_workers() -> int:
    """Return the default number of workers: the number of processors, two at most.

    Beyond two workers the serial part of a reduction dominates. With limited memory (``ulimit -v`` or ``-d``) the
    default is one: Python cannot report a thread that finds no memory at its start.
    """
    if any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit, *_ in MEMORY_LIMITS):
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(processors or 1, 2)


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


def tracked(items: Sequence[ItemT], progress: Progress | None) -> Iterator[ItemT]:
    """Yield items; ``progress(done, total)`` is called when the work on one is done."""
    for done, item in enumerate(items, 1):
        yield item
        if progress is not None:
            progress(done, len(items))


def map_bands(
    work: Callable[[int, int], ResultT],
    bands: Iterable[Band],
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> list[ResultT]:
    """Call a function for each band, in several threads, and return the results in the order of the bands.

    Parameters
    ----------
    work : callable
        Called as ``work(start, stop)``; its result must not depend on other bands.
    bands : iterable of (int, int)
        First row, and the one after the last.
    workers : int
        Threads, the calling one included.
    progress : callable, optional
        Called in the calling thread with the number of rows that are done.

    Returns
    -------
    list
        The result of each band.

    Raises
    ------
    BaseException
        The exception of a band; see `run_concurrently`.
    """
    caller = threading.get_ident()
    rows_done: list[int] = []

    def work_and_report(start: int, stop: int) -> ResultT:
        result = work(start, stop)
        rows_done.append(stop - start)
        if progress is not None and threading.get_ident() == caller:
            progress(sum(rows_done))
        return result

    results = run_concurrently([partial(work_and_report, *band) for band in bands], workers)
    if progress is not None and workers > 1:
        progress(sum(rows_done))  # another thread may have done the last band
    return results


def run_concurrently(works: Iterable[Callable[[], ResultT]], workers: int) -> list[ResultT]:
    """Call independent functions in several threads, and return their results in order.

    The calling thread is one of the workers. It does everything with one worker, and where no thread can be started.
    Each other thread runs in a copy of the caller's context (`contextvars`).

    Parameters
    ----------
    works : iterable of callable
        Functions without arguments.
    workers : int
        Threads, the calling one included.

    Returns
    -------
    list
        The result of each function.

    Raises
    ------
    BaseException
        The first exception in the calling thread, else that of another thread. Waiting functions are dropped then,
        and running ones have ended.
    """
    waiting = deque(enumerate(works))
    results: dict[int, ResultT] = {}

    def work_off() -> None:
        while True:
            try:
                number, work = waiting.popleft()
            except IndexError:
                return
            try:
                results[number] = work()
            except BaseException:
                waiting.clear()
                raise

    futures: list[Future[None]] = []
    with ThreadPoolExecutor(max(workers - 1, 1), "soxspipe") as pool:  # no thread starts before a submit
        try:
            helpers = min(workers, len(waiting)) - 1
            with suppress(RuntimeError, MemoryError):  # where no thread can be started, this one does the work
                futures.extend(pool.submit(copy_context().run, work_off) for _ in range(helpers))
            work_off()
            for future in futures:
                future.result()
        finally:
            waiting.clear()
            wait(futures)  # and once more on leaving, if a signal handler raises meanwhile
    return [results[number] for number in sorted(results)]
