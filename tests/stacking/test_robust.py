import numpy as np
import pytest

from soxspipe.stacking.robust import clipped_moments, finite_median, grouped_median, nan_medians


def test_grouped_median_lies_between_the_integers():
    rng = np.random.default_rng(0)
    for centre in (10.0, 10.3, 10.5, 10.8):
        values = np.round(rng.normal(centre, 0.8, 400000))
        assert grouped_median(values, 1.0) == pytest.approx(centre, abs=0.035)  # the plain median errs by 0.5
    assert grouped_median(np.array([1.0, 2.0, 9.0])) == 2.0


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("length", [1, 2, 10, 513, 2048])
@pytest.mark.parametrize("share_missing", [0.0, 1e-3, 0.3, 1.0])
def test_medians_of_lines_are_exact(length, share_missing):
    rng = np.random.default_rng(length)
    lines = rng.normal(size=(40, length)).astype(np.float32)
    lines[rng.random(lines.shape) < share_missing] = np.nan
    lines[3], lines[4, 1:] = np.inf, np.nan
    np.testing.assert_array_equal(nan_medians(lines), np.nanmedian(lines, axis=1))
    np.testing.assert_array_equal(nan_medians(lines.reshape(5, 8, length)), nan_medians(lines).reshape(5, 8))


def test_clipped_moments():
    values = np.random.default_rng(0).normal(7, 2, 200000)
    values[:4000] = 1e5
    mean, std = clipped_moments(values)
    assert mean == pytest.approx(7, abs=0.02)
    assert std == pytest.approx(2 * np.sqrt(0.9989), rel=0.005)
    assert clipped_moments(np.full(10, 3.0)) == (3.0, 0.0)
    assert np.isnan(clipped_moments(np.full(3, np.nan))).all()


@pytest.mark.parametrize("step", [0.0, 2.0])
def test_clipped_moments_are_those_of_the_values_within_the_clip(step):
    values = np.random.default_rng(1).standard_t(3, 100_001).astype(np.float32)
    values = np.round(values / step) * step if step else values
    values[:10] = np.nan
    mean, std = clipped_moments(values, step, sigma=3.0, iterations=100)
    kept = values[np.abs(values - np.float32(mean)) <= np.float32(3.0 * std + 0.5 * step)].astype(np.float64)
    assert 0.9 < kept.size / values.size < 0.999
    assert mean == pytest.approx(kept.mean(), abs=1e-12)
    assert std == pytest.approx(kept.std(), rel=1e-12)


def test_median_of_finite_values():
    assert finite_median(np.array([[3, np.nan], [1, 8]], np.float32)) == 3.0
    assert finite_median(np.full(3, np.nan, np.float32)) == finite_median(np.empty(0, np.float32)) == 0.0
