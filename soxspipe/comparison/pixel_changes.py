"""Pixels whose rate changed from one master to the next: births and deaths of hot pixels."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..pixel_codes import PixelCode
from ..stacking.background import measure_background
from ..stacking.parameters import with_keywords
from ..stacking.robust import CLIP_VARIANCE, clipped_moments, finite_median
from .master_images import MasterImages
from .parameters import ChangeParameters

__all__ = ["PixelChange", "PixelChanges", "TelegraphPixel", "gaussian_sigma", "pixel_changes", "telegraph_pixels"]

_Image = NDArray[np.float32]

#: Samples that contradict each other, or none: such a pixel has no rate.
UNUSABLE = PixelCode.AMBIGUOUS | PixelCode.NO_DATA
#: Pixels that give distributions; their stride is odd, as an even one would miss a column parity.
SAMPLE_PIXELS = 2**18
#: The central 68 % of a distribution.
CENTRAL = (0.1587, 0.8413)
#: Degrees of freedom that the noise of all pixels may be worth for a single one.
LEAST_PRIOR, MOST_PRIOR = 4.0, 1e4
#: Pixels noisier than all but this part of the others have noise of their own kind.
OWN_NOISE_CHANCE = 1e-3
#: Samples that a telegraph pixel has lost: so many, and so large a part. Cosmic rays seldom hit a pixel twice.
FEWEST_LOST, LOST_PART = 2, 0.2
KINDS: tuple[Literal["birth"], Literal["death"], Literal["telegraph"]] = ("birth", "death", "telegraph")
#: Hot pixels that give their common change: so many, and so many errors above their amplifier.
FEWEST_HOT, HOT_ERRORS = 30, 30.0


@dataclass(frozen=True)
class PixelChange:
    """A pixel whose rate changed.

    Attributes
    ----------
    x, y : int
        FITS coordinates in the product, from 1.
    kind : {'birth', 'death', 'telegraph'}
        Whether the rate rose or fell. A pixel that is noisy in one of the masters, or has lost a fifth of its samples
        there, jumps between levels: its change is no birth or death.
    rate_change : float
        Change of the rate, electron/s; of a bias of the level, electron. What all pixels around share is removed.
    error : float
        Its one-sigma error, in the same unit.
    significance : float
        Sigmas of a Gaussian that are as improbable.
    code_before, code_after : int
        Pixel codes in both masters.
    """

    x: int
    y: int
    kind: Literal["birth", "death", "telegraph"]
    rate_change: float
    error: float
    significance: float
    code_before: int
    code_after: int


@dataclass(frozen=True)
class PixelChanges:
    """The pixels whose rate changed from one master to the next.

    Attributes
    ----------
    changes : tuple of PixelChange
        The most significant first.
    threshold : float
        Significance beyond which a change counts, sigma.
    n_compared : int
        Pixels with a rate in both masters.
    expected_false : float
        Expected number of changes by chance among these.
    width : float
        Standard deviation of the normalised differences of good pixels before it was set to 1.
    noise_spread : float
        Relative spread of the noise between pixels.
    level_change : float
        Median change that pixels around share, and that was removed; electron/s.
    hot_change : float
        Relative change that all hot pixels share, and that was removed; 0 with fewer than 30 bright ones.
    hot_scatter : float
        Relative scatter of single hot pixels about it, counted as error.
    """

    changes: tuple[PixelChange, ...] = field(repr=False)
    threshold: float
    n_compared: int
    expected_false: float
    width: float
    noise_spread: float
    level_change: float
    hot_change: float
    hot_scatter: float

    @property
    def births(self) -> tuple[PixelChange, ...]:
        """Pixels whose rate rose."""
        return tuple(change for change in self.changes if change.kind == "birth")

    @property
    def deaths(self) -> tuple[PixelChange, ...]:
        """Pixels whose rate fell."""
        return tuple(change for change in self.changes if change.kind == "death")

    @property
    def telegraph(self) -> tuple[PixelChange, ...]:
        """Pixels that jump between levels."""
        return tuple(change for change in self.changes if change.kind == "telegraph")

    def record(self) -> dict[str, Any]:
        """Return the result as JSON holds it."""
        return asdict(self)


def pixel_changes(
    before: MasterImages,
    after: MasterImages,
    parameters: ChangeParameters | None = None,
    *,
    shared_bias: bool = False,
    workers: int = 1,
    **keywords: Any,
) -> PixelChanges:
    """Find the pixels whose rate changed from one master to the next.

    Parameters
    ----------
    before, after : MasterImages
        Masters of the same detector and read-out.
    parameters : ChangeParameters, optional
        Default: as the keyword below.
    shared_bias : bool
        Whether the same master bias was subtracted from both: its error cancels.
    workers : int
        Threads; the result does not depend on their number.
    false_per_million : float, default 0.1
        Expected number of false changes in a million pixels, from which the threshold follows.

    Returns
    -------
    PixelChanges

    Raises
    ------
    InputError
        When the masters differ in shape, or a parameter is unknown or out of range.

    Notes
    -----
    The difference of the rates is counted from its local level, so that a drift of amplifiers, rows or glow is no
    change; that of hot pixels from the change that they have in common. Its variance is that of the noise model, with
    the shot noise of the pixel itself. It is scaled by the temporal noise of the pixel in both masters, shrunk toward
    that of all pixels by the spread of the noise between pixels: a moderated t statistic (Smyth 2004). A pixel far
    noisier than these, such as a telegraph pixel, is judged by its own scatter alone. The threshold is that of a
    Gaussian with the expected number of false changes; each t is compared at the same probability (docs/verify).
    """
    from scipy.special import ndtri

    parameters = with_keywords(ChangeParameters, parameters, keywords)
    after.require_size_of(before)
    difference = _Difference(before, after, shared_bias, workers)
    significance, error = difference.significance()
    chance = parameters.false_per_million * 1e-6
    threshold = float(-ndtri(chance / 2))
    found = np.flatnonzero(np.abs(significance) > threshold)
    found = found[np.argsort(-np.abs(significance.ravel()[found]))]
    y, x = np.divmod(found, before.shape[1])
    columns, rows = after.position(y, x)
    values = difference.values.ravel()[found]
    kinds = np.where(_jumps(before, found) | _jumps(after, found), 2, values < 0)
    arrays = (
        columns, rows, kinds, values, error.ravel()[found], significance.ravel()[found],
        before.codes.ravel()[found], after.codes.ravel()[found],
    )  # fmt: skip
    changes = tuple(
        PixelChange(int(i), int(j), KINDS[kind], float(d), float(e), float(z), int(b), int(a))
        for i, j, kind, d, e, z, b, a in zip(*arrays, strict=True)
    )
    n_compared = int(np.count_nonzero(np.isfinite(significance)))
    return PixelChanges(
        changes=changes,
        threshold=threshold,
        n_compared=n_compared,
        expected_false=chance * n_compared,
        width=difference.width,
        noise_spread=difference.noise_spread,
        level_change=difference.level_change,
        hot_change=difference.hot_change,
        hot_scatter=difference.hot_scatter,
    )


def _jumps(master: MasterImages, pixels: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which pixels are noisy, or have lost so many samples that these were no cosmic rays."""
    lost = master.n_frames - master.count.ravel()[pixels].astype(int)
    noisy = master.codes.ravel()[pixels] & int(PixelCode.NOISY) > 0
    return np.asarray(noisy | (lost >= max(FEWEST_LOST, LOST_PART * master.n_frames)))


