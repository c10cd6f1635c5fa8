"""Bands of rows of a stack: read, clip and combine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .frame_stack import FrameStack
from .noise_model import NoiseModel
from .sigma_clip import (
    ClipResult,
    clip_by_noise,
    clip_by_scatter,
    screen_by_median,
    screen_by_noise,
    screen_by_scatter,
)

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["BandCombiner", "BandLeftovers", "Clip", "StackImages"]

#: Every so many rows the halves of the stack are compared.
HALVES_STRIDE = 8
#: Samples of doubtful pixels that are clipped at once: each call has its price.
FEW_SAMPLES = 2**19
#: Rejected samples of a pixel that lie this close to each other, in sigmas, are a level, not cosmic rays.
AGREE_SIGMA = 2.0


@dataclass(frozen=True)
class Clip:
    """How to clip; see the parameters of `clip_and_stack`."""

    frame_sigma: float
    sigma: float
    iterations: int
    scale: str


@dataclass(frozen=True)
class StackImages:
    """The images that the bands fill; see `StackResult`. The mean is above the level of its amplifier."""

    mean: NDArray[np.float32]
    noise: NDArray[np.float32]
    outlier_free_noise: NDArray[np.float32]
    count: NDArray[np.uint16]
    ambiguous: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    #: Mean of the odd minus mean of the even frames, in every eighth row.
    half_difference: NDArray[np.float32]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> StackImages:
        """Return images of a shape, filled with zeros."""
        return cls(
            mean=np.zeros(shape, np.float32),
            noise=np.zeros(shape, np.float32),
            outlier_free_noise=np.zeros(shape, np.float32),
            count=np.zeros(shape, np.uint16),
            ambiguous=np.zeros(shape, bool),
            saturated=np.zeros(shape, bool),
            half_difference=np.zeros((-(-shape[0] // HALVES_STRIDE), shape[1]), np.float32),
        )

    def without_rejection(self, n_frames: int) -> NDArray[np.float32]:
        """Return the differences of the halves in pixels that lost none of so many samples."""
        return self.half_difference[self.count[::HALVES_STRIDE] == n_frames]


@dataclass(frozen=True)
class BandLeftovers:
    """What bands have beside their images.

    Attributes
    ----------
    rejected : list of ndarray of int32, shape (n, 2)
        Frame and pixel (index into the flattened image) of each sample left out by the clip, in lots.
    n_invalid : int
        Samples without data.
    """

    rejected: list[NDArray[np.int32]]
    n_invalid: int


@dataclass(frozen=True)
class ClipCandidates:
    """Pixels that a closer look is due to.

    Attributes
    ----------
    samples : ndarray of float32, shape (frames, n), electron
        Their samples.
    at : ndarray of int, shape (n,)
        Where they are in the flattened image.
    read_noise : ndarray of float32, shape (n,), electron
        Noise of a single sample.
    """

    samples: NDArray[np.float32]
    at: NDArray[np.intp]
    read_noise: NDArray[np.float32]

    def of(self, which: NDArray[np.bool_]) -> ClipCandidates:
        return ClipCandidates(self.samples[:, which], self.at[which], self.read_noise[which])


class BandCombiner:
    """Stacks bands of rows into images.

    Parameters
    ----------
    stack : FrameStack
        The frames.
    model : NoiseModel
        Their noise.
    clip : Clip
        How to clip.
    images : StackImages
        Where the results go.
    band_rows : int
        Most rows of a band.
    """

    def __init__(self, stack: FrameStack, model: NoiseModel, clip: Clip, images: StackImages, band_rows: int) -> None:
        self.stack = stack
        self.model = model
        self.clip = clip
        self.images = images
        self._n_frames = len(stack.names)
        self._levels = {
            first: np.array([model.row(model.level_e + offsets, first) for offsets in model.offsets_e])
            for first, _ in model.spans()
        }
        self._reach = np.float32(clip.frame_sigma) * model.frame_scatter_e.astype(np.float32)
        self._band_rows = band_rows
        self._free: list[_Buffer] = []  # at most one for each thread

    def __call__(self, start: int, stop: int) -> BandLeftovers:
        """Stack a band of rows in which every column keeps its amplifier."""
        try:
            buffer = self._free.pop()
        except IndexError:
            buffer = _Buffer(self._n_frames, self._band_rows, self.stack.shape[1])
        most = max(FEW_SAMPLES // self._n_frames, 1)
        with np.errstate(divide="ignore", invalid="ignore"):  # pixels without a sample: NaN, which is meant
            samples = buffer.samples[:, : stop - start]
            self._read(samples, start, stop)
            clipped = [self._settle(some, buffer) for some in self._combine(samples, buffer, start, stop, most)]
        self._free.append(buffer)
        return BandLeftovers(
            rejected=[rejected for rejected, _ in clipped],
            n_invalid=sum(n_invalid for _, n_invalid in clipped),
        )

    def _read(self, samples: NDArray[np.float32], start: int, stop: int) -> None:
        """Fill a band with samples above the level of their amplifier and frame, and note the saturated ones.

        Samples close to zero keep their precision in float32 whatever the pedestal.
        """
        levels = self._levels[max(first for first in self._levels if first <= start)]
        saturated = np.zeros(samples.shape[1:], np.uint16)
        for i, frame in enumerate(samples):
            full = self.stack.read(i, start, stop, frame)
            if full is not None:
                saturated += full
            frame -= levels[i]
        if saturated.any():
            self.images.saturated[start:stop] = 2 * saturated >= self._n_frames

    def _combine(
        self, samples: NDArray[np.float32], buffer: _Buffer, start: int, stop: int, most: int
    ) -> Iterator[ClipCandidates]:
        """Combine all pixels of a band as they are; what the clip may change comes out, so many pixels at once."""
        n_frames, images, nx = self._n_frames, self.images, samples.shape[2]
        # with a mask of its own each: else the Combiner makes one
        mean, std = _moments(buffer.ccds(samples, np.broadcast_to(False, samples.shape)))
        low, high = samples.min(axis=0), samples.max(axis=0)
        read_noise = self.model.row(self.model.read_noise_e, start)
        rows = slice(start, stop)
        images.mean[rows] = mean
        np.multiply(std, np.sqrt(np.float32(n_frames) / np.float32(n_frames - 1)), out=images.noise[rows])
        _without_furthest(mean, std, low, high, n_frames, out=images.outlier_free_noise[rows])
        images.count[rows] = n_frames
        some = slice(-start % HALVES_STRIDE, None, HALVES_STRIDE)
        difference = images.half_difference[-(-start // HALVES_STRIDE) : -(-stop // HALVES_STRIDE)]
        np.subtract(samples[0::2, some].mean(axis=0), samples[1::2, some].mean(axis=0), out=difference)
        every = samples.reshape(n_frames, -1)
        here = np.flatnonzero(self._doubtful(mean, std, low, high, read_noise))
        for first in range(0, here.size, most):
            these = here[first : first + most]
            yield ClipCandidates(np.take(every, these, axis=1), start * nx + these, read_noise[these % nx])

    def _settle(self, pixels: ClipCandidates, buffer: _Buffer) -> tuple[NDArray[np.int32], int]:
        """Clip some pixels exactly, fill them in; returns what was rejected, and how many samples have no data."""
        if self.clip.scale == "noise-model":
            pixels = pixels.of(
                screen_by_median(
                    pixels.samples, pixels.read_noise, self.clip.sigma, self.model.shot_scale, self._reach.min()
                )
            )
        few, at, read_noise = pixels.samples, pixels.at, pixels.read_noise
        invalid = ~np.isfinite(few)
        result = self._clip_few(few, read_noise)
        mean, std, kept = _kept_moments(buffer.ccds(few, result.rejected), result.rejected)
        for image, values in (
            (self.images.mean, mean),
            (self.images.noise, np.where(kept > 1, std * np.sqrt(kept / (kept - np.float32(1))), np.nan)),
            (self.images.outlier_free_noise, _quiet_scatter(few, result.rejected, read_noise, self.model.shot_scale)),
            (self.images.count, kept),
            (self.images.ambiguous, result.ambiguous),
        ):
            image.reshape(-1)[at] = values
        frame, pixel = np.nonzero(result.rejected & ~invalid)
        return np.stack([frame, at[pixel]], axis=1).astype(np.int32), int(invalid.sum())

    def _doubtful(
        self,
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        low: NDArray[np.float32],
        high: NDArray[np.float32],
        read_noise: NDArray[np.float32],
    ) -> NDArray[np.bool_]:
        """Find the pixels in which the clip might reject a sample; those with NaN are among them."""
        if self.clip.scale == "noise-model":
            closer = screen_by_noise(low, high, mean, std, read_noise, self.clip.sigma)
        elif self.clip.scale == "std":
            closer = screen_by_scatter(low, high, mean, std, self.clip.sigma)
        else:
            closer = np.ones(mean.shape, bool)
        nearest = self._reach.min()
        return closer | ~((high <= nearest) & (low >= -nearest))

    def _clip_few(self, few: NDArray[np.float32], read_noise: NDArray[np.float32]) -> ClipResult:
        """Clip some pixels, shape (frames, pixels), exactly."""
        flagged = np.abs(few) > self._reach[:, None]
        doubtful = flagged & (2 * flagged.sum(axis=0) < self._n_frames)
        clip = self.clip
        if clip.scale == "noise-model":
            return clip_by_noise(
                few, read_noise, clip.sigma, clip.iterations, doubtful=doubtful, shot_scale=self.model.shot_scale
            )
        return clip_by_scatter(few, clip.scale, clip.sigma, clip.iterations, doubtful=doubtful)


class _Buffer:
    """Samples of one band of all frames, and ccdproc's frames, which take ten times as long to make as to fill."""

    def __init__(self, n_frames: int, band_rows: int, nx: int) -> None:
        from astropy import units
        from astropy.nddata import CCDData

        self.samples = np.empty((n_frames, band_rows, nx), np.float32)
        self._ccds = [CCDData(frame, unit=units.electron) for frame in self.samples]

    def ccds(self, samples: NDArray[np.float32], rejected: NDArray[np.bool_]) -> list[CCDData]:
        """Return frames of these samples without the rejected ones, until the next call."""
        for ccd, data, mask in zip(self._ccds, samples, rejected, strict=True):
            ccd.data, ccd.mask = data, mask
        return self._ccds


