"""Find hot, cold and noisy pixels."""

from __future__ import annotations

from collections.abc import Mapping
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
from .clip_and_stack import StackResult
from .frame_stack import check_regions
from .parameters import NoiseMapParameters, with_keywords
from .robust import clipped_moments

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["NoiseMap", "create_noise_map"]

log = get_logger(__name__)

#: Keyword arguments that describe an image alone.
IMAGE_KEYWORDS = ("error", "background_limited_error", "common_error", "count", "outlier_free_noise", "n_frames")
#: Pixels from which the distribution of good pixels is measured.
NULL_SAMPLE = 2**18


@dataclass(frozen=True)
class NoiseMap:
    """Codes of bad pixels.

    Attributes
    ----------
    codes : ndarray of uint16 or int32, shape (ny, nx)
        Sum of 256 (hot), 512 (cold or dead) and 1024 (noisy), 0 is good; as uint16, or with further codes as int32.
    residual_width : float
        Standard deviation of the normalised residuals of good pixels, (value - background) / error: 1 when the
        errors are right.
    noisy_tested : bool
        Whether there were enough frames to search noisy pixels.
    """

    codes: NDArray[np.integer[Any]]
    residual_width: float
    noisy_tested: bool

    def count(self, code: int) -> int:
        """Return the number of pixels that have a code."""
        return int(np.count_nonzero(self._bad & int(code)))

    @cached_property
    def _bad(self) -> NDArray[np.integer[Any]]:
        """The codes of the pixels that have one, wide enough for every code."""
        return self.codes[self.codes != 0].astype(np.int32)

    def with_codes(self, pixels: Mapping[PixelCode, NDArray[np.bool_]]) -> NoiseMap:
        """Return a copy with further codes.

        Parameters
        ----------
        pixels : mapping of int to ndarray of bool, shape (ny, nx)
            Mask of the pixels that have a code, by code.

        Returns
        -------
        NoiseMap
        """
        codes = self.codes.astype(np.int32)
        for code, mask in pixels.items():
            codes[mask] |= int(code)
        return replace(self, codes=codes)


