"""QC values of the noise of a stack, from the difference of its halves and the scatter of its pixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stacking.band_combiner import HALF_ROWS
from ..stacking.clip_and_stack import StackResult
from ..stacking.create_noise_map import NoiseMap
from ..stacking.robust import CLIP_SIGMA, CLIP_VARIANCE, clipped_moments
from .table import QCValue, measured

__all__ = ["false_codes", "noise_values", "pull_histogram"]

#: Side of the boxes whose means show correlated noise: the rows of the halves come in groups of so many.
BOX = HALF_ROWS
#: The central 68 % of a distribution; relative error of their half width, times sqrt(values), for a Gaussian.
CENTRAL, QUANTILE_ERROR = (0.1587, 0.8413), 0.96
#: Nodes of the sum over the noise of the pixels.
SPREAD_NODES = np.linspace(-5, 5, 201)
#: Edges of the histogram of the pulls.
PULL_EDGES = np.linspace(-6, 6, 97)


def noise_values(
    stack: StackResult, noise_map: NoiseMap, total_e: float, hot_sigma: float = 5.0, cold_sigma: float = 5.0
) -> list[QCValue]:
    """Measure the noise of single frames and of the master, and whether the errors of the master are right.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    noise_map : NoiseMap
        All pixel codes.
    total_e : float
        Clipped standard deviation of the good pixels, electron.
    hot_sigma, cold_sigma : float
        Thresholds of hot and cold pixels.

    Returns
    -------
    list of QCValue

    Notes
    -----
    A and B are the means of the nA odd and nB even frames. ``z = (A - B) sqrt(nA nB) / (N err)`` has the standard
    deviation 1 where the errors are right, for any pattern of the detector (docs/method, section 3).
    """
    n, model = stack.n_frames, stack.noise_model
    rows, error = _sample(stack)
    half = _half_noise(stack)
    complete = np.isfinite(half)
    half[noise_map.codes[rows] != 0] = np.nan
    master, pull = (clipped_moments(values)[1] / math.sqrt(CLIP_VARIANCE) for values in (half, half / error))
    boxes, lines = _correlation(half / error / np.float32(pull), rows, stack)
    spread, spread_error = _noise_spread((np.square(stack.noise[rows]) / (np.square(error) * n))[complete], n)
    sigma = noise_map.residual_width
    false = false_codes(spread, hot_sigma * sigma, cold_sigma * sigma) * stack.count.size
    pattern = math.sqrt(max(total_e**2 / CLIP_VARIANCE - master**2, 0.0))
    amplifiers = model.read_noise_e if len(model.regions) > 1 else ()
    return [
        measured("RON RAW", model.mean_read_noise_e),
        measured("RON MASTER", master),
        measured("RON MASTER RATIO", pull),
        measured("RON CORR", boxes),
        measured("RON CORR ROW", lines),
        measured("RON SPREAD", spread, note=f"some {false:.0f} pixels are hot or cold by their noise alone"),
        measured("RON SPREAD ERR", spread_error),
        measured("RON SPREAD FALSE", false),
        measured("FPN", pattern),
        measured("PULL STD", pull),
        measured("HOTPIX SIGMA", sigma),
        *(measured("RON RAW{i}", float(value), number=i) for i, value in enumerate(amplifiers, 1)),
    ]


def pull_histogram(stack: StackResult, noise_map: NoiseMap) -> dict[str, Any]:
    """Return the histogram of the pulls of the halves: ``z`` of `noise_values` in the sampled good pixels.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    noise_map : NoiseMap
        All pixel codes.

    Returns
    -------
    dict
        As JSON holds it: ``low`` and ``high`` end, ``counts`` of bins of equal width, and the pulls ``outside``.
    """
    rows, error = _sample(stack)
    with np.errstate(divide="ignore", invalid="ignore"):  # pixels without data
        pull = (_half_noise(stack) / error)[noise_map.codes[rows] == 0]
    known = pull[np.isfinite(pull)]
    counts = np.histogram(known, PULL_EDGES)[0]
    return {
        "low": float(PULL_EDGES[0]),
        "high": float(PULL_EDGES[-1]),
        "counts": counts.tolist(),
        "outside": known.size - int(counts.sum()),
    }


def _half_noise(stack: StackResult) -> NDArray[np.float32]:
    """Return the difference of the halves, scaled to the noise of the master; NaN in pixels without all samples."""
    n = stack.n_frames
    return stack.half_difference * np.float32(math.sqrt((n + 1) // 2 * (n // 2)) / n)


def _sample(stack: StackResult) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the rows of the halves, and their errors without the part that is common."""
    rows = stack.half_rows
    error: NDArray[np.float32] = stack.master.uncertainty.array[rows]
    if stack.common_error is not None:
        error = np.sqrt(np.square(error) - np.square(stack.common_error[rows]))
    return rows, error


