"""The input files of a product, found again by what its header holds."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from ..exceptions import CommandLineError, ErrorCollector, FrameError, InputError
from ..fits_files.checksums import data_sum, file_md5
from ..fits_files.images import FitsImage, read_image_hdus
from ..inputs.frame_kinds import RECIPE, numbered
from ..inputs.set_of_files import FITS_NAME, SofEntry
from ..instruments.keywords import EXAMPLES
from ..text import escape
from .headers import card_text
from .provenance import INSTRUMENT_TABLE, text_md5

__all__ = ["find_inputs"]

_COMPRESSED = re.compile(r"\.(gz|z|fz|bz2)$", re.IGNORECASE)


@dataclass(frozen=True)
class _InputRecord:
    """An input file in the header of a product: its name without the ending of a compressed file, and its sum."""

    where: str
    name: str
    category: str
    content: str

    @property
    def is_raw(self) -> bool:
        return self.where.startswith("RAW")

    def content_of(self, path: Path) -> str:
        """Return the sum of a file, as the header has it."""
        if self.is_raw:
            sums = [data_sum(image) for image in _images_of(path)]  # the frame was one of several images
            return self.content if self.content in sums else sums[0]
        if self.category == INSTRUMENT_TABLE:
            return text_md5(path)
        return file_md5(_images_of(path))


def _images_of(path: Path) -> tuple[FitsImage, ...]:
    images = read_image_hdus(path)
    if not images:
        raise FrameError(f"{escape(path)}: holds no two-dimensional image, expected NAXIS = 2: leave it out")
    return images


def _records(header: fits.Header, kinds: Sequence[str]) -> list[_InputRecord]:
    """Return the input files of some kinds in a header."""
    return [
        _InputRecord(
            keyword.removeprefix(f"{RECIPE} "),
            _COMPRESSED.sub("", str(header[f"{keyword} NAME"])),
            str(header.get(f"{keyword} CATG")),
            str(header.get(f"{keyword} {sum_keyword}")),
        )
        for kind, sum_keyword in (("RAW", "DATASUM"), ("CAL", "DATAMD5"))
        if kind in kinds
        for keyword in numbered(header, kind)
    ]


def find_inputs(
    header: fits.Header,
    path: Path,
    raw_dir: Path | None,
    *,
    kinds: Sequence[str] = ("RAW", "CAL"),
    option: str = "--raw",
) -> list[SofEntry]:
    """Find the input files of a product, by their names and contents.

    A renamed raw frame is found by its content alone, where its header has DATASUM.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the product.
    path : pathlib.Path
        The product. Its folder is searched, and the working directory.
    raw_dir : pathlib.Path or None
        A folder to search before, with its subfolders.
    kinds : sequence of str
        ``RAW`` and ``CAL``: raw frames and calibrations.
    option : str
        Option of the command line that names a folder to search, for messages.

    Returns
    -------
    list of SofEntry
        Each with its category as its tag.

    Raises
    ------
    InputError
        With a line for each file that is not found, or has other contents.
    """
    if raw_dir is not None and not raw_dir.is_dir():
        raise CommandLineError(f"{escape(raw_dir)}: is no folder, expected one that holds the input of {path.name}")
    try:
        folders = sorted(Path(folder) for folder, _, _ in os.walk(raw_dir)) if raw_dir is not None else []
        folders += [path.parent, Path(), EXAMPLES]
        files = [folder / name for folder in folders for name in sorted(os.listdir(folder))]
    except (OSError, RecursionError) as error:
        where = escape(getattr(error, "filename", None) or raw_dir)
        raise CommandLineError(f"{where}: cannot be searched ({error}): give a folder with {option}") from error
    searched = "the folders of product and work"
    if raw_dir is not None:
        searched = f"{escape(raw_dir)} or {searched}"
    by_name: dict[str, list[Path]] = {}
    for file in files:
        name = card_text(os.fsencode(file.name).decode("utf-8", "replace"))
        by_name.setdefault(_COMPRESSED.sub("", name), []).append(file)
    by_datasum: dict[str, list[Path]] = {}
    faults = ErrorCollector()
    entries: list[SofEntry] = []
    for record in _records(header, kinds):
        found, reasons = _find(record, by_name.get(record.name, []))
        if found is None and record.is_raw:
            by_datasum = by_datasum or _by_datasum(files)
            found, more_reasons = _find(record, by_datasum.get(record.content, []))
            reasons += more_reasons
        if found is not None:
            entries.append(SofEntry(found, record.category, f"{record.where} of {escape(path.name)}"))
        else:
            reason = "; ".join(dict.fromkeys(reasons)) or f"is not in {searched}"
            faults.add(FrameError, f"{record.where} {escape(record.name)}: {reason}: give its folder with {option}")
    faults.raise_any()
    return entries


def _find(record: _InputRecord, candidates: Sequence[Path]) -> tuple[Path | None, list[str]]:
    """Return the first candidate with the recorded content, and what the candidates before it are."""
    reasons: list[str] = []
    for candidate in candidates:
        try:
            content = record.content_of(candidate)
        except InputError as error:
            reasons += error.faults
            continue
        if content == record.content:
            return candidate, reasons
        reasons.append(f"{escape(candidate)} holds other data ({content}, expected {record.content})")
    return None, reasons


def _by_datasum(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return frames by the DATASUM of their headers."""
    by_datasum: dict[str, list[Path]] = {}
    for path in files:
        if FITS_NAME.fullmatch(path.name):
            with contextlib.suppress(InputError):
                for image in read_image_hdus(path):
                    by_datasum.setdefault(str(image.header.get("DATASUM")), []).append(path)
    return by_datasum
