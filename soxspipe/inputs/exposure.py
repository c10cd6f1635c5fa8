"""Read exposure and read-out of a raw frame from its header, and check them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..exceptions import FrameError
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument
from ..text import escape, format_value
from .frame_kinds import FrameKind
from .keyword_rules import EXPOSURE_RULES, RULES, read_number
from .start_time import read_start

__all__ = ["ExposureInfo", "mode_keywords", "read_exposure_info", "read_mode_of", "setting_keywords"]


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
        Keyword and value by meaning, the value None where the header has no usable one. Keywords of read-out mode
        and settings have themselves as key. Temperatures are in kelvin.
    remarks : mapping of str to str
        Remarks on unusual values, by keyword.
    """

    label: str
    instrument: Instrument
    detector: Detector
    mjd: float
    shape: tuple[int, int]
    values: Mapping[str, tuple[str, Any]]
    remarks: Mapping[str, str]


def mode_keywords(instrument: Instrument) -> tuple[str, ...]:
    """Return the keywords that name the read-out mode."""
    return instrument.keywords["read_mode"] + instrument.keywords["read_mode_name"]


def read_mode_of(instrument: Instrument, values: Mapping[str, Any]) -> str | None:
    """Return the read-out mode as a word of a file name, from values by keyword; else that of the instrument table."""
    modes = (values.get(keyword) for keyword in mode_keywords(instrument))
    mode = next((mode for mode in modes if mode is not None), instrument.defaults.get("read_mode"))
    return None if mode is None else escape(mode).strip()


def setting_keywords(instrument: Instrument) -> tuple[str, ...]:
    """Return the keywords of the read-out whose values must be identical in a set: its mode and its settings."""
    return mode_keywords(instrument) + instrument.keywords["settings"]


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

    def reject(keyword: str, value: Any, expected: str) -> None:
        found = "missing" if value is None else format_value(value)
        lines.append(f"{label}: {keyword} is {found}, expected {expected}: leave this frame out, or repair its header")

    type_words = instrument.words_for("type", kind.dpr_type)
    declared = (("category", "'CALIB'"), ("technique", "a value"), ("type", type_words))
    for meaning, expected in declared if kind.dpr_type else ():
        keyword, value = instrument.find(header, meaning)
        if value is None or (meaning == "category" and value != "CALIB"):
            reject(keyword, value, expected)
    keyword, arm = instrument.find(header, "arm")
    detector = instrument.detectors.get(arm)
    if detector is None:
        reject(keyword, arm, f"one of {', '.join(instrument.detectors)}")
    elif detector.mode in (kind.refused_modes or {}):
        raise FrameError(f"{label}: {keyword} is {format_value(arm)}: {(kind.refused_modes or {})[detector.mode]}")
    values, remarks = _read_values(header, instrument, detector, kind, reject)
    values |= {"instrument": ("INSTRUME", instrument.name), "arm": (keyword, arm)}
    mjd, problem = read_start(header, instrument)
    if mjd is None:
        lines.append(f"{label}: {problem}: leave this frame out, or repair its header")
    elif problem:
        remarks["start"] = problem
    if lines or mjd is None or detector is None:
        raise FrameError(lines)
    return ExposureInfo(label, instrument, detector, mjd, shape, values, remarks)


def _read_values(
    header: Mapping[str, Any],
    instrument: Instrument,
    detector: Detector | None,
    kind: FrameKind,
    reject: Callable[[str, Any, str], None],
) -> tuple[dict[str, tuple[str, Any]], dict[str, str]]:
    """Return values and remarks of `ExposureInfo`; an unusable value that decides pixels is rejected."""
    values: dict[str, tuple[str, Any]] = {}
    remarks: dict[str, str] = {}
    for meaning, rule in {**RULES, "exptime": EXPOSURE_RULES[kind.exposure]}.items():
        keyword, value = _find(header, instrument, detector, meaning)
        usable = rule.missing if value is None else rule.read(value)
        values[meaning] = keyword, usable
        is_used = rule.is_used or (meaning == "conad" and detector is not None and detector.conad_from_header)
        if usable is None and (rule.required or (value is not None and is_used)):
            reject(keyword, value, rule.expected)
        elif usable is None and value is not None:
            remarks[keyword] = f"{keyword} is {format_value(value)}, expected {rule.expected}: it is not used"
        elif meaning == "temperature" and value != usable:
            remarks[keyword] = f"{keyword} is {format_value(value)}, below zero kelvin: it is read as Celsius"
    keyword, unit = values["unit"]
    if kind.exposure == "zero" and str(unit).endswith("/s"):
        reject(keyword, unit, f"ADU or electron, as a {kind.noun} has no exposure")
    values |= {keyword: (keyword, header.get(keyword)) for keyword in setting_keywords(instrument)}
    return values, remarks


def _find(
    header: Mapping[str, Any], instrument: Instrument, detector: Detector | None, meaning: str
) -> tuple[str, Any]:
    """Return keyword and value of a meaning; the value is None where the header has none."""
    keyword, value = instrument.find(header, meaning)
    if meaning == "temperature" and detector is not None and detector.temperature_keyword:
        return detector.temperature_keyword, instrument.kelvin(header.get(detector.temperature_keyword))
    if meaning == "conad" and detector is not None and detector.adu_per_count != 1.0:
        per_count = read_number(value)
        return keyword, value if per_count is None else per_count / detector.adu_per_count
    # CDELT may be a coordinate step: ignore unusable values
    is_step = keyword.startswith("CDELT") and RULES[meaning].read(value) is None
    return keyword, None if is_step else value
