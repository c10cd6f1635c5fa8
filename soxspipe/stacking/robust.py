"""Moments and medians that outliers, missing values and rounded values do not spoil."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLIP_SIGMA",
    "CLIP_VARIANCE",
    "clipped_moments",
    "finite_median",
    "grouped_median",
    "nan_medians",
    "student_factor",
]

#: Clip of the moments, and the part of a Gaussian's variance within it (docs/method, section 2).
CLIP_SIGMA = 4.0
CLIP_VARIANCE = 0.9989
#: Values from which a clip gets its start.
START_VALUES = 1024
#: Values that are summed at once, so that they stay in the cache.
CHUNK = 2**15


def clipped_moments(
    values: NDArray[Any], step: float = 0.0, sigma: float = CLIP_SIGMA, iterations: int = 10
) -> tuple[float, float]:
    """Return the sigma-clipped mean and standard deviation.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Any unit; NaN are left out.
    step : float
        Quantisation step, in the same unit.
    sigma : float
        Clip about the mean, in standard deviations.
    iterations : int
        Most iterations of the clip.

    Returns
    -------
    mean, std : float
        NaN where there are no values. The standard deviation is not corrected for the clip: at 4 sigma it is 0.05 %
        too small for a Gaussian.

    Notes
    -----
    The clip starts from the median and the central 68 % of a thousand of the values, so that outliers below 16 % of
    the values, even bright ones, do not decide where it ends.
    """
    values = np.ravel(values)
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    if values.size == 0:
        return np.nan, np.nan
    sample = np.sort(values[:: max(1, values.size // START_VALUES) | 1])
    low, middle, high = (sample[int(sample.size * quantile)] for quantile in (0.1587, 0.5, 0.8413))
    mean, std = float(middle), 0.5 * float(high - low)
    if std == 0.0:  # more than two thirds of the values are equal: quantised, or constant
        std = float(values.std(dtype=np.float64))
    count_before = 0
    for _ in range(iterations):
        count, total, squares = _sums_within(values, mean, sigma * std + 0.5 * step)
        if count in (count_before, 0):
            break
        count_before = count
        mean, std = mean + total / count, math.sqrt(max(squares / count - (total / count) ** 2, 0.0))
    return mean, std


def _sums_within(values: NDArray[Any], centre: float, reach: float) -> tuple[int, float, float]:
    """Count the values within reach of a centre, and sum them and their squares about it."""
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK]
        distance = chunk[np.abs(chunk - np.float32(centre)) <= np.float32(reach)] - np.float64(centre)
        count += distance.size
        total += float(distance.sum())
        squares += float(np.square(distance, out=distance).sum())
    return count, total, squares


def nan_medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the medians along the last axis without NaN.

    Parameters
    ----------
    values : ndarray of float32, shape (..., n)
        Any unit.

    Returns
    -------
    ndarray of float32, shape (...)
        NaN where all values are NaN.

    Notes
    -----
    `numpy.sort` takes a fifth of the time of `numpy.nanmedian`.
    """
    lines = values.reshape(-1, values.shape[-1])
    length = lines.shape[1]
    ordered = np.sort(lines, axis=1)  # NaN come last
    medians: NDArray[np.float32] = np.float32(0.5) * (ordered[:, (length - 1) // 2] + ordered[:, length // 2])
    incomplete = np.flatnonzero(np.isnan(ordered[:, -1]))
    rest = ordered[incomplete]
    count = length - np.isnan(rest).sum(axis=1)
    line = np.arange(incomplete.size)
    medians[incomplete] = np.float32(0.5) * (rest[line, np.maximum(count - 1, 0) // 2] + rest[line, count // 2])
    return medians.reshape(values.shape[:-1])


def finite_median(values: NDArray[np.float32]) -> float:
    """Return the median of the finite values, 0 without any."""
    median = float(nan_medians(values.ravel())) if values.size else 0.0
    return median if np.isfinite(median) else 0.0


def grouped_median(values: NDArray[Any], step: float = 0.0, *, overwrite_input: bool = False) -> float:
    """Return the median of values that were rounded to multiples of a step.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite values.
    step : float
        Quantisation step; 0 gives the plain median.
    overwrite_input : bool
        Whether the values may be changed, which saves two copies of them.

    Returns
    -------
    float

    Notes
    -----
    A rounded value v stands for the interval from v - step/2 to v + step/2. The median is where half of the values are
    below if they spread evenly over that interval (docs/method, section 2).
    """
    median = float(np.median(values, overwrite_input=overwrite_input))
    if step <= 0.0:
        return median
    below = int(np.count_nonzero(values < median - 0.5 * step))
    distance = np.subtract(values, median, out=values if overwrite_input else None)
    equal = int(np.count_nonzero(np.abs(distance, out=distance) <= 0.5 * step))
    return median + step * ((0.5 * values.size - below) / equal - 0.5) if equal else median


def student_factor(dof: int) -> float:
    """Return the factor to a standard error from few values after which two errors are exceeded as in a Gaussian.

    Parameters
    ----------
    dof : int
        Degrees of freedom of the standard error, at least 1.

    Returns
    -------
    float
        2.26 for three values, 1 for many.
    """
    from scipy.special import ndtr, stdtrit

    return 0.5 * float(stdtrit(dof, ndtr(2.0)))
