"""Verdicts on the frames of a set: their figures, and what makes a frame differ from the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["FEWEST_TO_EXCLUDE", "FrameVerdict", "FrameVetting"]

#: Fewest frames of which one may be left out: with fewer it is not certain which one is right.
FEWEST_TO_EXCLUDE = 5


@dataclass(frozen=True)
class FrameVerdict:
    """Figures of one frame among the others of its set, and what they look like.

    Attributes
    ----------
    name : str
        The frame.
    box_rms_e : float
        Rms of the means of (frame - median of the others) in boxes of 32 x 32 pixels, electron.
    box_ratio, row_ratio, column_ratio, amplifier_ratio : float
        Rms of the same without the profiles of rows and columns of boxes, of these profiles, and of the levels of the
        amplifiers, each over that of the other frames.
    noise_ratio : float
        Noise of neighbouring pixels over that of the other frames.
    shift : tuple of int
        Rows and columns by which the pattern of the others fits best.
    temperature_k, days : float or None
        Detector temperature and start of the exposure, from the median of the set.
    findings : tuple of str
        What the frame looks like; empty for a good frame.
    excluded : bool
        Whether it was left out.
    """

    name: str
    box_rms_e: float
    box_ratio: float
    row_ratio: float
    column_ratio: float
    amplifier_ratio: float
    noise_ratio: float
    shift: tuple[int, int]
    temperature_k: float | None = None
    days: float | None = None
    findings: tuple[str, ...] = ()
    excluded: bool = False

    @property
    def line(self) -> str:
        """The figures as a line of the log."""
        conditions = "" if self.temperature_k is None else f", {self.temperature_k:+.2f} K"
        conditions += "" if self.days is None else f", {24 * self.days:+.2f} h from the median"
        return (
            f"{self.name}: box rms {self.box_rms_e:.3g} electron; over the other frames: boxes {self.box_ratio:.2f}, "
            f"rows {self.row_ratio:.2f}, columns {self.column_ratio:.2f}, amplifiers {self.amplifier_ratio:.2f}, "
            f"noise {self.noise_ratio:.3f}; shift {self.shift[0]}, {self.shift[1]}{conditions}"
        )

    def record(self) -> dict[str, Any]:
        """Return the verdict as JSON holds it."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name, value in record.items():
            if isinstance(value, float):
                record[name] = float(f"{value:.5g}") if math.isfinite(value) else None
        return record | {"shift": list(self.shift), "findings": list(self.findings)}


@dataclass(frozen=True)
class FrameVetting:
    """Verdicts of the frames of a set.

    Attributes
    ----------
    frames : tuple of FrameVerdict
        One for each frame.
    slope_z : float
        Third largest slope of a box over the frames, in standard deviations of all boxes.
    trend : str
        What the slopes look like; empty without a trend.
    """

    frames: tuple[FrameVerdict, ...]
    slope_z: float
    trend: str = ""

    @property
    def culprit(self) -> int | None:
        """Index of the one frame that may be left out; None unless exactly one of five or more is odd, and no trend."""
        odd = [i for i, frame in enumerate(self.frames) if frame.findings]
        clear = len(odd) == 1 and len(self.frames) >= FEWEST_TO_EXCLUDE and not self.trend
        return odd[0] if clear else None

    @property
    def excluded(self) -> FrameVerdict | None:
        """The frame that was left out."""
        return next((frame for frame in self.frames if frame.excluded), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each frame that differs from the others."""
        few = len(self.frames) < FEWEST_TO_EXCLUDE
        advice = "look at the frame and leave it out if it is bad"
        if few:
            advice += f" (of {len(self.frames)} frames it is not certain which one is)"
        return tuple(
            f"{frame.name}: {'; '.join(frame.findings)}: "
            + ("it was left out of the stack (vet-frames: exclude)" if frame.excluded else advice)
            for frame in self.frames
            if frame.findings
        )

    def excluding(self, index: int) -> FrameVetting:
        """Return a copy in which a frame is left out."""
        verdicts = list(self.frames)
        verdicts[index] = replace(verdicts[index], excluded=True)
        return replace(self, frames=tuple(verdicts))
