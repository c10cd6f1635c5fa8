"""The local level of an image: amplifier steps, column parity, drifting rows, smooth glow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..parallel import map_bands, row_bands
from .frame_stack import Regions
from .robust import clipped_moments, finite_median, nan_medians
from .surface import Surface

__all__ = ["Background", "measure_background"]

#: Rows worked on at once, rounded to whole blocks, so that they stay in the cache.
BAND_ROWS = 64
#: Rows of the running median: the median of a row differs from it by the noise of single rows, not by glow.
ROW_DRIFT = 33
#: Rows further out than this are bad rows, and must not hide in the background.
BAD_ROW_SIGMA = 6.0
#: Pixels that stand out by this much take no part in the background.
OUTSTANDING_SIGMA = 4.0
#: Lines on each side of an edge that give the step between amplifiers.
EDGE_LINES = 4
#: Lines among which bad ones are searched, the stride of their pixels for that, and the limit of good lines.
EDGE_WIDE, EDGE_STRIDE, EDGE_SIGMA = 32, 32, 5.0
#: Standard deviation of a Gaussian over its median absolute deviation.
MAD_SIGMA = 1.4826
#: Neighbouring blocks that stand out by this much of a pixel's scatter are a large defect, unless they are a large
#: part of the image.
LARGE_SIGMA, LARGE_PART = 3.0, 0.25
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
        Steps between amplifiers and column parity; a span is a range of rows with the same amplifiers.
    level_e : ndarray of float32, shape (spans, nx), electron
        A level that was added to the image after the measurement; see `above`.
    first_rows : ndarray of int, shape (spans,)
        First row of each span.
    """

    surface: Surface
    rows_e: NDArray[np.float32]
    columns_e: NDArray[np.float32]
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

    def rows(self, rows: slice) -> NDArray[np.float32]:
        """Return the sum of all parts in some rows.

        Parameters
        ----------
        rows : slice
            The rows.

        Returns
        -------
        ndarray of float32, shape (rows, nx), electron
        """
        span = _spans(self.first_rows, np.arange(len(self.rows_e))[rows])
        total: NDArray[np.float32] = self.columns_e[span] + self.rows_e[rows, None]
        total += self.surface.rows(rows)
        total += self.level_e[span]
        return total

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


