"""Images in FITS files, described by their headers alone."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
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

__all__ = ["FitsImage", "read_first_image", "read_image_hdus"]

#: More HDUs than this in one file are refused.
HDU_LIMIT = 256
#: No image has more bytes; a compressed file that promises more is taken for a decompression bomb, and a file
#: with holes can promise more than the disk ever held.
UNPACKED_LIMIT = 2**30
#: Integers without a type in FITS: it stores them shifted by half their range.
_SHIFTED = {(8, -128): "i1", (16, 2**15): "u2", (32, 2**31): "u4", (64, 2**63): "u8"}


#: Number of an HDU, its first byte, the first byte of its data, and the byte after its end.
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
    """A two-dimensional image in a FITS file: place and meaning of its pixels.

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
    bitpix : int
        Type of the stored samples, as FITS numbers it.
    bscale, bzero : float
        Physical value = bzero + bscale x stored sample.
    blank : int or None
        Stored sample without a value.
    offset : int
        First byte of the data in the file, unpacked where the whole file is compressed.
    compression : str
        ``''``, ``'gzip'``, ``'lzw'`` or ``'tiles'``.
    fingerprint : tuple of int
        Device, inode, size and time of change of the file when its header was read.
    spans : tuple of (int, int, int, int)
        Spans of the HDUs that the image needs: its HDU, and before it the primary whose keywords it has. A span is the
        number of the HDU, its first byte, the first byte of its data and the byte after its end in the file, unpacked
        where the whole file is compressed.
    """

    path: Path
    hdu: int
    extname: str
    cards: str = field(repr=False)
    shape: tuple[int, int]
    bitpix: int
    bscale: float
    bzero: float
    blank: int | None
    offset: int
    compression: str
    fingerprint: Fingerprint = field(repr=False)
    spans: tuple[Span, ...] = field(repr=False)

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


def read_image_hdus(path: str | os.PathLike[str], limit: int | None = None) -> tuple[FitsImage, ...]:
    """Read the headers of the images in a file.

    Parameters
    ----------
    path : path-like
        A FITS file; plain, gzip, LZW (.Z) or tile-compressed (.fz), under any name.
    limit : int, optional
        Most images to return. A plain file is followed to its end all the same, as that costs nothing.

    Returns
    -------
    tuple of FitsImage
        Two-dimensional images in the order of the file; empty where it has none. No pixel was read.

    Raises
    ------
    FrameError
        When the file cannot be read, is not FITS, is truncated, or its header promises the impossible.
    """
    path = Path(path)
    images: list[FitsImage] = []
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
            position = span[3]
            if not stream.compression and position > stream.size:
                raise truncated(path, position, stream.size)
            if stream.compression and position > UNPACKED_LIMIT:
                raise _too_large(path, position)
            if image := _image(stream, cards, primary, span):
                images.append(image)
                if len(images) == limit and stream.compression:
                    break
            if hdu == 0 and position == data_begin:
                primary = cards, span
            passed = stream.skip(position - data_begin)
            if data_begin + passed < position:
                raise truncated(path, position, data_begin + passed)
    if position == 0:
        remedy = "if it lists frames, let its name end in .sof" if _is_text(path) else "leave it out"
        raise FrameError(f"{escape(path)}: not a FITS file, it does not begin with SIMPLE: {remedy}")
    return tuple(images[:limit])


def read_first_image(path: str | os.PathLike[str]) -> FitsImage:
    """Read the header of the first two-dimensional image in a file; see `read_image_hdus`.

    Raises
    ------
    FrameError
        As `read_image_hdus`, and when there is no image.
    """
    images = read_image_hdus(path, limit=1)
    if not images:
        raise FrameError(f"{escape(path)}: holds no two-dimensional image, expected NAXIS = 2: leave it out")
    return images[0]


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
    """Return the bytes of the data of an HDU with their padding, as the header promises them."""
    bitpix, axes = headers.image_layout(header, path)
    if not axes:
        return 0
    groups, heap = headers.require_count(header, "GCOUNT", path, 1), headers.require_count(header, "PCOUNT", path, 0)
    return -(-abs(bitpix) // 8 * groups * (heap + prod(axes)) // BLOCK) * BLOCK


def _image(stream: Stream, cards: str, primary: tuple[str, Span] | None, span: Span) -> FitsImage | None:
    """Return the image in an HDU; None where it holds no two-dimensional image."""
    path, header = stream.path, headers.parse(cards)
    kind = str(header.get("XTENSION", "IMAGE")).strip()
    tiles = kind == "BINTABLE" and header.get("ZIMAGE") is True
    if not tiles and kind != "IMAGE":
        return None
    bitpix, axes = headers.image_layout(header, path, "Z" if tiles else "")
    if len(axes) < 2 or 0 in axes or prod(axes[2:]) != 1:
        return None
    if tiles and stream.compression:
        raise FrameError(
            f"{escape(path)}: is compressed twice ({stream.compression} around tiles), expected once: "
            "undo the outer compression"
        )
    size = max(prod(axes) * abs(bitpix) // 8, span[3] - span[2] if tiles else 0)
    if size > UNPACKED_LIMIT:
        raise _too_large(path, size)
    if tiles or primary is not None:
        cards = headers.merge_headers(cards, None if primary is None else primary[0], tiles)
        header = headers.parse(cards)
    bscale, bzero = headers.scaling(header, path)
    blank = header.get("BLANK")
    return FitsImage(
        path=path,
        hdu=span[0],
        extname=str(header.get("EXTNAME") or "").strip(),
        cards=cards,
        shape=(axes[1], axes[0]),
        bitpix=bitpix,
        bscale=bscale,
        bzero=bzero,
        blank=blank if bitpix > 0 and isinstance(blank, int) and not isinstance(blank, bool) else None,
        offset=span[2],
        compression="tiles" if tiles else stream.compression,
        fingerprint=stream.fingerprint,
        spans=(span,) if primary is None else (primary[1], span),
    )