def _correlation(z: NDArray[np.float32], rows: NDArray[np.intp], stack: StackResult) -> tuple[float, float]:
    """Return the scatter of the means of boxes and of rows, over that of independent pixels."""
    for region_rows, columns in stack.noise_model.regions:  # the offset of a frame is not that of the master
        inside = np.flatnonzero((rows >= region_rows.start) & (rows < region_rows.stop))
        if inside.size:
            z[inside, columns] -= np.float32(clipped_moments(z[inside, columns])[0])
    down, along = z.shape[0] // BOX, z.shape[1] // BOX
    boxes = z[: down * BOX, : along * BOX].reshape(down, BOX, along, BOX).swapaxes(1, 2).reshape(-1, BOX * BOX)
    return _scatter_of_means(boxes), _scatter_of_means(z)


def _scatter_of_means(groups: NDArray[np.float32]) -> float:
    """Return the clipped standard deviation of sums over sqrt(values); of groups that are complete to a half."""
    known = np.isfinite(groups)
    count = np.count_nonzero(known, axis=1)
    sums = groups.sum(axis=1, dtype=np.float64, where=known)
    used = 2 * count > groups.shape[1]
    return clipped_moments(sums[used] / np.sqrt(count[used]))[1] / math.sqrt(CLIP_VARIANCE)


def _noise_spread(ratio: NDArray[np.float32], n_frames: int) -> tuple[float, float]:
    """Return the spread of the noise of pixels, from temporal variances over those of the noise model.

    The logarithm of a variance of N samples has a known width; that of the noise of the pixels adds to it in squares.
    The width is that of the central 68 %: cosmic rays and telegraph pixels do not count.
    """
    from scipy.special import gammaincinv

    if not ratio.size:
        return math.nan, math.nan
    measured, expected = (
        0.5 * math.log(high / low)
        for low, high in (np.quantile(ratio, CENTRAL), gammaincinv(0.5 * (n_frames - 1), CENTRAL))
    )
    squared = 0.25 * (measured**2 - expected**2)
    uncertain = 0.5 * QUANTILE_ERROR * measured**2 / math.sqrt(ratio.size)
    value = math.sqrt(max(squared, 0.0))
    return value, min(math.sqrt(uncertain), 0.5 * uncertain / value) if value else math.sqrt(uncertain)


def false_codes(spread: float, hot_sigma: float, cold_sigma: float) -> float:
    """Return the share of good pixels that the spread of their noise takes beyond the thresholds.

    Parameters
    ----------
    spread : float
        Relative standard deviation of the noise of pixels (lognormal).
    hot_sigma, cold_sigma : float
        Thresholds, in errors.

    Returns
    -------
    float
        Without the share of a Gaussian.
    """
    from scipy.special import erf, erfc

    weights = np.exp(-0.5 * np.square(SPREAD_NODES))
    noise = np.exp(spread * SPREAD_NODES)
    width = 1.0
    for _ in range(10):  # the unit of the errors is the clipped width of all pixels
        reach = CLIP_SIGMA * width / noise
        inside = erf(reach / math.sqrt(2))
        variance = np.square(noise) * (inside - reach * np.exp(-0.5 * np.square(reach)) * math.sqrt(2 / math.pi))
        width = math.sqrt(np.sum(weights * variance) / np.sum(weights * inside) / CLIP_VARIANCE)
    sigmas = np.array([[hot_sigma], [cold_sigma]]) / math.sqrt(2)
    tails = 0.5 * (erfc(sigmas * width / noise) - erfc(sigmas)).sum(axis=0)
    return float(np.average(tails, weights=weights))
