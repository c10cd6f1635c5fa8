"""Level, read noise and frame offsets, measured from the frames themselves."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FrameError, InputError, TooFewFramesError, TooFewPixelsError
from .cosmic_rays import neighbours_of
from .frame_stack import FrameStack, Regions, as_stack, region_image, sample_rows
from .parameters import StackParameters, with_keywords
from .robust import CLIP_SIGMA, CLIP_VARIANCE, clipped_moments, finite_median, nan_medians

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["NoiseModel", "measure_noise"]

#: Pixels of the sample: they give the read noise to 0.2 %, and are read faster than the stack.
SAMPLE_PIXELS = 2**17
#: Neighbouring rows in a group of sample rows.
SAMPLE_ROWS = 4
#: Frames in the median image of the sample, and pairs of frames that give the read noise.
REFERENCE_FRAMES = 9
NOISE_PAIRS = 10
#: Fewer good pixels cannot give the read noise of an amplifier to five per cent.
FEWEST_PIXELS = 200
#: Neighbouring pixels of a row whose median is the smooth level there; even, so that column parity cancels.
SMOOTH_PIXELS = 16
#: Levels within this part of the variance of a frame have about the same noise. Where glow leaves few such pixels, the
#: nearest ones give the noise: at least so many, and at least and at most these parts of an amplifier.
SAME_NOISE, NEAREST_PIXELS, LEAST_PART, MOST_PART = 0.25, 2**13, 1 / 16, 1 / 4
#: Where more than this part of the pixels lies beside cosmic rays, these take no part in the noise.
BESIDE_PART = 0.01
#: Ratio to the median scatter of all frames beyond which a frame does not belong to the set.
SCATTER_RATIO = 4.0
#: Pixels that give the scatter of a frame; their stride is odd, as an even one would miss a column parity.
SCATTER_PIXELS = 2**14


@dataclass(frozen=True)
class NoiseModel:
    """Level, noise and drift of the frames of a set.

    A sample's variance is ``read_noise_e**2 + shot_scale * (signal - level_e)``: the measured noise contains
    the shot noise of the level at which it was measured. Both come from the same pixels, those near the median level
    of their region (docs/method, section 2).

    Attributes
    ----------
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    level_e : ndarray, shape (regions,), electron
        Mean level of the pixels of a region that gave its noise.
    read_noise_e : ndarray, shape (regions,), electron
        Standard deviation of a single frame in those pixels.
    offsets_e : ndarray, shape (frames, regions), electron
        Level of each frame above the mean of all; each column has mean zero.
    frame_level_e : ndarray, shape (frames,), electron
        Mean level of each frame.
    frame_scatter_e : ndarray, shape (frames,), electron
        Clipped standard deviation of a frame's pixels about the level of their region.
    shot_scale : float
        Variance per electron of signal: 1 over the number of exposures averaged in a frame (NDIT).
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
        """Root mean square of the regions' read noise, weighted by area, electron."""
        return float(np.sqrt(np.average(self.read_noise_e**2, weights=_areas(self.regions))))

    @property
    def mean_level_e(self) -> float:
        """Mean of the regions' level, weighted by area, electron."""
        return float(np.average(self.level_e, weights=_areas(self.regions)))

    def spans(self) -> list[tuple[int, int]]:
        """Return the row ranges within which every column has one amplifier."""
        edges = sorted({edge for rows, _ in self.regions for edge in (rows.start, rows.stop)})
        return list(itertools.pairwise(edges))

    def row(self, values: NDArray[np.float64], y: int) -> NDArray[np.float32]:
        """Return one row of the image in which each region has one value.

        Parameters
        ----------
        values : ndarray, shape (regions,)
            The value of each region.
        y : int
            Row.

        Returns
        -------
        ndarray of float32, shape (nx,)
        """
        row: NDArray[np.float32] = region_image(values.astype(np.float32), self.regions, y, y + 1)[0]
        return row


