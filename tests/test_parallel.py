import errno
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from soxspipe import parallel as workers_module
from soxspipe.parallel import at_once, in_processes, in_shares, in_threads, row_bands, shared_zeros

ONE_BY_ONE = [(i, i + 1) for i in range(20)]


@pytest.fixture(autouse=True)
def nobody_is_left():
    descriptors = len(os.listdir("/dev/fd"))
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert len(os.listdir("/dev/fd")) == descriptors


def test_bands_cover_every_row_once_and_stay_within_their_span():
    assert list(row_bands([(0, 7), (7, 12)], 3)) == [(0, 3), (3, 6), (6, 7), (7, 10), (10, 12)]


@pytest.mark.parametrize("workers", [1, 2, 5, 50])
def test_results_come_in_the_order_of_the_bands_and_arrays_are_shared(workers):
    squares = shared_zeros((20, 3), np.float32, workers)
    assert not squares.any()

    def work(start, stop):
        time.sleep(0.01)
        squares[start] = start**2
        return os.getpid(), 10 * start + stop

    rows = []
    pids, results = zip(*in_processes(work, ONE_BY_ONE, workers, rows.append), strict=True)
    assert list(results) == [11 * i + 1 for i in range(20)]
    assert (squares == np.arange(20)[:, None] ** 2).all()
    assert rows == sorted(rows)
    assert len(set(pids)) > 1 or workers == 1


def test_more_bands_than_a_pipe_holds_numbers_of():
    bands = [(i, i + 1) for i in range(5000)]
    assert in_processes(lambda start, _: start, bands, 2) == list(range(5000))


def test_results_larger_than_a_pipe_holds():
    results = in_processes(lambda start, _: np.full(10**6, start), ONE_BY_ONE[:4], 2)
    assert [int(result.sum()) for result in results] == [0, 10**6, 2 * 10**6, 3 * 10**6]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_fault_in_one_band_is_raised(workers):
    def work(start, _):
        if start == 13:
            raise ValueError("band 13")
        return start

    with pytest.raises(ValueError, match="band 13"):
        in_processes(work, ONE_BY_ONE, workers)


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(3), lambda: 1 / 0])
def test_what_a_worker_leaves_undone_is_done_here(end):
    here = os.getpid()

    def work(start, _):
        if os.getpid() != here:
            end()
        time.sleep(0.01)
        return start

    assert in_processes(work, ONE_BY_ONE, 3) == list(range(20))


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_band_is_in_one_share(workers, processes):
    def work(bands):
        return (os.getpid(), threading.get_ident()), [(time.sleep(0.01), band)[1] for band in bands]

    rows = []
    who, shares = zip(*in_shares(work, ONE_BY_ONE, workers, processes=processes, progress=rows.append), strict=True)
    assert len(who) == len(set(who)) == workers
    assert len({pid for pid, _ in who}) == (workers if processes else 1)
    assert sorted(band for share in shares for band in share) == ONE_BY_ONE
    assert rows == sorted(rows)
    assert rows[-1] == 20


def test_a_share_whose_worker_is_gone_is_done_here():
    here = os.getpid()

    def work(bands):
        mine = []
        for band in bands:
            time.sleep(0.01)
            mine.append(band)
            if os.getpid() != here and len(mine) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return mine

    shares = in_shares(work, ONE_BY_ONE, 3, processes=True)
    assert [len(share) for share in shares][1:] == [6]
    assert sorted(band for share in shares for band in share) == ONE_BY_ONE


@pytest.mark.parametrize("workers", [1, 2, 50])
def test_threads_give_results_in_the_order_of_the_bands(workers):
    squares = np.zeros(20)

    def work(start, stop):
        time.sleep(0.01)
        squares[start] = start**2
        return threading.get_ident(), 10 * start + stop

    who, results = zip(*in_threads(work, ONE_BY_ONE, workers), strict=True)
    assert list(results) == [11 * i + 1 for i in range(20)]
    assert (squares == np.arange(20) ** 2).all()
    assert len(set(who)) > 1 or workers == 1
    assert in_threads(work, [], workers) == []


