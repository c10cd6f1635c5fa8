"""Image units of FITS files: what a header says of an image before a pixel of it is read."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ..exceptions import FrameError
from ..text import escape
from .headers import (
    BLOCK,
    HEADER_LIMIT,
    STORED,
    image_layout,
    merge_headers,
    parse,
    read_header,
    require_count,
    scaling,
)
from .streams import Fingerprint, Stream, truncated

__all__ = ["FitsImage", "read_first_image", "read_image_hdus"]

#: More units than this in one file are refused.
UNIT_LIMIT = 256
#: A compressed file that promises more bytes than this is taken for a decompression bomb, and no image is larger:
#: a file with holes can promise what the disk never held.
UNPACKED_LIMIT = 2**30
#: Integers that FITS has no type for: it stores them shifted by half their range.
_SHIFTED = {(8, -128): "i1", (16, 2**15): "u2", (32, 2**31): "u4", (64, 2**63): "u8"}


#: Number of an HDU, its first byte, that of its data, and the one behind it.
Span = tuple[int, int, int, int]


@functools.lru_cache(maxsize=64)
def _physical_type(bitpix: int, bscale: float, bzero: float, blank: bool) -> np.dtype[Any]:
    """Type of physical values: as stored where nothing is scaled, unsigned where FITS only shifts, else float."""
    unscaled = bscale == 1 and bzero == 0
    shifted = _SHIFTED.get((bitpix, int(bzero))) if bscale == 1 and bzero.is_integer() else None
    if blank:
        return np.dtype("f4" if bitpix in (8, 16) and (unscaled or shifted) else "f8")
    return STORED[bitpix].newbyteorder("=") if unscaled else np.dtype(shifted or "f8")


@dataclass(frozen=True)
class FitsImage:
    """A two-dimensional image in a FITS file: where its pixels lie and what they mean.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    hdu : int
        Number of the header and data unit; 0 is the primary.
    extname : str
        Its EXTNAME, empty where it has none.
    cards : str
        The header as text; see `header`.
    shape : tuple of int
        Rows and columns.
    bitpix : int
        Type of the stored samples, as FITS names it.
    bscale, bzero : float
        Physical value = bzero + bscale x stored sample.
    blank : int or None
        Stored sample that means no value.
    offset : int
        First byte of the data unit in the file, unpacked where all of it is compressed.
    compression : str
        ``''``, ``'gzip'``, ``'lzw'`` or ``'tiles'``.
    fingerprint : tuple of int
        Device, inode, size and time of change of the file when its header was read.
    spans : tuple of (int, int, int, int)
        Of each HDU that the image needs, itself and a primary whose keywords it has: its number, its first byte, that
        of its data and the one behind it in the file, unpacked where all of it is compressed.
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
        """The header, with the primary's keywords where the primary holds no pixels; copy it before a change.

        Only the last few are kept parsed, so that thousands of frames cost little memory: hold on to it while
        many keywords are looked up.
        """
        return parse(self.cards)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the physical values, native byte order."""
        return _physical_type(self.bitpix, self.bscale, self.bzero, self.blank is not None)

    @property
    def nbytes(self) -> int:
        """Bytes of the unpacked samples."""
        return self.shape[0] * self.shape[1] * abs(self.bitpix) // 8

    def physical(self, stored: np.ndarray) -> np.ndarray:
        """Turn stored samples into a new array of physical values, of type `dtype`."""
        dtype = self.dtype
        if self.blank is not None:
            values = stored * self.bscale + self.bzero
            values[stored == self.blank] = np.nan
            return values.astype(dtype, copy=False)
        if self.bscale == 1 and self.bzero == 0:
            return stored.astype(dtype)
        if dtype.kind == "f":
            return stored.astype(dtype) * self.bscale + self.bzero
        # a shift by half the range is a flip of the sign bit
        bits = np.dtype(f"u{dtype.itemsize}")
        values = stored.view(bits.newbyteorder(stored.dtype.byteorder)).astype(bits)
        np.bitwise_xor(values, bits.type(1 << (8 * bits.itemsize - 1)), out=values)
        return values.view(dtype)


def read_image_hdus(path: str | os.PathLike[str], limit: int | None = None) -> tuple[FitsImage, ...]:
    """Read the headers of a file's images.

    Parameters
    ----------
    path : path-like
        A FITS file; plain, gzip, LZW (.Z) or tile-compressed (.fz), whatever its name.
    limit : int, optional
        Stop after so many images. A plain file is followed to its end all the same, as that costs nothing.

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
    units: list[FitsImage] = []
    position, budget, primary = 0, HEADER_LIMIT, None
    with Stream(path) as stream:
        if stream.size == 0:
            raise FrameError(f"{escape(path)}: the file is empty (0 bytes): fetch it again")
        for hdu in range(UNIT_LIMIT + 1):
            found = read_header(stream, hdu == 0, budget)
            if found is None:
                break
            if hdu == UNIT_LIMIT:
                raise FrameError(f"{escape(path)}: more than {UNIT_LIMIT} units, expected a frame: leave it out")
            cards, length = found
            budget, position = budget - length, position + length
            header = parse(cards)
            padded = _data_bytes(header, path)
            if not stream.compression and position + padded > stream.size:
                raise truncated(path, position + padded, stream.size)
            if stream.compression and position + padded > UNPACKED_LIMIT:
                raise _too_large(path, position + padded)
            span = hdu, position - length, position, position + padded
            if unit := _image_unit(stream, header, cards, primary, span):
                units.append(unit)
                if len(units) == limit and stream.compression:
                    break
            if hdu == 0 and padded == 0:
                primary = header, span
            if (passed := stream.skip(padded)) < padded:
                raise truncated(path, position + padded, position + passed)
            position += padded
    if position == 0:
        remedy = "if it lists frames, let its name end in .sof" if _is_text(path) else "leave it out"
        raise FrameError(f"{escape(path)}: not a FITS file, it does not begin with SIMPLE: {remedy}")
    return tuple(units[:limit])


