"""Levels that the read-out electronics adds: measured on overscan columns, and on outputs that are read together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .robust import clipped_moments, nan_medians

__all__ = ["CommonMode", "OverscanLevels", "measure_overscan"]

#: Rows of the running mean of the overscan columns (docs/method, section 5).
OVERSCAN_WINDOW = 41
#: Samples and rows further out than this many standard deviations are outliers.
OUTLIER_SIGMA = 5.0
#: Overscan columns further out than this many robust standard deviations of the column levels are hot or dead.
COLUMN_SIGMA = 6.0
#: No pixel holds so many: a larger sample is no data.
LARGEST_SAMPLE = 1e12
#: Standard deviation of a Gaussian over its median absolute deviation.
STD_OVER_MAD = 1.4826
#: Rows over which the mean level of all amplifiers is smoothed: slower structure may be glow, and stays.
COMMON_WINDOW = 65
#: Fewer simultaneous samples than this have no common mode: a pixel would be a large part of its own correction.
FEWEST_OUTPUTS = 8


@dataclass(frozen=True)
class OverscanLevels:
    """Level of the overscan columns of one frame, in the unit of its samples.

    Attributes
    ----------
    mean : float
        Mean level; NaN where the columns hold no data.
    rows : ndarray of float64, shape (ny,)
        Level of each row. Its mean is ``mean``.
    spans : tuple of float
        Mean level of each span of columns.
    noise : float
        Standard deviation of a sample.
    row_error : float
        One-sigma error of a row's level about the mean, nearly the same for all rows of a window.
    wander : float
        Standard deviation of ``rows``.
    """

    mean: float
    rows: NDArray[np.float64]
    spans: tuple[float, ...]
    noise: float
    row_error: float
    wander: float


def measure_overscan(spans: Sequence[NDArray[np.float32]], step: float = 0.0) -> OverscanLevels:
    """Measure the level of each row from columns without light.

    Parameters
    ----------
    spans : sequence of ndarray of float32, shape (ny, columns)
        The prescan columns, the overscan columns, of one frame; NaN where there is no data. Any unit.
    step : float
        Quantisation step, in the same unit.

    Returns
    -------
    OverscanLevels

    Notes
    -----
    Outlying samples, columns (hot, dead) and rows (blooming) take no part. Each column counts from its own mean, so
    that a missing sample does not shift its row. The running mean over 41 rows is shrunk toward the frame's mean by
    the share of its variance that the noise of the samples explains: without wander no noise is added.
    """
    samples = np.concatenate(spans, axis=1)
    samples[~(np.abs(samples) < LARGEST_SAMPLE)] = np.nan
    ny, nx = samples.shape
    from_column = samples - nan_medians(np.ascontiguousarray(samples.T))
    row_medians = nan_medians(from_column)
    from_column -= row_medians[:, np.newaxis]
    _, noise = clipped_moments(from_column, step)
    good = np.abs(from_column) <= np.float32(OUTLIER_SIGMA * noise + 0.5 * step)
    # a median has 1.25 times the error of a mean, and is rounded
    windows = sliding_window_view(np.pad(row_medians, OVERSCAN_WINDOW // 2, mode="edge"), OVERSCAN_WINDOW)
    from_window = row_medians - nan_medians(windows)
    good &= _inliers(from_window, 1.25 * noise / math.sqrt(nx) + 0.2 * step, OUTLIER_SIGMA)[:, np.newaxis]
    count = good.sum(axis=0)
    columns = np.where(good, samples, 0).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
    kept = count > 0.5 * ny
    edges = np.cumsum([0, *(span.shape[1] for span in spans)])
    parts = [slice(*pair) for pair in itertools.pairwise(edges)]
    for part in parts:
        kept[part] &= _inliers(columns[part] - np.median(columns[part]), noise / math.sqrt(ny), COLUMN_SIGMA)
    if not kept.any():
        return OverscanLevels(np.nan, np.full(ny, np.nan), (np.nan,) * len(spans), np.nan, np.nan, np.nan)
    mean = float(columns[kept].mean())
    span_means = tuple(float(columns[part][kept[part]].mean()) if kept[part].any() else math.nan for part in parts)
    good &= kept
    rows, variance = _running_mean(np.where(good, samples - columns, 0).sum(axis=1), good.sum(axis=1), noise)
    wander = rows.var()
    share = max(0.0, 1.0 - variance / wander) if wander > 0 else 0.0
    rows = mean + share * (rows - rows.mean())
    return OverscanLevels(mean, rows, span_means, noise, share * math.sqrt(variance), share * math.sqrt(wander))


def _inliers(distance: NDArray[np.floating], error: float, sigma: float) -> NDArray[np.bool_]:
    """Return which distances are within some robust standard deviations, of at least ``error``."""
    size = np.abs(distance)
    spread = STD_OVER_MAD * float(np.nanmedian(size)) if np.isfinite(size).any() else 0.0
    return np.asarray(size <= sigma * max(spread, error))


def _running_mean(
    total: NDArray[np.float64], number: NDArray[np.intp], noise: float
) -> tuple[NDArray[np.float64], float]:
    """Return the running mean of rows, and the mean variance that the noise of the samples gives it.

    Parameters
    ----------
    total, number : ndarray, shape (ny,)
        Sum and number of the samples of each row.
    noise : float
        Standard deviation of a sample.
    """
    totals, numbers = (np.concatenate([[0.0], np.cumsum(each)]) for each in (total, number))
    row, half = np.arange(total.size), OVERSCAN_WINDOW // 2
    first, end = np.maximum(row - half, 0), np.minimum(row + half + 1, total.size)
    samples = np.maximum(numbers[end] - numbers[first], 1)  # a window without samples keeps the mean level, 0
    return (totals[end] - totals[first]) / samples, float(np.mean(noise**2 / samples))


class CommonMode:
    """The noise that amplifiers share because they read their samples at the same time.

    Parameters
    ----------
    images : iterable of ndarray of float32, shape (ny, nx)
        The light-sensitive rows of all frames, in all columns; NaN where there is no data. Any unit.
    regions : sequence of (int, int)
        First and end column of each amplifier.
    alternating : bool
        Whether every other amplifier reads its columns in reverse.

    Notes
    -----
    The median over the amplifiers is their common level at that time. Samples count from the level of their column, and
    from the smooth level of the rows of their frame, so that glow stays (docs/method, section 5). Slow 1/f noise stays
    too. It differs between the frames, so that the measured noise holds it.
    """

    def __init__(
        self, images: Iterable[NDArray[np.float32]], regions: Sequence[tuple[int, int]], *, alternating: bool
    ) -> None:
        columns, rows = [], []
        for image in images:
            columns.append(_column_levels(image))
            rows.append(_smooth_rows(np.nan_to_num(nan_medians(image - columns[-1]))))
        self._columns, self._rows = np.array(columns), np.array(rows)
        nx, width = self._columns.shape[1], max(end - first for first, end in regions)
        # the last amplifier of a sub-array may be cut: its missing samples point to a column of NaN
        self._outputs = np.full((width, len(regions)), nx)
        for number, (first, end) in enumerate(regions):
            time = np.arange(end - first)
            self._outputs[width - 1 - time if alternating and number % 2 else time, number] = np.arange(first, end)
        self._outputs[(self._outputs < nx).sum(axis=1) < FEWEST_OUTPUTS] = nx

    def remove(self, frame: int, start: int, image: NDArray[np.float32]) -> None:
        """Subtract the common mode of a frame from some of its rows, the first of which is ``start``."""
        residual = np.full((len(image), image.shape[1] + 1), np.nan, np.float32)
        residual[:, :-1] = image - self._columns[frame] - self._rows[frame, start : start + len(image), np.newaxis]
        common = np.nan_to_num(nan_medians(residual[:, self._outputs]))
        residual[...] = 0
        residual[:, self._outputs] = common[:, :, np.newaxis]
        image -= residual[:, :-1]


def _column_levels(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the clipped mean of each column."""
    levels = nan_medians(np.ascontiguousarray(image.T))
    distance = image - levels
    _, noise = clipped_moments(distance)
    good = np.abs(distance) <= np.float32(OUTLIER_SIGMA * noise)
    levels += np.where(good, distance, 0).sum(axis=0) / np.maximum(good.sum(axis=0), 1)
    return levels


def _smooth_rows(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the running mean of the levels of rows, and at both ends the line through the last window."""
    window, half, row = min(COMMON_WINDOW, rows.size), COMMON_WINDOW // 2, np.arange(rows.size)
    smooth = np.empty(rows.size)
    smooth[window // 2 : rows.size - (window - 1) // 2] = sliding_window_view(rows, window).mean(axis=1)
    for ends, inside in ((row[:half], row[:window]), (row[-half:], row[-window:])):
        smooth[ends] = np.polyval(np.polyfit(inside, rows[inside], 1), ends)
    return np.asarray(smooth + (rows.mean() - smooth.mean()), np.float32)
