"""Images that a table holds in compressed tiles (.fz)."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import FrameError, SoxspipeError
from ..parallel import row_bands
from ..text import escape
from .headers import BLOCK, HEADER_LIMIT, STORED, read_header, split_cards
from .images import FitsImage
from .streams import Stream, changed

__all__ = ["unpacked_tiles"]

_CHUNK = 2**20
#: Most bytes of a sample, packed as integer or number.
_LARGEST_SAMPLE = 8
#: Most pixels to unpack at once, except that a row of tiles is never cut.
_BAND_PIXELS = 2**18
#: What astropy needs to unpack tiles; it warns of some other keywords and of unusual values.
_NEEDED_CARD = re.compile(
    r"(?:XTENSION|BITPIX  |NAXIS[12 ]  |[PG]COUNT  |TFIELDS |THEAP   |TFORM\d+ *|Z(?:IMAGE|BITPIX|NAXIS|TILE|DITHER0"
    r"|NAME|VAL|SCALE|ZERO|BLANK)\d* *|BLANK   )=.*|TTYPE\d+ *= '\w+ *'.*"
    r"|ZCMPTYPE= '(?:RICE_1|RICE_ONE|GZIP_1|GZIP_2|PLIO_1|HCOMPRESS_1|NOCOMPRESS) *'.*|ZQUANTIZ= .*"
)


def unpacked_tiles(image: FitsImage) -> Iterator[bytes]:
    """Yield the samples of an image in compressed tiles, some rows of tiles at a time.

    Parameters
    ----------
    image : FitsImage
        An image whose compression is ``'tiles'``.

    Yields
    ------
    bytes
        Samples as FITS stores them.

    Raises
    ------
    FrameError
        When the file is damaged, or has changed since its header was read.
    """
    try:
        file = _minimal_file(image)
        tiles = fits.open(file, memmap=False, do_not_scale_image_data=True)[1]
        file.seek(0)
        table = fits.open(file, memmap=False, disable_image_compression=True)[1]
        if min(tiles.tile_shape) < 1:
            raise ValueError(f"tiles have the shape {tiles.tile_shape}")
        (tile_rows, tile_columns), (ny, nx) = tiles.tile_shape[-2:], image.shape
        tile_sizes = (
            min(tile_rows, ny - y) * min(tile_columns, nx - x)
            for y in range(0, ny, tile_rows)
            for x in range(0, nx, tile_columns)
        )
        _check_tiles(table, memoryview(file.getvalue()), tile_sizes)
        for start, stop in row_bands([(0, ny)], tile_rows * max(1, _BAND_PIXELS // (nx * tile_rows))):
            with np.errstate(all="ignore"):
                samples = tiles.section[start:stop]
            yield samples.reshape(-1, nx).astype(STORED[image.bitpix]).tobytes()
    except SoxspipeError:
        raise
    except Exception as error:
        # a decoder may raise anything at a damaged file
        reason = " ".join(escape(error).split()) or type(error).__name__
        raise FrameError(f"{escape(image.path)}: damaged ({reason}): fetch it again") from error


def _minimal_file(image: FitsImage) -> io.BytesIO:
    """Return the table of an image as a file in memory, with the needed cards only."""
    _, begin, data, end = image.spans[-1]
    with Stream(image.path, image.fingerprint) as stream:
        stream.skip(begin)
        header = read_header(stream, False, HEADER_LIMIT)
        table = stream.read(end - data)
    if header is None or len(table) < end - data:
        raise changed(image.path)
    cards = [card for _, card in split_cards(header[0]) if _NEEDED_CARD.fullmatch(card)]
    keywords = {card[:8].rstrip() for card in cards}
    if image.bitpix > 0 and not keywords & {"BLANK", "ZBLANK"}:  # astropy would choose it, with a warning
        cards.append(f"BLANK   = {-(1 << image.bitpix - 1):>20}{'':50}")
    table_header = "".join(cards) + f"{'END':80}"
    table_header += " " * (-len(table_header) % BLOCK)
    primary = fits.PrimaryHDU().header.tostring()
    return io.BytesIO((primary + table_header).encode() + table + bytes(-len(table) % BLOCK))


def _check_tiles(table: fits.BinTableHDU, file: memoryview, tile_sizes: Iterator[int]) -> None:
    """Check that no tile unpacks to more than its pixels need, as the decoders do not; raises ValueError."""
    checks = {"GZIP_COMPRESSED_DATA": _check_gzip}
    kind = str(table.header.get("ZCMPTYPE")).strip()
    if kind in ("GZIP_1", "GZIP_2", "HCOMPRESS_1"):
        checks["COMPRESSED_DATA"] = _check_hcompress if kind == "HCOMPRESS_1" else _check_gzip
    rows: NDArray[Any] = table.data.view(np.ndarray)
    heap = table.fileinfo()["datLoc"] + table.header.get("THEAP", rows.nbytes)
    names = checks.keys() & set(rows.dtype.names or ())
    for name in names:
        if not re.match(r"1?[PQ]B", table.columns[name].format):
            raise ValueError(f"{name} holds no bytes")
    for row, pixels in zip(rows, tile_sizes, strict=False):
        for name in names:
            length, start = map(int, row[name])
            checks[name](bytes(file[heap + start :][:length]), pixels)


def _check_gzip(packed: bytes, pixels: int) -> None:
    unpacked = 0
    while packed:  # one member after the other
        member = zlib.decompressobj(31)
        while packed and not member.eof:
            unpacked += len(member.decompress(packed, _CHUNK))
            if unpacked > _LARGEST_SAMPLE * pixels:
                raise ValueError(f"a tile of {pixels} pixels unpacks to {unpacked} bytes or more")
            packed = member.unconsumed_tail
        packed = member.unused_data.lstrip(b"\0")


def _check_hcompress(packed: bytes, pixels: int) -> None:
    if packed:
        ny, nx = struct.unpack_from(">ii", packed, 2)
        if min(ny, nx) < 1 or ny * nx != pixels:
            raise ValueError(f"a tile of {pixels} pixels unpacks to {ny} x {nx}")
