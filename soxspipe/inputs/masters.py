"""From a list of master darks to a verified set of them, and their pixels in row bands."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import ErrorCollector, FrameError, InputError, SetOfFilesError, TooFewFramesError
from ..fits_files.checksums import ChecksumVerifier
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import PixelReader
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument, instrument_for, load_instrument
from ..pixel_codes import PixelCode
from ..stacking.fit_dark_rate import SAME_EXPOSURE
from ..stacking.frame_stack import Regions
from ..text import escape, format_value
from .consistency import mode_keywords, report_inconsistent
from .set_of_files import SofEntry, list_files

__all__ = ["MasterDark", "MasterPlanes", "MasterSet", "collect_masters"]

#: What the category of a master dark begins with; its arm follows.
MASTER_DARK = "MASTER_DARK_"
CATEGORY, PEDESTAL, EXPOSURE = "ESO PRO CATG", "ESO QC PEDESTAL", "ESO QC EXPOSURE"
LEVEL_ERROR, BIAS_NOISE = "ESO QC DARK CURRENT ERR", "ESO QC BIAS NOISE"
FRAMES, CONAD = "ESO PRO DATANCOM", "ESO QC CONAD"
PLANES = ("FLUX", "ERRS", "QUAL")

_SPLIT = "leave this master out, or fit it with others like it"
_ANEW = "make the master dark anew with 'soxspipe mdark'"


@dataclass(frozen=True)
class MasterDark:
    """A master dark.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    name : str
        Its name without the folder.
    label : str
        Name and place in the input, for messages.
    units : tuple of FitsImage
        Its planes FLUX, ERRS and QUAL.
    instrument, detector : Instrument, Detector
        Where it is from.
    exposure_s : float
        Exposure that its counts belong to, second.
    level_error_e : float
        One-sigma error of its level, drifts of its frames included, electron.
    n_frames : int
        Raw frames in it.
    pedestal : str
        What was subtracted from its frames.
    begin_mjd, end_mjd : float
        Start of its first frame and end of its last, modified Julian date.
    """

    path: Path
    name: str
    label: str
    units: tuple[FitsImage, ...] = field(repr=False)
    instrument: Instrument = field(repr=False)
    detector: Detector = field(repr=False)
    exposure_s: float
    level_error_e: float
    n_frames: int
    pedestal: str
    begin_mjd: float
    end_mjd: float

    @property
    def header(self) -> fits.Header:
        """Its primary header; see `FitsImage.header`."""
        return self.units[0].header


@dataclass(frozen=True)
class MasterSet:
    """Master darks of different exposures that were verified to belong together.

    Attributes
    ----------
    masters : tuple of MasterDark
        By start and name, whatever their order in the input.
    instrument, detector : Instrument, Detector
        Where they are from.
    arm : str
        Arm of the detector.
    shape : tuple of int
        Rows and columns.
    binning : tuple of int
        Of the raw frames, in y and x.
    read_mode : str or None
        Read-out mode.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    pedestal : str
        What was subtracted from the frames of all masters.
    common_error_e : float
        Median one-sigma error of a pixel that all masters have in common, electron: that of their master bias where
        they have the same; else 0.
    warnings : tuple of str
        What was left out of a folder, and files with wrong check sums, a line each.
    """

    masters: tuple[MasterDark, ...]
    instrument: Instrument
    detector: Detector
    arm: str
    shape: tuple[int, int]
    binning: tuple[int, int]
    read_mode: str | None
    regions: Regions
    pedestal: str
    common_error_e: float
    warnings: tuple[str, ...]

    @property
    def exposure_s(self) -> NDArray[np.float64]:
        """Exposure of each master, second."""
        return np.array([master.exposure_s for master in self.masters])

    @property
    def level_error_e(self) -> NDArray[np.float64]:
        """One-sigma error of the level of each master, electron."""
        return np.array([master.level_error_e for master in self.masters])

    @property
    def n_frames(self) -> NDArray[np.int64]:
        """Raw frames in each master."""
        return np.array([master.n_frames for master in self.masters])

    @property
    def dark_current_limit_e_per_s(self) -> float | None:
        """Specified dark current of a pixel as binned, electron/s; None where there is no specification."""
        limit = self.detector.dark_current_limit_e_per_s
        return None if limit is None else limit * self.binning[0] * self.binning[1]


def collect_masters(
    input_masters: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    extra_table: str | os.PathLike[str] | None = None,
    strict_checksums: bool = False,
    workers: int = 1,
) -> MasterSet:
    """Collect master darks and verify that they are of one detector, read out and reduced alike.

    Parameters
    ----------
    input_masters : path-like or iterable of path-like
        FITS files, a set-of-files file (its name ends in ``.sof``; tag ``MASTER_DARK_<ARM>``, or none), or a folder, of
        which the master darks are taken.
    extra_table : path-like, optional
        An instrument table that comes before those shipped.
    strict_checksums : bool
        Whether a file with a wrong CHECKSUM or DATASUM is refused; else it is a warning.
    workers : int
        Processes that add these sums up.

    Returns
    -------
    MasterSet
        Its files were read once, for their check sums.

    Raises
    ------
    InputError
        With all faults of the set, a line each. It is a SetOfFilesError, FrameError, MixedFramesError or
        TooFewFramesError where all faults are of that kind.
    """
    listing = list_files(input_masters)
    extra = None if extra_table is None else load_instrument(Path(extra_table))
    faults = ErrorCollector()
    masters: list[MasterDark] = []
    left_out: list[str] = []
    broken = 0
    for entry in listing.entries:
        try:
            units = read_image_hdus(entry.path)
            if listing.is_folder and not (units and _is_master(units[0].header)):
                left_out.append(escape(entry.path.name))
                continue
            masters.append(_master(entry, units, extra))
        except InputError as error:
            broken += 1
            faults.take(error)
    masters.sort(key=lambda master: (master.begin_mjd, master.name, str(master.path)))
    if len(masters) + broken < 2:
        faults.add(
            TooFewFramesError,
            f"{listing.source}: {len(masters)} master dark{'s'[: len(masters) != 1]}, expected at least 2 of different "
            "exposures: add others",
        )
    _check_copies(masters, faults)
    alike = _check_agreement(masters, faults) if masters else []
    _check_exposures(alike, faults)
    sums = ChecksumVerifier(faults, strict_checksums, workers)
    if strict_checksums or not faults:
        sums.verify_each([(master.units, master.label) for master in masters])
    found = None
    if alike:
        try:
            warning = f"{listing.source}: left out what is no master dark: {', '.join(left_out)}"
            found = _master_set(alike, (*[warning][: len(left_out)], *sums.warnings))
        except FrameError as error:
            faults.take(error)
    faults.raise_any()
    assert found is not None  # without a master there was a fault
    return found


def _is_master(header: fits.Header) -> bool:
    return str(header.get(CATEGORY)).startswith(MASTER_DARK)


def _master(entry: SofEntry, units: Sequence[FitsImage], extra: Instrument | None) -> MasterDark:
    """Describe a listed file.

    Raises
    ------
    FrameError
        When it is no master dark, or lacks a plane or keyword.
    """
    if not units:
        raise FrameError(f"{entry.label}: holds no two-dimensional image, expected a master dark: leave it out")
    header = units[0].header
    category = header.get(CATEGORY)
    if not _is_master(header):
        raise FrameError(_no_master(entry, header))
    if entry.tag is not None and entry.tag != category:
        raise FrameError(
            f"{entry.label}: tag is '{escape(entry.tag)}', but {CATEGORY} is {format_value(category)}: correct the tag"
        )
    instrument = instrument_for(header, entry.label, extra)
    arm = str(category).removeprefix(MASTER_DARK)
    if arm not in instrument.detectors:
        known = ", ".join(MASTER_DARK + name for name in instrument.detectors)
        raise FrameError(
            f"{entry.label}: {CATEGORY} is {format_value(category)}, expected one of {known}: leave it out"
        )
    lines = []
    by_name = {unit.extname: unit for unit in reversed(units)}
    for name in PLANES:
        if name not in by_name:
            lines.append(f"{entry.label}: has no extension {name}, expected {', '.join(PLANES)}: {_ANEW}")
        elif by_name[name].shape != units[0].shape:
            found, expected = (f"{nx} x {ny}" for ny, nx in (by_name[name].shape, units[0].shape))
            lines.append(f"{entry.label}: {name} is {found} pixels, expected {expected} as FLUX: {_ANEW}")
    numbers = {keyword: _positive(header.get(keyword)) for keyword in (EXPOSURE, LEVEL_ERROR, FRAMES, "MJD-OBS")}
    pedestal = header.get(PEDESTAL)
    for keyword, usable in {**numbers, PEDESTAL: pedestal or None}.items():
        if usable is None:
            found = "missing" if header.get(keyword) is None else format_value(header[keyword])
            expected = "what was subtracted" if keyword == PEDESTAL else "a number above zero"
            lines.append(f"{entry.label}: {keyword} is {found}, expected {expected}: {_ANEW}")
    exposure_s, error_e_per_s, n_frames, mjd = numbers.values()
    if lines or exposure_s is None or error_e_per_s is None or n_frames is None or mjd is None:
        raise FrameError(lines)
    return MasterDark(
        path=entry.path,
        name=entry.path.name,
        label=entry.label,
        units=tuple(by_name[name] for name in PLANES),
        instrument=instrument,
        detector=instrument.detectors[arm],
        exposure_s=exposure_s,
        level_error_e=error_e_per_s * exposure_s,
        n_frames=int(n_frames),
        pedestal=str(pedestal),
        begin_mjd=mjd,
        end_mjd=_positive(header.get("MJD-END")) or mjd + exposure_s / 86400.0,
    )


def _no_master(entry: SofEntry, header: fits.Header) -> str:
    """Say why a file is no master dark."""
    category, frame_type = header.get(CATEGORY), header.get("ESO DPR TYPE")
    if category is None and frame_type is not None:
        found, remedy = f"ESO DPR TYPE is {format_value(frame_type)}", "reduce raw darks with 'soxspipe mdark' first"
    else:
        found, remedy = f"{CATEGORY} is {'missing' if category is None else format_value(category)}", "leave it out"
    return f"{entry.label}: {found}, expected a product with {CATEGORY} '{MASTER_DARK}<ARM>': {remedy}"


def _positive(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value) and value > 0
    return float(value) if usable else None


def _check_copies(masters: Sequence[MasterDark], faults: ErrorCollector) -> None:
    """Refuse a master that is listed twice, a copy, and two reductions of the same frames: they are not independent."""
    first: dict[Any, MasterDark] = {}
    for master in masters:
        header = master.header
        digest, raws = header.get("DATAMD5"), _raw_names(header)
        for key, words, remedy in (
            (master.units[0].fingerprint[:2], "are the same file", "list it once"),
            (digest, f"hold the same pixels, DATAMD5 {format_value(digest)} is in both", "leave one out"),
            (
                raws and (master.begin_mjd, master.exposure_s, raws),
                f"were made of the same raw frames, ESO PRO REC1 RAW1 NAME is "
                f"{format_value(raws[0]) if raws else ''} in both",
                "leave one out",
            ),
        ):
            twin = first.setdefault(key, master) if key else master
            if twin is not master:
                faults.add(SetOfFilesError, f"{twin.label} and {master.label} {words}: {remedy}")
                break


def _raw_names(header: fits.Header) -> tuple[str, ...]:
    """Names of the raw frames behind a master, in no order."""
    return tuple(sorted(str(card.value) for card in header["ESO PRO REC1 RAW* NAME"].cards))


def _check_agreement(masters: Sequence[MasterDark], faults: ErrorCollector) -> list[MasterDark]:
    """Compare read-out and reduction of the masters, and return those of the arm that most are of."""

    def check(keyword: str, values: Iterable[Any], tolerance: Callable[[float], float] | None = None) -> list[bool]:
        return report_inconsistent(masters, [(keyword, value) for value in values], tolerance, _SPLIT, faults)

    # a master of another instrument or arm differs in everything else too: that needs no line
    same = check("INSTRUME", [master.instrument.name for master in masters])
    masters = list(itertools.compress(masters, same))
    same = check(CATEGORY, [MASTER_DARK + master.detector.arm for master in masters])
    masters = list(itertools.compress(masters, same))
    check("NAXIS1 x NAXIS2", ["{1} x {0}".format(*master.units[0].shape) for master in masters])
    instrument = masters[0].instrument
    for meaning in ("chip", "binx", "biny"):
        report_inconsistent(
            masters, [instrument.find(master.header, meaning) for master in masters], None, _SPLIT, faults
        )
    for keyword in (*mode_keywords(instrument), PEDESTAL):
        check(keyword, [master.header.get(keyword) for master in masters])
    check(CONAD, [_positive(master.header.get(CONAD)) for master in masters], lambda factor: 1e-3 * factor)
    return masters


def _check_exposures(masters: Sequence[MasterDark], faults: ErrorCollector) -> None:
    if len(masters) < 2:
        return
    short, *_, long = sorted(masters, key=lambda master: master.exposure_s)
    if long.exposure_s - short.exposure_s <= SAME_EXPOSURE * long.exposure_s:
        faults.add(
            TooFewFramesError,
            f"{short.label} and {long.label}: {EXPOSURE} is {short.exposure_s:g} and {long.exposure_s:g}, expected "
            "two that differ by more than 1 %: add master darks of another exposure time",
        )


def _master_set(masters: Sequence[MasterDark], warnings: tuple[str, ...]) -> MasterSet:
    """Put the set together as its masters agree on it."""
    first = masters[0]
    instrument, detector, header = first.instrument, first.detector, first.header
    binning = (_binning(instrument, header, "biny"), _binning(instrument, header, "binx"))
    geometry = detector.geometry_of_product(first.units[0].shape, binning, first.label)
    modes = [header[keyword] for keyword in mode_keywords(instrument) if header.get(keyword) is not None]
    return MasterSet(
        masters=tuple(masters),
        instrument=instrument,
        detector=detector,
        arm=detector.arm,
        shape=first.units[0].shape,
        binning=binning,
        read_mode=escape(modes[0]).strip() if modes else None,
        regions=tuple(
            (slice(window.y0, window.y1), slice(window.x0, window.x1)) for window in geometry.product_amplifiers
        ),
        pedestal=first.pedestal,
        common_error_e=_common_error(masters),
        warnings=warnings,
    )


def _binning(instrument: Instrument, header: Mapping[str, Any], meaning: str) -> int:
    value = _positive(instrument.value(header, meaning))
    return int(value) if value is not None and value.is_integer() else 1


def _common_error(masters: Sequence[MasterDark]) -> float:
    """Error of the master bias, where all masters had the same one."""
    biases = set()
    for master in masters:
        header = master.header
        for card in header["ESO PRO REC1 CAL* CATG"].cards:
            if str(card.value).startswith("MASTER_BIAS"):
                stem = card.keyword.removesuffix("CATG")
                biases.add((header.get(f"{stem}NAME"), header.get(f"{stem}DATAMD5")))
    errors = [_positive(master.header.get(BIAS_NOISE)) for master in masters]
    known = [error for error in errors if error is not None]
    return min(known) if len(biases) == 1 and len(known) == len(masters) else 0.0


class MasterPlanes:
    """The pixels of a set of master darks, row by row; see `soxspipe.stacking.fit_dark_rate.MasterStack`.

    Saturated samples and those without data take no part. Use as a context manager.

    Parameters
    ----------
    masters : MasterSet
        A verified set.
    workers : int
        Processes that unpack compressed files.

    Attributes
    ----------
    exposure_s : ndarray, shape (masters,), second
        Exposure of each.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(self, masters: MasterSet, workers: int = 1) -> None:
        self.exposure_s = masters.exposure_s
        self.shape = masters.shape
        self._reader = PixelReader([unit for master in masters.masters for unit in master.units])
        self._reader.unpack(workers)

    def read(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Read values, errors and codes of rows ``start:stop`` of all masters; see ``MasterStack.read``."""
        rows = [self._reader.read_rows(i, start, stop) for i in range(len(self._reader))]
        values, errors, codes = (np.stack(rows[plane :: len(PLANES)]) for plane in range(len(PLANES)))
        values, errors, codes = values.astype(np.float32), errors.astype(np.float32), codes.astype(np.int32)
        values[codes & PixelCode.SATURATED.value > 0] = np.nan
        return values, errors, codes

    def close(self) -> None:
        """Close the files."""
        self._reader.close()

    def __enter__(self) -> MasterPlanes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
