import numpy as np
import pytest

from soxspipe.pixel_codes import PixelCode
from soxspipe.stacking.dark_subtraction import DarkImages, FrameImages, signal_charge, subtract_master

SHAPE = (60, 80)


def image(value):
    return np.full(SHAPE, value, np.float32)


def dark(level=10.0, error=2.0, count=4, bias_error=None, **options):
    codes = np.zeros(SHAPE, np.int32)
    return DarkImages(
        image(level), image(error), codes, np.full(SHAPE, count, np.uint16), bias_error=bias_error, **options
    )


def frame(value=10.0, **options):
    return FrameImages(image(value), np.zeros(SHAPE, np.int32), **options)


def test_a_dark_frame_has_the_variance_of_one_dark_and_the_error_of_the_master():
    result = subtract_master(frame(), dark())
    assert (result.data == 0).all()
    np.testing.assert_allclose(result.shared_error, 2.0)
    np.testing.assert_allclose(result.error, np.sqrt(2.0**2 * 4 + 2.0**2), rtol=1e-6)


def test_the_error_of_a_shared_bias_cancels():
    bias_error = image(1.5)
    result = subtract_master(frame(bias_error=bias_error), dark(error=2.5, bias_error=bias_error))
    np.testing.assert_allclose(result.shared_error, 2.0, rtol=1e-6)
    np.testing.assert_allclose(result.error, np.sqrt(16 + 4), rtol=1e-6)


def test_that_of_another_bias_does_not():
    result = subtract_master(frame(bias_error=image(1.0)), dark(error=2.5, bias_error=image(1.5)), same_bias=False)
    np.testing.assert_allclose(result.shared_error, np.sqrt(2.5**2 + 1.0**2), rtol=1e-6)


def test_a_scaled_dark_scales_its_error_and_leaves_a_part_of_the_bias():
    bias_error = image(1.5)
    scaled = subtract_master(
        frame(30.0, bias_error=bias_error), dark(level=10.0, error=2.5, bias_error=bias_error), scale=3.0
    )
    assert (scaled.data == 0).all()
    np.testing.assert_allclose(scaled.shared_error, np.sqrt(9 * 4 + 4 * 1.5**2), rtol=1e-6)
    # twice the dark signal of 10 electron more shot noise than in a dark
    np.testing.assert_allclose(scaled.error**2, scaled.shared_error**2 + 16 + 20, rtol=1e-6)


@pytest.mark.parametrize(("of_darks", "of_frame", "variance"), [(1, 1, 116.0), (4, 1, 164.0), (1, 4, 29.0)])
def test_a_signal_adds_its_shot_noise_and_averages_have_less(of_darks, of_frame, variance):
    result = subtract_master(frame(110.0, ndit=of_frame), dark(ndit=of_darks))
    np.testing.assert_allclose(result.error**2, variance + 4, rtol=1e-6)


@pytest.mark.parametrize(("level", "signal"), [(5.0, 0), (-9.0, 0), (40.0, 40)])
def test_a_pedestal_that_drifts_has_no_shot_noise(level, signal):
    result = subtract_master(frame(10.0 + level), dark(error=3.0), drift_e=2.0)
    np.testing.assert_allclose(result.error**2, 3.0**2 * (4 + 1) + signal, rtol=1e-6)


def test_codes_add_up_and_a_pixel_without_data_is_nan():
    one, other = frame(), dark()
    one.codes[3, 4] = PixelCode.SATURATED.value
    other.codes[3, 4] = other.codes[5, 6] = PixelCode.HOT.value
    other.data[7, 8] = np.nan
    other.count[9, 9] = 0
    result = subtract_master(one, other)
    assert result.codes[3, 4] == PixelCode.SATURATED | PixelCode.HOT
    assert result.codes[5, 6] == PixelCode.HOT
    assert result.codes[7, 8] == result.codes[9, 9] == PixelCode.NO_DATA
    assert np.isnan([result.data[9, 9], result.error[7, 8], result.shared_error[7, 8]]).all()
    assert np.count_nonzero(result.codes) == 4


def test_faint_signals_have_unbiased_shot_noise():
    rng = np.random.default_rng(5)
    for signal in (0.0, 10.0, 30.0, 1000.0):
        values = (rng.poisson(signal, (400, 400)) + rng.normal(0, 4, (400, 400))).astype(np.float32)
        charge = signal_charge(values, np.full(values.shape, 4.0, np.float32))
        pull = (values - signal) / np.sqrt(16 + np.maximum(charge, -12))
        assert np.std(pull) == pytest.approx(1, abs=0.04), signal


def test_a_narrow_line_keeps_its_own_shot_noise():
    values = np.zeros((20, 20), np.float32)
    values[:, 10] = 400
    assert (signal_charge(values, np.full((20, 20), 4.0, np.float32))[:, 10] == 400).all()
    assert (signal_charge(values, np.full((20, 20), 4.0, np.float32))[:, 9] == 0).all()


def test_inputs_are_left_as_they_are():
    one, other = frame(), dark()
    for array in (one.data, one.codes, other.data, other.error, other.codes, other.count):
        array.setflags(write=False)
    subtract_master(one, other)
