import numpy as np
import pytest
from astropy.stats import sigma_clip
from astropy.utils.exceptions import AstropyUserWarning

from soxspipe.stacking.sigma_clip import clip_by_noise, clip_by_scatter, clipping_candidates


def clip(*samples, read_noise_e=10.0, iterations=5, **more):
    column = np.array(samples, np.float32)[:, None]
    result = clip_by_noise(column, np.full(1, read_noise_e, np.float32), 5.0, iterations, **more)
    return [x for x, out in zip(samples, result.rejected[:, 0], strict=True) if not out], bool(result.ambiguous[0])


@pytest.mark.parametrize(
    ("samples", "kept", "ambiguous"),
    [
        ((0, 1, 2), (0, 1, 2), False),
        ((0, 1, 2000), (0, 1), False),
        # two cosmic rays in three frames: the median is one of them
        ((0, 800, 3000), (0,), True),
        ((0, 800, 810), (0,), True),
        # two in four: the median lies between; the lower half is as many as are needed
        ((0, 1, 800, 3000), (0, 1), False),
        # three samples that agree outvote two lower ones: a telegraph pixel, or a dropped read-out
        ((0, 0, 900, 905, 910), (900, 905, 910), False),
        # a low sample is an outlier like any other where the rest is at the level
        ((-500, 0, 1, 2, 3), (0, 1, 2, 3), False),
        ((-500, 0, 1), (0, 1), False),
        # a hot pixel: its own shot noise widens the limits, sqrt(100 + 1000) = 33
        ((900, 1000, 1100), (900, 1000, 1100), False),
        ((0, 2000), (0,), False),
        ((0, np.nan, 1, 2000), (0, 1), False),
    ],
)
def test_hand_worked_pixels(samples, kept, ambiguous):
    assert clip(*samples) == (list(kept), ambiguous)


def test_pixel_without_data_keeps_nothing():
    assert clip(np.nan, np.nan, np.nan) == ([], False)


def test_a_flagged_sample_that_agrees_is_kept():
    flagged = np.array([[False], [False], [True]])
    assert clip(0, 1, 20, flagged=flagged) == ([0, 1, 20], False)
    assert clip(0, 1, 200, flagged=flagged) == ([0, 1], False)


def test_iterations_are_counted():
    # medians 45, 22.5 and 0: 95 is within 5 sqrt(100 + 45) of the first and not within 5 sqrt(100 + 22.5) of the second
    samples = (0, 0, 45, 95, 400)
    once, _ = clip(*samples, iterations=1, read_noise_e=10.0)
    more, _ = clip(*samples, iterations=5, read_noise_e=10.0)
    assert once == [0, 0, 45, 95]
    assert more == [0, 0, 45]


@pytest.mark.parametrize("n_frames", [2, 3, 5, 10, 25])
def test_pixels_that_lose_a_sample_are_clipping_candidates(n_frames):
    rng = np.random.default_rng(n_frames)
    samples = rng.normal(0, 10, (n_frames, 40000)).astype(np.float32)
    samples[rng.random(samples.shape) < 0.02] += 60 if n_frames > 2 else 110  # many close to the limit
    samples[:, :4000] += rng.exponential(3000, 4000).astype(np.float32)
    noise = np.full(40000, 10, np.float32)
    statistics = samples.min(0), samples.max(0), samples.mean(0), samples.std(0), noise
    by_noise = clip_by_noise(samples, noise, 5.0, 5)
    candidates = clipping_candidates(*statistics, "noise-model", 5.0)
    assert by_noise.rejected.any(axis=0).sum() > 100
    assert not ((by_noise.rejected.any(axis=0) | by_noise.ambiguous) & ~candidates).any()
    assert n_frames == 25 or candidates.mean() < 0.5
    by_scatter = clip_by_scatter(samples, "std", 3.0, 5).rejected.any(axis=0)
    assert not (by_scatter & ~clipping_candidates(*statistics, "std", 3.0)).any()
    assert clipping_candidates(*statistics, "mad", 5.0).all()


@pytest.mark.parametrize("scale", ["noise-model", "std", "mad"])
def test_pixels_with_missing_samples_are_clipping_candidates(scale):
    missing = np.full(3, np.nan, np.float32)
    assert clipping_candidates(missing, missing, missing, missing, np.ones(3, np.float32), scale, 5.0).all()


@pytest.mark.parametrize("n_frames", [3, 5, 10])
def test_good_samples_are_not_lost(n_frames):
    samples = np.random.default_rng(1).normal(0, 10, (n_frames, 300000)).astype(np.float32)
    result = clip_by_noise(samples, np.full(300000, 10, np.float32), 5.0, 5)
    assert result.rejected.mean() < 2e-5  # docs/method, section 1: 9e-6 at three frames
    assert result.ambiguous.sum() <= 1


def test_cosmic_rays_are_caught_at_three_frames():
    rng = np.random.default_rng(2)
    samples = rng.normal(0, 10, (3, 20000)).astype(np.float32)
    outliers = rng.integers(0, 3, 20000), np.arange(20000)
    samples[outliers] += 200
    result = clip_by_noise(samples, np.full(20000, 10, np.float32), 5.0, 5)
    assert result.rejected[outliers].all()
    assert result.rejected.sum() <= 20000 + 2


@pytest.mark.parametrize("scale", ["std", "mad"])
@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_the_scatter_clip_is_that_of_astropy(scale, sigma):
    samples = np.random.default_rng(3).standard_t(2, (10, 5000)).astype(np.float32)
    samples[3, ::7] = np.nan
    with pytest.warns(AstropyUserWarning, match="invalid values"):
        expected = sigma_clip(
            samples, sigma=sigma, maxiters=5, cenfunc="median", stdfunc="mad_std" if scale == "mad" else "std", axis=0
        ).mask
    assert expected.sum() > 1000
    np.testing.assert_array_equal(clip_by_scatter(samples, scale, sigma, 5).rejected, expected)


@pytest.mark.parametrize("scale", ["std", "mad"])
def test_scatter_clip_of_pixels_without_data_rejects_all_samples(scale):
    nothing = np.full((4, 3), np.nan, np.float32)
    assert clip_by_scatter(nothing, scale, 5.0, 5).rejected.all()
    samples = np.where(np.arange(3) == 1, np.float32(np.nan), np.arange(4, dtype=np.float32)[:, None])
    np.testing.assert_array_equal(clip_by_scatter(samples, scale, 5.0, 5).rejected, np.isnan(samples))
