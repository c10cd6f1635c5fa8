"""Verify masters with good frames and with faulty ones: ``python -m benchmarks.accuracy.verification``.

Half of the masters are verified with the frames that made them, half with three frames of the next night. Prints the
good sets with a failure, the pulls, and the faults with the criteria that failed. The exit code is 1 when more than one
good set in a hundred fails, or a fault is missed.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soxspipe.comparison import FrameToVerify, MasterImages, Verification, verify_frames
from soxspipe.stacking import clip_and_stack, create_noise_map
from soxspipe.stacking.frame_stack import ArrayStack

from .masters import master_images
from .vetting import NUMBERS, SCENES, SIDE, VettingScene

__all__ = ["FAULTS", "Fault", "FaultySet", "faulty_sets", "good_sets"]

#: Frames of the next night, and temperature of all.
NEXT, TEMPERATURE_K = 3, 40.0
#: Scenes of the faults.
FAULTY_SCENES = ("NIR, white", "VIS, 30 min")
Frame = NDArray[np.float32]


@dataclass
class _Sample:
    """A frame to spoil: its pixels, electron; its temperature, and the noise of its overscan, electron."""

    pixels: Frame
    overscan_e: float | None
    temperature_k: float = TEMPERATURE_K


def _master(frames: list[Frame], scene: VettingScene) -> MasterImages:
    side = len(frames[0])
    width = min(scene.amplifier, side)
    stack = ArrayStack(
        tuple(frames),
        (None,) * len(frames),
        regions=tuple((slice(0, side), slice(x, x + width)) for x in range(0, side, width)),
    )
    result = clip_and_stack(stack)
    noise_map = create_noise_map(result).with_codes(result.codes)
    level = float(result.noise_model.mean_level_e)
    return replace(master_images(stack, result, noise_map, 300.0), level_e=level, temperature_k=TEMPERATURE_K)


def _verify(master: MasterImages, samples: list[_Sample], *, in_master: bool) -> Verification:
    return verify_frames(
        master,
        (
            FrameToVerify(
                f"frame {i}",
                sample.pixels,
                in_master,
                level_drifts=True,
                overscan_noise_e=sample.overscan_e,
                overscan_samples=50 * len(sample.pixels),
                temperature_k=sample.temperature_k,
            )
            for i, sample in enumerate(samples)
        ),
    )


def _samples(frames: list[Frame], scene: VettingScene, rng: np.random.Generator) -> list[_Sample]:
    if scene.amplifier < len(frames[0]):  # an infrared detector has no overscan
        return [_Sample(frame, None) for frame in frames]
    error = scene.read_noise / np.sqrt(100 * len(frames[0]))
    return [_Sample(frame, float(scene.read_noise + rng.normal(0, error))) for frame in frames]


def good_sets(n_sets: int, seed: int, side: int = SIDE) -> Iterator[tuple[str, int, bool, Verification]]:
    """Yield scene, number of frames, whether they made the master, and the verdict of good sets."""
    cases = itertools.cycle(itertools.product((True, False), NUMBERS, SCENES))
    for i, (in_master, n, name) in enumerate(itertools.islice(cases, n_sets)):
        scene, rng = SCENES[name], np.random.default_rng((seed, i))
        frames = scene.frames(n + NEXT, rng, side)
        master = _master(frames[:n], scene)
        chosen = frames[:n] if in_master else frames[n:]
        yield name, n, in_master, _verify(master, _samples(chosen, scene, rng), in_master=in_master)


@dataclass(frozen=True)
class Fault:
    """A fault: how it spoils a frame, whether it spoils all frames that are verified, and which sets can have it."""

    name: str
    spoil: Callable[[_Sample, np.random.Generator, VettingScene], None]
    every_frame: bool = False
    amplifiers: bool | None = None
    #: Fewest frames of a master that the faulty frame is one of.
    fewest: int = 3


def _grid(sample: _Sample) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.indices(sample.pixels.shape) / len(sample.pixels)
    return y, x


def _add(signal: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]) -> Callable[..., None]:
    """Return a fault that adds charge, with its shot noise."""

    def spoil(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
        sample.pixels += rng.poisson(signal(*_grid(sample))).astype(np.float32)

    return spoil


def _level(add: Callable[[NDArray[np.float64], NDArray[np.float64]], Any]) -> Callable[..., None]:
    """Return a fault of the electronics, without shot noise."""

    def spoil(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
        sample.pixels += np.asarray(add(*_grid(sample)), np.float32)

    return spoil


def _noise(factor: float, part: slice = slice(None)) -> Callable[..., None]:
    def spoil(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
        pixels = sample.pixels[:, part]
        pixels += rng.normal(0, np.sqrt(factor**2 - 1) * scene.read_noise, pixels.shape).astype(np.float32)

    return spoil


def _shift(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    sample.pixels = np.roll(sample.pixels, 1, axis=int(rng.integers(2)))


def _dead(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    sample.pixels[:, :64] = np.median(sample.pixels)


def _shower(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    hit = rng.random(sample.pixels.shape) < 0.08
    sample.pixels[hit] += 100 + rng.exponential(600, np.count_nonzero(hit)).astype(np.float32)


def _shorter(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    """Expose for 0.7 of the time that the header states."""
    level = np.median(sample.pixels)
    bright = sample.pixels > level + 10 * scene.read_noise
    sample.pixels[bright] = level + 0.7 * (sample.pixels[bright] - level)


def _gain(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    sample.pixels *= np.float32(1.15)
    if sample.overscan_e is not None:
        sample.overscan_e *= 1.15


def _warm(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    sample.temperature_k += 6


def _overscan(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    assert sample.overscan_e is not None
    sample.overscan_e *= 1.12


def _mirror(sample: _Sample, rng: np.random.Generator, scene: VettingScene) -> None:
    sample.pixels = np.ascontiguousarray(sample.pixels[:, ::-1])


def _disc(height: float, radius: float) -> Callable[..., NDArray[np.float64]]:
    return lambda y, x: height / (1 + np.exp((np.hypot(x - 0.49, y - 0.49) - radius) / 0.006))


FAULTS = (
    Fault("gradient of 10 e-", _add(lambda y, x: 5 * x + 5 * y)),
    Fault("gradient of 2 e- in all frames", _add(lambda y, x: 2 * y), every_frame=True),
    Fault("light leak: spot of 40 e-", _add(lambda y, x: 40 * np.exp(-((x - 0.7) ** 2 + (y - 0.3) ** 2) / 0.045))),
    Fault("light leak: spot of 3 e- in all frames",
          _add(lambda y, x: 3 * np.exp(-((x - 0.7) ** 2 + (y - 0.3) ** 2) / 0.045)), every_frame=True),
    Fault("persistence: disc of 60 e-", _add(_disc(60, 0.08))),
    Fault("persistence: disc of 12 e-, 20 pixels wide", _add(_disc(12, 0.02))),
    Fault("glow of 50 e- at an edge", _add(lambda y, x: 50 * np.exp(-y / 0.1))),
    Fault("noise x 1.2", _noise(1.2)),
    Fault("noise x 1.3 in 64 columns", _noise(1.3, slice(64, 128)), amplifiers=True),
    Fault("64 columns 15 e- higher", _level(lambda y, x: 15.0 * ((x >= 0.25) & (x < 0.375)))),
    Fault("half of the frame 15 e- higher", _level(lambda y, x: 15.0 * (y < 0.5))),
    Fault("level 60 e- higher", _level(lambda y, x: 60 + 0 * x)),
    Fault("pick-up: stripes of 3 e-", _level(lambda y, x: 3 * np.sin(2 * np.pi * (6 * x + 10 * y)))),
    Fault("dead amplifier", _dead, amplifiers=True),
    Fault("shift by a pixel", _shift, fewest=5),
    Fault("mirrored", _mirror),
    Fault("shower of cosmic rays: 8 % of the pixels", _shower),
    Fault("exposure of 0.7 of the time in the header", _shorter, fewest=5),
    Fault("conversion factor off by 15 %", _gain),
    Fault("+6 K", _warm),
    Fault("noise of the overscan x 1.12", _overscan, amplifiers=False),
)  # fmt: skip


@dataclass(frozen=True)
class FaultySet:
    """A fault, the set that has it, and the verdict."""

    fault: Fault
    scene: str
    n: int
    in_master: bool
    odd: int
    verification: Verification = field(repr=False)

    @property
    def is_found(self) -> bool:
        """Whether the faulty frame failed; any where all have the fault, or fewer than five made the master."""
        frames = self.verification.frames
        one = not self.fault.every_frame and (not self.in_master or self.n >= 5)
        named = frames[self.odd : self.odd + 1] if one else frames
        return any(frame.failed for frame in named)


def faulty_sets(seed: int, side: int = SIDE, names: Collection[str] = ()) -> Iterator[FaultySet]:
    """Yield each fault in each scene, in a frame of the master (not one that all frames have) and in the next night."""
    for name, in_master in itertools.product(FAULTY_SCENES, (True, False)):
        scene = SCENES[name]
        for i, fault in enumerate(FAULTS):
            if (in_master and fault.every_frame) or fault.amplifiers is (scene.amplifier > side):
                continue
            if names and fault.name not in names:
                continue
            n, rng = (5, 10, 3)[i % 3], np.random.default_rng((seed, i))
            n = max(n, fault.fewest) if in_master else n
            frames = scene.frames(n + NEXT, rng, side)
            samples = _samples(frames, scene, rng)
            members, others = samples[:n], samples[n:]
            chosen = members if in_master else others
            odd = int(rng.integers(len(chosen)))
            for sample in chosen if fault.every_frame else [chosen[odd]]:
                fault.spoil(sample, rng, scene)
            master = _master([sample.pixels for sample in members], scene)
            yield FaultySet(fault, name, n, in_master, odd, _verify(master, chosen, in_master=in_master))


def words(verification: Verification) -> str:
    """Return the failures in short."""
    found = [
        f"{frame}: {check.criterion} {check.amplifier or ''} {check.value:.3g} ({check.low} to {check.high})"
        for frame, check in verification.failed
    ]
    return "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def main(arguments: list[str] | None = None) -> int:
    """Print the measurements and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.verification", description=__doc__)
    parser.add_argument("--sets", type=int, default=400, help="good sets (default: 400)")
    parser.add_argument("--side", type=int, default=SIDE, help=f"side of a frame (default: {SIDE})")
    parser.add_argument("--seed", type=int, default=18)
    options = parser.parse_args(arguments)
    false, pulls = 0, {True: list[float](), False: list[float]()}
    for name, n, in_master, verification in good_sets(options.sets, options.seed, options.side):
        false += not verification.passed
        pulls[in_master] += [frame.pull for frame in verification.frames if not frame.name.startswith("mean")]
        if not verification.passed:
            print(f"good: {name}, N = {n}, {_where(in_master)}: {words(verification)}", flush=True)
    print(f"{false} of {options.sets} good sets fail")
    for in_master, values in pulls.items():
        if values:
            middle, spread = np.mean(values), np.std(values)
            print(f"pulls of frames {_where(in_master)}: {middle:.4f} +- {spread:.4f}, {len(values)} frames")
    missed = total = 0
    for one in faulty_sets(options.seed, options.side):
        total += 1
        missed += not one.is_found
        print(
            f"{'found' if one.is_found else 'MISSED'}: {one.fault.name}, {one.scene}, N = {one.n}, "
            f"{_where(one.in_master)}, frame {one.odd}: {words(one.verification) or '-'}",
            flush=True,
        )
    print(f"{missed} of {total} faults missed")
    return int(false > options.sets / 100 or missed > 0)


def _where(in_master: bool) -> str:
    return "of the master" if in_master else "of the next night"


if __name__ == "__main__":
    sys.exit(main())
