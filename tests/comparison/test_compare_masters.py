"""Comparison of two masters with known differences."""

from dataclasses import replace

import numpy as np
import pytest

from soxspipe.comparison import compare_masters
from soxspipe.exceptions import InputError
from soxspipe.pixel_codes import PixelCode

from .masters import make_master


@pytest.fixture
def pair():
    rng = np.random.default_rng(6)
    return make_master(rng, shape=(256, 128))[0], make_master(rng, 3.0, shape=(256, 128))[0]


def test_masters_of_the_same_signal_differ_by_their_errors(pair):
    found = compare_masters(*pair)
    assert found.level_e == pytest.approx(3.0, abs=0.05)
    assert found.width == pytest.approx(1, abs=0.02)
    assert found.error_e == pytest.approx(5 * np.sqrt(2 / 10), rel=1e-5)
    assert [tail.sigma for tail in found.tails] == [3, 4, 5]
    assert found.tails[0].n_pixels == pytest.approx(found.tails[0].expected, abs=4 * np.sqrt(found.tails[0].expected))
    assert found.tails[0].expected == pytest.approx(0.0027 * 256 * 128, rel=0.01)
    assert abs(found.worst_blocks[0].sigma) < 4.5
    assert np.shape(found.blocks_e) == (16, 8)


def test_the_block_that_differs_is_named(pair):
    first, second = pair
    values = second.values_e.copy()
    values[32:48, 64:80] += 1.5
    for turns in range(4):
        one, other = (replace(master, rot90_count=turns) for master in (first, replace(second, values_e=values)))
        block = compare_masters(one, other).worst_blocks[0]
        turned = np.rot90(other.values_e - first.values_e, turns)
        inside = turned[block.y[0] - 1 : block.y[1], block.x[0] - 1 : block.x[1]]
        assert inside.shape == (16, 16)
        assert block.difference_e == pytest.approx(1.5, abs=0.4)
        assert inside.mean() == pytest.approx(4.5, abs=0.5)


def test_correlated_noise_makes_blocks_less_significant(pair):
    plain = compare_masters(*pair).worst_blocks[0].sigma
    correlated = compare_masters(*(replace(master, correlation=2.0) for master in pair)).worst_blocks[0].sigma
    assert correlated == pytest.approx(plain / 2)


def test_frames_of_both_masters_do_not_differ():
    rng = np.random.default_rng(6)
    first, frames = make_master(rng, n=10)
    second = replace(first, values_e=frames[:6].mean(axis=0), errors_e=first.errors_e * np.float32(np.sqrt(10 / 6)),
                     count=np.full(first.shape, 6), n_frames=6)  # fmt: skip
    assert compare_masters(first, second, n_shared=6).width == pytest.approx(1, abs=0.02)
    assert compare_masters(first, second).width < 0.6
    same = compare_masters(first, first, n_shared=10)
    assert (same.width, same.level_e) == (0, 0)
    assert same.error_e == pytest.approx(5 / np.sqrt(10))


def test_codes_are_counted_and_the_worst_change_comes_first(pair):
    first, second = pair
    codes = [master.codes.copy() for master in pair]
    codes[0][10, 20], codes[1][10, 20] = 0, PixelCode.HOT
    codes[0][11, 20], codes[1][11, 20] = PixelCode.HOT | PixelCode.NOISY, PixelCode.HOT
    values = second.values_e.copy()
    values[10, 20] += 100
    found = compare_masters(replace(first, codes=codes[0]), replace(second, codes=codes[1], values_e=values))
    assert {(one.label, one.first, one.second, one.both) for one in found.codes} == {
        ("hot", 1, 2, 1), ("noisy", 1, 0, 0),
    }  # fmt: skip
    assert found.n_changed == 2
    assert (found.changed[0].x, found.changed[0].y, found.changed[0].second) == (21, 11, 256)
    assert found.changed[0].sigma > 30


def test_an_error_of_the_bias_that_both_share_cancels(pair):
    noisy = [replace(one, errors_e=np.sqrt(one.errors_e**2 + 1), bias_error_e=1.0) for one in pair]
    assert compare_masters(*noisy, shared_bias=True).width == pytest.approx(1, abs=0.02)
    assert compare_masters(*noisy).error_e == pytest.approx(np.sqrt(5 + 2))


def test_masters_without_a_common_good_pixel_are_refused(pair):
    first, second = pair
    with pytest.raises(InputError, match="no pixel that is good in both"):
        compare_masters(first, replace(second, codes=np.full(first.shape, 256)))
    with pytest.raises(InputError, match="expected the same size"):
        compare_masters(first, make_master(np.random.default_rng(1))[0])
