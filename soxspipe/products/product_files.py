"""The files of one reduction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .atomic_files import AtomicFiles
from .fits_output import complete_headers, fits_chunks
from .headers import ProductFile, set_card

__all__ = ["Product"]

#: Endings of the names of a product's files, the main file first.
ENDINGS = (".fits", "_BPMAP.fits", "_qc.json", ".log")


class Product:
    """The files of one reduction, a context manager; see `AtomicFiles`.

    Parameters
    ----------
    folder : pathlib.Path
        Output folder; made when it does not exist.
    stem : str
        Beginning of the names of all files.
    overwrite : bool
        Whether an older product may be replaced.

    Attributes
    ----------
    path : pathlib.Path
        Path of the main file.

    Raises
    ------
    InputError
        When the folder cannot be one; a ProductExistsError when a file of such a product exists and may not be
        replaced.
    ProductError
        When the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, stem: str, *, overwrite: bool = False) -> None:
        self.stem = stem
        self.path = folder / f"{stem}{ENDINGS[0]}"
        self._files = AtomicFiles(folder, [f"{stem}{ending}" for ending in ENDINGS], overwrite=overwrite)
        self._paths: dict[str, Path] = {}

    def __enter__(self) -> Product:
        self._files.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self._files.close()

    def add_fits(self, files: Sequence[ProductFile]) -> None:
        """Write FITS files; PIPEFILE, DATAMD5 and check sums are entered into their headers.

        Raises
        ------
        ProductError
            When a file cannot be written.
        """
        for file in files:
            set_card(file.hdus[0].header, "PIPEFILE", self.stem + file.ending, "name of this file")
            complete_headers(file.hdus)
            self._files.write(self._name(file.role, file.ending), fits_chunks(file.hdus))

    def add_text(self, role: str, ending: str, text: str) -> None:
        """Write a text file; raises ProductError when that fails."""
        self._files.write(self._name(role, ending), [text.encode("utf-8", "backslashreplace")])

    def add_json(self, role: str, ending: str, document: Any) -> None:
        """Write a JSON file; raises ProductError when that fails."""
        self.add_text(role, ending, json.dumps(document, indent=2, allow_nan=False) + "\n")

    def commit(self) -> dict[str, Path]:
        """Give all files their names, and return their paths by role; see `AtomicFiles.commit`."""
        self._files.commit()
        return self._paths

    def _name(self, role: str, ending: str) -> str:
        path = self.path.with_name(f"{self.stem}{ending}")
        self._paths[role] = path
        return path.name
