"""Checks that the samples of raw frames can come from a detector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FrameError
from ..fits_files.images import FitsImage
from ..fits_files.pixel_reader import PixelReader
from ..instruments.detectors import Window
from ..parallel import row_bands
from ..stacking.frame_stack import sample_starts
from ..text import listed

__all__ = ["SampleChecks", "check_samples", "full_scale_adu"]

#: Pixels of a frame that are looked at, in groups of neighbouring rows; and those that are compared between frames.
SAMPLE_PIXELS, SAMPLE_ROWS, COMPARED_PIXELS = 2**17, 4, 2**10
#: Share of samples at the lowest or highest value from which a frame counts as clipped.
CLIPPED_SHARE = 0.01
#: So many equal samples in a row are constant; share of the frame in such runs from which it is named.
CONSTANT_RUN, CONSTANT_SHARE = 16, 0.05
#: A frame of which a larger share is constant is refused.
MOST_CONSTANT = 0.25
#: So many widths from zero, no noise makes a sample change its sign.
FAR_BELOW = 20.0
#: A level below this belongs to unsigned samples whose BZERO was lost, ADU.
LOST_BZERO_ADU = -(2**14)
#: From fewer levels the step is not measured: a few hot pixels may have a common divisor by chance.
FEWEST_LEVELS = 12
#: Rounding of a sample of four bytes from 0 to 1, as a part of 65535 ADU, is smaller.
SCALED_ADU = 0.01
#: Two frames are copies if the residuals of one from the other scatter less than this part of those from a third
#: frame, or of the pixels of the frame.
COPY_RATIO, COPY_OF_SCATTER = 0.3, 1e-3

#: Words and advice of the warnings, by kind.
_REMEDIES = {
    "clipped": ("samples at the lowest or highest value", "check offset and saturation of the camera"),
    "constant": ("a part of the frame is constant", "check the read-out and the file"),
    "negative": ("negative samples", "check BZERO, and whether high values wrapped around"),
}


@dataclass(frozen=True)
class SampleChecks:
    """Result of the checks.

    Attributes
    ----------
    step_adu : float
        Quantisation step of the samples, ADU; 0 where one frame is continuous.
    warnings : tuple of str
        One line for each kind of oddity, with the frames.
    """

    step_adu: float
    warnings: tuple[str, ...]


def full_scale_adu(image: FitsImage) -> float:
    """Return the highest value that samples of 8 or 16 bits can have; of other samples infinity."""
    if image.bitpix not in (8, 16):
        return np.inf
    stored = (0, 255) if image.bitpix == 8 else (-32768, 32767)
    return max(image.bzero + image.bscale * value for value in stored)


def check_samples(
    reader: PixelReader, names: Sequence[str], window: Window, *, scale_adu: float | None = None, unit: str = "ADU"
) -> SampleChecks:
    """Check the samples of the frames of a set.

    Parameters
    ----------
    reader : PixelReader
        Reader of the frames.
    names : sequence of str
        Their names.
    window : Window
        Light-sensitive part of a frame.
    scale_adu : float, optional
        ADU of a sample of 1, where the table has it for images of floating-point numbers.
    unit : str
        Unit of the samples.

    Returns
    -------
    SampleChecks

    Raises
    ------
    FrameError
        When BZERO of a frame is missing, samples from 0 to 1 have no scale or others have one, or a frame is another
        one but for a constant or a factor: a line for each.
    """
    found: dict[str, list[str]] = {kind: [] for kind in _REMEDIES}
    faults, steps, compared = [], [], []
    for frame, (name, image) in enumerate(zip(names, reader.images, strict=True)):
        sample = _read_sample(reader, frame, window)
        levels, counts = np.unique(sample[np.isfinite(sample)], return_counts=True)
        if levels.size < 2:  # without data, or constant: refused where the noise is measured
            continue
        steps.append(_step(levels, image, scale_adu))
        if image.bitpix < 0 and unit == "ADU":
            faults += [f"{name}: {words}" for words in _misfit_of_scale(levels, scale_adu)]
        ranks = np.searchsorted(counts.cumsum(), counts.sum() * np.array([0.1587, 0.5, 0.8413]))
        low, median, high = levels[ranks].astype(float)
        if image.bitpix in (16, 32) and image.bzero == 0 and median < LOST_BZERO_ADU:
            faults.append(
                f"{name}: its level is {median:.0f} ADU, expected counts of a detector: BZERO is missing: repair its "
                "header, or leave it out"
            )
        differences, constant = _differences(sample), _constant_share(sample)
        for kind, details in (
            ("clipped", _clipped(levels, counts, differences.std() / np.sqrt(2.0))),
            ("constant", [f"{100 * constant:.0f} %"] if CONSTANT_SHARE < constant <= MOST_CONSTANT else []),
            ("negative", _negative(reader, frame, window, median, max(high - low, 1.0) / 2)),
        ):
            found[kind] += [f"{name} ({detail})" for detail in details]
        if constant > MOST_CONSTANT:
            faults.append(
                f"{name}: {100 * constant:.0f} % of the frame is constant, expected noise in every pixel: check the "
                "read-out and the file, or leave it out"
            )
        compared.append((name, differences))
    step = min(steps, default=0.0)
    faults += _copies(compared, step)
    if faults:
        raise FrameError(faults)
    warnings = list(_mixed_types(reader.images, names))
    for (words, remedy), lines in zip(_REMEDIES.values(), found.values(), strict=True):
        warnings += [f"{words}: {listed(lines)}: {remedy}"] if lines else []
    return SampleChecks(step, tuple(warnings))


def _step(levels: NDArray[Any], image: FitsImage, scale_adu: float | None) -> float:
    """Return the largest step of which all levels are multiples, ADU; 0 where they are continuous.

    Some cameras write 12 bits as 16: then it is 16.
    """
    unit, tolerance = (abs(image.bscale), 0.0) if image.bitpix > 0 else (1.0, 0.0 if scale_adu is None else SCALED_ADU)
    if image.bitpix < 0 and (np.abs(levels - np.rint(levels)) > tolerance).any():
        return 0.0
    gaps = np.rint(np.diff(levels.astype(float)) / unit)
    if levels.size < FEWEST_LEVELS or gaps.max() > 2**53:
        return float(unit)
    return float(unit * np.gcd.reduce(gaps.astype(np.int64)))


def _misfit_of_scale(levels: NDArray[Any], scale_adu: float | None) -> Iterator[str]:
    """Yield why floating-point samples do not fit the scale of the instrument table."""
    low, high = float(levels[0]), float(levels[-1])
    if scale_adu is None and low >= 0 and high <= 1:
        yield (
            f"its samples are {low:.4g} to {high:.4g}, expected ADU: give 'scale' in the instrument table (65535 for "
            "16 bits), or BUNIT in the header"
        )
    elif scale_adu is not None and not (low >= 0 and high <= scale_adu * (1 + 1e-6)):
        yield (
            f"its samples are {low / scale_adu:.6g} to {high / scale_adu:.6g}, expected 0 to 1, as the instrument "
            f"table has scale {scale_adu:g}: remove or correct it"
        )


def _mixed_types(images: Sequence[FitsImage], names: Sequence[str]) -> Iterator[str]:
    """Yield a warning that names the frames whose samples are stored in another way than those of most."""
    types = [f"BITPIX {image.bitpix}, BSCALE {image.bscale:g}, BZERO {image.bzero:g}" for image in images]
    usual, count = Counter(types).most_common(1)[0]
    odd = [f"{name} ({found})" for name, found in zip(names, types, strict=True) if found != usual]
    if odd:
        yield f"mixed sample types: {listed(odd)}, expected {usual} as in {count} of {len(names)} frames: check them"


def _read_sample(reader: PixelReader, frame: int, window: Window) -> NDArray[Any]:
    starts = sample_starts(window.shape, SAMPLE_PIXELS, SAMPLE_ROWS) + window.y0
    rows = [reader.read_rows(frame, start, min(start + SAMPLE_ROWS, window.y1)) for start in starts.tolist()]
    return np.concatenate(rows)[:, window.x0 : window.x1]


def _clipped(levels: NDArray[Any], counts: NDArray[np.intp], noise: float) -> Iterator[str]:
    """Yield the share of the lowest and of the highest value, where too many samples have it.

    With noise of about one count, the lowest of few values may be frequent. Then it counts as clipped if it is more
    frequent than the next two allow: the logarithm of a Gaussian is concave.
    """
    if levels.size < 3:
        return
    total = int(counts.sum())
    for word, (edge, second, third) in (("lowest", (0, 1, 2)), ("highest", (-1, -2, -3))):
        gap, next_gap = np.abs(np.diff(levels[[edge, second, third]].astype(float)))
        first, following, after = counts[[edge, second, third]].astype(float)
        piled_up = first * after > following**2 and 2 * first > following and next_gap <= max(1.5 * gap, 1.0)
        is_fine = noise > 1.5 * gap
        if first > CLIPPED_SHARE * total and (piled_up or is_fine):
            yield f"{100 * first / total:.2g} % at the {word}, {levels[edge]:g} ADU"


def _constant_share(sample: NDArray[Any]) -> float:
    """Return the share of a frame in constant runs of pixels; 0 where the rest of it hardly scatters."""
    equal = sample[:, 1:] == sample[:, :-1]
    edges = np.flatnonzero(np.diff(np.pad(equal, ((0, 0), (1, 1))).ravel().astype(np.int8)))
    lengths = edges[1::2] - edges[::2] + 1
    in_runs = lengths[lengths >= CONSTANT_RUN].sum()
    equal_outside = (lengths[lengths < CONSTANT_RUN] - 1).sum() / max(sample.size - in_runs, 1)
    return float(in_runs / sample.size) if equal_outside < 0.5 else 0.0


def _negative(reader: PixelReader, frame: int, window: Window, median: float, width: float) -> Iterator[str]:
    """Yield the level where it is negative, or the number of samples that are negative though the level is not."""
    if reader.images[frame].dtype.kind == "u":
        return
    if median < -FAR_BELOW * width:
        yield f"its level is {median:.0f} ADU"
        return
    limit, count, lowest = 0.0 if median > FAR_BELOW * width else LOST_BZERO_ADU, 0, 0.0
    for start, stop in row_bands([(window.y0, window.y1)], max(1, SAMPLE_PIXELS // window.shape[1])):
        rows = reader.read_rows(frame, start, stop)[:, window.x0 : window.x1]
        count += int(np.count_nonzero(rows < limit))
        lowest = min(lowest, float(np.fmin.reduce(rows, axis=None)))
    if count:
        yield f"{count} samples, down to {lowest:.0f} ADU, at a level of {median:.0f}"


def _differences(sample: NDArray[Any]) -> NDArray[np.float64]:
    """Return differences of near pixels, which no gradient changes, without outliers and their mean."""
    differences = sample[:, 2:].astype(float) - sample[:, :-2]
    few = differences.ravel()[:: max(1, differences.size // COMPARED_PIXELS) | 1]
    few = np.where(np.isfinite(few), few, 0.0)
    low, high = np.percentile(few, [15.87, 84.13])
    if low == high:  # most samples are equal: there is nothing to compare
        return np.zeros_like(few)
    few = np.clip(few, 2.5 * low - 1.5 * high, 2.5 * high - 1.5 * low)
    return few - few.mean()


def _copies(compared: Sequence[tuple[str, NDArray[np.float64]]], step: float) -> list[str]:
    """Return a line for each frame that is another one but for a constant or a factor.

    The residuals of one frame from the line through another scatter by the noise of both, unless one is a copy. With
    noise of less than half a step, only a residual of zero counts.
    """
    lines: list[str] = []
    if not compared:
        return lines
    values = np.array([differences for _, differences in compared])
    variance = np.mean(values**2, axis=1)
    for one, (name, _) in enumerate(compared):
        covariance = values @ values[one] / values.shape[1]
        scatter = np.sqrt(np.maximum(variance[one] - covariance**2 / np.maximum(variance, 1e-30), 0.0))
        scatter[one] = 0.0
        limit = COPY_OF_SCATTER * np.sqrt(variance[one])
        if scatter.max() > step:
            limit = max(limit, COPY_RATIO * scatter.max())
        lines += [
            f"{name} and {other} hold the same pixels but for a constant or a factor: leave one of them out"
            for (other, _), is_copy in zip(compared[one + 1 :], scatter[one + 1 :] < limit, strict=True)
            if is_copy
        ]
    return lines
