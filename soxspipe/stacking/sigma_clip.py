"""Clips along the stack: a screen that finds the clipping candidates, and the exact clips of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClipResult", "clip_by_noise", "clip_by_scatter", "clipping_candidates", "median_of_kept"]

#: Samples that agree with each other and outvote a lower one: two cosmic rays rarely agree, three never do.
OUTVOTE = 3


@dataclass(frozen=True)
class ClipResult:
    """The result of an exact clip.

    Attributes
    ----------
    rejected : ndarray of bool, shape (frames, pixels)
        Samples to leave out of the mean, those without data included.
    ambiguous : ndarray of bool, shape (pixels,)
        Pixels whose samples contradict each other without a majority.
    """

    rejected: NDArray[np.bool_]
    ambiguous: NDArray[np.bool_]


def clipping_candidates(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    read_noise_e: NDArray[np.float32],
    scale: str,
    sigma: float,
) -> NDArray[np.bool_]:
    """Find the pixels in which a clip can reject a sample.

    Parameters
    ----------
    low, high, mean, std : ndarray of float32, electron
        Smallest and largest sample, mean and standard deviation (ddof 0) of each pixel.
    read_noise_e : ndarray of float32, electron
        Lower limit of the noise of a single sample.
    scale : {'noise-model', 'std', 'mad'}
        Unit of one sigma.
    sigma : float
        Clip.

    Returns
    -------
    ndarray of bool
        True for clipping candidates, among them all pixels with NaN. The scale 'mad' makes every pixel one.

    Notes
    -----
    Median and mean of a sample differ by no more than its standard deviation. So a pixel whose extremes are closer to
    the mean than ``sigma * noise - std`` cannot lose a sample, and no sorting is needed. The factors below leave room
    for rounding.
    """
    if scale == "mad":
        return np.ones(mean.shape, bool)
    if scale == "std":
        reach = np.float32((sigma - 1.0) * (1.0 - 1e-4)) * std
    else:
        reach = np.float32(sigma * (1.0 - 1e-5)) * read_noise_e - std
    return ~((high - mean <= reach) & (mean - low <= reach))


def clip_by_noise(
    samples: NDArray[np.float32],
    read_noise_e: NDArray[np.float32],
    sigma: float,
    iterations: int,
    *,
    flagged: NDArray[np.bool_] | None = None,
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
    flagged : ndarray of bool, shape (frames, pixels), optional
        Samples that take no part in the first median. Those that agree with it are kept.
    shot_scale : float
        Variance per electron of signal.

    Returns
    -------
    ClipResult

    Notes
    -----
    A sample x is rejected where ``|x - median| > sigma * sqrt(R**2 + shot_scale * max(median, 0))``. Where the median
    is high above the level and a lower sample contradicts it, two or more cosmic rays may have hit the pixel. The
    samples are then taken upwards from the lowest for as long as they agree. The measurements behind this choice are
    in docs/method, section 1.
    """
    valid = np.isfinite(samples)
    kept = valid if flagged is None else valid & ~flagged
    kept = np.where(kept.any(axis=0), kept, valid)
    variance = np.square(read_noise_e)
    centre = median_of_kept(samples, kept)
    reach = _reach(centre, variance, sigma, shot_scale)
    agreeing = (np.abs(samples - centre) <= reach) & valid
    # only pixels that change are iterated
    changing = np.flatnonzero((agreeing != kept).any(axis=0))
    kept[:, changing] = agreeing[:, changing]
    for _ in range(iterations - 1):
        if not changing.size:
            break
        values, before = samples[:, changing], kept[:, changing]
        centre[changing] = median_of_kept(values, before)
        reach[changing] = _reach(centre[changing], variance[changing], sigma, shot_scale)
        after = (np.abs(values - centre[changing]) <= reach[changing]) & before
        kept[:, changing] = after
        changing = changing[(after != before).any(axis=0)]
    ambiguous = np.zeros(samples.shape[1], bool)
    # two cosmic rays in three or four frames: the median is one of them, or lies between them and the good samples
    none_kept = ~kept.any(axis=0)
    contradicted = (centre > sigma * read_noise_e) & ((samples < centre - reach).any(axis=0) | none_kept)
    pixels = np.flatnonzero(contradicted | none_kept & valid.any(axis=0))
    if pixels.size:
        lowest = _lowest_cluster(samples[:, pixels], variance[pixels], sigma, shot_scale)
        n_valid, n_lowest = valid[:, pixels].sum(axis=0), lowest.sum(axis=0)
        n_kept = kept[:, pixels].sum(axis=0)
        majority = (n_kept >= OUTVOTE) & (2 * n_kept > n_valid)
        kept[:, pixels] = np.where(majority, kept[:, pixels], lowest)
        ambiguous[pixels] = ~majority & (2 * n_lowest < n_valid)
    return ClipResult(~kept, ambiguous)


def clip_by_scatter(
    samples: NDArray[np.float32],
    scale: str,
    sigma: float,
    iterations: int,
    *,
    flagged: NDArray[np.bool_] | None = None,
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
    flagged : ndarray of bool, shape (frames, pixels), optional
        Samples that take no part in centre and scatter. Those that agree with the others are kept.

    Returns
    -------
    ClipResult
        No pixel is ambiguous.
    """
    from astropy.stats import sigma_clip

    valid = np.isfinite(samples)
    left_out = ~valid
    if flagged is not None:
        left_out |= flagged & (valid & ~flagged).any(axis=0)
    rejected = ~valid
    if not left_out.all():
        _, lower, upper = sigma_clip(
            np.ma.array(samples, mask=left_out),  # astropy warns of NaN that are not masked
            sigma=sigma,
            maxiters=iterations,
            cenfunc="median",
            stdfunc="mad_std" if scale == "mad" else "std",
            axis=0,
            masked=False,
            return_bounds=True,
        )
        # a comparison with the NaN bounds of a pixel without data rejects nothing more
        rejected |= (samples < lower) | (samples > upper)
    return ClipResult(rejected, np.zeros(samples.shape[1], bool))


def median_of_kept(samples: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the median of the kept samples of each pixel, NaN where none is kept."""
    # NumPy sorts contiguous samples several times faster
    ordered = np.sort(np.ascontiguousarray(np.where(kept, samples, np.float32(np.inf)).T), axis=1)
    count = kept.sum(axis=0)
    middle = np.maximum((count - 1) // 2, 0), np.minimum(count // 2, len(samples) - 1)
    pixel = np.arange(samples.shape[1])
    median = np.float32(0.5) * (ordered[pixel, middle[0]] + ordered[pixel, middle[1]])
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
    """Return the largest distance of a sample from its median that the clip accepts."""
    reach: NDArray[np.float32] = np.float32(sigma) * np.sqrt(variance + shot_scale * np.maximum(centre, 0))
    return reach
