"""Combination of a stack in bands of rows: read, screen, clip the candidates, combine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..parallel import row_bands, run_concurrently
from .frame_monitor import FrameFigures, FrameMonitor
from .frame_stack import FrameStack
from .noise_model import NoiseModel
from .parameters import StackParameters
from .sigma_clip import ClipResult, clip_by_noise, clip_by_scatter, clipping_candidates

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["CombinedFrames", "combine_frames", "mean_of", "std_of"]

#: Rows of a band, and its fewest and most samples. Shorter bands make more calls, longer ones leave the cache; of
#: many frames the memory is the limit (docs/performance_notes).
BAND_ROWS, FEWEST_SAMPLES, MOST_SAMPLES = 32, 2**21, 2**23
#: Rows between those in which the halves of the stack are compared.
HALVES_STRIDE = 8
#: Samples of clipping candidates that are clipped at once, and of other pixels for their standard deviation.
CLIP_SAMPLES = STD_SAMPLES = 2**19
#: Rejected samples of a pixel that are closer to each other than this, in sigmas, are a second level of the pixel.
AGREE_SIGMA = 2.0


#: Rejected samples (frame and pixel), and the number of those without data.
_Clipped = tuple[NDArray[np.int32], int]

_IMAGES = {
    "above_level": np.float32, "noise": np.float32, "outlier_free_noise": np.float32, "count": np.uint16,
    "ambiguous": np.bool_, "saturated": np.bool_,
}  # fmt: skip


@dataclass(frozen=True)
class CombinedFrames:
    """Images of a stack; see `StackResult`.

    Attributes
    ----------
    above_level : ndarray of float32, shape (ny, nx), electron
        Mean of the samples that were kept, above the level of their amplifier in the noise model.
    noise, outlier_free_noise : ndarray of float32, shape (ny, nx), electron
    count : ndarray of uint16, shape (ny, nx)
    ambiguous, saturated : ndarray of bool, shape (ny, nx)
    half_difference : ndarray of float32, shape (n,), electron
    rejected : ndarray of int32, shape (n, 2)
    n_invalid : int
    frame_figures : FrameFigures or None
    """

    above_level: NDArray[np.float32]
    noise: NDArray[np.float32]
    outlier_free_noise: NDArray[np.float32]
    count: NDArray[np.uint16]
    ambiguous: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    half_difference: NDArray[np.float32]
    rejected: NDArray[np.int32]
    n_invalid: int
    frame_figures: FrameFigures | None


def combine_frames(
    stack: FrameStack,
    model: NoiseModel,
    parameters: StackParameters,
    *,
    band_rows: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CombinedFrames:
    """Clip and combine the frames of a stack; see `clip_and_stack`."""
    ny, nx = stack.shape
    n_frames = len(stack.names)
    band_rows = min(band_rows or _band_rows(n_frames * nx), ny)
    bands = list(row_bands(model.spans(), band_rows))
    combiner = _BandCombiner(stack, model, parameters, workers)
    # A second worker reads the next band while one is combined. Two threads that both make the short calls for single
    # frames would only wait for each other.
    buffers = [np.empty((n_frames, band_rows, nx), np.float32) for _ in range(min(workers, 2))]

    def samples_of(i: int) -> NDArray[np.float32]:
        start, stop = bands[i]
        return buffers[i % len(buffers)][:, : stop - start]

    combiner.read(samples_of(0), *bands[0])
    clipped: list[_Clipped] = []
    for i, (start, stop) in enumerate(bands):
        works: list[Callable[[], Any]] = [partial(combiner.combine, samples_of(i), start, stop)]
        if i + 1 < len(bands):
            works.append(partial(combiner.read, samples_of(i + 1), *bands[i + 1]))
        clipped += run_concurrently(works, workers)[0]
        if progress is not None:
            progress(stop, ny)
    without_rejection = combiner.images["count"][::HALVES_STRIDE] == n_frames
    return CombinedFrames(
        **combiner.images,
        half_difference=combiner.half_difference[without_rejection],
        rejected=np.concatenate([np.empty((0, 2), np.int32), *(rejected for rejected, _ in clipped)]),
        n_invalid=sum(n_invalid for _, n_invalid in clipped),
        frame_figures=None if combiner.monitor is None else combiner.monitor.figures(),
    )


def _band_rows(row_samples: int) -> int:
    """Return the rows of a band, each with so many samples."""
    return max(min(max(BAND_ROWS, FEWEST_SAMPLES // row_samples), MOST_SAMPLES // row_samples), 1)


class _BandCombiner:
    """Combines bands of rows; its images are complete when all bands are done."""

    def __init__(self, stack: FrameStack, model: NoiseModel, parameters: StackParameters, workers: int) -> None:
        from astropy import units
        from astropy.nddata import CCDData

        self.stack = stack
        self.model = model
        self.parameters = parameters
        self.workers = workers
        (ny, nx), self._n_frames = stack.shape, len(stack.names)
        self.images: dict[str, NDArray[Any]] = {name: np.zeros((ny, nx), dtype) for name, dtype in _IMAGES.items()}
        self.half_difference = np.empty((-(-ny // HALVES_STRIDE), nx), np.float32)
        self._frames = [CCDData(np.empty((1, 1), np.float32), unit=units.electron) for _ in stack.names]
        self._levels = {
            first: np.array([model.row(model.level_e + offsets, first) for offsets in model.offsets_e])
            for first, _ in model.spans()
        }
        # of two frames it is not known which one is odd
        vetted = parameters.vet_frames != "off" and self._n_frames > 2
        self.monitor = FrameMonitor(self._n_frames, stack.shape) if vetted else None
        self._reach = np.float32(parameters.frame_clipping_sigma) * model.frame_scatter_e.astype(np.float32)

    def read(self, samples: NDArray[np.float32], start: int, stop: int) -> None:
        """Fill a band with samples above the level of their amplifier and frame, and mark saturated pixels.

        Samples near zero keep their precision in float32 with any pedestal.
        """
        levels = self._levels[max(first for first in self._levels if first <= start)]
        saturated = np.zeros(samples.shape[1:], np.uint16)
        for i, frame in enumerate(samples):
            mask = self.stack.read(i, start, stop, frame)
            if mask is not None:
                saturated += mask
            frame -= levels[i]
        self.images["saturated"][start:stop] = 2 * saturated >= self._n_frames

    def combine(self, samples: NDArray[np.float32], start: int, stop: int) -> list[_Clipped]:
        """Combine a band in which every column has one amplifier."""
        nx = samples.shape[2]
        read_noise = self.model.row(self.model.read_noise_e, start)
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN in pixels without a sample
            pixels = np.flatnonzero(self._combine_all(samples, read_noise, start, stop))

        def clip(part: NDArray[np.intp]) -> _Clipped:
            values = np.take(samples.reshape(self._n_frames, -1), part, axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                return self._clip_candidates(values, start * nx + part, read_noise[part % nx])

        most = max(CLIP_SAMPLES // self._n_frames, 1)
        parts = [pixels[first : first + most] for first in range(0, pixels.size, most)]
        clipped = run_concurrently([partial(clip, part) for part in parts], self.workers)
        if self.monitor is not None:
            offsets = np.array([self.model.row(offset, start) for offset in self.model.offsets_e])
            self.monitor.add(samples, self.images["above_level"][start:stop], read_noise, offsets, start)
        return clipped

    def _combine_all(
        self, samples: NDArray[np.float32], read_noise: NDArray[np.float32], start: int, stop: int
    ) -> NDArray[np.bool_]:
        """Combine all samples of a band without a clip, and return where the clip can change the result."""
        n_frames = self._n_frames
        mean, std = _combine_samples(self._frames, samples)
        low, high = samples.min(axis=0), samples.max(axis=0)
        values = {
            "above_level": mean,
            "noise": std * np.sqrt(np.float32(n_frames) / np.float32(n_frames - 1)),
            "outlier_free_noise": _without_furthest(mean, std, low, high, n_frames),
            "count": n_frames,
        }
        for name, value in values.items():
            self.images[name][start:stop] = value
        compared = slice(-start % HALVES_STRIDE, None, HALVES_STRIDE)
        difference = self.half_difference[-(-start // HALVES_STRIDE) : -(-stop // HALVES_STRIDE)]
        np.subtract(samples[0::2, compared].mean(axis=0), samples[1::2, compared].mean(axis=0), out=difference)
        scale, sigma = self.parameters.stacked_clipping_scale, self.parameters.stacked_clipping_sigma
        candidates = clipping_candidates(low, high, mean, std, read_noise, scale, sigma)
        nearest = self._reach.min()
        return candidates | ~((high <= nearest) & (low >= -nearest))

    def _clip_candidates(
        self, samples: NDArray[np.float32], index: NDArray[np.intp], read_noise: NDArray[np.float32]
    ) -> _Clipped:
        """Clip candidates exactly, and replace their values in the images."""
        result = self._clip_exactly(samples, read_noise)
        # the others are combined already, unless their samples are so bright that the noise needs double precision
        bright = (np.abs(samples) > self._reach.min()).any(axis=0)
        changed = result.rejected.any(axis=0) | bright
        samples, index, read_noise = samples[:, changed], index[changed], read_noise[changed]
        result = ClipResult(result.rejected[:, changed], result.ambiguous[changed])
        mean, std, count = _combine_kept(samples, result.rejected)
        values = {
            "above_level": mean,
            "noise": np.where(count > 1, std * np.sqrt(count / (count - np.float32(1))), np.nan),
            "outlier_free_noise": _outlier_free_noise(samples, result.rejected, read_noise, self.model.shot_scale),
            "count": count,
            "ambiguous": result.ambiguous,
        }
        for name, value in values.items():
            self.images[name].reshape(-1)[index] = value
        invalid = ~np.isfinite(samples)
        pixel, frame = np.nonzero((result.rejected & ~invalid).T)
        return np.stack([frame, index[pixel]], axis=1).astype(np.int32), int(invalid.sum())

    def _clip_exactly(self, samples: NDArray[np.float32], read_noise: NDArray[np.float32]) -> ClipResult:
        """Clip samples of shape (frames, pixels); those that few frames flag take no part in the first median."""
        flagged = np.abs(samples) > self._reach[:, None]
        flagged &= 2 * flagged.sum(axis=0) < self._n_frames
        parameters = self.parameters
        scale, sigma = parameters.stacked_clipping_scale, parameters.stacked_clipping_sigma
        iterations = parameters.stacked_clipping_iterations
        if scale == "noise-model":
            shot_scale = self.model.shot_scale
            return clip_by_noise(samples, read_noise, sigma, iterations, flagged=flagged, shot_scale=shot_scale)
        return clip_by_scatter(samples, scale, sigma, iterations, flagged=flagged)


def _combine_samples(
    frames: list[CCDData], samples: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation (ddof 0) of all samples of each pixel, by ccdproc's Combiner.

    Parameters
    ----------
    frames : list of CCDData
        Frames whose data are replaced: to make them anew for each band takes longer than to combine them.
    samples : ndarray of float32, shape (frames, rows, columns), electron
        Samples of a band.

    Returns
    -------
    mean, std : ndarray of float32, shape (rows, columns), electron
    """
    from ccdproc import Combiner

    no_mask = np.broadcast_to(False, samples.shape[1:])  # the Combiner would make one for each frame
    for frame, data in zip(frames, samples, strict=True):
        frame.data, frame.mask = data, no_mask
    combined = Combiner(frames, dtype=np.float32).average_combine(scale_func=mean_of, uncertainty_func=std_of)
    # the Combiner divides the standard deviation by sqrt(n)
    std: NDArray[np.float32] = combined.uncertainty.array * np.sqrt(np.float32(len(samples)))
    return combined.data, std


