"""The local level of an image: amplifier steps, column parity, noise of rows and columns, smooth glow."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..parallel import map_bands, row_bands
from .amplifier_levels import AmplifierLevels, spans_of_rows
from .frame_stack import Regions
from .robust import clipped_moments, finite_median, nan_medians
from .surface import Surface

__all__ = ["BAD_LINE_SIGMA", "BLOCK_ROWS", "LINE_DRIFT", "Background", "column_levels", "measure_background"]

#: Rows worked on at once, rounded to whole blocks, so that they stay in the cache.
BAND_ROWS = 64
#: Lines of the running median: the median of a row or column differs from it by the noise of single lines, not by glow.
LINE_DRIFT = 33
#: Rows and columns further out than this are bad, and must not hide in the background.
BAD_LINE_SIGMA = 6.0
#: Rows of a block of a column, and pixels of a column that give its level: its error is then a fifteenth of a pixel's.
BLOCK_ROWS, COLUMN_PIXELS = 12, 512
#: Pixels that stand out by this much take no part in the background.
OUTSTANDING_SIGMA = 4.0
#: Neighbouring blocks that stand out by this much of a pixel's scatter are a large defect, unless they are a large
#: part of the image.
LARGE_SIGMA, LARGE_PART = 3.0, 0.25
#: Steep glow differs from the prediction by its curvature, a small part of its slope; a step by twice its slope.
CURVATURE = 0.25
#: Pixels that give that scatter.
SCATTER_PIXELS = 2**16


@dataclass(frozen=True)
class Background:
    """The level of good pixels around each pixel, stored as its parts and added up on request.

    Attributes
    ----------
    surface : Surface
        The smooth part: dark signal and glow, up to a constant.
    rows_e : ndarray of float32, shape (ny,), electron
        Noise of single rows.
    columns_e : ndarray of float32, shape (spans, nx), electron
        Steps between amplifiers, column parity and pattern; a span is a range of rows with the same amplifiers.
    pattern_e : ndarray of float32, shape (spans, nx), electron
        The column pattern in ``columns_e``: the level of single columns, 0 for bad ones.
    level_e : ndarray of float32, shape (spans, nx), electron
        A level that was added to the image after the measurement; see `above`.
    first_rows : ndarray of int, shape (spans,)
        First row of each span.
    """

    surface: Surface
    rows_e: NDArray[np.float32]
    columns_e: NDArray[np.float32]
    pattern_e: NDArray[np.float32]
    level_e: NDArray[np.float32]
    first_rows: NDArray[np.intp]

    @property
    def total_e(self) -> NDArray[np.float32]:
        """The sum of all parts for the whole image, float32 of shape (ny, nx), electron."""
        return self.rows(slice(None))

    def above(self, level_e: NDArray[np.float32]) -> Background:
        """Return the background of the same image plus a level.

        Parameters
        ----------
        level_e : ndarray of float32, shape (spans, nx), electron
            The level, the same in all rows of a span.

        Returns
        -------
        Background
        """
        return replace(self, level_e=level_e)

    def rows(self, rows: slice, surface: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the sum of all parts in some rows.

        Parameters
        ----------
        rows : slice
            The rows.
        surface : ndarray of float32, shape (rows, nx), electron, optional
            The smooth part in these rows, where it is known.

        Returns
        -------
        ndarray of float32, shape (rows, nx), electron
        """
        span = self.span_of(rows)
        total: NDArray[np.float32] = self.columns_e[span] + self.rows_e[rows, None]
        total += self.surface.rows(rows) if surface is None else surface
        total += self.level_e[span]
        return total

    def span_of(self, rows: slice) -> NDArray[np.intp]:
        """Return the span of each of some rows, or a single one if all are in it."""
        return spans_of_rows(self.first_rows, np.arange(len(self.rows_e))[rows])

    def at(self, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the sum of all parts in some pixels.

        Parameters
        ----------
        pixels : ndarray of int, shape (n,)
            Indices into the flattened image.

        Returns
        -------
        ndarray of float32, shape (n,), electron
        """
        row, column = np.divmod(pixels, self.columns_e.shape[1])
        span = np.searchsorted(self.first_rows, row, side="right") - 1
        total: NDArray[np.float32] = self.columns_e[span, column] + self.rows_e[row]
        total += self.surface.at(row, column)
        total += self.level_e[span, column]
        return total


def measure_background(
    image: NDArray[np.float32],
    regions: Regions,
    *,
    column_parity: bool = False,
    box: int = 8,
    bad: NDArray[np.bool_] | None = None,
    workers: int = 1,
) -> Background:
    """Measure the local level of an image.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx), electron
        A stacked dark; NaN where there is no data.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    column_parity : bool
        Whether odd and even columns have different levels.
    box : int
        Side of the blocks whose medians make the smooth part, pixels.
    bad : ndarray of bool, shape (ny, nx), optional
        Pixels to leave out.
    workers : int
        Threads; the result does not depend on their number.

    Returns
    -------
    Background

    Notes
    -----
    Amplifier levels are chained from the steps between neighbouring columns or rows. Medians of whole amplifiers would
    leave saw teeth where glow runs across them. Rows and columns are levelled, except those that stand out of the
    others: a bad column must not hide (docs/method, section 4).
    """
    good = np.asarray(image, np.float32)
    if bad is not None:
        good = np.where(bad, np.float32(np.nan), good)
    levels = AmplifierLevels(good, regions, column_parity)
    ny, nx = good.shape
    bands = list(row_bands([(0, ny)], box * max(1, BAND_ROWS // box)))

    def over_bands(work: Callable[[slice], NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(map_bands(lambda start, stop: work(slice(start, stop)), bands, workers))

    rows_e = _line_noise(over_bands(lambda rows: nan_medians(levels.corrected(rows))))
    pattern_e = np.zeros_like(levels.total_e)

    def flattened(rows: slice) -> NDArray[np.float32]:
        values = levels.corrected(rows)
        values -= rows_e[rows, None]
        values -= pattern_e[spans_of_rows(levels.first_rows, np.arange(ny)[rows])]
        return values

    def scatter() -> float:
        """Return the standard deviation about the smooth level, from rows spread over the image."""
        rows = slice(None, None, max(1, good.size // SCATTER_PIXELS) | 1)  # an even step would miss a row parity
        return clipped_moments(flattened(rows) - surface.rows(rows))[1]

    def medians_without_outstanding(rows: slice) -> NDArray[np.float32]:
        values = flattened(rows)
        values[np.abs(values - surface.rows(rows)) > outstanding] = np.nan
        return _block_medians(values, box)

    medians = over_bands(lambda rows: _block_medians(flattened(rows), box))
    first = _without_clusters(_filled(medians))
    surface = Surface(first, good.shape, box)
    large = _large_clusters(medians, first, LARGE_SIGMA * scatter())
    if large.any():
        first = _without_clusters(_filled(np.where(large, np.float32(np.nan), medians)))
        surface = Surface(first, good.shape, box)
    defect = large.repeat(box, axis=0)[:ny].repeat(box, axis=1)[:, :nx]
    for i, (start, stop) in enumerate(itertools.pairwise([*levels.first_rows, ny])):
        some = slice(start, stop, max(1, (stop - start) // COLUMN_PIXELS))
        smooth = surface.rows(some)
        residual = np.where(defect[some], np.float32(np.nan), flattened(some) - smooth)
        if len(residual) >= BLOCK_ROWS:  # medians of rounded values would be rounded
            level = nan_medians(np.ascontiguousarray(column_levels(residual).T))
            pattern_e[i] = _line_noise(level + smooth.mean(axis=0))
    # pixels that stand out would pull the level that they are compared with: the second medians leave them out
    outstanding = np.float32(OUTSTANDING_SIGMA * scatter())
    medians = over_bands(medians_without_outstanding)
    surface = Surface(_without_clusters(np.where(np.isfinite(medians), medians, first)), good.shape, box)
    columns_e = levels.total_e + pattern_e
    return Background(surface, rows_e, columns_e, pattern_e, np.zeros_like(columns_e), levels.first_rows)


def column_levels(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the level of each column in blocks of 12 rows, from medians of three.

    Parameters
    ----------
    values : ndarray of float32, shape (rows, nx)
        Any unit; the last rows may be in no block.

    Returns
    -------
    ndarray of float32, shape (rows // 12, nx)
    """
    n = len(values) // BLOCK_ROWS
    a, b, c = (values[i : n * BLOCK_ROWS : 3] for i in range(3))
    middle = np.fmax(np.fmin(a, b), np.fmin(np.fmax(a, b), c))
    level: NDArray[np.float32] = middle.reshape(n, BLOCK_ROWS // 3, middle.shape[1]).mean(axis=1)
    return level


def _line_noise(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each row or column above that of the lines around it; 0 for a bad line."""
    from scipy.ndimage import median_filter

    medians = np.where(np.isfinite(medians), medians, np.float32(finite_median(medians)))
    noise = medians - median_filter(medians, size=min(LINE_DRIFT, medians.size), mode="nearest")
    centre, scatter = clipped_moments(noise)
    return np.where(np.abs(noise - centre) <= BAD_LINE_SIGMA * scatter, noise, np.float32(0))


def _block_medians(values: NDArray[np.float32], box: int) -> NDArray[np.float32]:
    """Return the medians of blocks of pixels; NaN for a block without any."""
    ny, nx = values.shape
    margins = ((0, -ny % box), (0, -nx % box))
    if any(stop for _, stop in margins):
        values = np.pad(values, margins, constant_values=np.nan)
    blocks = values.reshape(values.shape[0] // box, box, values.shape[1] // box, box).swapaxes(1, 2)
    return nan_medians(blocks.reshape(*blocks.shape[:2], box * box))


def _filled(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill blocks without a value from their neighbours, from the edge of each gap inwards."""
    if not np.isfinite(medians).any():
        return np.zeros_like(medians)
    filled = medians.copy()
    while (gaps := ~np.isfinite(filled)).any():
        around = np.pad(filled, 1, constant_values=np.nan)
        ny, nx = filled.shape
        neighbours = [around[y : y + ny, x : x + nx][gaps] for y in range(3) for x in range(3)]
        filled[gaps] = nan_medians(np.stack(neighbours, axis=1))
    return filled


def _large_clusters(medians: NDArray[np.float32], smooth: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Find groups of neighbouring blocks that stand out of the smooth level, with everything that they enclose.

    A single block is none: it spoils one pair of each neighbour, and the median of pairs bears it. A defect of
    several blocks would draw the level of all blocks around it. Its ring may be closed by the border of the image: of
    the parts into which it divides the image, all but the largest belong to the defect.
    """
    from scipy.ndimage import binary_dilation, label

    neighbours = np.ones((3, 3), bool)
    slope = np.hypot(*np.gradient(smooth)) if min(smooth.shape) > 1 else 0.0
    outstanding = np.abs(medians - smooth) > np.maximum(threshold, CURVATURE * slope)
    groups, n = label(outstanding, neighbours)
    is_large = np.bincount(groups.ravel(), minlength=n + 1) > 1
    is_large[0] = False
    # a block that the defect covers by half is close to the smooth level, and is part of it
    parts, _ = label(~binary_dilation(is_large[groups], neighbours))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    large: NDArray[np.bool_] = parts != np.argmax(sizes)
    return large if large.mean() < LARGE_PART else np.zeros_like(large)


def _without_clusters(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace each block by the middle of the pairs of blocks on opposite sides of it.

    A cluster of bad pixels fills a block and spoils one pair of each neighbour, so the mean of the middle two of four
    pairs bears it. The mean of opposite sides follows a slope; a median of all neighbours would cut glow off that rises
    towards a corner. Beyond the edges of the image the blocks are mirrored about the value at the edge.
    """
    if min(medians.shape) < 2:
        return medians
    beyond = np.pad(medians, 1, mode="reflect", reflect_type="odd")
    ny, nx = medians.shape
    a, b, c, d = (
        beyond[1 - y : 1 - y + ny, 1 - x : 1 - x + nx] + beyond[1 + y : 1 + y + ny, 1 + x : 1 + x + nx]
        for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))
    )
    lower = np.maximum(np.minimum(a, b), np.minimum(c, d))
    upper = np.minimum(np.maximum(a, b), np.maximum(c, d))
    middle: NDArray[np.float32] = (lower + upper) / np.float32(4)
    return middle
