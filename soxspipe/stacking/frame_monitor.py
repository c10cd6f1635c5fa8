"""Figures of single frames, gathered while a stack is combined: box means, noise, and the pattern at neighbours."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .robust import nan_medians

__all__ = ["FAR_SIGMA", "FarSamples", "FrameFigures", "FrameMonitor", "far_samples"]

#: Least side of a box, pixels.
BOX = 32
#: Residuals beyond this many read noises count as this many: a cosmic ray adds little to its box, and a light leak
#: of any brightness stays visible.
FAR_SIGMA = 5.0
#: Pixels that give noise and pattern of a frame, from rows spread over it.
SAMPLE_PIXELS = 2**17
#: Second differences that are the pattern: from so many errors of the median. Those beyond so many read noises count as
#: this many.
PATTERN_SIGMA, PATTERN_REACH = 4.0, 10.0


@dataclass(frozen=True)
class FrameFigures:
    """Figures of the frames of a stack.

    Attributes
    ----------
    box_means : ndarray, shape (frames, box rows, box columns), electron
        Mean of (frame - stack) in boxes of 32 x 32 pixels or more, above the offset of frame and amplifier.
    box_offsets : ndarray, shape (frames, box rows, box columns), electron
        These offsets, averaged in the boxes.
    noise : ndarray, shape (frames,)
        Noise of neighbouring pixels of each frame, in units of the read noise of their amplifier.
    noise_samples : int
        Pixels of a frame that gave it.
    correlation : ndarray, shape (frames, 3, 3)
        Correlation of the pattern of the other frames with each frame moved by -1, 0 and 1 row and column, in units
        of its own error.
    """

    box_means: NDArray[np.float64]
    box_offsets: NDArray[np.float64]
    noise: NDArray[np.float64]
    noise_samples: int
    correlation: NDArray[np.float64]


class FrameMonitor:
    """Gathers the figures band by band.

    Parameters
    ----------
    n_frames : int
        Frames.
    shape : tuple of int
        Rows and columns of a frame.
    """

    def __init__(self, n_frames: int, shape: tuple[int, int]) -> None:
        # boxes of equal size, so that their noise is equal
        self._edges = [np.linspace(0, n, max(n // BOX, 1) + 1).astype(np.intp) for n in shape]
        boxes = (n_frames, *(edges.size - 1 for edges in self._edges))
        self._sums, self._offsets = np.zeros(boxes), np.zeros(boxes)
        self._stride = max(shape[0] * shape[1] // SAMPLE_PIXELS, 1)
        self._squares, self._counts = np.zeros(n_frames), np.zeros(n_frames)
        self._products, self._powers, self._pattern = np.zeros((n_frames, 3, 3)), np.zeros(n_frames), 0.0
        self._pixels = 0

    def add(
        self,
        samples: NDArray[np.float32],
        mean: NDArray[np.float32],
        read_noise: NDArray[np.float32],
        offsets: NDArray[np.float32],
        start: int,
    ) -> None:
        """Add a band in which every column has one amplifier.

        Parameters
        ----------
        samples : ndarray of float32, shape (frames, rows, nx), electron
            Samples above the level of their frame and amplifier.
        mean : ndarray of float32, shape (rows, nx), electron
            Their clipped mean.
        read_noise : ndarray of float32, shape (nx,), electron
            Read noise of each column.
        offsets : ndarray of float32, shape (frames, nx), electron
            Offset of frame and amplifier that was subtracted, of each column.
        start : int
            First row.
        """
        y_edges, x_edges = self._edges
        stop = start + len(mean)
        first, last = np.searchsorted(y_edges, start, "right") - 1, np.searchsorted(y_edges, stop, "left")
        cuts = np.clip(y_edges[first : last + 1], start, stop) - start
        sums = _sums_of_rows(samples, cuts)
        for i in np.flatnonzero(~np.isfinite(sums).all(axis=(0, 2))):
            sums[:, i] = _sums_of_rows(_finite(samples[i]), cuts)
        sums -= _sums_of_rows(_finite(mean), cuts)[:, np.newaxis]
        self._sums[:, first:last] += np.add.reduceat(sums, x_edges[:-1], axis=2, dtype=np.float64).swapaxes(0, 1)
        columns = np.add.reduceat(offsets, x_edges[:-1], axis=1, dtype=np.float64)
        self._offsets[:, first:last] += np.diff(cuts)[:, np.newaxis] * columns[:, np.newaxis]
        scaled, rows = np.float32(1) / read_noise, slice(-start % self._stride, None, self._stride)
        self._add_noise((samples[:, rows] - mean[rows]) * scaled)
        for y in range((self._stride // 2 - start) % self._stride, len(mean) - 1, self._stride):
            if y > 0:
                self._add_pattern(samples[:, y - 1 : y + 2] * scaled)

    def limit(self, far: FarSamples) -> None:
        """Let samples that are far from their mean count as `FAR_SIGMA` read noises, and those without data as none."""
        frame, pixel, excess = far
        y, x = np.divmod(pixel, self._edges[1][-1])
        box_y, box_x = (np.searchsorted(edges, at, "right") - 1 for edges, at in zip(self._edges, (y, x), strict=True))
        np.subtract.at(self._sums, (frame, box_y, box_x), excess)

    def _add_noise(self, residual: NDArray[np.float32]) -> None:
        """Add second differences along rows of all frames: they hold little of glow, leaks and 1/f noise."""
        limited = np.nan_to_num(np.clip(residual, -FAR_SIGMA, FAR_SIGMA), copy=False)
        difference = _second_difference(limited)
        kept = np.abs(difference) < np.float32(2 * FAR_SIGMA)
        self._squares += np.sum(np.square(difference), axis=(1, 2), where=kept, dtype=np.float64) / 6
        self._counts += kept.sum(axis=(1, 2))

    def _add_pattern(self, samples: NDArray[np.float32]) -> None:
        """Correlate the second difference along a row of the median with that of each frame in this row and the next.

        The median, as in three frames a hot pixel that one of them does not have counts as two cosmic rays.
        """
        frames = _second_difference(samples)
        pattern = _second_difference(nan_medians(np.moveaxis(samples[:, 1], 0, -1)))[1:-1]
        pattern[np.abs(pattern) < PATTERN_SIGMA * np.sqrt(6 / len(samples))] = 0.0
        for dx in range(3):
            self._products[:, :, dx] += frames[..., dx : dx + pattern.size] @ pattern
        self._powers += np.square(frames[:, 1]).sum(axis=1)
        self._pattern += float(np.square(pattern).sum())
        self._pixels += pattern.size

    def figures(self) -> FrameFigures:
        """Return the figures of the bands so far."""
        n_frames = len(self._squares)
        area = np.outer(*(np.diff(edges) for edges in self._edges))
        with np.errstate(divide="ignore", invalid="ignore"):  # without a pattern
            # the residual from a mean that holds the frame itself: solve for the variance of each frame
            mean_square = self._squares / self._counts
            alone = (mean_square - mean_square.sum() / (n_frames * (n_frames - 1))) / (1 - 2 / n_frames)
            error = np.sqrt(self._powers * self._pattern / self._pixels)[:, np.newaxis, np.newaxis]
            correlation = np.nan_to_num(self._products / error)
        return FrameFigures(
            self._sums / area,
            self._offsets / area,
            np.sqrt(np.maximum(alone, 0)),
            int(self._counts.min()),
            correlation,
        )


#: Frame and pixel (index into the flattened image) of samples, and what they have beyond the limit, electron.
FarSamples = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]


def far_samples(
    samples: NDArray[np.float32], mean: NDArray[np.float32], read_noise: NDArray[np.float32], index: NDArray[np.intp]
) -> FarSamples:
    """Find the samples that are further from their mean than `FAR_SIGMA` read noises, or have no data.

    Parameters
    ----------
    samples : ndarray of float32, shape (frames, pixels), electron
        Samples of some pixels.
    mean, read_noise : ndarray of float32, shape (pixels,), electron
        Clipped mean and read noise of these pixels.
    index : ndarray of int, shape (pixels,)
        Pixels, as indices into the flattened image.
    """
    residual = _finite(samples) - _finite(mean)
    limit = np.where(np.isfinite(samples) & np.isfinite(mean), np.float32(FAR_SIGMA) * read_noise, 0)
    frame, pixel = np.nonzero(np.abs(residual) > limit)
    excess = residual[frame, pixel]
    return frame, index[pixel], excess - np.copysign(limit[frame, pixel], excess)


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a copy with 0 where there is no data."""
    return np.where(np.isfinite(values), values, np.float32(0))


def _sums_of_rows(images: NDArray[np.float32], cuts: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the sums of the rows from each cut to the next along the first axis of the result.

    It takes a quarter of the time of `numpy.add.reduceat`.
    """
    return np.stack([images[..., first:last, :].sum(axis=-2) for first, last in itertools.pairwise(cuts)])


def _second_difference(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the second difference along the last axis, clipped, 0 where there is no data."""
    difference = 2 * values[..., 1:-1] - values[..., :-2] - values[..., 2:]
    return np.nan_to_num(np.clip(difference, -PATTERN_REACH, PATTERN_REACH, out=difference), copy=False)