def _spans(first_rows: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the span of each row, or a single one if all rows are in it."""
    span = np.searchsorted(first_rows, rows, side="right") - 1
    return span[:1] if span.size and span[0] == span[-1] else span


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
    leave saw teeth where glow runs across them. Medians of single columns are not removed: a bad column would hide
    (docs/method, section 4).
    """
    good = np.asarray(image, np.float32)
    if bad is not None:
        good = np.where(bad, np.float32(np.nan), good)
    levels = _AmplifierLevels(good, regions, column_parity)
    ny, nx = good.shape
    bands = list(row_bands([(0, ny)], box * max(1, BAND_ROWS // box)))

    def over_bands(work: Callable[[slice], NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.concatenate(map_bands(lambda start, stop: work(slice(start, stop)), bands, workers))

    row_noise = _row_noise(over_bands(lambda rows: nan_medians(levels.corrected(rows))))

    def flattened(rows: slice) -> NDArray[np.float32]:
        return levels.corrected(rows) - row_noise[rows, None]

    def residual_sample(rows: slice) -> NDArray[np.float32]:
        residual = flattened(rows) - surface.rows(rows)
        return residual.ravel()[-rows.start * nx % stride :: stride].copy()

    def medians_without_outstanding(rows: slice) -> NDArray[np.float32]:
        values = flattened(rows)
        values[np.abs(values - surface.rows(rows)) > outstanding] = np.nan
        return _block_medians(values, box)

    stride = max(1, good.size // SCATTER_PIXELS) | 1  # odd: an even one would miss a column parity
    medians = over_bands(lambda rows: _block_medians(flattened(rows), box))
    first = _without_clusters(_filled(medians))
    surface = Surface(first, good.shape, box)
    scatter = clipped_moments(over_bands(residual_sample))[1]
    large = _large_clusters(medians, first, LARGE_SIGMA * scatter)
    if large.any():
        first = _without_clusters(_filled(np.where(large, np.float32(np.nan), medians)))
        surface = Surface(first, good.shape, box)
        scatter = clipped_moments(over_bands(residual_sample))[1]
    # pixels that stand out would pull the level that they are compared with: the second medians leave them out
    outstanding = np.float32(OUTSTANDING_SIGMA * scatter)
    medians = over_bands(medians_without_outstanding)
    surface = Surface(_without_clusters(np.where(np.isfinite(medians), medians, first)), good.shape, box)
    return Background(surface, row_noise, levels.total_e, np.zeros_like(levels.total_e), levels.first_rows)


class _AmplifierLevels:
    """Column parity and level of each amplifier, in rows of the image: one row for each span.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx), electron
        The image; NaN where there is no good pixel.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    column_parity : bool
        Whether odd and even columns have different levels.
    """

    def __init__(self, image: NDArray[np.float32], regions: Regions, column_parity: bool) -> None:
        self._image = image
        self.first_rows = np.array(sorted({rows.start for rows, _ in regions}))
        self._parity_e, self._step_e = np.zeros((2, len(self.first_rows), image.shape[1]), np.float32)
        if column_parity:
            for region in regions:
                self._parity_e[self._place(region)] = self._parity_of(region)
        self._measure_steps(regions)

    @property
    def total_e(self) -> NDArray[np.float32]:
        """Parity and level together, float32 of shape (spans, nx), electron."""
        return self._parity_e + self._step_e

    def corrected(self, rows: slice, columns: slice = slice(None)) -> NDArray[np.float32]:
        """Return a part of the image without parity and level."""
        span = _spans(self.first_rows, np.arange(len(self._image))[rows])
        part: NDArray[np.float32] = self._image[rows, columns] - self._parity_e[span, columns]
        part -= self._step_e[span, columns]
        return part

    def _place(self, region: tuple[slice, slice]) -> tuple[slice, slice]:
        """Return the spans and columns of a region."""
        first, last = np.searchsorted(self.first_rows, [region[0].start, region[0].stop])
        return slice(first, last), region[1]

    def _parity_of(self, region: tuple[slice, slice]) -> NDArray[np.float32]:
        """Return half the difference of odd and even columns, with the sign of each column."""
        block = self._image[region]
        even, odd = block[::4, : block.shape[1] // 2 * 2 : 2], block[::4, 1::2]
        # the median of each pair of columns first, so that a bad column does not count
        half = np.float32(0.5 * finite_median(nan_medians((odd - even).T)))
        return np.where(np.arange(block.shape[1]) % 2, half, -half)

    def _measure_steps(self, regions: Regions) -> None:
        """Bring every region to the level of the first, across shared edges."""
        placed: list[tuple[slice, slice]] = []
        waiting = list(regions)
        while waiting:
            steps = ((region, self._step_of(region, placed)) for region in waiting)
            # a region without a neighbour stays as it is
            region, step = next(((region, step) for region, step in steps if step is not None), (waiting[0], 0.0))
            self._step_e[self._place(region)] = step
            placed.append(region)
            waiting.remove(region)

    def _step_of(self, region: tuple[slice, slice], placed: list[tuple[slice, slice]]) -> float | None:
        """Return the level of a region above a neighbour that is placed; None without one."""
        for other in placed:
            for axis in (0, 1):
                if other[1 - axis] != region[1 - axis]:
                    continue
                before, after = sorted((other[axis], region[axis]), key=lambda span: span.start)
                if before.stop != after.start:
                    continue
                edge, along = after.start, region[1 - axis]
                rise = self._level_at_edge(edge, after, along, axis) - self._level_at_edge(edge, before, along, axis)
                return rise if after is region[axis] else -rise
        return None

    def _level_at_edge(self, edge: int, side: slice, along: slice, axis: int) -> float:
        """Return the level of one side of an edge, close to it."""
        inwards = 1 if side.start == edge else -1

        def line_medians(n: int, stride: int = 1) -> NDArray[np.float32]:
            """Medians of the nearest lines along the edge, from the edge inwards."""
            lines = slice(edge, edge + n) if inwards > 0 else slice(max(edge - n, 0), edge)
            pixels = slice(along.start, along.stop, stride)
            strip = self.corrected(lines, pixels) if axis == 0 else self.corrected(pixels, lines).T
            return nan_medians(strip)[::inwards]

        # the median of four lines bears one bad line; a line fit over more of them is used where there are several
        most = min(EDGE_WIDE, side.stop - side.start)
        if most > 3 * EDGE_LINES:
            wide = line_medians(most, EDGE_STRIDE)
            deviation = np.abs(wide - finite_median(wide))
            limit = EDGE_SIGMA * MAD_SIGMA * finite_median(deviation)
            if np.count_nonzero(deviation[:EDGE_LINES] > limit) > 1:
                return _level_of_line(line_medians(most // 2))
        return finite_median(line_medians(EDGE_LINES))


def _level_of_line(values: NDArray[np.float32]) -> float:
    """Return the level of the first few values by a Theil-Sen line through all, of which a quarter may be bad."""
    x = np.flatnonzero(np.isfinite(values)).astype(np.float32)
    y = values[np.isfinite(values)]
    one, other = np.triu_indices(len(y), 1)
    slope = finite_median((y[other] - y[one]) / (x[other] - x[one]))
    return finite_median(y - np.float32(slope) * (x - np.float32((EDGE_LINES - 1) / 2)))


def _row_noise(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each row above that of the rows around it; 0 for a bad row."""
    from scipy.ndimage import median_filter

    medians = np.where(np.isfinite(medians), medians, np.float32(finite_median(medians)))
    around = median_filter(medians, size=min(ROW_DRIFT, medians.size), mode="nearest")
    noise = np.asarray(medians - around, dtype=np.float32)
    centre, scatter = clipped_moments(noise)
    noise[np.abs(noise - centre) > BAD_ROW_SIGMA * scatter] = 0.0
    return noise


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
    several blocks would draw the level of all blocks around it.
    """
    from scipy.ndimage import binary_dilation, binary_fill_holes, label

    neighbours = np.ones((3, 3), bool)
    outstanding = np.abs(medians - smooth) > threshold
    if np.count_nonzero(outstanding) < 2:
        return np.zeros_like(outstanding)
    groups, n = label(outstanding, neighbours)
    is_large = np.bincount(groups.ravel(), minlength=n + 1) > 1
    is_large[0] = False
    # a block that the defect covers by half is close to the smooth level, and is part of it
    large = np.asarray(binary_fill_holes(binary_dilation(is_large[groups], neighbours)))
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
