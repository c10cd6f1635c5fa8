"""QC values that the stacks of all raw frames have: level, noise, structure, bad pixels, drifts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pixel_codes import PixelCode
from ..stacking.clip_and_stack import StackResult
from ..stacking.create_noise_map import NoiseMap
from ..stacking.frame_verdicts import FrameVetting
from ..stacking.robust import clipped_moments, grouped_median, student_factor
from .table import QCValue, measured

__all__ = [
    "Level",
    "StackContext",
    "drift_values",
    "level_error",
    "level_variance",
    "mean_profile",
    "measure_level",
    "pixel_values",
    "structure_values",
]


@dataclass(frozen=True, kw_only=True)
class StackContext:
    """Properties of the raw frames of a stack that its arrays do not hold.

    Attributes
    ----------
    step_e : float
        Quantisation step of a single frame, electron.
    times_h : ndarray, shape (frames,), hour, or None
        Start of each frame.
    pedestals_e : ndarray, shape (frames,), electron, or None
        Pedestal of each frame, from its overscan.
    temperatures_k : ndarray, kelvin
        Detector temperatures in the headers.
    vetting : FrameVetting or None
        Verdicts of the frames; None where they were not vetted.
    orient : callable
        Turns an image to product orientation, to which X and Y refer.
    """

    step_e: float = 0.0
    times_h: NDArray[np.float64] | None = None
    pedestals_e: NDArray[np.float64] | None = None
    temperatures_k: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    vetting: FrameVetting | None = None
    orient: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray


@dataclass(frozen=True)
class Level:
    """Level of the good pixels of a stack.

    Attributes
    ----------
    median, mean, std : float
        Grouped median, clipped mean and clipped standard deviation, electron.
    """

    median: float
    mean: float
    std: float


def measure_level(stack: StackResult, good: NDArray[np.bool_], context: StackContext) -> Level:
    """Measure the level of the good pixels.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    good : ndarray of bool, shape (ny, nx)
        Pixels without a code.
    context : StackContext
        The quantisation step of the frames.

    Returns
    -------
    Level
    """
    values = stack.master.data[good]
    mean, std = clipped_moments(values)
    step = context.step_e / stack.n_frames
    median = grouped_median(values, step, overwrite_input=True) if values.size else math.nan
    return Level(median, mean, std)


def level_variance(stack: StackResult, n_pixels: int) -> float:
    """Return the variance of the mean level: frames drift by more than the noise of their pixels averages to.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    n_pixels : int
        Good pixels, at least 1.

    Returns
    -------
    float
        In electron**2.
    """
    model = stack.noise_model
    return max(model.mean_read_noise_e**2 / n_pixels, float(np.var(model.frame_level_e, ddof=1))) / stack.n_frames


def level_error(variance: float, n_frames: int) -> float:
    """Return the error of a level whose variance comes from a few frames.

    Parameters
    ----------
    variance : float
        Variance of the level, from the scatter of the frames.
    n_frames : int
        Frames, at least 2.

    Returns
    -------
    float
        In the unit of the level. Two of these errors are exceeded in 4.55 % of the sets, as two standard deviations of
        a Gaussian are (Student's t); two roots of the variance in 18 % of the sets of three frames.
    """
    return math.sqrt(variance) * student_factor(n_frames - 1)


def structure_values(stack: StackResult, good: NDArray[np.bool_], context: StackContext) -> list[QCValue]:
    """Measure the slopes along the axes of the product.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    good : ndarray of bool, shape (ny, nx)
        Pixels without a code.
    context : StackContext
        The orientation of the product.

    Returns
    -------
    list of QCValue
    """
    image, used = context.orient(stack.master.data), context.orient(good)
    return [measured("STRUCT X", _slope(image, used, 0)), measured("STRUCT Y", _slope(image, used, 1))]


def _slope(image: NDArray[np.float32], used: NDArray[np.bool_], axis: int) -> float:
    """Return the slope of the mean profile that is left when one axis is averaged."""
    profile, count = mean_profile(image, used, axis)
    return _slope_of(np.flatnonzero(count).astype(float), profile)


def mean_profile(
    image: NDArray[np.float32], used: NDArray[np.bool_], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the mean of the used pixels along one axis.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx), electron
        An image.
    used : ndarray of bool, shape (ny, nx)
        Pixels that count.
    axis : int
        Axis that is averaged: 1 gives the profile of the rows, 0 that of the columns.

    Returns
    -------
    profile : ndarray of float64, electron
        Means of the rows or columns that have a used pixel.
    count : ndarray of int
        Used pixels of every row or column.
    """
    count = np.count_nonzero(used, axis=axis)
    some = count > 0
    return image.sum(axis=axis, dtype=np.float64, where=used)[some] / count[some], count


def _slope_of(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the least-squares slope of y against x; NaN where all x are the same."""
    if x.size < 2 or np.ptp(x) == 0:
        return math.nan
    x = x - x.mean()
    return float((x * y).sum() / np.square(x).sum())


def pixel_values(noise_map: NoiseMap) -> list[QCValue]:
    """Count hot, cold and noisy pixels.

    Parameters
    ----------
    noise_map : NoiseMap
        All pixel codes.

    Returns
    -------
    list of QCValue
    """
    noisy = noise_map.count(PixelCode.NOISY) if noise_map.noisy_tested else None
    return [
        measured("HOTPIX NUM", noise_map.count(PixelCode.HOT)),
        measured("COLDPIX NUM", noise_map.count(PixelCode.COLD)),
        measured("NOISYPIX NUM", noisy),
        measured("NOISYPIX TESTED", noise_map.noisy_tested),
        measured("BADCOL NUM", noise_map.bad_columns),
    ]


def drift_values(stack: StackResult, context: StackContext) -> list[QCValue]:
    """Measure losses and drifts during the set: rejected samples, levels, temperature, odd frames.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    context : StackContext
        Times, temperatures and verdicts of the frames.

    Returns
    -------
    list of QCValue
    """
    samples = stack.n_frames * stack.count.size
    vetting = context.vetting
    levels, temperatures = stack.noise_model.frame_level_e, context.temperatures_k
    trend = None if context.times_h is None else _slope_of(context.times_h, levels - levels.mean())
    return [
        measured("REJECT FRAC", stack.n_rejected / samples),
        measured("INVALID FRAC", stack.n_invalid / samples),
        measured("LEVEL SCATTER", float(np.std(levels, ddof=1))),
        measured("LEVEL TREND", trend),
        measured("DETECTOR TEMP", float(temperatures.mean()) if temperatures.size else None),
        measured("DETECTOR TEMP RANGE", float(np.ptp(temperatures)) if temperatures.size else None),
        measured("TIME SPAN", None if context.times_h is None else float(np.ptp(context.times_h)) / 24.0),
        measured("VET NUM", None if vetting is None else sum(bool(frame.findings) for frame in vetting.frames)),
        measured("VET EXCLUDED", None if vetting is None else int(vetting.excluded is not None)),
        measured("VET SLOPE", None if vetting is None else vetting.slope_z),
    ]