def read_first_image(path: str | os.PathLike[str]) -> FitsImage:
    """Read the header of a file's first two-dimensional image; see `read_image_hdus`.

    Raises
    ------
    FrameError
        As `read_image_hdus`, and when there is no image.
    """
    units = read_image_hdus(path, limit=1)
    if not units:
        raise FrameError(f"{escape(path)}: holds no two-dimensional image, expected NAXIS = 2: leave it out")
    return units[0]


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
    """Bytes of a data unit with its padding, as the header promises them."""
    bitpix, axes = image_layout(header, path)
    if not axes:
        return 0
    groups, heap = require_count(header, "GCOUNT", path, 1), require_count(header, "PCOUNT", path, 0)
    return -(-abs(bitpix) // 8 * groups * (heap + prod(axes)) // BLOCK) * BLOCK


def _image_unit(
    stream: Stream, header: fits.Header, cards: str, primary: tuple[fits.Header, Span] | None, span: Span
) -> FitsImage | None:
    """Describe a unit; None where it holds no two-dimensional image."""
    path = stream.path
    kind = str(header.get("XTENSION", "IMAGE")).strip()
    tiles = kind == "BINTABLE" and header.get("ZIMAGE") is True
    if not tiles and kind != "IMAGE":
        return None
    bitpix, axes = image_layout(header, path, "Z" if tiles else "")
    if len(axes) < 2 or 0 in axes or prod(axes[2:]) != 1:
        return None
    if tiles and stream.compression:
        raise FrameError(
            f"{escape(path)}: is compressed twice ({stream.compression} around tiles), expected once: "
            "undo the outer compression"
        )
    if prod(axes) * abs(bitpix) // 8 > UNPACKED_LIMIT:
        raise _too_large(path, prod(axes) * abs(bitpix) // 8)
    if tiles or primary is not None:
        cards = merge_headers(header, None if primary is None else primary[0], tiles)
        header = parse(cards)
    bscale, bzero = scaling(header, path)
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
