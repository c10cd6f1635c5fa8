"""Find columns whose level stands out of the pattern of the detector, whole or in part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .background import BAD_LINE_SIGMA, BLOCK_ROWS, LINE_DRIFT
from .robust import nan_medians

__all__ = ["find_bad_columns"]

#: Blocks of a window: a column may be bad over 60 rows.
WINDOW_BLOCKS = 5
#: Blocks from window to window: with two, a window holds four of the four whole blocks that 60 bad rows cover.
WINDOW_STEP = 2
#: Columns whose scatter is that of their surroundings: the pattern may differ between amplifiers.
SCATTER_COLUMNS = 65
#: Neighbouring columns that stand out together are a larger area, and no columns.
WIDEST = 9
#: Factor of the limit of the columns at the border of the image.
BORDER_LIMIT = 2.0
#: A single pixel counts no more than this, in errors, for the ends of a bad part.
PIXEL_LIMIT = 3.0
#: A part shorter than this much of 60 rows is a cluster of hot or cold pixels; one that covers so much of a column is
#: the whole column.
SHORTEST_PART, WHOLE_PART = 0.8, 0.8
#: Noise of the level of a block, and of the median of blocks times the root of their number, in errors of a pixel.
BLOCK_NOISE, MEDIAN_NOISE = 0.335, 0.42
#: Standard deviation of a Gaussian over its median absolute deviation.
MAD_SIGMA = 1.4826


def find_bad_columns(
    levels: NDArray[np.float32], n_rows: int, residual_of: Callable[[slice, int], NDArray[np.float32]]
) -> list[tuple[slice, int]]:
    """Find the bad columns of a range of rows.

    Parameters
    ----------
    levels : ndarray of float32, shape (blocks, nx)
        Normalised level of each column in blocks of rows, column pattern included; see `column_levels`.
    n_rows : int
        Rows of the range; the last may be in no block.
    residual_of : callable
        Called with rows and a column; returns the normalised residuals of these pixels, column pattern included.

    Returns
    -------
    list of (slice, int)
        Rows and column of each bad part.

    Notes
    -----
    A column is bad where its level, over all rows or over 60, is beyond 6 robust standard deviations of the levels of
    all columns. That scatter holds the pattern of the detector and the noise of a level. The part found begins and
    ends where the sum of (residual - half of its level) is largest.
    """
    from scipy.ndimage import binary_dilation, binary_opening, find_objects, label

    if not len(levels):
        return []
    blocks = np.lib.stride_tricks.sliding_window_view(levels, min(WINDOW_BLOCKS, len(levels)), axis=0)
    windows, limit = _above_pattern(nan_medians(np.ascontiguousarray(blocks[::WINDOW_STEP])), blocks.shape[-1])
    outstanding = np.abs(windows) > limit
    whole, whole_limit = _above_pattern(nan_medians(np.ascontiguousarray(levels.T))[None], len(levels))
    is_whole = np.abs(whole[0]) > whole_limit
    outstanding[:, is_whole] = True
    limits = np.where(is_whole, whole_limit, limit)
    # the smooth background is a straight line there, which the settling of the first pixels of a row does not follow
    limits[: WIDEST // 2] *= BORDER_LIMIT
    limits[-(WIDEST // 2) :] *= BORDER_LIMIT
    wide = binary_opening(np.abs(windows) > limit / 2, np.ones((1, WIDEST), bool))
    outstanding &= ~binary_dilation(wide, np.ones((3, WIDEST), bool))
    runs, _ = label(outstanding, [[0, 1, 0]] * 3)
    found = []
    for places, columns in find_objects(runs):
        first = (places.start * WINDOW_STEP - 1) * BLOCK_ROWS
        last = ((places.stop - 1) * WINDOW_STEP + WINDOW_BLOCKS + 1) * BLOCK_ROWS
        rows = slice(max(first, 0), n_rows if places.stop == len(windows) else min(last, n_rows))
        level, column = float(np.median(windows[places, columns])), columns.start
        part = _largest_sum(np.sign(level) * residual_of(rows, column) - abs(level) / 2)
        part = slice(rows.start + part.start, rows.start + part.stop)
        length = part.stop - part.start
        if length < SHORTEST_PART * min(n_rows, BLOCK_ROWS * WINDOW_BLOCKS):
            continue
        near = [x for x in range(column - WIDEST // 2, column + WIDEST // 2 + 1) if 0 <= x < levels.shape[1]]
        around = np.nanmedian([np.nanmedian(residual_of(part, x)) for x in near if x != column])
        above = np.nanmedian(residual_of(part, column)) - around
        # an area beside a step or a misfit of the background at the border is no column
        if abs(above) > max(limits[column], abs(around)):
            found.append((slice(0, n_rows) if length > WHOLE_PART * n_rows else part, column))
    return found


def _above_pattern(levels: NDArray[np.float32], n_blocks: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return levels, shape (places, columns), above those of the columns around, and the limit of each column."""
    from scipy.ndimage import median_filter

    levels = np.nan_to_num(levels)
    nx = levels.shape[1]
    # beyond the border as the nearest columns are: the outermost alone is often bright on real detectors
    beyond = [
        np.repeat(nan_medians(ends)[:, None], LINE_DRIFT, axis=1) for ends in (levels[:, :WIDEST], levels[:, -WIDEST:])
    ]
    wide = np.concatenate([beyond[0], levels, beyond[1]], axis=1)
    # as a single line, which is filtered several times faster; what lies beyond keeps the rows apart
    around = median_filter(wide.ravel(), size=LINE_DRIFT).reshape(wide.shape)
    levels = levels - around[:, LINE_DRIFT:-LINE_DRIFT]
    deviation = nan_medians(np.ascontiguousarray(np.abs(levels).T))
    around = median_filter(deviation, size=min(SCATTER_COLUMNS, nx), mode="nearest")
    scatter = MAD_SIGMA * np.maximum(around, np.median(deviation))
    # the scatter of levels that are rounded may be zero
    return levels, BAD_LINE_SIGMA * np.maximum(scatter, BLOCK_NOISE if n_blocks == 1 else MEDIAN_NOISE / n_blocks**0.5)


def _largest_sum(values: NDArray[np.float32]) -> slice:
    """Return the part of a line whose sum is largest; single pixels count up to a limit."""
    total = np.append(0, np.cumsum(np.clip(np.nan_to_num(values), -PIXEL_LIMIT, PIXEL_LIMIT)))
    stop = int(np.argmax(total - np.minimum.accumulate(total)))
    return slice(int(np.argmin(total[: stop + 1])), stop)
