"""Means of boxes of pixels, in which structure shows that is too weak for single pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stacking.frame_stack import Regions
from ..stacking.robust import clipped_moments, nan_medians

__all__ = [
    "Boxes",
    "ExpectedStructure",
    "Structure",
    "box_medians",
    "correlated_freedom",
    "expected_structure",
    "largest_box_rms",
    "measure_structure",
]

#: Fewest frames that show the usual structure of single frames.
FEWEST_FRAMES = 3


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


def _measure_boxes(z: NDArray[np.float32], region: tuple[slice, slice], box: int) -> Boxes:
    """Return the means of the boxes of an amplifier of which at least half of the pixels count."""
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


@dataclass(frozen=True)
class Structure:
    """Structure in normalised residuals.

    Attributes
    ----------
    rows : float
        Noise of the means of boxes that the levels of rows make, over that of independent pixels.
    boxes : tuple of Boxes
        Boxes of each amplifier, without these levels.
    n_block_rows : int
        Rows of boxes in the image.
    """

    rows: float
    boxes: tuple[Boxes, ...]
    n_block_rows: int

    @property
    def n_boxes(self) -> int:
        """Number of boxes."""
        return sum(one.z.size for one in self.boxes)

    @property
    def _z(self) -> NDArray[np.float64]:
        return np.concatenate([one.z for one in self.boxes])

    @property
    def local(self) -> float:
        """Root mean square of all boxes without the levels of rows."""
        return float(np.sqrt(np.mean(np.square(self._z)))) if self.n_boxes else math.nan

    @property
    def total(self) -> float:
        """Root mean square of all boxes."""
        return math.sqrt(self.local**2 + self.rows**2 - 1)

    @property
    def width(self) -> float:
        """Clipped standard deviation of all boxes without the levels of rows."""
        return clipped_moments(self._z)[1]

    @property
    def worst(self) -> tuple[float, int, int]:
        """The box that is furthest from 0: its mean over the error, row and column of its middle."""
        one = max((one for one in self.boxes if one.z.size), key=lambda one: float(np.abs(one.z).max()))
        i = int(np.argmax(np.abs(one.z)))
        return float(one.z[i]), int(one.y[i]), int(one.x[i])


def measure_structure(z: NDArray[np.float32], regions: Regions, box: int) -> Structure:
    """Measure structure in normalised residuals.

    Parameters
    ----------
    z : ndarray of float32, shape (ny, nx)
        Normalised residuals above the level of each amplifier; NaN are left out.
    regions : tuple of (slice, slice)
        Rows and columns of each amplifier.
    box : int
        Side of a box, pixels.

    Returns
    -------
    Structure

    Notes
    -----
    Noise that rows share differs much from frame to frame. The median of each row is subtracted, so that structure of
    other kinds shows.
    """
    rows = nan_medians(z)
    n_blocks = rows.size // box
    blocks = np.nan_to_num(rows[: n_blocks * box]).reshape(n_blocks, box).mean(axis=1, dtype=np.float64)
    flat = z - rows[:, None]
    boxes = tuple(_measure_boxes(flat[region], region, box) for region in regions)
    return Structure(math.sqrt(1 + box**2 * float(np.mean(np.square(blocks)))), boxes, n_blocks)


@dataclass(frozen=True)
class ExpectedStructure:
    """The structure of good frames: noise of the means of boxes, with and without the levels of rows."""

    total: float
    local: float


def expected_structure(structures: Sequence[Structure], correlation: float) -> ExpectedStructure:
    """Return the structure that good frames have.

    Parameters
    ----------
    structures : sequence of Structure
        Those of single frames.
    correlation : float
        Noise of the means of boxes in the master, over that of independent pixels.

    Returns
    -------
    ExpectedStructure
        That of the master; where most frames have less, that of these: a faulty frame of the master is in its value.
    """
    found = []
    for name in ("total", "local"):
        values = [getattr(one, name) for one in structures if one.n_boxes]
        typical = float(np.median(values)) if len(values) >= FEWEST_FRAMES else math.inf
        found.append(max(min(correlation, typical), 1.0))
    return ExpectedStructure(*found)


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
