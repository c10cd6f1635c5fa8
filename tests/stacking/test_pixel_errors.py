"""Errors against the truth: glow, non-uniform dark signal, patterns of the electronics, averaged exposures."""

import numpy as np
import pytest

from soxspipe.stacking import clip_and_stack, create_noise_map
from soxspipe.stacking.robust import student_factor

SHAPE = (320, 320)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]


def lognormal(sigma):
    return np.exp(sigma * np.random.default_rng(7).standard_normal(SHAPE))


def pulls(signal_e, *, noise_e=4.0, n_frames=5, pattern_e=0.0, ndit=1, seed=1):
    """Return (value - truth) / error of pixels without a code, NaN elsewhere."""
    rng = np.random.default_rng(seed)
    signal_e = np.broadcast_to(signal_e, SHAPE)
    frames = [
        (rng.poisson(signal_e * ndit) / ndit + rng.normal(0, noise_e / np.sqrt(ndit), SHAPE) + pattern_e + 1000).astype(
            np.float32
        )
        for _ in range(n_frames)
    ]
    stack = clip_and_stack(frames, shot_scale=1 / ndit, unit="electron")
    good = create_noise_map(stack).codes == 0
    residual = stack.master.data - signal_e - pattern_e - 1000
    return np.where(good, residual / stack.master.uncertainty.array, np.nan)


@pytest.mark.parametrize("ndit", [1, 10, 100])
@pytest.mark.parametrize("place", ["columns", "rows", "corner"])
@pytest.mark.parametrize(("amplitude_e", "n_frames"), [(30, 10), (300, 3), (3000, 3)])
def test_errors_next_to_glow(place, amplitude_e, n_frames, ndit):
    distance = {"columns": X, "rows": Y, "corner": np.hypot(X, Y)}[place]
    z = pulls(3 + amplitude_e / ndit * np.exp(-distance / 40), n_frames=n_frames, ndit=ndit)
    assert np.nanstd(z) == pytest.approx(1, abs=0.02)
    assert np.nanstd(z[distance > 200]) == pytest.approx(1, abs=0.025)


def test_errors_where_most_of_an_amplifier_glows():
    z = pulls(1000 * (1 - 0.9 * np.exp(-X / 40)))
    assert np.nanstd(z[:, :10]) == pytest.approx(1, abs=0.04)
    assert np.nanstd(z[:, 100:]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("n_frames", [3, 10])
@pytest.mark.parametrize("sigma", [0.3, 0.5])
@pytest.mark.parametrize("dark_e", [50, 400])
def test_errors_of_dark_and_of_bright_pixels(dark_e, sigma, n_frames):
    signal_e = dark_e * lognormal(sigma)
    z = pulls(signal_e, n_frames=n_frames)
    assert np.nanstd(z) == pytest.approx(1, abs=0.02)
    for low, high in ((0, 0.05), (0.05, 0.5), (0.5, 0.95), (0.95, 1)):
        part = (signal_e >= np.quantile(signal_e, low)) & (signal_e <= np.quantile(signal_e, high))
        assert np.nanstd(z[part]) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    "pattern_e",
    [
        pytest.param(9.0 * np.random.default_rng(3).standard_normal((1, SHAPE[1])), id="columns of 5 errors"),
        pytest.param(10.0 * np.random.default_rng(4).standard_normal(SHAPE), id="pixels"),
        pytest.param(40.0 * (X / SHAPE[1] - 0.5), id="a ramp"),
    ],
)
def test_a_pattern_of_the_electronics_has_no_shot_noise(pattern_e):
    z = pulls(3.0, pattern_e=pattern_e)
    level = np.broadcast_to(pattern_e, SHAPE)
    for part in (level < np.quantile(level, 0.1), level > np.quantile(level, 0.9), level > level.min()):
        assert np.nanstd(z[part]) == pytest.approx(1, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("n_frames", [25, 200])
def test_errors_of_many_frames(n_frames):
    z = pulls(50 * lognormal(0.5), n_frames=n_frames)
    assert np.nanstd(z) == pytest.approx(1, abs=0.02)


def test_two_errors_from_few_frames_are_exceeded_as_two_sigma_are():
    rng = np.random.default_rng(5)
    for n_frames, share in ((3, 0.183), (4, 0.139), (5, 0.116)):
        levels = rng.standard_normal((200_000, n_frames))
        ratio = np.abs(levels.mean(axis=1)) / (levels.std(axis=1, ddof=1) / np.sqrt(n_frames))
        assert np.mean(ratio > 2) == pytest.approx(share, abs=0.004)
        assert np.mean(ratio > 2 * student_factor(n_frames - 1)) == pytest.approx(0.0455, abs=0.002)
    assert student_factor(10**6) == pytest.approx(1, abs=1e-5)
