"""The figure of the documentation: time and memory against the number of frames."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.accuracy.figures import OTHER, OURS, THEORY, THIRD

from . import programs
from .promises import Results

#: Ratio of two numbers of frames below which their labels would overlap.
OVERLAP = 1.5
#: Colour, marker and style of each line; this package has a thicker one.
LINES = {
    programs.OURS: (OURS, "o", "-"),
    programs.UPSTREAM: (OTHER, "s", "-"),
    programs.SIRIL: (THIRD, "^", "-"),
    programs.TUNED: (THEORY, "D", "--"),
    "astropy sigma_clip": ("#b07aa1", "v", "--"),
    "IRAF imcombine": ("#8c564b", "P", ":"),
    "Gnuastro sigclip-mean": ("#17a2b8", "X", ":"),
}


def draw(results: Results, folder: Path) -> Path:
    """Draw wall time and peak memory against the number of frames, and return the path of the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for name, (colour, marker, style) in LINES.items():
        points = sorted(
            (int(label), timing.wall, timing.peak_mb)
            for (label, program), timing in results.timings.items()
            if program == name and label.isdigit()
        )
        for axes, column in zip(panels, (1, 2), strict=True):
            if points:
                axes.plot(
                    [point[0] for point in points], [point[column] for point in points], color=colour, marker=marker,
                    linestyle=style, linewidth=2.2 if name == programs.OURS else 1.3, markersize=4.5, label=name,
                )  # fmt: skip
    for axes, label in zip(panels, ("wall time, s", "peak memory, MB"), strict=True):
        axes.set(xscale="log", yscale="log", xlabel="frames of 2048 x 2048", ylabel=label)
        numbers = sorted({int(label) for label, _ in results.timings if label.isdigit()})
        # where two labels would overlap, only the larger number has one
        names = ["" if after < OVERLAP * n else str(n) for n, after in pairwise([*numbers, math.inf])]
        axes.set_xticks(numbers, names)
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.25)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    FigureCanvasAgg(figure)
    path = folder / "performance.png"
    # without the version of matplotlib the same numbers give the same bytes
    figure.savefig(path, dpi=110, metadata={"Software": None})
    return path
