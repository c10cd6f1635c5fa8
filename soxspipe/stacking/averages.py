"""Means and standard deviations of samples along the stack, with ccdproc's Combiner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = [
    "combine_kept",
    "combine_samples",
    "count_agreeing",
    "mean_of",
    "noise_without_furthest",
    "outlier_free_noise",
    "std_of",
]

#: Samples whose standard deviation is calculated at once.
STD_SAMPLES = 2**19
#: Rejected samples of a pixel that are closer to each other than this, in sigmas, are a second level of the pixel.
AGREE_SIGMA = 2.0


def combine_samples(
    frames: list[CCDData], samples: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation (ddof 0) of all samples of each pixel, by ccdproc's Combiner.

    Parameters
    ----------
    frames : list of CCDData
        Frames whose data are replaced: to make them anew for each band takes longer than to combine them.
    samples : ndarray of float32, shape (frames, rows, columns), electron
        Samples of a band.

    Returns
    -------
    mean, std : ndarray of float32, shape (rows, columns), electron
    """
    from ccdproc import Combiner

    no_mask = np.broadcast_to(False, samples.shape[1:])  # the Combiner would make one for each frame
    for frame, data in zip(frames, samples, strict=True):
        frame.data, frame.mask = data, no_mask
    combined = Combiner(frames, dtype=np.float32).average_combine(scale_func=mean_of, uncertainty_func=std_of)
    # the Combiner divides the standard deviation by sqrt(n)
    std: NDArray[np.float32] = combined.uncertainty.array * np.sqrt(np.float32(len(samples)))
    return combined.data, std


def mean_of(samples: NDArray[np.float32] | np.ma.MaskedArray, axis: int = 0) -> NDArray[np.float32]:
    """Return the mean of all samples along the first axis: as the Combiner's own, in half of its time.

    Parameters
    ----------
    samples : ndarray or masked array of float32, shape (frames, rows, columns)
        Samples; ccdproc up to 2.5 gives masked arrays, later versions plain ones. No mask counts.
    axis : int
        0, as the Combiner has it.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
    """
    mean: NDArray[np.float32] = np.add.reduce(np.ma.getdata(samples), axis=axis) / np.float32(len(samples))
    return mean


def std_of(samples: NDArray[np.float32] | np.ma.MaskedArray, axis: int = 0) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 0) of all samples along the first axis; see `mean_of`."""
    values = np.ma.getdata(samples)
    squares = np.empty_like(values[0])
    height = max(STD_SAMPLES // values[:, 0].size, 1)
    for start in range(0, len(squares), height):  # which stay in the cache
        rows = slice(start, start + height)
        difference = values[:, rows] - mean_of(values[:, rows], axis)
        np.square(difference, out=difference)
        np.add.reduce(difference, axis=0, out=squares[rows])
    squares /= np.float32(len(values))
    return np.sqrt(squares, out=squares)


def combine_kept(
    samples: NDArray[np.float32], rejected: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    """Return mean, standard deviation (ddof 0) and number of the samples kept, by ccdproc's Combiner."""
    from astropy import units
    from astropy.nddata import CCDData
    from ccdproc import Combiner

    frames = [CCDData(frame, unit=units.electron, mask=mask) for frame, mask in zip(samples, rejected, strict=True)]
    combined = Combiner(frames, dtype=np.float32).average_combine()
    count = (~rejected).sum(axis=0)
    std = combined.uncertainty.array * np.sqrt(count.astype(np.float32))
    return combined.data, std, count.astype(np.uint16)


def noise_without_furthest(
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    n_frames: int,
) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 1) of all samples but the one furthest from the mean.

    Without the sample x of n the sum of squares is smaller by n / (n - 1) * (x - mean)**2.
    """
    if n_frames < 3:
        return np.full_like(mean, np.nan)
    furthest = np.square(np.maximum(high - mean, mean - low)) * np.float32(n_frames / (n_frames - 1))
    squares = np.square(std) * np.float32(n_frames) - furthest
    return np.sqrt(np.maximum(squares, 0) / np.float32(n_frames - 2))


def count_agreeing(
    samples: NDArray[np.float32], clipped: NDArray[np.bool_], read_noise: NDArray[np.float32], shot_scale: float
) -> NDArray[np.intp]:
    """Return how many of the clipped samples of each pixel agree with the next one: 0, or 2 and more."""
    agreeing = np.zeros(samples.shape[1], np.intp)
    several = np.flatnonzero((clipped & np.isfinite(samples)).sum(axis=0) > 1)
    outliers = np.sort(np.where(clipped[:, several], samples[:, several], np.float32(np.nan)), axis=0)
    noise = np.sqrt(np.square(read_noise[several]) + shot_scale * np.maximum(outliers, 0))
    run = np.ones(several.size, np.intp)
    for agrees in np.diff(outliers, axis=0) <= np.float32(AGREE_SIGMA * np.sqrt(2)) * noise[1:]:
        run = np.where(agrees, run + 1, 1)
        agreeing[several] = np.maximum(agreeing[several], np.where(run > 1, run, 0))
    return agreeing


def outlier_free_noise(samples: NDArray[np.float32], left_out: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 1) of clipped pixels without possible cosmic rays.

    A single rejected sample, or several of which no two agree, are cosmic rays and are left out. Two that agree are a
    second level of the pixel, and stay. Of the rest the furthest sample is left out, as in any pixel, unless too few
    would stay. The sums are in double precision, as a cosmic ray may be bright.
    """
    finite = np.isfinite(samples)
    lost = (left_out & finite).any(axis=0)
    left_out = left_out | ~finite
    values = np.where(left_out, 0.0, samples.astype(np.float64))
    count = len(samples) - left_out.sum(axis=0)
    distance = np.abs(values - values.sum(axis=0) / count)
    distance[left_out] = -1.0
    pixels = np.flatnonzero((count >= 4) | ~lost)
    furthest = np.argmax(distance[:, pixels], axis=0)
    values[furthest, pixels] = 0.0
    left_out[furthest, pixels] = True
    count[pixels] -= 1
    values -= values.sum(axis=0) / count
    values[left_out] = 0.0
    variance = np.square(values, out=values).sum(axis=0) / (count - 1)
    return np.asarray(np.where(count > 1, np.sqrt(variance), np.nan), np.float32)
