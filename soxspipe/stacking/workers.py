"""Work on several threads: bands of rows, and works that have nothing to do with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["at_once", "in_bands", "row_bands"]

ResultT = TypeVar("ResultT")


def row_bands(spans: Iterable[tuple[int, int]], height: int) -> Iterator[tuple[int, int]]:
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


def in_bands(
    work: Callable[[int, int], ResultT], bands: Iterable[tuple[int, int]], workers: int
) -> Iterator[tuple[int, ResultT]]:
    """Work on bands, in any order, and yield what they give in theirs.

    NumPy lets go of the interpreter while it calculates: threads share the images that they fill, and need
    neither copies nor a second import of everything.

    Parameters
    ----------
    work : callable
        Called as ``work(start, stop)``; what it gives must not depend on other bands.
    bands : iterable of (int, int)
        First row, and the one after the last.
    workers : int
        Threads; with one all is done in this one.

    Yields
    ------
    stop : int
        The row after the band.
    result
        What ``work`` returned.
    """
    bands = list(bands)
    if workers <= 1 or len(bands) <= 1:
        for start, stop in bands:
            yield stop, work(start, stop)
        return
    pool = ThreadPoolExecutor(min(workers, len(bands)), "bands")
    try:
        futures = [(stop, pool.submit(work, start, stop)) for start, stop in bands]
        for stop, future in futures:
            yield stop, future.result()
    finally:  # a fault in one band, or an interruption, leaves those that have not begun undone
        pool.shutdown(cancel_futures=True)


def at_once(first: Callable[[], ResultT], *others: Callable[[], object], workers: int) -> ResultT:
    """Do several works at the same time.

    Parameters
    ----------
    first : callable
        Called in this thread.
    *others : callable
        Called in one other thread; with one worker, after the first.
    workers : int
        Threads.

    Returns
    -------
    result
        What the first returned.
    """
    with ThreadPoolExecutor(1, "beside") as pool:
        futures = [pool.submit(other) for other in others] if workers > 1 else []
        result = first()
        for future in futures:
            future.result()
    if workers <= 1:
        for other in others:
            other()
    return result
