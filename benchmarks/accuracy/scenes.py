"""Simulated sets of frames, with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soxspipe.pixel_codes import PixelCode
from soxspipe.simulation import DarkSimulation, SimulatedDetector
from soxspipe.simulation.detector import OWN_SHARE
from soxspipe.stacking import ArrayStack, Regions, clip_and_stack

#: Seed of the first scene.
SEED = 20260301
#: Frames of a master bias.
BIAS_FRAMES = 10
#: Side and amplitude (sigmas of the master, each pixel) of injected blocks; amplitude of injected columns.
BLOCK_SIDE, BLOCK_SIGMA, COLUMN_SIGMA = 3, 8.0, 6.0
#: Amplitudes of faint hot pixels, sigmas of the master.
FAINT_SIGMA = (3.0, 20.0)


@dataclass(frozen=True)
class Scene:
    """One set of darks of one detector.

    Attributes
    ----------
    name : str
        Name in the tables.
    simulation : DarkSimulation
        The detector and the darks.
    groups : frozenset of str
        Names that select the scenes of a promise.
    bias_frames : int
        Number of biases in the master bias that is subtracted; 0 for none.
    from_files : bool
        Whether the recipes reduce raw biases and darks on disk; else the darks are reduced in memory.
    settings : dict
        Settings of the recipe, where the frames are reduced from files.
    blocks, columns : int
        Number of blocks of 3 x 3 pixels and of whole columns to make hot.
    """

    name: str
    simulation: DarkSimulation
    groups: frozenset[str]
    bias_frames: int = 0
    from_files: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    blocks: int = 0
    columns: int = 0

    def bias_simulation(self) -> DarkSimulation:
        """Return the biases of the same detector.

        Their levels drift only where they are reduced from files: the overscan measures the drift there.
        """
        dark = self.simulation
        detector_seed = dark.seed if dark.detector_seed is None else dark.detector_seed
        changes = {
            "kind": "BIAS", "frames": self.bias_frames, "seed": dark.seed + 7919, "detector_seed": detector_seed,
            "drift_e": dark.drift_e if self.from_files else 0.0,
        }  # fmt: skip
        return DarkSimulation(**dict(dark) | changes)


@dataclass
class Truth:
    """The truth of each light-sensitive pixel; all images have the shape (ny, nx).

    Attributes
    ----------
    level_e : ndarray
        Expected value of the master, electron.
    sigma_e : ndarray
        Standard deviation of a perfect mean of the frames in a good pixel, electron: read noise, row noise, rounding
        and shot noise of the local level, and the noise of a subtracted master bias. It does not contain the shot
        noise of a hot pixel's own excess, because the excess is compared with it.
    common_sigma_e : ndarray
        The part of it that does not average over the frames: the noise of the master bias, electron.
    dark_e : ndarray
        Dark signal and glow of one integration, electron.
    hot_e : ndarray
        Excess over the neighbours, electron, without injected blocks and columns.
    codes : ndarray of int32
        256 hot, 512 cold or dead, 1024 telegraph; 0 is good.
    hits : ndarray of uint8
        Number of cosmic rays that left more than one read noise.
    rows_variance : float
        Variance of the row noise in the mean of the frames, as simulated, electron**2; part of ``sigma_e``.
    blocks, columns : list
        Pixels (flat indices) of each injected block and column.
    telegraph : ndarray
        Flat indices of telegraph pixels.
    telegraph_step : ndarray
        Their steps, read noises.
    telegraph_minority : ndarray of int
        Number of samples in the rarer of their two states.
    """

    level_e: NDArray[np.float32]
    sigma_e: NDArray[np.float32]
    common_sigma_e: NDArray[np.float32]
    dark_e: NDArray[np.float32]
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
    """A simulated set of darks.

    Attributes
    ----------
    scene : Scene
        The scene.
    stack : ArrayStack
        Frames, electron, with the master bias subtracted.
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
    truth = _truth(detector, inside, scene)
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
        # with a step of eight read noises or more, half of the step separates the two states
        states += above.ravel()[truth.telegraph] > 0.5 * truth.telegraph_step * detector.physics.read_noise_e
        if bias is not None:
            frame -= bias[0]
        if _drift_is_removed(scene):
            frame -= np.float32(detector.level_e(index))
        frames.append(frame)
    if detector.physics.row_noise_e:
        # With 1/f noise a frame has few independent rows, so the simulated variance counts, not the expected one.
        # A mean of 2000 pixels of a row contains little but the row noise.
        truth.rows_variance = float(rows_e.var())
        truth.sigma_e = np.sqrt(np.square(truth.sigma_e) + np.float32(truth.rows_variance))
    truth.telegraph_minority = np.minimum(states, simulation.frames - states)
    if bias is not None:
        truth.level_e -= detector.pedestal_e[inside]
    elif _drift_is_removed(scene):
        first, end = detector.geometry.overscan_columns[-1]
        truth.level_e -= detector.pedestal_e[:, first:end].mean(dtype=np.float64)
    stack = ArrayStack(
        tuple(frames),
        (None,) * len(frames),
        conad if simulation.quantise else 0.0,
        np.inf if bias is not None else (detector.physics.ceiling_adu - 0.5) * conad,
        regions=regions,
        shot_scale=1 / simulation.ndit,
        column_parity=simulation.detector.column_parity,
        common_error=None if bias is None else bias[1],
    )
    return Darks(scene, stack, truth)


