"""The keys by which the frames of a set must agree: how each is read and compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["EXPOSURE_RULES", "RULES", "SPLIT", "KeywordRule", "positive_number", "time_tolerance"]

#: Longest exposure time (s) and largest count of a sound header.
LONGEST_S, LARGEST_COUNT = 1e6, 10_000
#: A bias has no exposure; some cameras write their shortest exposure.
LONGEST_BIAS_S = 0.1

#: Advice where a frame differs from the others.
SPLIT = "leave this frame out, or split the set"
_SPLIT_TIMES = "leave this frame out, or reduce each exposure time on its own"


def positive_number(value: Any, largest: float = LONGEST_S) -> float | None:
    """Return a header's value as a float; None where it is not a number from above zero to ``largest``."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= largest
    return float(value) if usable else None


def _zero_exposure(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST_BIAS_S
    return float(value) if usable else None


def _count(value: Any) -> int | None:
    number = positive_number(value, LARGEST_COUNT)
    return int(number) if number is not None and number.is_integer() else None


def time_tolerance(seconds: float) -> float:
    """Return the largest difference of two equal exposure times, second."""
    return max(1e-3 * seconds, 0.01)


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
    tolerance : callable or None
        Returns the largest difference of equal values; None: they must be identical.
    remedy : str
        Advice where frames differ.
    """

    read: Callable[[Any], Any] = lambda value: value
    expected: str = "a value"
    required: bool = False
    tolerance: Callable[[float], float] | None = None
    remedy: str = SPLIT


#: Rules of the exposure time, by `FrameKind.exposure`.
EXPOSURE_RULES = {
    "positive": KeywordRule(positive_number, "seconds above zero, up to 1e6", True, time_tolerance, _SPLIT_TIMES),
    "zero": KeywordRule(_zero_exposure, f"0 s, at most {LONGEST_BIAS_S:g} s", True, time_tolerance),
}
_COUNT = KeywordRule(_count, "a whole number from 1 to 10000")
_FACTOR = KeywordRule(tolerance=lambda factor: 1e-3 * factor)
#: Rules by meaning; the values of other meanings must be identical.
RULES: Mapping[str, KeywordRule] = {
    "chip": KeywordRule(),
    "exptime": EXPOSURE_RULES["positive"],
    "dit": KeywordRule(positive_number, "seconds above zero, up to 1e6", False, time_tolerance, _SPLIT_TIMES),
    "ndit": KeywordRule(_count, "a whole number from 1 to 10000", remedy=_SPLIT_TIMES),
    "binx": _COUNT,
    "biny": _COUNT,
    "conad": _FACTOR,
    "gain": _FACTOR,
}
