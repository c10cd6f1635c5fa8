"""QC values of a dark-rate map, from its arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..stacking.fit_dark_rate import DarkRate, LevelFit, chi2_quantile
from ..stacking.noise_model import clipped_moments
from .dark import HOT_LEVEL_ERRORS, HOT_LEVELS
from .table import QCValue, Range

__all__ = ["dark_rate_quality"]

#: A specification is missed where the dark current is above it by more errors than this.
LIMIT_ERRORS = 2.0
#: Chi^2 of the levels passes unless it is less probable than this; that of the pixels, where errors are right to 10 %.
LEVEL_PROBABILITY, ERROR_TOLERANCE = 1e-3, 0.1


def dark_rate_quality(
    fit: DarkRate, level: LevelFit, codes: NDArray[np.int32], *, limit_e_per_s: float | None = None
) -> list[QCValue]:
    """Measure the QC values of a dark-rate map.

    Parameters
    ----------
    fit : DarkRate
        The line of each pixel.
    level : LevelFit
        The line through the levels of the masters.
    codes : ndarray of int32, shape (ny, nx)
        All pixel codes; 0 is good.
    limit_e_per_s : float, optional
        Specified dark current of a pixel, electron/s.

    Returns
    -------
    list of QCValue
    """
    good = codes == 0
    rate, error = clipped_moments(fit.rate_e_per_s[good])[0], level.rate_error_e_per_s
    tested, chi2 = len(fit.exposure_s) > 2, fit.chi2[good & np.isfinite(fit.chi2)]
    # few pixels have fewer degrees of freedom than masters
    level_range: Range = (None, None)
    pixel_range: Range = (None, None)
    if tested:
        level_range = (None, chi2_quantile(LEVEL_PROBABILITY, level.dof) / level.dof)
        median = chi2_quantile(0.5, level.dof) / level.dof
        pixel_range = (median * (1 - ERROR_TOLERANCE) ** 2, median * (1 + ERROR_TOLERANCE) ** 2)
    floor = HOT_LEVEL_ERRORS * float(np.nanmedian(fit.rate_error_e_per_s))
    return [
        QCValue("DARK RATE", rate, "electron/s", "clipped mean of good pixels", judged=abs(rate) > 3 * error),
        QCValue("DARK RATE ERR", error, "electron/s", "its error, from those of the levels"),
        QCValue("DARK LIMIT", limit_e_per_s, "electron/s", "specified; DARK RATE may be 2 errors above",
                range=(max(rate - LIMIT_ERRORS * error, 0.0), None)),
        QCValue("OFFSET", clipped_moments(fit.offset_e[good])[0], "electron", "clipped mean of good pixels"),
        QCValue("OFFSET ERR", level.offset_error_e, "electron", "its error, from those of the levels"),
        QCValue("LEVEL CHI2", level.chi2 / level.dof if tested else None, "", "reduced chi2 of the levels",
                range=level_range),
        QCValue("CHI2 MEDIAN", float(np.median(chi2)) if chi2.size else None, "", "median reduced chi2",
                range=pixel_range),
        QCValue("NONLIN NUM", int(np.count_nonzero(fit.nonlinear)) if tested else None, "", "non-linear pixels"),
        QCValue("NONLIN TESTED", tested, "", "F: two masters only, chi2 is not defined"),
        QCValue("NODATA NUM", int(np.count_nonzero(np.isnan(fit.rate_e_per_s))), "", "pixels without a rate"),
        QCValue("MASTERS", len(fit.exposure_s), "", "master darks"),
        QCValue("EXPTIME MIN", float(fit.exposure_s.min()), "s", "shortest exposure"),
        QCValue("EXPTIME MAX", float(fit.exposure_s.max()), "s", "longest exposure"),
        *(
            QCValue(f"HOTPIX ABS{i}", int(np.count_nonzero(fit.rate_e_per_s > value)) if value > floor else None, "",
                    f"pixels above {value:g} electron/s")
            for i, value in enumerate(HOT_LEVELS, 1)
        ),
    ]  # fmt: skip
