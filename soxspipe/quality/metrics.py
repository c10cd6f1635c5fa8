"""QC values of a master dark, from its arrays."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..stacking.clip_and_stack import StackResult
from ..stacking.create_noise_map import COLD, HOT, NOISY, NoiseMap
from ..stacking.noise_model import CLIP_VARIANCE, clipped_moments, grouped_median
from .table import QCValue

__all__ = ["AMBIGUOUS", "NO_DATA", "SATURATED", "STATIC", "dark_metrics"]

#: Pixel codes beside those of the noise map (Euro3D, as MUSE uses them).
AMBIGUOUS, STATIC, SATURATED, NO_DATA = 32, 128, 4096, 1 << 30


def dark_metrics(
    stack: StackResult,
    noise_map: NoiseMap,
    codes: NDArray[np.int32],
    *,
    exptime_s: float,
    step_e: float,
    pedestal_removed: bool,
    bias_error: NDArray[np.float32] | None = None,
) -> list[QCValue]:
    """Measure the QC values of a master dark.

    Parameters
    ----------
    stack : StackResult
        The stacked frames.
    noise_map : NoiseMap
        Its hot, cold and noisy pixels.
    codes : ndarray of int32, shape (ny, nx)
        All pixel codes; 0 is good.
    exptime_s : float
        Exposure that the counts belong to, second.
    step_e : float
        Quantisation step of a single frame, electron.
    pedestal_removed : bool
        Whether the pedestal was taken from the frames. If not, the level is pedestal + dark and gives only
        an upper limit of the dark current.
    bias_error : ndarray of float32, shape (ny, nx), electron, optional
        Error of a subtracted master bias.

    Returns
    -------
    list of QCValue
    """
    data = stack.master.data
    good = codes == 0
    values = data[good]
    n = stack.n_frames
    model = stack.noise_model
    mean, std = clipped_moments(values)
    read_noise = model.mean_read_noise_e
    current_error = _level_error(stack, values.size, bias_error, good) / exptime_s
    current = mean / exptime_s
    halves = _halves_noise(stack)
    first, second = (n + 1) // 2, n // 2
    master_noise = halves * math.sqrt(first * second) / n
    hot = noise_map.count(HOT)
    total = n * data.size
    qc = [
        QCValue("MDARK MEDIAN", grouped_median(values, step_e / n) if values.size else math.nan, "electron",
                "median of good pixels"),
        QCValue("MDARK MEAN", mean, "electron", "clipped mean of good pixels"),
        QCValue("MDARK STDEV", std, "electron", "clipped standard deviation of good pixels"),
        QCValue("DARK CURRENT", current, "electron/s", "clipped mean over the exposure time"),
        QCValue("DARK CURRENT ERR", current_error, "electron/s", "its one-sigma error"),
        QCValue("DARK CURRENT LIMIT", not pedestal_removed or abs(current) < 3 * current_error, "",
                "T: an upper limit, as the pedestal decides"),
        QCValue("RON RAW", read_noise, "electron", "noise of a single frame"),
        *_per_amplifier(model.read_noise_e),
        QCValue("RON MASTER", master_noise, "electron", "noise of the master, from its halves"),
        QCValue("RON MASTER RATIO", master_noise / (read_noise / math.sqrt(n)), "",
                "RON MASTER over RON RAW / sqrt(frames)"),
        QCValue("HOTPIX NUM", hot, "", "hot pixels"),
        QCValue("HOTPIX FRAC", hot / data.size, "", "fraction of hot pixels"),
        QCValue("COLDPIX NUM", noise_map.count(COLD), "", "cold or dead pixels"),
        QCValue("NOISYPIX NUM", noise_map.count(NOISY) if noise_map.noisy_tested else None, "", "noisy pixels"),
        QCValue("NOISYPIX TESTED", noise_map.noisy_tested, "", "F: too few frames to look for noisy pixels"),
        QCValue("AMBIGPIX NUM", int(np.count_nonzero(codes & AMBIGUOUS)), "", "ambiguous pixels"),
        QCValue("SATPIX NUM", int(np.count_nonzero(codes & SATURATED)), "", "pixels saturated in most frames"),
        QCValue("PULL STD", noise_map.null_width, "", "scatter of good pixels over their error"),
        QCValue("REJECT FRAC", stack.n_rejected / total, "", "fraction of samples rejected"),
        QCValue("INVALID FRAC", stack.n_invalid / total, "", "fraction of samples without data"),
    ]  # fmt: skip
    if bias_error is not None:
        qc.append(QCValue("BIAS NOISE", float(np.nanmedian(bias_error)), "electron", "median error of the master bias"))
    return qc


def _per_amplifier(read_noise_e: NDArray[np.float64]) -> list[QCValue]:
    """One value per amplifier, where there is more than one."""
    if len(read_noise_e) == 1:
        return []
    return [
        QCValue(f"RON RAW{i}", float(value), "electron", f"noise of a single frame, amplifier {i}")
        for i, value in enumerate(read_noise_e, 1)
    ]


def _halves_noise(stack: StackResult) -> float:
    """Measure the scatter of the difference of the two halves of the stack, electron."""
    return clipped_moments(stack.half_difference)[1] / math.sqrt(CLIP_VARIANCE)


def _level_error(
    stack: StackResult, n_pixels: int, bias_error: NDArray[np.float32] | None, good: NDArray[np.bool_]
) -> float:
    """One-sigma error of the mean level: frames drift by more than their pixels' noise averages to."""
    model = stack.noise_model
    pixel_noise = model.mean_read_noise_e**2 / max(n_pixels, 1)
    variance = max(pixel_noise, float(np.var(model.frame_level_e, ddof=1))) / stack.n_frames
    if bias_error is not None:
        variance += float(np.nanmean(np.square(bias_error[good], dtype=np.float64))) / max(n_pixels, 1)
    return math.sqrt(variance)
