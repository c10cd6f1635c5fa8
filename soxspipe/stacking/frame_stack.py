"""What a stack of frames looks like to the statistics: rows of one frame, in electrons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["ArrayStack", "FrameStack", "Regions", "check_regions"]

#: Rectangles of rows and columns, one for each read-out amplifier; together they cover the frame.
Regions = tuple[tuple[slice, slice], ...]


class FrameStack(Protocol):
    """Frames of one exposure, read in row bands so that no more than a band of each is ever in memory.

    Attributes
    ----------
    names : tuple of str
        What to call each frame in a message.
    shape : tuple of int
        Rows and columns of every frame.
    step_e : float
        Quantisation step of the samples, electron; 0 when they are continuous.
    """

    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def step_e(self) -> float: ...  # noqa: D102

    def read(self, frame: int, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Read rows ``start:stop`` of one frame into ``out``, electron, NaN where there is no data.

        Returns which of the samples are saturated, None when none is.
        """
        ...


@dataclass(frozen=True)
class ArrayStack:
    """Frames that are in memory already.

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
    """

    arrays: tuple[NDArray[Any], ...]
    masks: tuple[NDArray[np.bool_] | None, ...]
    step_e: float = 0.0
    saturation_e: float = np.inf
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.names:
            object.__setattr__(self, "names", tuple(f"frame {i + 1}" for i in range(len(self.arrays))))
        shapes = {array.shape for array in self.arrays}
        if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
            raise InputError(f"the frames have the shapes {sorted(shapes)}, expected one shape of two axes for all")

    @classmethod
    def of(cls, frames: Sequence[CCDData | NDArray[Any]], step_e: float = 0.0) -> ArrayStack:
        """Take frames as CCDData (in electron, or without a unit) or as arrays (electron)."""
        arrays, masks = [], []
        for frame in frames:
            unit = getattr(frame, "unit", None)
            if unit is not None and unit.to_string() not in ("electron", ""):
                raise InputError(f"a frame is in '{unit}', expected electron: multiply by the conversion factor first")
            arrays.append(np.asarray(frame if unit is None else frame.data))
            mask = getattr(frame, "mask", None)
            mask = None if mask is np.ma.nomask else mask
            masks.append(None if mask is None else np.asarray(mask, dtype=bool))
        return cls(tuple(arrays), tuple(masks), step_e)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of every frame."""
        ny, nx = self.arrays[0].shape
        return ny, nx

    def read(self, frame: int, start: int, stop: int, out: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Read rows ``start:stop`` of one frame into ``out``; see `FrameStack.read`."""
        out[...] = self.arrays[frame][start:stop]
        saturated = out >= self.saturation_e if np.isfinite(self.saturation_e) else None
        mask = self.masks[frame]
        if mask is not None:
            out[mask[start:stop]] = np.nan
        return saturated


def check_regions(regions: Regions | None, shape: tuple[int, int]) -> Regions:
    """Return the amplifier regions, the whole frame when there are none.

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
