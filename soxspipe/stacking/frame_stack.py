"""Stacks of frames, read in bands of rows, in electrons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = [
    "ArrayStack",
    "FrameStack",
    "Regions",
    "as_stack",
    "check_regions",
    "region_image",
    "require_electron",
    "sample_rows",
    "sample_starts",
]

#: Rows and columns of each read-out amplifier; together they cover the frame.
Regions = tuple[tuple[slice, slice], ...]

#: Keyword arguments of the public functions that describe frames in memory.
FRAME_KEYWORDS = ("step_e", "regions", "shot_scale", "column_parity", "common_error")


class FrameStack(Protocol):
    """Frames of one exposure, read in bands of rows, so that memory does not grow with their number.

    Attributes
    ----------
    names : tuple of str
        Name of each frame, for messages.
    shape : tuple of int
        Rows and columns of every frame.
    step_e : float
        Quantisation step of the samples, electron; 0 when they are continuous.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier; together they cover the frame once.
    shot_scale : float
        Variance per electron of signal: 1 over the number of exposures averaged in a frame (NDIT).
    column_parity : bool
        Whether odd and even columns have different levels.
    common_error : ndarray of float32, shape (ny, nx), electron, or None
        One-sigma error that all frames share, such as that of a subtracted master bias. It does not average out.
    subtracted_e : ndarray, shape (frames, ny), electron, or None
        Level that was subtracted from each row of each frame: with it constant raw values are found.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def step_e(self) -> float: ...  # noqa: D102
    @property
    def regions(self) -> Regions: ...  # noqa: D102
    @property
    def shot_scale(self) -> float: ...  # noqa: D102
    @property
    def column_parity(self) -> bool: ...  # noqa: D102
    @property
    def common_error(self) -> NDArray[np.float32] | None: ...  # noqa: D102
    @property
    def subtracted_e(self) -> NDArray[np.float64] | None: ...  # noqa: D102

    def read(self, frame: int, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Read rows ``start:stop`` of one frame into ``out``, electron, NaN where there is no data.

        Returns the mask of saturated samples, or None when none is saturated.
        """
        ...


@dataclass(frozen=True)
class ArrayStack:
    """Frames in memory; see `FrameStack`.

    Parameters
    ----------
    arrays : tuple of ndarray, shape (ny, nx), electron
        The frames.
    masks : tuple of (ndarray of bool or None)
        True where a sample is not to be used.
    step_e : float
        Quantisation step of the samples, electron; 0 when they are continuous.
    saturation_e : float
        Level from which a sample is saturated, electron.
    names : tuple of str, optional
        Default: "frame 1" and so on.
    regions : tuple of (slice, slice), optional
        Default: one amplifier reads the whole frame.
    shot_scale, column_parity, common_error, subtracted_e
        See `FrameStack`.

    Raises
    ------
    InputError
        When the frames differ in shape, or the amplifiers do not cover the frame once.
    """

    arrays: tuple[NDArray[Any], ...]
    masks: tuple[NDArray[np.bool_] | None, ...]
    step_e: float = 0.0
    saturation_e: float = np.inf
    names: tuple[str, ...] = ()
    regions: Regions = ()
    shot_scale: float = 1.0
    column_parity: bool = False
    common_error: NDArray[np.float32] | None = None
    subtracted_e: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", tuple(f"frame {i + 1}" for i in range(len(self.arrays))))
        shapes = {array.shape for array in self.arrays}
        if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
            raise InputError(f"the frames have the shapes {sorted(shapes)}, expected one shape of two axes for all")
        object.__setattr__(self, "regions", check_regions(self.regions, self.shape))

    @classmethod
    def of(cls, frames: Sequence[CCDData | NDArray[Any]], unit: Any = None, **keywords: Any) -> ArrayStack:
        """Return the stack of some frames.

        Parameters
        ----------
        frames : sequence of (CCDData or ndarray), shape (ny, nx), electron
            The frames.
        unit : str or astropy.units.Unit, optional
            Unit of arrays that have none: ``"electron"``.
        **keywords
            Parameters of the class.

        Returns
        -------
        ArrayStack

        Raises
        ------
        InputError
            When a frame has another unit, or none.
        """
        arrays, masks = [], []
        for frame in frames:
            require_electron(frame, unit, "a frame")
            arrays.append(np.asarray(frame if getattr(frame, "unit", None) is None else frame.data))
            mask = getattr(frame, "mask", None)
            masks.append(None if mask is None or mask is np.ma.nomask else np.asarray(mask, dtype=bool))
        return cls(tuple(arrays), tuple(masks), **keywords)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of every frame."""
        ny, nx = self.arrays[0].shape if self.arrays else (0, 0)
        return ny, nx

    def read(self, frame: int, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Read rows ``start:stop`` of one frame into ``out``; see `FrameStack.read`."""
        out[...] = self.arrays[frame][start:stop]
        saturated = out >= self.saturation_e if np.isfinite(self.saturation_e) else None
        mask = self.masks[frame]
        if mask is not None:
            out[mask[start:stop]] = np.nan
        return saturated


def as_stack(frames: FrameStack | Sequence[CCDData | NDArray[Any]], keywords: dict[str, Any]) -> FrameStack:
    """Return a stack of frames; take from the keyword arguments those that describe frames in memory.

    Raises
    ------
    InputError
        When they are given for frames that describe themselves.
    """
    unit = keywords.pop("unit", None)
    given = {name: keywords.pop(name) for name in FRAME_KEYWORDS if name in keywords}
    if isinstance(frames, (Sequence, np.ndarray)):
        return ArrayStack.of(frames, unit, **given)
    if isinstance(frames, ArrayStack):
        return replace(frames, **given)
    if given:
        raise InputError(f"the frames have their own {', '.join(given)}: leave the keyword out")
    return frames


def require_electron(image: Any, unit: Any, noun: str) -> None:
    """Raise InputError unless an image is in electron, by its own unit, or by a given one where it has none."""
    own = getattr(image, "unit", None)
    if own is None and unit is None:
        raise InputError(f"{noun} has no unit, expected electron: give a CCDData, or unit='electron' if it is so")
    stated = str(unit if own is None else own)
    if stated != "electron":
        raise InputError(f"{noun} is in '{stated}', expected electron: multiply by the conversion factor first")


def check_regions(regions: Regions | None, shape: tuple[int, int]) -> Regions:
    """Return the regions of the amplifiers, or the whole frame when there are none.

    Raises
    ------
    InputError
        When the regions overlap or leave a part of the frame out.
    """
    if not regions:
        return ((slice(0, shape[0]), slice(0, shape[1])),)
    owners = np.zeros(shape, dtype=np.uint8)
    for rows, columns in regions:
        owners[rows, columns] += 1
    if not (owners == 1).all():
        raise InputError(
            f"the amplifiers leave {int((owners == 0).sum())} pixels of the frame without and give "
            f"{int((owners > 1).sum())} pixels more than one amplifier: correct the instrument table"
        )
    return regions


def sample_starts(shape: tuple[int, int], n_pixels: int, group: int) -> NDArray[np.intp]:
    """Return the first rows of groups of neighbouring rows, spread evenly over a frame, that hold so many pixels."""
    ny, nx = shape
    groups = -(-ny // group)
    wanted = min(groups, max(1, -(-n_pixels // (group * nx))))
    return np.linspace(0, groups - 1, wanted).round().astype(np.intp) * group


def sample_rows(shape: tuple[int, int], n_pixels: int, group: int) -> NDArray[np.intp]:
    """Return the rows of the groups that `sample_starts` begins."""
    rows = (sample_starts(shape, n_pixels, group)[:, None] + np.arange(group)).ravel()
    return rows[rows < shape[0]]


def region_image(values: NDArray[Any], regions: Regions, start: int, stop: int) -> NDArray[Any]:
    """Return rows ``start:stop`` of images in which each region has one value.

    Parameters
    ----------
    values : ndarray, shape (..., regions)
        The value of each region, for one or several images.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    start, stop : int
        First row, and the one after the last.

    Returns
    -------
    ndarray, shape (..., stop - start, nx)
    """
    nx = max(columns.stop for _, columns in regions)
    image = np.empty((*values.shape[:-1], stop - start, nx), values.dtype)
    for region, (rows, columns) in enumerate(regions):
        inside = slice(max(rows.start - start, 0), max(rows.stop - start, 0))
        image[..., inside, columns] = values[..., region, None, None]
    return image
