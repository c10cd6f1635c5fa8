import threading

import pytest

from soxspipe.stacking.workers import in_bands, row_bands


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

    bands = [(i, i + 1) for i in range(20)]
    assert list(in_bands(work, bands, 2)) == [(stop, 10 * start + stop) for start, stop in bands]


def test_a_fault_in_one_band_is_raised_and_the_rest_is_not_begun():
    begun = []

    def work(start, stop):
        begun.append(start)
        if start == 2:
            raise ValueError("band 2")

    with pytest.raises(ValueError, match="band 2"):
        list(in_bands(work, [(i, i + 1) for i in range(10_000)], 2))
    assert len(begun) < 10_000
