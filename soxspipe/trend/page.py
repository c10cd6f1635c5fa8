"""One HTML file with everything that was measured on the products of a detector, against date."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..templates import fill
from ..text import counted
from ..version import __version__
from .page_data import page_data
from .records import MapComparison, PixelChange, RateHistogram, TrendProduct

__all__ = ["MARK", "trend_page"]

#: Text near the beginning of each trend page, and of no other file.
MARK = b'<meta name="generator" content="soxspipe trend"'

WEB = Path(__file__).with_name("web")
#: Scripts of the page, in this order; they share one scope.
SCRIPTS = ("data.js", "theme.js", "trend.js", "detector.js")


def trend_page(
    products: Sequence[TrendProduct],
    *,
    changes: Sequence[PixelChange] = (),
    comparisons: Sequence[MapComparison] = (),
    histograms: Sequence[RateHistogram] = (),
    made: str = "",
) -> str:
    """Return the trend page: self-contained, without any request to a network.

    Parameters
    ----------
    products : sequence of TrendProduct
        The products, in any order.
    changes : sequence of PixelChange
        Births and deaths of hot pixels.
    comparisons : sequence of MapComparison
        The pairs of masters that were compared.
    histograms : sequence of RateHistogram
        Histograms of the dark rates of some of the products.
    made : str
        Date of the page, as it shows it.

    Returns
    -------
    str
        HTML. The same records give the same text, apart from ``made``.
    """
    import bokeh

    from .plots import plot_items

    instruments = sorted({product.instrument for product in products if product.instrument})
    document = {"data": page_data(products, changes, comparisons, histograms), "items": plot_items()}
    facts = {
        "title": f"Trends of {', '.join(instruments)}" if instruments else "Trends",
        "summary": _summary(products),
        "css": _text("page.css"),
        "script": "\n".join(map(_text, SCRIPTS)),
        "bokeh": _bokeh_script(),
        "bokeh_version": bokeh.__version__,
        "document": _json(document),
        "version": __version__,
        "made": made,
    }
    return fill(WEB / "page.html", facts, html=True)


def _text(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _bokeh_script() -> str:
    """Return BokehJS without widgets, tables, WebGL and mathematics, which the page does not use."""
    from bokeh.resources import Resources

    # what follows this script sets the level of its log, and writes that into the console
    return str(Resources(mode="inline", components=["bokeh"]).js_raw[0])


def _json(document: dict[str, Any]) -> str:
    """Return JSON that cannot end its HTML element."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _summary(products: Sequence[TrendProduct]) -> str:
    """Return the verdicts of the products, and of the latest of each detector, in two sentences."""
    if not products:
        return "There is no product yet."
    verdicts = [product.verdict for product in products]
    words = ", ".join(f"{verdicts.count(one)} {one}" for one in ("PASS", "WARN", "FAIL") if one in verdicts)
    latest = {(one.instrument, one.arm): one for one in sorted(products, key=lambda one: one.mjd)}
    named = "; ".join(
        f"{' '.join(filter(None, key))} {_date(one.mjd)} {one.verdict}".strip() for key, one in sorted(latest.items())
    )
    return f"{counted(len(products), 'product')}: {words or 'no verdict'}. Latest: {named}."


def _date(mjd: float) -> str:
    return (datetime(1858, 11, 17) + timedelta(days=mjd)).date().isoformat()
