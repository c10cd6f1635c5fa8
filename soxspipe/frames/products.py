"""Names, ESO headers and atomic writing of products."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import math
import os
import re
import signal
import socket
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from ..exceptions import InputError, ProductError, ProductExistsError
from ..quality.table import QCValue
from ..version import __version__
from .origin import Origin

__all__ = ["Product", "ProductFile", "add_qc", "card_text", "image_hdu", "product_header", "product_stem", "set_card"]

PIPELINE = f"soxspipe/{__version__}"
#: Keywords of the first input frame that a product keeps.
KEPT = re.compile(
    r"(ORIGIN|TELESCOP|INSTRUME|OBJECT|OBSERVER|PI-COI|RA|DEC|EQUINOX|RADESYS|LST|UTC|DATE-OBS|MJD-OBS|ARCFILE|"
    r"ESO (OBS|TPL|SEQ|GEN|ADA|(TEL|INS|DET)[0-9]?) .*)"
)
#: What the planes of a product are in ESO's dictionary: HDUCLAS2, HDUCLAS3.
CLASSES = {"FLUX": ("DATA", ""), "QUAL": ("QUALITY", "FLAG32BIT"), "ERRS": ("ERROR", "RMSE")}
#: No word of a file name is longer, whatever a header says.
LONGEST_WORD = 40
#: Longest card that fits one record.
CARD = 80
#: What follows the stem in the names of a product's files.
ENDINGS = (".fits", "_BPMAP.fits", "_qc.json", ".log")
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
#: Names that cannot be those of an output folder.
NO_FOLDER = {
    errno.EEXIST: "a file stands where the folder should be",
    errno.ENOTDIR: "a file stands where the folder should be",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "is a link that leads to itself",
}
#: Marks the list of a product's files among its temporary ones.
JOURNAL = ".journal"
#: Two threads of one process may write the same product.
_numbers = itertools.count(1)


def product_stem(origin: Origin, kind: str) -> str:
    """Return the name, without ending, that the products of a set share.

    Parameters
    ----------
    origin : Origin
        What the product is made from.
    kind : str
        What the product is, e.g. ``'MDARK'``.

    Returns
    -------
    str
        ``<UTC of first input>_<ARM>_<mode>_<kind>_<EXPTIME>S_<INSTRUME>``, without EXPTIME where it differs.
    """
    utc = MJD_EPOCH + timedelta(days=origin.begin_mjd)
    utc = (utc + timedelta(milliseconds=500)).replace(microsecond=0)
    mode = origin.read_mode or "X"
    if origin.detector.mode == "binning":
        mode = f"{origin.binning[1]}x{origin.binning[0]}"
    exposure = [] if origin.exptime_s is None else [f"{_seconds(origin.exptime_s).replace('.', '_')}S"]
    words = [f"{utc:%Y%m%dT%H%M%S}", origin.arm, mode, kind, *exposure, origin.instrument.name]
    return "_".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", word)[:LONGEST_WORD] for word in words)


def _seconds(exptime_s: float) -> str:
    """Write an exposure time with one decimal, with more only where that would change it."""
    seconds = f"{exptime_s:.1f}"
    return seconds if abs(float(seconds) - exptime_s) <= 1e-6 else f"{exptime_s:.6f}".rstrip("0")


def card_text(text: str) -> str:
    """Return a text as it stands in a header: percent-encoded where it is not ASCII."""
    return urllib.parse.quote(text, safe="".join(chr(c) for c in range(32, 127)))


def set_card(header: fits.Header, keyword: str, value: Any, comment: str = "") -> None:
    """Set a card so that it is legal whatever the value: ASCII, and a comment that fits.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Where to set it.
    keyword : str
        ``'ESO ...'`` becomes a HIERARCH card.
    value : str, int, float or bool
        Characters that are not ASCII are percent-encoded.
    comment : str
        Cut where it does not fit.
    """
    if isinstance(value, str):
        value = card_text(value)
    elif isinstance(value, np.generic):
        value = value.item()
    name = f"HIERARCH {keyword}" if keyword.startswith("ESO ") else keyword
    card = fits.Card(name, value)
    used = len(str(card).rstrip())
    if used > CARD:
        set_card(header, "LONGSTRN", "OGIP 1.0", "The OGIP long string convention may be used")
    comment = comment[: max(0, CARD - used - 3)]
    if name in header:
        header[name] = (value, comment)
    else:  # elsewhere than at the very end, each card would take time for all that are there
        header.append((name, value, comment), end=True)


def product_header(
    origin: Origin,
    recipe: str,
    category: str,
    parameters: Mapping[str, tuple[Any, Any]],
) -> fits.Header:
    """Make the primary header of a product.

    Parameters
    ----------
    origin : Origin
        What the product was made from.
    recipe : str
        Name of the recipe.
    category : str
        ``ESO PRO CATG`` of the product.
    parameters : mapping of str to (value, default)
        Parameters of the recipe.

    Returns
    -------
    astropy.io.fits.Header
    """
    header = fits.Header()
    keywords = origin.instrument.keywords
    # where the inputs differ in their exposure, that of the first says nothing of the product
    of_one = () if origin.exptime_s is not None else keywords["exptime"] + keywords["dit"] + keywords["ndit"]
    for card in origin.header.cards:
        if not KEPT.fullmatch(card.keyword) or isinstance(card.value, fits.card.Undefined) or card.keyword in of_one:
            continue
        if isinstance(card.value, float) and not math.isfinite(card.value):  # FITS has no number for it
            continue
        set_card(header, card.keyword, card.value, _ascii(card.comment))
    if origin.exptime_s is not None:
        set_card(header, "EXPTIME", origin.exptime_s, "[s] exposure time of each raw frame")
    set_card(header, "MJD-OBS", origin.begin_mjd, "start of the first frame")
    if "DATE-OBS" not in header:
        set_card(header, "DATE-OBS", _iso(origin.begin_mjd), "start of the first frame")
    set_card(header, "MJD-END", origin.end_mjd, "end of the last frame")
    set_card(header, "DATE-END", _iso(origin.end_mjd), "end of the last frame")
    set_card(header, "DATE", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] when this file was written")
    set_card(header, "ESO PRO CATG", category, "category of this product")
    set_card(header, "ESO PRO TYPE", "REDUCED", "product type")
    set_card(header, "ESO PRO TECH", origin.technique, "technique")
    set_card(header, "ESO PRO SCIENCE", False, "scientific product if T")
    set_card(header, "ESO PRO DID", "PRO-1.16", "data dictionary for PRO")
    set_card(header, "ESO PRO ANCESTOR", origin.ancestor, "first raw frame")
    set_card(header, "ESO PRO DATANCOM", len(origin.names), "number of frames combined")
    set_card(header, "ESO PRO REC1 ID", recipe, "recipe")
    set_card(header, "ESO PRO REC1 DRS ID", PIPELINE, "data reduction system")
    set_card(header, "ESO PRO REC1 PIPE ID", PIPELINE, "pipeline")
    for i, name in enumerate(origin.names, 1):
        set_card(header, f"ESO PRO REC1 RAW{i} NAME", name, "file name of input frame")
        set_card(header, f"ESO PRO REC1 RAW{i} CATG", origin.category, "category of input frame")
        if origin.datasums:
            set_card(header, f"ESO PRO REC1 RAW{i} DATASUM", origin.datasums[i - 1], "sum of its data")
    for i, file in enumerate(origin.calibrations, 1):
        set_card(header, f"ESO PRO REC1 CAL{i} NAME", file.name, "file name of calibration frame")
        set_card(header, f"ESO PRO REC1 CAL{i} CATG", file.category, "category of calibration frame")
        set_card(header, f"ESO PRO REC1 CAL{i} DATAMD5", file.datamd5, "MD5 of its data")
    for i, (name, (value, default)) in enumerate(parameters.items(), 1):
        set_card(header, f"ESO PRO REC1 PARAM{i} NAME", name, "parameter")
        set_card(header, f"ESO PRO REC1 PARAM{i} VALUE", _words(value), f"Default: {_words(default)}")
    return header


def add_qc(header: fits.Header, quality: Iterable[QCValue]) -> None:
    """Write QC values as ``ESO QC`` keywords; what was not measured is left out."""
    for qc in quality:
        if qc.value is not None:
            set_card(
                header,
                f"ESO QC {qc.name}",
                qc.value,
                f"[{qc.unit}] {qc.description}" if qc.unit else qc.description,
            )


def _words(value: Any) -> str:
    return "true" if value is True else "false" if value is False else str(value)


def _ascii(text: str) -> str:
    return "".join(character for character in text if 32 <= ord(character) < 127)


def _iso(mjd: float) -> str:
    return (MJD_EPOCH + timedelta(days=mjd)).isoformat(timespec="milliseconds").removesuffix("+00:00")


def image_hdu(name: str, data: np.ndarray[Any, Any], unit: str = "") -> fits.PrimaryHDU | fits.ImageHDU:
    """Make one plane of a product, with the keywords that say what it is.

    Parameters
    ----------
    name : str
        Its EXTNAME. FLUX becomes the primary HDU; FLUX, QUAL and ERRS name each other as ESO's dictionary has it.
    data : ndarray, shape (ny, nx)
        Its pixels.
    unit : str
        Their unit; empty for pure numbers.

    Returns
    -------
    astropy.io.fits.PrimaryHDU or ImageHDU
    """
    hdu = fits.PrimaryHDU(data) if name == "FLUX" else fits.ImageHDU(data)
    set_card(hdu.header, "EXTNAME", name)
    if unit:
        set_card(hdu.header, "BUNIT", unit, "unit of the pixels")
    if name in CLASSES:
        class2, class3 = CLASSES[name]
        set_card(hdu.header, "HDUCLASS", "ESO", "class name (ESO format)")
        set_card(hdu.header, "HDUDOC", "DICD", "document with the class description")
        set_card(hdu.header, "HDUVERS", "DICD version 6", "version of that document")
        set_card(hdu.header, "HDUCLAS1", "IMAGE", "image data format")
        set_card(hdu.header, "HDUCLAS2", class2, "what this extension is")
        if class3:
            set_card(hdu.header, "HDUCLAS3", class3, "how it is to be read")
        for keyword, other in (("SCIDATA", "FLUX"), ("ERRDATA", "ERRS"), ("QUALDATA", "QUAL")):
            if other != name:
                set_card(hdu.header, keyword, other, "name of the extension that belongs to this")
    if name == "ERRS":
        set_card(hdu.header, "UTYPE", "StdDevUncertainty", "one-sigma errors")
    return hdu


def data_md5(hdus: Iterable[fits.PrimaryHDU | fits.ImageHDU]) -> str:
    """MD5 of all data units with their padding, as ESO's DATAMD5 has it."""
    digest = hashlib.md5(usedforsecurity=False)
    for hdu in hdus:
        if hdu.data is not None:
            stored = np.ascontiguousarray(_stored(hdu))
            digest.update(stored.data)
            digest.update(bytes(-stored.nbytes % 2880))
    return digest.hexdigest()


