"""The figures of the documentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import norm

from .measures import AMPLITUDE_EDGES, PULL_EDGES, Measures
from .numbers import OUTLIER_SIGMA
from .promises import Results

#: Colours that differ in lightness too, for grey prints and colour-blind readers.
OURS, OTHER, THIRD, THEORY = "#1b4f9c", "#d95f02", "#7a9a01", "#888888"
#: Scenes of the first two figures.
COMPLETENESS_SCENE, PULL_SCENE = "NIR, N=5, faint hot", "NIR, N=5"


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw all figures and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        "accuracy_completeness.png": _completeness(results),
        "accuracy_pulls.png": _pulls(results),
        "accuracy_clipping.png": _clipping(results),
    }
    for name, figure in made.items():
        FigureCanvasAgg(figure)
        # without the version of matplotlib the same numbers give the same bytes
        figure.savefig(folder / name, dpi=110, metadata={"Software": None})
    return [folder / name for name in made]


def _rows(results: Results, scene: str) -> dict[str, Measures]:
    return {row.by: row for row in results.rows if row.scene == scene}


def _completeness(results: Results) -> Figure:
    """Draw the share of hot pixels found against their amplitude."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    centres = 0.5 * (AMPLITUDE_EDGES[1:] + AMPLITUDE_EDGES[:-1])
    rows = _rows(results, COMPLETENESS_SCENE)
    lines = (
        ("soxspipe", OURS, "o", "soxspipe: local level, 5 errors"),
        ("ccdproc", OTHER, "s", "global median + 5 MAD"),
    )
    for by, colour, marker, label in lines:
        found, hot = rows[by].found_histogram, np.maximum(rows[by].hot_histogram, 1)
        share = found / hot
        error = np.sqrt(np.maximum(share * (1 - share), 0.25 / hot) / hot)
        false = rows[by].per_million(rows[by].false_hot)
        axes.errorbar(
            centres, share, error, color=colour, marker=marker, markersize=4.5, linewidth=1.4,
            label=f"{label} ({false:.0f} false per million)",
        )  # fmt: skip
    fine = np.linspace(AMPLITUDE_EDGES[0], AMPLITUDE_EDGES[-1], 200)
    axes.plot(fine, norm.cdf(fine - 5), color=THEORY, linestyle="--", linewidth=1.2, label="Gaussian noise, 5 sigma")
    axes.set(
        xlabel="excess of the hot pixel, sigmas of the master",
        ylabel="share found",
        title=f"Hot pixels found ({COMPLETENESS_SCENE.replace('faint hot', 'glow, channels, drifting rows')})",
        xlim=(AMPLITUDE_EDGES[0], AMPLITUDE_EDGES[-1]),
        ylim=(-0.02, 1.04),
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.64), framealpha=1)
    return figure


def _pulls(results: Results) -> Figure:
    """Draw the distribution of (value - truth) / error."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    width = PULL_EDGES[1] - PULL_EDGES[0]
    rows = _rows(results, PULL_SCENE)
    for by, colour, label in (
        ("soxspipe", OURS, "soxspipe: noise model"),
        ("ccdproc", OTHER, "scatter of the samples kept / √n (ccdproc)"),
    ):
        counts = rows[by].pull_histogram
        axes.stairs(counts / counts.sum() / width, PULL_EDGES, baseline=None, color=colour, linewidth=1.5, label=label)
    fine = np.linspace(PULL_EDGES[0], PULL_EDGES[-1], 400)
    axes.plot(fine, norm.pdf(fine), color="black", linestyle="--", linewidth=1.1, label="unit Gaussian")
    axes.set(
        yscale="log",
        xlabel="(value - truth) / error",
        ylabel="density",
        title=f"Pulls of the good pixels ({PULL_SCENE})",
        xlim=(PULL_EDGES[0], PULL_EDGES[-1]),
        ylim=(2e-7, 1),
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="lower center", framealpha=1)
    return figure


def _clipping(results: Results) -> Figure:
    """Draw the share of single outliers that each clip rejects."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    panels = figure.subplots(1, len(results.clipping), sharey=True)
    lines = (
        ("noise-model", OURS, "-", "noise model"),
        ("mad", THIRD, "--", "MAD of the samples"),
        ("std", OTHER, "-.", "scatter of the samples"),
    )
    for axes, (n, curves) in zip(panels, results.clipping.items(), strict=True):
        for scale, colour, style, label in lines:
            axes.plot(OUTLIER_SIGMA, curves[scale], color=colour, linestyle=style, linewidth=1.7, label=label)
        axes.set(title=f"{n} frames", xlabel="amplitude of the outlier, read noises", xlim=(2, 20), ylim=(-0.03, 1.03))
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("share rejected, clip at 5 sigma")
    panels[-1].legend(loc="center right", framealpha=1, fontsize="small")
    return figure
