"""One pixel of a product: the values of all planes, and its codes in words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..exceptions import CommandLineError, FrameError
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import PixelReader
from ..pixel_codes import PixelCode
from ..text import escape

__all__ = ["PixelValues", "PlaneValue", "code_names", "read_pixel"]

#: Planes of pixel codes.
CODE_PLANES = ("QUAL", "BPMAP")


@dataclass(frozen=True)
class PlaneValue:
    """The value of a pixel in one plane.

    Attributes
    ----------
    name : str
        EXTNAME of the plane.
    value : float or int or None
        None where the plane has no value.
    unit : str
        Unit; empty for pure numbers.
    """

    name: str
    value: float | int | None
    unit: str


@dataclass(frozen=True)
class PixelValues:
    """One pixel of a product.

    Attributes
    ----------
    product : str
        Path of the product.
    x, y : int
        FITS pixel coordinates: the first pixel is 1, 1.
    planes : tuple of PlaneValue
        Its values in the order of the file.
    codes : PixelCode
        Its codes; 0 is a good pixel.
    n_frames : int or None
        Number of frames that were combined.
    """

    product: str
    x: int
    y: int
    planes: tuple[PlaneValue, ...]
    codes: PixelCode
    n_frames: int | None

    def value(self, name: str) -> float | None:
        """Return the value of a plane; None where there is none."""
        return next((plane.value for plane in self.planes if plane.name == name), None)

    @property
    def over_error(self) -> float | None:
        """FLUX over ERRS; None where one of them has no value."""
        flux, error = self.value("FLUX"), self.value("ERRS")
        return None if flux is None or not error else flux / error

    @property
    def meanings(self) -> list[str]:
        """What the codes mean, and how many samples entered the mean; one line for each."""
        lines = [f"{name} ({code}): {description}" for code, name, description in _known_codes(self.codes)]
        if not self.codes:
            lines = ["good: no code"]
        count = self.value("NCOMBINE")
        if count is not None and self.n_frames:
            left_out = int(self.n_frames - count)
            why = f", {left_out} rejected or without data" if left_out > 0 else ""
            lines.append(f"{int(count)} of {self.n_frames} samples entered the mean{why}")
        return lines


def code_names(codes: int) -> str:
    """Return the names of pixel codes, such as ``hot, noisy``; ``good`` for 0."""
    return ", ".join(name for _, name, _ in _known_codes(codes)) or "good"


def _known_codes(codes: int) -> Iterator[tuple[int, str, str]]:
    for code in PixelCode:
        if codes & code:
            yield int(code), code.label, code.description
            codes &= ~code
    if codes:
        yield int(codes), "unknown", "soxspipe has no such code"


def read_pixel(path: str | os.PathLike[str], x: int, y: int) -> PixelValues:
    """Read one pixel from all planes of a product; of an image that is not compressed one row is read.

    Parameters
    ----------
    path : path-like
        A product, or its bad-pixel map.
    x, y : int
        FITS pixel coordinates, as image viewers show them: column and row, the first pixel is 1, 1.

    Returns
    -------
    PixelValues

    Raises
    ------
    FrameError
        When the file is damaged, or no product.
    CommandLineError
        When the pixel is outside of the product.
    """
    product = Path(path)
    images = read_image_hdus(product)
    header = images[0].header if images else {}
    if "ESO PRO CATG" not in header:
        raise FrameError(f"{escape(product)}: has no ESO PRO CATG, expected a product of soxspipe")
    rows, columns = images[0].shape
    for name, number, size in (("x", x, columns), ("y", y, rows)):
        if not 1 <= number <= size:
            raise CommandLineError(
                f"{escape(product)}: {name} is {number}, expected 1 to {size}: FITS coordinates begin with 1, 1"
            )
    is_map = str(header["ESO PRO CATG"]).startswith("BP_MAP")
    planes, codes = [], 0
    with PixelReader(images) as reader:
        for number, image in enumerate(images):
            name = "BPMAP" if is_map and number == 0 else image.extname
            if image.shape != images[0].shape:
                continue
            found = reader.read_rows(number, y - 1, y)[0, x - 1]
            if name in CODE_PLANES:
                codes = int(found)
            planes.append(PlaneValue(escape(name), _number(found), _unit(image)))
    frames = header.get("ESO PRO DATANCOM")
    return PixelValues(str(product), x, y, tuple(planes), PixelCode(codes), frames if isinstance(frames, int) else None)


def _number(value: np.generic) -> float | int | None:
    """Return a number with the digits that it has; None where it is not finite."""
    if value.dtype.kind != "f":
        return int(value)
    return float(str(value)) if np.isfinite(value) else None


def _unit(image: FitsImage) -> str:
    return escape(str(image.header.get("BUNIT") or "").strip())
