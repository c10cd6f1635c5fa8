"""Find hot, cold and noisy pixels, and bad columns."""

from __future__ import annotations

import itertools
import math
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
from .background import BLOCK_ROWS, Background, column_levels, measure_background
from .bad_columns import find_bad_columns
from .clip_and_stack import StackResult
from .frame_stack import check_regions, require_electron
from .parameters import NoiseMapParameters, with_keywords
from .robust import clipped_moments

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["NoiseMap", "create_noise_map"]

log = get_logger(__name__)

#: Keyword arguments that describe an image alone.
IMAGE_KEYWORDS = (
    "error", "background_limited_error", "common_error", "count", "outlier_free_noise", "n_frames", "step_e",
)  # fmt: skip
#: Pixels from which the distribution of good pixels is measured.
NULL_SAMPLE = 2**18
#: Rows worked on at once: whole blocks of columns.
BAND_ROWS = 5 * BLOCK_ROWS
#: Noise of a sample, in quantisation steps, below which its distribution is no Gaussian: noisy pixels are not searched
#: then, and hot and cold ones with that noise. Noise of 0.35 steps scatters by 0.39 steps once it is rounded.
FEWEST_STEPS = 0.37
#: Cold pixels up to this many limits are the tail of the noise; those beyond are defects.
COLD_TAIL = 2.0


