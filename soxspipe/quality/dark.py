"""QC values of a master dark, from its arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..pixel_codes import PixelCode
from ..stacking.clip_and_stack import StackResult
from ..stacking.create_noise_map import NoiseMap
from .definitions import DEFINITIONS, HOT_LEVELS
from .stack import (
    Level,
    StackContext,
    drift_values,
    level_variance,
    measure_level,
    noise_values,
    pixel_values,
    structure_values,
)
from .table import QCValue, measured

__all__ = ["DarkContext", "count_groups", "dark_quality"]

#: A limit below this many errors counts noise.
HOT_LEVEL_ERRORS = 5.0
#: Every 37th pixel is enough for the median error; an odd number, as an even one meets one column parity only.
ERROR_STRIDE = 37
#: Part of each side that a corner and the centre take.
CORNER, CENTRE = 1 / 16, 1 / 4


@dataclass(frozen=True, kw_only=True)
class DarkContext(StackContext):
    """Properties of raw darks that the arrays of their stack do not hold.

    Attributes
    ----------
    exptime_s : float
        Exposure that the counts belong to (one DIT), second.
    pedestal_removed : bool
        Whether the pedestal was subtracted from the frames. If not, the level is pedestal + dark and gives only
        an upper limit of the dark current.
    ndit : int
        Exposures averaged in a frame.
    hot_sigma : float
        Threshold of the hot pixels.
    bias_error : ndarray of float32, shape (ny, nx), electron, or None
        Error of a subtracted master bias.
    pedestal_from_bias : bool
        Whether the mean pedestal is that of the master bias, which was taken at another time.
    pixel_area_cm2 : float
        Area of a pixel, binning included.
    """

    exptime_s: float
    pedestal_removed: bool
    ndit: int = 1
    hot_sigma: float = 5.0
    bias_error: NDArray[np.float32] | None = None
    pedestal_from_bias: bool = False
    pixel_area_cm2: float = math.nan


def dark_quality(stack: StackResult, noise_map: NoiseMap, context: DarkContext) -> list[QCValue]:
    """Measure the QC values of a master dark.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    noise_map : NoiseMap
        All pixel codes, and the width of the normalised residuals.
    context : DarkContext
        Exposure, times, temperatures.

    Returns
    -------
    list of QCValue
    """
    good = noise_map.codes == 0
    level = measure_level(stack, good, context)
    return [
        *_levels(stack, good, level, context),
        *noise_values(stack, level),
        measured("PULL STD", noise_map.residual_width),
        *_bias_noise(context),
        *structure_values(stack, good, context),
        _contamination(stack),
        *pixel_values(noise_map),
        *_dark_pixels(stack, noise_map, context),
        measured("CRRATE", _cosmic_ray_rate(stack, noise_map, context) if _same_temperature(context) else None),
        *drift_values(stack, context),
    ]


def _levels(stack: StackResult, good: NDArray[np.bool_], level: Level, context: DarkContext) -> list[QCValue]:
    """Measure the level of the good pixels and the dark current that follows from it."""
    current, error = level.mean / context.exptime_s, _level_error(stack, good, context) / context.exptime_s
    # with the pedestal in it, or below its own error, the level only limits the dark current from above
    limit = not context.pedestal_removed or not abs(current) > 3 * error
    return [
        measured("MDARK MEDIAN", level.median),
        measured("MDARK MEAN", level.mean),
        measured("MDARK STDEV", level.std),
        measured("DARK CURRENT", current, judged=not limit),
        measured("DARK CURRENT ERR", error),
        measured("DARK CURRENT LIMIT", limit),
    ]


def _level_error(stack: StackResult, good: NDArray[np.bool_], context: DarkContext) -> float:
    """Return the one-sigma error of the mean level, electron."""
    n_pixels = max(int(np.count_nonzero(good)), 1)
    variance = level_variance(stack, n_pixels)
    if context.bias_error is not None:
        variance += float(np.nanmean(np.square(context.bias_error[good], dtype=np.float64))) / n_pixels
    if context.pedestal_from_bias:
        # the bias drifted as the frames did; an overscan that took the frames' drift hides that of their mean too
        levels, pedestals = stack.noise_model.frame_level_e, context.pedestals_e
        drift = np.var(levels, ddof=1) if pedestals is None else 2 * np.var(pedestals, ddof=1)
        variance += float(drift) / stack.n_frames
    return math.sqrt(variance)


def _bias_noise(context: DarkContext) -> list[QCValue]:
    if context.bias_error is None:
        return []
    return [measured("BIAS NOISE", float(np.nanmedian(context.bias_error)))]


def _contamination(stack: StackResult) -> QCValue:
    """Measure light or glow in the corners, on the smooth local level."""
    smooth, (ny, nx) = stack.background.surface.rows, stack.count.shape
    height, width = max(1, round(ny * CORNER)), max(1, round(nx * CORNER))
    corners = [
        strip[:, columns]
        for strip in (smooth(np.s_[:height]), smooth(np.s_[-height:]))
        for columns in (np.s_[:width], np.s_[-width:])
    ]
    y0, x0 = round(ny * (1 - CENTRE) / 2), round(nx * (1 - CENTRE) / 2)
    centre = smooth(np.s_[y0 : ny - y0])[:, x0 : nx - x0]
    excess = float(np.median(np.concatenate(corners, axis=None)) - np.median(centre))
    return measured("CONTAM", excess / stack.noise_model.mean_read_noise_e)


def _dark_pixels(stack: StackResult, noise_map: NoiseMap, context: DarkContext) -> list[QCValue]:
    """Count hot pixels by their rate, ambiguous and saturated pixels."""
    hot, size = noise_map.count(PixelCode.HOT), noise_map.codes.size
    false_share = min(1.0, size * 0.5 * math.erfc(context.hot_sigma / math.sqrt(2)) / hot) if hot else math.nan
    hot_pixels = np.flatnonzero(noise_map.codes & PixelCode.HOT.value)
    rate = (stack.master.data.ravel()[hot_pixels] - stack.background.at(hot_pixels)) / context.exptime_s
    error = stack.master.uncertainty.array.ravel()[::ERROR_STRIDE]
    floor = HOT_LEVEL_ERRORS * float(np.nanmedian(error)) / context.exptime_s
    return [
        measured("HOTPIX FRAC", hot / size),
        *hot_level_values(rate, floor),
        measured("HOTPIX FDR", false_share),
        measured("AMBIGPIX NUM", noise_map.count(PixelCode.AMBIGUOUS)),
        measured("SATPIX NUM", noise_map.count(PixelCode.SATURATED)),
    ]


def hot_level_values(rate_e_per_s: NDArray[np.floating], floor_e_per_s: float) -> list[QCValue]:
    """Count pixels above the limits of HOTPIX ABS.

    Parameters
    ----------
    rate_e_per_s : ndarray
        Rates of pixels, electron/s.
    floor_e_per_s : float
        Limits up to this one would count noise, electron/s.

    Returns
    -------
    list of QCValue
    """
    return [
        measured(f"HOTPIX ABS{i}", int(np.count_nonzero(rate_e_per_s > level)) if level > floor_e_per_s else None)
        for i, level in enumerate(HOT_LEVELS, 1)
    ]


def _same_temperature(context: DarkContext) -> bool:
    """Return whether the frames have the same temperature: hot samples of a warmer frame are no cosmic rays."""
    widest = DEFINITIONS["DETECTOR TEMP RANGE"].range[1]
    return widest is None or not context.temperatures_k.size or float(np.ptp(context.temperatures_k)) <= widest


def _cosmic_ray_rate(stack: StackResult, noise_map: NoiseMap, context: DarkContext) -> float:
    """Return the cosmic rays per square centimetre and second."""
    codes, (frame, pixel) = noise_map.codes.ravel(), stack.rejected.T
    ray = codes[pixel] & PixelCode.NOISY.value == 0  # rejected samples of a telegraph pixel are no cosmic rays
    frame, pixel = frame[ray], pixel[ray]
    by_frame = pixel[np.argsort(frame, kind="stable")]
    frames = np.split(by_frame, np.cumsum(np.bincount(frame, minlength=stack.n_frames))[:-1])
    rays = sum(count_groups(pixels, noise_map.codes.shape) for pixels in frames)
    return rays / (stack.count.size * context.pixel_area_cm2 * stack.n_frames * context.exptime_s * context.ndit)


def count_groups(pixels: NDArray[np.integer], shape: tuple[int, ...]) -> int:
    """Count the connected groups of pixels.

    Parameters
    ----------
    pixels : ndarray of int, shape (n,)
        Pixels, as indices into the flattened image.
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    int
        Groups; pixels that touch at an edge or a corner belong together.
    """
    width = shape[1] + 2  # a margin of one pixel keeps the end of a row from the start of the next
    y, x = np.divmod(np.sort(pixels).astype(np.int64), shape[1])
    keys = y * width + x
    first, second = [], []
    for step in (1, width - 1, width, width + 1):
        at = np.searchsorted(keys, keys + step)
        touching = np.flatnonzero(keys[np.minimum(at, len(keys) - 1)] == keys + step)
        first.append(touching)
        second.append(at[touching])
    one, other = np.concatenate(first), np.concatenate(second)
    # each pixel takes the lowest label of those that it touches, and the label of that one, until none changes
    labels, before = np.arange(len(keys)), None
    while before is None or not np.array_equal(labels, before):
        before = labels.copy()
        lowest = np.minimum(labels[one], labels[other])
        np.minimum.at(labels, one, lowest)
        np.minimum.at(labels, other, lowest)
        labels = labels[labels]
    return int(np.count_nonzero(labels == np.arange(len(keys))))
