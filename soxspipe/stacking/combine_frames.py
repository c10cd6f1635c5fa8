"""Combination of a stack in bands of rows: each band is read, clipped and combined."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..parallel import Progress, row_bands, run_concurrently
from .band_combiner import BandCombiner, CombinedBand
from .combined_images import NO_SAMPLES
from .frame_monitor import FrameFigures
from .frame_stack import FrameStack
from .noise_model import NoiseModel
from .parameters import StackParameters

__all__ = ["CombinedFrames", "StackedImages", "combine_frames"]

#: Rows of a band, and its fewest and most samples. Shorter bands make more calls, longer ones leave the cache; of
#: many frames the memory is the limit (docs/performance_notes).
BAND_ROWS, FEWEST_SAMPLES, MOST_SAMPLES = 32, 2**21, 2**22


@dataclass(frozen=True, kw_only=True)
class StackedImages:
    """Images and lists of samples that are the same in a stack and in what it is made of; see `StackResult`."""

    noise: NDArray[np.float32]
    outlier_free_noise: NDArray[np.float32]
    count: NDArray[np.uint16]
    ambiguous: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    half_rows: NDArray[np.intp]
    half_difference: NDArray[np.float32]
    rejected: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    n_invalid: int
    frame_figures: FrameFigures | None


@dataclass(frozen=True, kw_only=True)
class CombinedFrames(StackedImages):
    """Combined frames, before their level and background are known.

    Attributes
    ----------
    above_level : ndarray of float32, shape (ny, nx), electron
        Mean of the samples that were kept, above the level of their amplifier in the noise model.
    constant : ndarray of bool, shape (ny, nx)
        Pixels that have the same raw value in all frames.
    n_same_pairs : int
        Pixels with the same raw value in the first two frames.
    """

    above_level: NDArray[np.float32]
    constant: NDArray[np.bool_]
    n_same_pairs: int


def combine_frames(
    stack: FrameStack,
    model: NoiseModel,
    parameters: StackParameters,
    *,
    band_rows: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> CombinedFrames:
    """Clip and combine the frames of a stack; see `clip_and_stack`."""
    ny, nx = stack.shape
    n_frames = len(stack.names)
    band_rows = min(band_rows or _band_rows(n_frames * nx), ny)
    bands = list(row_bands(model.spans(), band_rows))
    combiner = BandCombiner(stack, model, parameters, workers)
    # the first row of a buffer is the last one of the band before, whose neighbours are in this band
    buffers = [np.empty((n_frames, band_rows + 1, nx), np.float32) for _ in range(3)]

    def samples_of(i: int) -> NDArray[np.float32]:
        start, stop = bands[i]
        return buffers[i % len(buffers)][:, : stop - start + 1]

    combined: list[CombinedBand] = []
    neighbours = [NO_SAMPLES]

    def read(i: int) -> None:
        combiner.read(samples_of(i)[:, 1:], *bands[i])

    def combine(i: int) -> None:
        combined.append(combiner.combine(samples_of(i)[:, 1:], *bands[i]))

    def finish(i: int) -> None:
        (start, stop), last = bands[i], i + 1 == len(bands)
        combiner.measure(samples_of(i)[:, 1:], combined[i].candidates, start, stop)
        # the last row has neighbours in the next band; a band may be a single row
        near = np.concatenate([band.rejected for band in combined[max(i - 2, 0) : i + 1]])
        neighbours.append(combiner.clip_neighbours(samples_of(i), near, start - 1, stop if last else stop - 1))

    def finish_and_read(i: int) -> None:
        if i > 0:
            finish(i - 1)
        if i + 1 < len(bands):
            read(i + 1)

    read(0)
    for i, (_, stop) in enumerate(bands):
        # A second worker does the short calls of the bands before and after the one that is combined in long calls. Two
        # threads that both make short calls would only wait for each other.
        run_concurrently([partial(combine, i), partial(finish_and_read, i)], workers)
        if i + 1 < len(bands):
            buffers[(i + 1) % len(buffers)][:, 0] = samples_of(i)[:, -1]
        if progress is not None:
            progress(stop, ny)
    finish(len(bands) - 1)
    clipped = np.concatenate([band.rejected for band in combined])
    neighbours.append(combiner.clip_halos(clipped, np.concatenate(neighbours), bands))
    combiner.images.forget_chance_levels(clipped)
    rows = combiner.half_rows
    combiner.half_difference[combiner.images["count"][rows] != n_frames] = np.nan
    return CombinedFrames(
        **combiner.images.by_name,
        half_rows=rows,
        half_difference=combiner.half_difference,
        rejected=clipped,
        neighbours=np.concatenate(neighbours),
        n_invalid=sum(band.n_invalid for band in combined),
        n_same_pairs=combiner.n_same_pairs,
        frame_figures=None if combiner.monitor is None else combiner.monitor.figures(),
    )


def _band_rows(row_samples: int) -> int:
    """Return the rows of a band, each with so many samples."""
    return max(min(max(BAND_ROWS, FEWEST_SAMPLES // row_samples), MOST_SAMPLES // row_samples), 1)