def _truth(detector: SimulatedDetector, inside: tuple[slice, slice], scene: Scene) -> Truth:
    """Return the truth of the master, without row noise and injected defects."""
    physics, n = detector.physics, detector.simulation.frames
    dark, hot = detector.dark_e[inside], detector.hot_e[inside]
    # from files, the overscan removes the drift
    drift = np.float32(0 if _drift_is_removed(scene) else np.mean([detector.level_e(i) for i in range(n)]))
    shared = np.float32(scene.simulation.common_noise_e**2 * (1 + OWN_SHARE**2))
    rounding = np.float32(physics.conad_e_per_adu**2 / 12 * scene.simulation.quantise)
    read_variance = (np.square(detector.read_noise_e[inside]) + shared) / np.float32(scene.simulation.ndit) + rounding
    variance = (read_variance + (dark - hot) / np.float32(scene.simulation.ndit)) / np.float32(n)
    common = read_variance / np.float32(scene.bias_frames) if scene.bias_frames else np.zeros_like(read_variance)
    codes = detector.codes[inside].copy()
    columns = detector.codes.shape[1]
    noisy = detector.defects[detector.defects["code"] == PixelCode.NOISY.value]
    y, x = noisy["pixel"] // columns - inside[0].start, noisy["pixel"] % columns - inside[1].start
    return Truth(
        level_e=dark + detector.pedestal_e[inside] + drift,
        sigma_e=np.sqrt(variance + common),
        common_sigma_e=np.sqrt(common),
        dark_e=dark,
        hot_e=hot.copy(),
        codes=codes,
        hits=np.zeros(codes.shape, np.uint8),
        telegraph=(y * codes.shape[1] + x).astype(np.intp),
        telegraph_step=noisy["amplitude_e"].astype(float) / physics.read_noise_e,
    )


def _drift_is_removed(scene: Scene) -> bool:
    """Return whether overscan columns measure the drift of the levels."""
    return scene.from_files and bool(scene.simulation.detector.overscan_columns)


def _charge(detector: SimulatedDetector, index: int, inside: tuple[slice, slice]) -> NDArray[np.float32]:
    """Return the charge of cosmic rays in each pixel of a frame, electron."""
    charge = np.zeros(detector.codes.shape, np.float32)
    pixels, charge_e = detector.cosmic_rays(index)
    charge.ravel()[pixels] = charge_e
    return charge[inside]


def _inject(truth: Truth, scene: Scene, row_noise_e: float) -> NDArray[np.float32]:
    """Add blocks and columns to the truth, and return their expected excess, electron."""
    rng = np.random.default_rng([scene.simulation.seed, 2])
    ny, nx = truth.codes.shape
    excess = np.zeros((ny, nx), np.float32)
    index = np.arange(ny * nx).reshape(ny, nx)
    defective = truth.codes != 0
    sigma = np.sqrt(np.square(truth.sigma_e) + np.float32(row_noise_e**2 / scene.simulation.frames))
    # columns lie in a grid of 40 pixels, blocks in one of 20, so that they do not touch
    for x in np.sort(rng.permutation(np.arange(20, nx - 20, 40))[: scene.columns]):
        column = x + int(rng.integers(20))
        truth.columns.append(index[~defective[:, column], column])
        excess[:, column] = COLUMN_SIGMA * sigma[:, column]
    corners = [(y, x) for y in range(10, ny - 20, 20) for x in range(10, nx - 20, 20)]
    for corner in rng.permutation(corners) if scene.blocks else ():
        y, x = corner + rng.integers(10, size=2)
        place = slice(y, y + BLOCK_SIDE), slice(x, x + BLOCK_SIDE)
        near = slice(y - 6, y + 6 + BLOCK_SIDE), slice(x - 6, x + 6 + BLOCK_SIDE)
        if len(truth.blocks) == scene.blocks:
            break
        if not defective[place].any() and not excess[near].any():
            truth.blocks.append(index[place].ravel())
            excess[place] = BLOCK_SIGMA * sigma[place]
    truth.codes[(excess > 0) & ~defective] |= PixelCode.HOT.value
    truth.level_e += excess
    return excess


