"""The histogram of the dark rates of a master, small enough to keep hundreds of them in a page."""

from __future__ import annotations

import numpy as np

from .records import RateHistogram

__all__ = ["rate_histogram"]

BINS = 200


def rate_histogram(path: str, rates: np.ndarray) -> RateHistogram | None:
    """Return the histogram of dark rates in bins that are narrow at the median and wide in the hot tail.

    The bins are equal in ``asinh((rate - centre) / scale)``: a tenth of a standard deviation at the median, and 8 per
    cent of the rate for a hot pixel.

    Parameters
    ----------
    path : str
        Path of the product, as the page shows it.
    rates : numpy.ndarray
        Dark rates, electron/s; NaN where there is no data.

    Returns
    -------
    RateHistogram or None
        None where there are no rates.
    """
    rates = rates[np.isfinite(rates)].astype(np.float32, copy=False)
    if not rates.size:
        return None
    first, centre, third = np.percentile(rates, [25, 50, 75])
    scale = float(third - first) / 1.349 or float(np.std(rates)) or max(abs(float(centre)), 1.0) * 1e-6
    transformed = np.arcsinh((rates - np.float32(centre)) / np.float32(scale))
    counts, edges = np.histogram(transformed, BINS)
    return RateHistogram(path, float(centre), scale, float(edges[0]), float(edges[-1]), counts)
