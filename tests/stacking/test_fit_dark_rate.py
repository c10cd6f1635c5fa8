import numpy as np
import pytest
from scipy.stats import chi2, norm

from soxspipe.exceptions import InputError, TooFewFramesError, TooFewPixelsError
from soxspipe.pixel_codes import PixelCode
from soxspipe.stacking import ArrayMasters, fit_dark_rate, fit_levels
from soxspipe.stacking.fit_dark_rate import chi2_quantile

NAN = np.nan


def masters_of(values, errors, exposure_s, codes=None, side=1):
    """Make masters of frames that hold the same value everywhere, read-only."""

    def planes(numbers, dtype):
        planes = np.array([np.full((side, side), number, dtype) for number in numbers])
        planes.setflags(write=False)
        return planes

    time = np.array(exposure_s, float)
    return ArrayMasters(planes(values, float), planes(errors, float), time, codes and planes(codes, np.int32))


def fitted(values, errors, exposure_s, codes=None, **options):
    """Fit one pixel and return its numbers."""
    fit = fit_dark_rate(masters_of(values, errors, exposure_s, codes), **options)
    return {name: plane[0, 0] for name, plane in vars(fit).items() if name != "exposure_s"}


# ---- one pixel, worked out by hand ----


def test_two_masters():
    pixel = fitted([25, 65], [3, 4], [10, 30])
    assert pixel["rate_e_per_s"] == pytest.approx(2)
    assert pixel["rate_error_e_per_s"] == pytest.approx(5 / 20)
    assert pixel["offset_e"] == pytest.approx(5)
    assert pixel["offset_error_e"] == pytest.approx(np.hypot(1.5 * 3, 0.5 * 4))
    assert np.isnan(pixel["chi2"])
    assert (pixel["count"], pixel["nonlinear"]) == (2, False)


def test_three_masters():
    pixel = fitted([1, 2, 4], [1, 1, 1], [1, 2, 3])
    assert pixel["rate_e_per_s"] == pytest.approx(1.5)
    assert pixel["rate_error_e_per_s"] == pytest.approx(np.sqrt(1 / 2))
    assert pixel["offset_e"] == pytest.approx(-2 / 3)
    assert pixel["offset_error_e"] == pytest.approx(np.sqrt(1 / 3 + 4 / 2))
    assert pixel["chi2"] == pytest.approx(1 / 6)


def test_the_line_is_that_of_polyfit():
    rng = np.random.default_rng(1)
    time, errors = np.array([10.0, 60, 300, 900, 1800]), np.array([3.0, 2, 5, 4, 9])
    values = 470 + 0.2 * time + errors * rng.standard_normal(5)
    (slope, offset), covariance = np.polyfit(time, values, 1, w=1 / errors, cov="unscaled")
    pixel = fitted(values, errors, time)
    assert pixel["rate_e_per_s"] == pytest.approx(slope, rel=1e-5)
    assert pixel["offset_e"] == pytest.approx(offset, rel=1e-6)
    assert pixel["rate_error_e_per_s"] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-6)
    assert pixel["offset_error_e"] == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-6)
    residual = (values - offset - slope * time) / errors
    assert pixel["chi2"] == pytest.approx(np.sum(residual**2) / 3, rel=1e-4)


@pytest.mark.parametrize("missing", [{"values": [7, NAN, 9]}, {"errors": [1, NAN, 1]}, {"errors": [1, 0, 1]}])
def test_samples_without_value_or_error_take_no_part(missing):
    arguments = {"values": [7, 1e9, 9], "errors": [1, 1, 1], "exposure_s": [10, 20, 30], **missing}
    pixel = fitted(**arguments)
    assert pixel["count"] == 2
    assert pixel["rate_e_per_s"] == pytest.approx(0.1)
    assert np.isnan(pixel["chi2"])
    assert not pixel["nonlinear"]


@pytest.mark.parametrize("values", [[NAN, NAN, NAN, 1], [NAN, NAN, 3, 1], [NAN] * 4])
def test_no_rate_without_two_exposures(values):
    """The last two have the same exposure, to less than a per cent."""
    pixel = fitted(values, [1] * 4, [10, 60, 300, 301])
    for name in ("rate_e_per_s", "rate_error_e_per_s", "offset_e", "offset_error_e", "chi2"):
        assert np.isnan(pixel[name])
    assert pixel["count"] == np.count_nonzero(np.isfinite(values))
    assert not pixel["nonlinear"]


def test_codes_of_the_masters_that_take_part():
    codes = [256 | 128, 256 | 32, 4096 | 1024]
    pixel = fitted([1, 2, NAN], [1, 1, 1], [10, 20, 30], codes)
    assert (pixel["codes_of_all"], pixel["codes_of_any"]) == (256, 256 | 128 | 32)
    pixel = fitted([NAN, NAN, NAN], [1, 1, 1], [10, 20, 30], codes)
    assert (pixel["codes_of_all"], pixel["codes_of_any"]) == (0, 0)


