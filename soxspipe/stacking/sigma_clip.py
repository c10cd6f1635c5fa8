"""Which samples of a pixel to leave out: screening of all pixels, exact treatment of the few that need it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClipResult", "clip_by_noise", "clip_by_scatter", "screen_by_median", "screen_by_noise", "screen_by_scatter"]

#: Samples sorted at once, so that they stay in the cache.
TILE_SAMPLES = 2**17
#: So many samples that agree with each other outvote a lower one (two cosmic rays rarely agree, three never do).
OUTVOTE = 3


@dataclass(frozen=True)
class ClipResult:
    """What the exact clip found.

    Attributes
    ----------
    rejected : ndarray of bool, shape (frames, pixels)
        Samples to leave out of the mean, those without data included.
    ambiguous : ndarray of bool, shape (pixels,)
        Pixels whose samples contradict each other, so that no majority says what the pixel's level is.
    """

    rejected: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]


def screen_by_noise(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    read_noise_e: NDArray[np.float32],
    sigma: float,
) -> NDArray[np.bool_]:
    """Find the pixels in which `clip_by_noise` might reject a sample.

    Parameters
    ----------
    low, high, mean, std : ndarray of float32, electron
        Smallest and largest sample, mean and standard deviation (ddof 0) of each pixel.
    read_noise_e : ndarray of float32, electron
        Noise of a single sample, at least.
    sigma : float
        Clip.

    Returns
    -------
    ndarray of bool
        True for every pixel that needs a closer look; pixels with NaN are among them.

    Notes
    -----
    Median and mean of any sample differ by no more than its standard deviation, so that a pixel whose
    extremes are closer to the mean than ``sigma * noise - std`` can lose nothing. No sorting is needed.
    """
    reach = np.float32(sigma * (1.0 - 1e-5)) * read_noise_e - std
    return ~((high - mean <= reach) & (mean - low <= reach))


def screen_by_scatter(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    sigma: float,
) -> NDArray[np.bool_]:
    """Find the pixels in which a clip by the samples' own standard deviation might reject a sample."""
    reach = np.float32((sigma - 1.0) * (1.0 - 1e-4)) * std
    return ~((high - mean <= reach) & (mean - low <= reach)) & ~(high == low)


