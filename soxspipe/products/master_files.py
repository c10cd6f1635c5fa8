"""Layout of a master dark or master bias and of its bad-pixel map as files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..inputs.frame_kinds import BAD_PIXEL_MAP, ProductKind
from ..inputs.prepare import PreparedFrames
from ..inputs.raw_frames import FrameSet
from ..instruments.detectors import Geometry
from ..stacking import StackResult
from .headers import ProductFile, image_hdu
from .pixel_cards import set_geometry, set_level

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["bad_pixel_map", "master_file", "master_frame"]


def master_frame(stack: StackResult, codes: NDArray[np.integer[Any]], geometry: Geometry) -> CCDData:
    """Return a stack in product orientation.

    Parameters
    ----------
    stack : StackResult
        Stack in raw orientation.
    codes : ndarray of int32, shape (ny, nx)
        Pixel codes in raw orientation.
    geometry : Geometry
        Orientation of the pixels.

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


def master_file(
    frame: CCDData, stack: StackResult, frames: FrameSet, prepared: PreparedFrames, product: ProductKind
) -> ProductFile:
    """Return the FITS file of a master.

    Parameters
    ----------
    frame : CCDData
        Master in product orientation.
    stack : StackResult
        Its stack.
    frames : FrameSet
        Its raw frames.
    prepared : PreparedFrames
        The same frames, with the subtracted pedestal.
    product : ProductKind
        Kind of the master.

    Returns
    -------
    ProductFile
    """
    to_product = frames.geometry.to_product
    planes: dict[str, tuple[NDArray[Any], str]] = {
        "FLUX": (frame.data, "electron"),
        "QUAL": (frame.flags, ""),
        "ERRS": (frame.uncertainty.array, "electron"),
        "NOISE": (to_product(stack.noise), "electron"),
        "NCOMBINE": (to_product(stack.count), ""),
    }
    hdus = fits.HDUList([image_hdu(name, data, unit) for name, (data, unit) in planes.items()])
    hdus["ERRS"].header["COMMENT"] = "Errors of single pixels. Errors of sums: see ESO QC RON CORR."
    header = hdus[0].header
    level = frames.kind.noun if prepared.pedestal != "nothing" else f"pedestal + {frames.kind.noun}"
    if level == "pedestal + dark":
        header["COMMENT"] = "FLUX holds the pedestal. Do not scale it with the exposure time, as"
        header["COMMENT"] = "ccdproc.subtract_dark(..., scale=True) does."
    set_level(header, frames, prepared.pedestal, level)
    set_geometry(header, frames.geometry)
    return ProductFile(product.noun, ".fits", product.category, hdus)


def bad_pixel_map(frame: CCDData, geometry: Geometry) -> ProductFile:
    """Return the FITS file of the pixel codes of a master."""
    hdus = fits.HDUList([image_hdu("BPMAP", frame.flags)])
    set_geometry(hdus[0].header, geometry)
    return ProductFile(BAD_PIXEL_MAP.noun, "_BPMAP.fits", BAD_PIXEL_MAP.category, hdus)