def test_the_code_of_non_linear_pixels_is_free_in_euro3d_and_muse():
    assert PixelCode.NONLINEAR.value == 1 << 16
    assert PixelCode.NONLINEAR.value & (2**15 - 1 | 0b1011 << 25 | 0b11 << 30) == 0


def test_a_pixel_beyond_the_threshold_is_not_linear():
    # residuals of 1, -2, 1 times d make a chi2 of 6 d^2: that of one degree of freedom is 26.3 at 5 sigma
    for d, nonlinear in ((2.08, False), (2.10, True)):
        assert fitted([d, -2 * d, d], [1, 1, 1], [1, 2, 3])["nonlinear"] == nonlinear
    assert fitted([1.5, -3, 1.5], [1, 1, 1], [1, 2, 3], nonlinear_sigma=3.0)["nonlinear"]


def test_an_error_in_common_does_not_touch_the_rate():
    pixel = fitted([25, 65], [5, np.hypot(4, 4)], [10, 30], common_error_e=4.0)
    assert pixel["rate_error_e_per_s"] == pytest.approx(5 / 20)
    assert pixel["offset_error_e"] == pytest.approx(np.sqrt(4.5**2 + 2**2 + 4**2))
    lower = fitted([25, 65], [1, 1], [10, 30], common_error_e=4.0)  # a pixel with less error than is common
    assert 0 < lower["rate_error_e_per_s"] < np.sqrt(2) / 20


@pytest.mark.parametrize("dof", [1, 2, 3, 4, 7, 20, 51])
@pytest.mark.parametrize("probability", [0.5, 0.05, norm.sf(5), norm.sf(7)])
def test_quantiles_of_chi2(dof, probability):
    assert chi2_quantile(probability, dof) == pytest.approx(chi2.isf(probability, dof), rel=1e-9)


def test_masters_that_cannot_be_fitted():
    for work in (fit_dark_rate, lambda masters: fit_levels(masters, np.ones(len(masters.exposure_s)))):
        with pytest.raises(TooFewFramesError, match="1 master dark"):
            work(masters_of([1], [1], [10]))
        with pytest.raises(InputError, match="differ by more than 1 %"):
            work(masters_of([1, 2], [1, 1], [300, 302]))


# ---- many pixels ----


def simulated(rng, time, error, shape, drift=0.0):
    rate, offset = rng.uniform(0, 0.05, shape), rng.normal(460, 12, shape)
    values = np.stack([offset + rate * t + e * rng.standard_normal(shape) for t, e in zip(time, error, strict=True)])
    values += np.broadcast_to(drift, (len(time), *shape))
    errors = np.stack([np.full(shape, e) for e in error])
    return ArrayMasters(values.astype(np.float32), errors, np.array(time)), rate


def test_pulls_and_false_detections_of_a_million_pixels():
    masters, rate = simulated(np.random.default_rng(2), [60.0, 300.0, 900.0], [3.0, 3.3, 4.0], (1000, 1000))
    fit = fit_dark_rate(masters)
    pull = (fit.rate_e_per_s - rate) / fit.rate_error_e_per_s
    assert np.std(pull) == pytest.approx(1, abs=0.003)
    assert abs(np.mean(pull)) < 0.005
    assert np.median(fit.chi2) == pytest.approx(chi2.median(1), rel=0.01)
    assert np.count_nonzero(fit.nonlinear) < 5


def test_bands_do_not_matter():
    masters, _ = simulated(np.random.default_rng(3), [60.0, 300.0, 900.0], [3.0, 3.3, 4.0], (40, 30))
    level = fit_levels(masters, np.ones(3), regions=((slice(0, 17), slice(0, 30)), (slice(17, 40), slice(0, 30))))
    calls = []
    whole = fit_dark_rate(masters, level=level, band_rows=40)
    bands = fit_dark_rate(masters, level=level, band_rows=7, progress=lambda *numbers: calls.append(numbers))
    for name, plane in vars(whole).items():
        np.testing.assert_array_equal(plane, getattr(bands, name))
    assert calls == [(7, 40), (14, 40), (21, 40), (28, 40), (35, 40), (40, 40)]


def test_masters_that_drift_have_linear_pixels_all_the_same():
    """Each amplifier drifts by more than the errors of its pixels: without the levels, all pixels would be bad."""
    time, shape = [60.0, 300.0, 900.0], (64, 128)
    regions = ((slice(0, 64), slice(0, 64)), (slice(0, 64), slice(64, 128)))
    drift = np.zeros((3, *shape))
    drift[1, :, :64], drift[1, :, 64:], drift[2] = 40.0, -30.0, 15.0
    masters, _ = simulated(np.random.default_rng(4), time, [3.0, 3.0, 3.0], shape, drift)
    level = fit_levels(masters, np.array([20.0, 20.0, 20.0]), regions=regions)
    fit = fit_dark_rate(masters, level=level)
    assert not fit.nonlinear.any()
    assert np.median(fit.chi2) == pytest.approx(chi2.median(1), rel=0.1)
    assert np.count_nonzero(fit_dark_rate(masters).nonlinear) > 0.9 * fit.nonlinear.size
    assert np.mean(fit.rate_e_per_s) == pytest.approx(level.rate_e_per_s, abs=1e-3)


