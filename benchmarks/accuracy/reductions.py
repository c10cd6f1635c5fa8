"""Master darks of one set of frames, by this package and by others."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soxspipe.pixel_codes import PixelCode
from soxspipe.quality.dark import DarkContext, dark_quality
from soxspipe.stacking import clip_and_stack, create_noise_map, measure_noise

from .scenes import Darks

#: Sigmas of the clip and of the hot mask of the stock reduction: those of this package.
STOCK_SIGMA = 5.0
#: Memory that ccdproc may take for one stack, byte; it works in tiles beyond.
STOCK_MEMORY = 2e9


@dataclass
class Reduction:
    """A master dark; all images have the shape (ny, nx).

    Attributes
    ----------
    by : str
        What made it.
    value_e, error_e : ndarray
        The master and its one-sigma error, electron.
    codes : ndarray of int
        0 for pixels that are called good; 256 hot and 1024 noisy, where the two are told apart.
    count : ndarray or int
        Samples that entered the mean of each pixel.
    seconds : float
        Time it took, without simulation.
    qc : dict
        QC values by name; empty where there are none.
    """

    by: str
    value_e: NDArray[np.float32]
    error_e: NDArray[np.float32]
    codes: NDArray[np.integer[Any]]
    count: NDArray[np.uint16] | int
    seconds: float
    qc: dict[str, float]


def by_soxspipe(darks: Darks) -> Reduction:
    """Make a master dark with the steps and defaults of the recipe."""
    started = time.perf_counter()
    stack = clip_and_stack(darks.stack, noise_model=measure_noise(darks.stack))
    noise_map = create_noise_map(stack).with_codes(
        {
            PixelCode.AMBIGUOUS: stack.ambiguous,
            PixelCode.SATURATED: stack.saturated,
            PixelCode.NO_DATA: stack.count == 0,
        }
    )
    seconds = time.perf_counter() - started
    facts = DarkContext(
        exptime_s=darks.scene.simulation.exptime_s,
        step_e=darks.stack.step_e,
        pedestal_removed=darks.stack.common_error is not None,
        bias_error=darks.stack.common_error,
        pixel_area_cm2=(darks.scene.simulation.detector.pixel_size_um * 1e-4) ** 2,
    )
    metrics = dark_quality(stack, noise_map, facts)
    qc = {metric.name: float(metric.value) for metric in metrics if isinstance(metric.value, int | float)}
    master = stack.master
    error_e = np.asarray(master.uncertainty.array)
    return Reduction("soxspipe", np.asarray(master.data), error_e, noise_map.codes, stack.count, seconds, qc)


def by_ccdproc(darks: Darks) -> Reduction:
    """Make a master dark with `ccdproc.combine`, clipped about the median by the scatter of the samples.

    The error is the one that ccdproc gives, the standard deviation of the samples kept over the root of their
    number. ccdproc makes no map of bad pixels: hot is here what stands 5 sigmas above the median of the master,
    sigma from the median absolute deviation, as is often done.
    """
    from astropy import units
    from astropy.nddata import CCDData
    from astropy.stats import mad_std
    from ccdproc import combine

    started = time.perf_counter()
    frames = [CCDData(frame, unit=units.electron) for frame in darks.stack.arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        master = combine(
            frames,
            method="average",
            sigma_clip=True,
            sigma_clip_low_thresh=STOCK_SIGMA,
            sigma_clip_high_thresh=STOCK_SIGMA,
            sigma_clip_func="median",
            sigma_clip_dev_func="std",
            mem_limit=STOCK_MEMORY,
            dtype=np.float32,
        )
    value = np.asarray(master.data, np.float32)
    limit = np.median(value) + STOCK_SIGMA * mad_std(value)
    codes = np.where(value > limit, PixelCode.HOT.value, 0).astype(np.int32)
    error = np.asarray(master.uncertainty.array, np.float32)
    return Reduction("ccdproc", value, error, codes, len(frames), time.perf_counter() - started, {})
