"""The records of the trend page in a compact form: columns in base64, one entry for each figure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import numpy as np

from ..quality.definitions import DEFINITIONS, definition_of
from .outliers import OUTLIER_SIGMA, WINDOW, deviations
from .records import MapComparison, PixelChange, RateHistogram, TrendProduct, TrendValue

__all__ = ["page_data"]

#: Figures whose bars are not ``<name> ERR``: the value that gives their relative length, and its words.
SPREADS = {"RON RAW": ("RON SPREAD", "spread of the noise between pixels")}
#: The page has the most significant changes of pixels only, above this number.
MOST_CHANGES = 200_000
MJD_OF_1970 = 40587.0
DAY_MS = 86_400_000.0


def page_data(
    products: Sequence[TrendProduct],
    changes: Sequence[PixelChange] = (),
    comparisons: Sequence[MapComparison] = (),
    histograms: Sequence[RateHistogram] = (),
) -> dict[str, Any]:
    """Return the records as a document for JSON.

    Parameters
    ----------
    products : sequence of TrendProduct
        The products.
    changes : sequence of PixelChange
        Births and deaths of hot pixels.
    comparisons : sequence of MapComparison
        The pairs of masters that were compared.
    histograms : sequence of RateHistogram
        Histograms of the dark rates of some of the products.

    Returns
    -------
    dict
        Products as columns in the order of time, figures, changes and histograms.
    """
    products = sorted(products, key=lambda product: product.mjd)
    series = sorted({product.series for product in products}, key=lambda key: tuple(map(_sort_key, key)))
    number = {key: i for i, key in enumerate(series)}
    of_series = np.array([number[product.series] for product in products], dtype=np.uint16)
    return {
        "count": len(products),
        "series": [
            dict(zip(("instrument", "arm", "recipe", "exptime", "mode", "binning"), key, strict=True)) for key in series
        ],
        "of_series": _encode(of_series, "uint16"),
        "time": _encode([_unix_ms(product.mjd) for product in products], "float64"),
        "temperature": _encode([_number(product.temperature_k) for product in products], "float32"),
        "verdict": [product.verdict for product in products],
        "failed": [", ".join(product.failed) for product in products],
        "file": [PurePath(product.path).name for product in products],
        # a path, quoted: a name with a colon is no scheme
        "report": [quote(product.report) for product in products],
        "figures": [_figure(name, products, of_series) for name in _figure_names(products)],
        "outlier_sigma": OUTLIER_SIGMA,
        "window": WINDOW,
        "maps": _maps(products, series, of_series, changes, comparisons),
        "histograms": _histograms(products, histograms),
    }


def _figure_names(products: Sequence[TrendProduct]) -> list[str]:
    """Return the names of all figures, in the order of the documentation, those of amplifiers by number."""
    names = {name for product in products for name, one in product.values.items() if _is_figure(one)}
    order = {name: i for i, name in enumerate(DEFINITIONS)}

    def key(name: str) -> tuple[int, int, str]:
        return (order.get(_definition_name(name), len(order)), _amplifier(name), name)

    return sorted(names, key=key)


def _is_figure(one: TrendValue) -> bool:
    return one.value is not None and np.isfinite(one.value)


def _definition_name(name: str) -> str:
    try:
        return definition_of(name).name
    except ValueError:  # a value of another version, or of another program
        return name


def _amplifier(name: str) -> int:
    """Return the number at the end of a name such as ``RON RAW7``; 0 where it has none."""
    definition = _definition_name(name)
    return int(name[definition.index("{i}") :]) if "{i}" in definition else 0


def _figure(name: str, products: Sequence[TrendProduct], of_series: np.ndarray) -> dict[str, Any]:
    """Return one figure: its values, bars, ranges and outliers."""
    given = [product.values.get(name) for product in products]
    values = np.array([_number(None if one is None else one.value) for one in given])
    ranges = sorted({(one.low, one.high) for one in given if one}, key=str)
    number = {limits: i for i, limits in enumerate(ranges)}
    definition = _definition_name(name)
    errors = np.array([_number(getattr(product.values.get(f"{name} ERR"), "value", None)) for product in products])
    return {
        "name": name,
        "unit": next((one.unit for one in given if one and one.unit), ""),
        "words": DEFINITIONS[definition].words.format(i=_amplifier(name)) if definition in DEFINITIONS else "",
        "amplifier": "{i}" in definition,
        "values": _encode(values, "float32"),
        "bars": _bars(name, bool(np.isfinite(errors).any()), {key for product in products for key in product.values}),
        "ranges": ranges,
        "of_range": _encode([number[one.low, one.high] if one else 0 for one in given], "uint16"),
        "outliers": _outliers(values, errors, of_series),
    }


def _bars(name: str, has_errors: bool, names: set[str]) -> dict[str, Any] | None:
    """Return which figure gives the bars of another one, and their words."""
    if has_errors:
        return {"figure": f"{name} ERR", "relative": False, "words": f"{name} ERR"}
    spread, words = SPREADS.get(name, ("", ""))
    return {"figure": spread, "relative": True, "words": words} if spread in names else None


def _outliers(values: np.ndarray, errors: np.ndarray, of_series: np.ndarray) -> dict[str, float]:
    """Return the deviation of each outlier by the number of its product."""
    found: dict[str, float] = {}
    for series in np.unique(of_series[np.isfinite(values)]):
        members = np.flatnonzero(of_series == series)
        sigmas = deviations(values[members], errors[members])
        with np.errstate(invalid="ignore"):
            for i in np.flatnonzero(np.abs(sigmas) > OUTLIER_SIGMA):
                found[str(members[i])] = round(float(sigmas[i]), 1)
    return found


def _maps(
    products: Sequence[TrendProduct],
    keys: Sequence[tuple[Any, ...]],
    of_series: np.ndarray,
    changes: Sequence[PixelChange],
    comparisons: Sequence[MapComparison],
) -> list[dict[str, Any]]:
    """Return the changes of each series in the order of time, those of a date the most significant first."""
    number = {product.path: i for i, product in enumerate(products)}
    strongest = sorted(
        (one for one in changes if one.path in number), key=lambda one: abs(one.significance), reverse=True
    )
    left_out = Counter(int(of_series[number[one.path]]) for one in strongest[MOST_CHANGES:])
    shown = sorted(strongest[:MOST_CHANGES], key=lambda one: number[one.path])
    pairs = sorted((one for one in comparisons if one.path in number), key=lambda one: number[one.path])
    maps = []
    paths = {one.path for one in shown} | {one.path for one in pairs}
    for series in sorted({int(of_series[number[path]]) for path in paths}):
        changed = [one for one in shown if of_series[number[one.path]] == series]
        compared = [one for one in pairs if of_series[number[one.path]] == series]
        maps.append(
            {
                "series": series,
                "shape": np.max([one.shape for one in products if one.series == keys[series]], axis=0).tolist(),
                "count": len(changed),
                "left_out": left_out[series],
                "product": _encode([number[one.path] for one in changed], "uint32"),
                "x": _encode([one.x for one in changed], "uint16"),
                "y": _encode([one.y for one in changed], "uint16"),
                "birth": _encode([one.kind == "birth" for one in changed], "uint8"),
                "significance": _encode([one.significance for one in changed], "float32"),
                "pairs": _encode([number[one.path] for one in compared], "uint32"),
                "pair_false": _encode([one.expected_false for one in compared], "float32"),
            }
        )
    return maps


def _histograms(products: Sequence[TrendProduct], histograms: Sequence[RateHistogram]) -> list[dict[str, Any]]:
    """Return the histograms with the numbers of their products, in the order of time."""
    number = {product.path: i for i, product in enumerate(products)}
    known = sorted((one for one in histograms if one.path in number), key=lambda one: number[one.path])
    return [
        {
            "product": number[one.path],
            "centre": one.centre,
            "scale": one.scale,
            "low": one.low,
            "high": one.high,
            "counts": _encode(one.counts, "uint32"),
            "above_median": one.above_median,
        }
        for one in known
    ]


def _encode(values: Any, kind: str) -> str:
    """Return numbers in base64, little-endian as every browser of today reads them."""
    return base64.b64encode(np.asarray(values).astype(np.dtype(kind).newbyteorder("<")).tobytes()).decode("ascii")


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _unix_ms(mjd: float) -> float:
    return (mjd - MJD_OF_1970) * DAY_MS


def _sort_key(item: str | float | None) -> tuple[float, str]:
    return (item, "") if isinstance(item, (int, float)) else (-1.0, item or "")
