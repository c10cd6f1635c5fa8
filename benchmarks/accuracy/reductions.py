"""Master darks of a simulated set, by this package and by ccdproc."""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from soxspipe.pixel_codes import PixelCode
from soxspipe.quality.dark import DarkContext, dark_quality
from soxspipe.recipes import soxs_mbias, soxs_mdark
from soxspipe.simulation import simulate_darks
from soxspipe.stacking import clip_and_stack, create_noise_map, measure_noise

from .scenes import Darks

#: Clip, and limit of hot pixels, of the stock reduction, sigma: the defaults of this package.
STOCK_SIGMA = 5.0
#: Memory limit of ccdproc, byte; beyond it ccdproc works in tiles.
STOCK_MEMORY = 2e9


@dataclass
class Reduction:
    """A master dark; all images have the shape (ny, nx).

    Attributes
    ----------
    by : str
        The program that made it.
    value_e, error_e : ndarray
        The master and its one-sigma error, electron.
    codes : ndarray of int
        0 for good pixels; 256 hot, and 1024 noisy where the program distinguishes both.
    count : ndarray or int
        Number of samples in the mean of each pixel.
    seconds : float
        Time of the reduction, without simulation.
    qc : dict
        QC values by name; empty when there are none.
    """

    by: str
    value_e: NDArray[np.float32]
    error_e: NDArray[np.float32]
    codes: NDArray[np.integer[Any]]
    count: NDArray[np.uint16] | int
    seconds: float
    qc: dict[str, float]


def by_soxspipe(darks: Darks) -> Reduction:
    """Make a master dark in memory with the steps and defaults of the recipe."""
    started = time.perf_counter()
    stack = clip_and_stack(darks.stack, noise_model=measure_noise(darks.stack))
    noise_map = create_noise_map(stack)
    noise_map = noise_map.with_codes(stack.codes)
    seconds = time.perf_counter() - started
    context = DarkContext(
        exptime_s=darks.scene.simulation.exptime_s,
        ndit=darks.scene.simulation.ndit,
        step_e=darks.stack.step_e,
        pedestal_removed=darks.stack.common_error is not None,
        bias_error=darks.stack.common_error,
        pixel_area_cm2=(darks.scene.simulation.detector.pixel_size_um * 1e-4) ** 2,
    )
    metrics = dark_quality(stack, noise_map, context)
    qc = {metric.name: float(metric.value) for metric in metrics if isinstance(metric.value, int | float)}
    master = stack.master
    error_e = np.asarray(master.uncertainty.array)
    return Reduction("soxspipe", np.asarray(master.data), error_e, noise_map.codes, stack.count, seconds, qc)


def by_recipes(darks: Darks) -> Reduction:
    """Make a master dark from raw files with the recipes, and a master bias where the scene has one."""
    scene = darks.scene
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw: list[Path] = [simulate_darks(folder / "darks", scene.simulation).sof]
        biases = simulate_darks(folder / "biases", scene.bias_simulation()).sof if scene.bias_frames else None
        started = time.perf_counter()
        if biases is not None:
            raw.append(soxs_mbias(biases, output_dir=folder, workers=1).produce_product().path)
        dark = soxs_mdark(raw, scene.settings, folder, workers=1).produce_product()
        seconds = time.perf_counter() - started
        count = fits.getdata(dark.path, "NCOMBINE")
    planes = (dark.frame.data, dark.frame.uncertainty.array, dark.frame.flags, count)
    # back to the orientation of the raw frames
    value, error, codes, count = (np.rot90(plane, -scene.simulation.detector.rot90_count) for plane in planes)
    qc = {record["name"]: float(record["value"]) for record in dark.qc_records() if record["value"] is not None}
    return Reduction("soxspipe", value, error, codes, count, seconds, qc)


def by_ccdproc(darks: Darks) -> Reduction:
    """Make a master dark with `ccdproc.combine`, clipped about the median by the scatter of the samples.

    The error is that of ccdproc: the standard deviation of the samples kept, over the root of their number. ccdproc
    makes no bad-pixel map. By a common rule, hot pixels are here those 5 sigmas above the median of the master, with
    sigma from the median absolute deviation.
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
