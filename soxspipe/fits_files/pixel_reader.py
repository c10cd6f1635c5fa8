"""Pixels of FITS images, plain, .gz, .Z or .fz, in row bands."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import tempfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod
from typing import IO

import numpy as np
from astropy.io import fits

from ..exceptions import FrameError, ProductError, SoxspipeError
from ..parallel import map_bands, row_bands
from ..run_log import get_logger
from ..text import escape
from .headers import BLOCK, STORED, suppress_fits_warnings
from .images import FitsImage, read_first_image, read_image_hdus
from .streams import Stream, changed, fingerprint_of, open_regular, truncated

__all__ = ["FitsImage", "PixelReader", "escape", "read_first_image", "read_image_hdus", "same_pixels"]

log = get_logger(__name__)

#: Share of the process's file descriptors that one reader may hold; opening a file again costs half a band's time.
DESCRIPTOR_SHARE = 1 / 4
_CHUNK = 2**20
#: No sample takes more bytes, packed as integer or number.
_LARGEST_SAMPLE = 8


class PixelReader:
    """Reads bands of rows from many images, a context manager.

    Plain files are read in place, with few of them open at a time. A compressed image is unpacked once, by `unpack`
    or when it is first asked for, to its place in a temporary file without a name: bands stay cheap, memory
    stays flat, and nothing is left on disk however the program ends. Threads may read at the same time.

    Parameters
    ----------
    units : sequence of FitsImage
        Images, as `read_first_image` or `read_image_hdus` describe them.
    temporary_folder : path-like, optional
        Where to unpack; the system's folder for temporary files when left out.
    """

    def __init__(self, units: Sequence[FitsImage], temporary_folder: str | os.PathLike[str] | None = None) -> None:
        self.units = tuple(units)
        self._folder = temporary_folder
        self._most_open = _most_open()
        self._files: OrderedDict[int, int] = OrderedDict()
        self._spool: IO[bytes] | None = None
        self._places = list(accumulate((unit.nbytes if unit.compression else 0 for unit in self.units), initial=0))
        self._unpacked: set[int] = set()

    def __enter__(self) -> PixelReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.units)

    def close(self) -> None:
        """Close all files and drop what was unpacked; reading again would open and unpack anew."""
        while self._files:
            os.close(self._files.popitem()[1])
        self._unpacked.clear()
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def unpack(self, workers: int = 1) -> None:
        """Unpack all compressed images; the reader is closed when that fails.

        Parameters
        ----------
        workers : int
            Threads.

        Raises
        ------
        FrameError
            When a file is truncated or damaged, or has changed since its header was read.
        ProductError
            When there is no room for them.
        """
        packed = [index for index, unit in enumerate(self.units) if unit.compression and index not in self._unpacked]
        if packed:
            self._open_spool(self.units[packed[0]])  # else each thread would open one
            try:
                map_bands(lambda i, _: self._unpack(packed[i]), row_bands([(0, len(packed))], 1), workers)
            except BaseException:
                self.close()
                raise
            self._unpacked.update(packed)

    def read_rows(self, index: int, start: int, stop: int, columns: slice | None = None) -> np.ndarray:
        """Read a band of rows.

        Parameters
        ----------
        index : int
            Which of the images.
        start, stop : int
            First row, and the one after the last.
        columns : slice, optional
            Columns to keep; all when left out.

        Returns
        -------
        ndarray, shape (stop - start, columns)
            Physical values in native byte order, of the image's `FitsImage.dtype`; writable, nobody else's.

        Raises
        ------
        FrameError
            When the file is truncated or damaged, or has changed since its header was read.
        ProductError
            When there is no room to unpack a compressed image.
        """
        unit = self.units[index]
        ny, nx = unit.shape
        if not 0 <= start <= stop <= ny:
            raise SoxspipeError(f"rows {start}:{stop} of {escape(unit.path)}, which has {ny}")
        stored = STORED[unit.bitpix]
        size, skipped = (stop - start) * nx * stored.itemsize, start * nx * stored.itemsize
        if unit.compression:
            if index not in self._unpacked:
                self._unpack(index)
            data = _read_at(self._open_spool(unit), size, self._places[index] + skipped)
        else:
            data = self._read_plain(index, size, unit.offset + skipped)
        if len(data) < size:
            raise changed(unit.path)
        pixels = np.frombuffer(data, stored).reshape(stop - start, nx)
        return unit.physical(pixels if columns is None else pixels[:, columns])

    def _read_plain(self, index: int, size: int, position: int) -> bytes:
        unit = self.units[index]
        descriptor = self._files.pop(index, None)  # which is nobody else's until it is put back
        if descriptor is None:
            if len(self._files) >= self._most_open:
                with contextlib.suppress(KeyError):  # another thread took the last
                    os.close(self._files.popitem(last=False)[1])
            descriptor = _reopen(unit)
        try:
            data = _read_at(descriptor, size, position)
            if fingerprint_of(os.fstat(descriptor)) != unit.fingerprint:
                raise changed(unit.path)
            return data
        except OSError as error:
            raise FrameError(f"{escape(unit.path)}: cannot be read ({error.strerror}): fetch it again") from error
        finally:
            if self._files.setdefault(index, descriptor) != descriptor:  # another thread read the same image
                os.close(descriptor)

    def _unpack(self, index: int) -> None:
        """Unpack an image to its place; that another thread does the same makes no difference."""
        unit, end = self.units[index], self._places[index]
        log.debug("unpacking %s", unit.path)
        spool = self._open_spool(unit)

        def write(data: bytes) -> None:
            nonlocal end
            view = memoryview(data)
            try:
                while view:
                    written = os.pwrite(spool, view, end)
                    view, end = view[written:], end + written
            except OSError as error:
                raise self._no_room(unit, error) from error

        (_unpack_tiles if unit.compression == "tiles" else _unpack_stream)(unit, write)
        self._unpacked.add(index)

    def _open_spool(self, unit: FitsImage) -> int:
        if self._spool is None:
            try:
                self._spool = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by close)
            except OSError as error:
                raise self._no_room(unit, error) from error
        return self._spool.fileno()

    def _no_room(self, unit: FitsImage, error: OSError) -> ProductError:
        try:
            folder = self._folder or tempfile.gettempdir()
        except OSError:
            folder = "the folder for temporary files"
        return ProductError(
            f"{escape(folder)}: cannot unpack {escape(unit.path.name)} there ({error.strerror}; it needs "
            f"{unit.nbytes} bytes): make room, or set TMPDIR to another folder"
        )


def _most_open() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 256 if limit == resource.RLIM_INFINITY else max(1, min(256, int(limit * DESCRIPTOR_SHARE)))


def _reopen(unit: FitsImage) -> int:
    descriptor, status = open_regular(unit.path)
    if fingerprint_of(status) != unit.fingerprint:
        os.close(descriptor)
        raise changed(unit.path)
    return descriptor


def _read_at(descriptor: int, size: int, position: int) -> bytes:
    """Read bytes at a position; fewer only where the file ends."""
    data = os.pread(descriptor, size, position)
    while len(data) < size:  # one call reads 2 GiB at most
        more = os.pread(descriptor, size - len(data), position + len(data))
        if not more:
            break
        data += more
    return data


def _unpack_stream(unit: FitsImage, write: Callable[[bytes], None]) -> None:
    """Unpack the samples of an image from a file that is compressed as a whole; never more than was promised."""
    padding = -unit.nbytes % BLOCK
    promised = unit.offset + unit.nbytes + padding
    with Stream(unit.path) as stream:
        if stream.fingerprint != unit.fingerprint:
            raise changed(unit.path)
        found = stream.skip(unit.offset)
        while left := unit.offset + unit.nbytes - found:
            data = stream.read(min(left, _CHUNK))
            if not data:
                break
            write(data)
            found += len(data)
        found += stream.skip(padding)
        if found < promised:
            raise truncated(unit.path, promised, found)
        stream.check_end()


def _unpack_tiles(unit: FitsImage, write: Callable[[bytes], None]) -> None:
    """Unpack an image that a table holds in compressed tiles, some rows of tiles at a time."""
    ny, nx = unit.shape
    with suppress_fits_warnings(), os.fdopen(_reopen(unit), "rb") as file:
        try:
            units = fits.open(file, mode="readonly", memmap=False, do_not_scale_image_data=True)
            image = units[unit.hdu]
            tables = fits.open(file, mode="readonly", memmap=False, disable_image_compression=True)
            _check_gzip_tiles(tables[unit.hdu], file.fileno(), prod(image.tile_shape))
            tile_rows = image.tile_shape[-2]
            rows = tile_rows * max(1, 2**18 // (nx * tile_rows))
            bands = range(0, ny, rows)
            for start in bands:
                band = image.section[start : min(start + rows, ny)]
                write(band.reshape(-1, nx).astype(STORED[unit.bitpix]).tobytes())
        except SoxspipeError:
            raise
        except Exception as error:
            # whatever a decoder stumbles over, it is the file that is at fault
            reason = " ".join(escape(error).split()) or type(error).__name__
            raise FrameError(f"{escape(unit.path)}: damaged ({reason}): fetch it again") from error


def _check_gzip_tiles(table: fits.BinTableHDU, descriptor: int, pixels: int) -> None:
    """See that no tile unpacks to more than its pixels need; raises ValueError.

    The decoder unpacks gzip tiles whole, whatever their size, before it looks.
    """
    columns = {"GZIP_COMPRESSED_DATA"}
    if str(table.header.get("ZCMPTYPE")).startswith("GZIP"):
        columns.add("COMPRESSED_DATA")
    rows = table.data.view(np.ndarray)
    heap = table.fileinfo()["datLoc"] + table.header.get("THEAP", rows.nbytes)
    for name in columns.intersection(rows.dtype.names):
        if not re.match(r"1?[PQ]B", table.columns[name].format):
            raise ValueError(f"{name} holds no bytes")
        for length, start in rows[name]:
            packed, unpacked = _read_at(descriptor, int(length), heap + int(start)), 0
            while packed:  # one member after the other
                member = zlib.decompressobj(31)
                while packed and not member.eof:
                    unpacked += len(member.decompress(packed, _CHUNK))
                    if unpacked > _LARGEST_SAMPLE * pixels:
                        raise ValueError(f"a tile of {pixels} pixels unpacks to {unpacked} bytes or more")
                    packed = member.unconsumed_tail
                packed = member.unused_data.lstrip(b"\0")


def same_pixels(reader: PixelReader, first: int, second: int) -> bool:
    """Tell whether two images hold the same pixels; stops at the first band that differs.

    Parameters
    ----------
    reader : PixelReader
        Reader of both.
    first, second : int
        Which images.

    Returns
    -------
    bool
        NaN equals NaN here.
    """
    one, other = reader.units[first], reader.units[second]
    if one.shape != other.shape:
        return False
    ny, nx = one.shape
    rows = max(1, 2**16 // nx)
    for start in range(0, ny, rows):
        stop = min(start + rows, ny)
        pixels, others = reader.read_rows(first, start, stop), reader.read_rows(second, start, stop)
        if not np.array_equal(pixels, others, equal_nan="f" in pixels.dtype.kind + others.dtype.kind):
            return False
    return True
