"""Consistency of a set: every frame that differs from the majority is reported, not only the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any, Protocol, TypeVar

import numpy as np

from ..exceptions import ErrorCollector, MixedFramesError
from ..text import format_value, listed
from .exposure import ExposureInfo
from .keyword_rules import RULES, SPLIT, KeywordRule, time_tolerance

__all__ = ["check_agreement", "common_value", "conversion_factor", "set_warnings"]

#: CONAD x GAIN may differ from 1 by INVERSE_TOLERANCE. A stated factor is odd when it differs from those of all known
#: modes by the factor MODE_TOLERANCE, or from the table's by the fraction TABLE_TOLERANCE.
INVERSE_TOLERANCE, MODE_TOLERANCE, TABLE_TOLERANCE = 0.05, 1.5, 0.01
#: Frames that a warning names.
NAMED = 5


class Comparable(Protocol):
    """A frame or master with the values that it must share with the others of its set."""

    @property
    def label(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def values(self) -> Mapping[str, tuple[str, Any]]: ...


_SPLIT_ARMS = "leave this frame out, or reduce each arm on its own"

ComparableT = TypeVar("ComparableT", bound=Comparable)


def common_value(frames: Sequence[Comparable], meaning: str) -> tuple[str, Any]:
    """Return keyword and value of a meaning in frames that agree; the value is None where no header has it."""
    for frame in frames:
        keyword, value = frame.values[meaning]
        if value is not None:
            return keyword, value
    return frames[0].values[meaning]


def check_agreement(frames: Sequence[ComparableT], errors: ErrorCollector, remedy: str = "") -> list[ComparableT]:
    """Compare the members of a set with the majority.

    Parameters
    ----------
    frames : sequence of Comparable
        Raw frames, or masters. In a tie the value of the first one wins.
    errors : ErrorCollector
        Takes a line for each frame and keyword that disagrees.
    remedy : str
        Advice for the messages; default: that of the rule of the keyword.

    Returns
    -------
    list of Comparable
        Frames of the most frequent instrument and arm.
    """
    for meaning in ("instrument", "arm"):
        found = [frame.values[meaning] for frame in frames]
        agree = _report_inconsistent(frames, found, KeywordRule(remedy=remedy or _SPLIT_ARMS), errors)
        # frames of another arm differ in everything else too, so the rest is not reported
        frames = list(compress(frames, agree))
    sizes = [("NAXIS1 x NAXIS2", f"{frame.shape[1]} x {frame.shape[0]}") for frame in frames]
    _report_inconsistent(frames, sizes, KeywordRule(remedy=remedy or SPLIT), errors)
    same_exptime = frames
    for meaning in sorted(frames[0].values, key=lambda meaning: meaning != "exptime"):
        rule = RULES.get(meaning, KeywordRule())
        # a frame of another exposure time has another DIT too, so its DIT is not reported
        compared = same_exptime if meaning in ("dit", "ndit") else frames
        found = [frame.values[meaning] for frame in compared]
        agree = _report_inconsistent(compared, found, replace(rule, remedy=remedy or rule.remedy), errors)
        if meaning == "exptime":
            same_exptime = list(compress(frames, agree))
    return list(frames)


def _report_inconsistent(
    frames: Sequence[Comparable], found: Sequence[tuple[str, Any]], rule: KeywordRule, errors: ErrorCollector
) -> list[bool]:
    """Report each frame whose value differs from that of the majority, and return which agree.

    A missing value agrees with all.
    """
    tolerance = rule.tolerance
    values = [value for _, value in found if value is not None]
    if not values:
        return [True] * len(found)
    expected = _majority(values, tolerance)
    margin = 0.0 if tolerance is None else tolerance(expected)
    agree = [
        value is None or (value == expected if tolerance is None else abs(value - expected) <= margin)
        for _, value in found
    ]
    n_agree = sum(agrees and value is not None for agrees, (_, value) in zip(agree, found, strict=True))
    for frame, agrees, (keyword, value) in zip(frames, agree, found, strict=True):
        if not agrees:
            errors.add(
                MixedFramesError,
                f"{frame.label}: {keyword} is {format_value(value)}, expected {format_value(expected)} "
                f"as in {n_agree} of {len(found)} frames: {rule.remedy}",
            )
    return agree


def _majority(values: Sequence[Any], tolerance: Callable[[float], float] | None) -> Any:
    """Return the value that most others agree with; of several such values the first."""
    if tolerance is None:
        return Counter(values).most_common(1)[0][0]
    ordered = np.sort(np.array(values, float))
    margins = np.array([tolerance(value) for value in values])
    last = np.searchsorted(ordered, np.array(values) + margins, "right")
    votes = last - np.searchsorted(ordered, np.array(values) - margins, "left")
    return values[int(np.argmax(votes))]


def set_warnings(frames: Sequence[ExposureInfo]) -> Iterable[str]:
    """Yield a warning for each keyword of one arm's frames that is missing or odd."""
    for keyword in dict.fromkeys(keyword for frame in frames for keyword in frame.remarks):
        odd = [frame for frame in frames if keyword in frame.remarks]
        yield f"{listed([frame.label for frame in odd], NAMED)}: {odd[0].remarks[keyword]}"
    unit_keyword, unit = common_value(frames, "unit")
    if unit != "ADU":
        yield f"{unit_keyword} is {format_value(unit)}: the samples are converted from it to electron, not from ADU"
    instrument, detector = frames[0].instrument, frames[0].detector
    defaults = {"binx": "1 is assumed", "biny": "1 is assumed"}
    if detector.mode == "read_mode":  # an infrared detector: never binned, its exposures may be averages
        defaults = {"dit": f"{frames[0].values['exptime'][0]} is used instead", "ndit": "1 is assumed"}
    for meaning, assumption in defaults.items():
        keyword, value = common_value(frames, meaning)
        n_missing = sum(frame.values[meaning][1] is None for frame in frames)
        if n_missing:
            assumed = assumption if value is None else f"{format_value(value)} is assumed as in the others"
            yield f"{keyword} is missing in {n_missing} of {len(frames)} frames: {assumed}"
    modes = instrument.keywords["read_mode"]
    n_missing = sum(all(frame.values[keyword][1] is None for keyword in modes) for frame in frames)
    if n_missing and modes and "read_mode" not in instrument.defaults:
        keywords = " or ".join(modes)
        yield f"{keywords} is missing in {n_missing} of {len(frames)} frames: the same read-out mode is assumed"
    (dit_keyword, dit), (ndit_keyword, ndit) = common_value(frames, "dit"), common_value(frames, "ndit")
    exptime_keyword, exptime = frames[0].values["exptime"]
    if dit is not None and min(abs(exptime - dit), abs(exptime - dit * (ndit or 1))) > time_tolerance(exptime):
        yield (
            f"{dit_keyword} is {format_value(dit)} and {ndit_keyword} {format_value(ndit or 1)}, expected them "
            f"to make up {exptime_keyword} {format_value(exptime)}: rates are per {dit_keyword}"
        )


