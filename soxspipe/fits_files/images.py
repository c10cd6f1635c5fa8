"""Images in FITS files, described by their headers alone."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import FrameError
from ..text import escape
from . import headers
from .headers import BLOCK, HEADER_LIMIT, STORED
from .streams import Fingerprint, Stream, truncated

__all__ = ["FitsImage", "frame_image", "image_hdus", "read_image_hdus", "read_main_header"]

#: More HDUs than this in one file are refused.
HDU_LIMIT = 256
#: No image has more bytes; a compressed file that promises more is taken for a decompression bomb, and a file
#: with holes can promise more than the disk ever held.
UNPACKED_LIMIT = 2**30
#: Integers without a type in FITS: it stores them shifted by half their range.
_SHIFTED = {(8, -128): "i1", (16, 2**15): "u2", (32, 2**31): "u4", (64, 2**63): "u8"}


#: Number of an HDU, its first byte, the first byte of its data, and the byte after its data, without their padding.
Span = tuple[int, int, int, int]


@functools.lru_cache(maxsize=64)
def _physical_type(bitpix: int, bscale: float, bzero: float, blank: bool) -> np.dtype[Any]:
    """Return the type of physical values: the stored type, unsigned where FITS only shifts, else float."""
    unscaled = bscale == 1 and bzero == 0
    shifted = _SHIFTED.get((bitpix, int(bzero))) if bscale == 1 and bzero.is_integer() else None
    if blank:
        return np.dtype("f4" if bitpix in (8, 16) and (unscaled or shifted) else "f8")
    return STORED[bitpix].newbyteorder("=") if unscaled else np.dtype(shifted or "f8")


@dataclass(frozen=True)
class FitsImage:
    """An image in a FITS file: place and meaning of its pixels.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    hdu : int
        Number of the HDU; 0 is the primary.
    extname : str
        Its EXTNAME, empty where it has none.
    cards : str
        The header as text; see `header`.
    shape : tuple of int
        Rows and columns.
    planes : int
        Images along further axes. An image of more than one cannot be read.
    bitpix : int
        Type of the stored samples, as FITS numbers it.
    bscale, bzero : float
        Physical value = bzero + bscale x stored sample.
    blank : int or None
        Stored sample without a value.
    offset : int
        First byte of the data in the file, unpacked where the whole file is compressed.
    compression : str
        ``''``, ``'gzip'``, ``'bzip2'``, ``'lzw'`` or ``'tiles'``.
    fingerprint : tuple of int
        Device, inode, size and time of change of the file when its header was read.
    spans : tuple of (int, int, int, int)
        Spans of the HDUs that the image needs: its HDU, and before it the primary whose keywords it has. A span is the
        number of the HDU, its first byte, the first byte of its data and the byte after its data in the file, unpacked
        where the whole file is compressed. The last block of a file may lack its padding.
    """

    path: Path
    hdu: int
    extname: str
    cards: str = field(repr=False)
    shape: tuple[int, int]
    planes: int
    bitpix: int
    bscale: float
    bzero: float
    blank: int | None
    offset: int
    compression: str
    fingerprint: Fingerprint = field(repr=False)
    spans: tuple[Span, ...] = field(repr=False)

    def __str__(self) -> str:
        name = self.extname or ("the primary image" if self.hdu == 0 else f"HDU {self.hdu}")
        sides = (*self.shape[::-1], self.planes) if self.planes > 1 else self.shape[::-1]
        return f"{escape(name)} ({' x '.join(map(str, sides))})"

    @property
    def header(self) -> fits.Header:
        """The header, with the keywords of a primary HDU without pixels; copy it before a change.

        Only the last few headers are kept parsed, so that thousands of frames need little memory: keep a reference
        while many keywords are looked up.
        """
        return headers.parse(self.cards)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the physical values, native byte order."""
        return _physical_type(self.bitpix, self.bscale, self.bzero, self.blank is not None)

    @property
    def nbytes(self) -> int:
        """Bytes of the unpacked samples."""
        return self.shape[0] * self.shape[1] * abs(self.bitpix) // 8

    def physical(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the physical values of stored samples, a new array of type `dtype`."""
        dtype = self.dtype
        if self.blank is None and dtype.kind != "f":
            values = stored.astype(dtype)
            values += dtype.type(int(self.bzero))  # wraps around: unsigned integers are shifted by half their range
            return values
        if self.blank is None and self.bscale == 1 and self.bzero == 0:
            return stored.astype(dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # of absurd values in a damaged file
            scaled = stored.astype("f8") * self.bscale + self.bzero
            if self.blank is not None:
                scaled[stored == self.blank] = np.nan
            return scaled.astype(dtype, copy=False)


def image_hdus(path: str | os.PathLike[str]) -> Generator[FitsImage, None, None]:
    """Yield the images of a file and its arrays of more axes, described by their headers alone.

    Parameters
    ----------
    path : path-like
        A FITS file; plain, gzip, bzip2, LZW (.Z) or tile-compressed (.fz), under any name.

    Yields
    ------
    FitsImage
        In the order of the file. No pixel was read.

    Raises
    ------
    FrameError
        When the file cannot be read, is not FITS, is truncated, or its header promises the impossible.
    """
    path = Path(path)
    position, budget, primary = 0, HEADER_LIMIT, None
    with Stream(path) as stream:
        if stream.size == 0:
            raise FrameError(f"{escape(path)}: the file is empty (0 bytes): fetch it again")
        for hdu in range(HDU_LIMIT + 1):
            header = headers.read_header(stream, hdu == 0, budget)
            if header is None:
                break
            if hdu == HDU_LIMIT:
                raise FrameError(f"{escape(path)}: more than {HDU_LIMIT} HDUs, expected a frame: leave it out")
            cards, length = header
            budget -= length
            data_begin = position + length
            span = hdu, position, data_begin, data_begin + _data_bytes(headers.parse(cards), path)
            end = span[3]
            if not stream.compression and end > stream.size:
                raise truncated(path, end, stream.size)
            if stream.compression and end > UNPACKED_LIMIT:
                raise _too_large(path, end)
            if image := _image(stream, cards, primary, span):
                yield image
            if hdu == 0 and end == data_begin:
                primary = cards, span
            position = -(-end // BLOCK) * BLOCK
            passed = stream.skip(position - data_begin)
            if data_begin + passed < end:
                raise truncated(path, end, data_begin + passed)
        if position == 0:
            stream.check_end()
    if position == 0:
        remedy = "if it lists frames, let its name end in .sof" if _is_text(path) else "leave it out"
        raise FrameError(f"{escape(path)}: not a FITS file, it does not begin with SIMPLE: {remedy}")


def read_image_hdus(path: str | os.PathLike[str]) -> tuple[FitsImage, ...]:
    """Read the headers of the two-dimensional images in a file; see `image_hdus`."""
    return tuple(image for image in image_hdus(path) if image.planes == 1)


def read_main_header(path: str | os.PathLike[str]) -> fits.Header:
    """Read the header of the first image of a product, and nothing behind it; empty where the file has no image."""
    with closing(image_hdus(path)) as images:
        return next((image.header for image in images), fits.Header())


def frame_image(images: Sequence[FitsImage], extension: str | None, label: str, where: str) -> FitsImage:
    """Choose the image of a frame among the images of its file.

    Parameters
    ----------
    images : sequence of FitsImage
        All of the file, see `image_hdus`.
    extension : str or None
        EXTNAME of the image, in either case; None: the file must have one image.
    label : str
        Name of the file, for the message.
    where : str
        Where the EXTNAME can be given, for the message.

    Returns
    -------
    FitsImage
        With the keywords of the primary HDU, which hold for the whole file.

    Raises
    ------
    FrameError
        When there is no such image, or more than one.
    """
    named = [image for image in images if extension and image.extname.upper() == extension.upper()]
    chosen = named or [image for image in images if len(images) == 1 and not (extension and image.extname)]
    if len(chosen) != 1 or chosen[0].planes != 1:
        found = f"{len(images)} images, " * (len(images) > 1) + ", ".join(map(str, images))
        wanted = f"one image '{escape(extension)}'" if extension else "one image"
        raise FrameError(f"{label}: holds {found}, expected {wanted}: name the right one as {where}, or leave it out")
    image, first = chosen[0], images[0]
    if first.hdu == 0 and image is not first:
        cards = headers.merge_headers(image.cards, first.cards, False)
        return replace(image, cards=cards, spans=(*first.spans, *image.spans))
    return image


def _is_text(path: Path) -> bool:
    with Stream(path) as stream:
        head = stream.read(BLOCK).decode("utf-8", "replace").rstrip("\ufffd")  # a letter may have been cut
    return all(character.isprintable() or character in "\t\r\n" for character in head.removeprefix("\ufeff"))


def _too_large(path: Path, promised: int) -> FrameError:
    return FrameError(
        f"{escape(path)}: promises {promised} bytes of pixels, expected at most {UNPACKED_LIMIT}: damaged, or no "
        "frame, leave it out"
    )


def _data_bytes(header: fits.Header, path: Path) -> int:
    """Return the bytes of the data of an HDU without their padding, as the header promises them."""
    bitpix, axes = headers.image_layout(header, path)
    if not axes:
        return 0
    groups, heap = headers.require_count(header, "GCOUNT", path, 1), headers.require_count(header, "PCOUNT", path, 0)
    return abs(bitpix) // 8 * groups * (heap + prod(axes))


def _image(stream: Stream, cards: str, primary: tuple[str, Span] | None, span: Span) -> FitsImage | None:
    """Return the image in an HDU; None where it holds none."""
    path, header = stream.path, headers.parse(cards)
    kind = str(header.get("XTENSION", "IMAGE")).strip()
    tiles = kind == "BINTABLE" and header.get("ZIMAGE") is True
    if not tiles and kind != "IMAGE":
        return None
    bitpix, axes = headers.image_layout(header, path, "Z" if tiles else "")
    if len(axes) < 2 or 0 in axes:
        return None
    if tiles and stream.compression:
        raise FrameError(
            f"{escape(path)}: is compressed twice ({stream.compression} around tiles), expected once: "
            "undo the outer compression"
        )
    zblank = header.get("ZBLANK") if tiles else None
    size = max(prod(axes) * abs(bitpix) // 8, span[3] - span[2] if tiles else 0)
    if size > UNPACKED_LIMIT and prod(axes[2:]) == 1:
        raise _too_large(path, size)
    if tiles or primary is not None:
        cards = headers.merge_headers(cards, None if primary is None else primary[0], tiles)
        header = headers.parse(cards)
    bscale, bzero = headers.scaling(header, path)
    blank = header.get("BLANK", zblank)
    return FitsImage(
        path=path,
        hdu=span[0],
        extname=str(header.get("EXTNAME") or "").strip(),
        cards=cards,
        shape=(axes[1], axes[0]),
        planes=prod(axes[2:]),
        bitpix=bitpix,
        bscale=bscale,
        bzero=bzero,
        blank=blank if bitpix > 0 and isinstance(blank, int) and not isinstance(blank, bool) else None,
        offset=span[2],
        compression="tiles" if tiles else stream.compression,
        fingerprint=stream.fingerprint,
        spans=(span,) if primary is None else (primary[1], span),
    )