# ---- levels ----


def test_the_line_of_the_levels_by_hand():
    level = fit_levels(masters_of([10, 20, 36], [1, 1, 1], [10, 20, 30], side=20), np.array([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(level.level_e, [10, 20, 36])
    assert level.rate_e_per_s == pytest.approx(1.3)
    assert level.offset_e == pytest.approx(-4)
    np.testing.assert_allclose(level.drift_e, [[1], [-2], [1]])
    assert (level.chi2, level.dof) == (pytest.approx(6), 1)
    # sqrt(1 / 200) of the line, times sqrt(6): the levels scatter by more than their errors
    assert level.rate_error_e_per_s == pytest.approx(np.sqrt(6 / 200))


def test_errors_of_levels_are_not_scaled_where_chi2_is_small():
    level = fit_levels(masters_of([10, 20, 36], [1, 1, 1], [10, 20, 30], side=20), np.array([9.0, 9.0, 9.0]))
    assert level.rate_error_e_per_s == pytest.approx(9 * np.sqrt(1 / 200))
    level = fit_levels(masters_of([10, 30], [1, 1], [10, 20], side=20), np.array([3.0, 4.0]))
    assert (level.rate_error_e_per_s, level.dof) == (pytest.approx(0.5), 0)


def test_errors_from_few_frames_are_shrunk_toward_their_mean():
    masters = masters_of([10, 20], [1, 1], [10, 20], side=20)
    level = fit_levels(masters, np.array([1.0, 3.0]), n_frames=np.array([5, 5]))
    # variances of a frame 5 and 45, mean 25; half of that and half of its own, over 5 frames
    np.testing.assert_allclose(level.level_error_e, np.sqrt([3, 7]))
    level = fit_levels(masters, np.array([1.0, 3.0]), n_frames=np.array([1, 1]))
    np.testing.assert_allclose(level.level_error_e, [1, 3])


@pytest.mark.parametrize("n_frames", [3, 5])
def test_the_error_of_the_rate_is_right_with_few_frames_for_the_drift(n_frames):
    rng = np.random.default_rng(5)
    time, pulls = np.array([60.0, 300.0, 900.0]), []
    for _ in range(800):
        frames = rng.normal(0, 5, (3, n_frames))
        error = frames.std(axis=1, ddof=1) / np.sqrt(n_frames)
        values = 0.005 * time + frames.mean(axis=1)
        level = fit_levels(masters_of(values, [1] * 3, time, side=15), error, n_frames=np.full(3, n_frames))
        pulls.append((level.rate_e_per_s - 0.005) / level.rate_error_e_per_s)
    assert 0.85 < np.std(pulls) < 1.15
    assert np.mean(np.abs(pulls) < 2) > 0.92


def test_levels_come_from_pixels_that_are_good_in_all_masters():
    rng = np.random.default_rng(6)
    values = rng.normal(0, 1, (2, 100, 100)) + np.array([0.0, 100.0])[:, None, None]
    codes = np.zeros(values.shape, np.int32)
    codes[1, :30] = 256
    values[0, :30] = 1e4
    values[1, 30] = np.nan
    level = fit_levels(ArrayMasters(values, np.ones_like(values), np.array([100.0, 200.0]), codes), np.ones(2))
    np.testing.assert_allclose(level.level_e, [0, 100], atol=0.06)
    codes[0, 31:] = 128
    with pytest.raises(TooFewPixelsError, match="0 pixels"):
        fit_levels(ArrayMasters(values, np.ones_like(values), np.array([100.0, 200.0]), codes), np.ones(2))


def test_an_amplifier_without_good_pixels_drifts_as_the_others():
    values = np.zeros((3, 40, 40)) + np.array([0.0, 4.0, 2.0])[:, None, None]
    codes = np.zeros(values.shape, np.int32)
    codes[:, 30:] = 256
    regions = ((slice(0, 30), slice(0, 40)), (slice(30, 40), slice(0, 40)))
    masters = ArrayMasters(values, np.ones_like(values), np.array([100.0, 200.0, 300.0]), codes)
    level = fit_levels(masters, np.ones(3), regions=regions)
    np.testing.assert_allclose(level.drift_e[:, 1], level.drift_e[:, 0])
    np.testing.assert_allclose(level.drift_e[:, 0], [-1, 2, -1], atol=1e-6)
