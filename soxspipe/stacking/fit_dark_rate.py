"""The dark rate of every pixel: lines through master darks of different exposures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parallel import Progress, map_bands, row_bands
from ..run_log import get_logger
from .fit_levels import LevelFit
from .frame_stack import region_image
from .master_stack import MasterStack, check_exposures, differ, fit_line

__all__ = ["DarkRate", "chi2_quantile", "fit_dark_rate"]

log = get_logger(__name__)

#: Least part of a pixel's variance that is left without the error that all masters share.
OWN_VARIANCE = 0.05
#: Samples in a band; a line takes a handful of arrays of this size in double precision.
BAND_SAMPLES = 2**18

_Floats = NDArray[np.float64]

_IMAGES = {
    "rate_e_per_s": np.float32, "rate_error_e_per_s": np.float32, "offset_e": np.float32,
    "offset_error_e": np.float32, "chi2": np.float32, "count": np.uint16, "nonlinear": np.bool_,
    "codes_of_all": np.int32, "codes_of_any": np.int32,
}  # fmt: skip


@dataclass(frozen=True)
class DarkRate:
    """A line for every pixel; images have the shape (ny, nx).

    Attributes
    ----------
    rate_e_per_s, rate_error_e_per_s : ndarray of float32, electron/s
        Dark rate and its one-sigma error; NaN in a pixel without a line.
    offset_e, offset_error_e : ndarray of float32, electron
        Level at no exposure and its one-sigma error.
    chi2 : ndarray of float32
        Reduced chi-square; NaN where two masters or fewer took part.
    count : ndarray of uint16
        Masters that took part.
    nonlinear : ndarray of bool
        Pixels whose chi-square is too improbable for a line.
    codes_of_all, codes_of_any : ndarray of int32
        Pixel codes that all, or any, of the masters that took part have.
    exposure_s : ndarray, shape (masters,), second
        Exposure of each master.
    """

    rate_e_per_s: NDArray[np.float32]
    rate_error_e_per_s: NDArray[np.float32]
    offset_e: NDArray[np.float32]
    offset_error_e: NDArray[np.float32]
    chi2: NDArray[np.float32]
    count: NDArray[np.uint16]
    nonlinear: NDArray[np.bool_]
    codes_of_all: NDArray[np.int32]
    codes_of_any: NDArray[np.int32]
    exposure_s: _Floats


def fit_dark_rate(
    masters: MasterStack,
    *,
    level: LevelFit | None = None,
    common_error_e: float = 0.0,
    nonlinear_sigma: float = 5.0,
    band_rows: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> DarkRate:
    r"""Fit rate and offset of every pixel to master darks of different exposures.

    Parameters
    ----------
    masters : MasterStack
        At least two master darks.
    level : LevelFit, optional
        Its drifts are subtracted from the masters first; default: nothing is.
    common_error_e : float
        One-sigma error that a pixel has in common in all masters, such as that of one master bias that was
        subtracted from each, electron. It is part of the errors given, but does not touch the rate.
    nonlinear_sigma : float
        A pixel is non-linear where the p-value of its chi-square is below the one-sided limit of this many sigmas.
    band_rows : int, optional
        Rows in the band of each worker; the result does not depend on it.
    workers : int
        Threads; the result does not depend on their number.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of rows.

    Returns
    -------
    DarkRate

    Raises
    ------
    TooFewFramesError
        With fewer than two masters.
    InputError
        When all exposures are the same.

    Notes
    -----
    Least squares for ``value = offset + rate * exposure`` with weights :math:`w = 1/\sigma^2`. With
    :math:`\bar t = \sum w t / \sum w`, :math:`\bar v = \sum w v / \sum w`, and :math:`M = \sum w (t - \bar t)^2`:

    .. math::

        r = \frac{\sum w (t - \bar t)(v - \bar v)}{M}, \quad \sigma_r^2 = \frac{1}{M}, \qquad
        o = \bar v - r \bar t, \quad \sigma_o^2 = \frac{1}{\sum w} + \frac{\bar t^2}{M}, \qquad
        \chi^2 = \sum w (v - o - r t)^2

    (Bevington and Robinson, *Data Reduction and Error Analysis*, chapter 6, in the form that does not lose
    digits). A sample without value or error takes no part. A pixel has a rate where two masters take part whose
    exposures differ by more than 1 %. Chi-square has as many degrees of freedom as masters take part, less two:
    with two it is not defined, and no pixel is found non-linear.
    """
    time = check_exposures(masters)
    ny, nx = masters.shape
    images: dict[str, NDArray[Any]] = {name: np.empty(masters.shape, dtype) for name, dtype in _IMAGES.items()}
    probability = 0.5 * math.erfc(nonlinear_sigma / math.sqrt(2))
    limits = np.array([np.inf, np.inf, np.inf] + [chi2_quantile(probability, dof) for dof in range(1, time.size - 1)])
    band_rows = band_rows or max(1, BAND_SAMPLES // (time.size * nx))

    def fit_band(start: int, stop: int) -> None:
        values, errors, codes = masters.read(start, stop)
        value, error = values.astype(np.float64), errors.astype(np.float64)
        if level is not None:
            value -= region_image(level.drift_e, level.regions, start, stop)
        for name, image in _fit_pixels(time, value, error, codes, common_error_e, limits).items():
            images[name][start:stop] = image

    map_bands(
        fit_band,
        row_bands([(0, ny)], band_rows),
        workers,
        None if progress is None else lambda rows: progress(rows, ny),
    )
    fit = DarkRate(**images, exposure_s=time)
    log.info(
        "%d of %d pixels have no rate, %d are not linear",
        np.count_nonzero(np.isnan(fit.rate_e_per_s)),
        ny * nx,
        np.count_nonzero(fit.nonlinear),
    )
    return fit


def _fit_pixels(
    time: _Floats,
    value: _Floats,
    error: _Floats,
    codes: NDArray[np.int32],
    common_error_e: float,
    limits: _Floats,
) -> dict[str, NDArray[Any]]:
    """Return the images of `DarkRate` for the pixels of a band."""
    takes_part = np.isfinite(value) & (error > 0) & np.isfinite(error)
    count = takes_part.sum(axis=0)
    variance = np.maximum(error**2 - common_error_e**2, OWN_VARIANCE * error**2)
    with np.errstate(divide="ignore", invalid="ignore"):  # NaN in pixels without a line
        line = fit_line(time, np.where(takes_part, value, 0.0), np.where(takes_part, 1 / variance, 0.0))
        longest = np.where(takes_part, time[:, None, None], -np.inf).max(axis=0)
        shortest = np.where(takes_part, time[:, None, None], np.inf).min(axis=0)
        usable = (count >= 2) & differ(longest, shortest)
        tested = usable & (count > 2)
        return {
            "rate_e_per_s": np.where(usable, line.rate, np.nan),
            "rate_error_e_per_s": np.where(usable, np.sqrt(line.rate_variance), np.nan),
            "offset_e": np.where(usable, line.offset, np.nan),
            "offset_error_e": np.where(usable, np.sqrt(line.offset_variance + common_error_e**2), np.nan),
            "chi2": np.where(tested, line.chi2 / (count - 2), np.nan),
            "count": count,
            "nonlinear": tested & (line.chi2 > limits[count]),
            "codes_of_all": np.where(count > 0, np.bitwise_and.reduce(np.where(takes_part, codes, -1), axis=0), 0),
            "codes_of_any": np.bitwise_or.reduce(np.where(takes_part, codes, 0), axis=0),
        }


def chi2_quantile(probability: float, dof: int) -> float:
    """Return the chi-square value that is exceeded with a probability.

    Parameters
    ----------
    probability : float
        Above 0 and below 1.
    dof : int
        Degrees of freedom, from 1.

    Returns
    -------
    float
    """
    from scipy.special import chdtri

    return float(chdtri(dof, probability))
