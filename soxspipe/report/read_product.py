"""The files of a product, read for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import FrameError, InputError
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import read_images
from ..inputs.frame_kinds import RECIPE
from ..products.product_files import files_of
from ..products.qc_file import read_qc_file
from ..text import escape

__all__ = ["ProductData", "read_product", "sample"]

#: Pixels of a sample.
SAMPLE_PIXELS = 2**18


@dataclass(frozen=True)
class ProductData:
    """A product on disk.

    Attributes
    ----------
    path : pathlib.Path
        Its main file.
    header : astropy.io.fits.Header
        Header of the main file.
    document : mapping
        Contents of its ``_qc.json``.
    images : mapping of str to FitsImage
        Planes of the main file by name; see `plane` for their pixels.
    files : mapping of str to pathlib.Path
        Its files by role.
    """

    path: Path
    header: fits.Header
    document: Mapping[str, Any]
    images: Mapping[str, FitsImage]
    files: Mapping[str, Path]

    @property
    def qc(self) -> Sequence[Mapping[str, Any]]:
        """The QC values, as ``_qc.json`` holds them."""
        records: Sequence[Mapping[str, Any]] = self.document["qc"]
        return records

    @property
    def frames(self) -> Sequence[Mapping[str, Any]]:
        """Figures of the raw frames; empty where the product has none."""
        records: Sequence[Mapping[str, Any]] = self.document.get("frames", ())
        return records

    @property
    def n_frames(self) -> int:
        """Frames in the stack."""
        return int(self.header.get("ESO PRO DATANCOM", 0))

    def value(self, name: str) -> Any:
        """Return a QC value; None where it was not measured."""
        return next((one["value"] for one in self.qc if one["name"] == name), None)

    def plane(self, name: str) -> NDArray[Any]:
        """Read the pixels of a plane."""
        return read_images([self.images[name]])[0]

    def unit(self, name: str) -> str:
        """Return the unit of a plane; empty for pure numbers."""
        return str(self.images[name].header.get("BUNIT") or "")


def read_product(path: Path) -> ProductData:
    """Read headers and QC values of a product.

    Parameters
    ----------
    path : pathlib.Path
        Its main file.

    Returns
    -------
    ProductData

    Raises
    ------
    InputError
        When the file is not a product of soxspipe, is damaged, or its ``_qc.json`` is missing or of another one.
    """
    images = read_image_hdus(path)
    header = images[0].header if images else fits.Header()
    if f"{RECIPE} ID" not in header:
        raise InputError(f"{escape(path)}: is not a product of soxspipe (it has no {RECIPE} ID): give its main file")
    files = files_of(path)
    if "qc" not in files:
        name = escape(path.with_name(f"{path.stem}_qc.json").name)
        raise InputError(
            f"{escape(path)}: has no {name} beside it: give the main file of a product, and keep both files"
        )
    document = read_qc_file(path, header).document
    planes = {image.extname or "FLUX": image for image in images}
    for image in planes.values():
        if image.shape != images[0].shape:
            raise FrameError(f"{escape(path)}: {image} has another size than {images[0]}: reduce the frames again")
    return ProductData(path, header, document, planes, files)


def sample(values: NDArray[Any]) -> NDArray[Any]:
    """Return enough of many values for their moments; an odd stride meets both column parities."""
    return values[:: max(1, values.size // SAMPLE_PIXELS) | 1]