def measure_noise(
    frames: FrameStack | Sequence[CCDData | NDArray[Any]],
    parameters: StackParameters | None = None,
    **keywords: Any,
) -> NoiseModel:
    """Measure level, read noise and offsets of the frames of a set.

    Parameters
    ----------
    frames : FrameStack or sequence of (CCDData or ndarray), shape (ny, nx), electron
        At least two frames of the same exposure.
    parameters : StackParameters, optional
        Of these ``frame_clipping_sigma`` and ``clipping_iteration_count`` count: the clip of the frames' scatter.
    **keywords
        Values of ``parameters``; and of frames in memory ``unit``, which arrays without one need, ``regions``,
        ``shot_scale`` and ``step_e``, see `FrameStack`.

    Returns
    -------
    NoiseModel

    Raises
    ------
    InputError
        When two frames hold the same pixels, or a parameter is unknown or out of range.
    FrameError
        When a frame is constant, saturated or does not scatter as the other frames do.
    TooFewFramesError
        With fewer than two frames.
    TooFewPixelsError
        When a region has fewer than 200 good pixels.

    Notes
    -----
    The read noise is the clipped standard deviation of the differences of consecutive frames over sqrt(2):
    the dark pattern cancels. Pixels that stand out of their row in the median image take no part, nor do those in
    glow: noise and level belong together. The offsets
    are clipped means of (frame - median image). A median would stay at zero where the frame itself is the median
    image, which is a third of the pixels of three frames (docs/method, section 2).
    """
    stack = as_stack(frames, keywords)
    parameters = with_keywords(StackParameters, parameters, keywords)
    n_frames = len(stack.names)
    if n_frames < 2:
        raise TooFewFramesError(f"{n_frames} frame to measure noise from, expected at least 2")
    sample = _Sample.of(stack)
    statistics = [_measure_frame(sample, i, parameters) for i in range(n_frames)]
    _check_digests(stack.names, [frame.digest for frame in statistics])
    offsets = np.array([frame.offsets for frame in statistics])
    for name, finite in zip(stack.names, np.isfinite(offsets).all(axis=1), strict=True):
        if not finite:
            raise FrameError(f"{name}: the part of a read-out amplifier holds no data: leave this frame out")
    scatter = np.array([frame.scatter for frame in statistics])
    _check_scatter(stack.names, scatter)
    variances = [frame.variances for frame in statistics if frame.variances is not None]
    if not np.all(variances):
        raise FrameError("the frames do not scatter in a read-out amplifier: give frames as they were read out")
    level = sample.level + offsets.mean(axis=0)
    offsets -= offsets.mean(axis=0)
    return NoiseModel(
        regions=stack.regions,
        level_e=level,
        read_noise_e=np.sqrt(np.mean(variances, axis=0)),
        offsets_e=offsets,
        frame_level_e=np.average(level + offsets, axis=1, weights=_areas(stack.regions)),
        frame_scatter_e=scatter,
        shot_scale=stack.shot_scale,
    )


@dataclass(frozen=True)
class _Sample:
    """The sample pixels of a stack, flat; the median image of some frames in them, and which of them are typical."""

    stack: FrameStack
    rows: NDArray[np.intp]
    #: Region of each pixel.
    labels: NDArray[np.uint16]
    #: Median image, electron.
    reference: NDArray[np.float32]
    #: Indices of the good pixels of each region near its median level, which give its level, noise and offsets.
    typical: list[NDArray[np.intp]]
    #: Mean of the median image in these, electron.
    level: NDArray[np.float64]
    #: Frames whose difference from the frame before gives the read noise.
    pairs: frozenset[int]

    @classmethod
    def of(cls, stack: FrameStack) -> _Sample:
        """Choose the pixels of the sample."""
        last = len(stack.names) - 1
        ny = stack.shape[0]
        rows = sample_rows(stack.shape, SAMPLE_PIXELS, SAMPLE_ROWS)
        labels = region_image(np.arange(len(stack.regions), dtype=np.uint16), stack.regions, 0, ny)[rows].ravel()
        images = [_read_rows(stack, i, rows) for i in _spread(0, last, REFERENCE_FRAMES)]
        reference = nan_medians(np.stack(images, axis=-1))
        typical = _typical_pixels(stack, reference, images[1] - images[0], rows)
        level = np.array([clipped_moments(reference[pixels], stack.step_e)[0] for pixels in typical])
        return cls(stack, rows, labels, reference, typical, level, frozenset(_spread(1, last, NOISE_PAIRS)))

    def read(self, frame: int) -> NDArray[np.float32]:
        """Read the sample pixels of a frame."""
        return _read_rows(self.stack, frame, self.rows)


