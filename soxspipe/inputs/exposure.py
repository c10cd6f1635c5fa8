"""Read exposure and read-out of a raw frame from its header, and check them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..exceptions import FrameError
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument
from ..text import format_value
from .frame_kinds import FrameKind
from .keyword_rules import EXPOSURE_RULES, RULES, positive_number

__all__ = ["ExposureInfo", "mode_keywords", "read_exposure_info"]

#: First and last date of a sound header (MJD; the years 1900 and 2406).
FIRST_MJD, LAST_MJD = 15_020, 200_000

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


@dataclass(frozen=True)
class ExposureInfo:
    """Exposure and read-out of a raw frame.

    Attributes
    ----------
    label : str
        Name of the frame and its place in the input, for messages.
    instrument : Instrument
        Its instrument.
    detector : Detector
        The detector of its arm.
    mjd : float
        Start of the exposure, modified Julian date.
    shape : tuple of int
        Rows and columns.
    values : mapping of str to (str, object)
        Keyword and value by meaning, the value None where the header has none. Read-out mode keywords have
        themselves as key.
    """

    label: str
    instrument: Instrument
    detector: Detector
    mjd: float
    shape: tuple[int, int]
    values: Mapping[str, tuple[str, Any]]


def mode_keywords(instrument: Instrument) -> tuple[str, ...]:
    """Return the keywords that name the read-out mode."""
    return instrument.keywords.get("read_mode", ()) + instrument.keywords.get("read_mode_name", ())


def read_exposure_info(
    header: Mapping[str, Any], label: str, instrument: Instrument, shape: tuple[int, int], kind: FrameKind
) -> ExposureInfo:
    """Read and check exposure and read-out of a raw frame.

    Parameters
    ----------
    header : mapping
        Its header.
    label : str
        Its name, for messages.
    instrument : Instrument
        Its instrument.
    shape : tuple of int
        Rows and columns of its image.
    kind : FrameKind
        The kind of frames that is expected.

    Returns
    -------
    ExposureInfo

    Raises
    ------
    FrameError
        With a line for each required keyword that is missing or unusable, or when the detector has no such frames.
    """
    lines: list[str] = []
    values: dict[str, tuple[str, Any]] = {"instrument": ("INSTRUME", instrument.name)}

    def reject(keyword: str, value: Any, expected: str) -> None:
        found = "missing" if value is None else format_value(value)
        lines.append(f"{label}: {keyword} is {found}, expected {expected}: leave this frame out, or repair its header")

    for meaning, expected in (("category", "'CALIB'"), ("technique", "a value"), ("type", f"'{kind.dpr_type}'")):
        keyword, value = instrument.find(header, meaning)
        if value is None or (meaning == "category" and value != "CALIB"):
            reject(keyword, value, expected)
    keyword, arm = values["arm"] = instrument.find(header, "arm")
    detector = instrument.detectors.get(arm)
    if detector is None:
        reject(keyword, arm, f"one of {', '.join(instrument.detectors)}")
    elif detector.mode in (kind.refused_modes or {}):
        raise FrameError(f"{label}: {keyword} is {format_value(arm)}: {(kind.refused_modes or {})[detector.mode]}")
    for meaning in RULES:
        rule = EXPOSURE_RULES[kind.exposure] if meaning == "exptime" else RULES[meaning]
        keyword, value = instrument.find(header, meaning)
        usable = None if value is None else rule.read(value)
        # CDELT may be a coordinate step: ignore unusable values
        if usable is None and (rule.required or (value is not None and not keyword.startswith("CDELT"))):
            reject(keyword, value, rule.expected)
        values[meaning] = keyword, usable
    for meaning in ("conad", "gain"):  # a factor that is no number counts as missing
        values[meaning] = values[meaning][0], positive_number(values[meaning][1])
    values |= {keyword: (keyword, header.get(keyword)) for keyword in mode_keywords(instrument)}
    mjd = _start_mjd(header, instrument)
    if mjd is None:
        keyword, value = instrument.find(header, "mjd")
        reject(keyword, value, "the start of the exposure, here or in DATE-OBS")
    if lines or mjd is None or detector is None:
        raise FrameError(lines)
    return ExposureInfo(label, instrument, detector, mjd, shape, values)


def _start_mjd(header: Mapping[str, Any], instrument: Instrument) -> float | None:
    """Return the start of the exposure by MJD-OBS, else by DATE-OBS; None where neither is usable."""
    mjd = positive_number(instrument.value(header, "mjd"))
    if mjd is None or not FIRST_MJD <= mjd <= LAST_MJD:
        try:
            begin = datetime.fromisoformat(str(instrument.value(header, "date", "")))
        except ValueError:
            return None
        begin = begin.replace(tzinfo=begin.tzinfo or UTC)
        mjd = (begin - _MJD_EPOCH).total_seconds() / 86400
    return mjd if FIRST_MJD <= mjd <= LAST_MJD else None
