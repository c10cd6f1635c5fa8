"""Figures of the raw frames of a report: each frame against time, and its outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from .plots import COLOUR, Figure, brief, plot
from .read_product import ProductData

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["frame_figures", "odd_frames"]

#: Ratios of the structure of a frame to that of the others.
STRUCTURE = ("box_ratio", "row_ratio", "column_ratio", "amplifier_ratio")


@dataclass(frozen=True)
class _Timeline:
    """A plot of the frames against time: its series are the largest of some figures of each frame, by name."""

    title: str
    key: str
    label: str
    series: Mapping[str, tuple[str, ...]]
    alt: str
    caption: str
    expected: float | None = None


def odd_frames(product: ProductData) -> list[tuple[int, Any]]:
    """Return number, from 1, and record of each frame that differs from the others."""
    return [(i, frame) for i, frame in enumerate(product.frames, 1) if frame.get("findings")]


def frame_figures(product: ProductData) -> list[Figure]:
    """Return level, noise and structure of each frame against time, and its outliers.

    Parameters
    ----------
    product : ProductData
        The product.

    Returns
    -------
    list of Figure
        Those for which ``_qc.json`` has the figures.
    """
    if not product.frames or "start" not in product.frames[0]:
        return []
    hours = _hours([frame["start"] for frame in product.frames])
    odd = [i - 1 for i, _ in odd_frames(product)]
    words = f"frames {', '.join(str(i + 1) for i in odd)} differ from the others" if odd else "no frame is odd"
    scatter, read_noise = product.value("LEVEL SCATTER"), product.value("RON RAW")
    timelines = [
        _Timeline(
            "Level of each frame", "frame-level", "mean level [electron]", {"level": ("level_e",)},
            f"Mean level of each frame against time: the scatter is {brief(scatter)} electron; {words}.",
            "A level that rises or falls steadily shows a detector that is settling, light, or fading persistence.",
        ),
        _Timeline(
            "Noise of each frame", "frame-noise", "noise [electron]",
            {"noise": ("noise_e",), "with the fixed pattern": ("scatter_e",)},
            f"Noise of each frame against time; the read noise of all is {brief(read_noise)} electron; {words}.",
            "Filled: noise of neighbouring pixels over the frames. Open: scatter of all pixels of the frame, which "
            "holds the fixed pattern too. A frame above the others is noisier.",
        ),
        _Timeline(
            "Normalised residual of each frame", "frame-residual", "residual / that of the others",
            {"structure": STRUCTURE, "noise": ("noise_ratio",)},
            f"Residual of each frame from the median of the others, over that of the other frames: {words}.",
            "Each frame minus the median of the others. Structure: the largest of the ratios "
            "of boxes of 32 x 32 pixels, rows, columns and amplifiers. Noise: from pixel to pixel. Ratios scatter "
            "about 1; only a ring marks a difference that is significant.",
            expected=1.0,
        ),
    ]  # fmt: skip
    figures = [_against_time(product, hours, odd, timeline) for timeline in timelines]
    return [figure for figure in [*figures, _outliers(product, odd)] if figure is not None]


def _hours(starts: Sequence[str]) -> list[float]:
    """Return times in hours from the first one."""
    times = [datetime.fromisoformat(start) for start in starts]
    return [(time - min(times)).total_seconds() / 3600 for time in times]


def _against_time(
    product: ProductData, hours: Sequence[float], odd: Sequence[int], timeline: _Timeline
) -> Figure | None:
    """Return a plot of figures of the frames against time; None where no frame has them."""
    columns = {
        name: np.array([max(frame.get(key) or np.nan for key in keys) for frame in product.frames])
        for name, keys in timeline.series.items()
    }
    columns = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    if not columns:
        return None

    def draw(axes: Axes) -> None:
        markers = (("o", "full", "first"), ("s", "none", "third"))
        for (name, values), (marker, fill, colour) in zip(columns.items(), markers, strict=False):
            axes.plot(hours, values, marker, color=COLOUR[colour], label=name, fillstyle=fill, markersize=5.5)
            if colour == "first":
                for i in odd:
                    place = (hours[i], values[i])
                    axes.plot(*place, marker="o", markersize=13, fillstyle="none", color=COLOUR["second"])
                    axes.annotate(
                        str(i + 1), place, (8, 6), textcoords="offset points", color=COLOUR["second"], fontsize=10
                    )
        if timeline.expected is not None:
            axes.axhline(timeline.expected, color=COLOUR["ink"], linewidth=0.8, linestyle=":")
        axes.margins(y=0.2)

    labels = (f"hours since {product.frames[0]['start'][:19]} UTC", timeline.label)
    svg = plot(timeline.key, draw, labels, legend=len(columns) > 1)
    rings = " Rings mark the frames that differ." if odd and timeline.expected is None else ""
    return Figure(timeline.title, svg, timeline.alt, timeline.caption + rings)


def _outliers(product: ProductData, odd: Sequence[int]) -> Figure | None:
    """Return the rejected samples of each frame; None where they were not counted."""
    clipped = np.array([frame.get("rejected") or 0 for frame in product.frames])
    beside = np.array([frame.get("rejected_beside") or 0 for frame in product.frames])
    if not any("rejected" in frame for frame in product.frames):
        return None
    numbers = np.arange(1, clipped.size + 1)
    most = int(np.argmax(clipped + beside))

    def draw(axes: Axes) -> None:
        axes.bar(numbers, clipped, 0.7, color=COLOUR["first"], label="rejected by the clip")
        axes.bar(numbers, beside, 0.7, bottom=clipped, color=COLOUR["third"], alpha=0.7, label="beside these")
        for i in odd:
            axes.annotate("odd", (i + 1, clipped[i] + beside[i]), ha="center", va="bottom", color=COLOUR["second"])
        axes.margins(y=0.25)

    return Figure(
        "Outliers by frame",
        plot("outliers", draw, ("frame", "rejected samples"), legend=True, whole=True),
        f"Rejected samples of each of {clipped.size} frames: most, {brief(int((clipped + beside)[most]))}, in frame "
        f"{most + 1}.",
        "Samples that were left out of the mean: cosmic rays, and what differs in one frame. A frame with many more "
        "than the others is odd.",
    )
