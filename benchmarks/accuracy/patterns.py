"""Errors of one-amplifier detectors with glow, non-uniform dark signal or a pattern, by generators of NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soxspipe.quality.noise import noise_values
from soxspipe.stacking import clip_and_stack, create_noise_map

SHAPE = (512, 512)
#: Read noise of one integration, electron.
NOISE_E = 5.0
#: Shares of the pixels, by their true level, whose pulls are given on their own.
DARKEST, BRIGHTEST = 0.05, 0.95

_Image = NDArray[np.float64]


@dataclass(frozen=True)
class Pattern:
    """A detector: dark signal of one integration and pattern of the electronics, electron."""

    name: str
    frames: int
    signal_e: Callable[[np.random.Generator], _Image]
    pattern_e: Callable[[np.random.Generator], _Image] = lambda rng: np.zeros(SHAPE)
    ndit: int = 1


@dataclass(frozen=True)
class PatternPulls:
    """Standard deviation of the pulls of all pixels without a code, and of the darkest and brightest; PULL STD."""

    name: str
    frames: int
    all_pixels: float
    darkest: float
    brightest: float
    halves: float


def _glow(amplitude_e: float) -> Callable[[np.random.Generator], _Image]:
    return lambda rng: np.broadcast_to(3 + amplitude_e * np.exp(-np.arange(SHAPE[1]) / 60), SHAPE)


def _lognormal(median_e: float, sigma: float) -> Callable[[np.random.Generator], _Image]:
    return lambda rng: median_e * np.exp(sigma * rng.standard_normal(SHAPE))


def _columns(errors: float) -> Callable[[np.random.Generator], _Image]:
    scale_e = errors * NOISE_E / np.sqrt(5)
    return lambda rng: np.broadcast_to(scale_e * rng.standard_normal(SHAPE[1]), SHAPE)


def patterns(quick: bool) -> list[Pattern]:
    """Return all detectors, or some."""
    glow = [Pattern(f"glow of {e} e-", n, _glow(e)) for e in (30, 300, 3000) for n in (3, 10)]
    lognormal = [
        Pattern(f"lognormal dark, {median} e-, width {sigma:g}", n, _lognormal(median, sigma))
        for median in (50, 400)
        for sigma in (0.3, 0.5)
        for n in ((3, 10) if median == 400 else (3, 5, 25, 200))
    ]
    columns = [Pattern(f"columns of {errors} errors", 5, _lognormal(3, 0), _columns(errors)) for errors in (1, 2, 5)]
    averages = [Pattern(f"NDIT = {ndit}, 30 e-, width 0.3", 5, _lognormal(30, 0.3), ndit=ndit) for ndit in (1, 10, 100)]
    rows = [*glow, *lognormal, *columns, *averages]
    return [row for row in rows if row.frames <= 5] if quick else rows


def pattern_pulls(pattern: Pattern, seed: int) -> PatternPulls:
    """Simulate a detector, and compare the values of its master with the truth."""
    rng = np.random.default_rng([seed, pattern.frames])
    signal_e, pattern_e, ndit = pattern.signal_e(rng), pattern.pattern_e(rng), pattern.ndit
    truth = signal_e + pattern_e + 1000
    frames = [
        (rng.poisson(signal_e * ndit) / ndit + pattern_e + 1000 + rng.normal(0, NOISE_E / np.sqrt(ndit), SHAPE)).astype(
            np.float32
        )
        for _ in range(pattern.frames)
    ]
    stack = clip_and_stack(frames, shot_scale=1 / ndit, unit="electron")
    noise_map = create_noise_map(stack)
    good = noise_map.codes == 0
    pulls = (stack.master.data - truth) / stack.master.uncertainty.array
    low, high = np.quantile(truth, (DARKEST, BRIGHTEST))
    qc = {value.name: value.value for value in noise_values(stack, noise_map, 0.0)}
    everything, dark, bright = (float(pulls[good & part].std()) for part in (good, truth <= low, truth >= high))
    return PatternPulls(pattern.name, pattern.frames, everything, dark, bright, float(qc["PULL STD"] or np.nan))
