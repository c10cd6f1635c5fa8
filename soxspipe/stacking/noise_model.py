"""Level, read noise and frame offsets, measured from the frames themselves."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FrameError, InputError, TooFewFramesError, TooFewPixelsError
from ..parallel import map_bands, row_bands
from .frame_stack import FrameStack, Regions, check_regions

__all__ = ["NoiseModel", "clipped_moments", "grouped_median", "measure_noise", "nan_medians"]

#: Pixels looked at: enough for 0.2 % of the read noise, few enough to cost less than the stack does.
SAMPLE_PIXELS = 2**17
#: Rows of the sample are taken in groups of this many.
SAMPLE_ROWS = 4
#: Frames that a worker looks at before it asks for others; to look at so many takes no longer than to have a helper.
FRAMES_AT_ONCE = 12
#: Frames whose median image tells the bad pixels of the sample, and pairs that give the read noise.
REFERENCE_FRAMES = 9
NOISE_PAIRS = 10
#: Fewer good pixels than this in a region cannot give its read noise to five per cent.
FEWEST_PIXELS = 200
#: A frame whose pixels scatter by so many times more or less than those of most frames is none of the set.
ODD_SCATTER = 4.0
#: Pixels that a frame's scatter is taken from; an odd stride, as an even one sees one column parity only.
SCATTER_PIXELS = 2**14
#: Values that the start of a clip is taken from.
START_VALUES = 1024
#: Values that tell where the median of more is, and the share of all on each side of it that are then sorted: five
#: times the scatter of what so few tell.
MEDIAN_VALUES, MEDIAN_REACH = 2**14, 0.02
#: Values that are summed at once, so that they stay in the cache.
CHUNK = 2**15
#: Most values that are sorted for their median, and ranks on each side of a part's own median in which to look for that
#: of more values: four times their scatter.
MOST_SORTED, MIDDLE_RANKS = 512, 48
#: Clip of the noise measurements, and what it leaves of a Gaussian's variance (docs/method, section 2).
CLIP_SIGMA = 4.0
CLIP_VARIANCE = 0.9989


@dataclass(frozen=True)
class NoiseModel:
    """How much a sample may differ from its pixel's mean.

    A sample's variance is ``read_noise_e**2 + shot_scale * (signal - level_e)``: the measured noise already
    holds the shot noise of the level at which it was measured (docs/method, section 2).

    Attributes
    ----------
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    level_e : ndarray, shape (regions,), electron
        Mean level of the good pixels of a region.
    read_noise_e : ndarray, shape (regions,), electron
        Standard deviation of a single frame in good pixels at that level.
    offsets_e : ndarray, shape (frames, regions), electron
        Level of each frame above the mean of all; each column has mean zero.
    frame_level_e : ndarray, shape (frames,), electron
        Mean level of each frame.
    frame_scatter_e : ndarray, shape (frames,), electron
        Clipped standard deviation of a frame's pixels about the level of their region.
    shot_scale : float
        1 over the number of exposures averaged in a frame (NDIT).
    """

    regions: Regions
    level_e: NDArray[np.float64]
    read_noise_e: NDArray[np.float64]
    offsets_e: NDArray[np.float64]
    frame_level_e: NDArray[np.float64]
    frame_scatter_e: NDArray[np.float64]
    shot_scale: float = 1.0

    @property
    def mean_read_noise_e(self) -> float:
        """Root mean square of the regions' read noise, by area, electron."""
        areas = [_area(region) for region in self.regions]
        return float(np.sqrt(np.average(self.read_noise_e**2, weights=areas)))

    def spans(self) -> list[tuple[int, int]]:
        """Return the row ranges within which every column keeps its amplifier."""
        edges = sorted({edge for rows, _ in self.regions for edge in (rows.start, rows.stop)})
        return list(itertools.pairwise(edges))

    def row(self, values: NDArray[np.float64], y: int) -> NDArray[np.float32]:
        """Spread one value per region over a row.

        Parameters
        ----------
        values : ndarray, shape (regions,)
            What each region's pixels get.
        y : int
            Row.

        Returns
        -------
        ndarray of float32, shape (nx,)
        """
        row = np.empty(max(columns.stop for _, columns in self.regions), np.float32)
        for (rows, columns), value in zip(self.regions, values, strict=True):
            if rows.start <= y < rows.stop:
                row[columns] = value
        return row


