"""Text of messages: escaped, shortened, with the nearest valid name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["counted", "escape", "format_value", "listed", "nearest", "range_words", "rounded"]

#: Longer values are cut in a message: the width of a header card.
LONGEST_VALUE = 80
#: Items of a list that a message names; the others are counted.
MOST_LISTED = 10


def escape(text: object) -> str:
    r"""Escape control characters, escape sequences and broken unicode, which would disturb a terminal or a log.

    Parameters
    ----------
    text : object
        A file name or a header's value.

    Returns
    -------
    str
        One line; letters of any script are kept, the rest becomes ``\x1b`` and the like.
    """
    words = str(text)
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in words)


def format_value(value: Any) -> str:
    """Return a value for a message: text in quotes, escaped, at most 80 characters.

    Parameters
    ----------
    value : object
        A value of a header, a settings file or an instrument table.

    Returns
    -------
    str
    """
    try:
        text = f"'{escape(value)}'" if isinstance(value, str) else escape(value)
    except ValueError:  # an integer of thousands of digits
        text = f"<{type(value).__name__} of {value.bit_length()} bits>"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which gets an s unless the number is 1."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(items: Sequence[object], most: int = MOST_LISTED) -> str:
    """Return items for a message: the first ones by name, and the number of the others."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def range_words(low: float | None, high: float | None, form: str = "g") -> str:
    """Return the words for a range, whose ends have a format; None is an open end."""
    if low is None:
        return "" if high is None else f"at most {high:{form}}"
    return f"at least {low:{form}}" if high is None else f"{low:{form}} to {high:{form}}"


def nearest(name: object, valid: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the valid name that is nearest, or all valid names.

    Parameters
    ----------
    name : object
        The unknown name.
    valid : iterable of str
        The valid names.

    Returns
    -------
    str
    """
    by_lower_case = {valid_name.lower(): valid_name for valid_name in valid}
    near = difflib.get_close_matches(str(name)[:LONGEST_VALUE].lower(), by_lower_case, n=1)
    return f"did you mean '{by_lower_case[near[0]]}'?" if near else f"expected {', '.join(by_lower_case.values())}"


def rounded(value: float | None, digits: int) -> float | None:
    """Return a number with the digits that matter; None where JSON has no number for it."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{digits}g}")
