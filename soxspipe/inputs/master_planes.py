"""Pixels of a set of master darks in bands of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..fits_files.pixel_reader import PixelReader
from ..pixel_codes import PixelCode
from .masters import PLANES, MasterSet
from .prepare import usable_samples

__all__ = ["MasterPlanes"]


class MasterPlanes:
    """Pixels of a set of master darks in bands of rows; see `soxspipe.stacking.fit_dark_rate.MasterStack`.

    Saturated samples are NaN, as are those without a usable value and error. Use it as a context manager.

    Parameters
    ----------
    masters : MasterSet
        A verified set.
    workers : int
        Threads that unpack compressed files.

    Attributes
    ----------
    names : tuple of str
        Names of the files.
    exposure_s : ndarray, shape (masters,), second
        Exposure of each.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(self, masters: MasterSet, workers: int = 1) -> None:
        self.names = tuple(master.name for master in masters.masters)
        self.exposure_s = masters.exposure_s
        self.shape = masters.shape
        self._reader = PixelReader([image for master in masters.masters for image in master.images])
        self._reader.unpack(workers)

    def read(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Read values, errors and codes of rows ``start:stop`` of all masters; see ``MasterStack.read``."""
        rows = [self._reader.read_rows(i, start, stop) for i in range(len(self._reader))]
        values, errors, codes = (np.stack(rows[plane :: len(PLANES)]) for plane in range(len(PLANES)))
        values, errors, codes = values.astype(np.float32), errors.astype(np.float32), codes.astype(np.int32)
        values[~usable_samples(values, errors) | (codes & PixelCode.SATURATED.value > 0)] = np.nan
        return values, errors, codes

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> MasterPlanes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
