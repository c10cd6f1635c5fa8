"""Sums over the bytes of FITS units: whether a file is still what was written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

import numpy as np

from ..exceptions import ErrorCollector, FrameError, InputError
from ..parallel import map_bands, row_bands
from ..text import escape
from .images import FitsImage
from .streams import Stream, changed, truncated

__all__ = ["ChecksumVerifier", "add_up", "data_sum", "file_md5"]

_CHUNK = 2**18
_CARD = re.compile(rb"(CHECKSUM|DATASUM )= *'? *([^'/]*)")
#: Sum of a unit, header and data, whose CHECKSUM is right: minus zero, of which there are two in this arithmetic.
_ALL_ONES = 2**32 - 1


def add_up(data: bytes, before: int = 0) -> int:
    """Add up bytes as FITS does: big-endian words of 32 bits in ones' complement.

    Parameters
    ----------
    data : bytes
        Whole words.
    before : int
        Sum of what stands before them.

    Returns
    -------
    int
        From 0 to 2^32 - 1.
    """
    total = before + int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def data_sum(unit: FitsImage) -> str:
    """Return what the data of an image add up to, as DATASUM has it.

    Of compressed tiles it is the sum of what was packed, where their header has that, as tiles are packed in many ways.

    Raises
    ------
    FrameError
        When the file is truncated or damaged, or has changed since its header was read.
    """
    return _identity(unit, _wrong_sums([unit])[0])


def _identity(unit: FitsImage, found: int) -> str:
    packed = str(unit.header.get("DATASUM") or "0").strip() if unit.compression == "tiles" else "0"
    return str(found) if packed == "0" else packed


def file_md5(units: Sequence[FitsImage]) -> str:
    """Return DATAMD5 of a calibration: that of its header, else the MD5 of the data of its images.

    Raises
    ------
    FrameError
        When the file is truncated or damaged, or has changed since its header was read.
    """
    stated = units[0].header.get("DATAMD5")
    if isinstance(stated, str) and stated.strip():
        return stated.strip()
    digest = hashlib.md5(usedforsecurity=False)
    _wrong_sums(units, digest.update)
    return digest.hexdigest()


class ChecksumVerifier:
    """Compares CHECKSUM and DATASUM of input files with what their bytes add up to.

    Parameters
    ----------
    faults : ErrorCollector
        Takes what is wrong where ``strict``, and files that cannot be read.
    strict : bool
        Whether a wrong sum is a fault; else it is a warning.
    workers : int
        Threads that add up.

    Attributes
    ----------
    warnings : list of str
        A line for each file with a wrong sum.
    """

    def __init__(self, faults: ErrorCollector, strict: bool, workers: int = 1) -> None:
        self.faults = faults
        self.strict = strict
        self.workers = workers
        self.warnings: list[str] = []

    def verify(self, units: Sequence[FitsImage], label: str) -> str:
        """Check the units of one file that hold the given images, in one pass.

        Of a file that is compressed as a whole these are the unpacked units; of tiles the table that holds them.

        Parameters
        ----------
        units : sequence of FitsImage
            Images of one file.
        label : str
            Its name, for messages.

        Returns
        -------
        str
            See `data_sum`, of the last of these images; empty where the file cannot be read.
        """
        return self.verify_each([(units, label)])[0]

    def verify_each(self, files: Sequence[tuple[Sequence[FitsImage], str]]) -> list[str]:
        """Do the same with several files: give what `verify` is given, and get what it returns, for each."""

        def add_up_one(number: int, _: int) -> tuple[int, list[str]] | InputError:
            try:
                return _wrong_sums(files[number][0])
            except InputError as error:
                return error

        sums = []
        each = map_bands(add_up_one, row_bands([(0, len(files))], 1), self.workers)
        for (units, label), result in zip(files, each, strict=True):
            if isinstance(result, InputError):
                self.faults.take(result)
                sums.append("")
                continue
            found, words = result
            if words:
                line = f"{label}: {', '.join(words)}: damaged or changed: fetch the file again, or renew its check sums"
                if self.strict:
                    self.faults.add(FrameError, line)
                else:
                    self.warnings.append(line)
            sums.append(_identity(units[-1], found))
        return sums


def _wrong_sums(units: Sequence[FitsImage], use: Callable[[bytes], object] = len) -> tuple[int, list[str]]:
    """Add up the data of the last unit, and say of each unit what is wrong with its sums; ``use`` is given all data."""
    path, found, position = units[0].path, 0, 0
    words = []
    with Stream(path) as stream:
        if stream.fingerprint != units[0].fingerprint:
            raise changed(path)
        for hdu, begin, data, end in sorted({span for unit in units for span in unit.spans}):
            position += stream.skip(begin - position)
            header = stream.read(data - begin)
            position, found = position + len(header), 0
            while position < end and (part := stream.read(min(_CHUNK, end - position))):
                use(part)
                position += len(part)
                found = add_up(part[: len(part) // 4 * 4], found)
            if position < end:
                raise truncated(path, end, position)
            stated = {
                match[1].decode(): escape(match[2].decode("latin-1").strip())
                for match in _CARD.finditer(header)
                if match.start() % 80 == 0
            }
            of_data, of_all = stated.get("DATASUM ", ""), stated.get("CHECKSUM", "")
            if of_data and of_data != str(found):
                words.append(f"HDU {hdu} has DATASUM {of_data}, but its data add up to {found}")
            elif of_all and add_up(header, found) != _ALL_ONES:
                words.append(f"HDU {hdu} does not match its CHECKSUM" + ", but its data DATASUM" * bool(of_data))
        stream.check_end()
    return found, words
