"""The trend page: every QC value against date, changed pixels, dark rates; one interactive HTML file."""

from __future__ import annotations

from .page import trend_page
from .records import MapComparison, PixelChange, RateHistogram, TrendProduct, TrendValue, rate_histogram

__all__ = [
    "MapComparison",
    "PixelChange",
    "RateHistogram",
    "TrendProduct",
    "TrendValue",
    "rate_histogram",
    "trend_page",
]
