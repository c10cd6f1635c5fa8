"""Products and prepared frames as `~astropy.nddata.CCDData`, with their codes and QC values."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from ..exceptions import FrameError, SoxspipeError
from ..fits_files.pixel_reader import plane_images, read_images
from ..quality.definitions import definition_of
from ..quality.qc_table import QCTable
from ..quality.table import QCValue, QualityTable
from ..text import escape, format_value
from .headers import image_hdu, plain_header

__all__ = ["Frame", "read"]

QC = "ESO QC "


class Frame(CCDData):
    """A product or prepared frame: a CCDData whose QC values are those of its header.

    Data, StdDevUncertainty, mask (any pixel code), flags (the codes) and header are those of
    `~astropy.nddata.CCDData`. ``qc`` comes from the header, so that it survives operations that keep the header:
    copies, slices and the functions of ccdproc.
    """

    @property
    def qc(self) -> QCTable:
        """Name, value, unit and description of each QC value of the header, by name with its unit."""
        values = []
        for keyword, value in self.header.items():
            if str(keyword).startswith(QC) and isinstance(value, bool | int | float):
                name = str(keyword).removeprefix(QC)
                try:
                    definition = definition_of(name)
                except ValueError:
                    continue
                values.append(QCValue(name, value, definition.unit, definition.words))
        return QualityTable(values).to_qtable()

    def to_hdu(self, *args: Any, **keywords: Any) -> fits.HDUList:
        """Return the planes FLUX, QUAL and ERRS, which `read` reads; without flags those of CCDData."""
        if self.flags is None or self.uncertainty is None or args or keywords.get("as_image_hdu"):
            return super().to_hdu(*args, **keywords)
        unit = str(self.unit)
        flux, errors = image_hdu("FLUX", self.data, unit), image_hdu("ERRS", self.uncertainty.array, unit)
        hdus = fits.HDUList([flux, image_hdu("QUAL", self.flags), errors])
        own = set(hdus[0].header)
        hdus[0].header.extend((card for card in self.header.cards if card.keyword not in own), end=True)
        return hdus


def read(path: str | os.PathLike[str]) -> Frame:
    """Read a product: a master dark, master bias, map of dark rates or dark-subtracted frame, plain or compressed.

    Parameters
    ----------
    path : str or path-like
        A FITS file with the planes FLUX, QUAL and ERRS; also as a whole or in tiles compressed. Or a frame that
        `~soxspipe.prepare_frame` returned and its ``write`` wrote.

    Returns
    -------
    Frame
        Data, StdDevUncertainty, mask, flags, header and ``qc``.

    Raises
    ------
    FrameError
        When the file cannot be read, or lacks a plane.
    """
    if not isinstance(path, str | os.PathLike):
        raise SoxspipeError(f"read: found a {type(path).__name__}, expected the path of a product")
    images = plane_images(path, ("FLUX", "ERRS", "QUAL"))
    data, error, codes = read_images(list(images.values()))
    header = plain_header(images["FLUX"].header)
    try:
        units.Unit(str(header.get("BUNIT", "electron")))
    except ValueError as error_of_unit:
        raise FrameError(
            f"{escape(path)}: BUNIT is {format_value(header['BUNIT'])}, expected a unit such as electron: remake it"
        ) from error_of_unit
    return frame_of(data, error, np.nan_to_num(codes), header)


def frame_of(data: Any, error: Any, codes: Any, header: fits.Header) -> Frame:
    """Return a frame of its planes; BUNIT of its header is their unit. Error and codes may be None."""
    flags = None if codes is None else np.asarray(codes, np.int32)
    return Frame(
        np.asarray(data, np.float32),
        unit=units.Unit(str(header.get("BUNIT", "electron"))),
        uncertainty=None if error is None else StdDevUncertainty(np.asarray(error, np.float32), copy=False),
        mask=None if flags is None else flags != 0,
        flags=flags,
        meta=header,
    )


def frame_of_hdus(hdus: fits.HDUList) -> Frame:
    """Return the planes FLUX, ERRS and QUAL of a product as a frame; the first is its main image."""
    planes = {hdu.name: hdu.data for hdu in hdus}
    return frame_of(hdus[0].data, planes.get("ERRS"), planes.get("QUAL"), hdus[0].header)
