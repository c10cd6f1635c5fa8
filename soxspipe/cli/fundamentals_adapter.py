"""The words that `fundamentals` has for a run time."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

__all__ = ["elapsed_words"]


def elapsed_words(start_s: float, end_s: float) -> str:
    """Return the time between two instants, seconds since an epoch, in words such as ``1m 12s``."""
    elapsed = timedelta(seconds=round(end_s - start_s))  # the words count whole seconds
    start, terminal = datetime(2000, 1, 1), os.environ.get("TERM")
    try:
        from fundamentals.times import calculate_time_difference

        return str(calculate_time_difference(f"{start:%FT%T}", f"{start + elapsed:%FT%T}")).strip()
    except Exception:  # noqa: BLE001 - a finished reduction does not fail for these words
        return f"{elapsed.total_seconds():.0f}s"
    finally:  # its import sets TERM=vt100
        if terminal is None:
            os.environ.pop("TERM", None)
        else:
            os.environ["TERM"] = terminal
