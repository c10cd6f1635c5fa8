"""Bytes of a file from front to back, unpacked: the layer below headers and pixels."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import os
import stat
import subprocess
import zlib
from pathlib import Path
from typing import IO, Self

from ..exceptions import FrameError
from ..text import escape

__all__ = ["Closing", "Fingerprint", "Stream", "changed", "fingerprint_of", "open_regular", "truncated"]

_CHUNK = 2**20

#: Device, inode, size and time of change of a file; they must stay the same while it is read.
Fingerprint = tuple[int, int, int, int]

#: First bytes of a file that is compressed as a whole: of those that are read, and of others that have to be unpacked.
_READ = {b"\x1f\x8b": "gzip", b"\x1f\x9d": "lzw", b"BZh": "bzip2"}
_NOT_READ = {b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"7z\xbc\xaf": "7z"}


class Closing:
    """Base class of readers that a ``with`` block closes at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        raise NotImplementedError


def open_regular(path: Path) -> tuple[int, os.stat_result]:
    """Open a file read-only.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    descriptor : int
        To be closed by the caller.
    status : os.stat_result
        Status of the open file.

    Raises
    ------
    FrameError
        When it cannot be opened, or is a folder, a device or a pipe.
    """
    try:
        # a pipe without a writer must not stop the program
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise FrameError(
            f"{escape(path)}: cannot be read ({error.strerror}): correct its path or permissions, or leave it out"
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise FrameError(f"{escape(path)}: is {kind}, expected a FITS file: leave it out")
    return descriptor, status


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """Return the part of a file's status that must not change while it is read."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def changed(path: Path) -> FrameError:
    """Return the error for a file that has changed since its header was read."""
    return FrameError(f"{escape(path)}: changed while it was read: start again when it is complete")


def truncated(path: Path, promised: int, found: int) -> FrameError:
    """Return the error for a file that ends before its header's promise."""
    return FrameError(
        f"{escape(path)}: truncated: the header promises {promised} bytes, {found} are there, "
        f"{promised - found} are missing: fetch the file again"
    )


def _kind(start: bytes, kinds: dict[bytes, str]) -> str:
    return next((kind for first, kind in kinds.items() if start.startswith(first)), "")


class Stream(Closing):
    """The unpacked bytes of a file, a context manager.

    The first bytes decide how the file is unpacked, never its name.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    fingerprint : tuple of int, optional
        Fingerprint that the file must have.

    Attributes
    ----------
    compression : str
        ``''``, ``'gzip'``, ``'bzip2'`` or ``'lzw'``.
    size : int
        Bytes of the file on disk.
    fingerprint : tuple of int
        See `fingerprint_of`.

    Raises
    ------
    FrameError
        When the file cannot be opened or has changed, its compression is not read, or the program that unpacks it is
        missing.
    """

    def __init__(self, path: Path, fingerprint: Fingerprint | None = None) -> None:
        self.path = path
        descriptor, status = open_regular(path)
        self.size, self.fingerprint = status.st_size, fingerprint_of(status)
        self._process: subprocess.Popen[bytes] | None = None
        self._cut = False
        with contextlib.ExitStack() as closing:
            packed = closing.enter_context(os.fdopen(descriptor, "rb"))
            if fingerprint not in (None, self.fingerprint):
                raise changed(path)
            try:
                start = os.pread(descriptor, 8, 0)
            except OSError as error:
                raise FrameError(f"{escape(path)}: cannot be read ({error.strerror}): fetch it again") from error
            if other := _kind(start, _NOT_READ):
                raise FrameError(
                    f"{escape(path)}: is compressed by {other}, expected FITS, plain or .gz, .bz2, .Z or .fz: unpack it"
                )
            self.compression = _kind(start, _READ)
            self._file: IO[bytes] | gzip.GzipFile | bz2.BZ2File = packed
            if self.compression == "gzip":
                self._file = closing.enter_context(gzip.GzipFile(fileobj=packed, mode="rb"))
            elif self.compression == "bzip2":
                self._file = closing.enter_context(bz2.BZ2File(packed))
            elif self.compression == "lzw":
                self._process = closing.enter_context(self._unpack_lzw(packed))
                closing.callback(self._process.terminate)
                assert self._process.stdout is not None
                self._file = self._process.stdout
            self._closing = closing.pop_all()

    def _unpack_lzw(self, packed: IO[bytes]) -> subprocess.Popen[bytes]:
        try:
            # the file is handed over open: its name is never an argument
            return subprocess.Popen(["gzip", "-dc"], stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError as error:
            raise FrameError(
                f"{escape(self.path)}: is LZW-compressed (.Z) and the program gzip, which unpacks it, cannot be "
                f"started ({error.strerror}): install gzip, or unpack the file"
            ) from error

    def close(self) -> None:
        """Close the file, and end the program that unpacks it."""
        self._closing.close()

    def read(self, size: int) -> bytes:
        """Read bytes; fewer only where the file ends."""
        parts, left = [], size
        try:
            while left and (part := self._file.read1(min(left, _CHUNK))):  # type: ignore[union-attr]
                parts.append(part)
                left -= len(part)
        except EOFError:
            self._cut = True
        except (OSError, zlib.error) as error:
            if str(error).startswith("Not a gzipped file"):  # bytes after the last member are ignored
                return b"".join(parts)
            raise FrameError(f"{escape(self.path)}: damaged ({escape(error)}): fetch it again") from error
        return b"".join(parts)

    def skip(self, size: int) -> int:
        """Pass over bytes; returns their number, which is smaller where the file ends."""
        if not self.compression:
            position = self._file.tell()
            return self._file.seek(min(position + size, self.size)) - position
        passed = 0
        while passed < size and (part := self.read(min(size - passed, _CHUNK))):
            passed += len(part)
        return passed

    def check_end(self) -> None:
        """Check the sums of the compression, where the file ends here; raises FrameError."""
        at_end = not self.read(1)
        if self._cut or (at_end and self._process is not None and self._process.wait() == 1):
            raise FrameError(f"{escape(self.path)}: damaged or cut off at its end: fetch it again")
