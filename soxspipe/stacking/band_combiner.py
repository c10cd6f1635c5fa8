"""Combination of the samples of a band of rows: screen, clip candidates and their neighbours, combine."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parallel import run_concurrently
from .averages import (
    combine_kept,
    combine_samples,
    count_agreeing,
    mean_of,
    noise_without_furthest,
    outlier_free_noise,
)
from .cosmic_rays import halos, neighbours_of
from .frame_monitor import FAR_SIGMA, FarSamples, FrameMonitor, far_samples
from .frame_stack import FrameStack
from .noise_model import NoiseModel
from .parameters import StackParameters
from .robust import nan_medians
from .sigma_clip import ClipResult, clip_by_noise, clip_by_scatter, clipping_candidates

__all__ = ["BandCombiner"]

#: Samples of clipping candidates that are clipped at once.
CLIP_SAMPLES = 2**19
#: Frames from which several cosmic rays of like charge hit a pixel by chance.
MANY_FRAMES = 50
#: Samples beside a rejected sample are cosmic rays from this many sigmas on.
NEIGHBOUR_SIGMA = 2.5
#: The other samples of a pixel contradict the level around it when they are so many sigmas from it.
CONTRADICT_SIGMA = 3.0
#: Columns from a pixel to those that give the level around it; as many on even as on odd ones.
AROUND = np.array([-8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8])

#: Rejected samples (frame and pixel), and the number of those without data.
_Clipped = tuple[NDArray[np.int32], int]
NO_SAMPLES = np.empty((0, 2), np.int32)

_IMAGES = {
    "above_level": np.float32, "noise": np.float32, "outlier_free_noise": np.float32, "count": np.uint16,
    "ambiguous": np.bool_, "saturated": np.bool_, "constant": np.bool_, "half_difference": np.float32,
}  # fmt: skip


class BandCombiner:
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
        self._frames = [CCDData(np.empty((1, 1), np.float32), unit=units.electron) for _ in stack.names]
        self._levels = {
            first: np.array([model.row(model.level_e + offsets, first) for offsets in model.offsets_e])
            for first, _ in model.spans()
        }
        # of two frames it is not known which one is odd
        vetted = parameters.vet_frames != "off" and self._n_frames > 2
        self.monitor = FrameMonitor(self._n_frames, stack.shape) if vetted else None
        self._reach = np.float32(parameters.frame_clipping_sigma) * model.frame_scatter_e.astype(np.float32)
        #: Pixels with the same raw value in the first two frames.
        self.n_same_pairs = 0
        #: Pixels with rejected samples that agree, the number of these, and the noise without them.
        self._second_levels: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]] = []
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

    def combine(self, samples: NDArray[np.float32], start: int, stop: int) -> list[_Clipped]:
        """Combine a band in which every column has one amplifier."""
        nx = samples.shape[2]
        read_noise = self.model.row(self.model.read_noise_e, start)
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN in pixels without a sample
            pixels = np.flatnonzero(self._combine_all(samples, read_noise, start, stop))
        self.images["constant"][start:stop] = self._constant(samples, start)

        def clip(part: NDArray[np.intp]) -> tuple[_Clipped, FarSamples | None]:
            values, index, noise = samples[:, part // nx, part % nx], start * nx + part, read_noise[part % nx]
            with np.errstate(divide="ignore", invalid="ignore"):
                clipped = self._clip_candidates(values, index, noise)
            if self.monitor is None:
                return clipped, None
            return clipped, far_samples(values, self.images["above_level"].reshape(-1)[index], noise, index)

        most = max(CLIP_SAMPLES // self._n_frames, 1)
        parts = [pixels[first : first + most] for first in range(0, pixels.size, most)]
        results = run_concurrently([partial(clip, part) for part in parts], self.workers)
        if self.monitor is not None:
            offsets = _of_span(self._levels, start) - self.model.row(self.model.level_e, start)
            self.monitor.add(samples, self.images["above_level"][start:stop], read_noise, offsets, start)
            for _, far in results:
                if far is not None:
                    self.monitor.limit(far)
        return [clipped for clipped, _ in results]

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
            # mean of the odd frames minus that of the even ones, which are the rest of the mean of all
            "half_difference": (mean_of(samples[0::2]) - mean) * np.float32(n_frames / (n_frames // 2)),
        }
        for name, value in values.items():
            self.images[name][start:stop] = value
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
        # the others are combined already, unless their samples are so bright that the noise needs double precision
        bright = (np.abs(samples) > self._reach.min()).any(axis=0)
        changed = result.rejected.any(axis=0) | bright
        samples, index, read_noise = samples[:, changed], index[changed], read_noise[changed]
        rejected = result.rejected[:, changed]
        self.images["ambiguous"].reshape(-1)[index] = result.ambiguous[changed]
        self._replace(samples, index, rejected, rejected, read_noise)
        invalid = ~np.isfinite(samples)
        return _as_list(rejected & ~invalid, index), int(invalid.sum())

    def _replace(
        self,
        samples: NDArray[np.float32],
        index: NDArray[np.intp],
        rejected: NDArray[np.bool_],
        clipped: NDArray[np.bool_],
        read_noise: NDArray[np.float32],
    ) -> None:
        """Replace the values of pixels in the images by those without the rejected samples.

        Several samples that the clip along the stack rejected may be a second level of the pixel; others never are.
        """
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN in pixels with too few samples
            mean, std, count = combine_kept(samples, rejected)
            agreeing = count_agreeing(samples, clipped, read_noise, self.model.shot_scale)
            second = np.flatnonzero(agreeing > 1)
            noise = outlier_free_noise(samples, rejected & ~(clipped & (agreeing > 1)))
            if second.size and self._n_frames >= MANY_FRAMES:
                without = outlier_free_noise(samples[:, second], rejected[:, second])
                self._second_levels.append((index[second], agreeing[second], without))
            values = {
                "above_level": mean,
                "noise": np.where(count > 1, std * np.sqrt(count / (count - np.float32(1))), np.nan),
                "outlier_free_noise": noise,
                "count": count,
            }
        for name, value in values.items():
            self.images[name].reshape(-1)[index] = value

    def forget_chance_levels(self, clipped: NDArray[np.int32]) -> None:
        """Forget second levels of as many samples as cosmic rays that hit a pixel by chance."""
        from scipy.special import pdtrc

        size = self.images["count"].size
        hits = -np.log(max(1.0 - np.unique(clipped[:, 1]).size / size, 1.0 / size))
        number = np.arange(2, self._n_frames + 1)
        needed = number[np.argmax(size * pdtrc(number - 1, hits) < 1)]  # Poisson
        for index, agreeing, without in self._second_levels:
            chance = agreeing < needed
            self.images["outlier_free_noise"].reshape(-1)[index[chance]] = without[chance]

    def clip_neighbours(
        self, samples: NDArray[np.float32], rejected: NDArray[np.int32], start: int, stop: int
    ) -> NDArray[np.int32]:
        """Reject the samples beside rejected ones that are high, and return them.

        Parameters
        ----------
        samples : ndarray of float32, shape (frames, rows, nx), electron
            The rows from ``start`` on, which is -1 where there is none before the first band.
        rejected : ndarray of int32, shape (n, 2)
            Frame and pixel of all samples rejected in these rows and those next to them.
        start, stop : int
            Rows to judge.
        """
        n_frames, nx = self._n_frames, samples.shape[2]
        first, end = max(start, 0) * nx, stop * nx
        number, near = neighbours_of(rejected[:, 1], self.stack.shape)
        is_judged = np.zeros((n_frames, end - first), bool)
        for frame, pixel, judged in ((rejected[number, 0], near, True), (*rejected.T, False)):
            inside = (pixel >= first) & (pixel < end)
            is_judged[frame[inside], pixel[inside] - first] = judged
        is_judged[:, self.images["ambiguous"].reshape(-1)[first:end]] = False
        frame, place = np.divmod(np.flatnonzero(is_judged), end - first)
        values = samples[frame, (first + place) // nx - start, place % nx]
        usable = np.isfinite(values)
        frame, place, values = frame[usable], place[usable], values[usable]
        # the pixels around give the level more precisely than the few other samples, unless these contradict it;
        # charge in the judged samples must not raise it
        count, mean = (self.images[name].reshape(-1)[first:end][place] for name in ("count", "above_level"))
        n_others = count - np.bincount(place)[place]
        sum_of_others = mean * np.float64(count) - np.bincount(place, values)[place]
        level = np.where(n_others > 0, sum_of_others / np.maximum(n_others, 1), mean)
        around, read_noise = self._level_around(first + place), self._read_noise_at(first + place)
        contradicted = np.abs(level - around) * np.sqrt(n_others) > CONTRADICT_SIGMA * read_noise
        level = np.where(contradicted, level, around)
        variance = np.square(read_noise) + self.model.shot_scale * np.maximum(level, 0)
        is_high = values > level + NEIGHBOUR_SIGMA * np.sqrt(variance)
        found = np.stack([frame, first + place], axis=1)[is_high]
        pixels = np.unique(found[:, 1])
        high, clipped = (_as_mask(listed, pixels, n_frames) for listed in (found, rejected))
        values = samples[:, pixels // nx - start, pixels % nx]
        return self._reject(values, pixels, high, clipped, self._read_noise_at(pixels))

    def _reject(
        self,
        samples: NDArray[np.float32],
        pixels: NDArray[np.intp],
        more: NDArray[np.bool_],
        clipped: NDArray[np.bool_],
        read_noise: NDArray[np.float32],
        others: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.int32]:
        """Reject more samples of pixels, unless none would be left, and return them."""
        rejected = clipped | ~np.isfinite(samples)
        if others is not None:
            rejected |= others
        more = more & ~rejected
        changed = more.any(axis=0) & ~(rejected | more).all(axis=0)
        if not changed.any():
            return NO_SAMPLES
        self._replace(
            samples[:, changed],
            pixels[changed],
            (rejected | more)[:, changed],
            clipped[:, changed],
            read_noise[changed],
        )
        return _as_list(more[:, changed], pixels[changed])

    def clip_halos(
        self, clipped: NDArray[np.int32], neighbours: NDArray[np.int32], bands: list[tuple[int, int]]
    ) -> NDArray[np.int32]:
        """Reject the samples around large clusters of rejected ones, and return them. Their rows are read again."""
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
            masks = (_as_mask(one, pixels, n_frames) for one in (inside, clipped, neighbours))
            more, by_clip, beside = masks
            values = samples[:, pixels // nx - start, pixels % nx]
            found.append(self._reject(values, pixels, more, by_clip, self._read_noise_at(pixels), beside))
        return np.concatenate(found)

    def _level_around(self, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the median of the pixels around each pixel in its row."""
        y, x = np.divmod(pixels, self.stack.shape[1])
        columns = np.clip(x[:, None] + AROUND, 0, self.stack.shape[1] - 1)
        return nan_medians(self.images["above_level"][y[:, None], columns])

    def _read_noise_at(self, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the read noise of pixels."""
        y, x = np.divmod(pixels, self.stack.shape[1])
        first_rows = np.array([first for first, _ in self.model.spans()])
        rows = np.stack([self.model.row(self.model.read_noise_e, first) for first in first_rows])
        read_noise: NDArray[np.float32] = rows[np.searchsorted(first_rows, y, side="right") - 1, x]
        return read_noise

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


def _as_list(mask: NDArray[np.bool_], index: NDArray[np.intp]) -> NDArray[np.int32]:
    """Return frame and pixel of the marked samples, for a mask of shape (frames, pixels)."""
    pixel, frame = np.nonzero(mask.T)
    return np.stack([frame, index[pixel]], axis=1).astype(np.int32)


def _as_mask(listed: NDArray[np.integer], pixels: NDArray[np.intp], n_frames: int) -> NDArray[np.bool_]:
    """Mark listed samples in a mask of shape (frames, pixels) for sorted pixels."""
    mask = np.zeros((n_frames, len(pixels)), bool)
    if len(pixels):
        place = np.minimum(np.searchsorted(pixels, listed[:, 1]), len(pixels) - 1)
        known = pixels[place] == listed[:, 1]
        mask[listed[known, 0], place[known]] = True
    return mask
