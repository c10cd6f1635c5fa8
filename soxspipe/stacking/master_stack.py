"""Stacks of master darks of different exposures, and straight lines through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError, TooFewFramesError

__all__ = ["SAME_EXPOSURE", "ArrayMasters", "Line", "MasterStack", "check_exposures", "differ", "fit_line"]

#: Exposures that differ by no more than this fraction give no rate.
SAME_EXPOSURE = 0.01

_Floats = NDArray[np.float64]


class MasterStack(Protocol):
    """Master darks of different exposures, read in bands of rows, so that memory does not grow with their number.

    Attributes
    ----------
    names : tuple of str
        Name of each, for messages.
    exposure_s : ndarray, shape (masters,), second
        Exposure of each.
    shape : tuple of int
        Rows and columns.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
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
    """Master darks in memory.

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
    def names(self) -> tuple[str, ...]:
        """Name of each, its number from 1."""
        return tuple(f"master dark {i}" for i in range(1, len(self.values) + 1))

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


def check_exposures(masters: MasterStack) -> _Floats:
    """Return the exposures of the masters, second.

    Raises
    ------
    TooFewFramesError
        With fewer than two masters.
    InputError
        When all exposures are the same.
    """
    time = np.asarray(masters.exposure_s, np.float64)
    if time.size < 2:
        raise TooFewFramesError(f"{time.size} master dark, expected at least 2")
    if not differ(time.max(), time.min()):
        raise InputError(f"all exposures are about {time[0]:g} s, expected two that differ by more than 1 %")
    return time


def differ(longest: NDArray, shortest: NDArray) -> NDArray[np.bool_]:
    """Return whether exposures differ enough for a rate."""
    return np.asarray(longest - shortest > SAME_EXPOSURE * longest)


@dataclass(frozen=True)
class Line:
    """Weighted lines through samples along the first axis; residuals have the shape of the samples."""

    rate: _Floats
    rate_variance: _Floats
    offset: _Floats
    offset_variance: _Floats
    residual: _Floats
    chi2: _Floats


def fit_line(time: _Floats, values: _Floats, weights: _Floats) -> Line:
    """Return least-squares lines along the first axis; see `fit_dark_rate` for the formulas.

    Parameters
    ----------
    time : ndarray, shape (n,)
        Exposure of each sample.
    values, weights : ndarray, shape (n, ...)
        Samples, all finite, and their weights; samples of weight zero take no part.

    Returns
    -------
    Line
    """
    time = time.reshape(-1, *(1 for _ in values.shape[1:]))
    total = weights.sum(axis=0)
    mean_time, mean_value = ((weights * each).sum(axis=0) / total for each in (time, values))
    time_from_mean = time - mean_time
    moment = (weights * time_from_mean**2).sum(axis=0)
    above_mean = values - mean_value
    rate = (weights * time_from_mean * above_mean).sum(axis=0) / moment
    residual = above_mean - rate * time_from_mean
    return Line(
        rate=rate,
        rate_variance=1 / moment,
        offset=mean_value - rate * mean_time,
        offset_variance=1 / total + mean_time**2 / moment,
        residual=residual,
        chi2=(weights * residual**2).sum(axis=0),
    )