def _master_bias(
    scene: Scene, inside: tuple[slice, slice], regions: Regions
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a master bias of the same detector and its error, electron."""
    detector = SimulatedDetector(scene.bias_simulation())
    conad = np.float32(detector.physics.conad_e_per_adu)
    frames = []
    for i in range(scene.bias_frames):
        frame = detector.frame(i)[inside].astype(np.float32) * conad
        frames.append(frame - np.float32(detector.level_e(i)))
    # a wide clip: biases have no cosmic rays, and telegraph pixels count as bad
    master = clip_and_stack(
        frames, regions=regions, step_e=float(conad), stacked_clipping_sigma=10.0, unit="electron"
    ).master
    return np.asarray(master.data), np.asarray(master.uncertainty.array)


def _faint_range(simulation: DarkSimulation) -> tuple[float, float]:
    """Return the range of excesses that gives the amplitudes of faint hot pixels, electron/s."""
    physics = simulation.physics()
    dark_e = physics.dark_current_e_per_s * simulation.exptime_s
    variance = physics.read_noise_e**2 + physics.row_noise_e**2 + physics.conad_e_per_adu**2 / 12 + dark_e
    sigma = np.sqrt(variance / simulation.frames)
    low, high = (float(amplitude * sigma / simulation.exptime_s) for amplitude in FAINT_SIGMA)
    return low, high


def scenes(quick: bool) -> list[Scene]:
    """Return all scenes; with ``quick``, with fewer and smaller frames."""
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

    def add(name: str, groups: str, frames: int, about: dict[str, Any], **more: Any) -> None:
        # with one seed for all, the scenes would share detector and cosmic rays
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
        # with column levels larger than the noise, a missing bias would be seen
        add(f"VIS, N={{}}, 1 h, bias of {BIAS_FRAMES}", "errors VIS bias", n, {**hour, "column_e": 3.0},
            bias_frames=BIAS_FRAMES)  # fmt: skip
    add("VIS, N={}, 2 e-/ADU, noise 1.5 ADU", "VIS", 5, coarse)
    add("ACQ, N={}", "ACQ", 5, acq)
    for n in (5, 10):
        # half of the time in each state: other pixels may show one of them too rarely (docs/method, section 4)
        telegraph = {"telegraph_fraction": 0.01, "telegraph_duty": (0.5, 0.5)}
        add("NIR, N={}, telegraph", "telegraph NIR", n, {**nir, **telegraph})
        add("NIR, N={}, clusters", "clusters NIR", n, nir, blocks=blocks, columns=columns)
    # new scenes go to the end, as the seeds of the others depend on their places
    add(f"VIS, N={{}}, 1 h, bias of {BIAS_FRAMES} by soxs_mbias", "errors VIS bias mbias", 5, {**hour, "column_e": 3.0},
        bias_frames=BIAS_FRAMES, from_files=True)  # fmt: skip
    for name, groups, frames, about, more in _real_detectors(nir, vis, quick):
        add(name, f"real {groups}", frames, about, **more)
    return made


def _real_detectors(
    nir: dict[str, Any], vis: dict[str, Any], quick: bool
) -> Iterator[tuple[str, str, int, dict[str, Any], dict[str, Any]]]:
    """Yield name, groups, frames, detector and further values of the scenes with effects of real detectors."""
    for glow_e in (30.0, 100.0, 300.0, 1000.0, 3000.0):
        yield f"VIS, N={{}}, glow of {glow_e:g} e-", "glow", 10, {**vis, "glow_e": glow_e}, {}
    for sigma in (0.3, 0.5):
        for dark_e in (50.0, 400.0):
            dark = {"dsnu": sigma, "dark_current_e_per_s": dark_e / 300}
            yield f"NIR, N={{}}, DSNU {sigma:g} of {dark_e:g} e-", "dsnu", 5, {**nir, **dark}, {}
    yield "NIR, N={}, column pattern of 5 e-", "columns", 10, {**nir, "column_pattern_e": 5.0}, {}
    for ndit in (10, 100):
        # averages are not rounded
        average = {"ndit": ndit, "exptime_s": 10.0, "quantise": False}
        yield f"NIR, N={{}}, NDIT {ndit}", "ndit", 5, {**nir, **average}, {}
    for n in (50, 200):
        yield "NIR, N={}", "many", n, {**nir, "shape": (520, 520)}, {}
    yield "VIS, N={}, wander of 1 e-", "wander", 5, {**vis, "row_noise_e": 1.0}, {"from_files": True}
    # all amplifiers, as they give the common mode
    shared = {**nir, "common_noise_e": 3.0, "row_noise_e": 0.0, **({"shape": (300, 2048)} if quick else {})}
    yield "NIR, N={}, common 1/f of 3 e-", "common", 10, shared, {}
    removed = {"from_files": True, "settings": {"soxs-mdark": {"common-mode": True}}}
    yield "NIR, N={}, common 1/f of 3 e-, removed", "removed", 10, shared, removed
