"""Vet good sets and sets with one planted fault: ``python -m benchmarks.accuracy.vetting``.

Prints the good sets with a warning, and the faults with the frames that were named. The exit code is 1 when more than
one good set in a hundred has a warning, a fault is missed, or the wrong frame is named among five or more.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from soxspipe.stacking import clip_and_stack
from soxspipe.stacking.frame_verdicts import FrameVetting
from soxspipe.stacking.vet_frames import judge_conditions, vet_frames

__all__ = ["FAULTS", "SCENES", "Fault", "VettingScene", "faulty_sets", "good_sets", "vet"]

#: Columns of an amplifier, and side of a frame.
AMPLIFIER, SIDE = 64, 512
#: Degrees kelvin and days in which good sets of the default settings lie.
WIDEST_K, LONGEST_D = 2.0, 60.0
Frames = list[NDArray[np.float32]]


@dataclass(frozen=True)
class VettingScene:
    """A detector: noise, dark signal and structure, electron; cosmic-ray hits and hot pixels, share of the pixels."""

    read_noise: float = 7.3
    dark: float = 3.0
    hits: float = 3e-4
    hot: float = 2e-3
    drift: float = 3.0
    amplifier_drift: float = 0.5
    row_noise: float = 0.0
    common_noise: float = 0.0
    non_uniformity: float = 0.0
    glow: float = 0.0
    amplifier: int = AMPLIFIER

    def frames(self, n: int, rng: np.random.Generator, side: int = SIDE) -> Frames:
        """Draw frames of the same exposure, with amplifiers of 64 columns or one."""
        shape = side, side
        y = np.arange(side)[:, np.newaxis] / side
        signal = self.dark + self.glow * np.exp(-y / 0.15) * np.ones(shape)
        if self.non_uniformity:
            signal += 50 * np.exp(rng.normal(0, self.non_uniformity, shape))
        hot = rng.random(shape) < self.hot
        signal[hot] += 10 ** rng.uniform(1.5, 4, np.count_nonzero(hot))
        return [self._frame(signal, rng) for _ in range(n)]

    def _frame(self, signal: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
        side, width = len(signal), self.amplifier
        frame = rng.poisson(signal) + rng.normal(0, self.read_noise, signal.shape) + rng.normal(0, self.drift)
        if width < side:
            frame += np.repeat(rng.normal(0, self.amplifier_drift, side // width), width)
        if self.row_noise:
            frame += self.row_noise * pink(rng, side)[:, np.newaxis]
        if self.common_noise:  # all amplifiers are read at once, every second one from the right
            stream = self.common_noise * pink(rng, side * width).reshape(side, width)
            frame += np.hstack([stream[:, :: -1 if i % 2 else 1] for i in range(side // width)])
        hit = rng.random(signal.shape) < self.hits
        frame[hit] += 100 + rng.exponential(600, np.count_nonzero(hit))
        return frame.astype(np.float32)


def pink(rng: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Draw a series with a 1/f spectrum and an expected rms of 1."""
    frequency = np.arange(1, length // 2 + 1)
    modes = rng.standard_normal((2, frequency.size)) / np.sqrt(frequency)
    series = np.fft.irfft(np.concatenate([[0], modes[0] + 1j * modes[1]]), length)
    return series * length / (2 * np.sqrt(np.sum(1 / frequency)))


SCENES = {
    "NIR, white": VettingScene(),
    "NIR, 1/f of rows, 2 e-": VettingScene(row_noise=2.0),
    "NIR, 1/f of rows, 6 e-": VettingScene(row_noise=6.0),
    "NIR, common 1/f, 3 e-": VettingScene(common_noise=3.0),
    "NIR, common 1/f, 6 e-": VettingScene(common_noise=6.0),
    "NIR, DSNU 0.5": VettingScene(non_uniformity=0.5),
    "NIR, glow 300 e-": VettingScene(glow=300.0),
    "NIR, glow 3000 e-": VettingScene(glow=3000.0),
    "VIS, 30 min": VettingScene(3.8, 1.0, 3e-3, 4e-4, 1.0, amplifier=10**6),
    "VIS, 1 h": VettingScene(3.8, 2.0, 1e-2, 4e-4, 1.0, amplifier=10**6),
    "ACQ": VettingScene(2.9, 1.0, 1e-4, 1e-4, 1.0, amplifier=10**6),
}
NUMBERS = (3, 4, 5, 7, 10, 25)


def vet(frames: Frames, scene: VettingScene, warmer_k: NDArray[np.float64] | None = None) -> FrameVetting:
    """Stack and vet the frames of a scene."""
    side = len(frames[0])
    width = min(scene.amplifier, side)
    regions = tuple((slice(0, side), slice(x, x + width)) for x in range(0, side, width))
    stack = clip_and_stack(frames, regions=regions, unit="electron")
    assert stack.frame_figures is not None
    names = [f"frame {i}" for i in range(len(frames))]
    vetting = vet_frames(names, stack.frame_figures, stack.noise_model.offsets_e)
    temperatures = 40 + (np.zeros(len(frames)) if warmer_k is None else warmer_k)
    return judge_conditions(vetting, temperatures, np.arange(len(frames)) / 10, WIDEST_K, LONGEST_D)


def good_sets(n_sets: int, seed: int, side: int = SIDE) -> Iterator[tuple[str, int, FrameVetting]]:
    """Yield scene, number of frames and verdicts of good sets."""
    cases = itertools.cycle(itertools.product(NUMBERS, SCENES))
    for i, (n, name) in enumerate(itertools.islice(cases, n_sets)):
        rng = np.random.default_rng((seed, i))
        yield name, n, vet(SCENES[name].frames(n, rng, side), SCENES[name])


@dataclass(frozen=True)
class Fault:
    """A fault: what it adds to a frame of a set, electron, and words of the warning."""

    name: str
    add: Callable[[Frames, int, np.random.Generator, VettingScene], None]
    words: tuple[str, ...]
    fewest: int = 3


def _grid(frames: Frames) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.indices(frames[0].shape) / len(frames[0])
    return y, x


def _gradient(frames: Frames, i: int, rng: np.random.Generator, scene: VettingScene) -> None:
    y, x = _grid(frames)
    frames[i] += rng.poisson(5 * x + 5 * y)


def _spot(frames: Frames, i: int, rng: np.random.Generator, scene: VettingScene) -> None:
    y, x = _grid(frames)
    frames[i] += rng.poisson(40 * np.exp(-((x - 0.68) ** 2 + (y - 0.29) ** 2) / 2 / 0.15**2))


def _persistence(frames: Frames, i: int, rng: np.random.Generator, scene: VettingScene) -> None:
    y, x = _grid(frames)
    disc = 60 / (1 + np.exp((np.hypot(x - 0.49, y - 0.49) - 0.08) / 0.006))
    for k, frame in enumerate(frames):
        frame += rng.poisson(disc * np.exp(-k / 2))


def _noise(frames: Frames, i: int, rng: np.random.Generator, scene: VettingScene) -> None:
    frames[i] += rng.normal(0, np.sqrt(0.44) * scene.read_noise, frames[i].shape).astype(np.float32)


def _shift(frames: Frames, i: int, rng: np.random.Generator, scene: VettingScene) -> None:
    frames[i] = np.roll(frames[i], 1, axis=int(rng.integers(2)))


def _half(frames: Frames, i: int, rng: np.random.Generator, scene: VettingScene) -> None:
    frames[i][: len(frames[i]) // 2] += 15


FAULTS = (
    Fault("gradient of 10 e-", _gradient, ("gradient",), fewest=5),
    Fault("spot of 40 e-", _spot, ("light leak",)),
    Fault("persistence of 60 e-", _persistence, ("persistence",)),
    Fault("noise x 1.2", _noise, ("noisier",)),
    Fault("+6 K", lambda *_: None, ("warmer",)),
    Fault("shift by a pixel", _shift, ("shifted",)),
    Fault("half of the frame 15 e- higher", _half, ("gradient", "light leak")),
)


def faulty_sets(seed: int, side: int = SIDE) -> Iterator[tuple[Fault, str, int, int, FrameVetting]]:
    """Yield fault, scene, number of frames, the faulty frame and the verdicts: twenty sets for each scene."""
    for name in ("NIR, white", "NIR, common 1/f, 3 e-", "VIS, 30 min"):
        scene = SCENES[name]
        for i, (fault, n) in enumerate(itertools.product(FAULTS, (3, 5, 10))):
            # of a drift over the rows of 3 electron, a gradient or a step along them is a part
            if n < fault.fewest or (scene.common_noise and fault.add in (_gradient, _half)):
                continue
            rng = np.random.default_rng((seed, i))
            odd = 0 if fault.add is _persistence else int(rng.integers(n))
            frames = scene.frames(n, rng, side)
            fault.add(frames, odd, rng, scene)
            warmer = np.where(np.arange(n) == odd, 6.0, 0.0) if fault.name == "+6 K" else None
            yield fault, name, n, odd, vet(frames, scene, warmer)


def is_named(fault: Fault, n: int, odd: int, vetting: FrameVetting) -> bool:
    """Return whether a fault has a warning in its words, and among five or more frames the right frame."""
    findings = [frame.findings for frame in vetting.frames]
    of_frame = findings if n < 5 else [findings[odd]]
    found = any(word in line for frame in of_frame for line in frame for word in fault.words)
    first = next((i for i, frame in enumerate(findings) if frame), None)
    return found and (n < 5 or first == odd)


def main(arguments: list[str] | None = None) -> int:
    """Print the measurements and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.vetting", description=__doc__)
    parser.add_argument("--sets", type=int, default=400, help="good sets (default: 400)")
    parser.add_argument("--side", type=int, default=SIDE, help=f"side of a frame (default: {SIDE})")
    parser.add_argument("--seed", type=int, default=16)
    options = parser.parse_args(arguments)
    false = 0
    for name, n, vetting in good_sets(options.sets, options.seed, options.side):
        false += bool(vetting.warnings)
        for line in vetting.warnings:
            print(f"good: {name}, N = {n}: {line}", flush=True)
    print(f"{false} of {options.sets} good sets with a warning")
    missed = total = 0
    for fault, name, n, odd, vetting in faulty_sets(options.seed, options.side):
        named = is_named(fault, n, odd, vetting)
        total += 1
        missed += not named
        words = "; ".join(f"{frame.name} {', '.join(frame.findings)}" for frame in vetting.frames if frame.findings)
        print(f"{'named' if named else 'MISSED'}: {fault.name}, frame {odd} of {n}, {name}: {words or '-'}", flush=True)
    print(f"{missed} of {total} faults missed")
    return int(false > options.sets / 100 or missed > 0)


if __name__ == "__main__":
    sys.exit(main())
