"""Text for messages and logs: escaped, formatted."""

from __future__ import annotations

from typing import Any

__all__ = ["escape", "format_value"]


def escape(text: object) -> str:
    r"""Escape what would disturb a terminal or a log: control characters, escape sequences, broken unicode.

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
    """Write a header's value for a message: words in quotes, nothing in it that disturbs a terminal."""
    return f"'{escape(value)}'" if isinstance(value, str) else escape(value)