def measure_noise(
    stack: FrameStack,
    regions: Regions | None = None,
    *,
    frame_clipping_sigma: float = 10.0,
    clipping_iteration_count: int = 5,
    shot_scale: float = 1.0,
    workers: int = 1,
) -> NoiseModel:
    """Measure level, read noise and offsets from a stack of frames.

    Parameters
    ----------
    stack : FrameStack
        At least two frames of the same exposure, electron.
    regions : tuple of (slice, slice), optional
        Rows and columns of each read-out amplifier; default: the whole frame is one.
    frame_clipping_sigma : float
        Sigmas beyond which a pixel of a frame takes no part in the frame's scatter.
    clipping_iteration_count : int
        Iterations of that clip.
    shot_scale : float
        1 over the number of exposures averaged in a frame.
    workers : int
        Threads; the result does not depend on their number.

    Returns
    -------
    NoiseModel

    Raises
    ------
    InputError
        When two frames hold the same pixels.
    FrameError
        When a frame is no image beside the others: constant, or saturated all over.
    TooFewFramesError
        With fewer than two frames.
    TooFewPixelsError
        When a region has fewer than 200 good pixels.

    Notes
    -----
    The read noise is the clipped standard deviation of the differences of consecutive frames over sqrt(2):
    the dark pattern cancels. Pixels that stand out of their row in the median image take no part. The offsets
    are clipped means of (frame - median image): a median would be held at zero by the frame that is the
    median itself, in a third of the pixels of three frames (docs/method, section 2).
    """
    regions = check_regions(regions, stack.shape)
    n_frames = len(stack.names)
    if n_frames < 2:
        raise TooFewFramesError(f"{n_frames} frame to measure noise from, expected at least 2")
    rows = _sample_rows(stack.shape)
    labels = _sample_labels(regions, rows, stack.shape[1])
    nearby = np.unique(np.linspace(0, n_frames - 1, REFERENCE_FRAMES).round().astype(int))
    reference = nan_medians(np.stack([_read_sample(stack, int(i), rows) for i in nearby], axis=-1))

    pairs = set(np.unique(np.linspace(1, n_frames - 1, NOISE_PAIRS).round().astype(int)).tolist())
    members = _good_members(stack, reference, labels, len(regions), rows)
    level = np.array([clipped_moments(reference[pixels], stack.step_e)[0] for pixels in members])
    few = slice(None, None, max(1, labels.size // SCATTER_PIXELS) | 1)

    def look(first: int, end: int) -> list[FrameStatistics]:
        return [measure_frame(i) for i in range(first, end)]

    def measure_frame(i: int) -> FrameStatistics:
        sample = _read_sample(stack, i, rows)
        residual = sample - reference
        offsets = np.array([clipped_moments(residual[pixels], stack.step_e)[0] for pixels in members])
        above_level = sample[few] - (level + offsets)[labels[few]].astype(np.float32)
        scatter = clipped_moments(above_level, stack.step_e, frame_clipping_sigma, clipping_iteration_count)[1]
        variances = None
        if i in pairs:
            difference = sample - _read_sample(stack, i - 1, rows)
            variances = [_half_variance(difference[pixels], stack.step_e) for pixels in members]
        return FrameStatistics(hashlib.blake2b(sample[few].tobytes()).digest(), offsets, scatter, variances)

    looks = [one for some in map_bands(look, row_bands([(0, n_frames)], FRAMES_AT_ONCE), workers) for one in some]
    _check_digests(stack.names, [look.digest for look in looks])
    offsets = np.array([look.offsets for look in looks])
    for name, finite in zip(stack.names, np.isfinite(offsets).all(axis=1), strict=True):
        if not finite:
            raise FrameError(f"{name}: the part of a read-out amplifier holds no data: leave this frame out")
    scatter = np.array([look.scatter for look in looks])
    variances = [look.variances for look in looks if look.variances is not None]
    _check_scatter(stack.names, scatter)
    if not np.all(variances):
        raise FrameError("the frames do not scatter in a read-out amplifier: give frames as they were read out")
    level += offsets.mean(axis=0)
    frame_level = np.average(
        level + offsets - offsets.mean(axis=0), axis=1, weights=[_area(region) for region in regions]
    )
    return NoiseModel(
        regions=regions,
        level_e=level,
        read_noise_e=np.sqrt(np.mean(variances, axis=0)),
        offsets_e=offsets - offsets.mean(axis=0),
        frame_level_e=frame_level,
        frame_scatter_e=scatter,
        shot_scale=shot_scale,
    )


def clipped_moments(
    values: NDArray[Any], step: float = 0.0, sigma: float = CLIP_SIGMA, iterations: int = 10
) -> tuple[float, float]:
    """Mean and standard deviation of what lies within some sigmas of the mean.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Any unit; NaN are left out.
    step : float
        Quantisation step, in the same unit.
    sigma : float
        Clip.
    iterations : int
        Most iterations of the clip.

    Returns
    -------
    mean, std : float
        NaN where there are no values. The standard deviation is as clipped: at 4 sigma it lacks 0.05 %.

    Notes
    -----
    The clip starts from the central 68 % of a thousand of the values, so that hot pixels of any number and
    brightness below 16 % do not decide how far it gets; where it ends does not depend on the start.
    """
    values = np.ravel(values)
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    if values.size == 0:
        return np.nan, np.nan
    few = np.sort(values[:: max(1, values.size // START_VALUES) | 1])
    low, middle, high = (few[int(few.size * quantile)] for quantile in (0.1587, 0.5, 0.8413))
    mean, std = float(middle), 0.5 * float(high - low)
    if std == 0.0:  # more than two thirds of the values are equal: quantised, or constant
        std = float(values.std(dtype=np.float64))
    inner, kept_before = None, -1
    for _ in range(iterations):
        reach = sigma * std + 0.5 * step
        if inner is None or not inner.within(mean, reach):
            inner = _Sums.about(values, mean, 0.5 * reach)
        count, total, squares = inner.up_to(mean, reach)
        if count in (kept_before, 0):
            break
        kept_before = count
        mean, std = inner.centre + total / count, math.sqrt(max(squares / count - (total / count) ** 2, 0.0))
    return mean, std


@dataclass(frozen=True)
class _Sums:
    """Sums of the values close to a centre, and the others one by one: few, and all that a clip moves.

    Each step of a clip then costs no more than a look at those few.
    """

    centre: float
    reach: float
    count: int
    total: float
    squares: float
    outer: NDArray[Any]

    @classmethod
    def about(cls, values: NDArray[Any], centre: float, reach: float) -> _Sums:
        count, total, squares = 0, 0.0, 0.0
        outer = []
        for start in range(0, values.size, CHUNK):
            chunk = values[start : start + CHUNK]
            distance = chunk - np.float64(centre)
            far = np.flatnonzero(np.abs(distance) > reach)
            outer.append(chunk[far])
            distance[far] = 0.0
            count += distance.size - far.size
            total += float(distance.sum())
            squares += float(np.square(distance, out=distance).sum())
        return cls(centre, reach, count, total, squares, np.concatenate(outer))

    def within(self, mean: float, reach: float) -> bool:
        """Tell whether all that the sums hold is within this reach of a mean."""
        return abs(mean - self.centre) + self.reach <= reach * (1 - 1e-6)

    def up_to(self, mean: float, reach: float) -> tuple[int, float, float]:
        """Count the values within this reach of a mean, and sum them about the centre."""
        kept = self.outer[np.abs(self.outer - np.float32(mean)) <= np.float32(reach)] - np.float64(self.centre)
        return self.count + kept.size, self.total + float(kept.sum()), self.squares + float((kept * kept).sum())


def nan_medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median along the last axis without NaN.

    Parameters
    ----------
    values : ndarray of float32, shape (..., n)
        Any unit.

    Returns
    -------
    ndarray of float32, shape (...)
        NaN where there is nothing but NaN.

    Notes
    -----
    By sorting, which NumPy does fastest by far for a few hundred values. More of them are sorted in parts: the median
    of all is among those in the middle of each, and where it is not, all are sorted.
    """
    lines = values.reshape(-1, values.shape[-1])
    if lines.shape[1] <= MOST_SORTED:
        medians = _sorted_medians(lines)
    else:
        medians, certain = _medians_by_parts(lines)
        medians[~certain] = _sorted_medians(lines[~certain])
    return medians.reshape(values.shape[:-1])


def _sorted_medians(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each line without NaN."""
    length = values.shape[1]
    ordered = np.sort(values, axis=1)  # NaN come last
    medians: NDArray[np.float32] = np.float32(0.5) * (ordered[:, (length - 1) // 2] + ordered[:, length // 2])
    some = np.flatnonzero(np.isnan(ordered[:, -1]))
    few = ordered[some]
    count = length - np.isnan(few).sum(axis=1)
    lines = np.arange(some.size)
    medians[some] = np.float32(0.5) * (few[lines, np.maximum(count - 1, 0) // 2] + few[lines, count // 2])
    return medians


def _medians_by_parts(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Median of each line without NaN, and whether it is certain."""
    n_lines, length = values.shape
    n_parts = -(-length // MOST_SORTED)
    if length % n_parts:
        rest = np.full((n_lines, -length % n_parts), np.nan, np.float32)
        values = np.concatenate([values, rest], axis=1)
    # every so many values, so that a slope along the line is the same in all parts
    parts = values.reshape(n_lines, -1, n_parts).swapaxes(1, 2).copy()  # contiguous, which sorts fastest
    parts.sort(axis=-1)
    start, stop = (parts.shape[-1] // 2 + side * MIDDLE_RANKS for side in (-1, 1))
    middle = np.sort(parts[:, :, start:stop].reshape(n_lines, -1), axis=-1)
    count = np.full(n_lines, values.shape[1])
    some = np.isnan(parts[:, :, -1]).any(axis=-1)
    count[some] -= np.isnan(values[some]).sum(axis=-1)
    rank = np.array([count - 1, count]) // 2 - n_parts * start
    within = np.clip(rank, 0, middle.shape[1] - 1)
    low, high = middle[np.arange(n_lines), within]
    certain = (parts[:, :, start - 1] <= low[:, None]) & (parts[:, :, stop] >= high[:, None])
    return np.float32(0.5) * (low + high), certain.all(axis=-1) & (rank == within).all(axis=0)


def grouped_median(values: NDArray[Any], step: float = 0.0) -> float:
    """Median of values that were rounded to multiples of a step.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite values.
    step : float
        Quantisation step; 0 gives the plain median.

    Returns
    -------
    float

    Notes
    -----
    A rounded value k stands for anything in [k - step/2, k + step/2]; the median lies where half of the
    values are below if they spread evenly over it (docs/method, section 2).
    """
    median = _plain_median(values)
    if step <= 0.0:
        return median
    below = equal = 0
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK]
        below += int(np.count_nonzero(chunk < median - 0.5 * step))
        equal += int(np.count_nonzero(np.abs(chunk - median) <= 0.5 * step))
    return median + step * ((0.5 * values.size - below) / equal - 0.5) if equal else median


def _plain_median(values: NDArray[Any]) -> float:
    """Median by the values close to it, of which there are few enough to sort; a sample of all tells which."""
    few = np.sort(values[:: max(1, values.size // MEDIAN_VALUES) | 1])
    low, high = (few[int((0.5 + side * MEDIAN_REACH) * few.size)] for side in (-1, 1))
    below, parts = 0, []
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK]
        below += int(np.count_nonzero(chunk < low))
        parts.append(chunk[(chunk >= low) & (chunk <= high)])
    near = np.sort(np.concatenate(parts))
    ranks = (values.size - 1) // 2 - below, values.size // 2 - below
    if ranks[0] < 0 or ranks[1] >= near.size:  # the sample was far off
        return float(np.median(values))
    return 0.5 * (float(near[ranks[0]]) + float(near[ranks[1]]))


@dataclass(frozen=True)
class FrameStatistics:
    """What is found in one frame: a digest, its offset in each region, its scatter, and the variance by a pair."""

    digest: bytes
    offsets: NDArray[np.float64]
    scatter: float
    variances: list[float] | None


def _check_digests(names: tuple[str, ...], digests: list[bytes]) -> None:
    """Refuse the same pixels twice."""
    seen: dict[bytes, str] = {}
    for name, digest in zip(names, digests, strict=True):
        if digest in seen:
            raise InputError(f"{seen[digest]} and {name} hold the same pixels: leave one of them out")
        seen[digest] = name


def _check_scatter(names: tuple[str, ...], scatter_e: NDArray[np.float64]) -> None:
    """Refuse frames that are no image beside the others: constant, saturated all over, or pure noise."""
    constant = np.flatnonzero(scatter_e == 0)
    if constant.size:  # however many
        raise FrameError(
            f"{names[i]}: its pixels do not scatter, expected read noise: it is dead or saturated: leave it out"
            for i in constant
        )
    typical = float(np.median(scatter_e))
    odd = np.flatnonzero((scatter_e < typical / ODD_SCATTER) | (scatter_e > typical * ODD_SCATTER))
    if len(names) == 2 and scatter_e.max() > ODD_SCATTER * scatter_e.min():  # no majority says which is the odd one
        raise FrameError(
            f"{names[0]} and {names[1]}: their pixels scatter by {scatter_e[0]:.3g} and {scatter_e[1]:.3g} electron: "
            "one of them is dead, saturated or no dark of this set"
        )
    if odd.size:
        raise FrameError(
            f"{names[i]}: its pixels scatter by {scatter_e[i]:.3g} electron, expected some {typical:.3g} as in most "
            "frames: it is dead, saturated or no dark of this set: leave it out"
            for i in odd
        )


def _half_variance(difference: NDArray[np.float32], step_e: float) -> float:
    """Variance of one frame from the difference of two, electron**2."""
    return clipped_moments(difference, step_e)[1] ** 2 / (2.0 * CLIP_VARIANCE)


def _sample_rows(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Rows to look at: groups of neighbours, spread evenly over the frame; all of a small frame."""
    ny, nx = shape
    groups = -(-ny // SAMPLE_ROWS)
    wanted = min(groups, max(1, -(-SAMPLE_PIXELS // (SAMPLE_ROWS * nx))))
    first = np.linspace(0, groups - 1, wanted).round().astype(int) * SAMPLE_ROWS
    rows = (first[:, None] + np.arange(SAMPLE_ROWS)).ravel()
    return rows[rows < ny]


def _sample_labels(regions: Regions, rows: NDArray[np.intp], nx: int) -> NDArray[np.intp]:
    """Region of each pixel of the sample, flat."""
    labels = np.empty((rows.size, nx), np.intp)
    for label, (region_rows, columns) in enumerate(regions):
        inside = (rows >= region_rows.start) & (rows < region_rows.stop)
        labels[inside, columns] = label
    return labels.ravel()


def _read_sample(stack: FrameStack, frame: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Pixels of the sample rows of one frame, flat."""
    sample = np.empty((rows.size, stack.shape[1]), np.float32)
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    for at, run in zip([0, *breaks], np.split(rows, breaks), strict=True):
        stack.read(frame, int(run[0]), int(run[-1]) + 1, sample[at : at + run.size])
    return sample.ravel()


def _good_members(
    stack: FrameStack,
    reference: NDArray[np.float32],
    labels: NDArray[np.intp],
    n_regions: int,
    rows: NDArray[np.intp],
) -> list[NDArray[np.intp]]:
    """Pixels of each region that are good in the median image.

    Bad is what stands out of its row in the median image: the median of that row in that region is taken
    for what a good pixel shows there, so that glow and drifting rows do not make good pixels bad.
    """
    members = []
    image = reference.reshape(rows.size, -1)
    regions = labels.reshape(image.shape)
    flat = np.arange(labels.size).reshape(image.shape)
    for label in range(n_regions):
        inside = regions == label
        these = inside.any(axis=1)
        if not these.any():
            raise TooFewPixelsError("a read-out amplifier has no pixel in the frame: correct the instrument table")
        columns = inside[np.flatnonzero(these)[0]]
        block = image[np.ix_(these, columns)]
        residual = block - nan_medians(block)[:, None]
        centre, std = clipped_moments(residual.ravel(), stack.step_e)
        good = np.abs(residual - np.float32(centre)) <= np.float32(CLIP_SIGMA * std + 0.5 * stack.step_e)
        pixels = flat[np.ix_(these, columns)][good]
        if pixels.size < FEWEST_PIXELS:
            raise TooFewPixelsError(
                f"a read-out amplifier has {pixels.size} good pixels to measure its noise from, expected at least "
                f"{FEWEST_PIXELS}: the frames hold no data there, or are too small"
            )
        members.append(pixels)
    return members


def _area(region: tuple[slice, slice]) -> int:
    rows, columns = region
    return (rows.stop - rows.start) * (columns.stop - columns.start)
