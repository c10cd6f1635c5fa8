"""What a product was made of: the input that its header tells of, found again."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from ..exceptions import CommandLineError, ErrorCollector, FrameError, InputError
from ..fits_files.checksums import data_sum, file_md5
from ..fits_files.images import read_first_image, read_image_hdus
from ..inputs.set_of_files import FITS_NAME, SofEntry
from ..text import escape
from .headers import card_text
from .provenance import INSTRUMENT_TABLE, text_md5

__all__ = ["RECIPE", "find_inputs", "numbered"]

#: What the keywords that tell how a product was made begin with.
RECIPE = "ESO PRO REC1"
_PACKED = re.compile(r"\.(gz|z|fz)$", re.IGNORECASE)


def numbered(header: fits.Header, kind: str) -> Iterator[str]:
    """Yield the beginnings of numbered keywords, e.g. ``ESO PRO REC1 RAW1``, as far as there are any."""
    number = 1
    while f"{RECIPE} {kind}{number} NAME" in header:
        yield f"{RECIPE} {kind}{number}"
        number += 1


@dataclass(frozen=True)
class _Wanted:
    """An input file, as the header of a product tells of it."""

    where: str
    name: str
    category: str
    content: str

    @property
    def is_raw(self) -> bool:
        return self.where.startswith("RAW")

    def content_of(self, path: Path) -> str:
        """Tell a file's content as the header does."""
        if self.is_raw:
            return data_sum(read_first_image(path))
        if self.category == INSTRUMENT_TABLE:
            return text_md5(path)
        return file_md5(read_image_hdus(path) or [read_first_image(path)])  # which refuses a file without an image


def _wanted(header: fits.Header) -> list[_Wanted]:
    """List the input files that a header names, without what packed them."""
    return [
        _Wanted(
            keyword.removeprefix(f"{RECIPE} "),
            _PACKED.sub("", str(header[f"{keyword} NAME"])),
            str(header.get(f"{keyword} CATG")),
            str(header.get(f"{keyword} {content}")),
        )
        for kind, content in (("RAW", "DATASUM"), ("CAL", "DATAMD5"))
        for keyword in numbered(header, kind)
    ]


def find_inputs(header: fits.Header, path: Path, raw_dir: Path | None) -> list[SofEntry]:
    """Find the files that a product was made of, by their names and contents.

    A raw frame that has another name now is found by its content alone, where its header tells that.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the product.
    path : pathlib.Path
        The product, beside which they may lie, as they may in the working directory.
    raw_dir : pathlib.Path or None
        A folder to look through before, with all below it.

    Returns
    -------
    list of SofEntry
        Each with its category as its tag.

    Raises
    ------
    InputError
        With a line for each that is not there, or not what it was.
    """
    if raw_dir is not None and not raw_dir.is_dir():
        raise CommandLineError(f"{escape(raw_dir)}: is no folder, expected one that holds the input of {path.name}")
    wanted = _wanted(header)
    names = {file.name for file in wanted}
    folders = sorted(Path(folder) for folder, _, _ in os.walk(raw_dir)) if raw_dir is not None else []
    places = [*folders, path.parent, Path()]
    found: dict[str, list[Path]] = {}
    for place in places:
        for entry in sorted(os.listdir(place)):
            name = _PACKED.sub("", card_text(os.fsencode(entry).decode("utf-8", "replace")))
            if name in names:
                found.setdefault(name, []).append(place / entry)
    searched = " or ".join([*[escape(raw_dir)] * (raw_dir is not None), "the folders of product and work"])
    stated: dict[str, list[Path]] = {}

    def renamed(file: _Wanted) -> Iterator[Path]:
        if file.is_raw:
            if not stated:
                stated.update(_by_content(places))
            yield from stated.get(file.content, ())

    faults = ErrorCollector()
    entries: list[SofEntry] = []
    for file in wanted:
        others: list[str] = []
        for candidate in itertools.chain(found.get(file.name, ()), renamed(file)):
            try:
                content = file.content_of(candidate)
            except InputError as error:
                others += error.faults
                continue
            if content == file.content:
                entries.append(SofEntry(candidate, file.category, f"{file.where} of {escape(path.name)}"))
                break
            others.append(f"{escape(candidate)} holds other data ({content}, expected {file.content})")
        else:
            reason = "; ".join(dict.fromkeys(others)) or f"is not in {searched}"
            faults.add(FrameError, f"{file.where} {escape(file.name)}: {reason}: give its folder with --raw")
    faults.raise_any()
    return entries


def _by_content(places: Sequence[Path]) -> dict[str, list[Path]]:
    """List frames by what their headers say that their data add up to."""
    found: dict[str, list[Path]] = {}
    for path in (
        place / entry for place in places for entry in sorted(os.listdir(place)) if FITS_NAME.fullmatch(entry)
    ):
        with contextlib.suppress(InputError):
            found.setdefault(str(read_first_image(path).header.get("DATASUM")), []).append(path)
    return found
