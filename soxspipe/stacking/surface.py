"""Smooth surfaces through the medians of blocks of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Surface"]


class Surface:
    """A cubic (Catmull-Rom) surface through the centres of blocks; straight beyond the outermost.

    Each row is the sum of four weighted rows, always in the same order: a library may order its sums differently from
    version to version.

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
        """Return some rows, float32 of shape (rows, nx), electron."""
        return self._weighted(self._blocks, self._left[rows], self._weights[:, rows])

    def at(self, row: NDArray[np.intp], column: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return pixels by row and column, float32 of shape (n,), electron."""
        left, weights = self._left[row], self._weights[:, row]
        values: NDArray[np.float32] = self._blocks[left, column] * weights[0]
        for k in range(1, 4):
            values += self._blocks[left + k, column] * weights[k]
        return values

    @staticmethod
    def _weighted(
        blocks: NDArray[np.float32], left: NDArray[np.intp], weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        rows = blocks[left]
        rows *= weights[0][:, None]
        for k in range(1, 4):
            part = blocks[left + k]
            part *= weights[k][:, None]
            rows += part
        return rows


def _cubic(length: int, box: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the first of the four blocks of each pixel along an axis, and their weights, shape (4, length)."""
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
    """Add a block beyond each end of the first axis, on the straight line through the last two."""
    if len(blocks) == 1:
        return np.repeat(blocks, 4, axis=0)
    return np.concatenate([2 * blocks[:1] - blocks[1:2], blocks, 2 * blocks[-1:] - blocks[-2:-1]])
