"""Outliers of a series of values: those far from the running median of the values before them."""

from __future__ import annotations

import numpy as np

__all__ = ["OUTLIER_SIGMA", "WINDOW", "deviations"]

#: Deviation from which a value is an outlier, standard deviations. One of a million values of noise exceeds it.
OUTLIER_SIGMA = 5.0
#: Number of values before a value that make its median; a step is the new normal after half of them.
WINDOW = 30
#: A median of fewer values is too uncertain: these series are not judged.
FEWEST = 8
#: Relative rounding of the values in float32, which the database and the page may have made.
ROUNDING = 1e-6


def deviations(values: np.ndarray, errors: np.ndarray | None = None) -> np.ndarray:
    """Return how far each value is from the running median of the values before it, in standard deviations.

    The median looks back only. A step is therefore an outlier from its first value on, as a person who watches the
    values day by day sees it. The standard deviation is that of the whole series about its running median, from the
    median absolute deviation; the error of the value itself, where it is larger.

    Parameters
    ----------
    values : numpy.ndarray, shape (n,)
        Values of one series in the order of time; NaN where there is none.
    errors : numpy.ndarray, shape (n,), optional
        Errors of the values, in their unit; NaN where there is none.

    Returns
    -------
    numpy.ndarray, shape (n,)
        Deviations; NaN where there is no value, and for a series of fewer than eight.
    """
    result = np.full(len(values), np.nan)
    known = np.isfinite(values)
    series = np.asarray(values, dtype=float)[known]
    if series.size < FEWEST:
        return result
    residuals = series - _running_median(series)
    # counts scatter by one at least; equal values by their rounding
    floor = 1.0 if np.all(series == np.round(series)) else ROUNDING * float(np.median(np.abs(series)))
    sigma = np.full(series.size, max(1.4826 * float(np.median(np.abs(residuals))), floor, np.finfo(float).tiny))
    if errors is not None:
        sigma = np.fmax(sigma, np.asarray(errors, dtype=float)[known])
    result[known] = residuals / sigma
    return result


def _running_median(series: np.ndarray) -> np.ndarray:
    """Return the median of the values before each value; of the first values for these."""
    median = np.empty(series.size)
    median[:FEWEST] = np.median(series[:WINDOW])
    for i in range(FEWEST, min(WINDOW, series.size)):
        median[i] = np.median(series[:i])
    if series.size > WINDOW:
        windows = np.lib.stride_tricks.sliding_window_view(series[:-1], WINDOW)
        median[WINDOW:] = np.median(windows, axis=1)
    return median
