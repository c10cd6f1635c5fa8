"""The images of a master, and the errors that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError
from ..stacking.frame_stack import Regions, check_regions
from ..stacking.robust import finite_median

__all__ = ["MasterImages"]

#: Least part of the variance of a pixel that is no error of the master bias.
LEAST_OWN_PART = 0.2


@dataclass(frozen=True)
class MasterImages:
    """The images of a master in raw orientation, in which a row is read out after the other.

    Attributes
    ----------
    values_e, errors_e, noise_e : ndarray of float32, shape (ny, nx), electron
        Value and one-sigma error; temporal standard deviation of a single frame. NaN where there is no data.
    count : ndarray of int, shape (ny, nx)
        Samples in each value.
    codes : ndarray of int, shape (ny, nx)
        Pixel codes; 0 is a good pixel.
    n_frames : int
        Frames of the master.
    exposure_s : float
        Exposure of its values, second; 0 for a bias.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier; empty: one amplifier reads all.
    read_noise_e : tuple of float
        Noise of a single frame in each amplifier, electron.
    correlation, row_correlation : float
        Noise of the means of 10 x 10 pixels, and of rows, over that of independent pixels.
    bias_error_e : float or ndarray of float32, shape (ny, nx), electron
        Error of a subtracted master bias, which all frames share.
    shot_scale : float
        Variance per electron of signal.
    column_parity : bool
        Whether odd and even columns have different levels.
    level_e, temperature_k : float or None
        Level without the pedestal; None where it is in the values. Detector temperature.
    rot90_count : int
        Quarter turns counter-clockwise from raw to product orientation.
    name : str
        Its name, for messages.

    Raises
    ------
    InputError
        When the images differ in shape, or the amplifiers do not cover them once.
    """

    values_e: NDArray[np.float32]
    errors_e: NDArray[np.float32]
    noise_e: NDArray[np.float32]
    count: NDArray[np.integer[Any]]
    codes: NDArray[np.integer[Any]]
    n_frames: int
    exposure_s: float
    regions: Regions = ()
    read_noise_e: tuple[float, ...] = ()
    correlation: float = 1.0
    row_correlation: float = 1.0
    bias_error_e: float | NDArray[np.float32] = 0.0
    shot_scale: float = 1.0
    column_parity: bool = False
    level_e: float | None = None
    temperature_k: float | None = None
    rot90_count: int = 0
    name: str = "master"

    def __post_init__(self) -> None:
        images = (self.values_e, self.errors_e, self.noise_e, self.count, self.codes)
        if len({image.shape for image in images}) > 1:
            raise InputError(f"{self.name}: the images have the shapes {[image.shape for image in images]}")
        object.__setattr__(self, "regions", check_regions(self.regions, self.shape))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ny, nx = self.values_e.shape
        return ny, nx

    @cached_property
    def sample_variance(self) -> NDArray[np.float32]:
        """Variance of a single sample of each pixel by the noise model, electron**2; NaN without samples."""
        total = np.square(self.errors_e)
        own = np.maximum(total - np.square(self.bias_error_e, dtype=np.float32), np.float32(LEAST_OWN_PART) * total)
        variance: NDArray[np.float32] = own * self.count.astype(np.float32)
        variance[~(variance > 0)] = np.nan
        return variance

    @property
    def amplifier_noise_e(self) -> NDArray[np.float64]:
        """Noise of a single frame in each amplifier, electron; by the noise model where it was not given."""
        if len(self.read_noise_e) == len(self.regions):
            return np.array(self.read_noise_e)
        return np.sqrt([finite_median(self.sample_variance[region]) for region in self.regions])

    def position(self, y: Any, x: Any) -> tuple[Any, Any]:
        """Return the FITS coordinates (x, y), from 1, in the product of pixels (row, column) of these images."""
        ny, nx = self.shape
        turned = ((y, x), (nx - 1 - x, y), (ny - 1 - y, nx - 1 - x), (x, ny - 1 - y))
        row, column = turned[self.rot90_count % 4]
        return column + 1, row + 1

    def require_size_of(self, other: MasterImages) -> None:
        """Raise InputError where another master has another size."""
        if self.shape != other.shape:
            sizes = " and ".join(f"{nx} x {ny}" for ny, nx in (other.shape, self.shape))
            raise InputError(f"{other.name} and {self.name} have {sizes} pixels, expected the same size")
