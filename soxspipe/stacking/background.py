"""What a pixel's neighbours say of its level: amplifier steps, column parity, drifting rows, smooth glow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..parallel import map_bands, row_bands
from .frame_stack import Regions
from .noise_model import clipped_moments, nan_medians

__all__ = ["Background", "Surface", "measure_background"]

#: Rows worked on at once, or as many as whole blocks have: they stay in the cache.
BAND_ROWS = 64

#: Rows over which row medians may drift and still be glow, not the noise of single rows.
ROW_DRIFT = 33
#: Rows further out than drifting rows ever are: bad rows, which must not hide in the background.
BAD_ROW_SIGMA = 6.0
#: Pixels that stand out by so much take no part in the background.
OUTSTANDING_SIGMA = 4.0
#: Lines beside an edge that tell the step between amplifiers; those among which bad ones are looked for, in every so
#: many of their pixels; and how far off these are.
EDGE_LINES, EDGE_WIDE, EDGE_STRIDE, EDGE_SIGMA = 4, 32, 32, 5.0
#: Standard deviations of a Gaussian in its median absolute deviation.
MAD_SIGMA = 1.4826
#: Neighbouring blocks that stand out by so much of a pixel's scatter are a defect, unless they are a large part of all.
LARGE_SIGMA, LARGE_PART = 3.0, 0.25
#: Pixels that tell how much that is.
SCATTER_PIXELS = 2**16


@dataclass(frozen=True)
class Background:
    """The level of good pixels, from their neighbours.

    It is kept as what it is made of and drawn where it is asked for: images of it would be two more in memory.

    Attributes
    ----------
    surface : Surface
        The smooth part: dark signal and glow, up to a constant.
    rows_e : ndarray of float32, shape (ny,), electron
        Single rows.
    columns_e : ndarray of float32, shape (spans, nx), electron
        Steps between amplifiers and column parity; the amplifiers of a span of rows are alike.
    level_e : ndarray of float32, shape (spans, nx), electron
        A level that the image did not have when it was measured; see `above`.
    first_rows : ndarray of int, shape (spans,)
        Where each span begins.
    """

    surface: Surface
    rows_e: NDArray[np.float32]
    columns_e: NDArray[np.float32]
    level_e: NDArray[np.float32]
    first_rows: NDArray[np.intp]

    @property
    def smooth_e(self) -> NDArray[np.float32]:
        """The smooth part of the whole image, float32 of shape (ny, nx), electron."""
        return self.surface.rows(slice(None))

    @property
    def total_e(self) -> NDArray[np.float32]:
        """All parts together of the whole image, float32 of shape (ny, nx), electron."""
        return self.rows(slice(None))

    def above(self, level_e: NDArray[np.float32]) -> Background:
        """Return the same of an image to which a level was added.

        Parameters
        ----------
        level_e : ndarray of float32, shape (spans, nx), electron
            The level, alike in all rows of a span.

        Returns
        -------
        Background
        """
        return replace(self, level_e=level_e)

    def rows(self, rows: slice, smooth_e: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Draw all parts together of some rows.

        Parameters
        ----------
        rows : slice
            Which rows.
        smooth_e : ndarray of float32, shape (rows, nx), electron, optional
            Their smooth part, if it has been drawn already.

        Returns
        -------
        ndarray of float32, shape (rows, nx), electron
        """
        span = _spans(self.first_rows, np.arange(len(self.rows_e))[rows])
        total: NDArray[np.float32] = self.columns_e[span] + self.rows_e[rows, None]
        total += self.surface.rows(rows) if smooth_e is None else smooth_e
        total += self.level_e[span]
        return total

    def at(self, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        """Draw all parts together of some pixels.

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
    """Return the span of each of some rows, or the one that all of them lie in."""
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
        Whether odd and even columns have levels of their own.
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
    Amplifier levels are chained from the steps between neighbouring columns or rows, not taken as medians:
    glow that runs across an amplifier would leave saw teeth. Medians of single columns are not removed: a bad
    column would hide (docs/method, section 4).
    """
    clean, smooth = (np.empty(image.shape, np.float32) for _ in range(2))
    clean[...] = image
    if bad is not None:
        clean[bad] = np.nan
    levels = _AmplifierLevels(clean, regions)
    if column_parity:
        levels.measure_parity()
    levels.measure_steps()
    ny, nx = image.shape
    medians = np.empty((-(-ny // box), -(-nx // box)), np.float32)
    bands = list(row_bands([(0, ny)], box * max(1, BAND_ROWS // box)))
    stride = max(1, clean.size // SCATTER_PIXELS) | 1

    def take_rows(start: int, stop: int) -> NDArray[np.float32]:
        rows, columns = slice(start, stop), slice(0, nx)
        return nan_medians(levels.corrected(rows, columns, out=smooth[rows]))  # which is free until the first look

    def take_blocks(start: int, stop: int) -> None:
        np.subtract(smooth[start:stop], rows[start:stop, None], out=clean[start:stop])
        medians[start // box : -(-stop // box)] = _block_medians(clean[start:stop], box)

    def first_look(start: int, stop: int) -> NDArray[np.float32]:
        residual = np.subtract(clean[start:stop], surface.rows(slice(start, stop)), out=smooth[start:stop])
        return residual.ravel()[-start * nx % stride :: stride].copy()

    def second_look(start: int, stop: int) -> None:
        far = np.flatnonzero(np.abs(smooth[start:stop]) > outstanding)
        clean[start:stop].reshape(-1)[far] = np.nan
        spoilt = np.zeros(medians[start // box : -(-stop // box)].shape, bool)
        spoilt[far // nx // box, far % nx // box] = True
        medians[start // box : -(-stop // box)][spoilt] = _block_medians(clean[start:stop], box, spoilt)

    rows = _row_noise(np.concatenate(map_bands(take_rows, bands, workers)))
    map_bands(take_blocks, bands, workers)
    # what stands out of a first look would pull its own background: a second look leaves it out
    first = _without_clusters(_filled(medians))
    surface = Surface(first, image.shape, box)
    scatter = clipped_moments(np.concatenate(map_bands(first_look, bands, workers)))[1]
    large = _large_clusters(medians, first, LARGE_SIGMA * scatter)
    if large.any():
        first = _without_clusters(_filled(np.where(large, np.float32(np.nan), medians)))
        surface = Surface(first, image.shape, box)
        scatter = clipped_moments(np.concatenate(map_bands(first_look, bands, workers)))[1]
    outstanding = np.float32(OUTSTANDING_SIGMA * scatter)
    map_bands(second_look, bands, workers)
    surface = Surface(_without_clusters(np.where(np.isfinite(medians), medians, first)), image.shape, box)
    columns = levels.parity_e + levels.step_e
    return Background(surface, rows, columns, np.zeros_like(columns), levels.first_rows)


class _AmplifierLevels:
    """Column parity and level of each amplifier, as rows of the image: those of one span of rows are alike."""

    def __init__(self, image: NDArray[np.float32], regions: Regions) -> None:
        self._image = image
        self._regions = regions
        self.first_rows = np.array(sorted({rows.start for rows, _ in regions}))
        self.parity_e, self.step_e = np.zeros((2, len(self.first_rows), image.shape[1]), np.float32)

    def corrected(self, rows: slice, columns: slice, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return a part of the image without what is known by now."""
        span = _spans(self.first_rows, np.arange(len(self._image))[rows])
        part: NDArray[np.float32] = np.subtract(self._image[rows, columns], self.parity_e[span, columns], out=out)
        part -= self.step_e[span, columns]
        return part

    def _of(self, region: tuple[slice, slice]) -> tuple[slice, slice]:
        """Return where the parity and the step of a region are."""
        first, last = np.searchsorted(self.first_rows, [region[0].start, region[0].stop])
        return slice(first, last), region[1]

    def measure_parity(self) -> None:
        """Take half the difference of odd and even columns, region by region."""
        for rows, columns in self._regions:
            block = self._image[rows, columns]
            even, odd = block[::4, : block.shape[1] // 2 * 2 : 2], block[::4, 1::2]
            # each pair of columns by its own median, so that a bad column among them does not count
            half = np.float32(0.5 * _median(nan_medians((odd - even).T)))
            self.parity_e[self._of((rows, columns))] = np.where(np.arange(block.shape[1]) % 2, half, -half)

    def measure_steps(self) -> None:
        """Bring every region to the level of the first, across the edges that they share."""
        placed: list[tuple[slice, slice]] = []
        waiting = list(self._regions)
        while waiting:
            for region in waiting:
                step = 0.0 if not placed else self._step_of(region, placed)
                if step is None:
                    continue
                self.step_e[self._of(region)] = step
                placed.append(region)
                waiting.remove(region)
                break
            else:  # an island without a neighbour stays as it is
                placed.append(waiting.pop(0))

    def _step_of(self, region: tuple[slice, slice], placed: list[tuple[slice, slice]]) -> float | None:
        """Level of a region above a neighbour that is placed; None when it has none."""
        for other in placed:
            for axis in (0, 1):
                if other[1 - axis] != region[1 - axis]:
                    continue
                before, after = sorted((other[axis], region[axis]), key=lambda span: span.start)
                if before.stop != after.start:
                    continue
                edge, along = after.start, region[1 - axis]
                rise = self._level_beside(edge, after, along, axis) - self._level_beside(edge, before, along, axis)
                return rise if after is region[axis] else -rise
        return None

    def _level_beside(self, edge: int, side: slice, along: slice, axis: int) -> float:
        """Level of one side of an edge, close to it."""
        inwards = 1 if side.start == edge else -1

        def lines(n: int, stride: int = 1) -> NDArray[np.float32]:
            """Medians of the nearest lines along the edge: a bad one among them does not count."""
            beside = slice(edge, edge + n) if inwards > 0 else slice(max(edge - n, 0), edge)
            every = slice(along.start, along.stop, stride)
            strip = self.corrected(beside, every) if axis == 0 else self.corrected(every, beside).T
            return nan_medians(strip)[::inwards]

        # several bad ones do: some of their pixels tell whether there are
        most = min(EDGE_WIDE, side.stop - side.start)
        if most > 3 * EDGE_LINES:
            wide = lines(most, EDGE_STRIDE)
            off = np.abs(wide - _median(wide))
            if np.count_nonzero(off[:EDGE_LINES] > EDGE_SIGMA * MAD_SIGMA * _median(off)) > 1:
                return _level_of_a_line(lines(most // 2))
        return _median(lines(EDGE_LINES))


def _level_of_a_line(values: NDArray[np.float32]) -> float:
    """Level of the first few values by a line through all, of which a quarter may be bad (Theil and Sen)."""
    x = np.flatnonzero(np.isfinite(values)).astype(np.float32)
    y = values[np.isfinite(values)]
    one, other = np.triu_indices(len(y), 1)
    slope = _median((y[other] - y[one]) / (x[other] - x[one]))
    return _median(y - np.float32(slope) * (x - np.float32((EDGE_LINES - 1) / 2)))


def _row_noise(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row above that of the rows around it; 0 for a row so odd that it is a bad row."""
    from scipy.ndimage import median_filter

    medians = np.where(np.isfinite(medians), medians, np.float32(_median(medians)))
    around = median_filter(medians, size=min(ROW_DRIFT, medians.size), mode="nearest")
    noise = np.asarray(medians - around, dtype=np.float32)
    centre, scatter = clipped_moments(noise)
    noise[np.abs(noise - centre) > BAD_ROW_SIGMA * scatter] = 0.0
    return noise


def _block_medians(clean: NDArray[np.float32], box: int, which: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Medians of all blocks of pixels, or of some as one row; NaN for a block without any."""
    ny, nx = clean.shape
    blocks_y, blocks_x = -(-ny // box), -(-nx // box)
    if (ny, nx) != (blocks_y * box, blocks_x * box):
        padded = np.full((blocks_y * box, blocks_x * box), np.nan, np.float32)
        padded[:ny, :nx] = clean
        clean = padded
    tiles = clean.reshape(blocks_y, box, blocks_x, box).swapaxes(1, 2)
    if which is not None:
        tiles = tiles[which]
    return nan_medians(tiles.reshape(*tiles.shape[:-2], box * box))


def _filled(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill blocks without a value from those around them, from the edge of each gap inwards."""
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
    """Find groups of blocks that stand out of what their neighbours say, and what they enclose.

    A single block is none: it spoils one pair of each neighbour, and the others tell. Of a defect of several blocks the
    edges stand out, and all around it would be drawn towards it.
    """
    from scipy.ndimage import binary_dilation, binary_fill_holes, label

    beside = np.ones((3, 3), bool)
    out = np.abs(medians - smooth) > threshold
    if np.count_nonzero(out) < 2:
        return np.zeros_like(out)
    groups, n = label(out, beside)
    several = np.bincount(groups.ravel(), minlength=n + 1) > 1
    several[0] = False
    # a block that is half covered is just what its neighbours say, and belongs to it
    large = np.asarray(binary_fill_holes(binary_dilation(several[groups], beside)))
    return large if large.mean() < LARGE_PART else np.zeros_like(large)


def _without_clusters(medians: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace each block by what the pairs of blocks on opposite sides of it say.

    A cluster of bad pixels fills a block and spoils one pair of each neighbour: of four pairs the middle two
    count. The mean of two opposite sides follows a slope, which a median of all neighbours would cut off where
    glow rises towards a corner; beyond the edges the blocks are mirrored about the edge's own value.
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


class Surface:
    """A cubic (Catmull-Rom) through the centres of the blocks; straight beyond the outermost.

    Written out as four weighted rows for each, so that the result does not depend on how a library
    happens to order its sums.

    Parameters
    ----------
    medians : ndarray of float32, shape (ceil(ny / box), ceil(nx / box)), electron
        Value of each block.
    shape : (int, int)
        Rows and columns of the image, ny and nx.
    box : int
        Side of the blocks, pixels; the last of a row or column may be cut.
    """

    def __init__(self, medians: NDArray[np.float32], shape: tuple[int, int], box: int) -> None:
        ny, nx = shape
        wide = self._weighted(_beyond(np.ascontiguousarray(medians.T)), *_cubic(nx, box))
        self._blocks = _beyond(np.ascontiguousarray(wide.T))
        self._left, self._weights = _cubic(ny, box)

    def rows(self, rows: slice) -> NDArray[np.float32]:
        """Draw some rows, float32 of shape (rows, nx), electron."""
        return self._weighted(self._blocks, self._left[rows], self._weights[:, rows])

    def at(self, row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.float32]:
        """Draw some pixels, of a row and a column each, float32 of shape (n,), electron."""
        left, weights = self._left[row], self._weights[:, row]
        values: NDArray[np.float32] = self._blocks[left, column] * weights[0]
        for k in range(1, 4):
            values += self._blocks[left + k, column] * weights[k]
        return values

    @staticmethod
    def _weighted(
        blocks: NDArray[np.float32], left: NDArray[np.intp], weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        out = blocks[left]
        out *= weights[0][:, None]
        part = np.empty_like(out)
        for k in range(1, 4):
            np.take(blocks, left + k, axis=0, out=part, mode="clip")  # other modes fill a copy of the output first
            part *= weights[k][:, None]
            out += part
        return out


def _cubic(length: int, box: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """First of the four blocks that make each pixel along an axis, and their weights, shape (4, length)."""
    edges = np.append(np.arange(0, length, box), length)  # the last block may be cut
    centres = 0.5 * (edges[:-1] + edges[1:] - 1)
    if len(centres) == 1:
        return np.zeros(length, np.intp), np.tile(np.array([[0], [1], [0], [0]], np.float32), length)
    x = np.arange(length)
    left = np.clip(np.searchsorted(centres, x, side="right") - 1, 0, len(centres) - 2)
    t = (x - centres[left]) / (centres[left + 1] - centres[left])
    weights = np.array([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2
    outside = (t < 0) | (t > 1)
    weights[:, outside] = [np.zeros(outside.sum()), 1 - t[outside], t[outside], np.zeros(outside.sum())]
    return left, weights.astype(np.float32)


def _beyond(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Put a block beyond each end of the first axis, on the straight line through the last two."""
    if len(blocks) == 1:
        return np.repeat(blocks, 4, axis=0)
    return np.concatenate([2 * blocks[:1] - blocks[1:2], blocks, 2 * blocks[-1:] - blocks[-2:-1]])


def _median(values: NDArray[np.float32]) -> float:
    """Median of the finite values, 0 where there are none."""
    median = float(nan_medians(values.ravel())) if values.size else 0.0
    return median if np.isfinite(median) else 0.0
