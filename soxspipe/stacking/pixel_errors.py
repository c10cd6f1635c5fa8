"""The errors of the pixels of a stack, by the noise model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..parallel import map_bands, row_bands
from ..run_log import get_logger
from .background import Background
from .combine_frames import CombinedFrames
from .noise_model import NoiseModel
from .robust import clipped_moments

__all__ = ["pixel_errors"]

log = get_logger(__name__)

#: Rows whose errors are calculated at once.
ERROR_ROWS = 64
#: Pixels from which the share of charge in the pattern is measured.
SAMPLE_PIXELS = 2**18
#: Beyond this many standard deviations of all pixels an excess is charge as a whole, and a deficit is a defect.
OUTSTANDING_SIGMA = 5.0
#: Variances further above the model than this, in their own standard deviations, are of defects or cosmic rays.
MOST_SCATTER = 10.0
#: Least variance, over that of the typical pixels of the amplifier.
LEAST_VARIANCE = 1 / 16


def pixel_errors(
    combined: CombinedFrames,
    background: Background,
    model: NoiseModel,
    common_error: NDArray[np.float32] | None,
    workers: int = 1,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the errors of the pixels of a stack.

    Parameters
    ----------
    combined : CombinedFrames
        The stack, above the level of each amplifier in the noise model.
    background : Background
        Its local level.
    model : NoiseModel
        Level and noise of the frames.
    common_error : ndarray of float32, shape (ny, nx), electron, or None
        The part of the error that all frames share.
    workers : int
        Threads; the result does not depend on their number.

    Returns
    -------
    error : ndarray of float32, shape (ny, nx), electron
        One-sigma error of the mean; NaN without samples.
    background_limited_error : ndarray of float32, shape (ny, nx), electron
        That of a pixel on the local level in this place.

    Notes
    -----
    The variance of a sample is ``R**2 + (a * S + b * E) / NDIT``. R is the measured read noise. S is the smooth level
    above that of the pixels which gave R. E is the pixel's own excess above the local level, of either sign. The shares
    a and b are measured: they are the slopes of the temporal variance of the pixels against S and E, by least squares.
    Charge has shot noise, a pattern of the electronics has none, nor has the noise of E (docs/method, section 3).
    """
    errors = _Errors(combined, background, model, common_error)
    shares = errors.charge_shares()
    log.info(
        "share of charge: %.2f of the smooth level, %.2f of the excess of single pixels", shares.smooth, shares.own
    )
    error, background_limited_error = (np.empty(combined.count.shape, np.float32) for _ in range(2))

    def calculate(start: int, stop: int) -> None:
        rows = slice(start, stop)
        part = errors.part(rows, shares)
        background_limited_error[rows] = part.limit
        own = np.where(np.abs(part.excess) < shares.reach * part.limit, np.float32(shares.own), part.excess > 0)
        variance = part.variance + np.float32(model.shot_scale) * own * part.excess
        np.maximum(variance, part.least, out=variance)
        error[rows] = np.sqrt(variance / part.count + part.common_variance)
        error[rows][combined.count[rows] == 0] = np.nan

    map_bands(calculate, row_bands(model.spans(), ERROR_ROWS), workers)
    return error, background_limited_error


@dataclass(frozen=True)
class _Shares:
    """Shares of charge in the smooth level and in the excess of single pixels; and how far that excess reaches."""

    smooth: float = 1.0
    own: float = 0.0
    #: In background-limited errors.
    reach: float = OUTSTANDING_SIGMA


@dataclass(frozen=True)
class _Part:
    """Some rows: variance of a sample on the local level and its least value, electron**2; excess, limit, electron."""

    read_variance: NDArray[np.float32]
    smooth: NDArray[np.float32]
    variance: NDArray[np.float32]
    least: NDArray[np.float32]
    excess: NDArray[np.float32]
    count: NDArray[np.float32]
    common_variance: NDArray[np.float32] | float
    limit: NDArray[np.float32]


class _Errors:
    """The parts of the errors, for some rows at a time."""

    def __init__(
        self,
        combined: CombinedFrames,
        background: Background,
        model: NoiseModel,
        common_error: NDArray[np.float32] | None,
    ) -> None:
        self._combined, self._background, self._model, self._common_error = combined, background, model, common_error
        self._read_variance = np.array([np.square(model.row(model.read_noise_e, y)) for y in background.first_rows])
        # the image is above the level of the pixels that gave the noise; its smooth part is so after these steps
        steps = [
            background.columns_e[np.searchsorted(background.first_rows, rows.start), columns].mean(dtype=np.float64)
            for rows, columns in model.regions
        ]
        self._step_e = np.array([model.row(np.array(steps), y) for y in background.first_rows])

    def part(self, rows: slice, shares: _Shares) -> _Part:
        """Return the parts of some rows."""
        combined, shot_scale = self._combined, np.float32(self._model.shot_scale)
        span = self._background.span_of(rows)
        read_variance = self._read_variance[span]
        surface = self._background.surface.rows(rows)
        smooth = surface + self._step_e[span]
        least = np.float32(LEAST_VARIANCE) * read_variance
        variance = np.maximum(read_variance + np.float32(shares.smooth) * shot_scale * smooth, least)
        count = np.maximum(combined.count[rows].astype(np.float32), 1)
        common_variance = 0.0 if self._common_error is None else np.square(self._common_error[rows])
        excess = combined.above_level[rows] - self._background.rows(rows, surface)
        limit = np.sqrt(variance / count + common_variance)
        return _Part(read_variance, smooth, variance, least, excess, count, common_variance, limit)

    def charge_shares(self) -> _Shares:
        """Measure the shares of charge, from some rows."""
        combined, shot_scale = self._combined, np.float32(self._model.shot_scale)
        n_frames = self._model.offsets_e.shape[0]
        rows = slice(None, None, max(1, combined.count.size // SAMPLE_PIXELS) | 1)
        part = self.part(rows, _Shares())
        reach = OUTSTANDING_SIGMA * clipped_moments(part.excess / part.limit)[1]
        temporal = np.square(combined.noise[rows])
        # the read noise is the least that weighs: a pattern that is no charge may lie far below its level
        weight = np.maximum(part.variance, part.read_variance)
        expected = weight + shot_scale * np.maximum(part.excess, 0)
        used = (part.count == n_frames) & (temporal < expected * (1 + MOST_SCATTER * math.sqrt(2 / (n_frames - 1))))
        used &= np.abs(part.excess) < reach * part.limit
        if np.count_nonzero(used) < 3:
            return _Shares()
        terms = (part.read_variance, shot_scale * part.smooth, shot_scale * part.excess, temporal)
        *known, scatter = ((term / weight)[used].astype(np.float64) for term in terms)
        (_, smooth, own), *_ = np.linalg.lstsq(np.stack(known, axis=1), scatter)
        # rounded, so that the last bits do not depend on the linear algebra library
        smooth, own = np.clip([smooth, own], 0, 1).round(3).tolist()
        return _Shares(smooth, own, reach)
