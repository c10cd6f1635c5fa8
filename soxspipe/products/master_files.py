"""Extensions of the FITS files of a master dark or master bias, and of its bad-pixel map."""

from __future__ import annotations

from typing import Any

from astropy.io import fits
from numpy.typing import NDArray

from ..inputs.frame_kinds import BAD_PIXEL_MAP, ProductKind
from ..inputs.prepare import PreparedFrames
from ..inputs.raw_frames import FrameSet
from ..instruments.detectors import Geometry
from ..stacking import StackResult
from .headers import ProductFile, image_hdu
from .pixel_cards import set_geometry, set_level

__all__ = ["bad_pixel_map", "master_file"]


def master_file(
    stack: StackResult, codes: NDArray[Any], frames: FrameSet, prepared: PreparedFrames, product: ProductKind
) -> ProductFile:
    """Return the FITS file of a master.

    Parameters
    ----------
    stack : StackResult
        Its stack.
    codes : ndarray of int32, shape (ny, nx)
        Its pixel codes in product orientation.
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
        "FLUX": (to_product(stack.master.data), "electron"),
        "QUAL": (codes, ""),
        "ERRS": (to_product(stack.master.uncertainty.array), "electron"),
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


def bad_pixel_map(codes: NDArray[Any], geometry: Geometry) -> ProductFile:
    """Return the FITS file of the pixel codes of a master."""
    hdus = fits.HDUList([image_hdu("BPMAP", codes)])
    set_geometry(hdus[0].header, geometry)
    return ProductFile(BAD_PIXEL_MAP.noun, "_BPMAP.fits", BAD_PIXEL_MAP.category, hdus)
