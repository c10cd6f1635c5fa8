"""What a pixel's neighbours say of its level: amplifier steps, column parity, drifting rows, smooth glow."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .frame_stack import Regions
from .noise_model import clipped_moments

__all__ = ["Background", "measure_background"]

#: Rows over which row medians may drift and still be glow, not the noise of single rows.
ROW_DRIFT = 33
#: Rows further out than drifting rows ever are: bad rows, which must not hide in the background.
BAD_ROW_SIGMA = 6.0
#: Pixels that stand out by so much take no part in the background.
OUTSTANDING_SIGMA = 4.0
#: Pixels that tell how much that is.
SCATTER_PIXELS = 2**16


@dataclass(frozen=True)
class Background:
    """The level of good pixels, from their neighbours.

    Attributes
    ----------
    total_e : ndarray of float32, shape (ny, nx), electron
        Steps between amplifiers, column parity, single rows and smooth part together.
    smooth_e : ndarray of float32, shape (ny, nx), electron
        The smooth part alone: dark signal and glow, up to a constant.
    """

    total_e: NDArray[np.float32]
    smooth_e: NDArray[np.float32]


def measure_background(
    image: NDArray[np.float32],
    regions: Regions,
    *,
    column_parity: bool = False,
    box: int = 8,
    bad: NDArray[np.bool_] | None = None,
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

    Returns
    -------
    Background

    Notes
    -----
    Amplifier levels are chained from the steps between neighbouring columns or rows, not taken as medians:
    glow that runs across an amplifier would leave saw teeth. Medians of single columns are not removed: a bad
    column would hide (docs/method, section 4).
    """
    clean = image.copy()
    if bad is not None:
        clean[bad] = np.nan
    pattern = np.zeros(image.shape, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rows or blocks without data give NaN, filled below
        if column_parity:
            _remove_parity(clean, pattern, regions)
        _remove_steps(clean, pattern, regions)
        rows = _row_noise(clean)
        clean -= rows[:, None]
        medians = _block_medians(clean, box)
        # what stands out of a first look would pull its own background: a second look leaves it out
        residual = clean - _interpolate_blocks(medians, clean.shape, box)
        scatter = clipped_moments(residual.ravel()[:: max(1, residual.size // SCATTER_PIXELS) | 1])[1]
        clean[np.abs(residual) > np.float32(OUTSTANDING_SIGMA * scatter)] = np.nan
        smooth = _interpolate_blocks(_block_medians(clean, box, instead=medians), clean.shape, box)
    pattern += rows[:, None]
    pattern += smooth
    return Background(pattern, smooth)


def _remove_parity(clean: NDArray[np.float32], pattern: NDArray[np.float32], regions: Regions) -> None:
    """Take half the difference of odd and even columns from each, region by region."""
    for rows, columns in regions:
        block = clean[rows, columns]
        even, odd = block[::4, : block.shape[1] // 2 * 2 : 2], block[::4, 1::2]
        # each pair of columns by its own median, so that a bad column among them does not count
        half = np.float32(0.5 * _median(np.nanmedian(odd - even, axis=0)))
        offset = np.where(np.arange(block.shape[1]) % 2, half, -half)
        block -= offset
        pattern[rows, columns] += offset


def _remove_steps(clean: NDArray[np.float32], pattern: NDArray[np.float32], regions: Regions) -> None:
    """Bring every region to the level of the first, across the edges that they share."""
    placed: list[tuple[slice, slice]] = []
    waiting = list(regions)
    while waiting:
        for region in waiting:
            step = 0.0 if not placed else _step(clean, placed, region)
            if step is None:
                continue
            clean[region] -= np.float32(step)
            pattern[region] += np.float32(step)
            placed.append(region)
            waiting.remove(region)
            break
        else:  # an island without a neighbour stays as it is
            placed.append(waiting.pop(0))


def _step(
    clean: NDArray[np.float32], placed: list[tuple[slice, slice]], region: tuple[slice, slice], width: int = 4
) -> float | None:
    """Level of a region above a neighbour that is placed; None when it has none."""
    for other in placed:
        for axis in (0, 1):
            image, along = (clean, 1) if axis == 0 else (clean.T, 0)
            if other[along] != region[along]:
                continue
            before, after = sorted((other[axis], region[axis]), key=lambda span: span.start)
            if before.stop != after.start:
                continue
            edge = after.start
            # each line along the edge by its own median, so that a bad one among them does not count
            lines = np.nanmedian(image[edge - width : edge + width, region[along]], axis=1)
            rise = _median(lines[width:]) - _median(lines[:width])
            return rise if after is region[axis] else -rise
    return None


def _row_noise(clean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Median of each row above that of the rows around it; 0 for a row so odd that it is a bad row."""
    import bottleneck
    from scipy.ndimage import median_filter

    medians = bottleneck.nanmedian(clean, axis=1)
    medians = np.where(np.isfinite(medians), medians, np.float32(_median(medians)))
    around = median_filter(medians, size=min(ROW_DRIFT, medians.size), mode="nearest")
    noise = np.asarray(medians - around, dtype=np.float32)
    centre, scatter = clipped_moments(noise)
    noise[np.abs(noise - centre) > BAD_ROW_SIGMA * scatter] = 0.0
    return noise


def _block_medians(
    clean: NDArray[np.float32], box: int, instead: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Medians of blocks, freed of clusters of bad pixels; what stands instead of a block without any pixel."""
    import bottleneck

    ny, nx = clean.shape
    blocks_y, blocks_x = -(-ny // box), -(-nx // box)
    padded = np.full((blocks_y * box, blocks_x * box), np.nan, np.float32)
    padded[:ny, :nx] = clean
    tiles = padded.reshape(blocks_y, box, blocks_x, box).swapaxes(1, 2).reshape(blocks_y, blocks_x, box * box)
    medians = bottleneck.nanmedian(np.ascontiguousarray(tiles), axis=2)
    medians = np.where(np.isfinite(medians), medians, np.float32(_median(medians)) if instead is None else instead)
    return _without_clusters(medians)


def _interpolate_blocks(medians: NDArray[np.float32], shape: tuple[int, int], box: int) -> NDArray[np.float32]:
    """Draw a cubic through the centres of the blocks."""
    centres_y, centres_x = (_centres(length, box) for length in shape)
    wide = _interpolate(medians.T, centres_x, shape[1]).T
    return np.ascontiguousarray(_interpolate(wide, centres_y, shape[0]))


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
    pairs = np.array(
        [
            beyond[1 - y : 1 - y + ny, 1 - x : 1 - x + nx] + beyond[1 + y : 1 + y + ny, 1 + x : 1 + x + nx]
            for y, x in ((0, 1), (1, 0), (1, 1), (1, -1))
        ]
    )
    middle: NDArray[np.float32] = np.sort(pairs, axis=0)[1:3].sum(axis=0) / np.float32(4)
    return middle


def _centres(length: int, box: int) -> NDArray[np.float64]:
    """Centre of each block along one axis; the last block may be cut."""
    edges = np.append(np.arange(0, length, box), length)
    return 0.5 * (edges[:-1] + edges[1:] - 1)


def _interpolate(values: NDArray[np.float32], centres: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """Cubic (Catmull-Rom) through values at block centres along the first axis; straight beyond the ends.

    Written out as four weighted rows for each, so that the result does not depend on how a library
    happens to order its sums.
    """
    n = len(centres)
    if n == 1:
        return np.repeat(values, length, axis=0)
    x = np.arange(length)
    left = np.clip(np.searchsorted(centres, x, side="right") - 1, 0, n - 2)
    t = (x - centres[left]) / (centres[left + 1] - centres[left])
    weights = np.array([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2]) / 2
    outside = (t < 0) | (t > 1)
    weights[:, outside] = [np.zeros(outside.sum()), 1 - t[outside], t[outside], np.zeros(outside.sum())]
    # one block beyond each end, on the straight line through the last two
    extended = np.concatenate([2 * values[:1] - values[1:2], values, 2 * values[-1:] - values[-2:-1]])
    out = np.zeros((length, *values.shape[1:]), np.float32)
    for k in range(4):
        out += weights[k][:, None].astype(np.float32) * extended[left + k]
    return out


def _median(values: NDArray[np.float32]) -> float:
    """Median of the finite values, 0 where there are none."""
    median = float(np.nanmedian(values)) if values.size else 0.0
    return median if np.isfinite(median) else 0.0