def _moments(ccds: list[CCDData]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation (ddof 0) of all samples of each pixel, by ccdproc's Combiner."""
    from ccdproc import Combiner

    combined = Combiner(ccds, dtype=np.float32).average_combine(scale_func=mean_of, uncertainty_func=std_of)
    # the Combiner divides its standard deviation by sqrt(n); put it back
    std: NDArray[np.float32] = combined.uncertainty.array * np.sqrt(np.float32(len(ccds)))
    return combined.data, std


def mean_of(samples: NDArray[np.float32] | np.ma.MaskedArray, axis: int = 0) -> NDArray[np.float32]:
    """Return the mean of all samples along the first axis, for ccdproc's Combiner.

    It adds frame to frame: the result is that of the Combiner's own average to the last bit, in half of the time.

    Parameters
    ----------
    samples : ndarray or masked array of float32, shape (frames, ...)
        Samples; no mask counts. ccdproc up to 2.5 gives masked arrays, later versions plain ones.
    axis : int
        0, as the Combiner has it.

    Returns
    -------
    ndarray of float32, shape (...)
    """
    mean: NDArray[np.float32] = np.add.reduce(np.ma.getdata(samples), axis=axis) / np.float32(len(samples))
    return mean


def std_of(samples: NDArray[np.float32] | np.ma.MaskedArray, axis: int = 0) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 0) of all samples along the first axis; see `mean_of`."""
    frames = np.ma.getdata(samples)
    mean = mean_of(frames, axis)
    squares = np.square(frames[0] - mean)
    difference = np.empty_like(mean)
    for frame in frames[1:]:
        np.subtract(frame, mean, out=difference)
        difference *= difference
        squares += difference
    squares /= np.float32(len(frames))
    return np.sqrt(squares, out=squares)


def _kept_moments(
    ccds: list[CCDData], rejected: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    """Mean, standard deviation (ddof 0) and number of the samples kept, shape (frames, pixels)."""
    from ccdproc import Combiner

    combined = Combiner(ccds, dtype=np.float32).average_combine()
    kept = (~rejected).sum(axis=0)
    std = combined.uncertainty.array * np.sqrt(kept.astype(np.float32))
    return combined.data, std, kept.astype(np.uint16)


def _without_furthest(
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    n_frames: int,
    out: NDArray[np.float32],
) -> None:
    """Fill in the standard deviation (ddof 1) of all samples but the one furthest from the mean.

    Leaving one sample x out of n takes n / (n - 1) * (x - mean)**2 from the sum of squares.
    """
    if n_frames < 3:
        out[...] = np.nan
        return
    furthest = high - mean
    np.maximum(furthest, mean - low, out=furthest)
    np.square(furthest, out=furthest)
    furthest *= np.float32(n_frames / (n_frames - 1))
    squares = np.square(std, dtype=np.float64)
    squares *= n_frames
    squares -= furthest
    np.maximum(squares, 0.0, out=squares)
    squares /= n_frames - 2
    out[...] = np.sqrt(squares, out=squares)


def _quiet_scatter(
    samples: NDArray[np.float32],
    rejected: NDArray[np.bool_],
    read_noise: NDArray[np.float32],
    shot_scale: float,
) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 1) of few pixels' samples without what may be cosmic rays.

    A single rejected sample, or several of which no two agree, are cosmic rays: all of them are left out.
    Two that agree are a second level of the pixel, and stay. Of what is left the furthest sample goes, as in
    any pixel, unless that would leave too few. From the samples themselves and in double precision, which a
    bright cosmic ray does not exhaust.
    """
    finite = np.isfinite(samples)
    several = np.flatnonzero(rejected.sum(axis=0) > 1)
    hits = np.sort(np.where(rejected[:, several], samples[:, several], np.float32(np.nan)), axis=0)
    noise = np.sqrt(np.square(read_noise[several]) + shot_scale * np.maximum(hits, 0))
    agree = np.zeros(samples.shape[1], bool)
    agree[several] = (np.diff(hits, axis=0) <= np.float32(AGREE_SIGMA * np.sqrt(2)) * noise[1:]).any(axis=0)
    left_out = rejected & ~agree | ~finite
    value = np.where(left_out, 0.0, samples.astype(np.float64))
    count = len(samples) - left_out.sum(axis=0)
    distance = np.abs(value - value.sum(axis=0) / count)
    distance[left_out] = -1.0
    without_furthest = np.flatnonzero((count >= 4) | ~(rejected & finite).any(axis=0))
    furthest = np.argmax(distance[:, without_furthest], axis=0)
    value[furthest, without_furthest] = 0.0
    left_out[furthest, without_furthest] = True
    count[without_furthest] -= 1
    value -= value.sum(axis=0) / count
    value[left_out] = 0.0
    variance = np.square(value, out=value).sum(axis=0) / (count - 1)
    return np.asarray(np.where(count > 1, np.sqrt(variance), np.nan), np.float32)
