"""Verify a master: subtract it from raw frames, and judge the residuals in each amplifier."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FrameError
from ..pixel_codes import PixelCode
from ..stacking.parameters import with_keywords
from ..stacking.robust import CLIP_VARIANCE, clipped_moments
from .boxes import (
    ExpectedStructure,
    Structure,
    box_medians,
    correlated_freedom,
    expected_structure,
    largest_box_rms,
    measure_structure,
)
from .master_images import MasterImages
from .parameters import VerifyParameters
from .verdicts import Check, Verification, VerifiedFrame

__all__ = ["FrameToVerify", "verify_frames"]

_Image = NDArray[np.float32]

#: Side of the boxes, as that of ``RON CORR``, pixels.
BOX = 10
#: Pixels further from the median of their box are outliers, sigma.
OUTLIER_SIGMA = 5.0
#: Errors of the noise that are tolerated beside its limit.
NOISE_ERRORS = 4.0
#: Hot pixels that are compared: so many, and so many noises above their amplifier.
FEWEST_HOT, HOT_NOISES = 30, 10.0
#: Most of the variance that rows may share.
MOST_SHARED = 0.9


@dataclass(frozen=True)
class FrameToVerify:
    """A raw frame, prepared as the frames of the master were.

    Attributes
    ----------
    name : str
        Its name.
    pixels_e : ndarray of float32, shape (ny, nx), electron
        Its pixels in raw orientation; NaN where there is no data, or the sample is saturated.
    in_master : bool
        Whether it is one of the frames of the master.
    level_drifts : bool
        Whether its pedestal may differ from that of the master: no overscan was subtracted.
    overscan_noise_e : float or None
        Standard deviation of its overscan samples, electron.
    overscan_samples : int
        Number of these.
    temperature_k : float or None
        Detector temperature.
    """

    name: str
    pixels_e: _Image = field(repr=False)
    in_master: bool = False
    level_drifts: bool = False
    overscan_noise_e: float | None = None
    overscan_samples: int = 0
    temperature_k: float | None = None


def verify_frames(
    master: MasterImages, frames: Iterable[FrameToVerify], limits: VerifyParameters | None = None, **keywords: Any
) -> Verification:
    """Subtract a master from raw frames, and judge the residuals in each amplifier.

    Parameters
    ----------
    master : MasterImages
        The master.
    frames : iterable of FrameToVerify
        The frames; one after the other is held in memory.
    limits : VerifyParameters, optional
        Limits of the criteria; default: as the keywords.
    **keywords
        Single limits; see `VerifyParameters`.

    Returns
    -------
    Verification

    Raises
    ------
    FrameError
        When a frame has another shape than the master, or no pixel of it can be compared.

    Notes
    -----
    Pixels with a code are left out. What is left of a frame that did not make the master has the variance of a sample
    times 1 + 1/n, of one that did 1 - 1/n, with n samples in the pixel. The criteria are those of LSST's cp_verify
    (DMTN-101), with limits that few pixels or correlated noise widen (docs/verify).
    """
    limits = with_keywords(VerifyParameters, limits, keywords)
    reference = _Reference(master, limits)
    verified, structures, others = list[VerifiedFrame](), list[Structure](), _Mean(master)
    for frame in frames:
        if frame.pixels_e.shape != master.shape:
            sizes = [f"{nx} x {ny}" for ny, nx in (frame.pixels_e.shape, master.shape)]
            raise FrameError(f"{frame.name}: {sizes[0]} pixels, expected {sizes[1]} as in {master.name}")
        judged, z = reference.judge(frame, others)
        verified.append(judged)
        structures.append(measure_structure(z, master.regions, BOX))
    expected = expected_structure(structures, master.correlation)
    if others.n_frames > 1:
        judged, z = reference.judge_mean(others)
        verified.append(judged)
        structures.append(measure_structure(z, master.regions, BOX))
    return Verification(
        tuple(
            replace(frame, checks=(*frame.checks, *reference.structure_checks(structure, expected)))
            for frame, structure in zip(verified, structures, strict=True)
        )
    )


class _Mean:
    """The mean residual of the frames that did not make the master."""

    def __init__(self, master: MasterImages) -> None:
        self.n_frames = 0
        self._sum, self.count = np.zeros(master.shape, np.float32), np.zeros(master.shape, np.float32)

    def add(self, residual: _Image) -> None:
        """Add the residuals of a frame; pixels without data do not count."""
        known = np.isfinite(residual)
        self._sum[known] += residual[known]
        self.count += known
        self.n_frames += 1

    @property
    def value(self) -> _Image:
        """The mean; NaN in pixels that no frame has."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: _Image = self._sum / self.count
        return mean


