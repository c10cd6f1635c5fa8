"""What is simulated, and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soxspipe.pixel_codes import PixelCode
from soxspipe.simulation import DarkSimulation, SimulatedDetector
from soxspipe.stacking import ArrayStack, Regions, clip_and_stack

#: Seed of the first scene.
SEED = 20260301
#: Frames of a master bias.
BIAS_FRAMES = 10
#: Side and amplitude (sigmas of the master in each pixel) of injected blocks; amplitude of injected columns.
BLOCK_SIDE, BLOCK_SIGMA, COLUMN_SIGMA = 3, 8.0, 6.0
#: Range of the amplitudes of faint hot pixels, sigmas of the master.
FAINT_SIGMA = (3.0, 20.0)


@dataclass(frozen=True)
class Scene:
    """One detector and one set of darks of it.

    Attributes
    ----------
    name : str
        What the table calls it.
    simulation : DarkSimulation
        What to simulate.
    groups : frozenset of str
        Which promises it is a test of.
    bias_frames : int
        Frames of the master bias that is subtracted; 0 for none.
    blocks, columns : int
        How many blocks of 3 x 3 pixels and how many whole columns to make hot.
    """

    name: str
    simulation: DarkSimulation
    groups: frozenset[str]
    bias_frames: int = 0
    blocks: int = 0
    columns: int = 0


@dataclass
class Truth:
    """What is true of each light-sensitive pixel; all images have the shape (ny, nx).

    Attributes
    ----------
    level_e : ndarray
        Expected value of the master, electron.
    sigma_e : ndarray
        Standard deviation of a perfect mean of the frames in a good pixel, electron: read noise, noise of rows,
        rounding and shot noise of the local level, and the noise of a subtracted master bias. The shot noise of
        a hot pixel's own excess is not in it: this is what the excess is to be told from.
    common_sigma_e : ndarray
        The part of it that does not average over the frames, that of the master bias, electron.
    hot_e : ndarray
        Excess over the neighbours, electron; not that of injected blocks and columns.
    codes : ndarray of int32
        256 hot, 512 cold or dead, 1024 telegraph; 0 is good.
    hits : ndarray of uint8
        Cosmic rays that left more than one read noise.
    rows_variance : float
        Variance of the rows' own levels in the mean of the frames, as it was drawn, electron**2; within sigma_e.
    blocks, columns : list
        Pixels (flat indices) of each injected block and column.
    telegraph : ndarray
        Flat indices of telegraph pixels.
    telegraph_step : ndarray
        Their steps, in read noises.
    telegraph_minority : ndarray of int
        Samples in that of their two states that they show less often.
    """

    level_e: NDArray[np.float32]
    sigma_e: NDArray[np.float32]
    common_sigma_e: NDArray[np.float32]
    hot_e: NDArray[np.float32]
    codes: NDArray[np.int32]
    hits: NDArray[np.uint8]
    blocks: list[NDArray[np.intp]] = field(default_factory=list)
    columns: list[NDArray[np.intp]] = field(default_factory=list)
    telegraph: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    telegraph_step: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rows_variance: float = 0.0
    telegraph_minority: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))


@dataclass
class Darks:
    """Frames as the pipeline gets them, and the truth.

    Attributes
    ----------
    stack : ArrayStack
        Frames, electron, the master bias subtracted.
    truth : Truth
        The truth.
    """

    scene: Scene
    stack: ArrayStack
    truth: Truth


def make_darks(scene: Scene) -> Darks:
    """Simulate a scene."""
    simulation = scene.simulation
    detector = SimulatedDetector(simulation)
    window, conad = detector.geometry.science, detector.physics.conad_e_per_adu
    inside = slice(window.y0, window.y1), slice(window.x0, window.x1)
    regions = tuple((slice(a.y0, a.y1), slice(a.x0, a.x1)) for a in detector.geometry.amplifiers)
    truth = _truth(detector, inside, scene.bias_frames)
    excess_e = _inject(truth, scene, detector.physics.row_noise_e)
    rng = np.random.default_rng([simulation.seed, 1])
    injected = np.flatnonzero(excess_e)
    bias = None if not scene.bias_frames else _master_bias(scene, inside, regions)

    frames = []
    rows_e = np.zeros(truth.codes.shape[0])
    states = np.zeros(truth.telegraph.size, int)
    for index in range(simulation.frames):
        frame = detector.frame(index)[inside].astype(np.float32)
        frame *= np.float32(conad)
        flat = frame.ravel()  # a view
        flat[injected] += rng.poisson(excess_e.ravel()[injected])
        charge = _charge(detector, index, inside)
        truth.hits += charge > detector.physics.read_noise_e
        above = frame - charge - (detector.dark_e + detector.pedestal_e)[inside] - np.float32(detector.level_e(index))
        rows_e += np.mean(above, axis=1, dtype=np.float64, where=truth.codes == 0) / simulation.frames
        # steps of eight read noises and more leave no doubt about the state of a sample
        states += above.ravel()[truth.telegraph] > 0.5 * truth.telegraph_step * detector.physics.read_noise_e
        if bias is not None:
            frame -= bias[0]
        frames.append(frame)
    if detector.physics.row_noise_e:
        # A frame has few independent rows when their noise is 1/f: the variance that was drawn, not the expected
        # one, is what a perfect mean shows. Nothing but the rows' own level is in these means of 2000 pixels.
        truth.rows_variance = float(rows_e.var())
        truth.sigma_e = np.sqrt(np.square(truth.sigma_e) + np.float32(truth.rows_variance))
    truth.telegraph_minority = np.minimum(states, simulation.frames - states)
    if bias is not None:
        truth.level_e -= detector.pedestal_e[inside]
    stack = ArrayStack(
        tuple(frames),
        (None,) * len(frames),
        conad,
        np.inf if bias is not None else (detector.physics.ceiling_adu - 0.5) * conad,
        regions=regions,
        column_parity=simulation.detector.column_parity,
        common_error=None if bias is None else bias[1],
    )
    return Darks(scene, stack, truth)


def _truth(detector: SimulatedDetector, inside: tuple[slice, slice], bias_frames: int) -> Truth:
    """Compute what the simulation says of the master."""
    physics, n = detector.physics, detector.simulation.frames
    dark, hot = detector.dark_e[inside], detector.hot_e[inside]
    drift = np.float32(np.mean([detector.level_e(i) for i in range(n)]))
    read_variance = np.square(detector.read_noise_e[inside]) + np.float32(physics.conad_e_per_adu**2 / 12)
    # the noise of rows comes in `make_darks`, as it was drawn
    variance = (read_variance + dark - hot) / np.float32(n)
    common = read_variance / np.float32(bias_frames) if bias_frames else np.zeros_like(read_variance)
    codes = detector.codes[inside].copy()
    columns = detector.codes.shape[1]
    noisy = detector.defects[detector.defects["code"] == PixelCode.NOISY.value]
    y, x = noisy["pixel"] // columns - inside[0].start, noisy["pixel"] % columns - inside[1].start
    return Truth(
        level_e=dark + detector.pedestal_e[inside] + drift,
        sigma_e=np.sqrt(variance + common),
        common_sigma_e=np.sqrt(common),
        hot_e=hot.copy(),
        codes=codes,
        hits=np.zeros(codes.shape, np.uint8),
        telegraph=(y * codes.shape[1] + x).astype(np.intp),
        telegraph_step=noisy["amplitude_e"].astype(float) / physics.read_noise_e,
    )


def _charge(detector: SimulatedDetector, index: int, inside: tuple[slice, slice]) -> NDArray[np.float32]:
    """Charge of cosmic rays in each pixel of a frame, electron."""
    charge = np.zeros(detector.codes.shape, np.float32)
    pixels, charge_e = detector.cosmic_rays(index)
    charge.ravel()[pixels] = charge_e
    return charge[inside]


def _inject(truth: Truth, scene: Scene, row_noise_e: float) -> NDArray[np.float32]:
    """Place blocks and columns, tell the truth of them, and return their expected excess, electron."""
    rng = np.random.default_rng([scene.simulation.seed, 2])
    ny, nx = truth.codes.shape
    excess = np.zeros((ny, nx), np.float32)
    index = np.arange(ny * nx).reshape(ny, nx)
    taken = truth.codes != 0
    sigma = np.sqrt(np.square(truth.sigma_e) + np.float32(row_noise_e**2 / scene.simulation.frames))
    # columns stand in a grid of 40, blocks in one of 20: each is to be judged by itself
    for x in np.sort(rng.permutation(np.arange(20, nx - 20, 40))[: scene.columns]):
        column = x + int(rng.integers(20))
        truth.columns.append(index[~taken[:, column], column])
        excess[:, column] = COLUMN_SIGMA * sigma[:, column]
    corners = [(y, x) for y in range(10, ny - 20, 20) for x in range(10, nx - 20, 20)]
    for corner in rng.permutation(corners) if scene.blocks else ():
        y, x = corner + rng.integers(10, size=2)
        place = slice(y, y + BLOCK_SIDE), slice(x, x + BLOCK_SIDE)
        near = slice(y - 6, y + 6 + BLOCK_SIDE), slice(x - 6, x + 6 + BLOCK_SIDE)
        if len(truth.blocks) == scene.blocks:
            break
        if not taken[place].any() and not excess[near].any():
            truth.blocks.append(index[place].ravel())
            excess[place] = BLOCK_SIGMA * sigma[place]
    truth.codes[(excess > 0) & ~taken] |= PixelCode.HOT.value
    truth.level_e += excess
    return excess


def _master_bias(
    scene: Scene, inside: tuple[slice, slice], regions: Regions
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make a master bias of the same detector: mean and error, electron."""
    dark = scene.simulation
    own = dark.seed if dark.detector_seed is None else dark.detector_seed
    bias = {"kind": "BIAS", "frames": scene.bias_frames, "seed": dark.seed + 7919, "detector_seed": own, "drift_e": 0.0}
    detector = SimulatedDetector(DarkSimulation(**dict(dark) | bias))
    conad = detector.physics.conad_e_per_adu
    frames = [detector.frame(i)[inside].astype(np.float32) * np.float32(conad) for i in range(scene.bias_frames)]
    # no clip to speak of: a bias has neither exposure nor cosmic rays, and telegraph pixels are bad anyway
    master = clip_and_stack(frames, regions=regions, step_e=conad, stacked_clipping_sigma=10.0).master
    return np.asarray(master.data), np.asarray(master.uncertainty.array)


