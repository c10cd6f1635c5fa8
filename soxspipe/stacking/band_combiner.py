"""Combination of the samples of a band of rows: screen, clip candidates and their neighbours, combine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parallel import run_concurrently
from .averages import combine_samples, mean_of, noise_without_furthest
from .combined_images import NO_SAMPLES, CombinedImages, as_list, as_mask
from .cosmic_rays import halos
from .frame_monitor import FAR_SIGMA, FrameMonitor, far_samples
from .frame_stack import FrameStack, sample_rows
from .level_around import FEW_FRAMES, possible_outliers, reject_high, reject_neighbours
from .noise_model import NoiseModel
from .parameters import StackParameters
from .sigma_clip import ClipResult, clip_by_noise, clip_by_scatter, clipping_candidates

__all__ = ["BandCombiner"]

#: Pixels of the difference of the halves, and rows of its groups.
HALF_PIXELS, HALF_ROWS = 2**19, 10
#: Samples of clipping candidates that are clipped at once.
CLIP_SAMPLES = 2**19


@dataclass(frozen=True)
class _Clipped:
    """Samples of clipping candidates, as frame and pixel: rejected ones, and kept ones that may be cosmic rays."""

    rejected: NDArray[np.int32]
    possible_outliers: NDArray[np.int32]
    #: Samples without data.
    n_invalid: int


@dataclass(frozen=True)
class CombinedBand:
    """The rejected samples of a combined band, and the pixels in which samples far from the mean are searched.

    Attributes
    ----------
    candidates : ndarray of int, shape (n,)
        Clipping candidates, as indices into the flattened band.
    rejected : ndarray of int32, shape (n, 2)
        Frame and pixel (index into the flattened image) of the rejected samples.
    n_invalid : int
        Samples without data.
    """

    candidates: NDArray[np.intp]
    rejected: NDArray[np.int32]
    n_invalid: int


class BandCombiner:
    """Combines bands of rows; its images are complete when all bands are done."""

    def __init__(self, stack: FrameStack, model: NoiseModel, parameters: StackParameters, workers: int) -> None:
        from astropy import units
        from astropy.nddata import CCDData

        self.stack = stack
        self.model = model
        self.parameters = parameters
        self.workers = workers
        self._n_frames = len(stack.names)
        self._by_noise = parameters.stacked_clipping_scale == "noise-model"
        self.images = CombinedImages(stack.shape, self._n_frames, model)
        self._frames = [CCDData(np.empty((1, 1), np.float32), unit=units.electron) for _ in stack.names]
        self._levels = {
            first: np.array([model.row(model.level_e + offsets, first) for offsets in model.offsets_e])
            for first, _ in model.spans()
        }
        # of two frames it is not known which one is odd
        vetted = parameters.vet_frames != "off" and self._n_frames > 2
        self.monitor = FrameMonitor(self._n_frames, stack.shape) if vetted else None
        self.half_rows = sample_rows(stack.shape, HALF_PIXELS, HALF_ROWS)
        self.half_difference = np.empty((self.half_rows.size, stack.shape[1]), np.float32)
        self._reach = np.float32(parameters.frame_clipping_sigma) * model.frame_scatter_e.astype(np.float32)
        #: Pixels with the same raw value in the first two frames.
        self.n_same_pairs = 0
        subtracted_e = stack.subtracted_e
        self._subtracted = np.zeros((self._n_frames, 1)) if subtracted_e is None else subtracted_e
        largest = max(float(np.abs(levels).max()) for levels in self._levels.values()) + np.abs(self._subtracted).max()
        self._same_e = np.float32(max(0.25 * stack.step_e, 1e-6 * largest))

    def read(self, samples: NDArray[np.float32], start: int, stop: int) -> None:
        """Fill a band with samples above the level of their amplifier and frame, and mark saturated pixels.

        Samples near zero keep their precision in float32 with any pedestal.
        """
        levels = _of_span(self._levels, start)
        saturated = np.zeros(samples.shape[1:], np.uint16)
        for i, frame in enumerate(samples):
            mask = self.stack.read(i, start, stop, frame)
            if mask is not None:
                saturated += mask
            frame -= levels[i]
        self.images["saturated"][start:stop] = 2 * saturated >= self._n_frames

    def combine(self, samples: NDArray[np.float32], start: int, stop: int) -> CombinedBand:
        """Combine a band in which every column has one amplifier."""
        nx = samples.shape[2]
        read_noise = self.model.row(self.model.read_noise_e, start)
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN in pixels without a sample
            candidates = np.flatnonzero(self._combine_all(samples, read_noise, start, stop))

        def clip(pixels: NDArray[np.intp]) -> _Clipped:
            y, x = np.divmod(pixels, nx)
            with np.errstate(divide="ignore", invalid="ignore"):
                return self._clip_candidates(samples[:, y, x], start * nx + pixels, read_noise[x])

        clipped = run_concurrently([partial(clip, part) for part in self._parts(candidates)], self.workers)
        rejected = np.concatenate([NO_SAMPLES, *(part.rejected for part in clipped)])
        possible = np.concatenate([NO_SAMPLES, *(part.possible_outliers for part in clipped)])
        sigma = self.parameters.stacked_clipping_sigma
        more = reject_high(self.images, samples, possible, rejected, start, sigma)
        rejected = np.concatenate([rejected, more])
        # as in the clip along the stack: a value from fewer than half of the samples is ambiguous
        pixels = np.unique(more[:, 1])
        n_valid = np.isfinite(samples[:, pixels // nx - start, pixels % nx]).sum(axis=0)
        self.images.flat("ambiguous")[pixels] |= 2 * self.images.flat("count")[pixels] < n_valid
        by_pixel = rejected[np.lexsort(rejected.T)]
        return CombinedBand(candidates, by_pixel, sum(part.n_invalid for part in clipped))

    def measure(self, samples: NDArray[np.float32], candidates: NDArray[np.intp], start: int, stop: int) -> None:
        """Find the constant pixels of a combined band, and add it to the figures of single frames."""
        self.images["constant"][start:stop] = self._constant(samples, start)
        if self.monitor is None:
            return
        nx, mean = samples.shape[2], self.images["above_level"][start:stop]
        read_noise = self.model.row(self.model.read_noise_e, start)
        offsets = _of_span(self._levels, start) - self.model.row(self.model.level_e, start)
        self.monitor.add(samples, mean, read_noise, offsets, start)
        for pixels in self._parts(candidates):
            y, x = np.divmod(pixels, nx)
            self.monitor.limit(far_samples(samples[:, y, x], mean[y, x], read_noise[x], start * nx + pixels))

    def _parts(self, candidates: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """Divide candidates into parts that are clipped at once."""
        most = max(CLIP_SAMPLES // self._n_frames, 1)
        return [candidates[first : first + most] for first in range(0, candidates.size, most)]

    def _combine_all(
        self, samples: NDArray[np.float32], read_noise: NDArray[np.float32], start: int, stop: int
    ) -> NDArray[np.bool_]:
        """Combine all samples of a band without a clip, and return where the clip can change the result."""
        n_frames = self._n_frames
        mean, std = combine_samples(self._frames, samples)
        low, high = samples.min(axis=0), samples.max(axis=0)
        values = {
            "above_level": mean,
            "noise": std * np.sqrt(np.float32(n_frames) / np.float32(n_frames - 1)),
            "outlier_free_noise": noise_without_furthest(mean, std, low, high, n_frames),
            "count": n_frames,
        }
        for name, value in values.items():
            self.images[name][start:stop] = value
        first, last = np.searchsorted(self.half_rows, (start, stop))
        rows = self.half_rows[first:last] - start
        # mean of the odd frames minus that of the even ones, which are the rest of the mean of all
        difference = (mean_of(samples[0::2, rows]) - mean[rows]) * np.float32(n_frames / (n_frames // 2))
        self.half_difference[first:last] = difference
        scale, sigma = self.parameters.stacked_clipping_scale, self.parameters.stacked_clipping_sigma
        candidates = clipping_candidates(low, high, mean, std, read_noise, scale, sigma)
        if self.monitor is not None:
            candidates |= clipping_candidates(low, high, mean, std, read_noise, "noise-model", FAR_SIGMA)
        nearest = self._reach.min()
        return candidates | ~((high <= nearest) & (low >= -nearest))

    def _clip_candidates(
        self, samples: NDArray[np.float32], index: NDArray[np.intp], read_noise: NDArray[np.float32]
    ) -> _Clipped:
        """Clip candidates exactly, and replace their values in the images."""
        result = self._clip_exactly(samples, read_noise)
        possible = NO_SAMPLES
        if self._by_noise and self._n_frames <= FEW_FRAMES:
            sigma, shot_scale = self.parameters.stacked_clipping_sigma, self.model.shot_scale
            possible = possible_outliers(samples, result, index, read_noise, shot_scale, sigma)
        # the others are combined already, unless their samples are so bright that the noise needs double precision
        bright = (np.abs(samples) > self._reach.min()).any(axis=0)
        changed = result.rejected.any(axis=0) | bright
        samples, index, read_noise = samples[:, changed], index[changed], read_noise[changed]
        rejected = result.rejected[:, changed]
        self.images.flat("ambiguous")[index] = result.ambiguous[changed]
        self.images.replace(samples, index, rejected, rejected, read_noise)
        invalid = ~np.isfinite(samples)
        return _Clipped(as_list(rejected & ~invalid, index), possible, int(invalid.sum()))

    def clip_neighbours(
        self, samples: NDArray[np.float32], rejected: NDArray[np.int32], start: int, stop: int
    ) -> NDArray[np.int32]:
        """Reject the samples beside rejected ones that are high, and return them; none with the pixels' own scatter."""
        if not self._by_noise:
            return NO_SAMPLES
        return reject_neighbours(self.images, samples, rejected, start, stop)

    def clip_halos(
        self, clipped: NDArray[np.int32], neighbours: NDArray[np.int32], bands: list[tuple[int, int]]
    ) -> NDArray[np.int32]:
        """Reject the samples around large clusters of rejected ones, and return them. Their rows are read again."""
        if not self._by_noise:
            return NO_SAMPLES
        n_frames, nx = self._n_frames, self.stack.shape[1]
        halo = halos(np.concatenate([clipped, neighbours]), self.stack.shape)
        found = [NO_SAMPLES]
        for first, last in bands if len(halo) else ():
            inside = halo[(halo[:, 1] >= first * nx) & (halo[:, 1] < last * nx)]
            if not len(inside):
                continue
            pixels = np.unique(inside[:, 1]).astype(np.intp)
            start, stop = int(pixels[0]) // nx, int(pixels[-1]) // nx + 1
            samples = np.empty((n_frames, stop - start, nx), np.float32)
            saturated = self.images["saturated"][start:stop].copy()
            self.read(samples, start, stop)
            self.images["saturated"][start:stop] = saturated
            masks = (as_mask(listed, pixels, n_frames) for listed in (inside, clipped, neighbours))
            found.append(self.images.reject(samples[:, pixels // nx - start, pixels % nx], pixels, *masks))
        return np.concatenate(found)

    def _constant(self, samples: NDArray[np.float32], start: int) -> NDArray[np.bool_]:
        """Return which pixels have the same raw value in all frames, before levels were subtracted."""
        nx = samples.shape[2]
        levels = _of_span(self._levels, start)
        shift = (levels - levels[0]).astype(np.float32)
        of_rows = np.broadcast_to(self._subtracted, (self._n_frames, self.stack.shape[0]))[:, start:]
        row_shift = (of_rows[:, : samples.shape[1]] - of_rows[0, : samples.shape[1]]).astype(np.float32)
        constant = np.abs(samples[1] - samples[0] + shift[1] + row_shift[1, :, None]) <= self._same_e
        y, x = np.divmod(np.flatnonzero(constant), nx)
        self.n_same_pairs += y.size
        for i in range(2, self._n_frames):
            same = np.abs(samples[i, y, x] - samples[0, y, x] + shift[i, x] + row_shift[i, y]) <= self._same_e
            constant[y[~same], x[~same]] = False
            y, x = y[same], x[same]
        return constant

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


def _of_span(by_first_row: dict[int, NDArray[Any]], row: int) -> NDArray[Any]:
    """Return the value of the range of rows that holds a row."""
    return by_first_row[max(first for first in by_first_row if first <= row)]
