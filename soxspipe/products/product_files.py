"""The files of one reduction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from .atomic_files import AtomicFiles
from .fits_output import FitsBytes, complete_headers
from .headers import ProductFile, set_card

__all__ = ["Product"]

#: Endings of the names of a product's files, the main file first.
ENDINGS = (".fits", "_BPMAP.fits", "_qc.json", ".log")


class Product(AtomicFiles):
    """The files of one reduction, a context manager; see `AtomicFiles` for its errors.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder; made when it does not exist.
    stem : str
        Beginning of the names of all files.
    overwrite : bool
        Whether an older product may be replaced.
    inputs : iterable of path-like
        Files of the reduction that are never replaced.

    Attributes
    ----------
    path : pathlib.Path
        Path of the main file.
    paths : dict of str to pathlib.Path
        Paths of all files that were added, by role.
    """

    def __init__(
        self, folder: Path, stem: str, *, overwrite: bool = False, inputs: Iterable[str | PathLike[str]] = ()
    ) -> None:
        super().__init__(folder, [f"{stem}{ending}" for ending in ENDINGS], overwrite=overwrite, inputs=inputs)
        self.stem, self.path = stem, folder / self.names[0]
        self.paths: dict[str, Path] = {}

    def add(self, role: str, ending: str, content: Iterable[bytes]) -> None:
        """Write a file; see `AtomicFiles.write`."""
        self.paths[role] = self.folder / f"{self.stem}{ending}"
        self.write(self.paths[role].name, content)

    def add_fits(self, files: Sequence[ProductFile]) -> None:
        """Write FITS files; PIPEFILE, DATAMD5 and check sums are entered into their headers."""
        for file in files:
            set_card(file.hdus[0].header, "PIPEFILE", self.stem + file.ending, "name of this file")
            complete_headers(file.hdus)
            self.add(file.role, file.ending, FitsBytes(file.hdus))

    def add_text(self, role: str, ending: str, text: str) -> None:
        """Write a text file."""
        self.add(role, ending, [text.encode("utf-8", "backslashreplace")])

    def add_json(self, role: str, ending: str, document: Any) -> None:
        """Write a JSON file."""
        self.add_text(role, ending, json.dumps(document, indent=2, allow_nan=False) + "\n")
