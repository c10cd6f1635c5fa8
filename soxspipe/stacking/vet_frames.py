"""Vetting of frames: which of them differ from the others of their set, and what that looks like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .frame_monitor import FrameFigures
from .frame_verdicts import FEWEST_TO_EXCLUDE, FrameVerdict, FrameVetting
from .robust import clipped_moments

__all__ = ["judge_conditions", "vet_frames"]

#: Chance of a false warning for each figure of a set.
CHANCE = 1e-5
#: Least ratios to the other frames that are a warning, for differences that are significant but do no harm. Profiles
#: of three or four frames need a larger one: of two frames that agree by chance the third one differs.
BOX_RATIO, PROFILE_RATIO, PROFILE_RATIO_OF_FEW, AMPLIFIER_RATIO, NOISE_RATIO = 1.4, 3.0, 8.0, 2.5, 1.08
#: The same below the noise of the others: a part of the frame is dead.
QUIET_RATIO = 1.15
#: Third largest slope of a box over the frames that is a trend, in errors that a good set may have.
SLOPE_Z = 4.0
#: Ratio of the noise of (frame - median of the others) with all frames to that without one frame.
WITHOUT_ONE = {3: math.sqrt(3 / 4), 4: math.sqrt(1.449 / 1.5)}
#: Error of the noise from differences of neighbours over that from as many pixels; its significance.
NOISE_ERROR, NOISE_SIGMA, MAD_SIGMA = 1.4, 6.0, 1.4826
#: Boxes that give the standard deviation of slopes.
FEWEST_BOXES = 16
#: Part of the structure that a plane explains in a gradient.
GRADIENT_SHARE = 0.6
#: Significance of a shift; part of the pattern that is left in a frame that is shifted further than a pixel.
SHIFT_SIGMA, PATTERN_LEFT = 8.0, 0.2


def vet_frames(names: Sequence[str], figures: FrameFigures, amplifier_levels_e: NDArray[np.float64]) -> FrameVetting:
    """Compare each frame with the others of its set.

    Parameters
    ----------
    names : sequence of str
        Names of the frames, at least three.
    figures : FrameFigures
        Figures of the frames.
    amplifier_levels_e : ndarray, shape (frames, amplifiers), electron
        Level of each frame and amplifier above the mean of all frames.

    Returns
    -------
    FrameVetting

    Notes
    -----
    A frame differs where the mean square of its structure exceeds that of the other frames by more than an F
    distribution allows. The other frames are compared without it: below five frames it would be a part of the median
    of their others (docs/method, section 8).
    """
    deviations = _from_others(figures.box_means)
    total = _from_others(figures.box_means + figures.box_offsets)
    total -= np.median(total, axis=(1, 2), keepdims=True)
    levels = amplifier_levels_e - amplifier_levels_e.mean(axis=1, keepdims=True)
    few = len(names) < FEWEST_TO_EXCLUDE
    profile_ratio = PROFILE_RATIO_OF_FEW if few else PROFILE_RATIO
    structures = [
        _compare(figures.box_means, _local, BOX_RATIO),
        _compare(figures.box_means, _row_profile, profile_ratio),
        _compare(figures.box_means, _column_profile, profile_ratio),
        _compare(levels, np.asarray, AMPLIFIER_RATIO),
    ]
    noise, odd_noise = _compare_noise(figures)
    slope_z, trend, odd = _judge_slopes(figures.box_means, deviations)
    verdicts = []
    for i, name in enumerate(names):
        shift, findings = _judge_shift(figures.correlation, i)
        rms = float(np.sqrt(np.mean(total[i] ** 2)))
        if i == odd or any(ratio[i] > limit[i] for ratio, limit in structures):
            words = trend or _structure_words(total[i])
            findings.append(f"probably has {words}: boxes of 32 x 32 pixels differ from the others by {rms:.3g} e- rms")
        if odd_noise[i]:
            words = "noisier" if noise[i] > 1 else "quieter"
            findings.append(f"is {words}: {noise[i]:.2f} times the noise of the others")
        boxes, rows, columns, amplifiers = (float(ratio[i]) for ratio, _ in structures)
        verdicts.append(
            FrameVerdict(name, rms, boxes, rows, columns, amplifiers, float(noise[i]), shift, findings=tuple(findings))
        )
    return FrameVetting(tuple(verdicts), slope_z, trend)


def judge_conditions(
    vetting: FrameVetting,
    temperatures_k: NDArray[np.float64],
    times_h: NDArray[np.float64],
    widest_k: float,
    longest_d: float,
) -> FrameVetting:
    """Add detector temperature and time of each frame, and name the frames that a set out of range owes its range to.

    Parameters
    ----------
    vetting : FrameVetting
        Verdicts of the frames.
    temperatures_k : ndarray, shape (frames,), kelvin
        Detector temperature; NaN where the header has none.
    times_h : ndarray, shape (frames,), hour
        Start of the exposure.
    widest_k, longest_d : float
        Largest range of the temperatures, kelvin, and largest span of the starts, day.

    Returns
    -------
    FrameVetting
    """
    warmer = _from_typical(temperatures_k)
    later = _from_typical(times_h / 24.0)
    verdicts = []
    for frame, kelvin, days in zip(vetting.frames, warmer, later, strict=True):
        findings = list(frame.findings)
        if _out_of(warmer, widest_k) and abs(kelvin) > widest_k / 2:
            findings.append(f"is {'warmer' if kelvin > 0 else 'colder'} than the others by {abs(kelvin):.1f} K")
        if _out_of(later, longest_d) and abs(days) > longest_d / 2:
            findings.append(f"was taken {abs(days):.0f} days {'after' if days > 0 else 'before'} the others")
        temperature = float(kelvin) if np.isfinite(kelvin) else None
        verdicts.append(replace(frame, temperature_k=temperature, days=float(days), findings=tuple(findings)))
    return replace(vetting, frames=tuple(verdicts))


def _from_typical(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values from their median; of an even number from the lower of the middle two, which is one of them."""
    known = np.sort(values[np.isfinite(values)])
    return values - known[(known.size - 1) // 2] if known.size else values


def _out_of(values: NDArray[np.float64], widest: float) -> bool:
    """Return whether the known values spread by more than so much."""
    known = values[np.isfinite(values)]
    return bool(known.size and np.ptp(known) > widest)


def _from_others(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of shape (frames, ...) from the median of the other frames."""
    order = np.sort(values, axis=0)
    rank = np.argsort(np.argsort(values, axis=0), axis=0)
    middle = ((len(values) - 2) // 2, (len(values) - 1) // 2)
    low, high = (np.take_along_axis(order, place + (place >= rank), axis=0) for place in middle)
    return np.asarray(values - 0.5 * (low + high))


def _local(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return maps without their row and column profiles."""
    rest = maps - maps.mean(axis=2, keepdims=True)
    return np.asarray(rest - rest.mean(axis=1, keepdims=True))


def _row_profile(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    profile = maps.mean(axis=2)
    return np.asarray(profile - profile.mean(axis=1, keepdims=True))


def _column_profile(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    return _row_profile(maps.transpose(0, 2, 1))


def _compare(
    values: NDArray[np.float64], part: Callable[[NDArray[np.float64]], NDArray[np.float64]], least: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rms of a part of each frame's structure over that of the other frames, and the largest good ratio."""
    n_frames = len(values)
    deviations = part(_from_others(values))
    rms = _rms(deviations)
    # the mean of the others is the sum of all without this one
    squares = [each / (n_frames - 1) for each in _squares(deviations)]
    sums = [each.sum(axis=0) for each in squares]
    typical = rms - _from_others(rms)
    ratios, limits = np.full(n_frames, np.nan), np.full(n_frames, np.inf)
    for i in range(n_frames):
        power, variance = (np.maximum(total - each[i], 0) for total, each in zip(sums, squares, strict=True))
        if n_frames < FEWEST_TO_EXCLUDE:  # a frame would be half or a third of the others of the others
            others = part(_from_others(np.delete(values, i, axis=0))) * WITHOUT_ONE[n_frames]
            typical[i] = np.median(_rms(others))
            power, variance = (each.mean(axis=0) for each in _squares(others))
        if typical[i] > 0.0:
            ratios[i] = rms[i] / typical[i]
            limits[i] = max(least, math.sqrt(_largest_ratio(power, variance, n_frames - 2)))
    return ratios, limits


def _rms(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rms of each map."""
    return np.asarray(np.sqrt(np.mean(maps.reshape(len(maps), -1) ** 2, axis=1)))


def _squares(maps: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the power of each mode and the square at each place, of each map."""
    return np.abs(np.fft.fftn(maps, axes=tuple(range(1, maps.ndim)))) ** 2, maps**2


def _largest_ratio(power: NDArray[np.float64], variance: NDArray[np.float64], n_maps: int) -> float:
    """Return the largest ratio of the mean square of a good map to that of so many independent ones.

    Drifts have most of their power in few modes, and glow has most of its noise in few places. A mean square with
    powers P is distributed as one with (sum P)^2 / sum P^2 equal powers (Satterthwaite 1946).

    Parameters
    ----------
    power, variance : ndarray
        Mean power of each mode, and mean square at each place, of these maps.
    n_maps : int
        Number of these maps.
    """
    from scipy.special import fdtri

    if not power.any():
        return math.inf
    # the scatter of measured powers about their mean makes their squares too large
    freedom = [np.sum(p) ** 2 / np.sum(p**2) * (1 + excess / n_maps) for p, excess in ((power, 1), (variance, 2))]
    free = max(min(*freedom, math.prod(size - 1 for size in variance.shape)), 1.0)
    return float(fdtri(free, free * n_maps, 1.0 - CHANCE / (n_maps + 2)))


def _compare_noise(figures: FrameFigures) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the noise of each frame over that of the others, and which are out of range."""
    noise = np.maximum(figures.noise, 1e-3)
    n_frames = noise.size
    error = NOISE_ERROR / math.sqrt(2 * max(figures.noise_samples, 1)) * n_frames / (n_frames - 2)
    ratio, odd = np.empty(n_frames), np.zeros(n_frames, bool)
    for i in range(n_frames):
        others = np.delete(noise, i)
        typical = float(np.median(others))
        ratio[i] = noise[i] / typical
        scatter = MAD_SIGMA * float(np.median(np.abs(others - typical))) / typical if n_frames > 4 else 0.0
        limit = max(NOISE_RATIO, 1 + NOISE_SIGMA * max(error, scatter))
        odd[i] = ratio[i] > limit or ratio[i] < 1 / max(limit, QUIET_RATIO)
    if n_frames < FEWEST_TO_EXCLUDE:  # one noisy frame makes the others look quiet
        odd &= np.arange(n_frames) == np.argmax(np.abs(np.log(ratio)))
    return ratio, odd


def _judge_slopes(boxes: NDArray[np.float64], deviations: NDArray[np.float64]) -> tuple[float, str, int | None]:
    """Return the third largest slope over the frames, what it looks like, and the frame with most of it.

    One odd frame at an end of the set makes slopes too: they must remain without the oddest frame.
    """
    if boxes[0].size < FEWEST_BOXES:
        return math.nan, "", None
    n_frames = len(boxes)
    oddest = int(np.argmax(np.mean(deviations**2, axis=(1, 2))))
    time = np.arange(n_frames) - (n_frames - 1) / 2
    found = []
    for maps in (boxes - np.median(boxes, axis=(1, 2), keepdims=True), _without_medians(boxes)):
        slopes = np.tensordot(time, maps, (0, 0)) / np.sum(time**2)
        rest = maps - maps.mean(axis=0) - np.multiply.outer(time, slopes)
        noise = clipped_moments(rest.ravel())[1] * math.sqrt(n_frames / (n_frames - 2))
        power, variance = (each.mean(axis=0) for each in _squares(rest))
        limit = SLOPE_Z * math.sqrt(_largest_ratio(power, variance, n_frames - 2))
        third, sign = _third_slope(maps, time, noise)
        left, _ = _third_slope(np.delete(maps, oddest, axis=0), np.delete(time, oddest), noise)
        found.append((min(third, left) / limit, third, sign))
    excess, third, sign = max(found)
    if not excess > 1.0:
        return third, "", None
    if sign < 0:
        return third, "persistence fading over the frames", 0
    return third, "glow or a light leak growing over the frames", n_frames - 1


def _third_slope(maps: NDArray[np.float64], time: NDArray[np.floating], noise: float) -> tuple[float, float]:
    """Return the third largest slope of a box over its error, and the sum of the three largest."""
    time = time - time.mean()
    z = np.tensordot(time, maps, (0, 0)).ravel() / (math.sqrt(np.sum(time**2)) * (noise or math.inf))
    largest = z[np.argsort(np.abs(z))[-3:]]
    return abs(float(largest[0])), float(largest.sum())


def _without_medians(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return maps without the medians of their rows and columns, which a structure in few boxes does not shift."""
    rest = maps - np.median(maps, axis=2, keepdims=True)
    return np.asarray(rest - np.median(rest, axis=1, keepdims=True))


def _structure_words(difference: NDArray[np.float64]) -> str:
    """Return what a map of boxes looks like."""
    y, x = (np.linspace(-1, 1, n) for n in difference.shape)
    centred = difference - difference.mean()
    plane = (centred * y[:, np.newaxis]).sum() ** 2 / (np.sum(y**2) * x.size or 1)
    plane += (centred * x).sum() ** 2 / (np.sum(x**2) * y.size or 1)
    if plane > GRADIENT_SHARE * np.sum(centred**2):
        return "a gradient"
    return "a light leak" if np.sum(difference**3) > 0 else "a part that is too low"


def _judge_shift(correlation: NDArray[np.float64], frame: int) -> tuple[tuple[int, int], list[str]]:
    """Return the shift of a frame in rows and columns, and words where it is significant."""
    own = correlation[frame]
    dy, dx = np.unravel_index(int(np.argmax(own)), own.shape)
    if own[dy, dx] - own[1, 1] > SHIFT_SIGMA:
        return (int(dy) - 1, int(dx) - 1), ["is shifted by a pixel against the pattern of the others"]
    typical = float(np.median(np.delete(correlation[:, 1, 1], frame)))
    if own[1, 1] < PATTERN_LEFT * typical and typical - own[1, 1] > 2 * SHIFT_SIGMA:
        return (0, 0), ["is shifted: it does not have the pattern of the others"]
    return (0, 0), []
