"""The words that `fundamentals` has for a run time, and its tables."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

__all__ = ["FORMATS", "elapsed_words", "render_rows"]

#: Formats of `render_rows`.
FORMATS = ("table", "csv", "markdown", "json", "yaml")


@contextlib.contextmanager
def _unchanged_terminal() -> Iterator[None]:
    """Restore TERM, which the import of fundamentals sets to vt100."""
    terminal = os.environ.get("TERM")
    try:
        yield
    finally:
        if terminal is None:
            os.environ.pop("TERM", None)
        else:
            os.environ["TERM"] = terminal


def elapsed_words(start_s: float, end_s: float) -> str:
    """Return the time between two instants, seconds since an epoch, in words such as ``1m 12s``."""
    elapsed = timedelta(seconds=round(end_s - start_s))  # the words count whole seconds
    start = datetime(2000, 1, 1)
    try:
        with _unchanged_terminal():
            from fundamentals.times import calculate_time_difference

        return str(calculate_time_difference(f"{start:%FT%T}", f"{start + elapsed:%FT%T}")).strip()
    except Exception:  # noqa: BLE001 - a finished reduction does not fail for these words
        return f"{elapsed.total_seconds():.0f}s"


def render_rows(rows: Sequence[Mapping[str, Any]], form: str) -> str:
    """Return rows as a text.

    Parameters
    ----------
    rows : sequence of mappings
        At least one; all with the same keys. Values are texts, numbers or None.
    form : str
        One of `FORMATS`. Numbers keep all digits, but in ``table`` and ``markdown`` they have nine.

    Returns
    -------
    str
    """
    with _unchanged_terminal():
        from fundamentals.renderer import list_of_dictionaries
    if form == "csv":  # it would cut numbers to nine digits
        rows = [{key: repr(value) if isinstance(value, float) else value for key, value in row.items()} for row in rows]
    renderer = list_of_dictionaries(log=logging.getLogger("fundamentals"), listOfDictionaries=list(map(dict, rows)))
    return str(getattr(renderer, form)()).rstrip("\n")
