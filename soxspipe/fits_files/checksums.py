"""Check sums of FITS files: whether a file still is as it was written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..exceptions import ErrorCollector, FrameError, InputError
from ..parallel import map_bands, row_bands
from ..text import escape
from .headers import BLOCK
from .images import FitsImage, read_image_hdus
from .streams import Stream, truncated

__all__ = ["ChecksumVerifier", "add_up", "checksum_text", "data_sum", "file_md5", "read_verified_images"]

_CHUNK = 2**18
_CARD = re.compile(rb"(CHECKSUM|DATASUM )= *'? *([^'/]*)")
#: Sum of an HDU, header and data, with a right CHECKSUM: minus zero of ones' complement.
_ALL_ONES = 2**32 - 1


def add_up(data: bytes, before: int = 0) -> int:
    """Return the sum of bytes as FITS defines it: big-endian words of 32 bits in ones' complement.

    Parameters
    ----------
    data : bytes
        Whole words.
    before : int
        Sum of the bytes before them.

    Returns
    -------
    int
        From 0 to 2^32 - 1.
    """
    total = before + int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def checksum_text(total: int) -> str:
    """Return the CHECKSUM of an HDU: with it the HDU adds up to minus zero (FITS standard 4.0, appendix J).

    Parameters
    ----------
    total : int
        Sum of the HDU while its CHECKSUM is sixteen zeros.

    Returns
    -------
    str
        Sixteen letters and digits.
    """
    columns = []
    for byte in (_ALL_ONES - total).to_bytes(4, "big"):
        quotient, remainder = divmod(byte, 4)
        letters = [ord("0") + quotient] * 4
        letters[0] += remainder
        while not bytes(letters).isalnum():
            for first in (0, 2):  # shift a pair away from punctuation, with the same sum
                if not bytes(letters[first : first + 2]).isalnum():
                    letters[first] += 1
                    letters[first + 1] -= 1
        columns.append(letters)
    text = "".join(chr(letter) for row in zip(*columns, strict=True) for letter in row)
    return text[-1] + text[:-1]


def data_sum(image: FitsImage) -> str:
    """Return the sum of the data of an image, as DATASUM has it.

    For compressed tiles it is the sum of the data before compression, where the header has that: the same data can be
    packed into tiles in many ways.

    Raises
    ------
    FrameError
        When the file is truncated or damaged, or has changed since its header was read.
    """
    return _data_identity(image, _add_up_file([image])[0])


def _data_identity(image: FitsImage, datasum: int) -> str:
    unpacked = str(image.header.get("DATASUM") or "0").strip() if image.compression == "tiles" else "0"
    return str(datasum) if unpacked == "0" else unpacked


def file_md5(images: Sequence[FitsImage]) -> str:
    """Return DATAMD5 of a calibration: that of its header, else the MD5 of the data of its images.

    Raises
    ------
    FrameError
        When the file is truncated or damaged, or has changed since its header was read.
    """
    stated = images[0].header.get("DATAMD5")
    if isinstance(stated, str) and stated.strip():
        return stated.strip()
    digest = hashlib.md5(usedforsecurity=False)
    _add_up_file(images, digest.update)
    return digest.hexdigest()


def read_verified_images(path: Path) -> tuple[FitsImage, ...]:
    """Read the headers of the images of a file whose check sums are right.

    Raises
    ------
    FrameError
        When the file cannot be read, is truncated, or a check sum is wrong.
    """
    images = read_image_hdus(path)
    faults = ErrorCollector()
    ChecksumVerifier(faults, strict=True).verify(images, escape(path))
    faults.raise_any()
    return images


class ChecksumVerifier:
    """Compares CHECKSUM and DATASUM of input files with the sums of their bytes.

    Parameters
    ----------
    faults : ErrorCollector
        Takes files that cannot be read, and wrong sums where ``strict``.
    strict : bool
        Whether a wrong sum is a fault; else it is a warning.
    workers : int
        Threads.

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

    def verify(self, images: Sequence[FitsImage], label: str) -> str:
        """Verify the HDUs of one file that hold the given images, in one pass.

        In a file that is compressed as a whole these are the unpacked HDUs, with tiles the table that holds them.

        Parameters
        ----------
        images : sequence of FitsImage
            Images of one file.
        label : str
            Its name, for messages.

        Returns
        -------
        str
            Sum of the data of the last image, see `data_sum`; empty where the file cannot be read.
        """
        return self.verify_each([(images, label)])[0]

    def verify_each(self, files: Sequence[tuple[Sequence[FitsImage], str]]) -> list[str]:
        """Verify several files: arguments and results of `verify` for each."""

        def add_up_one(number: int, _: int) -> tuple[int, list[str]] | InputError:
            try:
                return _add_up_file(files[number][0])
            except InputError as error:
                return error

        datasums = []
        results = map_bands(add_up_one, row_bands([(0, len(files))], 1), self.workers)
        for (images, label), result in zip(files, results, strict=True):
            if isinstance(result, InputError):
                self.faults.take(result)
                datasums.append("")
                continue
            datasum, wrong_sums = result
            if wrong_sums:
                remedy = "damaged or changed: fetch the file again, or renew its check sums"
                line = f"{label}: {', '.join(wrong_sums)}: {remedy}"
                if self.strict:
                    self.faults.add(FrameError, line)
                else:
                    self.warnings.append(line)
            datasums.append(_data_identity(images[-1], datasum))
        return datasums


def _add_up_file(images: Sequence[FitsImage], use: Callable[[bytes], object] = len) -> tuple[int, list[str]]:
    """Return the sum of the data of the last image, and a phrase for each wrong sum; ``use`` gets all data."""
    path, datasum, position = images[0].path, 0, 0
    wrong_sums = []
    with Stream(path, images[0].fingerprint) as stream:
        for hdu, begin, data, end in sorted({span for image in images for span in image.spans}):
            position += stream.skip(begin - position)
            header = stream.read(data - begin)
            position, datasum = position + len(header), 0
            padded = -(-end // BLOCK) * BLOCK
            while position < padded and (chunk := stream.read(min(_CHUNK, padded - position))):
                use(chunk)
                position += len(chunk)
                datasum = add_up(chunk + bytes(-len(chunk) % 4), datasum)
            if position < end:
                raise truncated(path, end, position)
            stated = {
                match[1].decode(): escape(match[2].decode("latin-1").strip())
                for match in _CARD.finditer(header)
                if match.start() % 80 == 0
            }
            stated_datasum, stated_checksum = stated.get("DATASUM ", ""), stated.get("CHECKSUM", "")
            if stated_datasum and stated_datasum != str(datasum):
                wrong_sums.append(f"HDU {hdu} has DATASUM {stated_datasum}, but its data add up to {datasum}")
            elif stated_checksum and add_up(header, datasum) != _ALL_ONES:
                data_are_right = ", but its data DATASUM" if stated_datasum else ""
                wrong_sums.append(f"HDU {hdu} does not match its CHECKSUM{data_are_right}")
        stream.check_end()
    return datasum, wrong_sums
