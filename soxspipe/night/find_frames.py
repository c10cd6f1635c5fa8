"""Find the files of a night, and describe each by its header."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..exceptions import InputError
from ..fits_files.images import read_main_header
from ..inputs.classify import FrameClassifier, InputFile, LeftOut
from ..inputs.exposure import ExposureInfo
from ..inputs.frame_kinds import FrameKind, ProductKind
from ..inputs.keyword_rules import RULES
from ..inputs.set_of_files import FITS_NAME, SofEntry
from ..instruments.keywords import Instrument
from ..parallel import Progress, tracked
from ..text import escape

__all__ = ["KnownHeaders", "NightFile", "find_frames", "require_folders"]


@dataclass(frozen=True)
class NightFile:
    """A file of a night, as its header describes it.

    Attributes
    ----------
    path : str
        The file.
    kind : str
        Tag of a raw frame (``DARK``), or ``ESO PRO CATG`` without the arm of a calibration (``MASTER_BIAS``). Empty
        where the file is neither.
    reason : str
        Why the file is left out. Empty where it is not.
    instrument, arm : str
        Instrument and arm.
    mjd : float
        Start of the exposure, modified Julian date.
    values : mapping of str to object
        Values by keyword that the frames of a set must share: exposure, read-out, size.
    exposure_s : float
        Exposure time, second.
    run : str
        Start of the template (``ESO TPL START``); empty where the header has none.
    run_frames : int
        Frames of the template (``ESO TPL NEXP``); 0 where the header has none.
    archive_name : str
        Name in the archive; empty where the header has none.
    is_fault : bool
        Whether the reason is a fault of the file: it cannot be read, or is truncated.
    product : str
        Name of a product that is still to be made; empty for a file on disk.
    """

    path: str
    kind: str = ""
    reason: str = ""
    instrument: str = ""
    arm: str = ""
    mjd: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)
    exposure_s: float = 0.0
    run: str = ""
    run_frames: int = 0
    archive_name: str = ""
    is_fault: bool = False
    product: str = ""

    @property
    def name(self) -> str:
        """The name without the folder."""
        return os.path.basename(self.path)


#: Files whose headers are known, by path: the size and times of the file, and its description.
KnownHeaders = dict[str, tuple[list[int], NightFile]]


def find_frames(
    folders: Sequence[str | os.PathLike[str]],
    kinds: Sequence[FrameKind],
    user_instrument: Instrument | None = None,
    *,
    known: KnownHeaders | None = None,
    progress: Progress | None = None,
) -> list[NightFile]:
    """Find all files below some folders, and read their headers.

    Parameters
    ----------
    folders : sequence of path-like
        Folders, searched with their subfolders. A file or folder that several links lead to counts once.
    kinds : sequence of FrameKind
        Kinds of raw frames to look for. Products that they accept as calibrations are found too.
    user_instrument : Instrument, optional
        The user's instrument; it comes before the shipped ones.
    known : dict, optional
        Headers that were read before. A file of the same size and time is not read again. New ones are added.
    progress : callable, optional
        Called as ``progress(done, total)`` with numbers of files.

    Returns
    -------
    list of NightFile
        All files in the order of their paths. Files that are no frames have a reason.

    Raises
    ------
    InputError
        When a folder cannot be read; see `require_folders`.
    """
    require_folders(folders)
    known = {} if known is None else known
    reader = _HeaderReader(kinds, user_instrument)
    paths = list(_files_below(folders))
    seen: dict[tuple[int, int], str] = {}
    return _without_copies([_describe(path, reader, known, seen) for path in tracked(paths, progress)])


def require_folders(folders: Iterable[str | os.PathLike[str]]) -> None:
    """Raise InputError with a line for each path that is no folder, or a folder that cannot be read."""
    faults = []
    for folder in folders:
        try:
            os.scandir(os.path.expanduser(folder)).close()
        except OSError as error:
            faults.append(f"{escape(folder)}: cannot be read ({error.strerror}): give a folder of frames")
    if faults:
        raise InputError(faults)


def _files_below(folders: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Yield all files below folders, sorted, each folder once; hidden files and folders are passed over."""
    entered: set[tuple[int, int]] = set()

    def walk(folder: str) -> Iterator[str]:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from enter(entry.path)
            else:
                yield entry.path

    def enter(folder: str) -> Iterator[str]:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) not in entered:
            entered.add((status.st_dev, status.st_ino))
            try:
                yield from walk(folder)
            except OSError:
                yield folder  # its line says why it cannot be read

    for folder in folders:
        yield from enter(os.path.abspath(os.path.expanduser(folder)))


