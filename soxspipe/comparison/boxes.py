"""Means of boxes of pixels, in which structure shows that is too weak for single pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stacking.frame_stack import Regions
from ..stacking.robust import nan_medians

__all__ = ["Boxes", "box_medians", "correlated_freedom", "largest_box_rms", "measure_boxes"]


@dataclass(frozen=True)
class Boxes:
    """Means of boxes of normalised residuals.

    Attributes
    ----------
    y, x : ndarray of int, shape (boxes,)
        Row and column of the middle of each box.
    z : ndarray of float64, shape (boxes,)
        Mean of each, over the error of the mean of as many independent pixels.
    """

    y: NDArray[np.intp]
    x: NDArray[np.intp]
    z: NDArray[np.float64]

    @property
    def rms(self) -> float:
        """Root mean square of ``z``; NaN without a box."""
        return float(np.sqrt(np.mean(np.square(self.z)))) if self.z.size else math.nan


def _tiles(image: NDArray[np.float32], box: int) -> NDArray[np.float32]:
    """Return the pixels of whole boxes, shape (box rows, box columns, pixels)."""
    down, along = (length // box for length in image.shape)
    part = image[: down * box, : along * box].reshape(down, box, along, box)
    return np.ascontiguousarray(part.swapaxes(1, 2)).reshape(down, along, box * box)


def box_medians(image: NDArray[np.float32], regions: Regions, box: int) -> NDArray[np.float32]:
    """Return the median of the box around each pixel, boxes of each amplifier apart.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Any unit; NaN are left out.
    regions : tuple of (slice, slice)
        Rows and columns of each amplifier.
    box : int
        Side of a box, pixels.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        A pixel beyond the last whole box has the median of that box.
    """
    medians = np.zeros_like(image)
    for region in regions:
        part = image[region]
        side = min(box, *part.shape)
        level = nan_medians(_tiles(part, side))
        rows, columns = (np.minimum(np.arange(n) // side, n // side - 1) for n in part.shape)
        medians[region] = level[rows[:, None], columns]
    return medians


def measure_boxes(z: NDArray[np.float32], region: tuple[slice, slice], box: int) -> Boxes:
    """Return the means of the boxes of an amplifier of which at least half of the pixels count.

    Parameters
    ----------
    z : ndarray of float32, shape (rows, columns)
        Normalised residuals of the amplifier; NaN are left out.
    region : tuple of (slice, slice)
        Its rows and columns in the image.
    box : int
        Side of a box, pixels.

    Returns
    -------
    Boxes
    """
    tiles = _tiles(z, box)
    known = np.isfinite(tiles)
    count = np.count_nonzero(known, axis=2)
    sums = tiles.sum(axis=2, dtype=np.float64, where=known)
    rows, columns = np.nonzero(2 * count > box * box)
    middle = box // 2
    return Boxes(
        region[0].start + rows * box + middle,
        region[1].start + columns * box + middle,
        sums[rows, columns] / np.sqrt(count[rows, columns]),
    )


def correlated_freedom(n_boxes: int, correlation: float, n_rows: int) -> float:
    """Return the degrees of freedom of the mean square of box means.

    Parameters
    ----------
    n_boxes : int
        Boxes.
    correlation : float
        Their noise over that of independent pixels.
    n_rows : int
        Rows of boxes in the image.

    Returns
    -------
    float

    Notes
    -----
    What exceeds independent pixels is taken for 1/f noise of the rows: with powers P its mean square has
    (sum P)^2 / sum P^2 equal powers of two degrees of freedom each (Satterthwaite 1946).
    """
    power = 1.0 / np.arange(1, max(n_rows // 2, 1) + 1)
    free = 2 * power.sum() ** 2 / np.square(power).sum()
    excess = 1.0 - 1.0 / correlation**2
    return float(1.0 / (1.0 / max(n_boxes, 1) + excess**2 / free))


def largest_box_rms(correlation: float, free: float, free_of_master: float, chance: float) -> float:
    """Return the rms of box means that good frames exceed with some chance.

    Parameters
    ----------
    correlation : float
        That of the master, measured with ``free_of_master`` degrees of freedom.
    free, free_of_master : float
        Degrees of freedom.
    chance : float
        Of a larger value.

    Returns
    -------
    float
    """
    from scipy.special import fdtri

    return correlation * math.sqrt(float(fdtri(free, free_of_master, 1.0 - chance)))
