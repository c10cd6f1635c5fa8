"""Fit a line through master darks of different exposures: the dark rate of every pixel, and of the detector."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError, TooFewFramesError, TooFewPixelsError
from ..parallel import map_bands, row_bands
from ..run_log import get_logger
from .frame_stack import Regions, check_regions
from .noise_model import clipped_moments

__all__ = [
    "ArrayMasters",
    "DarkRate",
    "LevelFit",
    "MasterStack",
    "chi2_quantile",
    "fit_dark_rate",
    "fit_levels",
]

log = get_logger(__name__)

#: Code of a pixel whose signal does not grow as a line. 2**13, Euro3D's and MUSE's "permanent camera defect", is taken;
#: 2**16 is free in both, and is what non-linear pixels have in the data quality of JWST.
#: Exposures that differ by no more than this fraction give no rate.
SAME_EXPOSURE = 0.01
#: What is left at least of a pixel's variance when the share that all masters have in common is taken away.
OWN_VARIANCE = 0.05
#: Samples held at once; a line takes a handful of arrays of this size in double precision.
BAND_SAMPLES = 2**18
#: Pixels of each master that its level is measured from, in groups of neighbouring rows.
LEVEL_PIXELS = 2**18
LEVEL_ROWS = 4
#: Frames that the common scatter of frames counts for when the error of a level is estimated from a handful.
PRIOR_FRAMES = 4.0
#: With fewer good pixels an amplifier gets the drift of the whole detector.
FEWEST_PIXELS = 200

_Floats = NDArray[np.float64]


class MasterStack(Protocol):
    """Master darks of different exposures, read in row bands so that no more than a band of each is in memory.

    Attributes
    ----------
    exposure_s : ndarray, shape (masters,), second
        Exposure that the counts of each belong to.
    shape : tuple of int
        Rows and columns.
    """

    @property
    def exposure_s(self) -> _Floats: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102

    def read(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Read rows ``start:stop`` of all masters.

        Returns
        -------
        values, errors : ndarray of float32, shape (masters, stop - start, nx), electron
            NaN where a sample takes no part.
        codes : ndarray of int32, same shape
            Pixel codes.
        """
        ...