def mean_of(samples: NDArray[np.float32] | np.ma.MaskedArray, axis: int = 0) -> NDArray[np.float32]:
    """Return the mean of all samples along the first axis: as the Combiner's own, in half of its time.

    Parameters
    ----------
    samples : ndarray or masked array of float32, shape (frames, rows, columns)
        Samples; ccdproc up to 2.5 gives masked arrays, later versions plain ones. No mask counts.
    axis : int
        0, as the Combiner has it.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
    """
    mean: NDArray[np.float32] = np.add.reduce(np.ma.getdata(samples), axis=axis) / np.float32(len(samples))
    return mean


def std_of(samples: NDArray[np.float32] | np.ma.MaskedArray, axis: int = 0) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 0) of all samples along the first axis; see `mean_of`."""
    values = np.ma.getdata(samples)
    mean = mean_of(values, axis)
    squares = np.empty_like(mean)
    height = max(STD_SAMPLES // values[:, 0].size, 1)
    for start in range(0, len(mean), height):  # which stay in the cache
        rows = slice(start, start + height)
        difference = values[:, rows] - mean[rows]
        np.square(difference, out=difference)
        np.add.reduce(difference, axis=0, out=squares[rows])
    squares /= np.float32(len(values))
    return np.sqrt(squares, out=squares)


def _combine_kept(
    samples: NDArray[np.float32], rejected: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    """Return mean, standard deviation (ddof 0) and number of the samples kept, by ccdproc's Combiner."""
    from astropy import units
    from astropy.nddata import CCDData
    from ccdproc import Combiner

    frames = [CCDData(frame, unit=units.electron, mask=mask) for frame, mask in zip(samples, rejected, strict=True)]
    combined = Combiner(frames, dtype=np.float32).average_combine()
    count = (~rejected).sum(axis=0)
    std = combined.uncertainty.array * np.sqrt(count.astype(np.float32))
    return combined.data, std, count.astype(np.uint16)


