"""Figures of the report of a stack: histograms with the noise model, amplifiers, pulls, profiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..stacking.frame_stack import sample_starts
from ..stacking.robust import clipped_moments, nan_medians
from .plots import COLOUR, Figure, brief, histogram, histogram_figure, plot
from .read_product import ProductData, sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["amplifier_figure", "level_histograms", "noise_histogram", "profile_figures", "pull_figure"]

#: Half of the range of a histogram of levels, in standard deviations; highest noise in that of the noise.
REACH, NOISE_REACH = 8.0, 3.0
#: Rows and columns of a block whose median is the surroundings of its pixels: it is narrow, so that it seldom holds the
#: edge of an amplifier. Pixels that are compared with it.
HIGH, WIDE, BLOCK_PIXELS = 32, 4, 2**18
#: Pixels of a histogram, from rows all over the detector: more take longer and show nothing else.
HISTOGRAM_PIXELS = 2**20
#: Points of a profile: more are not seen.
PROFILE_POINTS = 512


def level_histograms(
    product: ProductData, image: NDArray[np.floating[Any]], good: NDArray[np.bool_], error: float
) -> list[Figure]:
    """Return the histograms of the pixel values, and of those above their surroundings with what the errors give.

    Parameters
    ----------
    product : ProductData
        The product.
    image : ndarray, shape (ny, nx)
        Its FLUX.
    good : ndarray of bool, shape (ny, nx)
        Pixels without a code.
    error : float
        Median of their errors.

    Returns
    -------
    list of Figure
    """
    from scipy.special import ndtr

    unit = product.unit("FLUX")
    near, near_good = _above_surroundings(image, good)
    image, good = _thinned(image), _thinned(good)
    mean, std = clipped_moments(sample(image[good]))
    step = float(product.header.get("ESO QC CONAD", 0.0)) / max(product.n_frames, 1)
    edges, counts, all_counts = _both(image, good, mean, std, step)
    outside = 1 - all_counts.sum() / max(np.count_nonzero(np.isfinite(image)), 1)
    centre, width = clipped_moments(near[near_good])
    near_edges, near_counts, near_all = _both(near, near_good, centre, width, step)
    errors_alone, with_fixed_pattern = (
        np.count_nonzero(near_good) * np.diff(ndtr((near_edges - centre) / sigma)) for sigma in (error, width)
    )
    words = (
        f"Histogram of the pixel values: good pixels have the mean {brief(mean, unit)} and the standard deviation "
        f"{brief(std, unit)}.",
        "Several peaks are the levels of amplifiers, the tail of all pixels to the right is that of hot pixels. "
        f"{100 * outside:.2g} % of the pixels lie outside of this plot.",
    )
    near_words = (
        f"Histogram of the pixel values minus the median of their surroundings: the standard deviation is "
        f"{brief(width, unit)}, the median error {brief(error, unit)}.",
        "Solid line: the noise model, by the errors alone. Dashed: with the pattern of single pixels and columns "
        f"added. Good pixels lie between the two or on them. From a sample of {brief(near.size)} pixels.",
    )
    return [
        histogram_figure(
            "level-histogram", "Pixel values", f"value [{unit}]", words, (edges, counts), all_counts=all_counts
        ),
        histogram_figure(
            "residual-histogram",
            "Pixels above their surroundings",
            f"value - local median [{unit}]",
            near_words,
            (near_edges, near_counts),
            all_counts=near_all,
            errors_alone=errors_alone,
            with_fixed_pattern=with_fixed_pattern,
        ),
    ]


def _thinned(plane: NDArray[Any]) -> NDArray[Any]:
    """Return every n-th row of a plane; n is odd, for rows of two parities."""
    return plane[:: max(1, plane.size // HISTOGRAM_PIXELS) | 1]


def _both(
    values: NDArray[Any], good: NDArray[np.bool_], centre: float, width: float, step: float
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Return edges, and counts of good and of all pixels, of a histogram about a centre."""
    if not width > 0:
        centre, width = (centre, 1.0) if math.isfinite(centre) else (0.0, 1.0)
    limits = (centre - REACH * width, centre + REACH * width)
    edges, counts = histogram(values, limits, used=good, step=step)
    return edges, counts, histogram(values, limits, step=step)[1]