def conversion_factor(frames: Sequence[ExposureInfo]) -> tuple[float, tuple[str, ...]]:
    """Choose the conversion factor of a set whose frames agree.

    Parameters
    ----------
    frames : sequence of ExposureInfo
        Raw frames of one arm.

    Returns
    -------
    float
        Conversion factor, electron/ADU.
    tuple of str
        Warnings: a factor that was assumed, or that is odd. Nothing is ever swapped or inverted.
    """
    detector = frames[0].detector
    table = detector.conad_e_per_adu
    (keyword, conad), (inverse, gain) = common_value(frames, "conad"), common_value(frames, "gain")
    used = conad if detector.conad_from_header and conad is not None else table
    warnings = []
    if conad is None:
        if detector.conad_from_header:
            warnings.append(f"{keyword} is missing: {table:g} electron/ADU of the table of {detector.name} is used")
        return used, tuple(warnings)
    if gain is not None and abs(conad * gain - 1) > INVERSE_TOLERANCE:
        warnings.append(
            f"{keyword} x {inverse} is {conad:g} x {gain:g} = {conad * gain:g}, expected 1: {used:g} electron/ADU is "
            "used; check the header"
        )
    if not detector.conad_from_header:
        if abs(conad / table - 1) > TABLE_TOLERANCE:
            warnings.append(
                f"{keyword} is {conad:g}, expected {table:g}: the table's {table:g} electron/ADU is used, as the "
                f"header of {detector.name} is known to be wrong"
            )
    elif all(max(conad / mode, mode / conad) > MODE_TOLERANCE for mode in detector.conad_modes_e_per_adu):
        modes = ", ".join(f"{mode:g}" for mode in detector.conad_modes_e_per_adu)
        warnings.append(f"{keyword} is {conad:g}, expected about one of {modes}: it is used as it is; check the header")
    return used, tuple(warnings)
