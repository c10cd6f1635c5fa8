"""The files of one reduction: the product and what stands beside it (report, log, QC file), with their endings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from astropy.io import fits

from ..exceptions import FrameError, InputError
from ..fits_files.checksums import read_verified_images
from ..inputs.frame_kinds import RECIPE
from ..run_log import get_logger
from .atomic_files import AtomicFiles
from .compressed import compressed_hdus
from .fits_output import FitsBytes, complete_headers
from .headers import ProductFile, set_card
from .qc_file import read_qc_file

__all__ = ["ENDINGS", "Product", "equal_product", "files_of"]

log = get_logger(__name__)

#: Endings of the names of a product's files and their roles, the main file first.
ENDINGS = {".fits": "product", "_BPMAP.fits": "bad-pixel map", "_qc.json": "qc", ".html": "report", ".log": "log"}
FITS_ROLES = ("product", "bad-pixel map")
#: Ends of text files that are complete.
LAST_WORDS = {"report": rb"</html>\s*\Z", "log": rb": written to .* in [0-9.]+ s\n\Z"}
#: Text near the beginning of each report, and of no other file.
REPORT_MARK = b'<meta name="generator" content="soxspipe report"'


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
        names = [f"{stem}{ending}" for ending in ENDINGS]
        super().__init__(folder, names, overwrite=overwrite, inputs=inputs, marks={f"{stem}.html": REPORT_MARK})
        self.stem, self.path = stem, folder / self.names[0]
        self.paths: dict[str, Path] = {}

    @property
    def written(self) -> Path:
        """The main file before the product is complete, in the folder of the files that were added."""
        return self._hidden / self.path.name

    def add(self, role: str, ending: str, content: Iterable[bytes]) -> None:
        """Write a file; see `AtomicFiles.write`."""
        self.paths[role] = self.folder / f"{self.stem}{ending}"
        self.write(self.paths[role].name, content)

    def add_fits(self, files: Sequence[ProductFile], *, compress: bool = False) -> None:
        """Write FITS files, with compressed images on demand; PIPEFILE, DATAMD5 and check sums are entered."""
        for file in files:
            set_card(file.hdus[0].header, "PIPEFILE", self.stem + file.ending, "name of this file")
            complete_headers(file.hdus)
            self.add(file.role, file.ending, FitsBytes(compressed_hdus(file.hdus) if compress else file.hdus))

    def add_text(self, role: str, ending: str, text: str) -> None:
        """Write a text file."""
        self.add(role, ending, [text.encode("utf-8", "backslashreplace")])

    def add_json(self, role: str, ending: str, document: Any) -> None:
        """Write a JSON file."""
        self.add_text(role, ending, json.dumps(document, indent=2, allow_nan=False) + "\n")


def files_of(path: Path) -> dict[str, Path]:
    """Return the files of a product that are there by their role, the main file first."""
    paths = {role: path.with_name(f"{path.stem}{ending}") for ending, role in ENDINGS.items()}
    return {role: file for role, file in paths.items() if file.exists()}


def equal_product(folder: Path, stem: str, header: fits.Header, roles: Iterable[str]) -> Path | None:
    """Return the product of a name that was made as another header says: of the same input, parameters and version.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the products.
    stem : str
        Name of the product without ending.
    header : astropy.io.fits.Header
        Header that a new product would have.
    roles : iterable of str
        Roles of the files that the recipe always makes.

    Returns
    -------
    pathlib.Path or None
        The product; None where there is none, where a file is missing or damaged, or was made in another way.
    """
    path = folder / f"{stem}.fits"
    files = files_of(path)
    if not files:
        return None
    try:
        if missing := [role for role in roles if role not in files]:
            raise FrameError(f"its {missing[0]} is missing")
        headers = [read_verified_images(files[role])[0].header for role in FITS_ROLES if role in files]
        read_qc_file(path, headers[0])
        for role, words in LAST_WORDS.items():
            if role in files and not re.search(words, files[role].read_bytes()):
                raise FrameError(f"{files[role]}: is not complete")
    except (InputError, IndexError) as error:
        log.warning("%s: is damaged, and does not count as made: %s", path, error)
        return None
    differs = any(
        older.get(keyword) != header.get(keyword)
        for older in headers
        for keyword in {*older, *header}
        if keyword.startswith(RECIPE)
    )
    return None if differs else path
