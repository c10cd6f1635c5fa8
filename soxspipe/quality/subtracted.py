"""QC values of a frame minus a master dark."""

from __future__ import annotations

import numpy as np

from ..pixel_codes import PixelCode
from ..stacking.dark_subtraction import Subtracted
from ..stacking.robust import clipped_moments, finite_median
from .table import QCValue, measured

__all__ = ["subtracted_quality"]


def subtracted_quality(result: Subtracted, *, scale: float, level_error_e: float | None) -> list[QCValue]:
    """Measure the QC values of a frame minus a master dark.

    Parameters
    ----------
    result : Subtracted
        The difference.
    scale : float
        Factor of the master dark.
    level_error_e : float or None
        Error of the level of the master, electron.

    Returns
    -------
    list of QCValue
    """
    good = result.codes == 0
    values, errors = result.data[good], result.error[good]
    mean, stdev = clipped_moments(values) if values.size else (None, None)
    pull = clipped_moments(values / errors)[1] if values.size else None
    return [
        measured("SUB MEDIAN", finite_median(values) if values.size else None),
        measured("SUB MEAN", mean),
        measured("SUB STDEV", stdev),
        measured("SUB PULL", pull),
        measured("SHARED ERR", finite_median(result.shared_error[good]) if values.size else None),
        measured("SHARED LEVEL ERR", None if level_error_e is None else scale * level_error_e),
        measured("DARK SCALE", scale),
        measured("FRAME SATPIX NUM", int(np.count_nonzero(result.codes & PixelCode.SATURATED.value))),
        measured("BADPIX NUM", int(np.count_nonzero(result.codes))),
    ]
