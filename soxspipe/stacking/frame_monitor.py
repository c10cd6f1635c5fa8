"""Figures of single frames, gathered while a stack is combined: box means, noise, and the pattern at neighbours."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .robust import nan_medians

__all__ = ["FrameFigures", "FrameMonitor"]

#: Least side of a box, pixels.
BOX = 32
#: Residuals beyond this many read noises count as this many: a cosmic ray adds little to its box, and a light leak
#: of any brightness stays visible.
REACH = 5.0
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
        reach = np.float32(REACH) * read_noise
        y_edges, x_edges = self._edges
        stop = start + len(mean)
        first, last = np.searchsorted(y_edges, start, "right") - 1, np.searchsorted(y_edges, stop, "left")
        cuts = np.clip(y_edges[first : last + 1], start, stop) - start
        residual, scaled = np.empty_like(mean), np.float32(1) / read_noise
        for i, frame in enumerate(samples):
            np.subtract(frame, mean, out=residual)
            np.minimum(np.maximum(residual, -reach, out=residual), reach, out=residual)
            rows = _sums_of_rows(residual, cuts)
            if not np.isfinite(rows).all():  # pixels without data do not deviate
                rows = _sums_of_rows(np.nan_to_num(residual, copy=False), cuts)
            self._sums[i, first:last] += np.add.reduceat(rows, x_edges[:-1], axis=1, dtype=np.float64)
            columns = np.add.reduceat(offsets[i], x_edges[:-1], dtype=np.float64)
            self._offsets[i, first:last] += np.diff(cuts)[:, np.newaxis] * columns
            self._add_noise(i, residual[-start % self._stride :: self._stride] * scaled)
        for y in range((self._stride // 2 - start) % self._stride, len(mean) - 1, self._stride):
            if y > 0:
                self._add_pattern(samples[:, y - 1 : y + 2] * scaled)

    def _add_noise(self, frame: int, residual: NDArray[np.float32]) -> None:
        """Add second differences along the rows: they hold little of glow, leaks and 1/f noise."""
        difference = _second_difference(residual).ravel()
        kept = difference[np.abs(difference) < np.float32(2 * REACH)]
        self._squares[frame] += float(np.dot(kept, kept)) / 6
        self._counts[frame] += kept.size

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


def _sums_of_rows(image: NDArray[np.float32], cuts: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the sums of the rows from each cut to the next, in a quarter of the time of `numpy.add.reduceat`."""
    return np.stack([image[first:last].sum(axis=0) for first, last in itertools.pairwise(cuts)])


def _second_difference(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the second difference along the last axis, clipped, 0 where there is no data."""
    difference = 2 * values[..., 1:-1] - values[..., :-2] - values[..., 2:]
    return np.nan_to_num(np.clip(difference, -PATTERN_REACH, PATTERN_REACH, out=difference), copy=False)
