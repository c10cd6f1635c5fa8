"""Whether frames belong together: every fault of a set is found and told, not the first one alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from ..exceptions import ErrorCollector, FrameError, MixedFramesError
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument
from ..text import format_value

__all__ = [
    "ExposureInfo", "Labelled", "check_agreement", "common_value", "conversion_factor", "exposure_info",
    "mode_keywords", "report_inconsistent",
]  # fmt: skip

#: CONAD x GAIN may be off 1 by this; a stated factor off those of the known modes by so many times is odd.
INVERSE_TOLERANCE, MODE_TOLERANCE, TABLE_TOLERANCE = 0.05, 1.5, 0.01

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_SPLIT_TIMES = "leave this frame out, or reduce each exposure time on its own"
_SPLIT_ARMS = "leave this frame out, or reduce each arm on its own"
_SPLIT = "leave this frame out, or split the set"


#: No exposure time (s) or count is larger, no date (MJD; the years 1900 and 2406) beyond: what is, is a damaged header.
_LARGEST, _LARGEST_COUNT, _FIRST_MJD, _LAST_MJD = 1e6, 10_000, 15_020, 200_000


def _positive(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _LARGEST
    return float(value) if usable else None


def _count(value: Any) -> int | None:
    number = _positive(value)
    return int(number) if number is not None and number.is_integer() and number <= _LARGEST_COUNT else None


def _time_tolerance(seconds: float) -> float:
    return max(1e-3 * seconds, 0.01)


def _factor_tolerance(factor: float) -> float:
    return 1e-3 * factor


@dataclass(frozen=True)
class _Rule:
    """How a meaning is read and compared."""

    usable: Callable[[Any], Any] = lambda value: value
    wanted: str = "a value"
    required: bool = False
    tolerance: Callable[[float], float] | None = None
    remedy: str = _SPLIT


_RULES: Mapping[str, _Rule] = {
    "chip": _Rule(),
    "exptime": _Rule(_positive, "seconds above zero, up to 1e6", True, _time_tolerance, _SPLIT_TIMES),
    "dit": _Rule(_positive, "seconds above zero, up to 1e6", False, _time_tolerance, _SPLIT_TIMES),
    "ndit": _Rule(_count, "a whole number from 1 to 10000", remedy=_SPLIT_TIMES),
    "binx": _Rule(_count, "a whole number from 1 to 10000"),
    "biny": _Rule(_count, "a whole number from 1 to 10000"),
    "conad": _Rule(tolerance=_factor_tolerance),
    "gain": _Rule(tolerance=_factor_tolerance),
}


class Labelled(Protocol):
    """Something that has a name for messages."""

    @property
    def label(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class ExposureInfo:
    """What the header of a raw dark says of its exposure and read-out, checked.

    Attributes
    ----------
    label : str
        Name of the frame and where it was listed, for messages.
    instrument : Instrument
        Whose keywords were read.
    detector : Detector
        The detector of its arm.
    mjd : float
        Start of the exposure, modified Julian date.
    shape : tuple of int
        Rows and columns.
    values : mapping of str to (str, object)
        For each meaning the keyword that held it and the value, None where the header has none. The keywords of
        the read-out mode stand for themselves.
    """

    label: str
    instrument: Instrument
    detector: Detector
    mjd: float
    shape: tuple[int, int]
    values: Mapping[str, tuple[str, Any]]


def mode_keywords(instrument: Instrument) -> tuple[str, ...]:
    """Keywords that name the read-out mode."""
    return instrument.keywords.get("read_mode", ()) + instrument.keywords.get("read_mode_name", ())


def exposure_info(
    header: Mapping[str, Any], label: str, instrument: Instrument, shape: tuple[int, int]
) -> ExposureInfo:
    """Read and check what a raw dark's header must say.

    Parameters
    ----------
    header : mapping
        Its header.
    label : str
        Its name, for messages.
    instrument : Instrument
        Whose keywords to read.
    shape : tuple of int
        Rows and columns of its image.

    Returns
    -------
    ExposureInfo

    Raises
    ------
    FrameError
        With a line for each required keyword that is missing or has an unusable value.
    """
    lines: list[str] = []
    values: dict[str, tuple[str, Any]] = {"instrument": ("INSTRUME", instrument.name)}

    def fault(keyword: str, value: Any, wanted: str) -> None:
        found = "missing" if value is None else format_value(value)
        lines.append(f"{label}: {keyword} is {found}, expected {wanted}: leave this frame out, or repair its header")

    for meaning, wanted in (("category", "'CALIB'"), ("technique", "a value"), ("type", "'DARK'")):
        keyword, value = instrument.find(header, meaning)
        if value is None or (meaning == "category" and value != "CALIB"):
            fault(keyword, value, wanted)
    keyword, arm = values["arm"] = instrument.find(header, "arm")
    if arm not in instrument.detectors:
        fault(keyword, arm, f"one of {', '.join(instrument.detectors)}")
    for meaning, rule in _RULES.items():
        keyword, value = instrument.find(header, meaning)
        usable = None if value is None else rule.usable(value)
        # CDELT is a step of coordinates: it means binning only where it can
        if usable is None and (rule.required or (value is not None and not keyword.startswith("CDELT"))):
            fault(keyword, value, rule.wanted)
        values[meaning] = keyword, usable
    for meaning in ("conad", "gain"):
        # what is not a number here means that the header has none
        values[meaning] = values[meaning][0], _positive(values[meaning][1])
    values |= {keyword: (keyword, header.get(keyword)) for keyword in mode_keywords(instrument)}
    mjd = _start(header, instrument)
    if mjd is None:
        keyword, value = instrument.find(header, "mjd")
        fault(keyword, value, "the start of the exposure, here or in DATE-OBS")
    if lines or mjd is None:
        raise FrameError(lines)
    return ExposureInfo(label, instrument, instrument.detectors[arm], mjd, shape, values)


def _start(header: Mapping[str, Any], instrument: Instrument) -> float | None:
    mjd = _positive(instrument.value(header, "mjd"))
    if mjd is None or not _FIRST_MJD <= mjd <= _LAST_MJD:
        try:
            begin = datetime.fromisoformat(str(instrument.value(header, "date", "")))
        except ValueError:
            return None
        begin = begin.replace(tzinfo=begin.tzinfo or UTC)
        mjd = (begin - _MJD_EPOCH).total_seconds() / 86400
    return mjd if _FIRST_MJD <= mjd <= _LAST_MJD else None


def common_value(frames: Sequence[ExposureInfo], meaning: str) -> tuple[str, Any]:
    """Keyword and value that frames found to agree have for a meaning; None where no header has it."""
    for frame in frames:
        keyword, value = frame.values[meaning]
        if value is not None:
            return keyword, value
    return frames[0].values[meaning]


def check_agreement(
    frames: Sequence[ExposureInfo], faults: ErrorCollector
) -> tuple[list[ExposureInfo], tuple[str, ...]]:
    """Compare the frames of a set; what most of them say is what is expected of the others.

    Parameters
    ----------
    frames : sequence of ExposureInfo
        Raw darks; where votes are equal, the first one's side counts.
    faults : ErrorCollector
        Takes a line for each frame and keyword that disagrees.

    Returns
    -------
    list of ExposureInfo
        Those of the arm that most frames are of.
    tuple of str
        Warnings: one for each optional keyword that is missing, with what is taken instead.
    """
    for meaning in ("instrument", "arm"):
        same = report_inconsistent(frames, [frame.values[meaning] for frame in frames], None, _SPLIT_ARMS, faults)
        # frames of another arm differ in everything else too: that needs no line
        frames = [frame for frame, agrees in zip(frames, same, strict=True) if agrees]
    sizes = [("NAXIS1 x NAXIS2", f"{frame.shape[1]} x {frame.shape[0]}") for frame in frames]
    report_inconsistent(frames, sizes, None, _SPLIT, faults)
    same_time = frames
    for meaning in sorted(frames[0].values, key=lambda meaning: meaning != "exptime"):
        rule = _RULES.get(meaning, _Rule())
        # a frame of another exposure time has another DIT too: that needs no line
        voters = same_time if meaning in ("dit", "ndit") else frames
        same = report_inconsistent(
            voters, [frame.values[meaning] for frame in voters], rule.tolerance, rule.remedy, faults
        )
        if meaning == "exptime":
            same_time = [frame for frame, agrees in zip(frames, same, strict=True) if agrees]
    return list(frames), tuple(_remarks(frames))


def report_inconsistent(
    frames: Sequence[Labelled],
    found: Sequence[tuple[str, Any]],
    tolerance: Callable[[float], float] | None,
    remedy: str,
    faults: ErrorCollector,
) -> list[bool]:
    """Note each frame whose value is not the one that most have; a missing value disagrees with nothing.

    Parameters
    ----------
    frames : sequence of Labelled
        The frames.
    found : sequence of (str, object)
        Of each the keyword and its value, None where it has none.
    tolerance : callable or None
        By how much a value may differ; None: not at all.
    remedy : str
        What to do, for the messages.
    faults : ErrorCollector
        Takes a line for each that disagrees.

    Returns
    -------
    list of bool
        Which of them agree.
    """
    values = [value for _, value in found if value is not None]
    if not values:
        return [True] * len(found)
    expected = _majority(values, tolerance)
    margin = 0.0 if tolerance is None else tolerance(expected)
    same = [
        value is None or (value == expected if tolerance is None else abs(value - expected) <= margin)
        for _, value in found
    ]
    share = (
        f"{sum(agrees and value is not None for agrees, (_, value) in zip(same, found, strict=True))} of {len(found)}"
    )
    for frame, agrees, (keyword, value) in zip(frames, same, found, strict=True):
        if not agrees:
            faults.add(
                MixedFramesError,
                f"{frame.label}: {keyword} is {format_value(value)}, expected {format_value(expected)} "
                f"as in {share} frames: {remedy}",
            )
    return same


def _majority(values: Sequence[Any], tolerance: Callable[[float], float] | None) -> Any:
    """Find the value that most others agree with; of several such the first."""
    if tolerance is None:
        return Counter(values).most_common(1)[0][0]
    ordered = np.sort(np.array(values, float))
    margins = np.array([tolerance(value) for value in values])
    last = np.searchsorted(ordered, np.array(values) + margins, "right")
    votes = last - np.searchsorted(ordered, np.array(values) - margins, "left")
    return values[int(np.argmax(votes))]


def _remarks(frames: Sequence[ExposureInfo]) -> Iterable[str]:
    """Say what is taken where optional keywords of one arm's frames are missing or odd."""
    instrument, detector = frames[0].instrument, frames[0].detector
    instead = {"binx": "taken as 1", "biny": "taken as 1"}
    if detector.mode == "read_mode":  # an infrared detector: never binned, its exposures may be cut into several
        instead = {"dit": f"{frames[0].values['exptime'][0]} is taken for it", "ndit": "taken as 1"}
    for meaning, words in instead.items():
        keyword, value = common_value(frames, meaning)
        missing = sum(frame.values[meaning][1] is None for frame in frames)
        if missing:
            words = words if value is None else f"taken as {format_value(value)} as in the others"
            yield f"{keyword} is missing in {missing} of {len(frames)} frames: {words}"
    modes = instrument.keywords.get("read_mode", ())
    missing = sum(all(frame.values[keyword][1] is None for keyword in modes) for frame in frames)
    if missing and modes:
        names = " or ".join(modes)
        yield f"{names} is missing in {missing} of {len(frames)} frames: their read-out is taken for the same"
    (dit_keyword, dit), (ndit_keyword, ndit) = common_value(frames, "dit"), common_value(frames, "ndit")
    exptime_keyword, exptime = frames[0].values["exptime"]
    if dit is not None and min(abs(exptime - dit), abs(exptime - dit * (ndit or 1))) > _time_tolerance(exptime):
        yield (
            f"{dit_keyword} is {format_value(dit)} and {ndit_keyword} {format_value(ndit or 1)}, expected them "
            f"to make up {exptime_keyword} {format_value(exptime)}: rates are per {dit_keyword}"
        )


def conversion_factor(frames: Sequence[ExposureInfo]) -> tuple[float, tuple[str, ...]]:
    """Choose the conversion factor of a set whose frames agree.

    Parameters
    ----------
    frames : sequence of ExposureInfo
        Raw darks of one arm.

    Returns
    -------
    float
        Conversion factor, electron/ADU.
    tuple of str
        Warnings: a fallback that was taken, a factor that is odd. Nothing is ever swapped or inverted.
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
                f"{keyword} is {conad:g}, expected {table:g}: the table's {table:g} electron/ADU is used, as is known "
                f"of {detector.name}"
            )
    elif all(max(conad / mode, mode / conad) > MODE_TOLERANCE for mode in detector.conad_modes_e_per_adu):
        modes = ", ".join(f"{mode:g}" for mode in detector.conad_modes_e_per_adu)
        warnings.append(f"{keyword} is {conad:g}, expected about one of {modes}: it is used as it is; check the header")
    return used, tuple(warnings)
