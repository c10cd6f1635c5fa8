"""QC values of a master bias, from its arrays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..stacking.clip_and_stack import StackResult
from ..stacking.create_noise_map import NoiseMap
from ..stacking.robust import clipped_moments, nan_medians
from .noise import noise_values
from .stack import (
    StackContext,
    drift_values,
    level_error,
    level_variance,
    mean_profile,
    measure_level,
    pixel_values,
    structure_values,
)
from .table import QCValue, measured

__all__ = ["bias_quality", "count_hot_columns", "profile_structure"]

#: Neighbouring columns whose median level a column is compared with.
COLUMN_NEIGHBOURS = 33
#: A column is hot from this many standard deviations of all columns above its neighbours.
HOT_COLUMN_SIGMA = 5.0
#: Standard deviation of a Gaussian over its median absolute deviation; error of a median over that of the mean.
MAD_SIGMA, MEDIAN_ERROR = 1.4826, 1.2533


def bias_quality(stack: StackResult, noise_map: NoiseMap, context: StackContext) -> list[QCValue]:
    """Measure the QC values of a master bias.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    noise_map : NoiseMap
        All pixel codes, and the width of the normalised residuals.
    context : StackContext
        Pedestals, times, temperatures.

    Returns
    -------
    list of QCValue
    """
    good = noise_map.codes == 0
    level = measure_level(stack, good, context)
    pedestals = np.zeros(stack.n_frames) if context.pedestals_e is None else context.pedestals_e
    variance = level_variance(stack, max(int(np.count_nonzero(good)), 1))
    variance += float(np.var(pedestals, ddof=1)) / stack.n_frames
    image, used = context.orient(stack.master.data), context.orient(good)
    noise = stack.noise_model.mean_read_noise_e / math.sqrt(stack.n_frames)
    known = np.isfinite(image)
    return [
        measured("BIAS LEVEL", float(level.mean + pedestals.mean())),
        measured("BIAS LEVEL ERR", level_error(variance, stack.n_frames)),
        measured("BIAS MEDIAN", level.median),
        measured("BIAS STDEV", level.std),
        *noise_values(stack, noise_map, level.std),
        *structure_values(stack, good, context),
        measured("ROW STRUCT", profile_structure(image, used, 1, noise)),
        measured("COL STRUCT", profile_structure(image, used, 0, noise)),
        measured("HOTCOL NUM", count_hot_columns(np.where(known, image, np.float32(np.nan)), noise)),
        *pixel_values(noise_map),
        *drift_values(stack, context),
    ]


def count_hot_columns(image: NDArray[np.float32], noise_e: float) -> int:
    """Count the columns that lie above their neighbours.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx), electron
        A master bias; NaN where there is no data.
    noise_e : float
        Noise of a pixel, electron.

    Returns
    -------
    int

    Notes
    -----
    The level of a column is its median. Columns scatter by the pattern of the detector and by the noise of a median;
    the larger of both is the standard deviation that counts.
    """
    from scipy.ndimage import median_filter

    level = nan_medians(np.ascontiguousarray(image.T))
    known = np.isfinite(level)
    if not known.any():
        return 0
    level = np.where(known, level, np.float32(np.median(level[known])))
    above = level - median_filter(level, size=min(COLUMN_NEIGHBOURS, level.size), mode="nearest")
    pattern = MAD_SIGMA * float(np.median(np.abs(above[known])))
    noise = MEDIAN_ERROR * noise_e / math.sqrt(len(image))
    return int(np.count_nonzero(above[known] > HOT_COLUMN_SIGMA * max(pattern, noise)))


def profile_structure(image: NDArray[np.float32], used: NDArray[np.bool_], axis: int, noise_e: float) -> float:
    """Return the rms of a mean profile beyond the noise of its pixels.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx), electron
        A master bias.
    used : ndarray of bool, shape (ny, nx)
        Pixels that count.
    axis : int
        Axis that is averaged: 1 gives the profile of the rows, 0 that of the columns.
    noise_e : float
        Noise of a pixel, electron.

    Returns
    -------
    float
        In electron; 0 for a profile that is flat within its noise, NaN with fewer than two rows or columns.
    """
    profile, count = mean_profile(image, used, axis)
    if profile.size < 2:
        return math.nan
    variance = clipped_moments(profile)[1] ** 2 - noise_e**2 * float(np.mean(1 / count[count > 0]))
    return math.sqrt(max(variance, 0.0))
