"""Find the pixels that cannot be trusted: hot, cold and noisy ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError
from ..parallel import map_bands, row_bands
from ..pixel_codes import PixelCode
from ..run_log import get_logger
from .background import BAND_ROWS, Background, measure_background
from .frame_stack import Regions, check_regions
from .noise_model import clipped_moments

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["NoiseMap", "create_noise_map"]

log = get_logger(__name__)

#: Takes a part of an image.
_View = Callable[[NDArray[Any]], NDArray[Any]]

#: Pixels from which the width of the null distribution is taken.
NULL_SAMPLE = 2**18


@dataclass(frozen=True)
class NoiseMap:
    """Pixel codes and how they came about.

    Attributes
    ----------
    codes : ndarray of uint16 or int32, shape (ny, nx)
        Sum of 256 (hot), 512 (cold or dead) and 1024 (noisy), 0 is good; as uint16, or with further codes as int32.
    residual_width : float
        Width of the good pixels' distance from their neighbours, in units of their error: 1 when the
        errors are right.
    noisy_tested : bool
        Whether there were frames enough to look for noisy pixels.
    """

    codes: NDArray[np.integer[Any]]
    residual_width: float
    noisy_tested: bool

    def count(self, code: int) -> int:
        """Return the number of pixels that have a code."""
        return int(np.count_nonzero(self._bad & int(code)))

    @cached_property
    def _bad(self) -> NDArray[np.integer[Any]]:
        """Return the codes of the pixels that have one."""
        return self.codes[self.codes != 0].astype(np.int32)  # whatever code is asked for

    def with_codes(self, pixels: Mapping[int, NDArray[np.bool_]]) -> NoiseMap:
        """Return the same with further codes.

        Parameters
        ----------
        pixels : mapping of int to ndarray of bool, shape (ny, nx)
            The pixels that have a code, by code.

        Returns
        -------
        NoiseMap
        """
        codes = self.codes.astype(np.int32)
        for code, have_it in pixels.items():
            codes[have_it] |= int(code)
        return replace(self, codes=codes)


def create_noise_map(
    master: CCDData | NDArray[Any],
    error: NDArray[np.float32] | None = None,
    *,
    background_limited_error: NDArray[np.float32] | None = None,
    common_error: NDArray[np.float32] | None = None,
    count: NDArray[np.uint16] | None = None,
    outlier_free_noise: NDArray[np.float32] | None = None,
    n_frames: int | None = None,
    background: Background | None = None,
    regions: Regions | None = None,
    column_parity: bool = False,
    background_box: int = 8,
    hot_pixel_sigma: float = 5.0,
    cold_pixel_sigma: float = 5.0,
    noisy_pixel_sigma: float = 5.5,
    noisy_minimum_frames: int = 5,
    workers: int = 1,
) -> NoiseMap:
    """Find hot, cold and noisy pixels in a stacked dark.

    Parameters
    ----------
    master : CCDData or ndarray, shape (ny, nx), electron
        The stack; NaN where there is no data.
    error : ndarray, shape (ny, nx), electron, optional
        Its one-sigma error; default: the uncertainty of ``master``.
    background_limited_error : ndarray, shape (ny, nx), electron, optional
        Error that a good pixel would have in each place; default: ``error``. The shot noise of a hot pixel's
        own excess in its error must not hide it.
    common_error : ndarray, shape (ny, nx), electron, optional
        The part of ``error`` that all frames share, such as that of a master bias: no temporal noise.
    count : ndarray of uint16, shape (ny, nx), optional
        Samples that entered the mean; with ``outlier_free_noise`` and ``n_frames`` needed for noisy pixels.
    outlier_free_noise : ndarray, shape (ny, nx), electron, optional
        Temporal standard deviation without what may be cosmic rays; see `StackResult`.
    n_frames : int, optional
        Frames in the stack.
    background : Background, optional
        The level of good pixels; default: measured from ``master``.
    regions, column_parity, background_box
        See `measure_background`; used when ``background`` is not given.
    hot_pixel_sigma, cold_pixel_sigma : float
        Sigmas above and below the local level beyond which a pixel is hot or cold.
    noisy_pixel_sigma : float
        Sigmas beyond which a pixel's temporal noise is too large.
    noisy_minimum_frames : int
        Fewest frames to look for noisy pixels in.
    workers : int
        Threads; the result does not depend on their number.

    Returns
    -------
    NoiseMap

    Raises
    ------
    InputError
        When there is no error to measure against.

    Notes
    -----
    A pixel is hot where ``(value - local level) / quiet error`` exceeds the threshold, in units of that ratio's
    own clipped width; cold below. A pixel is noisy where its temporal variance, without what
    may be cosmic rays (they are no fault of the pixel), is too large for the noise model: the cube root of the
    variance ratio is close to Gaussian and compared with its own clipped width (docs/method, section 4).
    """
    data = np.asarray(getattr(master, "data", master) if not isinstance(master, np.ndarray) else master, np.float32)
    if error is None:
        uncertainty = getattr(master, "uncertainty", None)
        if uncertainty is None:
            raise InputError("the stack has no error plane: pass error, or a CCDData with an uncertainty")
        error = uncertainty.array
    if background is None:
        background = measure_background(
            data, check_regions(regions, data.shape), column_parity=column_parity, box=background_box, workers=workers
        )
    scale = error if background_limited_error is None else background_limited_error
    codes = np.empty(data.shape, np.uint16)
    noisy_tested = n_frames is not None and n_frames >= noisy_minimum_frames
    noisy_tested = noisy_tested and count is not None and outlier_free_noise is not None

    # pixels for the width of the null distribution; an even stride would see one column parity only
    stride = max(1, data.size // NULL_SAMPLE) | 1

    def null_sample(image: NDArray[Any]) -> NDArray[Any]:
        return image.ravel()[::stride]

    def distance(view: _View, level: NDArray[np.float32]) -> NDArray[Any]:
        return (view(data) - level) / view(scale)

    def variance_ratio(view: _View) -> NDArray[Any]:
        assert count is not None
        assert outlier_free_noise is not None
        expected = np.square(view(error))
        if common_error is not None:
            expected -= np.square(view(common_error))
        expected *= view(count)
        return np.square(view(outlier_free_noise)) / expected

    def judge(start: int, stop: int) -> None:
        def rows(image: NDArray[Any]) -> NDArray[Any]:
            return image[start:stop]

        here = rows(codes)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = distance(rows, background.rows(slice(start, stop)))
            np.multiply(z > hot_pixel_sigma * width, np.uint16(PixelCode.HOT.value), out=here)
            here[z < -cold_pixel_sigma * width] |= PixelCode.COLD.value
            if noisy_tested:
                ratio = variance_ratio(rows)
                # the cube root of all would cost more than the rest of this
                near = np.flatnonzero(ratio > np.float32(0.999) * max(noisiest, 0.0) ** 3)
                here.reshape(-1)[near[np.cbrt(ratio.ravel()[near]) > noisiest]] |= PixelCode.NOISY.value

    with np.errstate(invalid="ignore", divide="ignore"):
        width = clipped_moments(distance(null_sample, background.at(np.arange(0, data.size, stride))))[1]
        if noisy_tested:
            centre, spread = clipped_moments(np.cbrt(variance_ratio(null_sample)))
            noisiest = centre + noisy_pixel_sigma * spread
    map_bands(judge, row_bands([(0, len(data))], BAND_ROWS), workers)
    result = NoiseMap(codes, width, noisy_tested)
    log.info(
        "%d hot, %d cold, %s noisy pixels; the quiet ones scatter by %.3f of their error",
        result.count(PixelCode.HOT),
        result.count(PixelCode.COLD),
        result.count(PixelCode.NOISY) if noisy_tested else "no test for",
        width,
    )
    return result