def _without_furthest(
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    n_frames: int,
) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 1) of all samples but the one furthest from the mean.

    Without the sample x of n the sum of squares is smaller by n / (n - 1) * (x - mean)**2.
    """
    if n_frames < 3:
        return np.full_like(mean, np.nan)
    furthest = np.square(np.maximum(high - mean, mean - low)) * np.float32(n_frames / (n_frames - 1))
    squares = np.square(std, dtype=np.float64) * n_frames - furthest
    return np.sqrt(np.maximum(squares, 0.0) / (n_frames - 2)).astype(np.float32)


def _outlier_free_noise(
    samples: NDArray[np.float32],
    rejected: NDArray[np.bool_],
    read_noise: NDArray[np.float32],
    shot_scale: float,
) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 1) of clipped pixels without possible cosmic rays.

    A single rejected sample, or several of which no two agree, are cosmic rays and are left out. Two that agree are a
    second level of the pixel, and stay. Of the rest the furthest sample is left out, as in any pixel, unless too few
    would stay. The sums are in double precision, as a cosmic ray may be bright.
    """
    finite = np.isfinite(samples)
    several = np.flatnonzero(rejected.sum(axis=0) > 1)
    outliers = np.sort(np.where(rejected[:, several], samples[:, several], np.float32(np.nan)), axis=0)
    noise = np.sqrt(np.square(read_noise[several]) + shot_scale * np.maximum(outliers, 0))
    second_level = np.zeros(samples.shape[1], bool)
    second_level[several] = (np.diff(outliers, axis=0) <= np.float32(AGREE_SIGMA * np.sqrt(2)) * noise[1:]).any(axis=0)
    left_out = rejected & ~second_level | ~finite
    values = np.where(left_out, 0.0, samples.astype(np.float64))
    count = len(samples) - left_out.sum(axis=0)
    distance = np.abs(values - values.sum(axis=0) / count)
    distance[left_out] = -1.0
    pixels = np.flatnonzero((count >= 4) | ~(rejected & finite).any(axis=0))
    furthest = np.argmax(distance[:, pixels], axis=0)
    values[furthest, pixels] = 0.0
    left_out[furthest, pixels] = True
    count[pixels] -= 1
    values -= values.sum(axis=0) / count
    values[left_out] = 0.0
    variance = np.square(values, out=values).sum(axis=0) / (count - 1)
    return np.asarray(np.where(count > 1, np.sqrt(variance), np.nan), np.float32)
