"""FITS files as bytes: big-endian pixels, and headers with their check sums."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from astropy.io import fits
from numpy.typing import NDArray

from ..fits_files.checksums import add_up, checksum_text
from ..fits_files.headers import BLOCK
from .headers import set_card

__all__ = ["FitsBytes", "StoredHDU", "complete_headers", "data_sum_of", "enter_sums"]

#: Rows of an image that are converted at once; their bytes fit the cache of a processor.
ROWS = 64


def complete_headers(hdus: fits.HDUList) -> None:
    """Enter DATAMD5 into the first header, and CHECKSUM and DATASUM into all.

    Parameters
    ----------
    hdus : astropy.io.fits.HDUList
        Images. DATAMD5 is the MD5 of all data units with their padding, as ESO defines it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    datasums = [data_sum_of(hdu.data, digest.update) for hdu in hdus]
    set_card(hdus[0].header, "DATAMD5", digest.hexdigest(), "MD5 of all data units")
    for hdu, datasum in zip(hdus, datasums, strict=True):
        enter_sums(hdu.header, datasum)


def data_sum_of(pixels: NDArray[Any] | None, use: Callable[[bytes], object] = len) -> int:
    """Return the sum of the data unit of an image; ``use`` gets its bytes."""
    datasum = 0
    for chunk in _data_chunks(pixels):
        use(chunk)
        datasum = add_up(chunk, datasum)
    return datasum


def enter_sums(header: fits.Header, datasum: int) -> None:
    """Enter CHECKSUM and DATASUM into a header; later no card may change."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    set_card(header, "CHECKSUM", "0" * 16, f"HDU checksum updated {now}")
    set_card(header, "DATASUM", str(datasum), f"data unit checksum updated {now}")
    header["CHECKSUM"] = checksum_text(add_up(_header_bytes(header), datasum))


@dataclass(frozen=True)
class StoredHDU:
    """An HDU with the bytes of its data unit, padding included."""

    header: fits.Header
    data: bytes


@dataclass(frozen=True)
class FitsBytes:
    """The bytes of a FITS file of HDUs with complete headers, in pieces; each iteration makes them anew."""

    hdus: Iterable[fits.PrimaryHDU | fits.ImageHDU | StoredHDU]

    def __iter__(self) -> Iterator[bytes]:
        for hdu in self.hdus:
            yield _header_bytes(hdu.header)
            yield from _data_chunks(hdu.data)


def _header_bytes(header: fits.Header) -> bytes:
    return bytes(header.tostring(), "ascii")


def _data_chunks(pixels: NDArray[Any] | bytes | None) -> Iterator[bytes]:
    """Yield the bytes of a data unit with its padding, in pieces of whole 32-bit words."""
    if pixels is None:
        return
    if isinstance(pixels, bytes):
        yield pixels
        return
    half_range = 1 << (8 * pixels.dtype.itemsize - 1)
    is_shifted = pixels.dtype.kind == "u" and pixels.dtype.itemsize > 1  # FITS has no unsigned integers of that size
    for start in range(0, len(pixels), ROWS):
        rows = pixels[start : start + ROWS]
        if is_shifted:
            rows = rows ^ pixels.dtype.type(half_range)
        padding = bytes(-pixels.nbytes % BLOCK) if start + ROWS >= len(pixels) else b""
        yield rows.astype(pixels.dtype.newbyteorder(">")).tobytes() + padding