def screen_by_median(
    samples: NDArray[np.float32],
    read_noise_e: NDArray[np.float32],
    sigma: float,
    shot_scale: float = 1.0,
    nearest: float = np.inf,
) -> NDArray[np.bool_]:
    """Find the pixels in which `clip_by_noise` might reject a sample: exactly, by their median.

    Parameters
    ----------
    samples : ndarray of float32, shape (frames, pixels), electron
        Samples of each pixel.
    read_noise_e : ndarray of float32, shape (pixels,), electron
        Noise of a single sample.
    sigma : float
        Clip.
    shot_scale : float
        Electrons of variance per electron of signal.
    nearest : float
        Samples further from zero than this are doubted in any case, electron.

    Returns
    -------
    ndarray of bool, shape (pixels,)
        True for every pixel that is left; those with NaN are among them.

    Notes
    -----
    The median of a handful costs a sort, which NumPy does for contiguous samples in a few nanoseconds each.
    """
    n, pixels = samples.shape
    left = np.empty(pixels, bool)
    tile = max(1, TILE_SAMPLES // n)
    for start in range(0, pixels, tile):
        here = slice(start, start + tile)
        ordered = np.sort(np.ascontiguousarray(samples[:, here].T), axis=1)  # NaN come last
        low, high = ordered[:, 0], ordered[:, -1]
        median = np.float32(0.5) * (ordered[:, (n - 1) // 2] + ordered[:, n // 2])
        variance = np.square(read_noise_e[here]) + shot_scale * np.maximum(median, 0)
        reach = np.float32(sigma * (1.0 - 1e-5)) * np.sqrt(variance)
        quiet = (high - median <= reach) & (median - low <= reach) & (high <= nearest) & (low >= -nearest)
        left[here] = ~quiet
    return left


def clip_by_noise(
    samples: NDArray[np.float32],
    read_noise_e: NDArray[np.float32],
    sigma: float,
    iterations: int,
    *,
    doubtful: NDArray[np.bool_] | None = None,
    shot_scale: float = 1.0,
) -> ClipResult:
    """Reject samples further from the median of their pixel than the noise allows.

    Parameters
    ----------
    samples : ndarray of float32, shape (frames, pixels), electron
        Samples above the level at which the noise was measured; NaN where there is no data.
    read_noise_e : ndarray of float32, shape (pixels,), electron
        Noise of a single sample at that level.
    sigma : float
        Clip.
    iterations : int
        Most iterations.
    doubtful : ndarray of bool, shape (frames, pixels), optional
        Samples that take no part in the first median; those that agree with it come back.
    shot_scale : float
        Electrons of variance per electron of signal.

    Returns
    -------
    ClipResult

    Notes
    -----
    A sample x is rejected where ``|x - median| > sigma * sqrt(R**2 + max(median, 0))``. Where the median
    itself stands out of the level while a lower sample contradicts it, two or more cosmic rays may have hit
    the pixel: the samples are then taken upwards from the lowest for as long as they agree. See docs/method,
    section 1, for the measurements that chose this over the scatter of a handful of samples.
    """
    valid = np.isfinite(samples)
    kept = valid if doubtful is None else valid & ~doubtful
    kept = np.where(kept.any(axis=0), kept, valid)
    variance = np.square(read_noise_e)
    centre = _median(samples, kept)
    reach = _reach(centre, variance, sigma, shot_scale)
    agreeing = (np.abs(samples - centre) <= reach) & valid
    # what changes once may change again; the others are done
    open_ = np.flatnonzero((agreeing != kept).any(axis=0))
    kept[:, open_] = agreeing[:, open_]
    for _ in range(iterations - 1):
        if not open_.size:
            break
        few, before = samples[:, open_], kept[:, open_]
        centre[open_] = _median(few, before)
        reach[open_] = _reach(centre[open_], variance[open_], sigma, shot_scale)
        after = (np.abs(few - centre[open_]) <= reach[open_]) & before
        kept[:, open_] = after
        open_ = open_[(after != before).any(axis=0)]
    ambiguous = np.zeros(samples.shape[1], bool)
    # two hits in three or four frames: the median is a hit, or lies between hits and good samples
    odd = (centre > sigma * read_noise_e) & ((samples < centre - reach).any(axis=0) | ~kept.any(axis=0))
    odd |= ~kept.any(axis=0) & valid.any(axis=0)
    if odd.any():
        these = np.flatnonzero(odd)
        lowest = _lowest_cluster(samples[:, these], variance[these], sigma, shot_scale)
        n_valid, n_lowest = valid[:, these].sum(axis=0), lowest.sum(axis=0)
        n_kept = kept[:, these].sum(axis=0)
        majority = (n_kept >= OUTVOTE) & (2 * n_kept > n_valid)
        kept[:, these] = np.where(majority, kept[:, these], lowest)
        ambiguous[these] = ~majority & (2 * n_lowest < n_valid)
    return ClipResult(~kept, ambiguous)


def clip_by_scatter(
    samples: NDArray[np.float32],
    scale: str,
    sigma: float,
    iterations: int,
    *,
    doubtful: NDArray[np.bool_] | None = None,
) -> ClipResult:
    """Reject samples by the scatter of their own pixel, with `astropy.stats.sigma_clip`.

    Parameters
    ----------
    samples : ndarray of float32, shape (frames, pixels), electron
        Samples; NaN where there is no data.
    scale : {'std', 'mad'}
        Standard deviation, or median absolute deviation times 1.4826, both about the median.
    sigma : float
        Clip.
    iterations : int
        Most iterations.
    doubtful : ndarray of bool, shape (frames, pixels), optional
        Samples that take no part in centre and scatter; those that agree with the rest come back.

    Returns
    -------
    ClipResult
        No pixel is ambiguous here.
    """
    from astropy.stats import sigma_clip

    valid = np.isfinite(samples)
    judged = samples if doubtful is None else np.where(doubtful & (~doubtful & valid).any(axis=0), np.nan, samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy announces every NaN that it leaves out
        _, lower, upper = sigma_clip(
            judged,
            sigma=sigma,
            maxiters=iterations,
            cenfunc="median",
            stdfunc="mad_std" if scale == "mad" else "std",
            axis=0,
            masked=False,
            return_bounds=True,
        )
        # written so that a pixel without bounds (no data at all) rejects nothing more than it must
        rejected = ~valid | (samples < lower) | (samples > upper)
    return ClipResult(rejected, np.zeros(samples.shape[1], bool))


def _median(samples: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Median of the kept samples of each pixel, NaN where none is kept."""
    ordered = np.sort(np.where(kept, samples, np.float32(np.inf)), axis=0)
    count = kept.sum(axis=0)
    middle = np.maximum((count - 1) // 2, 0), np.minimum(count // 2, len(samples) - 1)
    columns = np.arange(samples.shape[1])
    median = np.float32(0.5) * (ordered[middle[0], columns] + ordered[middle[1], columns])
    return np.where(count > 0, median, np.float32(np.nan))


def _lowest_cluster(
    samples: NDArray[np.float32], variance: NDArray[np.float32], sigma: float, shot_scale: float
) -> NDArray[np.bool_]:
    """Take samples from the lowest upwards for as long as each agrees with the mean of those taken."""
    order = np.argsort(samples, axis=0)  # NaN come last
    ordered = np.take_along_axis(samples, order, axis=0).astype(np.float64)
    # each sample is compared with the mean of those below it, the lowest with itself
    below = ordered.copy()
    below[1:] = np.cumsum(ordered[:-1], axis=0) / np.arange(1, len(samples))[:, None]
    agrees = ordered - below <= sigma * np.sqrt(variance + shot_scale * np.maximum(below, 0))
    taken = np.empty(samples.shape, bool)
    np.put_along_axis(taken, order, np.logical_and.accumulate(agrees, axis=0), axis=0)
    return taken


def _reach(
    centre: NDArray[np.float32], variance: NDArray[np.float32], sigma: float, shot_scale: float
) -> NDArray[np.float32]:
    """Return how far from its median a sample may lie."""
    reach: NDArray[np.float32] = np.float32(sigma) * np.sqrt(variance + shot_scale * np.maximum(centre, 0))
    return reach
