"""The section ``night`` of the settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from .checked_model import CheckedModel, setting

__all__ = ["NightSettings"]


def _growing(windows: tuple[float, ...]) -> tuple[float, ...]:
    if not 0 < windows[0] <= windows[1] <= windows[2]:
        raise ValueError
    return windows


_WINDOWS = "three growing numbers of days above zero"
_Windows = Annotated[tuple[float, float, float], AfterValidator(_growing)]


class NightSettings(CheckedModel):
    """How the raw frames of a folder are grouped, and how old their calibrations may be."""

    gap_minutes: float = setting(
        60.0, "a longer pause between frames without ESO TPL START begins another set", "minutes", gt=0, le=1440
    )
    bias_windows_days: _Windows = setting(
        (1.0, 3.0, 30.0),
        "longest time between frames and master bias for quality levels 0, 1 and 2; beyond: level 3",
        "days",
        expected=_WINDOWS,
    )
    map_windows_days: _Windows = setting(
        (30.0, 180.0, 730.0), "the same for a static bad-pixel map", "days", expected=_WINDOWS
    )
    quiet_minutes: float = setting(
        10.0,
        "a set without ESO TPL NEXP is complete when its folder has not changed for so long (command watch)",
        "minutes",
        gt=0,
        le=1440,
    )
    rescan_seconds: float = setting(
        30.0, "time between two looks at folders that give no word of a change (command watch)", "s", gt=0, le=3600
    )