def test_a_fault_in_one_thread_is_raised_and_the_others_stop():
    done = []

    def work(start, _):
        if start == 3:
            raise ValueError("band 3")
        time.sleep(0.01)
        done.append(start)

    with pytest.raises(ValueError, match="band 3"):
        in_threads(work, ONE_BY_ONE, 3)
    assert len(done) < 10
    assert threading.active_count() == 1


@pytest.mark.parametrize("call", ["pipe", "fork"])
def test_where_nothing_can_be_forked_this_process_does_it_all(monkeypatch, call):
    def none_left():
        raise OSError(errno.EAGAIN, "none left")

    monkeypatch.setattr(workers_module.os, call, none_left)
    assert in_processes(lambda start, _: start, ONE_BY_ONE, 4) == list(range(20))


def test_beside_other_threads_nothing_is_forked():
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        assert set(in_processes(lambda start, _: os.getpid(), ONE_BY_ONE, 4)) == {os.getpid()}
    finally:
        ended.set()
        thread.join()


def test_as_many_help_as_can_be_forked(monkeypatch):
    fork, left = os.fork, [1, 2]

    def forking():
        if not left:
            raise OSError(errno.EAGAIN, "none left")
        left.pop()
        return fork()

    monkeypatch.setattr(workers_module.os, "fork", forking)
    pids = in_processes(lambda start, _: time.sleep(0.01) or os.getpid(), ONE_BY_ONE, 10)
    assert len(set(pids)) == 3


def test_an_interruption_ends_all(tmp_path):
    here = os.getpid()

    def work(start, _):
        if os.getpid() == here:
            raise KeyboardInterrupt
        time.sleep(0.2)
        (tmp_path / f"{start}").touch()

    with pytest.raises(KeyboardInterrupt):
        in_processes(work, ONE_BY_ONE, 3)
    left = len(list(tmp_path.iterdir()))
    time.sleep(0.4)
    assert len(list(tmp_path.iterdir())) == left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_worker_runs_none_of_the_handlers_of_the_program(tmp_path, number):
    here, told = os.getpid(), tmp_path / "told"
    before = signal.signal(number, lambda *_: told.touch())
    try:

        def work(start, _):
            if os.getpid() != here:
                os.kill(os.getpid(), number)
            return start

        assert in_processes(work, ONE_BY_ONE, 2) == list(range(20))
    finally:
        signal.signal(number, before)
    assert not told.exists()


def test_workers_do_not_outlive_who_started_them(tmp_path):
    middle = os.fork()
    if not middle:
        boss = os.getpid()

        def work(start, _):
            (tmp_path / f"pid{os.getpid()}").touch()
            if os.getpid() == boss:
                time.sleep(0.1)
                os.kill(boss, signal.SIGKILL)
            time.sleep(0.05)

        in_processes(work, [(i, i + 1) for i in range(1000)], 3)
    os.waitpid(middle, 0)
    pids = [int(path.name[3:]) for path in tmp_path.iterdir()]
    assert len(pids) == 3
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text() for pid in pids):
        assert time.monotonic() < until, "still at work"
        time.sleep(0.02)


def test_too_large_an_array_is_no_memory():
    with pytest.raises(MemoryError, match="memory for an image of 4611686018427387904 x 1 pixels"):
        shared_zeros((2**62, 1), np.uint8, 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_works_at_once(workers):
    seen = []
    assert at_once(lambda: "first", lambda: seen.append(1), lambda: seen.append(2), workers=workers) == "first"
    assert sorted(seen) == [1, 2]
    with pytest.raises(ValueError, match="beside"):
        at_once(lambda: "first", lambda: int("beside"), workers=workers)
    with pytest.raises(ValueError, match="this"):
        at_once(lambda: int("this"), lambda: time.sleep(0.01), lambda: seen.append(3), workers=workers)


def test_without_another_thread_this_one_does_it_all(monkeypatch):
    def none_left(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers_module._thread, "start_new_thread", none_left)
    seen = []
    assert at_once(lambda: "first", lambda: seen.append(1), lambda: seen.append(2), workers=4) == "first"
    assert seen == [1, 2]