@dataclass(frozen=True)
class ArrayMasters:
    """Master darks that are in memory already.

    Parameters
    ----------
    values, errors : ndarray, shape (masters, ny, nx), electron
        Level and one-sigma error; NaN where a sample takes no part.
    exposure_s : ndarray, shape (masters,), second
        Exposure of each.
    codes : ndarray of int, shape (masters, ny, nx), optional
        Pixel codes; default: all are good.
    """

    values: NDArray[np.floating]
    errors: NDArray[np.floating]
    exposure_s: _Floats
    codes: NDArray[np.integer] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        _, ny, nx = self.values.shape
        return ny, nx

    def read(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Read rows ``start:stop`` of all masters; see `MasterStack.read`."""
        values = np.asarray(self.values[:, start:stop], np.float32)
        codes = np.zeros(values.shape, np.int32) if self.codes is None else self.codes[:, start:stop]
        return values, np.asarray(self.errors[:, start:stop], np.float32), np.asarray(codes, np.int32)


@dataclass(frozen=True)
class LevelFit:
    """The line through the levels of whole masters.

    Attributes
    ----------
    level_e : ndarray, shape (masters,), electron
        Clipped mean of the pixels that are good in all masters.
    level_error_e : ndarray, shape (masters,), electron
        One-sigma error of each as it was used.
    rate_e_per_s, rate_error_e_per_s : float, electron/s
        Slope of the levels and its one-sigma error.
    offset_e, offset_error_e : float, electron
        Level at no exposure and its one-sigma error.
    chi2 : float
        Of the levels about the line.
    dof : int
        Masters less two.
    drift_e : ndarray, shape (masters, regions), electron
        How far the level of each master lies above the line, by read-out amplifier.
    regions : tuple of (slice, slice)
        Rows and columns of each amplifier.
    """

    level_e: _Floats
    level_error_e: _Floats
    rate_e_per_s: float
    rate_error_e_per_s: float
    offset_e: float
    offset_error_e: float
    chi2: float
    dof: int
    drift_e: _Floats
    regions: Regions


@dataclass(frozen=True)
class DarkRate:
    """A line for every pixel; images have the shape (ny, nx).

    Attributes
    ----------
    rate_e_per_s, rate_error_e_per_s : ndarray of float32, electron/s
        Dark rate and its one-sigma error; NaN where it cannot be told.
    offset_e, offset_error_e : ndarray of float32, electron
        Level at no exposure and its one-sigma error.
    chi2 : ndarray of float32
        Reduced chi^2; NaN where two masters or fewer took part.
    count : ndarray of uint16
        Masters that took part.
    nonlinear : ndarray of bool
        Pixels whose chi^2 is too improbable for a line.
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

    @classmethod
    def _empty(cls, shape: tuple[int, int], exposure_s: _Floats) -> DarkRate:
        return cls(
            rate_e_per_s=np.zeros(shape, np.float32),
            rate_error_e_per_s=np.zeros(shape, np.float32),
            offset_e=np.zeros(shape, np.float32),
            offset_error_e=np.zeros(shape, np.float32),
            chi2=np.zeros(shape, np.float32),
            count=np.zeros(shape, np.uint16),
            nonlinear=np.zeros(shape, bool),
            codes_of_all=np.zeros(shape, np.int32),
            codes_of_any=np.zeros(shape, np.int32),
            exposure_s=exposure_s,
        )


@dataclass(frozen=True)
class _Line:
    """Weighted lines through samples along the first axis."""

    rate: _Floats
    rate_variance: _Floats
    offset: _Floats
    offset_variance: _Floats
    residual: _Floats
    chi2: _Floats


def _fit_line(time: _Floats, values: _Floats, weights: _Floats) -> _Line:
    """Fit lines; see `fit_dark_rate`. Samples of weight zero take no part; their value must be finite."""
    time = time.reshape(-1, *(1 for _ in values.shape[1:]))
    total = weights.sum(axis=0)
    mean_time, mean_value = ((weights * each).sum(axis=0) / total for each in (time, values))
    since = time - mean_time
    moment = (weights * since**2).sum(axis=0)
    above = values - mean_value
    rate = (weights * since * above).sum(axis=0) / moment
    residual = above - rate * since
    return _Line(
        rate=rate,
        rate_variance=1 / moment,
        offset=mean_value - rate * mean_time,
        offset_variance=1 / total + mean_time**2 / moment,
        residual=residual,
        chi2=(weights * residual**2).sum(axis=0),
    )


def fit_levels(
    masters: MasterStack,
    level_error_e: _Floats,
    *,
    n_frames: NDArray[np.integer] | None = None,
    regions: Regions | None = None,
) -> LevelFit:
    """Fit a line through the levels of master darks.

    Parameters
    ----------
    masters : MasterStack
        At least two master darks of different exposures.
    level_error_e : ndarray, shape (masters,), electron
        One-sigma error of each level, drifts of whole frames included.
    n_frames : ndarray of int, shape (masters,), optional
        Frames in each master, from whose scatter that error was estimated; default: the errors are known.
    regions : tuple of (slice, slice), optional
        Rows and columns of each read-out amplifier; default: the whole frame is one.

    Returns
    -------
    LevelFit

    Raises
    ------
    TooFewFramesError, InputError
        As `fit_dark_rate`.
    TooFewPixelsError
        When fewer than 200 pixels are good in all masters.

    Notes
    -----
    Whole frames drift by more than the noise of their pixels averages to, so the error of the detector's dark
    current comes from the levels, not from the scatter of a million pixels: the line is that of
    `fit_dark_rate` with weights ``1 / level_error_e**2``. What a master lies off this line all its
    pixels have in common: it is no fault of theirs. Amplifiers drift each for itself.

    The scatter of three or five frames tells their drift to no better than half or a third, and a master whose frames
    agree by chance would decide the line. So the variance of a frame in a master of N frames counts N - 1 times,
    the mean variance of all masters four times (a moderated variance: Smyth 2004, *Stat. Appl. Genet. Mol. Biol.* 3,
    3). Masters may also drift by more than their frames show: where chi^2 is above its degrees of freedom, the
    errors of rate and offset are scaled by the root of their ratio, as the Particle Data Group does. In simulations of
    two to five masters of 3 to 10 frames the pull of the rate is then .97 to 1.05 wide; without, 1.1 to 2.2.
    """
    time, regions = _checked_exposures(masters), check_regions(regions, masters.shape)
    values, labels = _level_sample(masters, regions)
    if labels.size < FEWEST_PIXELS:
        raise TooFewPixelsError(
            f"{labels.size} pixels looked at are good in all master darks, expected at least {FEWEST_PIXELS}: "
            "leave the worst one out"
        )
    error = _moderated(np.asarray(level_error_e, np.float64), n_frames)
    weights = 1 / error**2
    level = np.array([clipped_moments(sample)[0] for sample in values])
    line = _fit_line(time, level, weights)
    drift = np.repeat(line.residual[:, None], len(regions), axis=1)
    for label in range(len(regions)):
        inside = labels == label
        if np.count_nonzero(inside) >= FEWEST_PIXELS:
            its_level = np.array([clipped_moments(sample[inside])[0] for sample in values])
            drift[:, label] = _fit_line(time, its_level, weights).residual
    chi2, dof = float(line.chi2), len(level) - 2
    scale = math.sqrt(max(1.0, chi2 / dof)) if dof else 1.0
    for exposure, its_level, its_error, residual in zip(time, level, error, line.residual, strict=True):
        log.info("%g s: level %.3f +- %.3f, %+.3f off the line, electron", exposure, its_level, its_error, residual)
    return LevelFit(
        level_e=level,
        level_error_e=error,
        rate_e_per_s=float(line.rate),
        rate_error_e_per_s=scale * math.sqrt(line.rate_variance),
        offset_e=float(line.offset),
        offset_error_e=scale * math.sqrt(line.offset_variance),
        chi2=chi2,
        dof=dof,
        drift_e=drift,
        regions=regions,
    )


def _moderated(level_error_e: _Floats, n_frames: NDArray[np.integer] | None) -> _Floats:
    """Errors of levels, each estimated from a handful of frames, with what all of them tell."""
    own = np.zeros(1) if n_frames is None else np.asarray(n_frames, np.float64) - 1
    if n_frames is None or not own.any():
        return level_error_e
    variance = np.square(level_error_e) * n_frames
    common = np.average(variance, weights=own)
    return np.asarray(np.sqrt((PRIOR_FRAMES * common + own * variance) / (PRIOR_FRAMES + own) / n_frames))


def _level_sample(masters: MasterStack, regions: Regions) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the pixels looked at that are good in all masters, shape (masters, n), and the region of each."""
    ny, nx = masters.shape
    groups = -(-ny // LEVEL_ROWS)
    wanted = min(groups, max(1, -(-LEVEL_PIXELS // (LEVEL_ROWS * nx))))
    pieces, labels = [], []
    for start in np.linspace(0, groups - 1, wanted).round().astype(int) * LEVEL_ROWS:
        stop = min(int(start) + LEVEL_ROWS, ny)
        values, errors, codes = masters.read(int(start), stop)
        good = (np.isfinite(values) & np.isfinite(errors) & (codes == 0)).all(axis=0)
        pieces.append(values[:, good])
        labels.append(_spread(np.arange(len(regions)), regions, int(start), stop, nx)[good])
    return np.concatenate(pieces, axis=1), np.concatenate(labels)


def _spread(values: NDArray, regions: Regions, start: int, stop: int, nx: int) -> NDArray:
    """Give each pixel of rows ``start:stop`` the value of its region, along the last axis of ``values``."""
    image = np.empty((*values.shape[:-1], stop - start, nx), values.dtype)
    for region, (rows, columns) in enumerate(regions):
        inside = slice(max(rows.start - start, 0), max(rows.stop - start, 0))
        image[..., inside, columns] = values[..., region, None, None]
    return image


def fit_dark_rate(
    masters: MasterStack,
    *,
    level: LevelFit | None = None,
    common_error_e: float = 0.0,
    nonlinear_sigma: float = 5.0,
    band_rows: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> DarkRate:
    r"""Fit rate and offset of every pixel to master darks of different exposures.

    Parameters
    ----------
    masters : MasterStack
        At least two master darks.
    level : LevelFit, optional
        Its drifts are taken from the masters first; default: nothing is.
    common_error_e : float
        One-sigma error that a pixel has in common in all masters, such as that of one master bias that was
        taken from each, electron. It is part of the errors given, but does not touch the rate.
    nonlinear_sigma : float
        A pixel is non-linear where its chi^2 is less probable than a deviation of so many sigmas to one side.
    band_rows : int, optional
        Rows that each worker holds at once; the result does not depend on it.
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
    :math:`\bar t = \sum w t / \sum w`, likewise :math:`\bar v`, and :math:`M = \sum w (t - \bar t)^2`:

    .. math::

        r = \frac{\sum w (t - \bar t)(v - \bar v)}{M}, \quad \sigma_r^2 = \frac{1}{M}, \qquad
        o = \bar v - r \bar t, \quad \sigma_o^2 = \frac{1}{\sum w} + \frac{\bar t^2}{M}, \qquad
        \chi^2 = \sum w (v - o - r t)^2

    (Bevington and Robinson, *Data Reduction and Error Analysis*, chapter 6, in the form that does not lose
    digits). A sample without value or error takes no part. A pixel has a rate where two masters take part whose
    exposures differ by more than 1 %. Chi^2 has as many degrees of freedom as masters take part, less two:
    with two it is not defined, and nothing is found non-linear.
    """
    time = _checked_exposures(masters)
    ny, nx = masters.shape
    fit = DarkRate._empty(masters.shape, time)
    probability = 0.5 * math.erfc(nonlinear_sigma / math.sqrt(2))
    limits = np.array([np.inf, np.inf, np.inf] + [chi2_quantile(probability, dof) for dof in range(1, time.size - 1)])
    band_rows = band_rows or max(1, BAND_SAMPLES // (time.size * nx))

    def work(start: int, stop: int) -> None:
        values, errors, codes = masters.read(start, stop)
        value, error = values.astype(np.float64), errors.astype(np.float64)
        if level is not None:
            value -= _spread(level.drift_e, level.regions, start, stop, nx)
        _fit_band(time, value, error, codes, common_error_e, limits, (fit, slice(start, stop)))

    map_bands(
        work, row_bands([(0, ny)], band_rows), workers, None if progress is None else lambda rows: progress(rows, ny)
    )
    log.info(
        "%d of %d pixels have no rate, %d are not linear",
        np.count_nonzero(np.isnan(fit.rate_e_per_s)),
        ny * nx,
        np.count_nonzero(fit.nonlinear),
    )
    return fit


def _checked_exposures(masters: MasterStack) -> _Floats:
    time = np.asarray(masters.exposure_s, np.float64)
    if time.size < 2:
        raise TooFewFramesError(f"{time.size} master dark, expected at least 2")
    if not _differ(time.max(), time.min()):
        raise InputError(f"all exposures are about {time[0]:g} s, expected two that differ by more than 1 %")
    return time


def _differ(longest: NDArray, shortest: NDArray) -> NDArray[np.bool_]:
    return np.asarray(longest - shortest > SAME_EXPOSURE * longest)


def _fit_band(
    time: _Floats,
    value: _Floats,
    error: _Floats,
    codes: NDArray[np.int32],
    common_error_e: float,
    limits: _Floats,
    out: tuple[DarkRate, slice],
) -> None:
    """Fit the pixels of one band into its rows of the result."""
    fit, rows = out
    takes_part = np.isfinite(value) & (error > 0) & np.isfinite(error)
    count = takes_part.sum(axis=0)
    variance = np.maximum(error**2 - common_error_e**2, OWN_VARIANCE * error**2)
    with np.errstate(divide="ignore", invalid="ignore"):  # pixels without a line: NaN, which is meant
        line = _fit_line(time, np.where(takes_part, value, 0.0), np.where(takes_part, 1 / variance, 0.0))
        longest, shortest = (
            extreme(np.where(takes_part, time[:, None, None], empty), axis=0)
            for extreme, empty in ((np.max, -np.inf), (np.min, np.inf))
        )
        usable = (count >= 2) & _differ(longest, shortest)
        fit.rate_e_per_s[rows] = np.where(usable, line.rate, np.nan)
        fit.rate_error_e_per_s[rows] = np.where(usable, np.sqrt(line.rate_variance), np.nan)
        fit.offset_e[rows] = np.where(usable, line.offset, np.nan)
        fit.offset_error_e[rows] = np.where(usable, np.sqrt(line.offset_variance + common_error_e**2), np.nan)
        tested = usable & (count > 2)
        fit.chi2[rows] = np.where(tested, line.chi2 / (count - 2), np.nan)
        fit.nonlinear[rows] = tested & (line.chi2 > limits[count])
    fit.count[rows] = count
    fit.codes_of_all[rows] = np.where(count > 0, np.bitwise_and.reduce(np.where(takes_part, codes, -1), axis=0), 0)
    fit.codes_of_any[rows] = np.bitwise_or.reduce(np.where(takes_part, codes, 0), axis=0)


def chi2_quantile(probability: float, dof: int) -> float:
    """Return the chi^2 that is exceeded with a probability.

    Parameters
    ----------
    probability : float
        Above 0 and below 1.
    dof : int
        Degrees of freedom, from 1.

    Returns
    -------
    float

    Notes
    -----
    For whole degrees of freedom the distribution is a finite sum (Abramowitz and Stegun, 26.4.4 and
    26.4.5), which bisection inverts.
    """
    low, high = 0.0, 1.0
    while _chi2_survival(high, dof) > probability:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _chi2_survival(middle, dof) > probability else (low, middle)
    return high


def _chi2_survival(chi2: float, dof: int) -> float:
    """Probability that chi^2 exceeds a value."""
    half, odd = 0.5 * chi2, dof % 2
    total = math.erfc(math.sqrt(half)) if odd else 0.0
    term = math.exp(-half) * (2 * math.sqrt(half / math.pi) if odd else 1.0)
    for i in range(dof // 2):
        total += term
        term *= half / (i + 1 + 0.5 * odd)
    return total
