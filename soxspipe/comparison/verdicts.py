"""Verdicts on frames that a master is subtracted from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..text import rounded

__all__ = ["Check", "Verification", "VerifiedFrame"]

#: Digits of numbers in the record.
DIGITS = 6


@dataclass(frozen=True)
class Check:
    """One criterion, its value and its limits.

    Attributes
    ----------
    criterion : str
        ``level``, ``drift``, ``noise``, ``cosmic rays``, ``outliers``, ``rows``, ``structure``, ``worst box``,
        ``hot pixels``, ``overscan`` or ``temperature``.
    amplifier : int or None
        Number of the amplifier, from 1; None where it is the whole frame.
    value : float
        The value.
    low, high : float or None
        Limits.
    unit : str
        Unit of the three; empty for ratios.
    x, y : int or None
        FITS coordinates in the product of the place that decides, from 1.
    """

    criterion: str
    amplifier: int | None
    value: float
    low: float | None
    high: float | None
    unit: str = ""
    x: int | None = None
    y: int | None = None

    @property
    def passed(self) -> bool:
        """Whether the value is within its limits; one that could not be measured is not."""
        low, high = self.low, self.high
        return (low is None or self.value >= low) and (high is None or self.value <= high)


@dataclass(frozen=True)
class VerifiedFrame:
    """What is left of a frame without the master.

    Attributes
    ----------
    name : str
        Its name.
    in_master : bool
        Whether it is one of the frames of the master.
    pull : float
        Standard deviation of the residuals over their errors: 1 for a good frame.
    noise_e : float
        Noise of the frame, electron.
    checks : tuple of Check
        All criteria.
    """

    name: str
    in_master: bool
    pull: float
    noise_e: float
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The criteria that it does not meet."""
        return tuple(check for check in self.checks if not check.passed)

    def worst(self, criterion: str) -> Check | None:
        """Return the check of a criterion that is furthest to a limit; None where it was not made."""
        return max((one for one in self.checks if one.criterion == criterion), key=_excess, default=None)


@dataclass(frozen=True)
class Verification:
    """The verdict on a master and frames.

    Attributes
    ----------
    frames : tuple of VerifiedFrame
        One for each frame; the last one, ``mean of ...``, is the mean of those that did not make the master.
    """

    frames: tuple[VerifiedFrame, ...]

    @property
    def passed(self) -> bool:
        """Whether all frames meet all criteria."""
        return not any(frame.failed for frame in self.frames)

    @property
    def failed(self) -> tuple[tuple[str, Check], ...]:
        """Frame and criterion of each failure."""
        return tuple((frame.name, check) for frame in self.frames for check in frame.failed)

    def record(self) -> dict[str, Any]:
        """Return the verdict as JSON holds it."""
        frames = [
            {
                "name": frame.name,
                "in_master": frame.in_master,
                "passed": not frame.failed,
                "pull": rounded(frame.pull, DIGITS),
                "noise_e": rounded(frame.noise_e, DIGITS),
                "checks": [_check_record(check) for check in frame.checks],
            }
            for frame in self.frames
        ]
        return {"verdict": "PASS" if self.passed else "FAIL", "frames": frames}


def _check_record(check: Check) -> dict[str, Any]:
    numbers = {name: rounded(getattr(check, name), DIGITS) for name in ("value", "low", "high")}
    return asdict(check) | numbers | {"passed": check.passed}


def _excess(check: Check) -> float:
    """Return how far a value is on its way to a limit, from the middle of a range or from 0; beyond 1 it fails."""
    if not math.isfinite(check.value):
        return math.inf
    if check.high is None:
        return 0.0
    middle = 0.0 if check.low is None else 0.5 * (check.low + check.high)
    return abs(check.value - middle) / max(check.high - middle, 1e-9)
