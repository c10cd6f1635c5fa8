import threading
import time

import pytest

from soxspipe.stacking.workers import at_once, in_bands, row_bands


def test_bands_cover_every_row_once_and_stay_within_their_span():
    assert list(row_bands([(0, 7), (7, 12)], 3)) == [(0, 3), (3, 6), (6, 7), (7, 10), (10, 12)]


def test_results_come_in_the_order_of_the_bands_whichever_is_done_first():
    second_is_done = threading.Event()

    def work(start, stop):
        if start == 0:
            assert second_is_done.wait(30)
        elif start == 1:
            second_is_done.set()
        return 10 * start + stop

    bands, rows = [(i, i + 1) for i in range(20)], []
    assert in_bands(work, bands, 2, rows.append) == [10 * start + stop for start, stop in bands]
    assert rows == list(range(1, 21))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_a_fault_in_one_band_is_raised_and_what_has_not_begun_is_left_out(workers):
    begun, ended = [], []

    def work(start, stop):
        begun.append(start)
        time.sleep(0.001)
        if start == 2:
            raise ValueError("band 2")
        ended.append(start)

    with pytest.raises(ValueError, match="band 2"):
        in_bands(work, [(i, i + 1) for i in range(1000)], workers)
    assert len(begun) < 1000
    assert len(ended) == len(begun) - 1  # nobody is still at work
    time.sleep(0.01)
    assert len(ended) == len(begun) - 1


def test_without_another_thread_this_one_does_it_all(monkeypatch):
    def none_left(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("soxspipe.stacking.workers._thread.start_new_thread", none_left)
    assert in_bands(lambda start, stop: start, [(i, i + 1) for i in range(5)], 4) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_works_at_once(workers):
    seen = []
    assert at_once(lambda: "first", lambda: seen.append(1), lambda: seen.append(2), workers=workers) == "first"
    assert sorted(seen) == [1, 2]
    with pytest.raises(ValueError, match="beside"):
        at_once(lambda: "first", lambda: int("beside"), workers=workers)
