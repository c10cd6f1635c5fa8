"""Samples judged by the level around their pixel, which a few samples of the pixel itself give with more noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .combined_images import NO_SAMPLES, CombinedImages, as_list, as_mask
from .cosmic_rays import neighbours_of
from .robust import nan_medians
from .sigma_clip import ClipResult

__all__ = ["FEW_FRAMES", "possible_outliers", "reject_high", "reject_neighbours"]

#: Of more frames the median is nearly as precise as the level around (docs/method, section 1).
FEW_FRAMES = 20

#: Samples beside a rejected sample are cosmic rays from this many sigmas on.
NEIGHBOUR_SIGMA = 2.5
#: The other samples of a pixel contradict the level around it when they are so many sigmas from it.
CONTRADICT_SIGMA = 3.0
#: Columns from a pixel to those that give the level around it; as many on even as on odd ones.
AROUND = np.array([-8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8])


def possible_outliers(
    samples: NDArray[np.float32],
    result: ClipResult,
    pixels: NDArray[np.intp],
    read_noise: NDArray[np.float32],
    shot_scale: float,
    sigma: float,
) -> NDArray[np.int32]:
    """Return the kept samples that are cosmic rays if the other samples of their pixel agree with the level around.

    The median of few samples follows a cosmic ray. The others agree with the level around if they are below their
    limit. So such a sample is further from their mean than the difference of both limits.

    Parameters
    ----------
    samples : ndarray of float32, shape (frames, pixels), electron
        Samples of clipping candidates, above the level at which the noise was measured.
    result : ClipResult
        The clip of these samples.
    pixels : ndarray of int, shape (pixels,)
        Indices into the flattened image.
    read_noise : ndarray of float32, shape (pixels,), electron
        Noise of a single sample at that level.
    shot_scale : float
        Variance per electron of signal.
    sigma : float
        Clip.

    Returns
    -------
    ndarray of int32, shape (n, 2)
        Frame and pixel of each.
    """
    kept = ~result.rejected & ~result.ambiguous
    n_others = kept.sum(axis=0) - 1
    mean_of_others = (np.where(kept, samples, np.float32(0)).sum(axis=0) - samples) / n_others
    below = CONTRADICT_SIGMA / np.sqrt(n_others) * read_noise
    variance = np.square(read_noise) + shot_scale * np.maximum(mean_of_others - below, 0)
    possible = kept & (samples - mean_of_others > sigma * np.sqrt(variance) - below)
    possible &= 2 * possible.sum(axis=0) <= n_others + 1  # a majority is no cosmic ray
    return as_list(possible, pixels)


def reject_neighbours(
    images: CombinedImages, samples: NDArray[np.float32], rejected: NDArray[np.int32], start: int, stop: int
) -> NDArray[np.int32]:
    """Reject the samples beside rejected ones that are high, and return them.

    Parameters
    ----------
    images : CombinedImages
        Images of the stack.
    samples : ndarray of float32, shape (frames, rows, nx), electron
        The rows from ``start`` on, which is -1 where there is none before the first band.
    rejected : ndarray of int32, shape (n, 2)
        Frame and pixel of all samples rejected in these rows and those next to them.
    start, stop : int
        Rows to judge.

    Returns
    -------
    ndarray of int32, shape (m, 2)
        Frame and pixel of each.
    """
    nx = samples.shape[2]
    first, end = max(start, 0) * nx, stop * nx
    number, near = neighbours_of(rejected[:, 1], images.shape)
    is_judged = np.zeros((images.n_frames, end - first), bool)
    for frame, pixel, judged in ((rejected[number, 0], near, True), (*rejected.T, False)):
        inside = (pixel >= first) & (pixel < end)
        is_judged[frame[inside], pixel[inside] - first] = judged
    is_judged[:, images.flat("ambiguous")[first:end]] = False
    frame, place = np.divmod(np.flatnonzero(is_judged), end - first)
    judged_samples = np.stack([frame, first + place], axis=1)
    return reject_high(images, samples, judged_samples, rejected, start, NEIGHBOUR_SIGMA)


def reject_high(
    images: CombinedImages,
    samples: NDArray[np.float32],
    judged: NDArray[np.integer],
    rejected: NDArray[np.int32],
    start: int,
    sigma: float,
) -> NDArray[np.int32]:
    """Reject those of some samples that are above the level around their pixel by more than a limit, and return them.

    The level is that of the other samples of the pixel where these contradict the level around.

    Parameters
    ----------
    images : CombinedImages
        Images of the stack.
    samples : ndarray of float32, shape (frames, rows, nx), electron
        The rows from ``start`` on.
    judged : ndarray of int, shape (n, 2)
        Frame and pixel of the samples to judge. They do not count for the level.
    rejected : ndarray of int32, shape (m, 2)
        Frame and pixel of the samples rejected before.
    start : int
        First row of the samples.
    sigma : float
        Limit.

    Returns
    -------
    ndarray of int32, shape (k, 2)
        Frame and pixel of each.
    """
    frame, pixel = judged.T
    nx = samples.shape[2]
    values = samples[frame, pixel // nx - start, pixel % nx]
    usable = np.isfinite(values)
    frame, pixel, values = frame[usable], pixel[usable], values[usable]
    if not values.size:
        return NO_SAMPLES
    place = pixel - pixel.min()
    count, mean = images.flat("count")[pixel], images.flat("above_level")[pixel]
    n_others = count - np.bincount(place)[place]
    sum_of_others = mean * np.float64(count) - np.bincount(place, values)[place]
    level = np.where(n_others > 0, sum_of_others / np.maximum(n_others, 1), mean)
    around, read_noise = _level_around(images, pixel), images.read_noise_at(pixel)
    contradicted = np.abs(level - around) * np.sqrt(n_others) > CONTRADICT_SIGMA * read_noise
    level = np.where(contradicted, level, around)
    variance = np.square(read_noise) + images.model.shot_scale * np.maximum(level, 0)
    is_high = values > level + sigma * np.sqrt(variance)
    high = np.stack([frame, pixel], axis=1)[is_high]
    pixels = np.unique(high[:, 1])
    more, clipped = (as_mask(listed, pixels, images.n_frames) for listed in (high, rejected))
    return images.reject(samples[:, pixels // nx - start, pixels % nx], pixels, more, clipped)


def _level_around(images: CombinedImages, pixels: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the median of the pixels around each pixel in its row."""
    nx = images.shape[1]
    x = pixels % nx
    columns = np.clip(x[:, None] + AROUND, 0, nx - 1)
    return nan_medians(images.flat("above_level")[(pixels - x)[:, None] + columns])
