"""Stack frames into one: clip rogue samples, combine the rest, say how sure each pixel is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError, TooFewFramesError
from .background import Background, measure_background
from .frame_stack import ArrayStack, FrameStack, Regions
from .noise_model import NoiseModel, measure_noise
from .sigma_clip import ClipResult, clip_by_noise, clip_by_scatter, screen_by_noise, screen_by_scatter

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["SCALES", "StackResult", "clip_and_stack"]

log = logging.getLogger(__name__)

#: What a sample's distance from the median of its pixel may be measured in.
SCALES = ("noise-model", "std", "mad")
#: Samples held at once: large enough for NumPy's loops, small enough to stay in the cache.
BAND_SAMPLES = 2**20
#: Every so many rows the halves of the stack are compared.
HALVES_STRIDE = 8
#: A pixel's own excess adds shot noise only where it is this significant: adding it everywhere would
#: rectify noise and inflate the errors, and from 3 sigma on a third of the Gaussian tail beyond 3 would be
#: missing from the pulls (docs/method, section 3).
EXCESS_SIGMA = 5.0
#: Rejected samples of a pixel that lie this close to each other, in sigmas, are a level, not cosmic rays.
AGREE_SIGMA = 2.0


@dataclass(frozen=True)
class StackResult:
    """A stack of frames and what was learnt on the way.

    Attributes
    ----------
    master : CCDData, shape (ny, nx), electron
        Mean of the samples that were kept, with its one-sigma error (StdDevUncertainty); masked and NaN
        where there was no data.
    noise : ndarray of float32, shape (ny, nx), electron
        Temporal standard deviation (ddof 1) of the samples kept; NaN below two.
    quiet_noise : ndarray of float32, shape (ny, nx), electron
        The same without what may be cosmic rays: rejected samples are left out unless two of them agree,
        then the sample furthest from the mean; NaN where fewer than two are left.
    quiet_error : ndarray of float32, shape (ny, nx), electron
        One-sigma error that a good pixel would have in this place: without the shot noise of its own excess.
    count : ndarray of uint16, shape (ny, nx)
        Samples that entered the mean.
    ambiguous : ndarray of bool, shape (ny, nx)
        Pixels whose samples contradict each other without a majority.
    saturated : ndarray of bool, shape (ny, nx)
        Pixels saturated in at least half of the frames.
    noise_model : NoiseModel
        Level, read noise and frame offsets.
    background : Background
        The level of good pixels around each pixel.
    n_frames : int
        Frames.
    rejected : ndarray of int64, shape (n, 2)
        Frame and pixel (index into the flattened image) of each sample left out by the clip.
    n_invalid : int
        Samples without data.
    half_difference : ndarray of float32, shape (n,), electron
        Mean of the odd minus mean of the even frames, in every eighth row, pixels without rejection.
    """

    master: CCDData
    noise: NDArray[np.float32]
    quiet_noise: NDArray[np.float32]
    quiet_error: NDArray[np.float32]
    count: NDArray[np.uint16]
    ambiguous: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    noise_model: NoiseModel
    background: Background
    n_frames: int
    rejected: NDArray[np.int64]
    n_invalid: int
    half_difference: NDArray[np.float32]

    @property
    def n_rejected(self) -> int:
        """Samples left out by the clip."""
        return len(self.rejected)


@dataclass(frozen=True)
class _Clip:
    """How to clip; the parameters of `clip_and_stack`."""

    frame_sigma: float
    sigma: float
    iterations: int
    scale: str


def clip_and_stack(
    frames: FrameStack | Sequence[CCDData | NDArray[Any]],
    *,
    noise_model: NoiseModel | None = None,
    regions: Regions | None = None,
    frame_clipping_sigma: float = 10.0,
    clipping_iteration_count: int = 5,
    stacked_clipping_sigma: float = 5.0,
    stacked_clipping_iterations: int = 5,
    scale: str = "noise-model",
    step_e: float = 0.0,
    column_parity: bool = False,
    background_box: int = 8,
    common_error: NDArray[np.float32] | None = None,
    shot_scale: float = 1.0,
    band_rows: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> StackResult:
    """Clip and combine frames of one exposure.

    Parameters
    ----------
    frames : FrameStack or sequence of (CCDData or ndarray), shape (ny, nx), electron
        At least two frames. Masked samples and NaN are left out.
    noise_model : NoiseModel, optional
        Default: measured from the frames, by `~soxspipe.stacking.measure_noise`. One that is given comes with
        its own regions, scatter and shot noise: ``regions``, ``clipping_iteration_count`` and ``shot_scale``
        do not count then.
    regions : tuple of (slice, slice), optional
        Rows and columns of each read-out amplifier; default: the whole frame is one.
    frame_clipping_sigma : float
        Sigmas from the median of its frame beyond which a sample is doubted. It is left out where fewer
        than half of the frames show it and the clip along the stack agrees: a pixel that is hot in all
        frames keeps its value.
    clipping_iteration_count : int
        Iterations of the frame's scatter for that.
    stacked_clipping_sigma : float
        Sigmas from the median of its pixel beyond which a sample is left out.
    stacked_clipping_iterations : int
        Iterations of that clip.
    scale : {'noise-model', 'std', 'mad'}
        What a sigma is: the noise of a sample by the noise model, or the scatter of the pixel's own
        samples, as `astropy.stats.sigma_clip` has it.
    step_e : float
        Quantisation step of the samples, electron; 0 when continuous. Read from a FrameStack.
    column_parity : bool
        Whether odd and even columns have levels of their own.
    background_box : int
        Side of the blocks whose medians make the smooth local level, pixels.
    common_error : ndarray of float32, shape (ny, nx), electron, optional
        One-sigma error that all frames share, such as that of a subtracted master bias. It does not
        average out.
    shot_scale : float
        1 over the number of exposures averaged in a frame (NDIT).
    band_rows : int, optional
        Rows held at once; the result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of rows.

    Returns
    -------
    StackResult

    Raises
    ------
    TooFewFramesError
        With fewer than two frames.
    InputError
        When frames differ in shape or unit, two of them hold the same pixels, or ``scale`` is unknown.
    FrameError
        When a frame is no image beside the others, or an amplifier of it holds no data.
    TooFewPixelsError
        When there are too few good pixels to measure the noise from.

    Notes
    -----
    The error of a pixel with n samples left is ``sqrt((R**2 + S) / n)`` with R the measured read noise of its
    amplifier and S the dark signal above the level at which R was measured, to which a pixel's own
    excess is added where it is significant (docs/method, section 3).
    """
    if scale not in SCALES:
        raise InputError(f"scale is '{scale}', expected one of {', '.join(SCALES)}")
    stack: FrameStack = ArrayStack.of(frames, step_e) if isinstance(frames, (Sequence, np.ndarray)) else frames
    n_frames = len(stack.names)
    if n_frames < 2:
        raise TooFewFramesError(f"{n_frames} frame to stack, expected at least 2")
    if noise_model is None:
        noise_model = measure_noise(
            stack,
            regions,
            frame_clipping_sigma=frame_clipping_sigma,
            clipping_iteration_count=clipping_iteration_count,
            shot_scale=shot_scale,
        )
    clip = _Clip(frame_clipping_sigma, stacked_clipping_sigma, stacked_clipping_iterations, scale)
    ny, nx = stack.shape
    out = _Images.empty(stack.shape)
    band_rows = band_rows or max(1, BAND_SAMPLES // (n_frames * nx))
    buffer = np.empty((n_frames, min(band_rows, ny), nx), np.float32)
    for start, stop in _bands(noise_model, band_rows):
        saturated = _read_band(stack, noise_model, start, stop, buffer[:, : stop - start])
        _stack_band(buffer[:, : stop - start], noise_model, clip, start, stop, out)
        out.saturated[start:stop] = 2 * saturated >= n_frames
        if progress is not None:
            progress(stop, ny)
    background = measure_background(
        out.mean, noise_model.regions, column_parity=column_parity, box=background_box, bad=out.ambiguous
    )
    error, quiet_error = _model_error(out, background, noise_model, common_error)
    for start, stop in noise_model.spans():
        level = noise_model.row(noise_model.level_e, start)
        out.mean[start:stop] += level
        background.total_e[start:stop] += level
    rejected = np.concatenate(out.rejected)
    log.info("%d of %d samples rejected", len(rejected), n_frames * ny * nx)
    return StackResult(
        master=_as_ccddata(out.mean, error),
        noise=out.noise,
        quiet_noise=out.quiet_noise,
        quiet_error=quiet_error,
        count=out.count,
        ambiguous=out.ambiguous,
        saturated=out.saturated,
        noise_model=noise_model,
        background=background,
        n_frames=n_frames,
        rejected=rejected,
        n_invalid=out.n_invalid,
        half_difference=np.concatenate(out.half_difference),
    )


@dataclass
class _Images:
    """The images that the bands fill."""

    mean: NDArray[np.float32]
    noise: NDArray[np.float32]
    quiet_noise: NDArray[np.float32]
    count: NDArray[np.uint16]
    ambiguous: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    half_difference: list[NDArray[np.float32]]
    rejected: list[NDArray[np.int64]]
    n_invalid: int = 0

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> _Images:
        return cls(
            mean=np.empty(shape, np.float32),
            noise=np.empty(shape, np.float32),
            quiet_noise=np.empty(shape, np.float32),
            count=np.empty(shape, np.uint16),
            ambiguous=np.zeros(shape, bool),
            saturated=np.zeros(shape, bool),
            half_difference=[],
            rejected=[np.empty((0, 2), np.int64)],
        )


def _bands(model: NoiseModel, band_rows: int) -> Iterator[tuple[int, int]]:
    """Yield row ranges of at most this height, in each of which every column keeps its amplifier."""
    for first, end in model.spans():
        for start in range(first, end, band_rows):
            yield start, min(start + band_rows, end)


def _read_band(
    stack: FrameStack, model: NoiseModel, start: int, stop: int, samples: NDArray[np.float32]
) -> NDArray[np.uint16]:
    """Fill a band with samples above the level of their amplifier and frame; count the saturated ones.

    Samples close to zero keep their precision in float32 whatever the pedestal.
    """
    saturated = np.zeros(samples.shape[1:], np.uint16)
    for i in range(len(samples)):
        full = stack.read(i, start, stop, samples[i])
        if full is not None:
            saturated += full
        samples[i] -= model.row(model.level_e + model.offsets_e[i], start)
    return saturated


def _stack_band(
    samples: NDArray[np.float32], model: NoiseModel, clip: _Clip, start: int, stop: int, out: _Images
) -> None:
    """Combine one band: all pixels as they are, then once more those that the clip may change."""
    n_frames = len(samples)
    mean, std, count = _combine(samples, None)
    low, high = samples.min(axis=0), samples.max(axis=0)
    read_noise = model.row(model.read_noise_e, start)
    reach = np.float32(clip.frame_sigma) * model.frame_scatter_e.astype(np.float32)
    if clip.scale == "noise-model":
        closer = screen_by_noise(low, high, mean, std, read_noise, clip.sigma)
    elif clip.scale == "std":
        closer = screen_by_scatter(low, high, mean, std, clip.sigma)
    else:
        closer = np.ones(mean.shape, bool)
    closer |= ~((high <= reach.min()) & (low >= -reach.min()))

    out.quiet_noise[start:stop] = _without_furthest(mean, std, low, high, n_frames)
    here = np.flatnonzero(closer)
    if here.size:
        few = samples.reshape(n_frames, -1)[:, here]
        flagged = np.abs(few) > reach[:, None]
        doubtful = flagged & (2 * flagged.sum(axis=0) < n_frames)
        result: ClipResult
        if clip.scale == "noise-model":
            result = clip_by_noise(
                few,
                read_noise[here % samples.shape[2]],
                clip.sigma,
                clip.iterations,
                doubtful=doubtful,
                shot_scale=model.shot_scale,
            )
        else:
            result = clip_by_scatter(few, clip.scale, clip.sigma, clip.iterations, doubtful=doubtful)
        invalid = ~np.isfinite(few)
        mean.ravel()[here], std.ravel()[here], count.ravel()[here] = (
            values[0] for values in _combine(few[:, None], result.rejected[:, None])
        )
        out.ambiguous[start:stop].reshape(-1)[here] = result.ambiguous
        out.n_invalid += int(invalid.sum())
        frame, pixel = np.nonzero(result.rejected & ~invalid)
        out.rejected.append(np.stack([frame, start * samples.shape[2] + here[pixel]], axis=1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # too few samples left: NaN, which is meant
            out.quiet_noise[start:stop].reshape(-1)[here] = _quiet_scatter(
                few, result.rejected, read_noise[here % samples.shape[2]], model.shot_scale
            )
    out.mean[start:stop] = mean
    with np.errstate(divide="ignore", invalid="ignore"):
        out.noise[start:stop] = np.where(count > 1, std * np.sqrt(count / (count - np.float32(1))), np.nan)
    out.count[start:stop] = count

    rows = slice(-start % HALVES_STRIDE, None, HALVES_STRIDE)
    difference = samples[0::2, rows].mean(axis=0) - samples[1::2, rows].mean(axis=0)
    out.half_difference.append(difference[count[rows] == n_frames])


def _combine(
    samples: NDArray[np.float32], rejected: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]]:
    """Mean, standard deviation (ddof 0) and number of the samples kept, by ccdproc's Combiner."""
    from astropy import units
    from astropy.nddata import CCDData
    from ccdproc import Combiner

    masks = [None] * len(samples) if rejected is None else list(rejected)
    ccds = [CCDData(frame, unit=units.electron, mask=mask) for frame, mask in zip(samples, masks, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):  # pixels without a sample: NaN, which is meant
        combined = Combiner(ccds, dtype=np.float32).average_combine()
        kept = np.full(samples.shape[1:], len(samples)) if rejected is None else (~rejected).sum(axis=0)
        # the Combiner divides its standard deviation by sqrt(n); put it back
        std = combined.uncertainty.array * np.sqrt(kept.astype(np.float32))
    return np.array(combined.data), std, kept.astype(np.uint16)


def _without_furthest(
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    n_frames: int,
) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 1) of all samples but the one furthest from the mean.

    Leaving one sample x out of n takes n / (n - 1) * (x - mean)**2 from the sum of squares.
    """
    if n_frames < 3:
        return np.full(mean.shape, np.nan, np.float32)
    furthest = np.maximum(high - mean, mean - low)
    squares = n_frames * np.square(std, dtype=np.float64) - n_frames / (n_frames - 1) * np.square(furthest)
    return np.sqrt(np.maximum(squares, 0.0) / (n_frames - 2)).astype(np.float32)


def _quiet_scatter(
    samples: NDArray[np.float32],
    rejected: NDArray[np.bool_],
    read_noise: NDArray[np.float32],
    shot_scale: float,
) -> NDArray[np.float32]:
    """Return the standard deviation (ddof 1) of few pixels' samples without what may be cosmic rays.

    A single rejected sample, or several of which no two agree, are cosmic rays: all of them are left out.
    Two that agree are a second level of the pixel, and stay. Of what is left the furthest sample goes, as in
    any pixel, unless that would leave too few. From the samples themselves and in double precision, which a
    bright cosmic ray does not exhaust.
    """
    hits = np.sort(np.where(rejected, samples, np.float32(np.nan)), axis=0)
    noise = np.sqrt(np.square(read_noise) + shot_scale * np.maximum(hits, 0))
    agree = (np.diff(hits, axis=0) <= np.float32(AGREE_SIGMA * np.sqrt(2)) * noise[1:]).any(axis=0)
    left = np.where(rejected & ~agree, np.nan, samples.astype(np.float64))
    distance = np.nan_to_num(np.abs(left - np.nanmean(left, axis=0)), nan=-1.0)
    enough = (np.isfinite(left).sum(axis=0) >= 4) | ~(rejected & np.isfinite(samples)).any(axis=0)
    furthest = np.arange(len(samples))[:, None] == np.argmax(distance, axis=0)
    left[furthest & enough] = np.nan
    return np.asarray(np.nanstd(left, axis=0, ddof=1), np.float32)


def _model_error(
    out: _Images, background: Background, model: NoiseModel, common_error: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One-sigma error of the mean by the noise model, and that of a good pixel in its place."""
    variance = np.empty(out.mean.shape, np.float32)
    # the read noise holds the shot noise of its region's mean level: only the difference from that counts
    region_level = np.array([_mean_level(background.smooth_e[region]) for region in model.regions])
    for start, stop in model.spans():
        read_variance = np.square(model.row(model.read_noise_e, start))
        above = background.smooth_e[start:stop] - model.row(region_level, start)
        above *= np.float32(model.shot_scale)
        np.maximum(read_variance + above, np.float32(0.25) * read_variance, out=variance[start:stop])
    count = np.maximum(out.count, 1).astype(np.float32)
    common = np.float32(0) if common_error is None else np.square(common_error)
    quiet = np.sqrt(variance / count + common)
    excess = out.mean - background.total_e
    own = excess > EXCESS_SIGMA * quiet
    error = quiet.copy()
    shared = common if isinstance(common, np.float32) else common[own]
    error[own] = np.sqrt((variance[own] + np.float32(model.shot_scale) * excess[own]) / count[own] + shared)
    error[out.count == 0] = np.nan
    return error, quiet


def _mean_level(image: NDArray[np.float32]) -> float:
    return float(image[::4].mean(dtype=np.float64))


def _as_ccddata(data: NDArray[np.float32], error: NDArray[np.float32]) -> CCDData:
    from astropy import units
    from astropy.nddata import CCDData, StdDevUncertainty

    return CCDData(data, unit=units.electron, uncertainty=StdDevUncertainty(error), mask=np.isnan(data))
