"""Single numbers compared with the truth: read noise of rounded frames, dark current, rejected outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from soxspipe.quality.dark import DarkContext, dark_quality
from soxspipe.simulation import DarkSimulation, SimulatedDetector
from soxspipe.stacking import ArrayStack, clip_and_stack, create_noise_map, measure_noise
from soxspipe.stacking.sigma_clip import clip_by_noise, clip_by_scatter

#: Simulated read noises, ADU.
NOISES_ADU = (0.5, 0.75, 1.5, 5.0)
#: Conversion factor there, electron/ADU, and pedestals on an ADU, between two, and halfway, electron.
CONAD, PEDESTALS_E = 2.0, (1000.0, 1000.5, 1001.0)
#: Frames of each run for the dark current, and side of a frame, pixels.
DARK_FRAMES, DARK_SIDE = 10, 136
#: Amplitudes of single outliers, read noises, and number of outliers of each.
OUTLIER_SIGMA = np.arange(2.0, 20.01, 0.5)
OUTLIERS = 4000


@dataclass
class ReadNoise:
    """Measured over true read noise of rounded frames; the worst of three pedestals."""

    noise_adu: float
    frames: int
    ratio: float


def read_noise_of_rounded_frames(seed: int) -> list[ReadNoise]:
    """Measure RON RAW on rounded VIS frames with hot pixels and cosmic rays.

    The truth is the root of sigma**2 + 1/12: rounding adds the variance of a uniform distribution of 1 ADU.
    """
    rows = []
    for noise in NOISES_ADU:
        for frames in (3, 5, 10):
            ratios = []
            for k, pedestal in enumerate(PEDESTALS_E):
                simulation = DarkSimulation(
                    arm="VIS",
                    frames=frames,
                    shape=(512, 908),
                    seed=seed + k,
                    conad_e_per_adu=CONAD,
                    read_noise_e=noise * CONAD,
                    pedestal_e=pedestal,
                    dark_current_e_per_s=0.0,
                )
                stack = _stack_of(SimulatedDetector(simulation))
                measured = measure_noise(stack, unit="electron").mean_read_noise_e / CONAD
                ratios.append(measured / math.sqrt(noise**2 + 1 / 12))
            rows.append(ReadNoise(noise, frames, max(ratios, key=lambda ratio: abs(ratio - 1))))
    return rows


def _stack_of(detector: SimulatedDetector) -> ArrayStack:
    """Return the light-sensitive part of all frames of a detector, electron."""
    window, conad = detector.geometry.science, detector.physics.conad_e_per_adu
    frames = tuple(
        detector.frame(i)[window.y0 : window.y1, window.x0 : window.x1].astype(np.float32) * np.float32(conad)
        for i in range(detector.simulation.frames)
    )
    return ArrayStack(frames, (None,) * len(frames), conad)


def dark_current_pulls(seed: int, runs: int) -> NDArray[np.float64]:
    """Return (dark current - truth) / error of many small NIR sets with different seeds.

    The error is dominated by the drift of the frames, 5 electrons. The known pedestal is subtracted and there is no
    glow, so that the level is the dark current.
    """
    pulls = np.empty(runs)
    for run in range(runs):
        simulation = DarkSimulation(
            frames=DARK_FRAMES, shape=(DARK_SIDE, DARK_SIDE), seed=seed + run, detector_seed=seed, glow_e=0.0
        )
        detector = SimulatedDetector(simulation)
        window = detector.geometry.science
        inside = slice(window.y0, window.y1), slice(window.x0, window.x1)
        regions = tuple((slice(a.y0, a.y1), slice(a.x0, a.x1)) for a in detector.geometry.amplifiers)
        stack = replace(_stack_of(detector), regions=regions, column_parity=simulation.detector.column_parity)
        for frame in stack.arrays:
            frame -= detector.pedestal_e[inside]
        result = clip_and_stack(stack, unit="electron")
        noise_map = create_noise_map(result)
        context = DarkContext(exptime_s=simulation.exptime_s, pedestal_removed=True, step_e=stack.step_e)
        metrics = dark_quality(result, noise_map, context)
        qc = {metric.name: metric.value for metric in metrics}
        good = (noise_map.codes == 0) & (detector.codes[inside] == 0)
        truth = detector.dark_e[inside][good].mean(dtype=np.float64) / simulation.exptime_s
        pulls[run] = (float(qc["DARK CURRENT"] or 0) - truth) / float(qc["DARK CURRENT ERR"] or math.nan)
    return pulls


def clipping_curves(seed: int) -> dict[int, dict[str, NDArray[np.float64]]]:
    """Return the share of single outliers that each clip rejects, by number of frames and by clip.

    One of the Gaussian samples of each pixel is an outlier. All clips have 5 sigma and 5 iterations.
    """
    curves: dict[int, dict[str, NDArray[np.float64]]] = {}
    for n in (3, 5, 10):
        rng = np.random.default_rng([seed, n])
        shares: dict[str, list[float]] = {"noise-model": [], "mad": [], "std": []}
        for amplitude in OUTLIER_SIGMA:
            # noise of 100 electrons, so that the shot noise of the median is negligible
            samples = rng.standard_normal((n, OUTLIERS)).astype(np.float32) * np.float32(100)
            samples[0] += np.float32(100 * amplitude)
            noise = np.full(OUTLIERS, 100, np.float32)
            for scale, share in shares.items():
                if scale == "noise-model":
                    rejected = clip_by_noise(samples, noise, 5.0, 5).rejected
                else:
                    rejected = clip_by_scatter(samples, scale, 5.0, 5).rejected
                share.append(float(rejected[0].mean()))
        curves[n] = {scale: np.array(share) for scale, share in shares.items()}
    return curves
