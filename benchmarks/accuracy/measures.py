"""One line of the table: a master dark against the truth."""

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
#: Amplitudes of hot pixels, sigmas of the master, between which completeness is told.
AMPLITUDES = ((4.0, 5.0), (5.0, 6.0), (6.0, 8.0), (8.0, 12.0), (12.0, math.inf))
#: A sample above this share of the converter's range may be cut off: no hot value is taken from it.
BRIGHTEST_E = 3e4
#: Steps of the telegraph pixels that are judged, read noises.
TELEGRAPH_STEP = (8.0, 15.0)
#: Share of the true sigma below which an error is none: all samples of the pixel were the same number.
NO_ERROR = 0.01
#: Bins of the two histograms that the figures are drawn from.
PULL_EDGES = np.linspace(-8.0, 8.0, 161)
AMPLITUDE_EDGES = np.arange(3.0, 16.01, 0.5)


@dataclass
class Measures:
    """What a reduction of a scene comes to; shares and ratios are plain numbers.

    Attributes
    ----------
    scene, by : str
        Which scene, reduced by what.
    bias_e : float
        Mean of value - truth over good pixels that are called good, electron.
    residual : float
        Standard deviation of value - truth over that of a perfect mean of all samples.
    pull_std, pull_tail : float
        Standard deviation of (value - truth) / error; share of it beyond 3 over that of a Gaussian.
    no_error : int
        Good pixels whose error is zero: they have no pull.
    pixels : int
        Good pixels, that is without a defect in truth.
    hit_pixels, hits_in_value, hits_left : int
        Good pixels that a cosmic ray hit; those of them that stand more than 5 sigmas of a perfect mean of the
        samples that they kept above the truth; and those of these that are called good.
    completeness : list of (int, int)
        Hot pixels found and in all, by amplitude in sigmas of the master.
    hot_ratio : float
        Median of measured over true excess of hot pixels above 12 sigmas.
    false_hot, false_all : int
        Good pixels with the code hot, and with any code; those that two cosmic rays or more hit are not among
        them.
    double_hits : int
        Good pixels with a code that two cosmic rays or more hit.
    telegraph, telegraph_fair : (int, int)
        Telegraph pixels with steps of 8 to 15 read noises found and in all; the same for those that show each
        state at least twice.
    blocks, columns : list of float
        Share of the pixels of each injected block and column that have a code.
    qc : dict
        QC values by name, and what they should be.
    """

    scene: str
    by: str
    bias_e: float
    residual: float
    pull_std: float
    pull_tail: float
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
        """Return a number of good pixels as one of a million."""
        return 1e6 * number / self.pixels


def measure(darks: Darks, reduction: Reduction) -> Measures:
    """Compare a master dark with the truth."""
    truth, codes = darks.truth, reduction.codes
    clean = truth.codes == 0
    good = clean & (codes == 0)
    residual = reduction.value_e - truth.level_e
    bias = float(residual[good].mean(dtype=np.float64))
    # a level that is wrong for the whole master is told as such, and is not to hide in the scatter
    residual -= np.float32(bias)
    known = good & (reduction.error_e > NO_ERROR * truth.sigma_e)
    pull = residual[known] / reduction.error_e[known]
    perfect = math.sqrt(np.square(truth.sigma_e[good], dtype=np.float64).mean())
    hit = clean & (truth.hits > 0)
    common = np.square(truth.common_sigma_e)
    few = len(darks.stack.arrays) / np.maximum(reduction.count, 1)
    spoilt = hit & (residual > 5 * np.sqrt((np.square(truth.sigma_e) - common) * few + common))
    once = clean & (truth.hits < 2)
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
        no_error=int(good.sum() - known.sum()),
        pixels=int(clean.sum()),
        hit_pixels=int(hit.sum()),
        hits_in_value=int(spoilt.sum()),
        hits_left=int((spoilt & good).sum()),
        completeness=_completeness(amplitude, found),
        hot_ratio=float(np.median(excess / truth.hot_e.ravel()[bright])) if bright.size else math.nan,
        false_hot=int(((codes & PixelCode.HOT.value > 0) & once).sum()),
        false_all=int(((codes != 0) & once).sum()),
        double_hits=int(((codes != 0) & clean & ~once).sum()),
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


def _completeness(amplitude: NDArray[np.float32], found: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Hot pixels found and in all, for each range of amplitudes."""
    ranges = [(amplitude > low) & (amplitude <= high) for low, high in AMPLITUDES]
    return [(int(found[inside].sum()), int(inside.sum())) for inside in ranges]


def _telegraph(truth: Truth, codes: NDArray[np.integer[Any]], *, fair: bool) -> tuple[int, int]:
    """Telegraph pixels found and in all, of those with a step in the range that is judged."""
    low, high = TELEGRAPH_STEP
    judged = (truth.telegraph_step >= low) & (truth.telegraph_step <= high)
    if fair:
        judged &= truth.telegraph_minority >= 2
    found = codes.ravel()[truth.telegraph[judged]] & PixelCode.NOISY.value > 0
    return int(found.sum()), int(judged.sum())


def _quality(darks: Darks, reduction: Reduction, good: NDArray[np.bool_]) -> dict[str, tuple[float, float]]:
    """QC values beside what they should be; empty where the reduction gives none."""
    if not reduction.qc:
        return {}
    truth, n = darks.truth, len(darks.stack.arrays)
    variance = np.square(truth.sigma_e[good], dtype=np.float64)
    common = np.square(truth.common_sigma_e[good], dtype=np.float64)
    row_noise_e = darks.scene.simulation.physics().row_noise_e
    # both figures come from differences of frames, whose rows differ as expected, not as the mean of all happens to
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
