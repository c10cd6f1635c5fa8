"""What the trend page shows: products with their QC values, changed pixels, histograms of dark rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["MapComparison", "PixelChange", "RateHistogram", "TrendProduct", "TrendValue", "rate_histogram"]

BINS = 200


@dataclass(frozen=True)
class TrendValue:
    """A QC value of a product.

    Attributes
    ----------
    value : float or None
        None where it could not be measured.
    unit : str
        Unit in the notation of the FITS standard; empty for pure numbers.
    low, high : float or None
        Range that passes; None where it is open.
    """

    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TrendProduct:
    """A product, as a point of the page.

    Attributes
    ----------
    path : str
        Path of the product, which no other has; the page shows its last part.
    recipe, instrument, arm : str
        Recipe, instrument and arm.
    mjd : float
        Start of its first frame, MJD in UTC.
    exptime_s : float or None
        Exposure time, second; None where the recipe has none.
    read_mode, binning : str
        Read mode and binning; empty where the detector has none.
    verdict : str
        PASS, WARN or FAIL.
    failed : tuple of str
        Names of the values out of their range.
    report : str
        Path of its report, relative to the page, with ``/``; empty where there is none.
    temperature_k : float or None
        Temperature of the detector, kelvin.
    shape : tuple of int
        Rows and columns of its image; zeros where they are not known.
    values : mapping of str to TrendValue
        QC values by name.
    """

    path: str
    recipe: str
    instrument: str
    arm: str
    mjd: float
    exptime_s: float | None = None
    read_mode: str = ""
    binning: str = ""
    verdict: str = ""
    failed: tuple[str, ...] = ()
    report: str = ""
    temperature_k: float | None = None
    shape: tuple[int, int] = (0, 0)
    values: Mapping[str, TrendValue] = field(default_factory=dict)

    @property
    def series(self) -> tuple[str, str, str, float | None, str, str]:
        """What products share that compare, from the instrument to the binning."""
        return (self.instrument, self.arm, self.recipe, self.exptime_s, self.read_mode, self.binning)


@dataclass(frozen=True)
class PixelChange:
    """A pixel whose dark rate changed from the master before.

    Attributes
    ----------
    path : str
        Path of the later master, as in `TrendProduct`.
    x, y : int
        Pixel of the product, from 1 as in FITS.
    kind : str
        ``birth`` where the rate rose, ``death`` where it fell.
    significance : float
        Change over its error.
    """

    path: str
    x: int
    y: int
    kind: str
    significance: float


@dataclass(frozen=True)
class MapComparison:
    """The comparison of a master with the one before, whether it found a change or not.

    Attributes
    ----------
    path : str
        Path of the later master, as in `TrendProduct`.
    expected_false : float
        Expected number of false changes.
    """

    path: str
    expected_false: float


@dataclass(frozen=True)
class RateHistogram:
    """A histogram of the dark rates of a master; see `soxspipe.trend.rate_histogram`.

    Attributes
    ----------
    path : str
        Path of the product, as in `TrendProduct`.
    centre, scale : float
        Median and robust standard deviation of the rates, electron/s.
    low, high : float
        Ends of the bins, in ``asinh((rate - centre) / scale)``.
    counts : numpy.ndarray of int, shape (bins,)
        Pixels in bins of equal width between these ends.
    above_median : bool
        Whether rates are counted from the median of their amplifier, because the pedestal is not known.
    """

    path: str
    centre: float
    scale: float
    low: float
    high: float
    counts: np.ndarray
    above_median: bool = False


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