class _Reference:
    """What the frames are compared with."""

    def __init__(self, master: MasterImages, limits: VerifyParameters) -> None:
        self._master, self._limits = master, limits
        self._good = (master.codes == 0) & np.isfinite(master.values_e) & np.isfinite(master.sample_variance)
        self._read_noise = master.amplifier_noise_e
        ny, nx = master.shape
        # the share of the variance that the pixels of a row have in common
        shared = (master.row_correlation**2 - 1) / (nx - 1)
        self._shared = min(max(shared, 0.0), MOST_SHARED)
        # the noise that rows share differs from frame to frame, and among the few frames that gave that of the master
        free = correlated_freedom(10**9, 1e9, ny)
        self._row_error = self._shared * math.sqrt(0.5 / free * (1 + 1 / max(master.n_frames - 1, 1)))
        self._hot = self._hot_pixels()

    def _hot_pixels(self) -> tuple[NDArray[np.intp], _Image]:
        """Return the hot pixels far above the noise of a frame, and their excess."""
        master, hot = self._master, int(PixelCode.HOT)
        pixels, excess = [], []
        index = np.arange(master.values_e.size).reshape(master.shape)
        for region in master.regions:
            known = self._good[region]
            level = np.median(master.values_e[region][known]) if known.any() else np.nan
            above = master.values_e[region] - level
            bright = (master.codes[region] == hot) & (above > HOT_NOISES * np.sqrt(master.sample_variance[region]))
            pixels.append(index[region][bright])
            excess.append(above[bright])
        return np.concatenate(pixels), np.concatenate(excess)

    def judge(self, frame: FrameToVerify, others: _Mean) -> tuple[VerifiedFrame, _Image]:
        """Judge one frame without its structure, and add its residuals to those of the others.

        Also return the residuals above the level of each amplifier over their errors, without outliers.
        """
        master, limits = self._master, self._limits
        sign, one = np.float32(-1.0 if frame.in_master else 1.0), np.float32(1)
        count = master.count.astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            sigma: _Image = np.sqrt(master.sample_variance * (one + sign / count))
        left = frame.pixels_e - master.values_e
        hot = self._hot_check(left)
        left[~(self._good & (sigma > 0))] = np.nan
        levels = np.array([clipped_moments(left[region])[0] for region in master.regions])
        if not np.isfinite(levels).any():
            raise FrameError(f"{frame.name}: no pixel can be compared with {master.name}: leave this frame out")
        # before the division by errors that differ from pixel to pixel: a level would become structure
        left -= self._amplifier_image(levels)
        whole = left / sigma
        z, outliers = _without_outliers(whole, master)
        common = float(np.nanmedian(levels)) if frame.level_drifts else 0.0
        checks, noises = [], []
        for i, region in enumerate(master.regions):
            if not self._good[region].any():
                noises.append(math.nan)
                continue
            noise = self._noise_checks(i, z[region], whole[region], outliers[region])
            checks.append(self._level_check(i, float(levels[i] - common)))
            checks += noise
            noises.append(noise[0].value)
        if frame.level_drifts:
            reach = limits.level * float(np.mean(self._read_noise)) + limits.level_drift
            checks.append(Check("drift", None, common, -reach, reach, "electron"))
        checks += [*hot, *self._frame_checks(frame)]
        if not frame.in_master:
            others.add(np.where(np.isfinite(z), left, np.float32(np.nan)))
        pull = clipped_moments(z)[1] / math.sqrt(CLIP_VARIANCE)
        noise_e = float(np.sqrt(np.nanmean(np.square(np.array(noises) * self._read_noise))))
        return VerifiedFrame(frame.name, frame.in_master, pull, noise_e, tuple(checks)), z

    def judge_mean(self, others: _Mean) -> tuple[VerifiedFrame, _Image]:
        """Return the mean of several frames as `judge` does: less structure is hidden by noise in it."""
        master = self._master
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.sqrt(np.float32(1) / others.count + np.float32(1) / master.count.astype(np.float32))
        z, _ = _without_outliers(others.value / (np.sqrt(master.sample_variance) * scale), master)
        pull = clipped_moments(z)[1] / math.sqrt(CLIP_VARIANCE)
        noise_e = float(np.sqrt(np.mean(np.square(self._read_noise)) / others.n_frames)) * pull
        return VerifiedFrame(f"mean of {others.n_frames} frames", False, pull, noise_e, ()), z

    def _amplifier_image(self, levels: NDArray[np.float64]) -> _Image:
        image = np.zeros(self._master.shape, np.float32)
        for level, region in zip(levels, self._master.regions, strict=True):
            image[region] = level
        return image

    def _number(self, i: int) -> int | None:
        return i + 1 if len(self._master.regions) > 1 else None

    def _level_check(self, i: int, level: float) -> Check:
        reach = self._limits.level * float(self._read_noise[i])
        return Check("level", self._number(i), level, -reach, reach, "electron")

    def _noise_checks(self, i: int, z: _Image, with_rays: _Image, outliers: NDArray[np.bool_]) -> list[Check]:
        """Compare the noise of an amplifier with that of the master, with and without cosmic rays."""
        limits = self._limits
        known, n_outliers = max(int(np.count_nonzero(np.isfinite(z))), 1), int(np.count_nonzero(outliers))
        noise = clipped_moments(z)[1] / math.sqrt(CLIP_VARIANCE)
        before = clipped_moments(with_rays, sigma=OUTLIER_SIGMA)[1]
        error = math.sqrt(0.5 / known + self._row_error**2)
        reach = limits.noise + NOISE_ERRORS * error
        share = n_outliers / (known + n_outliers)
        rays = before / noise - 1 if noise > 0 else math.nan
        reach_of_rays = limits.cosmic_rays + NOISE_ERRORS * math.sqrt(0.5 / known)
        return [
            Check("noise", self._number(i), noise, 1 - reach, 1 + reach),
            Check("cosmic rays", self._number(i), rays, -reach_of_rays, reach_of_rays),
            Check("outliers", self._number(i), share, None, limits.outliers),
        ]

    def structure_checks(self, structure: Structure, expected: ExpectedStructure) -> Iterator[Check]:
        """Compare rows, and the means of boxes of each amplifier, with what is expected of good frames."""
        from scipy.special import stdtrit

        limits, total = self._limits, structure.n_boxes
        chance = limits.false_per_million * 1e-6
        if not total:
            return
        free = correlated_freedom(total, expected.total, structure.n_block_rows)
        high = largest_box_rms(expected.total, free, free, chance)
        yield Check("rows", None, structure.rows, None, max(high, limits.structure * expected.total))
        for i, one in enumerate(structure.boxes):
            if one.z.size:
                high = largest_box_rms(expected.local, one.z.size, total, chance)
                yield Check("structure", self._number(i), one.rms, None, max(high, limits.structure * expected.local))
        worst, y, x = structure.worst
        own = min(max(structure.width, 1.0), expected.local)
        reach = -float(stdtrit(total, 0.5 * chance / total)) * limits.structure * own
        column, row = self._master.position(y, x)
        yield Check("worst box", None, worst, -reach, reach, "", column, row)

    def _hot_check(self, left: _Image) -> list[Check]:
        """Compare the hot pixels: a shifted or warmer frame, or one of another exposure, does not have the same."""
        pixels, excess = self._hot
        ratio = left.ravel()[pixels] / excess
        ratio = ratio[np.isfinite(ratio)]
        if ratio.size < FEWEST_HOT:
            return []
        reach = self._limits.hot_pixels
        return [Check("hot pixels", None, 1 + float(np.median(ratio)), 1 - reach, 1 + reach)]

    def _frame_checks(self, frame: FrameToVerify) -> Iterator[Check]:
        """Compare the overscan and the temperature."""
        master, limits = self._master, self._limits
        if frame.overscan_noise_e is not None and frame.overscan_samples:
            # the noise of the master holds shot noise, as far as its level is charge, and noise that rows share
            variance = float(np.mean(np.square(self._read_noise)))
            shot = min(master.shot_scale * max(master.level_e or 0.0, 0.0) / variance, MOST_SHARED)
            least = math.sqrt(min(1 - shot, 1 - self._shared))
            error = math.sqrt(0.5 / frame.overscan_samples + self._row_error**2)
            reach = limits.overscan + NOISE_ERRORS * error
            ratio = frame.overscan_noise_e / math.sqrt(variance)
            yield Check("overscan", None, ratio, least * (1 - reach), 1 + reach)
        if frame.temperature_k is not None and master.temperature_k is not None:
            warmer = frame.temperature_k - master.temperature_k
            yield Check("temperature", None, warmer, -limits.temperature, limits.temperature, "K")


def _without_outliers(z: _Image, master: MasterImages) -> tuple[_Image, NDArray[np.bool_]]:
    """Return normalised residuals without outliers and the pixels around bright ones, and the mask of outliers.

    Outliers count from the median of their box: structure of any size stays.
    """
    from scipy.ndimage import binary_dilation

    deviation = z - box_medians(z, master.regions, BOX)
    with np.errstate(invalid="ignore"):
        outliers = np.abs(deviation) > OUTLIER_SIGMA
        bright = deviation > OUTLIER_SIGMA
    near = binary_dilation(bright, np.ones((3, 3), bool))
    return np.where(outliers | near, np.float32(np.nan), z), outliers
