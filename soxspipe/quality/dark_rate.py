"""QC values of a dark-rate map, from its arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..stacking.fit_dark_rate import DarkRate, chi2_quantile
from ..stacking.fit_levels import LevelFit
from ..stacking.robust import clipped_moments
from .dark import HOT_LEVEL_ERRORS, hot_level_values
from .table import QCValue, Range, measured

__all__ = ["dark_rate_quality"]

#: The dark current may be this many errors above its specification.
LIMIT_ERRORS = 2.0
#: The chi2 of the levels passes down to this p-value; that of the pixels where their errors are right to 10 %.
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
    level_range: Range = (None, None)
    pixel_range: Range = (None, None)
    if tested:  # only few pixels have fewer degrees of freedom than the levels
        level_range = (None, chi2_quantile(LEVEL_PROBABILITY, level.dof) / level.dof)
        median = chi2_quantile(0.5, level.dof) / level.dof
        pixel_range = (median * (1 - ERROR_TOLERANCE) ** 2, median * (1 + ERROR_TOLERANCE) ** 2)
    lowest_limit = max(rate - LIMIT_ERRORS * error, 0.0)
    return [
        measured("DARK RATE", rate, judged=abs(rate) > 3 * error),
        measured("DARK RATE ERR", error),
        measured("DARK LIMIT", limit_e_per_s, limits=(lowest_limit, None)),
        measured("OFFSET", clipped_moments(fit.offset_e[good])[0]),
        measured("OFFSET ERR", level.offset_error_e),
        measured("LEVEL CHI2", level.chi2 / level.dof if tested else None, limits=level_range),
        measured("CHI2 MEDIAN", float(np.median(chi2)) if chi2.size else None, limits=pixel_range),
        measured("NONLIN NUM", int(np.count_nonzero(fit.nonlinear)) if tested else None),
        measured("NONLIN TESTED", tested),
        measured("NODATA NUM", int(np.count_nonzero(np.isnan(fit.rate_e_per_s)))),
        measured("MASTERS", len(fit.exposure_s)),
        measured("EXPTIME MIN", float(fit.exposure_s.min())),
        measured("EXPTIME MAX", float(fit.exposure_s.max())),
        *hot_level_values(fit.rate_e_per_s, HOT_LEVEL_ERRORS * float(np.nanmedian(fit.rate_error_e_per_s))),
    ]