@dataclass(frozen=True)
class NoiseMap:
    """Codes of bad pixels.

    Attributes
    ----------
    codes : ndarray of uint16 or int32, shape (ny, nx)
        Sum of 256 (hot), 512 (cold or dead), 1024 (noisy) and 2048 (bad column), 0 is good; as uint16, or with further
        codes as int32.
    residual_width : float
        Standard deviation of the normalised residuals of good pixels, (value - background) / error: 1 when the
        errors are right.
    noisy_tested : bool
        Whether noisy pixels were searched: there were enough frames, and the noise was above the rounding.
    cold_tail : int
        Pixels as far below the local level as hot ones are above it, by noise: defects beyond twice that limit, dead
        pixels and bad columns do not count.
    bad_columns : int
        Columns that are bad, whole or in part.
    """

    codes: NDArray[np.integer[Any]]
    residual_width: float
    noisy_tested: bool
    cold_tail: int = 0
    bad_columns: int = 0

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
    step_e: float = 0.0

    @classmethod
    def of(cls, stack: StackResult | CCDData | NDArray[Any], keywords: dict[str, Any]) -> _Images:
        """Return the images of a stack; of an array from the keyword arguments, which it takes."""
        if isinstance(stack, StackResult):
            master, given = stack.master, {name: getattr(stack, name) for name in IMAGE_KEYWORDS if name != "error"}
        else:
            require_electron(stack, keywords.pop("unit", None), "the image")
            master, given = stack, {name: keywords.pop(name) for name in IMAGE_KEYWORDS if name in keywords}
        n_frames, step_e = given.pop("n_frames", None) or 0, given.pop("step_e", None) or 0.0
        images = {name: np.ravel(image) for name, image in given.items() if image is not None}
        if "error" not in images:
            uncertainty = getattr(master, "uncertainty", None)
            if uncertainty is None:
                raise InputError("the stack has no error plane: pass error, or a CCDData with an uncertainty")
            images["error"] = np.ravel(uncertainty.array)
        images.setdefault("background_limited_error", images["error"])
        data = np.asarray(master if isinstance(master, np.ndarray) else master.data, np.float32)
        return cls(data.ravel(), n_frames=n_frames, step_e=step_e, **images)

    def residual(self, pixels: slice | NDArray[np.intp], background: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (value - background) / error of some pixels."""
        return (self.data[pixels] - background) / self.background_limited_error[pixels]

    def sample_variance(self, part: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the variance of a single sample by the noise model, of some pixels."""
        assert self.count is not None
        variance = np.square(self.error[part])
        if self.common_error is not None:
            variance -= np.square(self.common_error[part])
        variance *= self.count[part]
        return variance

    def relative_noise(self, part: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the cube root of the temporal variance over that of the noise model, of some pixels."""
        assert self.outlier_free_noise is not None
        relative: NDArray[np.float32] = np.cbrt(np.square(self.outlier_free_noise[part]) / self.sample_variance(part))
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
    unit : str or astropy.units.Unit
        Unit of an array, which has none: ``"electron"``. Without it an array is refused.
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
    step_e : float
        Quantisation step of a sample, electron; default: samples are continuous.
    regions, column_parity
        See `measure_background`; used when the background is measured.

    Returns
    -------
    NoiseMap

    Raises
    ------
    InputError
        When there is no error, the image is not in electron, or a keyword is unknown or out of range.

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
    rows = slice(None, None, max(1, size // NULL_SAMPLE) | 1)  # an even step would miss a row parity
    sample = (np.arange(0, size, rows.step * nx)[:, None] + np.arange(nx)).ravel()
    noisiest, rounding_e = np.inf, 0.0
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN in pixels without data
        width = clipped_moments(images.residual(sample, background.rows(rows).ravel()))[1]
        if images.step_e and images.count is not None:
            lowest_e = FEWEST_STEPS * images.step_e
            noisy_tested &= bool(np.nanmedian(images.sample_variance(sample)) >= lowest_e**2)
            rounding_e = lowest_e / math.sqrt(images.n_frames)
        if noisy_tested:
            centre, spread = clipped_moments(images.relative_noise(sample))
            noisiest = centre + limits.noisy_pixel_sigma * spread

    def find(start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        part = slice(start * nx, stop * nx)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = images.data[part] - background.rows(slice(start, stop)).ravel()
            z /= np.maximum(np.float32(width) * images.background_limited_error[part], np.float32(rounding_e))
            bad = np.where(z > limits.hot_pixel_sigma, PixelCode.HOT.value, 0).astype(np.uint16)
            bad[z < -limits.cold_pixel_sigma] |= PixelCode.COLD.value
            if noisy_tested:
                bad[images.relative_noise(part) > noisiest] |= PixelCode.NOISY.value
            tail = (z < -limits.hot_pixel_sigma) & (z > -COLD_TAIL * limits.hot_pixel_sigma)
        codes[part] = bad
        return column_levels(z.reshape(-1, nx)), part.start + np.flatnonzero(tail)

    spans = list(itertools.pairwise([*background.first_rows.tolist(), shape[0]]))
    bands = list(row_bands(spans, BAND_ROWS))
    found = map_bands(find, bands, workers)
    bad_columns = set()
    for span, (start, stop) in enumerate(spans):
        levels = [level for (first, _), (level, _) in zip(bands, found, strict=True) if start <= first < stop]
        for rows, column in _bad_columns(images, background, span, np.concatenate(levels), slice(start, stop), width):
            codes.reshape(shape)[rows, column] |= PixelCode.COLUMN.value
            bad_columns.add(column)
    if isinstance(stack, StackResult):
        codes.reshape(shape)[stack.dead] |= PixelCode.COLD.value
    tail = np.concatenate([pixels for _, pixels in found])
    is_noise = codes[tail] & PixelCode.COLUMN.value == 0
    result = NoiseMap(codes.reshape(shape), width, noisy_tested, int(is_noise.sum()), len(bad_columns))
    log.info(
        "%d hot, %d cold, %s noisy pixels, %d bad columns; standard deviation of normalised residuals %.3f",
        result.count(PixelCode.HOT),
        result.count(PixelCode.COLD),
        result.count(PixelCode.NOISY) if noisy_tested else "no test for",
        result.bad_columns,
        width,
    )
    return result


def _bad_columns(
    images: _Images,
    background: Background,
    span: int,
    levels: NDArray[np.float32],
    rows: slice,
    width: float,
) -> list[tuple[slice, int]]:
    """Return rows and column of the bad columns in a range of rows with the same amplifiers."""
    nx = levels.shape[1]

    def pattern(pixels: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the column pattern in the normalised residuals of pixels, which their background contains."""
        limits: NDArray[np.float32] = np.float32(width) * images.background_limited_error[pixels]
        return background.pattern_e[span, pixels % nx] / limits

    def residual_of(part: slice, column: int) -> NDArray[np.float32]:
        pixels = (rows.start + np.arange(part.start, part.stop)) * nx + column
        return images.residual(pixels, background.at(pixels)) / np.float32(width) + pattern(pixels)

    middle = rows.start + BLOCK_ROWS // 2 + BLOCK_ROWS * np.arange(len(levels))
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN in pixels without data
        levels = levels + pattern(middle[:, None] * nx + np.arange(nx))
        found = find_bad_columns(levels, rows.stop - rows.start, residual_of)
    return [(slice(rows.start + part.start, rows.start + part.stop), column) for part, column in found]
