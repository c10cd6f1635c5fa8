"""Header cards that lead from raw counts and pixels to those of a product."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from ..inputs.raw_frames import FrameSet
from ..instruments.detectors import Geometry
from .headers import set_card

__all__ = ["ROT90", "set_geometry", "set_level"]

#: Keyword of the quarter turns from raw to product, as `numpy.rot90` counts them.
ROT90 = "ROT90"


def set_geometry(header: fits.Header, geometry: Geometry) -> None:
    """Set trim and turn, so that other programs find the raw pixel of each pixel of a product.

    TRIMSEC is the light-sensitive part of the raw frame, ROT90 the turn after the trim. LTMi_j and LTVi are IRAF's:
    pixel = LTM @ raw pixel + LTV, in (x, y) from 1.

    Parameters
    ----------
    header : astropy.io.fits.Header
        The header to change.
    geometry : Geometry
        Where the pixels lie.
    """
    window, turns = geometry.science, geometry.rot90_count % 4
    section = f"[{window.x0 + 1}:{window.x1},{window.y0 + 1}:{window.y1}]"
    set_card(header, "TRIMSEC", section, "part of the raw frame that is kept")
    set_card(header, ROT90, turns, "quarter turns after the trim (numpy.rot90)")
    matrix, offset = np.eye(2), -np.array([window.x0, window.y0], float)
    ny, nx = window.shape
    for _ in range(turns):
        # a turn counter-clockwise of rows that count downwards: x' = y, y' = nx + 1 - x
        turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
        matrix, offset = turn @ matrix, turn @ offset + [0.0, nx + 1.0]
        ny, nx = nx, ny
    for row in (0, 1):
        for column in (0, 1):
            if matrix[row, column] or row == column:
                comment = "pixel = LTM @ raw pixel + LTV, in (x, y) from 1"
                set_card(header, f"LTM{row + 1}_{column + 1}", float(matrix[row, column]) + 0.0, comment)
    for row in (0, 1):
        set_card(header, f"LTV{row + 1}", float(offset[row]) + 0.0, "see LTM1_1")


def set_level(header: fits.Header, frames: FrameSet, pedestal: str, level: str) -> None:
    """Set conversion factor, subtracted pedestal and exposure of the counts.

    Parameters
    ----------
    header : astropy.io.fits.Header
        The header to change.
    frames : FrameSet
        The raw frames.
    pedestal : str
        Subtracted levels; see `PreparedFrames`.
    level : str
        What FLUX holds.
    """
    set_card(header, "ESO QC CONAD", frames.conad_e_per_adu, "[electron/ADU] conversion factor used")
    read_noise_e, source = frames.stated_read_noise
    if read_noise_e is not None:
        set_card(header, "ESO QC RON HEADER", read_noise_e, f"[electron] read noise {source}")
    set_card(header, "ESO QC PEDESTAL", pedestal, "subtracted level")
    set_card(header, "ESO QC LEVEL TYPE", level, "of FLUX")
    set_card(header, "ESO QC EXPOSURE", frames.dit_s, "[s] exposure that FLUX belongs to (one DIT)")
