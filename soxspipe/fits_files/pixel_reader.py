"""Pixels of FITS images, plain, .gz, .bz2, .Z or .fz, in bands of rows."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..exceptions import FrameError, ProductError, SoxspipeError
from ..parallel import map_bands, row_bands
from ..run_log import get_logger
from ..text import escape
from .headers import BLOCK, STORED
from .images import FitsImage, read_image_hdus
from .streams import Closing, Stream, changed, fingerprint_of, open_regular, truncated
from .tiles import unpacked_tiles

__all__ = ["PixelReader", "plane_images", "read_images", "read_planes", "same_pixels"]

log = get_logger(__name__)

_CHUNK = 2**20
#: Rows that are converted at once.
READ_ROWS = 512


class PixelReader(Closing):
    """Reads bands of rows from many images, a context manager.

    Plain files are read in place, and opened for each band. A compressed image is unpacked once, by `unpack` or when
    it is first read, to its place in a temporary file without a name: bands stay cheap, memory stays flat, and nothing
    is left on disk however the program ends. Threads may read at the same time.

    Parameters
    ----------
    images : sequence of FitsImage
        Images, as `image_hdus` describes them.
    temporary_folder : path-like, optional
        Where to unpack; default: the system's folder for temporary files.
    """

    def __init__(self, images: Sequence[FitsImage], temporary_folder: str | os.PathLike[str] | None = None) -> None:
        self.images = tuple(images)
        self._folder = temporary_folder
        self._unpacked_file: IO[bytes] | None = None
        self._offsets = list(accumulate((image.nbytes * bool(image.compression) for image in images), initial=0))
        self._unpacked: set[int] = set()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self.images)

    def close(self) -> None:
        """Drop the unpacked images; reading again would unpack them again."""
        self._unpacked.clear()
        if self._unpacked_file is not None:
            self._unpacked_file.close()
            self._unpacked_file = None

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
        packed = [index for index, image in enumerate(self.images) if image.compression and index not in self._unpacked]
        try:
            map_bands(lambda i, _: self._unpack(packed[i]), row_bands([(0, len(packed))], 1), workers)
        except BaseException:
            self.close()
            raise

    def read_rows(self, index: int, start: int, stop: int) -> NDArray[Any]:
        """Read a band of rows.

        Parameters
        ----------
        index : int
            Number of the image.
        start, stop : int
            First row, and the one after the last.

        Returns
        -------
        ndarray, shape (stop - start, columns)
            Physical values in native byte order, of the image's `FitsImage.dtype`; a new array.

        Raises
        ------
        FrameError
            When the file is truncated or damaged, or has changed since its header was read.
        ProductError
            When there is no room to unpack a compressed image.
        """
        image = self.images[index]
        ny, nx = image.shape
        if not 0 <= start <= stop <= ny:
            raise SoxspipeError(f"rows {start}:{stop} of {escape(image.path)}, which has {ny}")
        stored = STORED[image.bitpix]
        size, skipped = (stop - start) * nx * stored.itemsize, start * nx * stored.itemsize
        if image.compression:
            data = self._read_unpacked(index, size, skipped)
        else:
            data = _read_plain(image, size, image.offset + skipped)
        if len(data) < size:
            raise changed(image.path)
        return image.physical(np.frombuffer(data, stored).reshape(stop - start, nx))

    def _read_unpacked(self, index: int, size: int, position: int) -> bytes:
        with self._lock:
            if index not in self._unpacked:
                self._unpack(index)
            assert self._unpacked_file is not None
            self._unpacked_file.seek(self._offsets[index] + position)
            return self._unpacked_file.read(size)

    def _unpack(self, index: int) -> None:
        image, position = self.images[index], self._offsets[index]
        log.debug("unpacking %s", image.path)
        for data in unpacked_tiles(image) if image.compression == "tiles" else _unpacked_stream(image):
            self._write(image, data, position)
            position += len(data)
        self._unpacked.add(index)

    def _write(self, image: FitsImage, data: bytes, position: int) -> None:
        try:
            with self._lock:
                if self._unpacked_file is None:
                    self._unpacked_file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115 - see close
                self._unpacked_file.seek(position)
                left = memoryview(data)
                while left:
                    left = left[self._unpacked_file.write(left) :]
        except OSError as error:
            try:
                folder = self._folder or tempfile.gettempdir()
            except OSError:
                folder = "the folder for temporary files"
            raise ProductError(
                f"{escape(folder)}: cannot unpack {escape(image.path.name)} there ({error.strerror}; it needs "
                f"{image.nbytes} bytes): make room, or set TMPDIR to another folder"
            ) from error


def _read_plain(image: FitsImage, size: int, position: int) -> bytes:
    """Read bytes from a file that is not compressed; fewer only where it ends."""
    descriptor, _ = open_regular(image.path)
    try:
        with os.fdopen(descriptor, "rb") as file:
            file.seek(position)
            data = file.read(size)
            if fingerprint_of(os.fstat(descriptor)) != image.fingerprint:
                raise changed(image.path)
            return data
    except OSError as error:
        raise FrameError(f"{escape(image.path)}: cannot be read ({error.strerror}): fetch it again") from error


def _unpacked_stream(image: FitsImage) -> Iterator[bytes]:
    """Yield the samples of an image from a file that is compressed as a whole; never more than was promised."""
    end = image.offset + image.nbytes
    with Stream(image.path, image.fingerprint) as stream:
        position = stream.skip(image.offset)
        while data := stream.read(min(end - position, _CHUNK)):
            yield data
            position += len(data)
        if position < end:
            raise truncated(image.path, end, position)
        stream.skip(-end % BLOCK)
        stream.check_end()


def read_images(images: Sequence[FitsImage]) -> list[NDArray[Any]]:
    """Return all pixels of images; see `PixelReader.read_rows`."""
    pixels = [np.empty(image.shape, image.dtype) for image in images]
    with PixelReader(images) as reader:
        for i, image in enumerate(images):
            for start, stop in row_bands([(0, image.shape[0])], READ_ROWS):  # so that no second image is in memory
                pixels[i][start:stop] = reader.read_rows(i, start, stop)
    return pixels


def same_pixels(reader: PixelReader, first: int, second: int) -> bool:
    """Return whether two images hold the same pixels; stops at the first band that differs.

    Parameters
    ----------
    reader : PixelReader
        Reader of both.
    first, second : int
        Numbers of the images.

    Returns
    -------
    bool
        NaN equals NaN here.
    """
    if reader.images[first].shape != reader.images[second].shape:
        return False
    ny, nx = reader.images[first].shape
    for start, stop in row_bands([(0, ny)], max(1, 2**16 // nx)):
        pixels, others = reader.read_rows(first, start, stop), reader.read_rows(second, start, stop)
        if not np.array_equal(pixels, others, equal_nan="f" in pixels.dtype.kind + others.dtype.kind):
            return False
    return True


def plane_images(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, FitsImage]:
    """Return planes of a product, without their pixels.

    Parameters
    ----------
    path : path-like
        A product with plain or compressed images.
    names : sequence of str, optional
        EXTNAME of the planes, such as FLUX, QUAL and ERRS; default: all.

    Returns
    -------
    dict of str to FitsImage
        The planes by EXTNAME.

    Raises
    ------
    FrameError
        When the file is damaged, lacks a plane, or has one of another size.
    """
    images = {image.extname: image for image in reversed(read_image_hdus(path)) if image.extname}
    wanted = list(reversed(images)) if names is None else list(names)
    if missing := [name for name in wanted if name not in images]:
        found = ", ".join(map(escape, reversed(images))) or "none"
        raise FrameError(
            f"{escape(path)}: has no plane {', '.join(missing)}, found {found}: give a product of soxspipe, or read it "
            "with astropy.nddata.CCDData.read"
        )
    for name in wanted if names is not None else ():
        if images[name].shape != images[wanted[0]].shape:
            found, expected = (f"{nx} x {ny}" for ny, nx in (images[name].shape, images[wanted[0]].shape))
            raise FrameError(f"{escape(path)}: {name} is {found} pixels, expected {expected} as {wanted[0]}: remake it")
    return {name: images[name] for name in wanted}


def read_planes(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read planes of a product; see `plane_images`.

    Returns
    -------
    dict of str to ndarray, shape (ny, nx)
        Physical values by EXTNAME, in native byte order.
    """
    images = plane_images(path, names)
    return dict(zip(images, read_images(list(images.values())), strict=True))
