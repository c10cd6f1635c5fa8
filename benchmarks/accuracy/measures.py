"""Compare a master dark with the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soxspipe.pixel_codes import PixelCode

from .reductions import Reduction
from .scenes import Darks, Truth

#: Share of a Gaussian beyond three sigmas.
BEYOND_THREE = 0.0026998
#: Ranges of the amplitudes of hot pixels for their completeness, sigmas of the master.
AMPLITUDES = ((4.0, 5.0), (5.0, 6.0), (6.0, 8.0), (8.0, 12.0), (12.0, math.inf))
#: Most signal of a hot pixel whose value counts, electron: brighter ones may saturate.
BRIGHTEST_E = 3e4
#: Steps of the telegraph pixels that count, read noises.
TELEGRAPH_STEP = (8.0, 15.0)
#: Share of the true sigma below which an error counts as zero: all samples of the pixel are the same number.
NO_ERROR = 0.01
#: Bins of the histograms in the figures.
PULL_EDGES = np.linspace(-8.0, 8.0, 161)
AMPLITUDE_EDGES = np.arange(3.0, 16.01, 0.5)


@dataclass
class Measures:
    """The accuracy of one reduction of a scene; shares and ratios have no unit.

    Attributes
    ----------
    scene, by : str
        Name of the scene, and of the program.
    bias_e : float
        Mean of value - truth over good pixels without a code, electron.
    residual : float
        Standard deviation of value - truth over that of a perfect mean of all samples.
    pull_std, pull_tail : float
        Standard deviation of (value - truth) / error, and its share beyond 3 over that of a Gaussian.
    pull_dark, pull_bright : float
        Standard deviation of the pulls of the good pixels with the lowest and the highest 5 % of the true dark signal.
    boxes : tuple of float
        Error of means of 10 x 10 and of 100 x 100 pixels over that of independent pixels.
    no_error : int
        Number of good pixels whose error is zero: they have no pull.
    pixels : int
        Number of good pixels. They have no defect in the simulation.
    hit_pixels, hits_in_value, hits_left : int
        Number of good pixels with a cosmic ray; of those more than 5 sigmas above the truth; and of the latter
        without a code. The sigma is that of a perfect mean of the samples that were kept.
    completeness : list of (int, int)
        Number of hot pixels found, and of all, for each range of amplitudes.
    hot_ratio : float
        Median of measured over true excess of hot pixels above 12 sigmas.
    false_hot, false_all : int
        Number of good pixels with the code hot, and with any code. Pixels with two or more cosmic rays do not count.
    double_hits : int
        Number of good pixels with a code and two or more cosmic rays.
    telegraph, telegraph_fair : (int, int)
        Number of telegraph pixels with steps of 8 to 15 read noises found, and of all; the same for those that show
        each state at least twice.
    blocks, columns : list of float
        Share of the pixels with a code, for each injected block and column.
    seconds : float
        Time of the reduction.
    qc : dict
        Measured and true QC values by name.
    pull_histogram, found_histogram, hot_histogram : ndarray of int
        Number of pulls, and by amplitude of hot pixels found and of all hot pixels.
    """

    scene: str
    by: str
    bias_e: float
    residual: float
    pull_std: float
    pull_tail: float
    pull_dark: float
    pull_bright: float
    boxes: tuple[float, float]
    no_error: int
    pixels: int
    hit_pixels: int
    hits_in_value: int
    hits_left: int
    completeness: list[tuple[int, int]]
    hot_ratio: float
    false_hot: int
    false_all: int
    double_hits: int
    telegraph: tuple[int, int]
    telegraph_fair: tuple[int, int]
    blocks: list[float]
    columns: list[float]
    seconds: float
    qc: dict[str, tuple[float, float]]
    pull_histogram: NDArray[np.intp] = field(repr=False)
    found_histogram: NDArray[np.intp] = field(repr=False)
    hot_histogram: NDArray[np.intp] = field(repr=False)

    def per_million(self, number: int) -> float:
        """Return a number of good pixels per million good pixels."""
        return 1e6 * number / self.pixels


def measure(darks: Darks, reduction: Reduction) -> Measures:
    """Return the accuracy of a reduction."""
    truth, codes = darks.truth, reduction.codes
    clean = truth.codes == 0
    good = clean & (codes == 0)
    residual = reduction.value_e - truth.level_e
    bias = float(residual[good].mean(dtype=np.float64))
    # an error of the common level is the bias, not scatter
    residual = residual - np.float32(bias)
    known = good & (reduction.error_e > NO_ERROR * truth.sigma_e)
    pull = residual[known] / reduction.error_e[known]
    dark_e = truth.dark_e[known]
    perfect = math.sqrt(np.square(truth.sigma_e[good], dtype=np.float64).mean())
    hit = clean & (truth.hits > 0)
    common = np.square(truth.common_sigma_e)
    n_over_kept = len(darks.stack.arrays) / np.maximum(reduction.count, 1)
    in_value = hit & (residual > 5 * np.sqrt((np.square(truth.sigma_e) - common) * n_over_kept + common))
    single = clean & (truth.hits < 2)
    hot = np.flatnonzero((truth.codes == PixelCode.HOT.value) & (truth.hot_e > 0))
    amplitude = truth.hot_e.ravel()[hot] / truth.sigma_e.ravel()[hot]
    found = codes.ravel()[hot] & PixelCode.HOT.value > 0
    bright = hot[(amplitude > AMPLITUDES[-1][0]) & (truth.hot_e.ravel()[hot] < BRIGHTEST_E)]
    excess = residual.ravel()[bright] + truth.hot_e.ravel()[bright]
    coded = codes.ravel() != 0
    return Measures(
        scene=darks.scene.name,
        by=reduction.by,
        bias_e=bias,
        residual=float(residual[good].std(dtype=np.float64)) / perfect,
        pull_std=float(pull.std(dtype=np.float64)),
        pull_tail=float((np.abs(pull) > 3).mean()) / BEYOND_THREE,
        pull_dark=float(pull[dark_e <= np.quantile(dark_e, 0.05)].std(dtype=np.float64)),
        pull_bright=float(pull[dark_e >= np.quantile(dark_e, 0.95)].std(dtype=np.float64)),
        boxes=(_box_error(residual, reduction.error_e, known, 10), _box_error(residual, reduction.error_e, known, 100)),
        no_error=int(good.sum() - known.sum()),
        pixels=int(clean.sum()),
        hit_pixels=int(hit.sum()),
        hits_in_value=int(in_value.sum()),
        hits_left=int((in_value & good).sum()),
        completeness=_completeness(amplitude, found),
        hot_ratio=float(np.median(excess / truth.hot_e.ravel()[bright])) if bright.size else math.nan,
        false_hot=int(((codes & PixelCode.HOT.value > 0) & single).sum()),
        false_all=int(((codes != 0) & single).sum()),
        double_hits=int(((codes != 0) & clean & ~single).sum()),
        telegraph=_telegraph(truth, codes, fair=False),
        telegraph_fair=_telegraph(truth, codes, fair=True),
        blocks=[float(coded[pixels].mean()) for pixels in truth.blocks],
        columns=[float(coded[pixels].mean()) for pixels in truth.columns],
        seconds=reduction.seconds,
        qc=_quality(darks, reduction, good),
        pull_histogram=np.histogram(pull, PULL_EDGES)[0],
        found_histogram=np.histogram(amplitude[found], AMPLITUDE_EDGES)[0],
        hot_histogram=np.histogram(amplitude, AMPLITUDE_EDGES)[0],
    )


def _box_error(residual: NDArray[np.float32], error: NDArray[np.float32], good: NDArray[np.bool_], side: int) -> float:
    """Return the rms of box sums of the good residuals over the root of the sums of their squared errors."""
    ny, nx = (length // side for length in good.shape)

    def sums(image: NDArray[Any]) -> NDArray[np.float64]:
        image = np.where(good, image, 0)[: ny * side, : nx * side]
        return np.asarray(image.reshape(ny, side, nx, side).sum(axis=(1, 3), dtype=np.float64))

    filled = sums(good) > 0.5 * side**2
    with np.errstate(invalid="ignore", over="ignore"):  # pixels without a value take no part
        totals, variances = sums(residual)[filled], sums(np.square(error))[filled]
    return float(np.sqrt(np.mean(totals**2 / variances))) if filled.any() else math.nan


def _completeness(amplitude: NDArray[np.float32], found: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the number of hot pixels found, and of all, for each range of amplitudes."""
    ranges = [(amplitude > low) & (amplitude <= high) for low, high in AMPLITUDES]
    return [(int(found[inside].sum()), int(inside.sum())) for inside in ranges]


