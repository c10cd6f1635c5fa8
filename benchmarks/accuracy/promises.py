"""The promises on accuracy, checked against the measurements."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .measures import Measures
from .numbers import ReadNoise
from .patterns import PatternPulls
from .scenes import BLOCK_SIDE, Scene

#: Fewest hot pixels for a median ratio of their values.
FEWEST_HOT = 300


@dataclass(frozen=True)
class Results:
    """All measurements; the promises use the rows of this package only."""

    scenes: dict[str, Scene]
    rows: list[Measures]
    read_noise: list[ReadNoise]
    dark_pulls: NDArray[np.float64]
    clipping: dict[int, dict[str, NDArray[np.float64]]]
    patterns: list[PatternPulls] = field(default_factory=list)

    def ours(self, *groups: str, frames: Sequence[int] = (), without: str = "") -> list[Measures]:
        """Return the rows of this package, of scenes in all groups, with a number of frames, without some groups."""
        return [
            row
            for row in self.rows
            if row.by == "soxspipe"
            and set(groups) <= self.scenes[row.scene].groups
            and not set(without.split()) & self.scenes[row.scene].groups
            and (not frames or self.scenes[row.scene].simulation.frames in frames)
        ]


@dataclass(frozen=True)
class Check:
    """A promise with its criterion, its measurement and the verdict."""

    promise: str
    criterion: str
    measured: str
    holds: bool


def check(results: Results) -> list[Check]:
    """Return all promises with their measurements."""
    return [
        *_errors(results),
        *_real_detectors(results),
        *_cosmic_rays(results),
        *_hot(results),
        *_clusters(results),
        *_telegraph(results),
        *_numbers(results),
        *_patterns(results.patterns),
    ]


def _worst(
    promise: str,
    criterion: str,
    rows: list[Measures],
    value: Callable[[Measures], float],
    distance: Callable[[float], float],
    *,
    strict: bool = False,
    digits: int = 4,
) -> Iterator[Check]:
    """Check the worst row; `distance` is how far a value is outside the criterion, negative inside. NaN fails."""
    if not rows:
        return

    def outside(row: Measures) -> float:
        amount = distance(value(row))
        return math.inf if math.isnan(amount) else amount

    worst = max(rows, key=outside)
    values = sorted(value(row) for row in rows)
    span = f"{values[0]:.{digits}f}" if len(values) == 1 else f"{values[0]:.{digits}f} to {values[-1]:.{digits}f}"
    holds = outside(worst) < 0 if strict else outside(worst) <= 0
    where = f"; worst: {worst.scene}" if len(rows) > 1 else f"; {worst.scene}"
    yield Check(promise, criterion, span + where, bool(holds))


def _errors(results: Results) -> Iterator[Check]:
    """Check residuals and pulls of each kind of set."""
    sets = (
        ("NIR, structured and drifting", results.ours("errors", "NIR", "structure")),
        ("NIR, no structure, no drift", results.ours("errors", "NIR", without="structure")),
        ("VIS", results.ours("errors", "VIS", without="bias")),
        ("VIS, master bias subtracted", results.ours("errors", "bias", without="mbias")),
        ("VIS, master bias made by soxs_mbias", results.ours("errors", "mbias")),
    )
    for name, rows in sets:
        yield from _worst(
            f"Residual std over ideal: {name}", "at most 1.01", rows, lambda row: row.residual, lambda x: x - 1.01
        )
    for name, rows in sets:
        yield from _worst(
            f"Pull std: {name}", "0.98 to 1.02", rows, lambda row: row.pull_std, lambda x: abs(x - 1) - 0.02
        )
    for name, rows in sets:
        yield from _worst(
            f"Pulls beyond 3 over those of a Gaussian: {name}", "0.80 to 1.20", rows,
            lambda row: row.pull_tail, lambda x: abs(x - 1) - 0.2, digits=2,
        )  # fmt: skip


def _real_detectors(results: Results) -> Iterator[Check]:
    """Check the errors where detectors are not ideal."""
    for name, group in (
        ("glow", "glow"), ("dark-signal non-uniformity", "dsnu"), ("column pattern", "columns"),
        ("averages of NDIT exposures", "ndit"), ("many frames", "many"), ("wander along rows", "wander"),
        ("common 1/f noise", "common"), ("common 1/f noise, removed", "removed"),
    ):  # fmt: skip
        yield from _worst(
            f"Pull std: {name}", "0.98 to 1.02", results.ours(group), lambda row: row.pull_std,
            lambda x: abs(x - 1) - 0.02,
        )  # fmt: skip
    for name, pull in (("darkest", "pull_dark"), ("brightest", "pull_bright")):
        yield from _worst(
            f"Pull std of the {name} 5 % under non-uniformity", "0.95 to 1.05", results.ours("dsnu"),
            lambda row, pull=pull: getattr(row, pull), lambda x: abs(x - 1) - 0.05,  # type: ignore[misc]
        )  # fmt: skip
    yield from _worst(
        "Error of a mean of 100 x 100 pixels over that of independent pixels: wander along rows", "at most 2",
        results.ours("wander"), lambda row: row.boxes[1], lambda x: x - 2, digits=2,
    )  # fmt: skip
    yield from _worst(
        "Residual std over ideal: common 1/f noise, removed", "at most 0.95", results.ours("removed"),
        lambda row: row.residual, lambda x: x - 0.95,
    )  # fmt: skip


def _cosmic_rays(results: Results) -> Iterator[Check]:
    """Check the cosmic rays that are left."""
    rows = [row for row in results.ours(without="real") if results.scenes[row.scene].simulation.frames >= 5]
    left, hit = sum(row.hits_left for row in rows), sum(row.hit_pixels for row in rows)
    where = "".join(f"; {row.hits_left} in {row.scene}" for row in rows if row.hits_left)
    yield Check(
        "Cosmic rays left above 5 sigma in pixels without a code, N = 5 and more, all sets",
        "0",
        f"{left} of {hit} hit pixels{where}",
        left == 0,
    )
    yield from _worst(
        "Cosmic rays left per million pixels, VIS, N = 3, 1 h", "less than 5", results.ours("VIS", frames=(3,)),
        lambda row: row.per_million(row.hits_left), lambda x: x - 5, strict=True, digits=2,
    )  # fmt: skip


def _hot(results: Results) -> Iterator[Check]:
    """Check completeness of hot pixels, false codes and values of hot pixels."""
    spread, even = results.ours("faint", "spread"), results.ours("faint", without="spread")
    others = results.ours(without="faint real")
    for name, rows, shares in (
        ("read noise spread by 20 %", spread, (0.85, 0.99, 0.9995)),
        ("no spread", even, (0.92, 0.995, 0.9995)),
    ):
        for k, (amplitude, share) in enumerate(zip(("6-8", "8-12", "above 12"), shares, strict=True)):
            yield from _worst(
                f"Hot pixels of {amplitude} sigma found, {name}", f"at least {share}", rows,
                lambda row, k=k: _share(row.completeness[2 + k]),  # type: ignore[misc]
                lambda x, share=share: share - x,  # type: ignore[misc]
            )  # fmt: skip
    for name, rows, hot, limit in (
        ("false hot codes per million, read noise spread by 20 %", spread, True, 20),
        ("false codes of any kind per million, read noise spread by 20 %", spread, False, 40),
        ("false codes of any kind per million, no spread, faint hot pixels", even, False, 5),
        ("false codes of any kind per million, no spread, all other sets", others, False, 5),
    ):
        yield from _worst(
            name[0].upper() + name[1:], f"less than {limit}", rows,
            lambda row, hot=hot: row.per_million(row.false_hot if hot else row.false_all),  # type: ignore[misc]
            lambda x, limit=limit: x - limit,  # type: ignore[misc]
            strict=True, digits=1,
        )  # fmt: skip
    enough = [row for row in results.ours(without="real") if row.completeness[-1][1] >= FEWEST_HOT]
    yield from _worst(
        "Measured over true excess of hot pixels above 12 sigma, all sets", "0.995 to 1.005", enough,
        lambda row: row.hot_ratio, lambda x: abs(x - 1) - 0.005,
    )  # fmt: skip


def _clusters(results: Results) -> Iterator[Check]:
    """Check each injected block and column."""
    for row in results.ours("clusters"):
        blocks, columns = np.array(row.blocks), np.array(row.columns)
        full = np.round(blocks * BLOCK_SIDE**2)
        short, faint = int((full < BLOCK_SIDE**2 - 1).sum()), int((columns < 0.8).sum())
        yield Check(
            f"Blocks of 3 x 3 at 8 sigma a pixel, {row.scene}",
            "at least 8 of the 9 pixels of each",
            f"smallest {full.min():.0f}; {short} of {blocks.size} blocks with fewer than 8",
            short == 0,
        )
        yield Check(
            f"Columns at 6 sigma, {row.scene}",
            "at least 0.80 of the pixels of each",
            f"smallest {columns.min():.3f}, median {np.median(columns):.3f}; {faint} of {columns.size} below 0.80",
            faint == 0,
        )


def _telegraph(results: Results) -> Iterator[Check]:
    """Check telegraph pixels: all, and those that differ from a cosmic ray."""
    for frames, least in ((5, 0.5), (10, 0.9)):
        for row in results.ours("telegraph", frames=(frames,)):
            for name, found in (("all", row.telegraph), ("two samples or more in each state", row.telegraph_fair)):
                yield Check(
                    f"Telegraph pixels of 8-15 read noises found, N = {frames}: {name}",
                    f"at least {least}",
                    f"{_share(found):.3f} of {found[1]}",
                    _share(found) >= least,
                )
    yield from _worst(
        "False codes per million in sets with many telegraph pixels", "less than 30", results.ours("telegraph"),
        lambda row: row.per_million(row.false_all), lambda x: x - 30, strict=True, digits=1,
    )  # fmt: skip


def _numbers(results: Results) -> Iterator[Check]:
    """Check the read noise of rounded frames, and the dark current."""
    for noise in sorted({row.noise_adu for row in results.read_noise}):
        ratios = [row.ratio for row in results.read_noise if row.noise_adu == noise]
        worst, margin = max(ratios, key=lambda ratio: abs(ratio - 1)), 0.01 if noise == 0.5 else 0.005
        yield Check(
            f"RON RAW of {noise:g} ADU, rounded, over the truth",
            f"within {100 * margin:g} %",
            f"{min(ratios):.4f} to {max(ratios):.4f}",
            abs(worst - 1) <= margin,
        )
    pulls = results.dark_pulls
    width, within = float(pulls.std()), 100 * float((np.abs(pulls) <= 2).mean())
    runs = f"{pulls.size} seeded runs"
    yield Check(f"Dark current over its error, {runs}: std", "0.85 to 1.15", f"{width:.3f}", 0.85 <= width <= 1.15)
    yield Check(
        f"Dark current over its error, {runs}: within two errors",
        "at least 90 of 100",
        f"{within:.1f} of 100",
        within >= 90,
    )


def _patterns(rows: list[PatternPulls]) -> Iterator[Check]:
    """Check the errors next to glow, of non-uniform dark signal, of patterns and of averaged exposures."""
    if not rows:
        return
    for words, margin, values in (
        ("all pixels", 0.02, [row.all_pixels for row in rows]),
        ("darkest and brightest 5 %", 0.05, [value for row in rows for value in (row.darkest, row.brightest)]),
        ("PULL STD", 0.03, [row.halves for row in rows]),
    ):
        yield Check(
            f"Pull std with glow, non-uniform dark, patterns, NDIT: {words}",
            f"{1 - margin:.2f} to {1 + margin:.2f}",
            f"{min(values):.3f} to {max(values):.3f}",
            all(abs(value - 1) <= margin for value in values),
        )


def _share(found: tuple[int, int]) -> float:
    return found[0] / found[1] if found[1] else float("nan")
