"""Find births and deaths of hot pixels in simulated nights: ``python -m benchmarks.accuracy.births``.

Twenty nights of one detector: every night new hot pixels are planted at 5 to 50 sigma, and those of the fourth night
before disappear. Prints the share found by amplitude and the false changes. The exit code is 1 when fewer than 95 % of
the births at 8 sigma are found, or one change or more in a million pixels and a pair of nights is false.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from soxspipe.comparison import MasterImages, PixelChanges, pixel_changes, telegraph_pixels
from soxspipe.simulation import DarkSimulation
from soxspipe.simulation.detector import SimulatedDetector
from soxspipe.stacking import clip_and_stack, create_noise_map, measure_noise
from soxspipe.stacking.frame_stack import ArrayStack

from .masters import master_images

__all__ = ["SCENES", "Tally", "nights"]

#: Amplitudes, in errors of the difference of the two masters with the shot noise of the pixel itself.
SIGMAS = (5.0, 6.0, 8.0, 10.0, 15.0, 25.0, 50.0)
#: Births of each amplitude in a night, and nights that they live.
BIRTHS, LIFE = 40, 4
SCENES = {
    "NIR, N = 10": DarkSimulation(frames=10, seed=1, detector_seed=7),
    "NIR, N = 5": DarkSimulation(frames=5, seed=2, detector_seed=7),
    "NIR, N = 3": DarkSimulation(frames=3, seed=3, detector_seed=7),
    "NIR, N = 5, noise spread by 20 %": DarkSimulation(frames=5, seed=4, detector_seed=7, read_noise_spread=0.2),
    "VIS, N = 5, 1 h": DarkSimulation(arm="VIS", frames=5, exptime_s=3600.0, seed=5, detector_seed=7),
}


@dataclass
class Tally:
    """What was found in the nights of a scene.

    Attributes
    ----------
    births, deaths : Counter
        Planted and found, by (amplitude, found).
    false, false_telegraph : int
        Changes of pixels without a defect: births and deaths, and pixels that jump.
    defects : Counter
        Changes of defects of the detector, by kind.
    pixels, pairs : int
        Pixels without a defect, and pairs of nights.
    expected : float
        Expected number of false changes.
    telegraph, telegraph_false : int
        Telegraph pixels over all nights, and those of them without a defect.
    """

    births: Counter[tuple[float, bool]] = field(default_factory=Counter)
    deaths: Counter[tuple[float, bool]] = field(default_factory=Counter)
    false: int = 0
    false_telegraph: int = 0
    defects: Counter[str] = field(default_factory=Counter)
    pixels: int = 0
    pairs: int = 0
    expected: float = 0.0
    telegraph: int = 0
    telegraph_false: int = 0

    def share(self, counts: Counter[tuple[float, bool]], sigma: float) -> float:
        """Return the share found at an amplitude."""
        found = counts[sigma, True]
        return found / max(found + counts[sigma, False], 1)

    @property
    def per_million(self) -> float:
        """False births and deaths in a million pixels and a pair."""
        return 1e6 * self.false / max(self.pixels * self.pairs, 1)


class _Nights:
    """A detector whose hot pixels are born and die."""

    def __init__(self, simulation: DarkSimulation) -> None:
        self.simulation, self.detector = simulation, SimulatedDetector(simulation)
        self.detector.dark_e = self.detector.dark_e.copy()
        window = self.detector.geometry.science
        self.inside = slice(window.y0, window.y1), slice(window.x0, window.x1)
        self.clean = np.flatnonzero(self.detector.codes[self.inside] == 0)
        self.planted: dict[int, float] = {}
        self._rng = np.random.default_rng([simulation.seed, 99])
        self._used: set[int] = set()
        self._nx = window.shape[1]

    def _excess_e(self, pixel: int, sigma: float) -> float:
        """Return the excess of which the difference is so many errors."""
        y, x = divmod(pixel, self._nx)
        y, x = y + self.inside[0].start, x + self.inside[1].start
        physics, n = self.detector.physics, self.simulation.frames
        read_noise = np.broadcast_to(self.detector.read_noise_e, self.detector.codes.shape)[y, x]
        sample = read_noise**2 + self.detector.dark_e[y, x] + physics.conad_e_per_adu**2 / 12
        quiet, shot = 2 * float(sample) / n, 1 / n
        return 0.5 * sigma**2 * shot + sigma * float(np.sqrt(quiet + (0.5 * sigma * shot) ** 2))

    def bear(self) -> dict[int, float]:
        """Plant births, and return pixel and amplitude."""
        chosen = self._rng.choice(self.clean, len(SIGMAS) * BIRTHS * 2, replace=False)
        fresh = [int(pixel) for pixel in chosen if int(pixel) not in self._used][: len(SIGMAS) * BIRTHS]
        born = {pixel: SIGMAS[i % len(SIGMAS)] for i, pixel in enumerate(fresh)}
        self._used |= set(born)
        self._add(born, 1.0)
        return born

    def kill(self, born: dict[int, float]) -> None:
        """Take births away."""
        self._add(born, -1.0)

    def _add(self, born: dict[int, float], sign: float) -> None:
        dark = self.detector.dark_e[self.inside]
        for pixel, sigma in born.items():
            y, x = divmod(pixel, self._nx)
            if sign > 0:
                self.planted[pixel] = self._excess_e(pixel, sigma)
            dark[y, x] = max(dark[y, x] + sign * self.planted[pixel], 0.0)

    def master(self, night: int) -> MasterImages:
        """Return the master of a night."""
        detector, n = self.detector, self.simulation.frames
        conad = np.float32(detector.physics.conad_e_per_adu)
        first = night * n  # of a frame only its number decides its noise
        frames = []
        for i in range(first, first + n):
            frame = detector.frame(i)[self.inside].astype(np.float32) * conad
            if self.simulation.is_ccd:
                frame -= np.float32(detector.level_e(i))
            frames.append(frame)
        stack = ArrayStack(
            tuple(frames),
            (None,) * n,
            float(conad),
            regions=tuple((slice(a.y0, a.y1), slice(a.x0, a.x1)) for a in detector.geometry.amplifiers),
            column_parity=self.simulation.detector.column_parity,
        )
        result = clip_and_stack(stack, noise_model=measure_noise(stack))
        noise_map = create_noise_map(result)
        noise_map = noise_map.with_codes(result.codes)
        return master_images(stack, result, noise_map, self.simulation.exptime_s)


def nights(simulation: DarkSimulation, number: int) -> Tally:
    """Simulate nights of a detector, and compare each with the one before."""
    work, tally = _Nights(simulation), Tally()
    tally.pixels = work.clean.size
    history: list[PixelChanges] = []
    generations: list[dict[int, float]] = []
    before = work.master(0)
    for night in range(1, number):
        born = work.bear()
        generations.append(born)
        dead = generations[night - 1 - LIFE] if night > LIFE else {}
        work.kill(dead)
        after = work.master(night)
        changes = pixel_changes(before, after)
        history.append(changes)
        _count(work, tally, changes, born, dead)
        before = after
    defects = _pixels_of(telegraph_pixels(history), work)
    truth = work.detector.codes[work.inside].ravel()
    tally.telegraph = len(defects)
    tally.telegraph_false = int(np.count_nonzero(truth[defects] == 0)) if defects else 0
    return tally


def _pixels_of(found: object, work: _Nights) -> list[int]:
    return [(one.y - 1) * work._nx + one.x - 1 for one in found]  # type: ignore[attr-defined]


def _count(work: _Nights, tally: Tally, changes: PixelChanges, born: dict[int, float], dead: dict[int, float]) -> None:
    tally.pairs += 1
    tally.expected += changes.expected_false
    truth: NDArray[np.integer] = work.detector.codes[work.inside].ravel()
    rose = set(_pixels_of(changes.births, work))
    fell = set(_pixels_of(changes.deaths, work))
    for pixel, sigma in born.items():
        tally.births[sigma, pixel in rose] += 1
    for pixel, sigma in dead.items():
        tally.deaths[sigma, pixel in fell] += 1
    for change, pixel in zip(changes.changes, _pixels_of(changes.changes, work), strict=True):
        if pixel in born or pixel in dead:
            continue
        if truth[pixel] != 0:
            tally.defects[change.kind] += 1
        elif change.kind == "telegraph":
            tally.false_telegraph += 1
        else:
            tally.false += 1
            print(f"  false: {change}", file=sys.stderr)


def rows(name: str, tally: Tally) -> Iterator[str]:
    """Yield the measurements in lines."""
    for word, counts in (("births", tally.births), ("deaths", tally.deaths)):
        shares = ", ".join(f"{sigma:g}: {tally.share(counts, sigma):.3f}" for sigma in SIGMAS)
        yield f"{name}: {word} found, by sigma: {shares}"
    yield (
        f"{name}: {tally.false} false births and deaths in {tally.pairs} pairs of {tally.pixels} pixels: "
        f"{tally.per_million:.3f} per million and pair ({1e6 * tally.expected / tally.pairs / tally.pixels:.3f} "
        f"expected); {tally.false_telegraph} false jumps; changes of defects: {dict(tally.defects)}"
    )
    yield f"{name}: {tally.telegraph} telegraph pixels over all nights, {tally.telegraph_false} without a defect"


def main(arguments: list[str] | None = None) -> int:
    """Print the measurements and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy.births", description=__doc__)
    parser.add_argument("--nights", type=int, default=20, help="nights of each detector (default: 20)")
    parser.add_argument("--scene", choices=list(SCENES), help="one detector (default: all)")
    parser.add_argument("--side", type=int, help="side of a raw frame (default: the whole detector)")
    options = parser.parse_args(arguments)
    failed = False
    for name, scene in SCENES.items():
        if options.scene not in (None, name):
            continue
        if options.side is not None:
            scene = DarkSimulation(**{**dict(scene), "shape": (options.side, options.side)})
        tally = nights(scene, options.nights)
        for line in rows(name, tally):
            print(line, flush=True)
        failed |= tally.share(tally.births, 8.0) < 0.95 or tally.per_million >= 1
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
