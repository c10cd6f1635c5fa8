"""Group the raw frames of a night: those of a group make one product.

The keywords in which they must agree are the rules of `soxspipe.inputs.keyword_rules`, as for any set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..inputs.keyword_rules import time_tolerance
from .find_frames import NightFile

__all__ = ["group_frames", "night_of"]


def night_of(mjd: float) -> int:
    """Return the night of a date: the whole days before the last noon in UTC, modified Julian date."""
    return math.floor(mjd - 0.5)


def group_frames(files: Iterable[NightFile], gap_h: float) -> list[list[NightFile]]:
    """Group raw frames that belong together.

    Frames of a group have the kind, instrument, arm, exposure time, read-out and size in common. They are of one run
    of a template (``ESO TPL START``). Frames without one are of one night, and no further apart than a gap.

    Parameters
    ----------
    files : iterable of NightFile
        Raw frames.
    gap_h : float
        Longest time from the end of a frame to the start of the next in a group, hour.

    Returns
    -------
    list of list of NightFile
        The groups in order of time, each sorted by time and name.
    """
    ordered = sorted(files, key=lambda file: (file.mjd, file.name, file.path))
    times = _equal_times(file.exposure_s for file in ordered)
    alike: dict[tuple[Any, ...], list[NightFile]] = {}
    for file in ordered:
        shared = tuple(sorted(_shared(file.values, file.exposure_s, times).items()))
        alike.setdefault((file.kind, file.instrument, file.arm, file.run, shared), []).append(file)
    groups = [
        group for frames in alike.values() for group in ([frames] if frames[0].run else _split_at_gaps(frames, gap_h))
    ]
    return sorted(groups, key=lambda group: (group[0].mjd, group[0].name, group[0].path))


def _shared(values: Mapping[str, Any], exposure_s: float, times: Mapping[float, float]) -> dict[str, str]:
    """Return the values that decide the group, as text, with equal times made identical."""
    shared = {}
    for keyword, value in values.items():
        if isinstance(value, float) and abs(value - exposure_s) <= time_tolerance(exposure_s):
            value = times[exposure_s]
        shared[keyword] = f"{value:.6g}" if isinstance(value, (int, float)) else str(value)
    return shared


def _equal_times(times: Iterable[float]) -> dict[float, float]:
    """Return for each exposure time the smallest one that is equal within the tolerance of a set."""
    smallest: dict[float, float] = {}
    reference = -math.inf
    for time in sorted(set(times)):
        if time - reference > time_tolerance(time):
            reference = time
        smallest[time] = reference
    return smallest


def _split_at_gaps(frames: Sequence[NightFile], gap_h: float) -> Iterator[list[NightFile]]:
    """Yield the frames of each night, cut where no frame was taken for a while."""
    group = [frames[0]]
    for before, frame in itertools.pairwise(frames):
        pause_h = 24.0 * (frame.mjd - before.mjd) - before.exposure_s / 3600.0
        if pause_h > gap_h or night_of(frame.mjd) != night_of(before.mjd):
            yield group
            group = []
        group.append(frame)
    yield group
