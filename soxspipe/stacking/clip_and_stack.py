"""Stack frames into one: clip rogue samples, combine the rest, say how sure each pixel is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import InputError, TooFewFramesError
from ..parallel import map_bands, row_bands
from ..run_log import get_logger
from .background import Background, measure_background
from .band_combiner import BandCombiner, Clip, StackImages
from .frame_stack import ArrayStack, FrameStack, Regions
from .noise_model import NoiseModel, measure_noise

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["SCALES", "StackResult", "clip_and_stack"]

log = get_logger(__name__)

#: What a sample's distance from the median of its pixel may be measured in.
SCALES = ("noise-model", "std", "mad")
#: Samples that each worker holds at once: fewer pay for more calls, more gain nothing. Of many frames it holds more,
#: as below so many rows each call costs more than its work, up to a limit for all workers, or for two where there is
#: but one. A sample takes some ten bytes.
BAND_SAMPLES, MOST_SAMPLES, BAND_ROWS = 2**21, 5 * 2**21, 16
#: Rows whose errors are worked out at once.
ERROR_ROWS = 64
#: A pixel's own excess adds shot noise only where it is this significant: adding it everywhere would
#: rectify noise and inflate the errors, and from 3 sigma on a third of the Gaussian tail beyond 3 would be
#: missing from the pulls (docs/method, section 3).
EXCESS_SIGMA = 5.0


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
    outlier_free_noise : ndarray of float32, shape (ny, nx), electron
        The same without what may be cosmic rays: rejected samples are left out unless two of them agree,
        then the sample furthest from the mean; NaN where fewer than two are left.
    background_limited_error : ndarray of float32, shape (ny, nx), electron
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
    rejected : ndarray of int32, shape (n, 2)
        Frame and pixel (index into the flattened image) of each sample left out by the clip, by pixel.
    n_invalid : int
        Samples without data.
    half_difference : ndarray of float32, shape (n,), electron
        Mean of the odd minus mean of the even frames, in every eighth row, pixels without rejection.
    """

    master: CCDData
    noise: NDArray[np.float32]
    outlier_free_noise: NDArray[np.float32]
    background_limited_error: NDArray[np.float32]
    count: NDArray[np.uint16]
    ambiguous: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    noise_model: NoiseModel
    background: Background
    n_frames: int
    rejected: NDArray[np.int32]
    n_invalid: int
    half_difference: NDArray[np.float32]

    @property
    def n_rejected(self) -> int:
        """Samples left out by the clip."""
        return len(self.rejected)

    def without(self, *images: str) -> StackResult:
        """Return the same without images that nobody needs any more: each holds on to memory.

        Parameters
        ----------
        *images : {'noise', 'outlier_free_noise', 'background_limited_error', 'count', 'ambiguous', 'saturated'}
            Which; they have no pixels afterwards.

        Returns
        -------
        StackResult
        """
        return replace(self, **{name: getattr(self, name)[:0, :0].copy() for name in images})


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
    workers: int = 1,
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
        Rows that each worker holds at once; the result does not depend on it.
    workers : int
        Threads; the result does not depend on their number.
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
            workers=workers,
        )
    clip = Clip(frame_clipping_sigma, stacked_clipping_sigma, stacked_clipping_iterations, scale)
    ny, nx = stack.shape
    images = StackImages.empty(stack.shape)
    band_rows = min(band_rows or _band_rows(n_frames * nx, workers), ny)
    bands = list(row_bands(noise_model.spans(), band_rows))
    stack_bands = BandCombiner(stack, noise_model, clip, images, band_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pixels with too few samples: NaN, which is meant
        leftovers = map_bands(
            stack_bands, bands, workers, None if progress is None else lambda rows: progress(rows, ny)
        )
    n_invalid = sum(left.n_invalid for left in leftovers)
    lots = [lot for left in leftovers for lot in left.rejected]
    del leftovers
    rejected = _by_pixel(lots)
    background = measure_background(
        images.mean,
        noise_model.regions,
        column_parity=column_parity,
        box=background_box,
        bad=images.ambiguous | images.saturated,
        workers=workers,
    )
    error, background_limited_error = (np.empty(stack.shape, np.float32) for _ in range(2))
    # the read noise holds the shot noise of its region's mean level: only the difference from that counts
    region_level = _mean_smooth_levels(background, noise_model.regions)

    def finish(start: int, stop: int) -> None:
        rows = slice(start, stop)
        _model_error(
            images,
            background,
            noise_model,
            region_level,
            common_error,
            rows,
            error[rows],
            background_limited_error[rows],
        )

    map_bands(finish, row_bands(noise_model.spans(), ERROR_ROWS), workers)
    level = np.array([noise_model.row(noise_model.level_e, start) for start, _ in noise_model.spans()])
    for (start, stop), row in zip(noise_model.spans(), level, strict=True):
        images.mean[start:stop] += row
    log.info("%d of %d samples rejected", len(rejected), n_frames * ny * nx)
    return StackResult(
        master=_as_ccddata(images.mean, error),
        noise=images.noise,
        outlier_free_noise=images.outlier_free_noise,
        background_limited_error=background_limited_error,
        count=images.count,
        ambiguous=images.ambiguous,
        saturated=images.saturated,
        noise_model=noise_model,
        background=background.above(level),
        n_frames=n_frames,
        rejected=rejected,
        n_invalid=n_invalid,
        half_difference=images.without_rejection(n_frames),
    )


def _band_rows(row_samples: int, workers: int) -> int:
    """Rows for each worker to hold at once, of so many samples each."""
    return max(BAND_SAMPLES // row_samples, min(BAND_ROWS, MOST_SAMPLES // max(workers, 2) // row_samples), 1)


def _by_pixel(lots: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Sort samples, whoever found them and when: by pixel, and by frame within it.

    Uses the lots up, and sorts in place: a narrow clip of a thousand frames lists as much as several images.
    """
    end = sum(map(len, lots))
    samples = np.empty((end, 2), "<i4")
    while lots:
        lot = lots.pop()
        samples[end - len(lot) : end] = lot
        end -= len(lot)
    samples.view("<i8").sort(axis=0)  # frame and pixel as one number, the pixel being its upper half
    return samples


def _model_error(
    images: StackImages,
    background: Background,
    model: NoiseModel,
    region_level: NDArray[np.float64],
    common_error: NDArray[np.float32] | None,
    rows: slice,
    error: NDArray[np.float32],
    quiet: NDArray[np.float32],
) -> None:
    """Fill rows with the one-sigma error of the mean by the noise model, and that of a good pixel in its place."""
    shot_scale = np.float32(model.shot_scale)
    read_variance = np.square(model.row(model.read_noise_e, rows.start))
    smooth = background.surface.rows(rows)
    variance = smooth - model.row(region_level, rows.start)
    variance *= shot_scale
    variance += read_variance
    np.maximum(variance, np.float32(0.25) * read_variance, out=variance)
    count = images.count[rows].astype(np.float32)
    np.maximum(count, 1, out=count)
    np.divide(variance, count, out=quiet)
    if common_error is not None:
        quiet += np.square(common_error[rows])
    np.sqrt(quiet, out=quiet)
    error[...] = quiet
    excess = images.mean[rows] - background.rows(rows, smooth)
    own = np.flatnonzero(excess > EXCESS_SIGMA * quiet)
    own_variance = (variance.ravel()[own] + shot_scale * excess.ravel()[own]) / count.ravel()[own]
    if common_error is not None:
        own_variance += np.square(common_error[rows].ravel()[own])
    error.reshape(-1)[own] = np.sqrt(own_variance)
    error[images.count[rows] == 0] = np.nan


def _mean_smooth_levels(background: Background, regions: Regions) -> NDArray[np.float64]:
    """Mean of the smooth part in each region; a quarter of the rows tells it, drawn once for regions side by side."""
    quarters = {
        span: background.surface.rows(slice(*span, 4)) for span in {(rows.start, rows.stop) for rows, _ in regions}
    }
    means = [quarters[rows.start, rows.stop][:, columns].mean(dtype=np.float64) for rows, columns in regions]
    return np.array(means)


def _as_ccddata(data: NDArray[np.float32], error: NDArray[np.float32]) -> CCDData:
    from astropy import units
    from astropy.nddata import CCDData, StdDevUncertainty

    uncertainty = StdDevUncertainty(error, copy=False)
    return CCDData(data, unit=units.electron, uncertainty=uncertainty, mask=np.isnan(data))
