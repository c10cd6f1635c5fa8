"""The limits of verification and of pixel changes, declared once as the settings file has them."""

from __future__ import annotations

from ..checked_model import CheckedModel, setting

__all__ = ["ChangeParameters", "VerifyParameters"]


class VerifyParameters(CheckedModel):
    """Limits of the frames that a master is subtracted from."""

    level: float = setting(
        1.0, "largest level of an amplifier that is left, in units of its noise", "noise", ge=1e-3, le=1e3
    )
    level_drift: float = setting(
        20.0, "further drift of the level of frames whose pedestal no overscan follows", "electron", ge=0, le=1e6
    )
    noise: float = setting(0.05, "largest relative difference of the noise from that of the master", ge=1e-3, le=10.0)
    cosmic_rays: float = setting(
        0.05, "largest relative difference of the noise with and without cosmic rays", ge=1e-3, le=10.0
    )
    outliers: float = setting(0.05, "largest share of pixels that are more than five sigmas off", ge=0, le=1.0)
    structure: float = setting(
        1.2, "largest noise of the means of 10 x 10 pixels over that of the master", ge=1.0, le=100.0
    )
    overscan: float = setting(
        0.05, "largest relative difference of the read noise in the overscan from that of the master", ge=1e-3, le=10.0
    )
    hot_pixels: float = setting(
        0.1, "largest relative difference of the hot pixels from those of the master", ge=1e-3, le=10.0
    )
    temperature: float = setting(
        2.0, "largest difference of the detector temperature from that of the master", "K", ge=0, le=1e3
    )
    false_per_million: float = setting(
        10.0,
        "checks of structure that good frames may fail, of a million; wider limits follow where few boxes decide",
        "1/million",
        ge=1e-6,
        le=1e5,
    )


class ChangeParameters(CheckedModel):
    """How pixels are found whose rate changed from one master to the next."""

    false_per_million: float = setting(
        0.1, "expected number of false changes in a million pixels", "1/million", ge=1e-6, le=1e4
    )
