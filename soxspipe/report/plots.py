"""Plots of a report, as SVG whose colours are those of the page."""

from __future__ import annotations

import io
import logging
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOUR", "Figure", "brief", "histogram", "histogram_figure", "plot"]

# a cache of matplotlib that cannot be written is of no interest: its warnings go to handlers that a user has set up
logging.getLogger("matplotlib").addHandler(logging.NullHandler())

#: Colours that stand for those of the page, which depend on its theme: text and axes, grid, and three series.
COLOUR = {"ink": "#010203", "grid": "#010204", "first": "#010205", "second": "#010206", "third": "#010207"}
#: Size of a plot, inch: text is readable at the width of a phone.
SIZE = (4.6, 2.9)
FONT_SIZE = 10.0
#: Bins of a histogram, about; values that are counted at once, so that they stay in the cache.
BINS, CHUNK = 120, 2**17
#: Place of the axes in a plot: left, bottom, width and height.
PLACE = (0.17, 0.17, 0.8, 0.79)


@dataclass(frozen=True)
class Figure:
    """A plot with the words around it.

    Attributes
    ----------
    title : str
        Its title.
    svg : str
        The plot; see `plot`.
    alt : str
        What it shows, for readers who cannot see it.
    caption : str
        How to read it.
    """

    title: str
    svg: str
    alt: str
    caption: str


def brief(value: float | int | bool | None, unit: str = "") -> str:
    """Return a value as a reader wants it: few digits, thousands apart, yes and no."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    words = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f"{words} {unit}".rstrip()


def plot(
    key: str,
    draw: Callable[[Axes], object],
    labels: tuple[str, str],
    *,
    log: bool = False,
    legend: bool = False,
    whole: bool = False,
) -> str:
    """Return a plot as an SVG element without size, to be set into a page.

    Parameters
    ----------
    key : str
        Name of the plot, unique in its page.
    draw : callable
        Draws on axes, with the colours `COLOUR`.
    labels : tuple of str
        Labels of the axes.
    log : bool
        Whether the second axis is logarithmic.
    legend : bool
        Whether to show the labels of what is drawn.
    whole : bool
        Whether the first axis has whole numbers only.

    Returns
    -------
    str
    """
    from matplotlib.figure import Figure as Canvas
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

    figure = Canvas(figsize=SIZE)
    axes = figure.add_axes(PLACE)
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_color(COLOUR["ink"])
        spine.set_visible(side in ("left", "bottom"))
    axes.tick_params(colors=COLOUR["ink"], labelsize=FONT_SIZE - 1)
    axes.grid(axis="y", color=COLOUR["grid"], linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=whole))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    if log:  # a formatter that needs no mathematical text, and no minor ticks: both take long
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.yaxis.set_minor_locator(NullLocator())
    draw(axes)
    axes.set_xlabel(labels[0], color=COLOUR["ink"], fontsize=FONT_SIZE)
    axes.set_ylabel(labels[1], color=COLOUR["ink"], fontsize=FONT_SIZE)
    if legend:
        axes.legend(
            loc="upper center" if log else "best",
            ncols=2,
            fontsize=FONT_SIZE - 1.5,
            labelcolor=COLOUR["ink"],
            framealpha=0.0,
        )
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_ticklabels()  # makes them
    for text in figure.findobj(Text):
        text.set_usetex(False)  # a user may have chosen LaTeX for matplotlib: it is slow, and may be missing
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _for_page(buffer.getvalue(), key)


def _short(value: float) -> str:
    """Return a count in few letters: 20k, 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _for_page(svg: str, key: str) -> str:
    """Return an SVG document as an element for a page: names unique and always the same, colours of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true" focusable="false">', svg
    )
    names: dict[str, str] = {}
    for name in re.findall(r'\bid="([^"]+)"', svg):
        names.setdefault(name, f"{key}-{len(names)}")
    svg = re.sub(r'\bid="([^"]+)"', lambda match: f'id="{names[match[1]]}"', svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', lambda match: f'href="#{names[match[1]]}"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", lambda match: f"url(#{names[match[1]]})", svg)
    for name, colour in COLOUR.items():
        svg = svg.replace(colour, f"var(--{name})")
    return re.sub(r"\n\s*", "\n", svg).strip()


def histogram(
    values: NDArray[Any], limits: tuple[float, float], *, used: NDArray[np.bool_] | None = None, step: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return edges and counts of a histogram.

    Parameters
    ----------
    values : ndarray
        Values; those that are not finite are left out.
    limits : tuple of float
        Its ends; values outside are left out.
    used : ndarray of bool, optional
        Values that count; default: all.
    step : float
        Quantisation step of the values: the width of a bin is a multiple of it, else some bins would have more steps
        than others.

    Returns
    -------
    edges : ndarray, shape (bins + 1,)
    counts : ndarray of int, shape (bins,)
    """
    low, high = limits
    width = (high - low) / BINS
    if step > 0:
        width = math.ceil(width / step) * step
    number = max(1, math.ceil((high - low) / width - 1e-9))
    counts = np.zeros(number, np.intp)
    flat, mask = values.reshape(-1), None if used is None else used.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        chunk = chunk if mask is None else chunk[mask[start : start + CHUNK]]
        place = (chunk - np.float32(low)) * np.float32(1 / width)
        place = place[(place >= 0) & (place < number)]
        counts += np.bincount(place.astype(np.int32), minlength=number)[:number]
    return np.asarray(low + width * np.arange(number + 1), np.float64), counts


def histogram_figure(
    key: str,
    title: str,
    label: str,
    words: tuple[str, str],
    bins: tuple[NDArray[Any], Sequence[int] | NDArray[Any]],
    *,
    all_counts: NDArray[np.intp] | None = None,
    **models: NDArray[Any],
) -> Figure:
    """Return the figure of a histogram of good pixels.

    Parameters
    ----------
    key, title, label : str
        Identifier and title of the figure, and label of the x axis.
    words : tuple of str
        What it shows, and how to read it.
    bins : tuple of (ndarray of shape (bins + 1,), sequence of int of length (bins,))
        Edges and counts of good pixels.
    all_counts : ndarray of shape (bins,), optional
        Counts of all pixels.
    **models : ndarray of shape (bins,)
        Expected counts by their label, as ``right_errors``; the second one is dashed.

    Returns
    -------
    Figure
    """
    edges, counts = bins

    def draw(axes: Axes) -> None:
        axes.stairs(np.asarray(counts, float), edges, color=COLOUR["first"], fill=True, alpha=0.3)
        axes.stairs(np.asarray(counts, float), edges, color=COLOUR["first"], linewidth=1.2, label="good pixels")
        if all_counts is not None:
            axes.stairs(all_counts, edges, color=COLOUR["ink"], linewidth=0.8, label="all pixels")
        for (name, expected), (colour, style) in zip(models.items(), (("second", "-"), ("third", "--")), strict=False):
            axes.plot(
                0.5 * (edges[1:] + edges[:-1]),
                expected,
                style,
                color=COLOUR[colour],
                linewidth=1.6,
                label=name.replace("_", " "),
            )
        # from below one, so that a single pixel shows; with room for a legend above the largest
        axes.set_ylim(0.5, 100.0 * max(1, int(np.max(counts if all_counts is None else all_counts))))

    return Figure(title, plot(key, draw, (label, "pixels"), log=True, legend=True), *words)