@dataclass(frozen=True)
class FrameStatistics:
    """Digest, offset in each region and scatter of a frame, and the variance of each region by a pair."""

    digest: bytes
    offsets: NDArray[np.float64]
    scatter: float
    variances: list[float] | None


def _measure_frame(sample: _Sample, i: int, parameters: StackParameters) -> FrameStatistics:
    """Measure one frame of the sample."""
    step_e, pixels = sample.stack.step_e, sample.read(i)
    residual = pixels - sample.reference
    offsets = np.array([clipped_moments(residual[typical], step_e)[0] for typical in sample.typical])
    few = slice(None, None, max(1, pixels.size // SCATTER_PIXELS) | 1)
    above_level = pixels[few] - (sample.level + offsets)[sample.labels[few]].astype(np.float32)
    scatter = clipped_moments(
        above_level, step_e, parameters.frame_clipping_sigma, parameters.clipping_iteration_count
    )[1]
    variances = None
    if i in sample.pairs:
        variances = _variances(sample, pixels - sample.read(i - 1))
    return FrameStatistics(hashlib.blake2b(pixels[few].tobytes()).digest(), offsets, scatter, variances)


def _variances(sample: _Sample, difference: NDArray[np.float32]) -> list[float]:
    """Return the variance of a frame in each region from the difference of two, without what lies beside cosmic rays.

    Their charge spreads to the pixels beside them, and is too faint there for a clip.
    """
    step_e, shape = sample.stack.step_e, (sample.rows.size, sample.stack.shape[1])
    moments, far = [], []
    for typical in sample.typical:
        values = difference[typical]
        mean, std = clipped_moments(values, step_e)
        moments.append((mean, std))
        far.append(typical[np.abs(values - np.float32(mean)) > CLIP_SIGMA * std])
    beside = np.zeros(difference.size, bool)
    beside[neighbours_of(np.concatenate(far), shape)[1]] = True
    if np.count_nonzero(beside) > BESIDE_PART * beside.size:
        for region, typical in enumerate(sample.typical):
            pixels = typical[~beside[typical]]
            if pixels.size >= FEWEST_PIXELS:
                moments[region] = clipped_moments(difference[pixels], step_e)
    return [_frame_variance(std) for _, std in moments]


def _check_digests(names: tuple[str, ...], digests: list[bytes]) -> None:
    """Refuse frames with the same pixels."""
    first: dict[bytes, str] = {}
    for name, digest in zip(names, digests, strict=True):
        if digest in first:
            raise InputError(f"{first[digest]} and {name} hold the same pixels: leave one of them out")
        first[digest] = name


def _check_scatter(names: tuple[str, ...], scatter_e: NDArray[np.float64]) -> None:
    """Refuse frames that are constant, saturated, or scatter differently from most."""
    constant = [name for name, scatter in zip(names, scatter_e, strict=True) if scatter == 0]
    if constant:
        words = "its pixels do not scatter, expected read noise: it is dead or saturated: leave it out"
        raise FrameError(f"{name}: {words}" for name in constant)
    if len(names) == 2 and scatter_e.max() > SCATTER_RATIO * scatter_e.min():  # there is no majority
        raise FrameError(
            f"{names[0]} and {names[1]}: their pixels scatter by {scatter_e[0]:.3g} and {scatter_e[1]:.3g} electron: "
            "one of them is dead, saturated or not of this set"
        )
    typical = float(np.median(scatter_e))
    odd = np.flatnonzero((scatter_e < typical / SCATTER_RATIO) | (scatter_e > typical * SCATTER_RATIO))
    words = "as in most frames: it is dead, saturated or not of this set: leave it out"
    if odd.size:
        raise FrameError(
            f"{names[i]}: its pixels scatter by {scatter_e[i]:.3g} electron, expected about {typical:.3g} {words}"
            for i in odd
        )


def _spread(first: int, last: int, n: int) -> list[int]:
    """Return at most n numbers, spread evenly over a range."""
    return np.unique(np.linspace(first, last, n).round().astype(int)).tolist()


def _read_rows(stack: FrameStack, frame: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    """Read rows of one frame, flat."""
    sample = np.empty((rows.size, stack.shape[1]), np.float32)
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    for first, run in zip([0, *breaks], np.split(rows, breaks), strict=True):
        stack.read(frame, int(run[0]), int(run[-1]) + 1, sample[first : first + run.size])
    return sample.ravel()


def _frame_variance(std: float) -> float:
    """Return the variance of a frame from the clipped standard deviation of the difference of two."""
    return std**2 / (2.0 * CLIP_VARIANCE)


def _typical_pixels(
    stack: FrameStack, reference: NDArray[np.float32], difference: NDArray[np.float32], rows: NDArray[np.intp]
) -> list[NDArray[np.intp]]:
    """Return the pixels of each region that do not stand out of the median image, and are in no glow.

    Each is compared with the median of its row in that region, so that glow and drifting rows do not make good pixels
    bad. The difference of two frames gives a first value of the noise.
    """
    typical = []
    index = np.arange(reference.size).reshape(rows.size, -1)
    for region_rows, columns in stack.regions:
        inside = (rows >= region_rows.start) & (rows < region_rows.stop)
        pixels = index[inside, columns]
        image = reference[pixels]
        residual = image - nan_medians(image)[:, None] if image.size else image
        centre, std = clipped_moments(residual, stack.step_e)
        limit = np.float32(CLIP_SIGMA * std + 0.5 * stack.step_e)
        is_good = np.abs(residual - np.float32(centre)) <= limit
        if (n_good := np.count_nonzero(is_good)) < FEWEST_PIXELS:
            raise TooFewPixelsError(
                f"a read-out amplifier has {n_good} good pixels to measure its noise from, expected at least "
                f"{FEWEST_PIXELS}: the frames hold no data there, or are too small"
            )
        distance = _distance_from_median(image)
        part = min(max(NEAREST_PIXELS / image.size, LEAST_PART), MOST_PART)
        near = distance <= np.nanquantile(distance, part)
        # the median of rounded values errs by up to a step: within less, the quiet pixels would be chosen
        variance = _frame_variance(clipped_moments(difference[pixels[is_good & near]], stack.step_e)[1])
        tolerance = max(SAME_NOISE * variance, stack.shot_scale * stack.step_e)
        typical.append(pixels[is_good & (near | (stack.shot_scale * distance <= tolerance))])
    return typical


def _distance_from_median(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the distance of the smooth level of each pixel from its median."""
    ny, nx = image.shape
    padded = np.pad(image, ((0, 0), (0, -nx % SMOOTH_PIXELS)), constant_values=np.nan)
    smooth = nan_medians(padded.reshape(ny, -1, SMOOTH_PIXELS))
    distance = np.abs(smooth - np.float32(finite_median(smooth)))
    return np.repeat(distance, SMOOTH_PIXELS, axis=1)[:, :nx]


def _areas(regions: Regions) -> list[int]:
    """Return the number of pixels of each region."""
    return [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in regions]
