"""Threads over bands and over independent functions: order, faults, signals, nothing left running."""

import contextvars
import os
import resource
import signal
import threading
import time

import pytest

from soxspipe import parallel
from soxspipe.parallel import default_workers, map_bands, row_bands, run_concurrently

ONE_BY_ONE = [(i, i + 1) for i in range(20)]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class StopError(BaseException):
    """Raised by a signal handler, as no handler of `Exception` catches it."""


@pytest.fixture
def interrupt():
    """Return a function that has StopError raised in the main thread, and returns after that."""
    raised = threading.Event()

    def stop(*_):
        raised.set()
        raise StopError

    def interrupt():
        os.kill(os.getpid(), signal.SIGALRM)
        assert raised.wait(30)

    before = signal.signal(signal.SIGALRM, stop)
    yield interrupt
    signal.signal(signal.SIGALRM, before)


def meet(n):
    """Return a function that waits until n threads call it: it returns only where they run at the same time."""
    barrier = threading.Barrier(n)
    return lambda: barrier.wait(timeout=30)


def test_bands_cover_every_row_once_and_stay_within_their_span():
    assert list(row_bands([(0, 7), (7, 12)], 3)) == [(0, 3), (3, 6), (6, 7), (7, 10), (10, 12)]


@pytest.mark.parametrize("workers", [1, 2, 5, 50])
def test_results_come_in_the_order_of_the_bands(workers):
    def work(start, stop):
        time.sleep(0.001 * (start % 3))
        return 10 * start + stop

    assert map_bands(work, iter(ONE_BY_ONE), workers) == [11 * i + 1 for i in range(20)]
    assert map_bands(work, [], workers) == []


@pytest.mark.parametrize("workers", [2, 5])
def test_bands_are_worked_on_at_the_same_time(workers):
    together = meet(workers)
    threads = map_bands(lambda *_: together() * 0 + threading.get_ident(), ONE_BY_ONE[:workers], workers)
    assert len(set(threads)) == workers
    assert threading.get_ident() in threads


def test_one_worker_is_the_calling_thread():
    assert set(map_bands(lambda *_: threading.get_ident(), ONE_BY_ONE, 1)) == {threading.get_ident()}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_progress_is_called_in_the_calling_thread_with_the_rows_done(workers):
    calls = []
    bands = list(row_bands([(0, 47)], 5))
    map_bands(lambda *_: time.sleep(0.001), bands, workers, lambda rows: calls.append((threading.get_ident(), rows)))
    threads, rows = zip(*calls, strict=True)
    assert set(threads) == {threading.get_ident()}
    assert list(rows) == sorted(rows)
    assert rows[-1] == 47


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("fault", [ValueError("band 13"), IndexError("band 13"), KeyboardInterrupt("band 13")])
def test_the_exception_of_a_band_is_raised_and_waiting_bands_are_dropped(workers, fault):
    done = []

    def work(start, _):
        if start == 13:
            raise fault
        done.append(start)

    bands = [(i, i + 1) for i in range(14)] + [(i, i + 1) for i in range(100, 10_000)]
    with pytest.raises(type(fault), match="band 13"):
        map_bands(work, bands, workers)
    assert len(done) < 9000


def test_an_exception_in_the_calling_thread_waits_for_the_running_bands():
    caller, together = threading.get_ident(), meet(2)
    ended = []

    def work(start, _):
        together()
        if threading.get_ident() == caller:
            raise ValueError("here")
        time.sleep(0.2)
        ended.append(start)

    with pytest.raises(ValueError, match="here"):
        map_bands(work, ONE_BY_ONE, 2)
    assert len(ended) == 1


def test_an_exception_in_another_thread_is_raised_here():
    caller, together = threading.get_ident(), meet(2)

    def work(*_):
        together()
        if threading.get_ident() != caller:
            raise ValueError("there")

    with pytest.raises(ValueError, match="there"):
        map_bands(work, ONE_BY_ONE[:2], 2)


@pytest.mark.parametrize("caller_is", ["at work", "done", "failing"])
def test_a_signal_handler_that_raises_leaves_nothing_running(interrupt, caller_is):
    """The exception meets the caller's own band, or its wait for the band of the other thread."""
    caller, together = threading.get_ident(), meet(2)
    started, ended = [], []

    def work(start, _):
        started.append(start)
        together()
        if threading.get_ident() != caller:
            if caller_is != "at work":
                time.sleep(0.1)  # the caller is waiting by now
            interrupt()
            time.sleep(0.1)  # a caller that does not wait goes on without this band
            ended.append(start)
        elif caller_is == "at work":
            for _ in range(3000):  # one long wait might begin just after the signal
                time.sleep(0.02)
        elif caller_is == "failing":
            raise ValueError("here")

    with pytest.raises(StopError):
        map_bands(work, ONE_BY_ONE[:2] if caller_is == "done" else ONE_BY_ONE, 2)
    assert len(started) == 2
    assert len(ended) == 1


@pytest.mark.parametrize("can_be_started", [0, 1])
def test_the_calling_thread_does_what_no_other_thread_can(monkeypatch, can_be_started):
    start, started = threading.Thread.start, []

    def starting(self):
        if len(started) >= can_be_started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", starting)
    calls = []
    assert map_bands(lambda i, _: calls.append(i) or i, ONE_BY_ONE, 4) == list(range(20))
    assert sorted(calls) == list(range(20))


def test_threads_run_in_the_context_of_the_caller():
    variable = contextvars.ContextVar("variable", default="default")
    token, together = variable.set("of the caller"), meet(3)
    try:
        assert run_concurrently([lambda: (together(), variable.get())[1]] * 3, 3) == ["of the caller"] * 3
        run_concurrently([lambda: (together(), variable.set("of a thread"))] * 3, 3)
    finally:
        variable.reset(token)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_independent_functions(workers):
    assert run_concurrently([lambda: "a", lambda: 2, lambda: None], workers) == ["a", 2, None]
    assert run_concurrently([], workers) == []


def test_default_workers_are_those_of_the_processors_two_at_most(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for processors, workers in ((1, 1), (2, 2), (64, 2)):
        monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _, n=processors: set(range(n)), raising=False)
        assert default_workers() == workers
    monkeypatch.delattr(parallel.os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_workers() == 1


def test_the_default_is_one_worker_where_memory_is_limited(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**32, 2**32))
    assert default_workers() == 1
