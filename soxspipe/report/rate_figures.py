"""Figures of the report of a dark-rate map: levels of the masters against exposure, and chi-square."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .plots import COLOUR, Figure, brief, histogram, histogram_figure, plot
from .read_product import ProductData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["chi2_histogram", "linearity_figures"]


def linearity_figures(product: ProductData) -> list[Figure]:
    """Return the levels of the masters against their exposure, and their distances from the line."""
    masters = product.document.get("masters", ())
    if not masters:
        return []
    time, level, error, residual = (
        np.array([master[key] for master in masters])
        for key in ("exposure_s", "level_e", "level_error_e", "residual_e")
    )
    rate, rate_error = product.value("DARK RATE"), product.value("DARK RATE ERR")
    worst = int(np.argmax(np.abs(residual / error)))
    farthest = f"{masters[worst]['name']} is furthest from the line: {residual[worst]:+.3g} electron, or "
    farthest += f"{abs(residual[worst] / error[worst]):.1f} errors."

    def draw_levels(axes: Axes) -> None:
        order = np.argsort(time)
        axes.plot(time[order], (level - residual)[order], color=COLOUR["second"], linewidth=1.4, label="fit")
        axes.errorbar(time, level, error, fmt="o", color=COLOUR["first"], markersize=5, capsize=3, label="masters")

    def draw_residuals(axes: Axes) -> None:
        axes.axhline(0.0, color=COLOUR["second"], linewidth=1.4)
        axes.errorbar(time, residual, error, fmt="o", color=COLOUR["first"], markersize=5, capsize=3)
        axes.margins(y=0.2)

    return [
        Figure(
            "Linearity of the level",
            plot("linearity", draw_levels, ("exposure [s]", "level [electron]"), legend=True),
            f"Level of {len(masters)} master darks against exposure, with the fitted line.",
            f"The slope is the dark current of the detector: {brief(rate)} ± {brief(rate_error)} electron/s.",
        ),
        Figure(
            "Distance from the line",
            plot("linearity-residual", draw_residuals, ("exposure [s]", "level - line [electron]")),
            f"Level of each master minus the line. {farthest}",
            f"{farthest} Distances of about one error are expected.",
        ),
    ]


def chi2_histogram(product: ProductData, chi2: NDArray[np.floating[Any]], good: NDArray[np.bool_]) -> Figure | None:
    """Return the histogram of the reduced chi-square of the pixels; None with two masters, which have none."""
    from scipy.special import chdtr

    dof = (product.value("MASTERS") or 0) - 2
    number = int(np.count_nonzero(np.isfinite(chi2) & good))
    if not number or dof < 1:
        return None
    edges, counts = histogram(chi2, (0.0, 3.0 + 12.0 / dof), used=good)
    median = product.value("CHI2 MEDIAN")
    words = (
        f"Histogram of the reduced chi-square of {brief(number)} pixels; the median is {brief(median)}.",
        "Pixels that follow a line follow the curve. A histogram that is wider than it has errors that are too small, "
        "or pixels that are not linear.",
    )
    model, label = number * np.diff(chdtr(dof, edges * dof)), "reduced chi-square"
    return histogram_figure("chi2", "Chi-square of the pixels", label, words, (edges, counts), right_errors=model)
