"""QC values of a master dark, from its arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pixel_codes import PixelCode
from ..stacking.clip_and_stack import StackResult
from ..stacking.create_noise_map import NoiseMap
from ..stacking.noise_model import CLIP_VARIANCE, clipped_moments, grouped_median
from .table import QCValue

__all__ = ["DarkContext", "count_groups", "dark_quality"]

#: Excess from which hot pixels are counted whatever the noise of the set, electron/s.
HOT_LEVELS = (0.01, 0.1, 1.0)
#: A threshold below so many errors counts noise.
HOT_LEVEL_ERRORS = 5.0
#: Rejected samples that are grouped at once, unless a frame has more.
SAMPLES_AT_ONCE = 2**18
#: Every so many pixels tell the typical error; an odd number, as an even one sees one column parity only.
ERROR_STRIDE = 37
#: Part of each side that a corner is, and that the centre is.
CORNER, CENTRE = 1 / 16, 1 / 4


@dataclass(frozen=True)
class DarkContext:
    """What the QC values need to know beside the arrays.

    Attributes
    ----------
    exptime_s : float
        Exposure that the counts belong to (one DIT), second.
    pedestal_removed : bool
        Whether the pedestal was taken from the frames. If not, the level is pedestal + dark and gives only
        an upper limit of the dark current.
    step_e : float
        Quantisation step of a single frame, electron.
    ndit : int
        Exposures averaged in a frame.
    hot_sigma : float
        Threshold of the hot pixels.
    bias_error : ndarray of float32, shape (ny, nx), electron, or None
        Error of a subtracted master bias.
    bias_tells_level : bool
        Whether the mean pedestal is that of the master bias, which was taken at another time.
    pedestals_e : ndarray, shape (frames,), electron, or None
        Pedestals that overscan columns gave.
    times_h : ndarray, shape (frames,), hour, or None
        Start of each frame.
    temperatures_k : ndarray, kelvin
        Detector temperatures that the headers give.
    pixel_area_cm2 : float
        Area of a pixel, binning included.
    orient : callable
        Turns an image to product orientation, to which X and Y refer.
    """

    exptime_s: float
    pedestal_removed: bool
    step_e: float = 0.0
    ndit: int = 1
    hot_sigma: float = 5.0
    bias_error: NDArray[np.float32] | None = None
    bias_tells_level: bool = False
    pedestals_e: NDArray[np.float64] | None = None
    times_h: NDArray[np.float64] | None = None
    temperatures_k: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    pixel_area_cm2: float = math.nan
    orient: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray


def dark_quality(stack: StackResult, noise_map: NoiseMap, facts: DarkContext) -> list[QCValue]:
    """Measure the QC values of a master dark.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    noise_map : NoiseMap
        Its hot, cold and noisy pixels, with all other codes.
    facts : DarkContext
        Exposure, times, temperatures.

    Returns
    -------
    list of QCValue
    """
    good = noise_map.codes == 0
    level = _Level.of(stack.master.data[good], facts.step_e / stack.n_frames)
    return [
        *_levels(stack, good, level, facts),
        *_noise(stack, noise_map, level, facts),
        *_structure(stack, good, facts),
        *_counts(stack, noise_map, facts),
        *_circumstances(stack, noise_map, facts),
    ]


@dataclass(frozen=True)
class _Level:
    """Median, clipped mean and clipped standard deviation of the good pixels, electron."""

    median: float
    mean: float
    std: float

    @classmethod
    def of(cls, values: NDArray[np.float32], step_e: float) -> _Level:
        """Measure values of so large steps."""
        return cls(grouped_median(values, step_e) if values.size else math.nan, *clipped_moments(values))


def _levels(stack: StackResult, good: NDArray[np.bool_], level: _Level, facts: DarkContext) -> list[QCValue]:
    """Level of the good pixels and the dark current that it means."""
    current, error = level.mean / facts.exptime_s, _level_error(stack, good, facts) / facts.exptime_s
    # with the pedestal in it, or below its own error, the level says only what the dark current is not above
    limit = not facts.pedestal_removed or not abs(current) > 3 * error
    return [
        QCValue("MDARK MEDIAN", level.median, "electron", "median of good pixels"),
        QCValue("MDARK MEAN", level.mean, "electron", "clipped mean of good pixels"),
        QCValue("MDARK STDEV", level.std, "electron", "clipped standard deviation of good pixels"),
        QCValue("DARK CURRENT", current, "electron/s", "clipped mean over the exposure time", judged=not limit),
        QCValue("DARK CURRENT ERR", error, "electron/s", "its one-sigma error"),
        QCValue("DARK CURRENT LIMIT", limit, "", "T: an upper limit, as the pedestal decides"),
    ]


def _level_error(stack: StackResult, good: NDArray[np.bool_], facts: DarkContext) -> float:
    """One-sigma error of the mean level: frames drift by more than the noise of their pixels averages to."""
    model, n_pixels = stack.noise_model, max(int(np.count_nonzero(good)), 1)
    variance = max(model.mean_read_noise_e**2 / n_pixels, float(np.var(model.frame_level_e, ddof=1))) / stack.n_frames
    if facts.bias_error is not None:
        variance += float(np.nanmean(np.square(facts.bias_error[good], dtype=np.float64))) / n_pixels
    if facts.bias_tells_level:
        # the bias drifted as the frames did; where overscan columns took the frames' drift, it hides their mean's too
        drifts = [model.frame_level_e] if facts.pedestals_e is None else [facts.pedestals_e, facts.pedestals_e]
        variance += sum(float(np.var(levels, ddof=1)) for levels in drifts) / stack.n_frames
    return math.sqrt(variance)


def _noise(stack: StackResult, noise_map: NoiseMap, level: _Level, facts: DarkContext) -> list[QCValue]:
    """Noise of single frames and of the master, and how far its errors are right."""
    n, read_noise = stack.n_frames, stack.noise_model.mean_read_noise_e
    halves = clipped_moments(stack.half_difference)[1] / math.sqrt(CLIP_VARIANCE)
    master = halves * math.sqrt((n + 1) // 2 * (n // 2)) / n
    total = level.std / math.sqrt(CLIP_VARIANCE)
    qc = [
        QCValue("RON RAW", read_noise, "electron", "noise of a single frame"),
        QCValue("RON MASTER", master, "electron", "noise of the master, from its halves"),
        QCValue("RON MASTER RATIO", master / (read_noise / math.sqrt(n)), "", "RON MASTER over RON RAW / sqrt(frames)"),
        QCValue("FPN", math.sqrt(max(total**2 - master**2, 0.0)), "electron", "fixed pattern of good pixels"),
        QCValue("PULL STD", noise_map.residual_width, "", "scatter of good pixels over their error"),
    ]
    if len(stack.noise_model.regions) > 1:
        qc += [
            QCValue(f"RON RAW{i}", float(value), "electron", f"noise of a single frame, amplifier {i}")
            for i, value in enumerate(stack.noise_model.read_noise_e, 1)
        ]
    if facts.bias_error is not None:
        bias_noise = float(np.nanmedian(facts.bias_error))
        qc.append(QCValue("BIAS NOISE", bias_noise, "electron", "median error of the master bias"))
    return qc


def _structure(stack: StackResult, good: NDArray[np.bool_], facts: DarkContext) -> list[QCValue]:
    """Slopes along the axes, and light or glow in the corners."""
    seen, image = facts.orient(good), facts.orient(stack.master.data)
    smooth = stack.background.surface.rows
    ny, nx = good.shape
    high, wide = max(1, round(ny * CORNER)), max(1, round(nx * CORNER))
    corners = [
        part[:, columns]
        for part in map(smooth, (np.s_[:high], np.s_[-high:]))
        for columns in (np.s_[:wide], np.s_[-wide:])
    ]
    inner_y, inner_x = round(ny * (1 - CENTRE) / 2), round(nx * (1 - CENTRE) / 2)
    centre = smooth(np.s_[inner_y : ny - inner_y])[:, inner_x : nx - inner_x]
    contamination = float(np.median(np.concatenate(corners, axis=None)) - np.median(centre))
    return [
        QCValue("STRUCT X", _slope(image, seen, 0), "electron/pixel", "slope of the profile along X"),
        QCValue("STRUCT Y", _slope(image, seen, 1), "electron/pixel", "slope of the profile along Y"),
        QCValue("CONTAM", contamination / stack.noise_model.mean_read_noise_e, "",
                "(corner median - centre median) / RON RAW"),
    ]  # fmt: skip


def _slope(image: NDArray[np.float32], seen: NDArray[np.bool_], axis: int) -> float:
    """Slope of the mean profile that is left when one axis is averaged away."""
    count = np.count_nonzero(seen, axis=axis)
    profile = image.sum(axis=axis, dtype=np.float64, where=seen)[count > 0] / count[count > 0]
    where = np.flatnonzero(count > 0).astype(float)
    where -= where.mean()
    return float((where * profile).sum() / np.square(where).sum()) if where.size > 1 else math.nan


def _counts(stack: StackResult, noise_map: NoiseMap, facts: DarkContext) -> list[QCValue]:
    """Bad pixels by kind."""
    hot, size = noise_map.count(PixelCode.HOT), noise_map.codes.size
    false_share = min(1.0, size * 0.5 * math.erfc(facts.hot_sigma / math.sqrt(2)) / hot) if hot else math.nan
    bad = np.flatnonzero(noise_map.codes != 0)
    hot_ones = bad[noise_map.codes.ravel()[bad] & PixelCode.HOT.value != 0]
    rate = (stack.master.data.ravel()[hot_ones] - stack.background.at(hot_ones)) / facts.exptime_s
    error = stack.master.uncertainty.array
    floor = HOT_LEVEL_ERRORS * float(np.nanmedian(error.ravel()[::ERROR_STRIDE])) / facts.exptime_s
    absolute = [
        QCValue(f"HOTPIX ABS{i}", int(np.count_nonzero(rate > level)) if level > floor else None, "",
                f"hot pixels above {level:g} electron/s")
        for i, level in enumerate(HOT_LEVELS, 1)
    ]  # fmt: skip
    return [
        QCValue("HOTPIX NUM", hot, "", "hot pixels"),
        QCValue("HOTPIX FRAC", hot / size, "", "fraction of hot pixels"),
        *absolute,
        QCValue("HOTPIX FDR", false_share, "", "expected share of false hot pixels"),
        QCValue("COLDPIX NUM", noise_map.count(PixelCode.COLD), "", "cold or dead pixels"),
        QCValue(
            "NOISYPIX NUM",
            noise_map.count(PixelCode.NOISY) if noise_map.noisy_tested else None,
            "",
            "noisy pixels",
        ),
        QCValue("NOISYPIX TESTED", noise_map.noisy_tested, "", "F: too few frames to look for noisy pixels"),
        QCValue("AMBIGPIX NUM", noise_map.count(PixelCode.AMBIGUOUS), "", "ambiguous pixels"),
        QCValue("SATPIX NUM", noise_map.count(PixelCode.SATURATED), "", "pixels saturated in most frames"),
    ]


def _circumstances(stack: StackResult, noise_map: NoiseMap, facts: DarkContext) -> list[QCValue]:
    """Tell what happened during the set: cosmic rays, drifts, temperature."""
    total = stack.n_frames * stack.count.size
    codes, shape = noise_map.codes.ravel(), noise_map.codes.shape
    # what a telegraph pixel loses is no cosmic ray
    lots = (lot[codes[lot[:, 1]] & PixelCode.NOISY.value == 0] for lot in _lots_of_frames(stack.rejected))
    rays = sum(count_groups(hits, shape) for hits in lots)
    exposed = stack.count.size * facts.pixel_area_cm2 * stack.n_frames * facts.exptime_s * facts.ndit
    levels, temperatures = stack.noise_model.frame_level_e, facts.temperatures_k
    trend = math.nan
    if facts.times_h is not None and np.ptp(facts.times_h) > 0:
        since = facts.times_h - facts.times_h.mean()
        trend = float((since * (levels - levels.mean())).sum() / np.square(since).sum())
    return [
        QCValue("CRRATE", rays / exposed, "1/(cm2 s)", "cosmic rays"),
        QCValue("REJECT FRAC", stack.n_rejected / total, "", "fraction of samples rejected"),
        QCValue("INVALID FRAC", stack.n_invalid / total, "", "fraction of samples without data"),
        QCValue("LEVEL SCATTER", float(np.std(levels, ddof=1)), "electron", "scatter of the levels of the frames"),
        QCValue("LEVEL TREND", trend, "electron/h", "slope of the levels against time"),
        QCValue("DETECTOR TEMP", float(temperatures.mean()) if temperatures.size else None, "K", "of the detector"),
        QCValue("DETECTOR TEMP RANGE", float(np.ptp(temperatures)) if temperatures.size else None, "K",
                "range of the detector temperature"),
    ]  # fmt: skip


def _lots_of_frames(samples: NDArray[np.int32]) -> Iterator[NDArray[np.int32]]:
    """Give samples in lots of whole frames, so that memory does not grow with their number."""
    frame = samples[:, 0]
    n_frames = int(frame.max(initial=-1)) + 1
    counts = np.zeros(n_frames, np.intp)
    for start in range(0, len(frame), SAMPLES_AT_ONCE):
        counts += np.bincount(frame[start : start + SAMPLES_AT_ONCE], minlength=n_frames)
    first = 0
    while first < n_frames:
        fit = int(np.searchsorted(np.cumsum(counts[first:]), SAMPLES_AT_ONCE, side="right"))
        last = first + max(fit, 1)
        yield samples[(frame >= first) & (frame < last)]
        first = last


def count_groups(samples: NDArray[np.int32], shape: tuple[int, int]) -> int:
    """Count the connected groups of samples, each within one frame.

    Parameters
    ----------
    samples : ndarray of int32, shape (n, 2)
        Frame and pixel (index into the flattened image) of each sample.
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    int
        Groups; samples that touch at an edge or a corner belong together.
    """
    ny, nx = shape
    frame, pixel = samples.T.astype(np.int64)
    y, x = np.divmod(pixel, nx)
    # a margin of one pixel around every frame keeps its edges from touching those of the next
    keys = np.sort((frame * (ny + 2) + y + 1) * (nx + 2) + x + 1)
    first, second = [], []
    for step in (1, nx + 1, nx + 2, nx + 3):
        at = np.searchsorted(keys, keys + step)
        touching = np.flatnonzero(keys[np.minimum(at, len(keys) - 1)] == keys + step)
        first.append(touching)
        second.append(at[touching])
    one, other = np.concatenate(first), np.concatenate(second)
    # each sample takes the lowest label of those that it touches, and the label of that one, until none changes
    labels, before = np.arange(len(keys)), None
    while before is None or not np.array_equal(labels, before):
        before = labels.copy()
        lowest = np.minimum(labels[one], labels[other])
        np.minimum.at(labels, one, lowest)
        np.minimum.at(labels, other, lowest)
        labels = labels[labels]
    return int(np.count_nonzero(labels == np.arange(len(keys))))
