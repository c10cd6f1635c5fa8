"""Several reductions at once: order, isolation, faults."""

import os
import signal
import threading
import time

import pytest

from soxspipe.execution import batch
from soxspipe.execution.batch import Outcome


def unexpected(number, reason):
    raise AssertionError(f"{number} was lost: {reason}")


def reduced(number, workers):
    return Outcome({"number": number, "workers": workers, "pid": os.getpid()}, 0)


def documents(n, workers, reduce=reduced, aside=reduced, lost=unexpected):
    outcomes = list(batch.outcomes(reduce, aside, lost, n, workers))
    with pytest.raises(ChildProcessError):  # no process is left, nor waits to be asked for its exit code
        os.waitpid(-1, os.WNOHANG)
    return [outcome.document for outcome in outcomes]


@pytest.mark.parametrize(("n", "workers"), [(0, 2), (1, 2), (2, 2), (5, 1)])
def test_one_after_the_other_where_nothing_is_gained(n, workers):
    assert documents(n, workers) == [{"number": i, "workers": workers, "pid": os.getpid()} for i in range(n)]


def test_after_the_first_each_has_a_process_of_its_own_and_all_keep_their_order():
    def aside(number, workers):
        time.sleep(0.05 * (number % 3))
        return reduced(number, workers)

    given = documents(8, 3, aside=aside)
    assert [document["number"] for document in given] == list(range(8))
    assert given[0]["pid"] == os.getpid()
    assert len({document["pid"] for document in given}) == 8
    assert [document["workers"] for document in given] == [3] + [1] * 7


def test_workers_that_are_too_many_for_reductions_are_shared_out():
    assert [document["workers"] for document in documents(3, 9)] == [9, 4, 4]


def test_what_fails_at_once_is_not_worth_a_process():
    def reduce(number, workers):
        return Outcome({"here": True}, 2 if number < 3 else 0)

    assert [document.get("here") for document in documents(6, 2, reduce)] == [True] * 4 + [None] * 2


def test_they_are_at_work_at_the_same_time(tmp_path):
    def aside(number, workers):
        (tmp_path / str(number)).touch()
        other, deadline = tmp_path / str(3 - number), time.monotonic() + 10
        while not other.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return reduced(number, workers)

    assert len(documents(3, 2, aside=aside)) == 3


def test_no_more_than_the_workers_at_a_time(tmp_path):
    def aside(number, workers):
        (tmp_path / str(number)).touch()
        time.sleep(0.1)
        at_work = len(list(tmp_path.iterdir()))
        (tmp_path / str(number)).unlink()
        return Outcome({"at work": at_work}, 0)

    assert max(document.get("at work", 0) for document in documents(7, 2, aside=aside)) == 2


def test_a_process_that_dies_is_lost_alone():
    def aside(number, workers):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3:
            os._exit(0)
        if number == 4:
            os.kill(os.getpid(), signal.SIGRTMIN + 1)
        return reduced(number, workers)

    def lost(number, reason):
        return Outcome({"number": number, "reason": reason}, 1)

    given = documents(6, 2, aside=aside, lost=lost)
    assert [document["number"] for document in given] == list(range(6))
    assert [document.get("reason") for document in given] == [
        None, None, "its process was killed: where memory is short, choose --workers=1",
        "its process ended before it was done",
        f"its process was ended by signal {signal.SIGRTMIN + 1}", None,
    ]  # fmt: skip


def test_what_was_lost_is_told_in_its_order():
    """`lost` writes to the terminal: it must not be asked before the turn of its reduction."""
    told = []

    def aside(number, workers):
        if number == 2:
            os._exit(0)
        time.sleep(0.3)
        return reduced(number, workers)

    def lost(number, reason):
        told.append(number)
        return Outcome({}, 1)

    for number, _ in enumerate(batch.outcomes(reduced, aside, lost, 3, 2)):
        assert (2 in told) == (number == 2)


def test_an_answer_longer_than_a_pipe_holds():
    def aside(number, workers):
        return Outcome({"words": "x" * 10**6}, 0)

    assert [len(document.get("words", "")) for document in documents(3, 2, aside=aside)] == [0, 10**6, 10**6]


def test_whoever_wants_no_more_leaves_no_process_and_no_descriptor():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    outcomes = batch.outcomes(reduced, lambda *_: time.sleep(60), unexpected, 4, 2)
    next(outcomes)

    class EnoughError(Exception):
        pass

    def enough(*_):
        raise EnoughError

    handler = signal.signal(signal.SIGALRM, enough)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(EnoughError):
            next(outcomes)
    finally:
        signal.signal(signal.SIGALRM, handler)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_where_nothing_can_be_forked_all_are_done_here(monkeypatch):
    def refuse():
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    assert {document["pid"] for document in documents(4, 2)} == {os.getpid()}


def test_where_fewer_can_be_forked_these_do_it(monkeypatch):
    fork, children = os.fork, []

    def refuse_the_second():
        if len(children) % 2:
            children.append(0)
            raise BlockingIOError("no more processes")
        children.append(fork())
        return children[-1]

    monkeypatch.setattr(os, "fork", refuse_the_second)
    given = documents(5, 3)
    assert [document["number"] for document in given] == list(range(5))
    assert os.getpid() not in [document["pid"] for document in given[1:]]


def test_a_program_with_threads_is_not_forked():
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert {document["pid"] for document in documents(3, 2)} == {os.getpid()}
    finally:
        end.set()
        thread.join()


def test_without_a_child_to_wait_for():
    handler = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps them
    try:
        assert [document["number"] for document in documents(4, 2)] == list(range(4))
    finally:
        signal.signal(signal.SIGCHLD, handler)