def _describe(path: str, reader: _HeaderReader, known: KnownHeaders, seen: dict[tuple[int, int], str]) -> NightFile:
    """Describe a file by its name, by the headers of an earlier call, or by its header."""
    if not path.isprintable():
        return NightFile(path, reason="its path holds a control character or broken unicode: rename it", is_fault=True)
    try:
        status = os.stat(path)
    except OSError as error:
        return NightFile(path, reason=f"cannot be read ({error.strerror})", is_fault=True)
    first = seen.setdefault((status.st_dev, status.st_ino), path)
    if first != path:
        return NightFile(path, reason=f"the same file as {escape(first)}")
    if os.path.isdir(path):
        return NightFile(path, reason="a folder that cannot be read: correct its permissions", is_fault=True)
    if not FITS_NAME.fullmatch(os.path.basename(path)):
        return NightFile(path, reason="not the name of a FITS file")
    state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    before, file = known.get(path, ([], NightFile(path)))
    if before != state:
        file = reader.read(path)
        known[path] = (state, file)
    return file


class _HeaderReader:
    """Reads headers of raw frames of some kinds, and of the calibrations that go with them."""

    def __init__(self, kinds: Sequence[FrameKind], user_instrument: Instrument | None) -> None:
        self._classifiers = [FrameClassifier(kind, user_instrument) for kind in kinds]
        self._products = list(dict.fromkeys(product for kind in kinds for product in kind.calibrations))

    def read(self, path: str) -> NightFile:
        """Describe a file by its header."""
        entry = SofEntry(Path(path), None, f"in {escape(os.path.dirname(path))}", in_folder=True)
        try:
            reason = ""
            for classifier in self._classifiers:
                found = classifier.classify(entry)
                if isinstance(found, InputFile):
                    return _raw_frame(path, classifier.kind, found)
                assert isinstance(found, LeftOut)
                reason = f"{found.reason}: {found.remedy}" if found.remedy else found.reason
            return self._product(path) or NightFile(path, reason=reason)
        except InputError as error:
            places = re.compile("|".join(re.escape(f"{place}: ") for place in (entry.label, escape(path))))
            reason = "; ".join(places.sub("", fault, count=1) for fault in error.faults)
            return NightFile(path, reason=reason, is_fault=True)

    def _product(self, path: str) -> NightFile | None:
        """Return a calibration; None for any other file."""
        header = read_main_header(path)
        product = next((product for product in self._products if product.matches(header)), None)
        if product is None:
            return None
        return _calibration(path, product, header, self._classifiers[0].instrument(header, os.path.basename(path)))


def _raw_frame(path: str, kind: FrameKind, file: InputFile) -> NightFile:
    exposure, header = file.exposure, file.header
    assert exposure is not None
    run_frames = header.get("ESO TPL NEXP")
    ny, nx = exposure.shape
    return NightFile(
        path,
        kind=kind.tag,
        instrument=exposure.instrument.name,
        arm=file.arm,
        mjd=exposure.mjd,
        values=_shared_values(exposure) | {"NAXIS1": nx, "NAXIS2": ny},
        exposure_s=exposure.values["exptime"][1],
        run=str(header.get("ESO TPL START") or "").strip(),
        run_frames=run_frames if isinstance(run_frames, int) else 0,
        archive_name=file.archive_name or "",
    )


def _shared_values(exposure: ExposureInfo) -> dict[str, Any]:
    """Return the values by keyword that must agree in a set; temperatures and stated noises need not."""
    free = [meaning for meaning, rule in RULES.items() if rule.tolerance and math.isinf(rule.tolerance(1.0))]
    return dict(found for meaning, found in exposure.values.items() if meaning not in free)


def _calibration(path: str, kind: ProductKind, header: Mapping[str, Any], instrument: Instrument) -> NightFile:
    found = [instrument.find(header, meaning) for meaning in instrument.keywords]
    mjd = header.get("MJD-OBS")
    return NightFile(
        path,
        kind=kind.category,
        instrument=instrument.name,
        arm=str(header["ESO PRO CATG"]).strip().rpartition("_")[2],
        mjd=float(mjd) if isinstance(mjd, (int, float)) else 0.0,
        values={keyword: value for keyword, value in found if isinstance(value, (str, int, float))},
    )


def _without_copies(files: Sequence[NightFile]) -> list[NightFile]:
    """Return the files; of several files of one exposure only the first is a frame."""
    first: dict[tuple[str, str, str, float], NightFile] = {}
    kept = []
    for file in files:
        if file.archive_name:
            twin = first.setdefault((file.archive_name, file.kind, file.arm, file.mjd), file)
            if twin is not file:
                file = replace(file, reason=f"the same exposure as {escape(twin.path)}")
        kept.append(file)
    return kept