def _telegraph(truth: Truth, codes: NDArray[np.integer[Any]], *, fair: bool) -> tuple[int, int]:
    """Return the number of telegraph pixels found, and of all, among those whose step counts."""
    low, high = TELEGRAPH_STEP
    counted = (truth.telegraph_step >= low) & (truth.telegraph_step <= high)
    if fair:
        counted &= truth.telegraph_minority >= 2
    found = codes.ravel()[truth.telegraph[counted]] & PixelCode.NOISY.value > 0
    return int(found.sum()), int(counted.sum())


def _quality(darks: Darks, reduction: Reduction, good: NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
    """Return measured and true QC values; empty when the reduction has none."""
    if not reduction.qc:
        return {}
    truth, n = darks.truth, len(darks.stack.arrays)
    variance = np.square(truth.sigma_e[good], dtype=np.float64)
    common = np.square(truth.common_sigma_e[good], dtype=np.float64)
    row_noise_e = darks.scene.simulation.physics().row_noise_e / math.sqrt(darks.scene.simulation.ndit)
    # both are measured on differences of frames: there the expected row noise counts, not the simulated variance
    sigma = math.sqrt((variance - common).mean() - truth.rows_variance + row_noise_e**2 / n)
    levels = truth.level_e[good].astype(np.float64)
    expected = {
        "RON RAW": sigma * math.sqrt(n),
        "RON MASTER": sigma,
        "FPN": math.sqrt(levels.var() + common.mean()),
        "MDARK MEAN": float(levels.mean()),
        "PULL STD": 1.0,
        "CRRATE": darks.scene.simulation.physics().cosmic_rays_per_cm2_s,
    }
    return {name: (reduction.qc[name], value) for name, value in expected.items() if name in reduction.qc}
