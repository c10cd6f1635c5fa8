"""QC values of the calibrations that were given with raw frames."""

from __future__ import annotations

from ..inputs.frame_kinds import MASTER_BIAS, STATIC_MAP
from ..inputs.raw_frames import FrameSet
from ..night.attach_calibrations import level_of
from ..quality.table import QCValue, measured
from ..settings_sections import NightSettings

__all__ = ["calibration_quality"]


def calibration_quality(frames: FrameSet, settings: NightSettings) -> list[QCValue]:
    """Return age and quality level of the calibrations of a set.

    Parameters
    ----------
    frames : FrameSet
        Verified raw frames with their calibrations.
    settings : NightSettings
        Ages of the quality levels.

    Returns
    -------
    list of QCValue
        Of each calibration whose header has its time.
    """
    windows = {MASTER_BIAS: ("BIAS", settings.bias_windows_days), STATIC_MAP: ("MAP", settings.map_windows_days)}
    values = []
    for kind, file in frames.calibrations.items():
        name, of_kind = windows[kind]
        mjd = next(iter(file.images.values())).header.get("MJD-OBS")
        if isinstance(mjd, (int, float)):
            age_days = abs(mjd - frames.frames[0].mjd)
            values += [measured(f"{name} AGE", age_days), measured(f"{name} QUALITY", level_of(age_days, of_kind))]
    return values