def _above_surroundings(
    image: NDArray[np.floating[Any]], good: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return values above the median of the good pixels of their block, and which are good, in rows over an image."""
    ny, nx = image.shape
    rows = np.arange(HIGH)[None] + sample_starts(image.shape, BLOCK_PIXELS, HIGH)[:, None]
    rows = rows[(rows < ny).all(axis=1)]
    columns = nx - nx % WIDE

    def blocks(plane: NDArray[Any]) -> NDArray[Any]:
        parts = plane[rows, :columns].reshape(len(rows), HIGH, columns // WIDE, WIDE)
        return parts.swapaxes(1, 2).reshape(-1, HIGH * WIDE)

    values, is_good = blocks(image), blocks(good)
    medians = nan_medians(np.where(is_good, values, np.float32(np.nan)).astype(np.float32))
    values = values - medians[:, None]
    return values.astype(np.float32), is_good & np.isfinite(values)


def noise_histogram(product: ProductData, noise: NDArray[np.floating[Any]], good: NDArray[np.bool_]) -> Figure | None:
    """Return the histogram of the noise image, with the chi distribution that the read noise gives it.

    Parameters
    ----------
    product : ProductData
        The product.
    noise : ndarray, shape (ny, nx)
        Temporal standard deviation of each pixel.
    good : ndarray of bool, shape (ny, nx)
        Pixels without a code.

    Returns
    -------
    Figure or None
        None where the read noise was not measured.
    """
    from scipy.special import gammainc

    read_noise, dof = product.value("RON RAW"), product.n_frames - 1
    if not read_noise or dof < 1:
        return None
    noise, good = _thinned(noise), _thinned(good)
    edges, counts = histogram(noise, (0.0, NOISE_REACH * read_noise), used=good)
    number = int(np.count_nonzero(np.isfinite(noise) & good))
    amplifiers = [value for _, value in _amplifiers(product)] or [read_noise]
    below = np.mean([gammainc(0.5 * dof, 0.5 * dof * np.square(edges / one)) for one in amplifiers], axis=0)
    outside = 1 - counts.sum() / max(number, 1)
    words = (
        f"Histogram of the noise image of {product.n_frames} frames; the read noise is {brief(read_noise)} electron.",
        f"The line is what {product.n_frames} samples of the measured read noise give. A tail to the right of it is "
        f"that of pixels with more noise or more signal. {100 * outside:.2g} % of them lie outside of this plot.",
    )
    label = "standard deviation over the frames [electron]"
    model = number * np.diff(below)
    return histogram_figure(
        "noise-histogram", "Noise of single pixels", label, words, (edges, counts), noise_model=model
    )


def pull_figure(product: ProductData) -> Figure | None:
    """Return the histogram of the pulls of the halves; None where the product has none."""
    from scipy.special import ndtr

    pulls = product.document.get("histograms", {}).get("pulls")
    if not pulls or not sum(pulls["counts"]):
        return None
    edges = np.linspace(pulls["low"], pulls["high"], len(pulls["counts"]) + 1)
    total, width = sum(pulls["counts"]) + pulls["outside"], product.value("PULL STD")
    words = (
        f"Histogram of the pulls of {brief(total)} pixels; their standard deviation is {brief(width)}.",
        f"The mean of the odd frames minus that of the even frames, over its error. If the errors are right, the "
        f"standard deviation is 1: here it is {brief(width)}. Wider than the line: the errors are too small.",
    )
    model, label = total * np.diff(ndtr(edges)), "difference of the halves / error"
    return histogram_figure("pulls", "Pulls of the halves", label, words, (edges, pulls["counts"]), right_errors=model)


def _amplifiers(product: ProductData) -> list[tuple[int, float]]:
    """Return number and read noise of each amplifier."""
    return [
        (int(one["name"].removeprefix("RON RAW")), one["value"])
        for one in product.qc
        if one["name"].startswith("RON RAW") and one["name"] != "RON RAW" and one["value"] is not None
    ]


def amplifier_figure(product: ProductData) -> Figure | None:
    """Return the read noise by amplifier; None with one amplifier."""
    amplifiers = _amplifiers(product)
    if not amplifiers:
        return None
    numbers, values = zip(*amplifiers, strict=True)
    mean, stated = product.value("RON RAW"), product.header.get("ESO QC RON HEADER")
    noisiest = max(amplifiers, key=lambda one: one[1])

    def draw(axes: Axes) -> None:
        axes.plot(numbers, values, "o", color=COLOUR["first"], markersize=5, label="amplifier")
        axes.axhline(mean, color=COLOUR["second"], linewidth=1.4, label="all")
        if stated:
            axes.axhline(
                stated, color=COLOUR["third"], linestyle="--", linewidth=1.4, label="stated by header or table"
            )

    return Figure(
        "Read noise by amplifier",
        plot("amplifiers", draw, ("amplifier", "read noise [electron]"), legend=True, whole=True),
        f"Read noise of {len(values)} amplifiers, from {brief(min(values))} to {brief(max(values))} electron; "
        f"the noisiest is amplifier {noisiest[0]}.",
        f"Amplifiers are numbered along the raw frame. The noisiest is {noisiest[0]} with {brief(noisiest[1])} "
        "electron. One far above the others is noisy, or its cable picks up interference.",
    )


def profile_figures(product: ProductData, image: NDArray[np.floating[Any]], good: NDArray[np.bool_]) -> list[Figure]:
    """Return the mean profiles along X and Y of the good pixels.

    Parameters
    ----------
    product : ProductData
        The product.
    image : ndarray, shape (ny, nx)
        Its FLUX.
    good : ndarray of bool, shape (ny, nx)
        Pixels without a code.

    Returns
    -------
    list of Figure
    """
    unit = product.unit("FLUX")
    figures = []
    for axis, (along, lines, letter) in enumerate((("columns", "column", "X"), ("rows", "row", "Y"))):
        count = np.count_nonzero(good, axis=axis)
        with np.errstate(invalid="ignore"):  # a line without good pixels
            profile = image.sum(axis=axis, dtype=np.float64, where=good) / count
        size = max(1, math.ceil(profile.size / PROFILE_POINTS))
        places = np.arange(0, profile.size, size)
        with np.errstate(invalid="ignore"):
            points = np.add.reduceat(np.nan_to_num(profile), places) / np.add.reduceat(np.isfinite(profile), places)
        finite = profile[np.isfinite(profile)]
        low, high = np.quantile(finite, (0.002, 0.998)) if finite.size else (0.0, 1.0)
        slope = product.value(f"STRUCT {letter}")

        def draw(axes: Axes, places: Any = places, points: Any = points, low: Any = low, high: Any = high) -> None:
            axes.plot(places + 1, points, color=COLOUR["first"], linewidth=1.0)
            margin = 0.1 * (high - low) or 1.0
            axes.set_ylim(low - margin, high + margin)

        figures.append(
            Figure(
                f"Profile along {letter}",
                plot(f"profile-{letter}", draw, (f"{letter} [pixel]", f"mean of {along} [{unit}]")),
                f"Mean of the good pixels of each {lines}: from {brief(float(low))} to {brief(float(high))} {unit}.",
                f"Mean of the good pixels of each {lines}."
                + (f" Slope: {brief(slope)} {unit} per pixel." if slope is not None else "")
                + " A rise towards an edge is glow; single spikes are bad lines.",
            )
        )
    return figures
