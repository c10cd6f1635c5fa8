"""Work on several threads: bands of rows, and works that have nothing to do with each other."""

from __future__ import annotations

import _thread
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

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
    work: Callable[[int, int], ResultT],
    bands: Iterable[tuple[int, int]],
    workers: int,
    progress: Callable[[int], None] | None = None,
) -> list[ResultT]:
    """Work on bands, in any order, and return what they give in theirs.

    NumPy lets go of the interpreter while it calculates: threads share the images that they fill, and need
    neither copies nor a second import of everything. This thread is one of them.

    Parameters
    ----------
    work : callable
        Called as ``work(start, stop)``; what it gives must not depend on other bands.
    bands : iterable of (int, int)
        First row, and the one after the last.
    workers : int
        Threads.
    progress : callable, optional
        Called in this thread with the number of rows that are done.

    Returns
    -------
    list
        What ``work`` returned for each band.

    Raises
    ------
    BaseException
        What ``work`` raised for any band; bands that had not begun are left out, and no thread is left at work.
    """
    todo = deque(enumerate(bands))
    results: list[Any] = [None] * len(todo)
    done: SimpleQueue[tuple[int, Any, int, BaseException | None]] = SimpleQueue()
    finished: list[int] = []

    def take_one() -> bool:
        try:
            number, (start, stop) = todo.popleft()
        except IndexError:
            return False
        try:
            done.put((number, work(start, stop), stop - start, None))
        except BaseException as fault:  # noqa: BLE001 - raised below, in the thread that waits for it
            done.put((number, None, 0, fault))
            return False
        finally:
            finished.append(number)
        return True

    def help_out() -> None:
        while take_one():
            pass

    for _ in range(min(workers, len(todo)) - 1):
        # short of memory there are fewer threads; threading would wait for one that died before it began
        with contextlib.suppress(RuntimeError, MemoryError):
            _thread.start_new_thread(help_out, ())
    received = rows = 0
    try:
        while received < len(results):
            busy = take_one()
            while received < len(results) and not (busy and done.empty()):
                number, results[number], height, fault = done.get()
                received, rows = received + 1, rows + height
                if fault is not None:
                    raise fault
                if progress is not None:
                    progress(rows)
    finally:
        left_out = 0
        with contextlib.suppress(IndexError):
            while True:
                todo.pop()
                left_out += 1
        # not by what was received: a signal may have come between a result and its count
        while len(finished) < len(results) - left_out:
            time.sleep(0.001)
    return results


def at_once(first: Callable[[], ResultT], *others: Callable[[], object], workers: int) -> ResultT:
    """Do several works at the same time.

    Parameters
    ----------
    first, *others : callable
        Works that have nothing to do with each other.
    workers : int
        Threads.

    Returns
    -------
    result
        What the first returned.
    """
    works: list[Callable[[], Any]] = [first, *others]
    result: ResultT = in_bands(lambda number, _: works[number](), [(i, i) for i in range(len(works))], workers)[0]
    return result
