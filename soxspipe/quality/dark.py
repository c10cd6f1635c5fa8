"""QC values of a master dark, from its arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parallel import run_concurrently
from ..pixel_codes import PixelCode
from ..stacking.clip_and_stack import StackResult
from ..stacking.cosmic_rays import group_labels, neighbours_of
from ..stacking.create_noise_map import NoiseMap
from .definitions import DEFINITIONS, HOT_LEVELS
from .noise import noise_values
from .stack import (
    Level,
    StackContext,
    drift_values,
    level_error,
    level_variance,
    measure_level,
    pixel_values,
    structure_values,
)
from .table import QCValue, measured

__all__ = ["DarkContext", "dark_quality"]

#: A limit below this many errors counts noise.
HOT_LEVEL_ERRORS = 5.0
#: Every 37th pixel is enough for the median error; an odd number, as an even one meets one column parity only.
ERROR_STRIDE = 37
#: Fewest frames in which cosmic rays differ from telegraph pixels.
RATE_FRAMES = 5
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
        Whether the pedestal was subtracted from the frames. If not, the level is pedestal + dark and gives no dark
        current.
    ndit : int
        Exposures averaged in a frame.
    hot_sigma, cold_sigma : float
        Thresholds of hot and cold pixels.
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
    cold_sigma: float = 5.0
    bias_error: NDArray[np.float32] | None = None
    pedestal_from_bias: bool = False
    pixel_area_cm2: float = math.nan


def dark_quality(stack: StackResult, noise_map: NoiseMap, context: DarkContext, workers: int = 1) -> list[QCValue]:
    """Measure the QC values of a master dark.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    noise_map : NoiseMap
        All pixel codes, and the width of the normalised residuals.
    context : DarkContext
        Exposure, times, temperatures.
    workers : int
        Threads; the result does not depend on their number.

    Returns
    -------
    list of QCValue
    """
    good = noise_map.codes == 0
    works: list[Callable[[], Any]] = [
        partial(measure_level, stack, _far_from_rays(stack, good), context),
        partial(_pixels_and_drift, stack, noise_map, good, context),
    ]
    level, others = run_concurrently(works, workers)
    return [
        *_levels(stack, good, level, context),
        *noise_values(stack, noise_map, level.std, context.hot_sigma, context.cold_sigma),
        *_bias_noise(context),
        *others,
    ]


def _pixels_and_drift(
    stack: StackResult, noise_map: NoiseMap, good: NDArray[np.bool_], context: DarkContext
) -> list[QCValue]:
    """Measure the structure of the level, bad pixels, cosmic rays and the drift of the frames."""
    return [
        *structure_values(stack, good, context),
        _contamination(stack),
        *pixel_values(noise_map),
        *_dark_pixels(stack, noise_map, context),
        measured("CRRATE", _cosmic_ray_rate(stack, noise_map, context) if _same_temperature(context) else None),
        *drift_values(stack, context),
    ]


def _far_from_rays(stack: StackResult, good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the good pixels whose level no cosmic ray has touched; all of them, if most pixels were touched.

    A charge too small to be rejected lies beside most cosmic rays.
    """
    lost = np.concatenate([stack.rejected[:, 1], stack.neighbours[:, 1]])
    far = good.copy()
    far.reshape(-1)[lost] = False
    far.reshape(-1)[neighbours_of(np.unique(lost), good.shape)[1]] = False
    return far if 2 * np.count_nonzero(far) > np.count_nonzero(good) else good


def _levels(stack: StackResult, good: NDArray[np.bool_], level: Level, context: DarkContext) -> list[QCValue]:
    """Measure the level of the good pixels and, without a pedestal in it, the dark current that follows from it."""
    error = _level_error(stack, good, context)
    limit = not abs(level.mean) > 3 * error
    known = context.pedestal_removed
    return [
        measured("MDARK MEDIAN", level.median),
        measured("MDARK MEAN", level.mean),
        measured("MDARK STDEV", level.std),
        measured("LEVEL", level.mean),
        measured("LEVEL ERR", error),
        measured("LEVEL DOF", stack.n_frames - 1),
        measured("DARK CURRENT", level.mean / context.exptime_s if known else None, judged=not limit),
        measured("DARK CURRENT ERR", error / context.exptime_s if known else None),
        measured("DARK CURRENT LIMIT", limit if known else None),
    ]


def _level_error(stack: StackResult, good: NDArray[np.bool_], context: DarkContext) -> float:
    """Return the error of the mean level, electron; see `level_error`."""
    n_pixels = max(int(np.count_nonzero(good)), 1)
    variance = level_variance(stack, n_pixels)
    if context.bias_error is not None:
        variance += float(np.nanmean(np.square(context.bias_error[good], dtype=np.float64))) / n_pixels
    if context.pedestal_from_bias:
        # the bias drifted as the frames did; an overscan that took the frames' drift hides that of their mean too
        levels, pedestals = stack.noise_model.frame_level_e, context.pedestals_e
        drift = np.var(levels, ddof=1) if pedestals is None else 2 * np.var(pedestals, ddof=1)
        variance += float(drift) / stack.n_frames
    return level_error(variance, stack.n_frames)


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
    # the tail below the level is the noise of pixels with more noise than the others, and as large above it
    false_hot = max(size * 0.5 * math.erfc(context.hot_sigma / math.sqrt(2)), noise_map.cold_tail)
    false_share = min(1.0, false_hot / hot) if hot else math.nan
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


def _cosmic_ray_rate(stack: StackResult, noise_map: NoiseMap, context: DarkContext) -> float | None:
    """Return the cosmic rays per square centimetre and second; None with too few frames to tell them from noisy pixels.

    A telegraph pixel loses samples too, without its neighbours. Where all numbers of frames in its upper level are
    equally frequent, as many lose one sample as lose two.
    """
    n_frames, shape = stack.n_frames, noise_map.codes.shape
    if n_frames < RATE_FRAMES:
        return None
    frame, pixel = stack.rejected.T
    noisy = noise_map.codes.ravel()[pixel] & PixelCode.NOISY.value > 0
    alone = np.zeros(pixel.size, bool)
    groups = 0
    for i in range(n_frames):
        here = np.flatnonzero(frame == i)
        if here.size:
            labels = group_labels(pixel[here], shape)
            alone[here] = np.bincount(labels)[labels] == 1
            groups += np.unique(labels[~alone[here] & ~noisy[here]]).size
    _, first, lost = np.unique(pixel[alone], return_index=True, return_counts=True)
    once = np.count_nonzero((lost == 1) & ~noisy[alone][first])
    rays = groups + max(int(once) - int(np.count_nonzero(lost == 2)), 0)
    return rays / (stack.count.size * context.pixel_area_cm2 * n_frames * context.exptime_s * context.ndit)
