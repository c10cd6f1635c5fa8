"""Births and deaths on arrays with a known truth."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from soxspipe.comparison import MasterImages, pixel_changes, telegraph_pixels
from soxspipe.comparison.pixel_changes import gaussian_sigma
from soxspipe.exceptions import InputError, SettingsError
from soxspipe.pixel_codes import PixelCode

from .masters import EXPOSURE, READ_NOISE, make_master

#: Error of a difference of two masters of ten frames, electron.
ERROR = READ_NOISE * np.sqrt(2 / 10)


def signal_of(**pixels):
    signal = np.zeros((128, 128))
    for y, x, value in pixels.values():
        signal[y, x] = value
    return signal


@pytest.fixture
def pair():
    def make(before=0.0, after=0.0, seed=1, **values):
        rng = np.random.default_rng(seed)
        return make_master(rng, before, **values)[0], make_master(rng, after, **values)[0]

    return make


def test_a_birth_and_a_death_are_found_with_their_rates(pair):
    before, after = pair(signal_of(a=(20, 30, 40.0)), signal_of(b=(70, 90, 50.0)))
    found = pixel_changes(before, after)
    assert [(one.x, one.y, one.kind) for one in found.changes] == [(91, 71, "birth"), (31, 21, "death")]
    birth, death = found.changes
    assert (found.births, found.deaths, found.telegraph) == ((birth,), (death,), ())
    assert birth.rate_change == pytest.approx(50 / EXPOSURE, abs=4 * ERROR / EXPOSURE)
    assert death.rate_change == pytest.approx(-40 / EXPOSURE, abs=4 * ERROR / EXPOSURE)
    assert birth.error == pytest.approx(ERROR / EXPOSURE, rel=0.4)
    assert (birth.code_before, birth.code_after) == (0, PixelCode.HOT)


def test_the_difference_decides_and_not_the_codes(pair):
    before, after = pair()
    codes = before.codes.copy()
    codes[5:9, 5] = PixelCode.HOT
    assert pixel_changes(before, replace(after, codes=codes)).changes == ()
    before, after = pair(signal_of(a=(20, 30, 400.0)), signal_of(a=(20, 30, 440.0)))
    (change,) = pixel_changes(before, after).changes
    assert (change.code_before, change.code_after, change.kind) == (256, 256, "birth")


def test_drifts_of_amplifiers_rows_and_glow_are_no_change(pair):
    y, x = np.indices((128, 128))
    regions = ((slice(0, 128), slice(0, 64)), (slice(0, 128), slice(64, 128)))
    rows = np.random.default_rng(5).normal(0, 3, 128)
    drift = 30.0 * (x >= 64) + 20 * np.exp(-y / 40) + rows[:, None]
    drift[100, 100] += 40
    before, after = pair(0.0, drift, regions=regions, codes=np.zeros((128, 128), int))
    found = pixel_changes(before, after)
    assert [(one.x, one.y) for one in found.changes] == [(101, 101)]
    assert found.width == pytest.approx(1, abs=0.1)


def test_hot_pixels_that_all_grow_by_the_same_factor_are_no_change(pair):
    rng = np.random.default_rng(3)
    hot = np.zeros((128, 128))
    hot.flat[rng.choice(hot.size, 100, replace=False)] = 10 ** rng.uniform(2.5, 4, 100)
    after = 1.06 * hot
    chosen = np.flatnonzero(hot)[0]
    after.flat[chosen] *= 1.5
    found = pixel_changes(*pair(hot, after))
    assert [(one.y - 1) * 128 + one.x - 1 for one in found.changes] == [chosen]
    assert found.hot_change == pytest.approx(0.06, abs=0.005)


def test_a_pixel_with_noise_of_its_own_is_judged_by_that(pair):
    before, after = pair(0.0, signal_of(a=(20, 30, 40.0)))
    assert len(pixel_changes(before, after).changes) == 1
    noise = after.noise_e.copy()
    noise[20, 30] = 60.0
    assert pixel_changes(before, replace(after, noise_e=noise)).changes == ()


def test_shot_noise_of_a_bright_pixel_counts(pair):
    before, after = pair(signal_of(a=(20, 30, 5e3)), signal_of(a=(20, 30, 5e3 + 40)))
    errors = before.errors_e.copy()
    errors[20, 30] = np.sqrt(5e3 / 10)
    assert len(pixel_changes(before, after).changes) == 1
    noisy = [replace(one, errors_e=errors, noise_e=one.noise_e * errors / one.errors_e) for one in (before, after)]
    assert pixel_changes(*noisy).changes == ()


@pytest.mark.parametrize(("spread", "least"), [(0.0, 0.7), (0.05, 0.7), (0.2, 0.3)])
def test_as_many_false_changes_are_found_as_expected_or_fewer_where_noise_differs_much(spread, least):
    rng = np.random.default_rng(8)
    shape = (400, 400)
    noise = READ_NOISE * np.exp(spread * rng.standard_normal(shape))
    found = []
    for _ in range(2):
        frames = rng.normal(0, noise, (5, *shape)).astype(np.float32)
        found.append(
            MasterImages(
                frames.mean(axis=0),
                np.full(shape, READ_NOISE / np.sqrt(5), np.float32),
                frames.std(axis=0, ddof=1),
                np.full(shape, 5),
                np.zeros(shape, int),
                5,
                EXPOSURE,
            )
        )
    changes = pixel_changes(*found, false_per_million=1000.0)
    assert changes.expected_false == pytest.approx(160)
    assert changes.noise_spread == pytest.approx(spread, abs=0.03)
    assert least * 160 < len(changes.changes) < 1.3 * 160


def test_significance_is_as_improbable_as_the_value_of_t():
    t, freedom = np.array([-3.0, 2.0, 6.0, 9.0]), np.array([10.0, 30.0, 20.0, 12.0])
    expected = np.sign(t) * norm.isf(student.sf(np.abs(t), freedom))
    np.testing.assert_allclose(gaussian_sigma(t, freedom), expected, rtol=5e-3)


def test_pixels_without_a_rate_are_not_compared(pair):
    before, after = pair(0.0, signal_of(a=(20, 30, 400.0), b=(20, 40, 400.0), c=(20, 50, 400.0)))
    codes = after.codes.copy()
    codes[20, 30], codes[20, 40], codes[20, 50] = PixelCode.AMBIGUOUS, PixelCode.SATURATED, PixelCode.HOT
    values = after.values_e.copy()
    values[50, 50] = np.nan
    found = pixel_changes(before, replace(after, codes=codes, values_e=values))
    assert [(one.x, one.y) for one in found.births] == [(51, 21), (41, 21)]  # saturated is more than it was
    assert found.n_compared == 128 * 128 - 2


def test_an_amplifier_without_a_good_pixel_does_not_disturb_the_others(pair):
    regions = ((slice(0, 128), slice(0, 64)), (slice(0, 128), slice(64, 128)))
    before, after = pair(0.0, signal_of(a=(20, 30, 40.0)), regions=regions)
    codes = before.codes.copy()
    codes[:, 64:] = PixelCode.STATIC
    values = after.values_e.copy()
    values[:, 64:] = np.nan
    found = pixel_changes(replace(before, codes=codes), replace(after, values_e=values))
    assert [(one.x, one.y) for one in found.changes] == [(31, 21)]


def test_positions_are_those_of_the_turned_product():
    rng = np.random.default_rng(1)
    image = np.zeros((128, 96))
    image[20, 30] = 60.0
    for turns in range(4):
        before, after = (make_master(rng, one, shape=(128, 96), rot90_count=turns)[0] for one in (0.0, image))
        (change,) = pixel_changes(before, after).changes
        assert np.rot90(image, turns)[change.y - 1, change.x - 1] == 60.0


def test_a_pixel_that_jumps_is_no_birth(pair):
    before, after = pair(0.0, signal_of(a=(20, 30, 50.0), b=(60, 30, 50.0)))
    codes, count = after.codes.copy(), after.count.copy()
    codes[20, 30] |= PixelCode.NOISY
    count[60, 30] = 8  # two of ten samples were rejected: no cosmic rays
    found = pixel_changes(before, replace(after, codes=codes, count=count))
    assert {(one.x, one.y, one.kind) for one in found.changes} == {(31, 21, "telegraph"), (31, 61, "telegraph")}


def test_pixels_that_go_up_and_down_twice_are_telegraph_pixels():
    rng = np.random.default_rng(4)
    levels = [0, 60, 0, 60, 0, 60]
    masters = [
        make_master(rng, signal_of(a=(20, 30, level), b=(40, 40, 50.0 * (i > 2))))[0] for i, level in enumerate(levels)
    ]
    history = [pixel_changes(*two) for two in pairwise(masters)]
    (pixel,) = telegraph_pixels(history)
    assert (pixel.x, pixel.y, pixel.ups, pixel.downs) == (31, 21, 3, 2)
    assert pixel.step == pytest.approx(60 / EXPOSURE, rel=0.1)
    assert telegraph_pixels(history[:3]) == ()


def test_masters_of_different_size_and_unknown_parameters_are_refused(pair):
    before, _ = pair()
    other, _ = make_master(np.random.default_rng(1), shape=(64, 128))
    with pytest.raises(InputError, match="128 x 128 and 128 x 64 pixels"):
        pixel_changes(before, other)
    with pytest.raises(SettingsError, match="false_per_milion"):
        pixel_changes(before, before, false_per_milion=1.0)
    with pytest.raises(InputError, match="shapes"):
        replace(before, count=np.zeros((3, 3), int))