def _stored(hdu: fits.PrimaryHDU | fits.ImageHDU) -> np.ndarray[Any, Any]:
    """Return the pixels as they stand in the file: big-endian, unsigned integers shifted."""
    data: np.ndarray[Any, Any] = hdu.data
    if data.dtype.kind == "u" and data.dtype.itemsize > 1:
        half = 1 << (8 * data.dtype.itemsize - 1)
        signed = (data ^ data.dtype.type(half)).view(f"i{data.dtype.itemsize}")
        return signed.astype(signed.dtype.newbyteorder(">"))
    return data.astype(data.dtype.newbyteorder(">"), copy=False)


@dataclass(frozen=True)
class ProductFile:
    """One FITS file of a product.

    Attributes
    ----------
    role : str
        What it is to the product, e.g. ``'bad-pixel map'``.
    ending : str
        What follows the product's stem in its name.
    category : str
        ``ESO PRO CATG`` without the arm.
    hdus : astropy.io.fits.HDUList
        Its contents, without provenance.
    """

    role: str
    ending: str
    category: str
    hdus: fits.HDUList


class Product:
    """The files of one reduction, written whole or not at all.

    Every file is written under a temporary name in the same folder and synced. Then, with the folder locked
    and signals waiting, all are renamed, the main one last: whoever sees it sees the others. A journal of these
    renames lets the next run finish them should this one die over them. Of two runs that write the same product one
    wins whole.

    Parameters
    ----------
    folder : pathlib.Path
        Where to write; made when it does not exist.
    stem : str
        Name that the files share.
    overwrite : bool
        Whether an older product may be replaced.

    Raises
    ------
    InputError
        When the folder cannot be one; a ProductExistsError when a file of such a product is there already and may not
        be overwritten.
    ProductError
        When the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, stem: str, *, overwrite: bool = False) -> None:
        self.folder = folder
        self.stem = stem
        self.overwrite = overwrite
        self._writer = f"{socket.gethostname()}.{os.getpid()}-{next(_numbers)}"
        self._waiting: dict[str, str] = {}
        self.path = folder / f"{stem}.fits"
        self._made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        with self._faults():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                if error.errno not in NO_FOLDER:
                    raise
                raise InputError(f"{folder}: {NO_FOLDER[error.errno]}: choose another output folder") from error
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "read-only folder", str(folder))
            with _locked(folder) as (descriptor, alone):
                self._tidy(descriptor, alone)
            for made in self._made:
                with contextlib.suppress(OSError), _locked(made.parent) as (descriptor, _):
                    _sync(descriptor)
        for path in (folder / f"{stem}{ending}" for ending in ENDINGS):
            if path.is_dir():
                raise ProductExistsError(f"{path}: is a folder, expected room for a file: choose another output folder")
            if os.path.lexists(path) and not overwrite:
                raise ProductExistsError(
                    f"{path}: the product exists already and was left alone: choose another folder, or --overwrite"
                )

    def add_fits(self, role: str, ending: str, hdus: fits.HDUList) -> None:
        """Write a FITS file with checksums under its temporary name.

        Parameters
        ----------
        role : str
            What the file is to this product, e.g. ``'master dark'``.
        ending : str
            What follows the stem in its name.
        hdus : astropy.io.fits.HDUList
            Its contents; DATAMD5 and PIPEFILE are set here.
        """
        set_card(hdus[0].header, "PIPEFILE", self.stem + ending, "name of this file")
        set_card(hdus[0].header, "DATAMD5", data_md5(hdus), "MD5 of all data units")
        with self._new_file(role, ending) as file:
            hdus.writeto(file, checksum=True, output_verify="exception")

    def add_text(self, role: str, ending: str, text: str) -> None:
        """Write a text file under its temporary name; see `add_fits`."""
        with self._new_file(role, ending) as file:
            file.write(text.encode("utf-8", "backslashreplace"))

    def add_json(self, role: str, ending: str, document: Any) -> None:
        """Write a JSON file under its temporary name; see `add_fits`."""
        self.add_text(role, ending, json.dumps(document, indent=2, allow_nan=False) + "\n")

    def commit(self) -> dict[str, Path]:
        """Give all files their names, the main one last, and return them by role.

        Raises
        ------
        ProductError
            When another run wrote the product in the meantime, or the folder fails.
        """
        files = {role: self.folder / name for role, name in self._waiting.items()}
        with self._faults(), _locked(self.folder) as (folder, alone), _uninterrupted():
            self._tidy(folder, alone)
            old = {path.name for path in files.values() if os.path.lexists(path)}
            if old and not self.overwrite:
                raise ProductError(f"{self.path}: another run wrote this product in the meantime; it was left alone")
            self._rename(old, folder)
        return files

    def __enter__(self) -> Product:
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._waiting.values():
            with contextlib.suppress(OSError):
                self._temporary(name).unlink()
        for folder in self._made:  # those made for this product, while they are empty
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _temporary(self, name: str, writer: str = "") -> Path:
        return self.folder / f".{name}.{writer or self._writer}.tmp"

    @contextlib.contextmanager
    def _new_file(self, role: str, ending: str) -> Iterator[Any]:
        self._waiting[role] = self.stem + ending
        with self._faults(), self._temporary(self.stem + ending).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def _rename(self, old: set[str], folder: int) -> None:
        """Rename the temporary files, with a journal; some replace those in ``old``."""
        journal = self._temporary(self.stem + JOURNAL)
        # a new name needs room in the folder: where there is none, no older file has been touched yet
        names = sorted(self._waiting.values(), key=lambda name: (name == self.path.name, name in old))
        try:
            with journal.open("w", encoding="utf-8") as file:
                json.dump(names, file)
                file.flush()
                os.fsync(file.fileno())
            _sync(folder)
        except OSError:
            journal.unlink(missing_ok=True)
            raise
        # from here on the journal answers for the temporary files
        waiting, self._waiting = self._waiting, {}
        renamed = []
        try:
            for name in names:
                self._temporary(name).replace(self.folder / name)
                renamed.append(name)
            _sync(folder)
        except OSError as error:
            try:
                if not old.isdisjoint(renamed):
                    raise
                for name in reversed(renamed):
                    (self.folder / name).replace(self._temporary(name))
                journal.unlink()
            except OSError:
                state = "the product is incomplete: the next run into this folder finishes it"
                raise self._fault(error, state) from error
            self._waiting = waiting
            raise
        with contextlib.suppress(OSError):  # a journal of renames that are done does nothing
            journal.unlink()

    def _tidy(self, folder: int, alone: bool) -> None:
        """Finish the renames of runs that died over them, and remove the temporary files of other dead runs.

        A journal belongs to a dead run where nobody else can hold the lock, else where its process is gone. One that is
        not whole was never acted upon.
        """
        unfinished = set()
        for journal in self.folder.glob(f".*{JOURNAL}.*.tmp"):
            stem, _, writer = journal.name.removeprefix(".").removesuffix(".tmp").rpartition(f"{JOURNAL}.")
            if not alone and not _is_dead(writer):
                continue
            try:
                for name in _names_in(journal, stem):
                    with contextlib.suppress(FileNotFoundError):  # it had been renamed
                        self._temporary(name, writer).replace(self.folder / name)
                _sync(folder)
                journal.unlink()
            except OSError:
                if stem == self.stem:  # finished later, it would undo what this run writes
                    raise
                unfinished.add(writer)
        pattern = re.compile(rf"\..*\.({re.escape(socket.gethostname())}\.\d+-\d+)\.tmp")
        for path in self.folder.glob(".*.tmp"):
            match = pattern.fullmatch(path.name)
            if match and match[1] not in unfinished and _is_dead(match[1]):
                with contextlib.suppress(OSError):  # what cannot be removed is in nobody's way
                    path.unlink()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn what the file system says into one line."""
        try:
            yield
        except OSError as error:
            raise self._fault(error, "nothing was written; choose another output folder") from error

    def _fault(self, error: OSError, state: str) -> ProductError:
        reason = {
            errno.ENOSPC: "no space left on the device",
            errno.EDQUOT: "the disk quota is used up",
            errno.EACCES: "no permission to write there",
            errno.EROFS: "the file system is read-only",
            errno.EFBIG: "no file may be that large here",
        }.get(error.errno or 0, error.strerror or str(error))
        if error.errno is None and "space" in reason:  # astropy asks the disk itself and says it in its own words
            reason = "no space left on the device"
        elif error.errno is None and " requested and " in reason:  # numpy, which does not say why
            reason = "a file could be written in part only (disk, quota or size limit)"
        return ProductError(f"{self.folder}: {reason}: {state}")


def _names_in(journal: Path, stem: str) -> list[str]:
    """Return the names in a journal; none where it is not whole, or no journal of ours."""
    if not journal.is_file():
        return []
    try:
        names = json.loads(journal.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return []
    ours = isinstance(names, list) and all(
        isinstance(name, str) and name.startswith(stem) and name.isprintable() and "/" not in name for name in names
    )
    return names if ours else []


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals wait for as long as it takes to rename some files."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[tuple[int, bool]]:
    """Open a folder and lock it against other runs, and tell whether that is so: not all file systems have locks."""
    folder = os.open(path, os.O_RDONLY)
    try:
        alone = True
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError:
            alone = False
        yield folder, alone
    finally:
        os.close(folder)


def _sync(folder: int) -> None:
    """Bring the names in a folder to the disk, as far as its file system can."""
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _is_dead(writer: str) -> bool:
    """Tell whether a writer of temporary files was a process of this machine that is gone."""
    match = re.fullmatch(rf"{re.escape(socket.gethostname())}\.(\d+)-\d+", writer)
    return match is not None and not _alive(int(match[1]))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:
        return False
    return True