@dataclass(frozen=True)
class _Images:
    """The images behind the map, flattened; see `create_noise_map`."""

    data: NDArray[np.float32]
    error: NDArray[np.float32]
    background_limited_error: NDArray[np.float32]
    common_error: NDArray[np.float32] | None = None
    count: NDArray[np.uint16] | None = None
    outlier_free_noise: NDArray[np.float32] | None = None
    n_frames: int = 0

    @classmethod
    def of(cls, stack: StackResult | CCDData | NDArray[Any], keywords: dict[str, Any]) -> _Images:
        """Return the images of a stack; of an array from the keyword arguments, which it takes."""
        if isinstance(stack, StackResult):
            master, given = stack.master, {name: getattr(stack, name) for name in IMAGE_KEYWORDS if name != "error"}
        else:
            master, given = stack, {name: keywords.pop(name) for name in IMAGE_KEYWORDS if name in keywords}
        n_frames = given.pop("n_frames", None) or 0
        images = {name: np.ravel(image) for name, image in given.items() if image is not None}
        if "error" not in images:
            uncertainty = getattr(master, "uncertainty", None)
            if uncertainty is None:
                raise InputError("the stack has no error plane: pass error, or a CCDData with an uncertainty")
            images["error"] = np.ravel(uncertainty.array)
        images.setdefault("background_limited_error", images["error"])
        data = np.asarray(master if isinstance(master, np.ndarray) else master.data, np.float32)
        return cls(data.ravel(), n_frames=n_frames, **images)

    def normalised_residual(self, part: slice, background: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (value - background) / error of some pixels."""
        return (self.data[part] - background) / self.background_limited_error[part]

    def relative_noise(self, part: slice) -> NDArray[np.float32]:
        """Return the cube root of the temporal variance over that of the noise model, of some pixels."""
        assert self.count is not None
        assert self.outlier_free_noise is not None
        expected = np.square(self.error[part])
        if self.common_error is not None:
            expected -= np.square(self.common_error[part])
        expected *= self.count[part]
        relative: NDArray[np.float32] = np.cbrt(np.square(self.outlier_free_noise[part]) / expected)
        return relative


def create_noise_map(
    stack: StackResult | CCDData | NDArray[Any],
    limits: NoiseMapParameters | None = None,
    *,
    background: Background | None = None,
    workers: int = 1,
    **keywords: Any,
) -> NoiseMap:
    """Find hot, cold and noisy pixels and return their codes.

    Parameters
    ----------
    stack : StackResult, CCDData or ndarray, shape (ny, nx), electron
        A stack as `clip_and_stack` returns it. Or an image alone, NaN where there is no data; the keywords from
        ``error`` to ``column_parity`` describe it further.
    limits : NoiseMapParameters, optional
        Limits of bad pixels; default: as the keywords below.
    background : Background, optional
        The level of good pixels; default: that of the stack, or measured from the image.
    workers : int
        Threads; the result does not depend on their number.
    hot_pixel_sigma, cold_pixel_sigma : float, default 5
        Sigmas above and below the local level beyond which a pixel is hot or cold.
    noisy_pixel_sigma : float, default 5.5
        Sigmas beyond which a pixel's temporal noise is too large.
    noisy_minimum_frames : int, default 5
        Fewest frames in which noisy pixels are searched.
    background_box : int, default 8
        Side of the blocks of `measure_background`, pixels; used when the background is measured.
    error : ndarray, shape (ny, nx), electron
        One-sigma error of the image; default: its uncertainty.
    background_limited_error : ndarray, shape (ny, nx), electron
        Error of a good pixel in each place; default: ``error``. The shot noise of a hot pixel's own
        excess in its error must not hide it.
    common_error : ndarray, shape (ny, nx), electron
        The part of ``error`` that all frames share, such as that of a master bias: no temporal noise.
    count : ndarray of uint16, shape (ny, nx)
        Samples that entered the mean; with ``outlier_free_noise`` and ``n_frames`` needed for noisy pixels.
    outlier_free_noise : ndarray, shape (ny, nx), electron
        Temporal standard deviation without possible cosmic rays; see `StackResult`.
    n_frames : int
        Frames in the stack.
    regions, column_parity
        See `measure_background`; used when the background is measured.

    Returns
    -------
    NoiseMap

    Raises
    ------
    InputError
        When there is no error, or a keyword is unknown or out of range.

    Notes
    -----
    A pixel is hot where ``(value - background) / background_limited_error`` exceeds the limit, in units of that
    ratio's own clipped width; cold below. A pixel is noisy where its temporal variance, without possible
    cosmic rays (they are no defect of the pixel), is too large for the noise model: the cube root of the
    variance ratio is close to Gaussian and compared with its own clipped width (docs/method, section 4).
    """
    images = _Images.of(stack, keywords)
    regions, column_parity = None, False
    if isinstance(stack, StackResult):
        background, shape = background or stack.background, stack.master.shape
    else:
        shape = stack.shape
        regions, column_parity = keywords.pop("regions", None), keywords.pop("column_parity", False)
    limits = with_keywords(NoiseMapParameters, limits, keywords)
    if background is None:
        background = measure_background(
            images.data.reshape(shape),
            check_regions(regions, shape),
            column_parity=column_parity,
            box=limits.background_box,
            workers=workers,
        )
    noisy_tested = (
        images.n_frames >= limits.noisy_minimum_frames
        and images.count is not None
        and images.outlier_free_noise is not None
    )
    size, nx = images.data.size, shape[1]
    codes = np.empty(size, np.uint16)
    sample = slice(None, None, max(1, size // NULL_SAMPLE) | 1)  # an even stride would miss a column parity
    noisiest = np.inf
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN in pixels without data
        width = clipped_moments(images.normalised_residual(sample, background.at(np.arange(0, size, sample.step))))[1]
        if noisy_tested:
            centre, spread = clipped_moments(images.relative_noise(sample))
            noisiest = centre + limits.noisy_pixel_sigma * spread

    def find(start: int, stop: int) -> None:
        part = slice(start * nx, stop * nx)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = images.normalised_residual(part, background.rows(slice(start, stop)).ravel())
            bad = np.where(z > limits.hot_pixel_sigma * width, PixelCode.HOT.value, 0).astype(np.uint16)
            bad[z < -limits.cold_pixel_sigma * width] |= PixelCode.COLD.value
            if noisy_tested:
                bad[images.relative_noise(part) > noisiest] |= PixelCode.NOISY.value
        codes[part] = bad

    map_bands(find, row_bands([(0, shape[0])], BAND_ROWS), workers)
    result = NoiseMap(codes.reshape(shape), width, noisy_tested)
    log.info(
        "%d hot, %d cold, %s noisy pixels; normalised residuals of good pixels: standard deviation %.3f",
        result.count(PixelCode.HOT),
        result.count(PixelCode.COLD),
        result.count(PixelCode.NOISY) if noisy_tested else "no test for",
        width,
    )
    return result
