"""Attach to a group of raw frames the calibrations that fit it, the nearest in time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..inputs.frame_kinds import ProductKind
from ..text import format_value
from .find_frames import NightFile

__all__ = ["LEVEL_WORDS", "Attached", "attach", "level_of"]

#: Quality levels of a calibration as ESO numbers them.
LEVEL_WORDS = ("calibration plan", "good", "acceptable", "significant risk")


@dataclass(frozen=True)
class Attached:
    """A calibration of a group, with its quality level.

    Attributes
    ----------
    candidate : NightFile
        The calibration.
    age_days : float
        Time between calibration and frames, day.
    level : int
        0 calibration plan, 1 good, 2 acceptable, 3 significant risk.
    """

    candidate: NightFile
    age_days: float
    level: int


def level_of(age_days: float, windows_days: Sequence[float]) -> int:
    """Return the quality level of a calibration by its age; `LEVEL_WORDS` has the words.

    Parameters
    ----------
    age_days : float
        Time between calibration and frames, day.
    windows_days : sequence of float
        Longest time for levels 0, 1 and 2; a calibration further away has level 3.

    Returns
    -------
    int
    """
    return sum(age_days > longest for longest in windows_days)


def attach(
    kind: ProductKind,
    wanted: NightFile,
    candidates: Iterable[NightFile],
    windows_days: Sequence[float],
    compared: Sequence[str],
) -> tuple[Attached | None, list[str]]:
    """Find the calibration of one kind that fits a group and is nearest in time.

    Parameters
    ----------
    kind : ProductKind
        Kind of calibration.
    wanted : NightFile
        Properties of the group.
    candidates : iterable of NightFile
        Calibrations.
    windows_days : sequence of float
        Longest time for the levels 0, 1 and 2, day.
    compared : sequence of str
        Keywords that group and calibration must share, where both have them.

    Returns
    -------
    attached : Attached or None
        The calibration; None where none fits.
    misses : list of str
        For each that does not fit: the key, the value found and the one expected.
    """
    fitting, misses = [], []
    for candidate in candidates:
        if (candidate.kind, candidate.instrument, candidate.arm) != (kind.category, wanted.instrument, wanted.arm):
            continue
        differences = [
            f"{keyword} is {format_value(candidate.values[keyword])}, expected {format_value(wanted.values[keyword])}"
            for keyword in compared
            if candidate.values.get(keyword) is not None
            and wanted.values.get(keyword) is not None
            and candidate.values[keyword] != wanted.values[keyword]
        ]
        if differences:
            misses.append(f"{candidate.product or candidate.path}: {'; '.join(differences)}")
        else:
            fitting.append(candidate)
    if not fitting:
        return None, misses or [f"there is no {kind.noun} of {wanted.instrument} {wanted.arm}"]
    # at the same age, one that is made anew comes before an older product of the same frames
    best = min(fitting, key=lambda candidate: (abs(candidate.mjd - wanted.mjd), not candidate.product, candidate.path))
    age_days = abs(best.mjd - wanted.mjd)
    return Attached(best, age_days, level_of(age_days, windows_days)), misses
