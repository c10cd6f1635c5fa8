"""Files from front to back, whatever packed them: the bytes below headers and pixels."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import subprocess
import zlib
from pathlib import Path
from typing import IO

from ..exceptions import FrameError
from ..text import escape

__all__ = ["Fingerprint", "Stream", "changed", "escape", "fingerprint_of", "open_regular", "truncated"]

_CHUNK = 2**20

#: Device, inode, size and time of change: what a file must keep while it is read.
Fingerprint = tuple[int, int, int, int]


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
        Of the open file.

    Raises
    ------
    FrameError
        When it cannot be opened, or is a folder, a device or a pipe.
    """
    try:
        # a pipe that nobody writes to must not stop the program
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
    """Reduce a file's status to what must not change while it is read."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def changed(path: Path) -> FrameError:
    """Make the error for a file that is not what it was when its header was read."""
    return FrameError(f"{escape(path)}: changed while it was read: start again when it is complete")


def truncated(path: Path, promised: int, found: int) -> FrameError:
    """Make the error for a file that ends before its header's promise."""
    return FrameError(
        f"{escape(path)}: truncated: the header promises {promised} bytes, {found} are there, "
        f"{promised - found} are missing: fetch the file again"
    )


class Stream:
    """The unpacked bytes of a file, a context manager.

    What packed it is told by its first two bytes, never by its name.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Attributes
    ----------
    compression : str
        ``''``, ``'gzip'`` or ``'lzw'``.
    size : int
        Bytes of the file as it lies on disk.
    fingerprint : tuple of int
        See `fingerprint_of`.

    Raises
    ------
    FrameError
        When the file cannot be opened, or the program that unpacks it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor, status = open_regular(path)
        self.size, self.fingerprint = status.st_size, fingerprint_of(status)
        self._closing = contextlib.ExitStack()
        packed = self._closing.enter_context(os.fdopen(descriptor, "rb"))
        self._file: IO[bytes] | gzip.GzipFile = packed
        self._process: subprocess.Popen[bytes] | None = None
        self._cut = False
        try:
            magic = os.pread(descriptor, 2, 0)
            self.compression = {b"\x1f\x8b": "gzip", b"\x1f\x9d": "lzw"}.get(magic, "")
            if self.compression == "gzip":
                self._file = self._closing.enter_context(gzip.GzipFile(fileobj=packed, mode="rb"))
            elif self.compression == "lzw":
                self._file = self._unpack_lzw(packed)
        except OSError as error:
            self.close()
            raise FrameError(f"{escape(path)}: cannot be read ({error.strerror}): fetch it again") from error
        except FrameError:
            self.close()
            raise

    def _unpack_lzw(self, packed: IO[bytes]) -> IO[bytes]:
        try:
            # the file is handed over open, so that its name is never an argument
            self._process = subprocess.Popen(
                ["gzip", "-dc"], stdin=packed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise FrameError(
                f"{escape(self.path)}: is LZW-compressed (.Z) and the program gzip, which unpacks it, cannot be "
                f"started ({error.strerror}): install gzip, or unpack the file"
            ) from error
        assert self._process.stdout is not None
        return self._process.stdout

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a program that unpacks it ends too."""
        if self._process is not None:
            self._file.close()
            self._process.terminate()
            self._process.wait()
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
            raise FrameError(f"{escape(self.path)}: damaged ({escape(error)}): fetch it again") from error
        return b"".join(parts)

    def skip(self, size: int) -> int:
        """Pass over bytes; returns how many there were."""
        if not self.compression:
            here = self._file.tell()
            return self._file.seek(min(here + size, self.size)) - here
        passed = 0
        while passed < size and (part := self.read(min(size - passed, _CHUNK))):
            passed += len(part)
        return passed

    def check_end(self) -> None:
        """Where the file ends here, see that the compression's own check holds; raises FrameError."""
        at_end = not self.read(1)
        if self._cut or (at_end and self._process is not None and self._process.wait() == 1):
            raise FrameError(f"{escape(self.path)}: damaged or cut off at its end: fetch it again")