def _faint_range(simulation: DarkSimulation) -> tuple[float, float]:
    """Range of excesses that spans the amplitudes wanted in the master, electron/s."""
    physics = simulation.physics()
    quiet = physics.dark_current_e_per_s * simulation.exptime_s
    variance = physics.read_noise_e**2 + physics.row_noise_e**2 + physics.conad_e_per_adu**2 / 12 + quiet
    sigma = np.sqrt(variance / simulation.frames)
    low, high = (float(amplitude * sigma / simulation.exptime_s) for amplitude in FAINT_SIGMA)
    return low, high


def scenes(quick: bool) -> list[Scene]:
    """Return all scenes, or those of the quick run in small frames."""
    nir: dict[str, Any] = {"arm": "NIR", "read_noise_spread": 0.0}
    vis: dict[str, Any] = {"arm": "VIS"}
    acq: dict[str, Any] = {"arm": "ACQ"}
    blocks, columns = 300, 40
    if quick:
        nir["shape"], vis["shape"], acq["shape"] = (520, 520), (512, 908), (512, 512)
        blocks, columns = 30, 5
    plain = {**nir, "structure": False, "drift_e": 0.0}
    faint, wide = {**nir, "hot_fraction": 0.02}, {**nir, "hot_fraction": 0.02, "read_noise_spread": 0.2}
    hour = {**vis, "exptime_s": 3600.0, "pedestal_e": 1000.0}
    coarse = {**vis, "conad_e_per_adu": 2.0, "read_noise_e": 3.0}
    made: list[Scene] = []

    def add(name: str, groups: str, frames: int, about: dict[str, Any], **more: int) -> None:
        # each scene has a seed of its own: with one for all they would share detector and cosmic rays
        simulation = DarkSimulation(seed=SEED + 17 * len(made), frames=frames, **about)
        if "faint" in groups:
            simulation = DarkSimulation(**dict(simulation) | {"hot_range_e_per_s": _faint_range(simulation)})
        made.append(Scene(name.format(frames), simulation, frozenset(groups.split()), **more))

    for n in (3, 5, 10) if quick else (3, 5, 10, 25):
        add("NIR, N={}", "errors NIR structure", n, nir)
        add("NIR, N={}, no structure, no drift", "errors NIR", n, plain)
    for n in (3, 5, 10):
        add("NIR, N={}, faint hot", "faint NIR", n, faint)
        add("NIR, N={}, faint hot, spread 20 %", "faint spread NIR", n, wide)
    for n in (3, 5):
        add("VIS, N={}, 1 h", "errors VIS", n, hour)
    for n in (5, 10):
        # columns differ by more than the bias noise, so that the bias has something to take away
        add(f"VIS, N={{}}, 1 h, bias of {BIAS_FRAMES}", "errors VIS bias", n, {**hour, "column_e": 3.0},
            bias_frames=BIAS_FRAMES)  # fmt: skip
    add("VIS, N={}, 2 e-/ADU, noise 1.5 ADU", "VIS", 5, coarse)
    add("ACQ, N={}", "ACQ", 5, acq)
    for n in (5, 10):
        # half of the time on either level: of those that switch seldom, few samples tell (docs/method, section 4)
        telegraph = {"telegraph_fraction": 0.01, "telegraph_duty": (0.5, 0.5)}
        add("NIR, N={}, telegraph", "telegraph NIR", n, {**nir, **telegraph})
        add("NIR, N={}, clusters", "clusters NIR", n, nir, blocks=blocks, columns=columns)
    return made
