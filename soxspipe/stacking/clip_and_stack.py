"""Stack frames into one: clip outliers, combine the rest, give each pixel its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import TooFewFramesError
from ..parallel import Progress
from ..pixel_codes import PixelCode
from ..run_log import get_logger
from .background import Background, measure_background
from .combine_frames import CombinedFrames, StackedImages, combine_frames
from .frame_stack import FrameStack, as_stack
from .noise_model import NoiseModel, measure_noise
from .parameters import StackParameters, with_keywords
from .pixel_errors import pixel_errors

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["StackResult", "clip_and_stack"]

log = get_logger(__name__)

#: Constant pixels are dead where rounding makes none of good pixels, or less than this part of them.
CHANCE_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class StackResult(StackedImages):
    """A stack of frames.

    Attributes
    ----------
    master : CCDData, shape (ny, nx), electron
        Mean of the samples that were kept, with its one-sigma error (StdDevUncertainty); masked and NaN
        where there was no data.
    noise : ndarray of float32, shape (ny, nx), electron
        Temporal standard deviation (ddof 1) of the samples kept; NaN below two.
    outlier_free_noise : ndarray of float32, shape (ny, nx), electron
        The same without possible cosmic rays: rejected samples are left out unless two of them agree,
        then the sample furthest from the mean; NaN where fewer than two are left.
    background_limited_error : ndarray of float32, shape (ny, nx), electron
        One-sigma error of a good pixel in this place: without the shot noise of the pixel's own excess.
    count : ndarray of uint16, shape (ny, nx)
        Samples that entered the mean.
    ambiguous : ndarray of bool, shape (ny, nx)
        Pixels whose samples contradict each other without a majority.
    saturated : ndarray of bool, shape (ny, nx)
        Pixels saturated in at least half of the frames.
    dead : ndarray of bool, shape (ny, nx)
        Pixels with the same raw value in all frames, where rounding does not explain it.
    noise_model : NoiseModel
        Level, read noise and frame offsets.
    background : Background
        The level of good pixels around each pixel.
    common_error : ndarray of float32, shape (ny, nx), electron, or None
        The part of the error that all frames share.
    n_frames : int
        Frames.
    rejected : ndarray of int32, shape (n, 2)
        Frame and pixel (index into the flattened image) of each sample that the clip rejected, sorted by pixel.
    neighbours : ndarray of int32, shape (n, 2)
        The same of the samples that were rejected because they lie beside those.
    n_invalid : int
        Samples without data.
    half_rows : ndarray of int, shape (rows,)
        Rows in groups of ten, spread over the frame.
    half_difference : ndarray of float32, shape (rows, nx), electron
        Mean of the odd minus mean of the even frames in these rows; NaN in pixels without all samples.
    frame_figures : FrameFigures or None
        Figures of single frames, which `~soxspipe.stacking.vet_frames` judges; None of two frames or with
        ``vet_frames='off'``.
    step_e : float
        Quantisation step of a sample, electron; 0 when samples are continuous.
    """

    master: CCDData
    background_limited_error: NDArray[np.float32]
    dead: NDArray[np.bool_]
    noise_model: NoiseModel
    background: Background
    common_error: NDArray[np.float32] | None
    n_frames: int
    step_e: float = 0.0

    @property
    def n_rejected(self) -> int:
        """Samples that were rejected."""
        return len(self.rejected) + len(self.neighbours)

    @property
    def codes(self) -> dict[PixelCode, NDArray[np.bool_]]:
        """Pixels of the codes that the samples themselves decide."""
        return {
            PixelCode.AMBIGUOUS: self.ambiguous,
            PixelCode.COLD: self.dead,
            PixelCode.SATURATED: self.saturated,
            PixelCode.NO_DATA: self.count == 0,
        }

    def without(self, *images: str) -> StackResult:
        """Return a copy in which some images are empty, to free their memory.

        Parameters
        ----------
        *images : str
            Names of images among the attributes.

        Returns
        -------
        StackResult
        """
        return replace(self, **{name: getattr(self, name)[:0, :0].copy() for name in images})


def clip_and_stack(
    frames: FrameStack | Sequence[CCDData | NDArray[Any]],
    parameters: StackParameters | None = None,
    *,
    noise_model: NoiseModel | None = None,
    background_box: int = 8,
    band_rows: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    **keywords: Any,
) -> StackResult:
    """Clip and combine frames of one exposure.

    Parameters
    ----------
    frames : FrameStack or sequence of (CCDData or ndarray), shape (ny, nx), electron
        At least two frames. Masked samples and NaN are left out.
    parameters : StackParameters, optional
        How to clip; default: as the keywords below.
    noise_model : NoiseModel, optional
        Default: measured from the frames, by `~soxspipe.stacking.measure_noise`. A given model has its own regions,
        scatter and shot noise: ``regions``, ``clipping_iteration_count`` and ``shot_scale`` do not count then.
    background_box : int
        Side of the blocks whose medians make the smooth local level, pixels.
    band_rows : int, optional
        Rows in the band of each worker; the result does not depend on it.
    workers : int
        Threads; the result does not depend on their number.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of rows.
    frame_clipping_sigma : float, default 10
        Sigmas from the median of its frame beyond which a sample is flagged. It is left out where fewer
        than half of the frames show it and the clip along the stack agrees: a pixel that is hot in all
        frames keeps its value.
    clipping_iteration_count : int, default 5
        Iterations of the frame's scatter for that.
    stacked_clipping_sigma : float, default 5
        Sigmas from the median of its pixel beyond which a sample is left out; with up to 20 frames also sigmas above
        the level of the pixels around.
    stacked_clipping_iterations : int, default 5
        Iterations of that clip.
    scale, stacked_clipping_scale : {'noise-model', 'std', 'mad'}, default 'noise-model'
        Unit of one sigma of that clip: the noise of a sample by the noise model, or the scatter of the pixel's own
        samples as in `astropy.stats.sigma_clip`.
    vet_frames : {'warn', 'exclude', 'off'}, default 'warn'
        With 'off' the figures of single frames are not measured. No frame is left out here.
    unit : str or astropy.units.Unit
        Unit of arrays that have none: ``"electron"``. Without it they are refused.
    step_e, regions, shot_scale, column_parity, common_error
        Of frames in memory; see `FrameStack`.

    Returns
    -------
    StackResult

    Raises
    ------
    TooFewFramesError
        With fewer than two frames.
    InputError
        When frames differ in shape or are not in electron, two of them hold the same pixels, or a keyword is unknown
        or out of range.
    FrameError
        When a frame is constant, saturated or does not scatter as the others do, or an amplifier of it holds no data.
    TooFewPixelsError
        When there are too few good pixels to measure the noise from.

    Notes
    -----
    The error of a pixel with n samples left is ``sqrt((R**2 + S) / n)``. R is the measured read noise of its
    amplifier, S the dark signal above the level at which R was measured; see ``stacking/pixel_errors.py``
    (docs/method, section 3).
    """
    stack = as_stack(frames, keywords)
    if "scale" in keywords:
        keywords["stacked_clipping_scale"] = keywords.pop("scale")
    parameters = with_keywords(StackParameters, parameters, keywords)
    n_frames = len(stack.names)
    if n_frames < 2:
        raise TooFewFramesError(f"{n_frames} frame to stack, expected at least 2")
    model = measure_noise(stack, parameters) if noise_model is None else noise_model
    combined = combine_frames(stack, model, parameters, band_rows=band_rows, workers=workers, progress=progress)
    dead = _dead_pixels(combined, n_frames)
    background = measure_background(
        combined.above_level,
        model.regions,
        column_parity=stack.column_parity,
        box=background_box,
        bad=combined.ambiguous | combined.saturated | dead,
        workers=workers,
    )
    error, background_limited_error = pixel_errors(combined, background, model, stack.common_error, workers)
    level = np.array([model.row(model.level_e, start) for start, _ in model.spans()])
    data = combined.above_level  # in place: a copy would be the peak of the memory
    for (start, stop), row in zip(model.spans(), level, strict=True):
        data[start:stop] += row
    n_rejected, n_near = len(combined.rejected), len(combined.neighbours)
    log.info("%d of %d samples rejected, and %d beside these", n_rejected, n_frames * data.size, n_near)
    return StackResult(
        dead=dead,
        step_e=stack.step_e,
        master=_as_ccddata(data, error),
        background_limited_error=background_limited_error,
        noise_model=model,
        background=background.above(level),
        common_error=stack.common_error,
        n_frames=n_frames,
        **{field.name: getattr(combined, field.name) for field in fields(StackedImages)},
    )


def _dead_pixels(combined: CombinedFrames, n_frames: int) -> NDArray[np.bool_]:
    """Return the constant pixels, unless rounding makes as many of good ones.

    N samples of Gaussian noise of s steps round to one value with the probability (2 pi s**2)**((1 - N) / 2) / sqrt(N).
    The share of equal pairs gives s, for any type of samples.
    """
    dead = combined.constant & ~combined.saturated
    steps = dead.size / (2 * np.sqrt(np.pi) * max(combined.n_same_pairs, 1))
    chance = dead.size * (2 * np.pi * steps**2) ** (0.5 * (1 - n_frames)) / np.sqrt(n_frames)
    return dead if chance < max(1.0, CHANCE_SHARE * np.count_nonzero(dead)) else np.zeros_like(dead)


def _as_ccddata(data: NDArray[np.float32], error: NDArray[np.float32]) -> CCDData:
    from astropy import units
    from astropy.nddata import CCDData, StdDevUncertainty

    uncertainty = StdDevUncertainty(error, copy=False)
    return CCDData(data, unit=units.electron, uncertainty=uncertainty, mask=np.isnan(data))
