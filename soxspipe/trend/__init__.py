"""The trend page: every QC value against date, changed pixels, dark rates; one interactive HTML file."""

from __future__ import annotations

from .page import trend_page
from .rate_histogram import rate_histogram
from .records import MapComparison, PixelChange, RateHistogram, TrendProduct, TrendValue

__all__ = [
    "MapComparison",
    "PixelChange",
    "RateHistogram",
    "TrendProduct",
    "TrendValue",
    "rate_histogram",
    "trend_page",
]
