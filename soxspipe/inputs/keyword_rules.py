"""The keys of a header that decide a reduction: how each is read, and compared between the frames of a set."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["EXPOSURE_RULES", "RULES", "SPLIT", "KeywordRule", "read_number", "time_tolerance"]

#: Smallest and largest positive number, largest count and highest temperature (K) of a sound header.
SMALLEST, LARGEST, LARGEST_COUNT, HIGHEST_K = 1e-12, 1e6, 10_000, 1000.0
#: A bias has no exposure; some cameras write their shortest exposure.
LONGEST_BIAS_S = 0.1
ZERO_CELSIUS_K = 273.15

#: Advice where a frame differs from the others.
SPLIT = "leave this frame out, or split the set"
_SPLIT_TIMES = "leave this frame out, or reduce each exposure time on its own"

_UNIT = re.compile(
    r"(?:(?P<adu>adu|dn|ct|counts?)|e-?|el|electrons?)\s*(?P<rate>(?:/\s*|per\s+)s(?:ec(?:onds?)?)?|s\s*(?:\*\*|\^)?-1)?",
    re.IGNORECASE,
)


def read_number(value: Any, low: float = SMALLEST, high: float = LARGEST) -> float | None:
    """Return a header's value as a float; None where it is not a number from ``low`` to ``high``."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
    return float(value) if usable else None


def _count(value: Any) -> int | None:
    number = read_number(value, 1, LARGEST_COUNT)
    return int(number) if number is not None and number.is_integer() else None


def _kelvin(value: Any) -> float | None:
    celsius = read_number(value, -ZERO_CELSIUS_K, -SMALLEST)
    return read_number(value, high=HIGHEST_K) if celsius is None else round(celsius + ZERO_CELSIUS_K, 6)


def _unit(value: Any) -> str | None:
    match = _UNIT.fullmatch(str(value).strip())
    return match and ("ADU" if match["adu"] else "electron") + ("/s" if match["rate"] else "")


def time_tolerance(seconds: float) -> float:
    """Return the largest difference of two equal exposure times, second."""
    return max(1e-3 * seconds, min(0.01, 0.1 * seconds))


@dataclass(frozen=True)
class KeywordRule:
    """Rule by which a keyword is read, and compared between frames.

    Attributes
    ----------
    read : callable
        Returns the value in its type; None where it is unusable.
    expected : str
        Usable values in words.
    required : bool
        Whether the header must have it.
    is_used : bool
        Whether pixels depend on it: then an unusable value refuses the frame, else it is a warning.
    missing : object
        The value of a header without it; None: that of the other frames.
    tolerance : callable or None
        Returns the largest difference of equal values; None: they must be identical.
    remedy : str
        Advice where frames differ.
    """

    read: Callable[[Any], Any] = lambda value: value
    expected: str = "a value"
    required: bool = False
    is_used: bool = True
    missing: Any = None
    tolerance: Callable[[float], float] | None = None
    remedy: str = SPLIT


_SECONDS = "seconds above zero, up to 1e6"
#: Rules of the exposure time, by `FrameKind.exposure`.
EXPOSURE_RULES = {
    "positive": KeywordRule(read_number, _SECONDS, True, tolerance=time_tolerance, remedy=_SPLIT_TIMES),
    "zero": KeywordRule(
        lambda value: read_number(value, 0, LONGEST_BIAS_S),
        f"0 s, at most {LONGEST_BIAS_S:g} s",
        True,
        tolerance=lambda _: 0.01,
    ),
}
_COUNT = KeywordRule(_count, "a whole number from 1 to 10000")
_NUMBER = "a number above zero, up to 1e6"
_FACTOR = KeywordRule(read_number, _NUMBER, is_used=False, tolerance=lambda factor: 1e-3 * factor)
#: Rules by meaning; the values of other meanings must be identical.
RULES: Mapping[str, KeywordRule] = {
    "chip": KeywordRule(),
    "exptime": EXPOSURE_RULES["positive"],
    "dit": KeywordRule(read_number, _SECONDS, tolerance=time_tolerance, remedy=_SPLIT_TIMES),
    "ndit": KeywordRule(_count, "a whole number from 1 to 10000", remedy=_SPLIT_TIMES),
    "binx": _COUNT,
    "biny": _COUNT,
    "unit": KeywordRule(_unit, "ADU, count, electron, ADU/s or electron/s", missing="ADU"),
    "conad": _FACTOR,  # used where the table of the detector says so
    "gain": _FACTOR,
    "read_noise": KeywordRule(read_number, _NUMBER, is_used=False, tolerance=lambda _: math.inf),
    "temperature": KeywordRule(_kelvin, "kelvin, up to 1000", is_used=False, tolerance=lambda _: math.inf),
}
