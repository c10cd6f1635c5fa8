"""Small darks and biases of cameras without ESO keywords, with the headers that their programs write."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

SHAPE = 96, 128
#: Electrons in each pixel, from dark current and hot pixels, and the first pedestal: the truth of a frame.
HOT = {(20, 30): 400.0, (50, 90): 900.0}


def dark_e(exposure_s: float) -> np.ndarray:
    """Return the dark of the cameras: 0.02 electron/s, and two hot pixels."""
    image = np.full(SHAPE, 0.02 * exposure_s)
    for pixel, excess_e in HOT.items():
        image[pixel] += excess_e * exposure_s / 120.0
    return image


def _header(cards: dict[str, Any]) -> fits.Header:
    header = fits.Header()
    for keyword, value in cards.items():
        if value is not None:
            header[keyword] = value
    return header


def nina_cards(number: int, exposure_s: float = 120.0, **changes: Any) -> dict[str, Any]:
    """Return the header of N.I.N.A. for a colour CMOS camera; ``changes`` have ``__`` for a hyphen."""
    start = datetime(2026, 3, 1, 22) + timedelta(seconds=number * (exposure_s + 3))
    cards: dict[str, Any] = {
        "IMAGETYP": ("DARK", "Type of exposure"),
        "EXPOSURE": (exposure_s, "[s] Exposure duration"),
        "EXPTIME": (exposure_s, "[s] Exposure duration"),
        "DATE-LOC": ((start + timedelta(hours=1)).isoformat(timespec="milliseconds"), "Time of observation (local)"),
        "DATE-OBS": (start.isoformat(timespec="milliseconds"), "Time of observation (UTC)"),
        "DATE-AVG": (start.isoformat(timespec="milliseconds"), "Averaged midpoint time (UTC)"),
        "XBINNING": (1, "X axis binning factor"),
        "YBINNING": (1, "Y axis binning factor"),
        "GAIN": (111, "Sensor gain"),
        "OFFSET": (10, "Sensor gain offset"),
        "EGAIN": (1.0, "[e-/ADU] Electrons per A/D unit"),
        "XPIXSZ": (2.4, "[um] Pixel X axis size"),
        "YPIXSZ": (2.4, "[um] Pixel Y axis size"),
        "INSTRUME": ("ZWO ASI183MC Pro", "Imaging instrument name"),
        "SET-TEMP": (-10.0, "[degC] CCD temperature setpoint"),
        "CCD-TEMP": (-10.0 + 0.1 * (number % 3), "[degC] CCD temperature"),
        "BAYERPAT": ("RGGB", "Sensor Bayer pattern"),
        "XBAYROFF": (0, "Bayer pattern X axis offset"),
        "YBAYROFF": (0, "Bayer pattern Y axis offset"),
        "ROWORDER": ("TOP-DOWN", "FITS Image Orientation"),
        "SWCREATE": ("N.I.N.A. 3.1.2 (x64)", "Software that created this file"),
    }
    return cards | {keyword.replace("__", "-"): value for keyword, value in changes.items()}


def nina_frame(path: Path, number: int = 0, exposure_s: float = 120.0, fraction: bool = False, **changes: Any) -> Path:
    """Write a frame of 12 bits as 16, or as 0 to 1; a count of the converter is one electron."""
    rng = np.random.default_rng(1000 + number)
    electrons = rng.poisson(dark_e(exposure_s)) + rng.normal(0.0, 2.2, SHAPE)
    colour = 1.5 * np.add.outer(np.arange(SHAPE[0]) % 2, np.arange(SHAPE[1]) % 2)
    samples = (16 * np.clip(np.rint(electrons + 160 + colour), 0, 4095)).astype(np.uint16)
    data = (samples / 65535).astype(np.float32) if fraction else samples
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(data, _header(nina_cards(number, exposure_s, **changes))).writeto(path)
    return path


def maxim_frame(
    path: Path, number: int = 0, kind: str = "Dark Frame", exposure_s: float = 120.0, **changes: Any
) -> Path:
    """Write a frame of an SBIG CCD as MaxIm DL does, 0.37 electron/ADU; a bias where the exposure is 0."""
    rng = np.random.default_rng(2000 + number)
    electrons = rng.poisson(dark_e(exposure_s)) + rng.normal(0.0, 9.3, SHAPE)
    start = datetime(2026, 3, 1, 22) + timedelta(seconds=number * (exposure_s + 9))
    cards: dict[str, Any] = {
        "DATE-OBS": start.isoformat(timespec="milliseconds"),
        "EXPTIME": (exposure_s, "Exposure time in seconds"),
        "EXPOSURE": (exposure_s, "Exposure time in seconds"),
        "SET-TEMP": (-20.0, "CCD temperature setpoint in C"),
        "CCD-TEMP": (-20.0 + 0.05 * number, "CCD temperature at start of exposure in C"),
        "XPIXSZ": (5.4, "Pixel Width in microns (after binning)"),
        "YPIXSZ": (5.4, "Pixel Height in microns (after binning)"),
        "XBINNING": (1, "Binning factor in width"),
        "YBINNING": (1, "Binning factor in height"),
        "XORGSUBF": (0, "Subframe X position in binned pixels"),
        "YORGSUBF": (0, "Subframe Y position in binned pixels"),
        "READOUTM": ("Raw", "Readout mode of image"),
        "IMAGETYP": (kind, "Type of image"),
        "EGAIN": (0.37, "Electronic gain in e-/ADU"),
        "INSTRUME": ("SBIG STF-8300", "instrument or camera used"),
        "SWCREATE": ("MaxIm DL Version 6.08", "Name of software"),
        "SBSTDVER": ("SBFITSEXT Version 1.0", "Version of SBFITSEXT standard in effect"),
        "CBLACK": (100, "Initial display black level in ADUs"),
    }
    cards |= {keyword.replace("__", "-"): value for keyword, value in changes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.clip(np.rint(electrons / 0.37 + 1000), 0, 65535).astype(np.uint16)
    fits.PrimaryHDU(data, _header(cards)).writeto(path)
    return path
