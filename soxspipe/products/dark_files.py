"""How a master dark and its bad-pixel map are laid out as files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..inputs.prepare import PreparedFrames
from ..inputs.raw_frames import FrameSet
from ..instruments.detectors import Geometry
from ..stacking import StackResult
from .headers import ProductFile, image_hdu, set_card

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["dark_files", "dark_frame"]


def dark_frame(stack: StackResult, codes: NDArray[np.integer[Any]], geometry: Geometry) -> CCDData:
    """Turn a stack to product orientation.

    Parameters
    ----------
    stack : StackResult
        The stack, raw orientation.
    codes : ndarray of int32, shape (ny, nx)
        Pixel codes, raw orientation.
    geometry : Geometry
        How the pixels lie.

    Returns
    -------
    CCDData
        Data and StdDevUncertainty in electron, mask (any code) and flags (the codes).
    """
    from astropy.nddata import CCDData, StdDevUncertainty

    flags = geometry.to_product(codes)
    return CCDData(
        geometry.to_product(stack.master.data),
        unit=stack.master.unit,
        uncertainty=StdDevUncertainty(geometry.to_product(stack.master.uncertainty.array), copy=False),
        mask=flags != 0,
        flags=flags,
    )


def dark_files(
    frame: CCDData, stack: StackResult, frames: FrameSet, prepared: PreparedFrames, category: str
) -> list[ProductFile]:
    """Lay out the FITS files of a master dark: itself and its bad-pixel map.

    Parameters
    ----------
    frame : CCDData
        The master dark, product orientation.
    stack : StackResult
        The stack that it came from.
    frames : FrameSet
        The raw frames.
    prepared : PreparedFrames
        What was done to them.
    category : str
        ``ESO PRO CATG`` of the master dark, without the arm.

    Returns
    -------
    list of ProductFile
    """
    turn = frames.geometry.to_product
    planes: dict[str, tuple[NDArray[Any], str]] = {
        "FLUX": (frame.data, "electron"),
        "QUAL": (frame.flags, ""),
        "ERRS": (frame.uncertainty.array, "electron"),
        "NOISE": (turn(stack.noise), "electron"),
        "NCOMBINE": (turn(stack.count), ""),
    }
    master = fits.HDUList([image_hdu(name, data, unit) for name, (data, unit) in planes.items()])
    _describe(master[0].header, frames, prepared)
    return [
        ProductFile("master dark", ".fits", category, master),
        ProductFile("bad-pixel map", "_BPMAP.fits", "BP_MAP_HP", fits.HDUList([fits.PrimaryHDU(frame.flags)])),
    ]


def _describe(header: fits.Header, frames: FrameSet, prepared: PreparedFrames) -> None:
    """Say in the header what the numbers rest on."""
    set_card(header, "ESO QC CONAD", frames.conad_e_per_adu, "[electron/ADU] conversion factor used")
    set_card(header, "ESO QC RON HEADER", frames.detector.read_noise_e, "[electron] read noise of the table")
    stated = frames.instrument.value(frames.frames[0].header, "read_noise")
    if isinstance(stated, (int, float)):
        set_card(header, "ESO QC RON HEADER", float(stated), "[electron] read noise that the raw header states")
    set_card(header, "ESO QC PEDESTAL", prepared.pedestal, "what was subtracted")
    set_card(header, "ESO QC LEVEL", "dark" if prepared.pedestal != "nothing" else "pedestal + dark", "of FLUX")
    set_card(header, "ESO QC EXPOSURE", frames.dit_s, "[s] exposure that FLUX belongs to (one DIT)")
