"""Compare two masters: their differences in units of their errors, block by block, and their codes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError
from ..pixel_codes import PixelCode
from ..stacking.robust import CLIP_VARIANCE, clipped_moments, finite_median
from .master_images import MasterImages

__all__ = ["Block", "ChangedCode", "CodeCount", "MasterComparison", "Tail", "compare_masters"]

#: Blocks along each side of the map, and the fewest pixels of a side of one.
BLOCKS, LEAST_SIDE = 16, 16
#: Sigmas beyond which differences are counted.
TAILS = (3.0, 4.0, 5.0)
#: Blocks and pixels that are named.
NAMED = 10
#: Errors of the difference below this part of those of independent masters: then those of the first one count.
LEAST_PART = 0.05


@dataclass(frozen=True)
class Tail:
    """Differences beyond some sigmas: how many good pixels, and how many a Gaussian has."""

    sigma: float
    n_pixels: int
    expected: float


@dataclass(frozen=True)
class Block:
    """The mean difference of a block of pixels.

    Attributes
    ----------
    x, y : tuple of int
        First and last column and row in the product, FITS coordinates from 1.
    difference_e : float
        Mean difference, second minus first, above the level of all; electron.
    sigma : float
        The same over its error, correlated noise included.
    """

    x: tuple[int, int]
    y: tuple[int, int]
    difference_e: float
    sigma: float


@dataclass(frozen=True)
class CodeCount:
    """Pixels that have a code in the first master, in the second, and in both."""

    code: int
    label: str
    first: int
    second: int
    both: int


@dataclass(frozen=True)
class ChangedCode:
    """A pixel that has another code in the second master; ``sigma`` is the difference of its values over its error."""

    x: int
    y: int
    first: int
    second: int
    sigma: float


@dataclass(frozen=True)
class MasterComparison:
    """The differences of two masters, second minus first.

    Attributes
    ----------
    level_e : float
        Clipped mean of the differences of good pixels, electron.
    n_pixels : int
        Good pixels in both.
    n_shared : int
        Frames that both were made of.
    width : float
        Standard deviation of the differences over their combined errors, about the level: 1 where both masters hold
        the same signal.
    error_e : float
        Median combined error, electron.
    tails : tuple of Tail
        Differences beyond 3, 4 and 5 sigmas.
    blocks_e : tuple of tuple of float
        Mean difference of each block above the level, electron, rows of the product from the bottom; NaN where a block
        has no good pixel.
    worst_blocks : tuple of Block
        Those with the largest differences over their errors.
    codes : tuple of CodeCount
        Pixels by code.
    changed : tuple of ChangedCode
        Pixels with another code, those with the largest differences first.
    n_changed : int
        Number of all of them.
    """

    level_e: float
    n_pixels: int
    n_shared: int
    width: float
    error_e: float
    tails: tuple[Tail, ...]
    blocks_e: tuple[tuple[float, ...], ...] = field(repr=False)
    worst_blocks: tuple[Block, ...]
    codes: tuple[CodeCount, ...]
    changed: tuple[ChangedCode, ...]
    n_changed: int

    def record(self) -> dict[str, Any]:
        """Return the comparison as JSON holds it."""
        blocks = [[value if math.isfinite(value) else None for value in row] for row in self.blocks_e]
        return asdict(self) | {"blocks_e": blocks}


def compare_masters(
    first: MasterImages, second: MasterImages, *, n_shared: int = 0, shared_bias: bool = False
) -> MasterComparison:
    """Compare two masters of the same detector and exposure.

    Parameters
    ----------
    first, second : MasterImages
        The masters.
    n_shared : int
        Frames that both were made of: their noise is in both.
    shared_bias : bool
        Whether the same master bias was subtracted from both: its error cancels.

    Returns
    -------
    MasterComparison

    Raises
    ------
    InputError
        When they differ in shape, or have no good pixel in common.
    """
    second.require_size_of(first)
    difference = second.values_e - first.values_e
    error = _combined_error(first, second, n_shared, shared_bias)
    good = (first.codes == 0) & (second.codes == 0) & np.isfinite(difference) & (error > 0)
    n_pixels = int(np.count_nonzero(good))
    if not n_pixels:
        raise InputError(f"{first.name} and {second.name} have no pixel that is good in both: nothing can be compared")
    level = clipped_moments(difference[good])[0]
    z = (difference - np.float32(level)) / error
    of_good = np.abs(z[good])
    tails = tuple(
        Tail(sigma, int(np.count_nonzero(of_good > sigma)), n_pixels * math.erfc(sigma / math.sqrt(2)))
        for sigma in TAILS
    )
    blocks, worst = _blocks(first, np.where(good, difference - np.float32(level), np.nan), error)
    counts, changed, n_changed = _codes(first, second, z)
    return MasterComparison(
        level_e=level,
        n_pixels=n_pixels,
        n_shared=n_shared,
        width=clipped_moments(z[good])[1] / math.sqrt(CLIP_VARIANCE),
        error_e=float(np.median(error[good])),
        tails=tails,
        blocks_e=blocks,
        worst_blocks=worst,
        codes=counts,
        changed=changed,
        n_changed=n_changed,
    )


def _combined_error(first: MasterImages, second: MasterImages, n_shared: int, shared_bias: bool) -> NDArray[np.float32]:
    """Return the error of the difference: frames of both masters contribute to it as far as their weights differ."""
    own = [master.sample_variance / np.maximum(master.count, 1) for master in (first, second)]
    independent = own[0] + own[1]
    # n shared frames of nA and nB have the covariance n s^2 / (nA nB)
    share = n_shared / math.sqrt(first.n_frames * second.n_frames)
    variance = independent - 2 * np.float32(min(share, 1.0)) * np.sqrt(own[0] * own[1])
    if not shared_bias:
        variance += np.square(first.bias_error_e, dtype=np.float32) + np.square(second.bias_error_e, dtype=np.float32)
    if share and finite_median(variance) < LEAST_PART * finite_median(independent):
        variance = own[0]
    error: NDArray[np.float32] = np.sqrt(np.maximum(variance, np.float32(1e-12)))
    return error


def _blocks(
    master: MasterImages, difference: NDArray[np.floating], error: NDArray[np.float32]
) -> tuple[tuple[tuple[float, ...], ...], tuple[Block, ...]]:
    """Return the mean differences of blocks in product orientation, and those that differ most."""
    turned, errors = (np.rot90(image, master.rot90_count) for image in (difference, error))
    edges = [
        np.linspace(0, side, max(min(BLOCKS, side // LEAST_SIDE), 1) + 1).astype(int).tolist() for side in turned.shape
    ]
    rows, found = [], []
    for y0, y1 in zip(edges[0][:-1], edges[0][1:], strict=True):
        row = []
        for x0, x1 in zip(edges[1][:-1], edges[1][1:], strict=True):
            part = turned[y0:y1, x0:x1]
            known = np.isfinite(part)
            count = np.count_nonzero(known)
            if not count:
                row.append(math.nan)
                continue
            mean = clipped_moments(part)[0]
            rms = math.sqrt(float(np.mean(np.square(errors[y0:y1, x0:x1][known], dtype=np.float64))))
            sigma = mean / (rms * max(master.correlation, 1.0) / math.sqrt(count))
            row.append(mean)
            found.append(Block((x0 + 1, x1), (y0 + 1, y1), mean, sigma))
        rows.append(tuple(row))
    found.sort(key=lambda block: -abs(block.sigma))
    return tuple(rows), tuple(found[:NAMED])


def _codes(
    first: MasterImages, second: MasterImages, z: NDArray[np.float32]
) -> tuple[tuple[CodeCount, ...], tuple[ChangedCode, ...], int]:
    """Return the pixels by code, and those whose code changed."""
    pairs = Counter(zip(*(master.codes[(first.codes | second.codes) != 0].tolist() for master in (first, second)),
                        strict=True))  # fmt: skip
    counts = []
    for code in PixelCode:
        one, other, both = (
            sum(n for pair, n in pairs.items() if condition(pair[0] & code, pair[1] & code))
            for condition in (lambda a, b: a, lambda a, b: b, lambda a, b: a and b)
        )
        if one or other:
            counts.append(CodeCount(int(code), code.label, one, other, both))
    differing = np.flatnonzero(first.codes != second.codes)
    size = np.nan_to_num(np.abs(z.ravel()[differing]), nan=0.0, posinf=0.0)
    chosen = differing[np.argsort(-size, kind="stable")[:NAMED]]
    rows, columns = np.divmod(chosen, first.shape[1])
    x, y = first.position(rows, columns)
    changed = tuple(
        ChangedCode(int(i), int(j), int(a), int(b), float(sigma) if math.isfinite(sigma) else 0.0)
        for i, j, a, b, sigma in zip(
            x, y, first.codes.ravel()[chosen], second.codes.ravel()[chosen], z.ravel()[chosen], strict=True
        )
    )
    return tuple(counts), changed, int(differing.size)
