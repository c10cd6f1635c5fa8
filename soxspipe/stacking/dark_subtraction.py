"""A frame minus a master dark, with the error of the difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..pixel_codes import PixelCode
from .robust import finite_median

__all__ = ["DarkImages", "FrameImages", "Subtracted", "signal_charge", "subtract_master"]

#: A signal of more noise than this is charge by its own value; a fainter one by that of its neighbours too.
OUTSTANDING_SIGMA = 5.0
#: A median difference below so many standard deviations of the pedestals is no signal.
DRIFT_SIGMA = 3.0
#: Least variance of a frame, over that of a dark frame of the set.
LEAST_VARIANCE = 1 / 16


@dataclass(frozen=True)
class FrameImages:
    """A frame that was calibrated as the darks were.

    Attributes
    ----------
    data : ndarray of float32, shape (ny, nx), electron
        Its samples; NaN where there is no data.
    codes : ndarray of int32, shape (ny, nx)
        Its pixel codes.
    ndit : int
        Integrations that it is the average of.
    bias_error : ndarray of float32, shape (ny, nx), electron, or None
        Error of the master bias that was subtracted from it.
    """

    data: NDArray[np.float32]
    codes: NDArray[np.int32]
    ndit: int = 1
    bias_error: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class DarkImages:
    """The planes of a master dark.

    Attributes
    ----------
    data, error : ndarray of float32, shape (ny, nx), electron
        Mean of the darks, and its one-sigma error with that of the master bias.
    codes : ndarray of int32, shape (ny, nx)
        Pixel codes.
    count : ndarray, shape (ny, nx)
        Samples in the mean.
    ndit : int
        Integrations that each of the darks is the average of.
    bias_error : ndarray of float32, shape (ny, nx), electron, or None
        Error of the master bias that was subtracted from the darks.
    """

    data: NDArray[np.float32]
    error: NDArray[np.float32]
    codes: NDArray[np.int32]
    count: NDArray[np.integer]
    ndit: int = 1
    bias_error: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Subtracted:
    """A frame minus a master dark.

    Attributes
    ----------
    data, error : ndarray of float32, shape (ny, nx), electron
        The difference and its one-sigma error; NaN where one of them has no data.
    shared_error : ndarray of float32, shape (ny, nx), electron
        The part of the error that all frames share from which this master is subtracted.
    codes : ndarray of int32, shape (ny, nx)
        Codes of the frame and of the master.
    """

    data: NDArray[np.float32]
    error: NDArray[np.float32]
    shared_error: NDArray[np.float32]
    codes: NDArray[np.int32]


def subtract_master(
    frame: FrameImages, dark: DarkImages, *, scale: float = 1.0, same_bias: bool = True, drift_e: float = 0.0
) -> Subtracted:
    """Subtract a master dark from a frame.

    Parameters
    ----------
    frame : FrameImages
        The frame.
    dark : DarkImages
        The master dark.
    scale : float
        Exposure of the frame over that of the darks; the master must hold no pedestal where it is not 1.
    same_bias : bool
        Whether frame and darks had the same master bias: then its error cancels out of the difference.
    drift_e : float
        Scatter of the pedestal from frame to frame, electron, where no overscan measures it. A median difference below
        three of it is drift, and has no shot noise; a larger one is signal.

    Returns
    -------
    Subtracted

    Notes
    -----
    The errors of a master are those of its noise model: ``ERRS**2 = V / n + B**2``, with V the variance of a single
    dark in this pixel, n its samples and B the error of the master bias. The frame has the variance V, and the shot
    noise of its own signal. With one bias the difference is F - B - s (D - B), in which s V / n and (1 - s) B are left.
    """
    bias_variance = _squared(dark.bias_error)
    own_variance = np.maximum(np.square(dark.error) - bias_variance, 0)
    dark_frame_variance = own_variance * dark.count * np.float32(dark.ndit / frame.ndit)
    with np.errstate(invalid="ignore"):
        data = (frame.data - np.float32(scale) * dark.data).astype(np.float32)
        level = finite_median(data[(frame.codes | dark.codes) == 0])
        drift = np.float32(level if drift_e > 0 and level < DRIFT_SIGMA * drift_e else 0.0)
        charge = signal_charge(data - drift, np.sqrt(dark_frame_variance)) + np.float32(scale - 1) * dark.data
        least = np.float32(LEAST_VARIANCE) * dark_frame_variance
        variance = np.maximum(dark_frame_variance + charge / np.float32(frame.ndit), least)
    if same_bias:
        shared = np.float32(scale**2) * own_variance + np.float32((1 - scale) ** 2) * bias_variance
    else:
        shared = np.float32(scale**2) * (own_variance + bias_variance) + _squared(frame.bias_error)
    no_data = ~np.isfinite(data) | ~np.isfinite(variance) | (dark.count == 0)
    codes = frame.codes | dark.codes
    codes[no_data] |= PixelCode.NO_DATA.value
    error, shared_error = (np.sqrt(each).astype(np.float32) for each in (variance + shared, shared))
    for image in (data, error, shared_error):
        image[no_data] = np.nan
    return Subtracted(data, error, shared_error, codes)


def signal_charge(signal: NDArray[np.float32], noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the charge that gives a signal its shot noise, free of the bias that its noise would bring.

    Parameters
    ----------
    signal : ndarray of float32, shape (ny, nx), electron
        Signal of each pixel; NaN where there is no data.
    noise : ndarray of float32, shape (ny, nx), electron
        Its noise without shot noise of the signal.

    Returns
    -------
    ndarray of float32, shape (ny, nx), electron
        The pixel's own value where it stands out of the noise, else the median of 3 x 3 pixels. A faint pixel by its
        own value alone would have a large error where its noise is positive, and a small one where it is negative.
    """
    from scipy.ndimage import median_filter

    smooth = median_filter(np.nan_to_num(signal), size=3, mode="nearest")
    with np.errstate(invalid="ignore"):
        charge: NDArray[np.float32] = np.where(signal > np.float32(OUTSTANDING_SIGMA) * noise, signal, smooth)
    return charge


def _squared(error: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Return the variance of an error that may not be there; NaN counts as no error, as its pixel has no data."""
    return np.zeros((), np.float32) if error is None else np.square(np.nan_to_num(error))
