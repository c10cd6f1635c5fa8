"""Combination of a stack in bands of rows: each band is read, clipped and combined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..parallel import Progress, row_bands, run_concurrently
from .band_combiner import NO_SAMPLES, BandCombiner
from .frame_monitor import FrameFigures
from .frame_stack import FrameStack
from .noise_model import NoiseModel
from .parameters import StackParameters

__all__ = ["CombinedFrames", "StackedImages", "combine_frames"]

#: Rows of a band, and its fewest and most samples. Shorter bands make more calls, longer ones leave the cache; of
#: many frames the memory is the limit (docs/performance_notes).
BAND_ROWS, FEWEST_SAMPLES, MOST_SAMPLES = 32, 2**21, 2**23


@dataclass(frozen=True, kw_only=True)
class StackedImages:
    """Images and lists of samples that are the same in a stack and in what it is made of; see `StackResult`."""

    noise: NDArray[np.float32]
    outlier_free_noise: NDArray[np.float32]
    count: NDArray[np.uint16]
    ambiguous: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
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
    # A second worker reads the next band while one is combined. Two threads that both make the short calls for single
    # frames would only wait for each other.
    # the first row of a buffer is the last one of the band before, whose neighbours are in this band
    buffers = [np.empty((n_frames, band_rows + 1, nx), np.float32) for _ in range(min(workers, 2))]

    def samples_of(i: int) -> NDArray[np.float32]:
        start, stop = bands[i]
        return buffers[i % len(buffers)][:, : stop - start + 1]

    combiner.read(samples_of(0)[:, 1:], *bands[0])
    rejected, neighbours, n_invalid = [NO_SAMPLES], [NO_SAMPLES], 0

    def combine(i: int) -> None:
        nonlocal n_invalid
        start, stop = bands[i]
        samples, last = samples_of(i), i + 1 == len(bands)
        clipped = combiner.combine(samples[:, 1:], start, stop)
        n_invalid += sum(invalid for _, invalid in clipped)
        rejected.append(np.concatenate([NO_SAMPLES, *(found for found, _ in clipped)]))
        if parameters.stacked_clipping_scale == "noise-model":
            # the last row has neighbours in the next band; a band may be a single row
            near = np.concatenate(rejected[-3:])
            neighbours.append(combiner.clip_neighbours(samples, near, start - 1, stop if last else stop - 1))
        if not last:
            buffers[(i + 1) % len(buffers)][:, 0] = samples[:, -1]

    for i, (_, stop) in enumerate(bands):
        works: list[Callable[[], Any]] = [partial(combine, i)]
        if i + 1 < len(bands):
            works.append(partial(combiner.read, samples_of(i + 1)[:, 1:], *bands[i + 1]))
        run_concurrently(works, workers)
        if progress is not None:
            progress(stop, ny)
    clipped = np.concatenate(rejected)
    if parameters.stacked_clipping_scale == "noise-model":
        neighbours.append(combiner.clip_halos(clipped, np.concatenate(neighbours), bands))
    combiner.forget_chance_levels(clipped)
    combiner.images["half_difference"][combiner.images["count"] != n_frames] = np.nan
    return CombinedFrames(
        **combiner.images,
        rejected=clipped,
        neighbours=np.concatenate(neighbours),
        n_invalid=n_invalid,
        n_same_pairs=combiner.n_same_pairs,
        frame_figures=None if combiner.monitor is None else combiner.monitor.figures(),
    )


def _band_rows(row_samples: int) -> int:
    """Return the rows of a band, each with so many samples."""
    return max(min(max(BAND_ROWS, FEWEST_SAMPLES // row_samples), MOST_SAMPLES // row_samples), 1)
