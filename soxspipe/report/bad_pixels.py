"""The bad pixels of a product in a report: map, legend, close-ups of the worst clusters and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pixel_codes import PixelCode
from ..stacking.cosmic_rays import group_labels
from .images import LONGEST_SIDE, ImagePanel, block_means, image_panel, palette_png, scaled_panel

__all__ = ["BadPixels", "CloseUp", "LegendEntry", "describe_bad_pixels"]

#: Colour of each code on the dark ground of the map; a pixel of several codes has the colour of the last one here.
CODE_COLOURS = {
    PixelCode.NO_DATA: "#70757d",
    PixelCode.STATIC: "#aab2bd",
    PixelCode.NONLINEAR: "#f5a3c7",
    PixelCode.NOISY: "#c78bff",
    PixelCode.COLUMN: "#ffd23f",
    PixelCode.HOT: "#ff6b35",
    PixelCode.COLD: "#4aa8ff",
    PixelCode.AMBIGUOUS: "#2ecc8f",
    PixelCode.SATURATED: "#ffffff",
}
PALETTE = bytes(3) + bytes.fromhex("".join(colour[1:] for colour in CODE_COLOURS.values()))
#: Longest side of the map: an image that a browser makes smaller would lose single pixels and columns.
MAP_SIDE = 300
#: Close-ups of clusters and of columns, and the pixels around them.
CLUSTERS, COLUMNS, AROUND = 6, 3, 16
#: Width of the close-up of a cluster, in units of the SVG; ends of its colours, in standard deviations of its pixels.
CLOSE_UP, LIMITS = 130.0, (-3.0, 10.0)
#: Most bad pixels in which clusters are searched; a product with more is bad everywhere.
MOST_PIXELS = 2**20


@dataclass(frozen=True)
class LegendEntry:
    """A code in the legend: its colour, label, description, number of pixels and their share."""

    colour: str
    code: int
    label: str
    description: str
    number: int
    share: float


@dataclass(frozen=True)
class CloseUp:
    """A part of the detector: what it shows in words, and its pixels and codes as images."""

    title: str
    image: ImagePanel
    codes: ImagePanel


@dataclass(frozen=True)
class BadPixels:
    """The bad pixels of a product, for the template."""

    total: int
    share: float
    legend: Sequence[LegendEntry]
    map: ImagePanel
    clusters: Sequence[CloseUp]
    columns: Sequence[CloseUp]


def describe_bad_pixels(image: NDArray[Any], codes: NDArray[np.integer[Any]], unit: str) -> BadPixels:
    """Return map, legend and close-ups of the bad pixels.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        The product.
    codes : ndarray of int, shape (ny, nx)
        Its pixel codes.
    unit : str
        Unit of the product.

    Returns
    -------
    BadPixels
    """
    shape = codes.shape
    bad = np.flatnonzero(codes)
    values = codes.reshape(-1)[bad].astype(np.int64)  # 16 bits are too few for some codes
    colours = np.zeros(bad.size, np.uint8)
    legend = []
    for number, (code, colour) in enumerate(CODE_COLOURS.items(), 1):
        has_code = values & code.value != 0
        colours[has_code] = number
        count = int(np.count_nonzero(has_code))
        legend.append(LegendEntry(colour, code.value, code.label, code.description, count, count / codes.size))
    index = np.zeros(shape, np.uint8)
    index.reshape(-1)[bad] = colours
    return BadPixels(
        total=bad.size,
        share=bad.size / codes.size,
        legend=[entry for entry in reversed(legend) if entry.number],
        map=image_panel(palette_png(_largest(index, bad), PALETTE), shape),
        clusters=_clusters(image, index, bad[values & PixelCode.COLUMN.value == 0], unit),
        columns=_columns(image, index, bad[values & PixelCode.COLUMN.value != 0], unit),
    )


def _largest(index: NDArray[np.uint8], bad: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return the largest number of each block, so that a single bad pixel shows in the map."""
    size = max(1, math.ceil(max(index.shape) / MAP_SIDE))
    y, x = np.divmod(bad, index.shape[1])
    order = np.argsort(index[y, x], kind="stable")
    result = np.zeros([-(-side // size) for side in index.shape], np.uint8)
    result[y[order] // size, x[order] // size] = index[y[order], x[order]]
    return result


def _clusters(image: NDArray[Any], index: NDArray[np.uint8], bad: NDArray[np.intp], unit: str) -> list[CloseUp]:
    """Return close-ups of the largest groups of bad pixels that touch each other."""
    if not 0 < bad.size <= MOST_PIXELS:
        return []
    labels = group_labels(bad, index.shape)
    sizes = np.bincount(labels)
    found = []
    for label in np.argsort(-sizes, kind="stable")[:CLUSTERS]:
        if sizes[label] < 2:
            break
        y, x = np.divmod(bad[labels == label], index.shape[1])
        middle_y, middle_x = (int(place.min() + place.max()) // 2 for place in (y, x))
        title = f"{sizes[label]} touching bad pixels at X {middle_x + 1}, Y {middle_y + 1}"
        rows, columns = (
            slice(max(0, min(middle - AROUND, side - 2 * AROUND)), min(side, max(middle + AROUND, 2 * AROUND)))
            for middle, side in zip((middle_y, middle_x), index.shape, strict=True)
        )
        found.append(_close_up(title, image, index, rows, columns, unit))
    return found


def _columns(image: NDArray[Any], index: NDArray[np.uint8], places: NDArray[np.intp], unit: str) -> list[CloseUp]:
    """Return close-ups of the columns with most pixels of the code of bad columns, turned by 90 degrees."""
    number = np.bincount(places % index.shape[1], minlength=index.shape[1])
    found = []
    for column in np.argsort(-number, kind="stable")[:COLUMNS]:
        if not number[column]:
            break
        columns = slice(max(0, column - AROUND // 2), min(index.shape[1], column + AROUND // 2 + 1))
        title = f"Column X {column + 1}: {number[column]} of its {index.shape[0]} pixels have the code of bad columns"
        found.append(_close_up(title, image, index, slice(0, index.shape[0]), columns, unit, turned=True))
    return found


def _close_up(
    title: str,
    image: NDArray[Any],
    index: NDArray[np.uint8],
    rows: slice,
    columns: slice,
    unit: str,
    turned: bool = False,
) -> CloseUp:
    """Return a close-up; turned, Y runs to the right, and along it pixels are averaged where there are many."""
    part, codes = image[rows, columns], index[rows, columns]
    origin, labels = (rows.start, columns.start), ("X", "Y")
    if turned:
        part, codes, origin, labels = part.T, codes.T, origin[::-1], ("Y", "X")
    shape = part.shape
    size = max(1, math.ceil(shape[1] / LONGEST_SIDE))
    finite = part[np.isfinite(part)]
    low, middle, high = np.quantile(finite, (0.16, 0.5, 0.84)).tolist() if finite.size else (0.0, 0.5, 1.0)
    width = 0.5 * (high - low) or 1.0
    limits = (middle + LIMITS[0] * width, middle + LIMITS[1] * width)
    shown = block_means(part, 1, size) if size > 1 else part
    facts: dict[str, Any] = {"labels": labels, "stretch": turned} | ({} if turned else {"width": CLOSE_UP})
    return CloseUp(
        title,
        scaled_panel(shown, shape, origin, unit=unit, limits=limits, **facts),
        image_panel(palette_png(_strip(codes, size), PALETTE), shape, origin, **facts),
    )


def _strip(codes: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the largest number of each block of so many pixels of a row."""
    padded = np.pad(codes, ((0, 0), (0, -codes.shape[1] % size)))
    largest: NDArray[np.uint8] = padded.reshape(len(codes), -1, size).max(axis=2)
    return largest