class _Difference:
    """The difference of the rates of two masters above its local level, and its variance."""

    def __init__(self, before: MasterImages, after: MasterImages, shared_bias: bool, workers: int) -> None:
        self._before, self._after = before, after
        self._rates = [np.float32(1.0 / (master.exposure_s or 1.0)) for master in (before, after)]
        rate_before, rate_after = self._rates
        difference: _Image = after.values_e * rate_after - before.values_e * rate_before
        known = (before.codes | after.codes) & int(UNUSABLE) == 0
        known &= before.codes & after.codes & int(PixelCode.SATURATED) == 0
        self._good = (before.codes == 0) & (after.codes == 0)
        self.variance = _variance(before, shared_bias) * rate_before**2 + _variance(after, shared_bias) * rate_after**2
        known &= np.isfinite(difference) & (self.variance > 0)
        self._good &= known
        difference[~known] = np.nan
        local = measure_background(
            difference, before.regions, column_parity=before.column_parity, bad=~self._good, workers=workers
        ).total_e
        self.level_change = float(np.median(local))
        self.values = difference - local
        self.hot_change = self.hot_scatter = 0.0
        self._remove_hot_change()
        self.width, self.noise_spread = 1.0, 0.0

    def _remove_hot_change(self) -> None:
        """Subtract the relative change that all hot pixels share, and count the scatter about it as error."""
        before, hot = self._before, int(PixelCode.HOT)
        excess = np.zeros_like(self.values)
        for region in before.regions:
            level = finite_median(before.values_e[region][self._good[region]])
            excess[region] = (before.values_e[region] - level) * self._rates[0]
        bright = (before.codes & self._after.codes & hot > 0) & np.isfinite(self.values)
        bright &= ((before.codes | self._after.codes) & int(PixelCode.SATURATED)) == 0
        bright &= excess > HOT_ERRORS * np.sqrt(self.variance)
        if np.count_nonzero(bright) < FEWEST_HOT:
            return
        relative = self.values[bright] / excess[bright]
        expected = self.variance[bright] / np.square(excess[bright])
        self.hot_change = float(np.median(relative))
        # the brightest half, whose own errors are smallest
        best = expected <= np.median(expected)
        scatter = clipped_moments(relative[best])[1] ** 2 / CLIP_VARIANCE - float(np.median(expected[best]))
        self.hot_scatter = math.sqrt(max(scatter, 0.0))
        excess[~(before.codes & hot > 0)] = 0.0
        np.maximum(excess, 0.0, out=excess)
        self.values -= np.float32(self.hot_change) * excess
        self.variance += np.square(np.float32(self.hot_scatter) * excess)

    def significance(self) -> tuple[_Image, _Image]:
        """Return the significance of each difference in sigmas of a Gaussian, NaN where there is none, and its error.

        Rows and columns were levelled: where they share noise, good pixels scatter by less than their errors.
        """
        scale, freedom = self._noise()
        normalised = self.values / np.sqrt(self.variance * scale)
        self.width = clipped_moments(normalised[self._good])[1] / math.sqrt(CLIP_VARIANCE)
        variance = self.variance.copy()
        for region in self._before.regions:
            typical = finite_median(self.variance[region][self._good[region]])
            variance[region] += np.float32((self.width**2 - 1.0) * typical)
        np.maximum(variance, np.float32(0.01) * self.variance, out=variance)
        error = np.sqrt(variance * scale)
        return gaussian_sigma(self.values / error, freedom), error

    def _noise(self) -> tuple[_Image, _Image]:
        """Return the variance of each pixel over that of the noise model, and its degrees of freedom."""
        from scipy.special import fdtri, gammaincinv

        squares, own = np.zeros_like(self.values), np.zeros_like(self.values)
        for master in (self._before, self._after):
            free = np.maximum(master.count.astype(np.float32) - 1, 0)
            ratio = np.square(master.noise_e) / master.sample_variance
            used = np.isfinite(ratio) & (free > 0)
            squares[used] += (free * ratio)[used]
            own[used] += free[used]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = squares / own
        most = self._before.n_frames + self._after.n_frames - 2
        sample = ratio[self._good & (own == most)]
        sample = sample[:: max(1, sample.size // SAMPLE_PIXELS) | 1]
        sample = sample[sample > 0]
        if not sample.size:
            return np.ones_like(ratio), np.full_like(ratio, LEAST_PRIOR)
        low, middle, high = gammaincinv(0.5 * most, (CENTRAL[0], 0.5, CENTRAL[1])) / (0.5 * most)
        found_low, found_middle, found_high = np.quantile(sample, (CENTRAL[0], 0.5, CENTRAL[1]))
        typical = float(found_middle / middle)
        spread = 0.25 * ((0.5 * math.log(found_high / found_low)) ** 2 - (0.5 * math.log(high / low)) ** 2)
        self.noise_spread = math.sqrt(max(spread, 0.0))
        prior = min(max(0.5 / max(spread, 1e-9), LEAST_PRIOR), MOST_PRIOR)
        scale = (prior * np.float32(typical) + squares) / (prior + own)
        freedom = own + np.float32(prior)
        noisy = ratio > typical * fdtri(np.maximum(own, 1), prior, 1.0 - OWN_NOISE_CHANCE)
        scale[noisy], freedom[noisy] = ratio[noisy], own[noisy]
        return scale.astype(np.float32), freedom.astype(np.float32)


def _variance(master: MasterImages, shared_bias: bool) -> _Image:
    """Return the variance of the values of a master, electron**2."""
    return master.sample_variance / np.maximum(master.count, 1) if shared_bias else np.square(master.errors_e)


def gaussian_sigma(t: NDArray[Any], freedom: NDArray[Any] | float) -> NDArray[Any]:
    """Return the sigmas of a Gaussian that are as improbable as values of Student's t.

    Parameters
    ----------
    t : ndarray
        Values of t.
    freedom : ndarray or float
        Degrees of freedom.

    Returns
    -------
    ndarray

    Notes
    -----
    Wallace's approximation (1959), right to 0.5 % from ten degrees of freedom on; probabilities would underflow.
    """
    factor = (8 * freedom + 1) / (8 * freedom + 3)
    return np.sign(t) * factor * np.sqrt(freedom * np.log1p(np.square(t) / freedom))


@dataclass(frozen=True)
class TelegraphPixel:
    """A pixel that went up and down several times.

    Attributes
    ----------
    x, y : int
        FITS coordinates in the product, from 1.
    ups, downs : int
        Significant rises and falls of its rate.
    step : float
        Median of their sizes, electron/s.
    """

    x: int
    y: int
    ups: int
    downs: int
    step: float


def telegraph_pixels(history: Iterable[PixelChanges], least: int = 2) -> tuple[TelegraphPixel, ...]:
    """Return the pixels that went up and down in a sequence of masters.

    Parameters
    ----------
    history : iterable of PixelChanges
        Changes between consecutive masters of a detector, in order of time.
    least : int
        Rises, and falls, that make a telegraph pixel.

    Returns
    -------
    tuple of TelegraphPixel
        Those with most changes first.
    """
    seen: dict[tuple[int, int], list[PixelChange]] = defaultdict(list)
    for pair in history:
        for change in pair.changes:
            seen[change.x, change.y].append(change)
    found = []
    for (x, y), changes in seen.items():
        ups = sum(change.rate_change > 0 for change in changes)
        downs = len(changes) - ups
        if min(ups, downs) >= least:
            found.append(TelegraphPixel(x, y, ups, downs, median(abs(change.rate_change) for change in changes)))
    return tuple(sorted(found, key=lambda pixel: (-pixel.ups - pixel.downs, pixel.y, pixel.x)))
