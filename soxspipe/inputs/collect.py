"""From a list of files to a verified set of frames; only headers are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from astropy.io import fits

from ..exceptions import ErrorCollector, FrameError, InputError, MixedFramesError, SetOfFilesError, TooFewFramesError
from ..fits_files.checksums import ChecksumVerifier, file_md5
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import PixelReader, same_pixels
from ..instruments.detectors import Detector, Geometry
from ..instruments.keywords import Instrument, load_instrument
from ..text import escape, format_value
from .classify import CALIBRATIONS, DARK, PRODUCT_CATEGORY, ClassifiedFile, FrameClassifier, is_calibration_tag
from .consistency import ExposureInfo, check_agreement, common_value, conversion_factor, mode_keywords
from .set_of_files import SofEntry, list_files, parse_sof

__all__ = ["CalibrationFile", "FrameSet", "RawFrame", "SofEntry", "collect_frames", "parse_sof"]

_NAMED_LEFT_OUT = 10


@dataclass(frozen=True)
class RawFrame:
    """A raw dark.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    name : str
        Its name without the folder.
    unit : FitsImage
        Where its pixels lie.
    datasum : str
        What its data unit adds up to, as DATASUM has it; of compressed tiles as their header says, where it does.
    mjd : float
        Start of the exposure, modified Julian date.
    tag : str
        ``DARK_<ARM>``.
    where : str
        Where it was listed.
    """

    path: Path
    name: str
    unit: FitsImage = field(repr=False)
    datasum: str
    mjd: float
    tag: str
    where: str

    @property
    def header(self) -> fits.Header:
        """Its header; see `FitsImage.header`."""
        return self.unit.header


@dataclass(frozen=True)
class CalibrationFile:
    """A calibration product that goes with the darks.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    name : str
        Its name without the folder.
    category : str
        Its ``ESO PRO CATG``.
    units : mapping of str to FitsImage
        Its images by EXTNAME, in the order of the file; without one ``PRIMARY`` or ``HDU<n>``.
    datamd5 : str
        The header's DATAMD5, else the MD5 of the data of its images.
    where : str
        Where it was listed.
    """

    path: Path
    name: str
    category: str
    units: Mapping[str, FitsImage] = field(repr=False)
    datamd5: str
    where: str


@dataclass(frozen=True)
class FrameSet:
    """Frames that were verified to belong together.

    Attributes
    ----------
    darks : tuple of RawFrame
        By start and name, whatever their order in the input.
    master_bias, static_map : CalibrationFile or None
        Calibrations that were listed with them.
    instrument : Instrument
        Their instrument.
    detector : Detector
        What is known of their detector.
    arm : str
        Its arm.
    geometry : Geometry
        Where the pixels lie in a raw frame.
    binning : tuple of int
        In y and x.
    exptime_s : float
        Exposure time of the first frame, second.
    dit_s : float
        Time that the counts of a frame belong to, second: DIT, EXPTIME where there is none.
    ndit : int
        Integrations that were averaged in a frame.
    read_mode : str or None
        Read-out mode.
    conad_e_per_adu : float
        Conversion factor, electron/ADU.
    warnings : tuple of str
        Fallbacks that were taken and what looked odd, a line each.
    """

    darks: tuple[RawFrame, ...]
    master_bias: CalibrationFile | None
    static_map: CalibrationFile | None
    instrument: Instrument
    detector: Detector
    arm: str
    geometry: Geometry
    binning: tuple[int, int]
    exptime_s: float
    dit_s: float
    ndit: int
    read_mode: str | None
    conad_e_per_adu: float
    warnings: tuple[str, ...]


def collect_frames(
    input_frames: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    minimum_frames: int | Callable[[str], int] = 3,
    extra_table: str | os.PathLike[str] | None = None,
    strict_checksums: bool = False,
    workers: int = 1,
) -> FrameSet:
    """Collect the frames of a reduction and verify that they belong together.

    Parameters
    ----------
    input_frames : path-like or iterable of path-like
        A set-of-files file (its name ends in ``.sof``), a folder, or FITS files. Of a folder the raw darks are taken.
    minimum_frames : int or callable
        Fewer darks are refused; a callable is given the arm.
    extra_table : path-like, optional
        An instrument table that comes before those shipped.
    strict_checksums : bool
        Whether a file with a wrong CHECKSUM or DATASUM is refused; else it is a warning.
    workers : int
        Processes that add these sums up.

    Returns
    -------
    FrameSet
        Its files were read once, for their check sums.

    Raises
    ------
    InputError
        With all faults of the set, a line each. It is a SetOfFilesError, FrameError, MixedFramesError or
        TooFewFramesError where all faults are of that kind.
    """
    listing = list_files(input_frames)
    sorter = FrameClassifier(None if extra_table is None else load_instrument(Path(extra_table)))
    faults = ErrorCollector()
    files: list[ClassifiedFile] = []
    broken = 0
    # calibrations last: one without INSTRUME is taken for the darks' instrument, wherever its line stands
    for entry in sorted(listing.entries, key=lambda entry: is_calibration_tag(entry.tag)):
        try:
            found = sorter.sort_in_folder(entry) if listing.is_folder else sorter.sort(entry)
            files += [] if found is None else [found]
        except InputError as error:
            broken += 1
            faults.take(error)
    darks = sorted((file for file in files if file.exposure_info is not None), key=_by_time)
    left_out = _left_out(listing.source, sorter.left_out)
    count, wanted = len(darks) + broken, 1
    if not callable(minimum_frames):
        wanted = max(minimum_frames, 1)
    elif darks:
        wanted = max(minimum_frames(_facts(darks[0]).detector.arm), 1)
    if count < wanted:
        hint = f" ({left_out[0]})" if left_out else ""
        faults.add(
            TooFewFramesError,
            f"{listing.source}: {count} raw dark{'s'[: count != 1]}, expected at least {wanted}{hint}: "
            "add frames of the same kind",
        )
    sums = ChecksumVerifier(faults, strict_checksums, workers)
    if strict_checksums or not faults:  # a set that is refused anyway is refused at once
        # those of the data tell copies of an exposure
        of_data = sums.verify_each([([dark.unit], dark.entry.label) for dark in darks])
        darks = [replace(dark, checksum=one) for dark, one in zip(darks, of_data, strict=True)]
    _check_copies([*darks, *(file for file in files if file.exposure_info is None)], faults)
    calibrations = {kind: _only_one(files, kind, faults) for kind in CALIBRATIONS}
    frames = None
    if darks:
        frames = _frame_set(darks, calibrations, sorter, sums, left_out + tuple(sorter.warnings))
    faults.raise_any()
    assert frames is not None  # without a dark, or a geometry for it, there was a fault
    return frames


def _facts(file: ClassifiedFile) -> ExposureInfo:
    assert file.exposure_info is not None
    return file.exposure_info


def _by_time(file: ClassifiedFile) -> tuple[float, str, str]:
    return _facts(file).mjd, file.entry.path.name, str(file.entry.path)


def _left_out(source: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    more = f" and {len(names) - _NAMED_LEFT_OUT} more" if len(names) > _NAMED_LEFT_OUT else ""
    return (f"{source}: left out what is not a raw dark: {', '.join(names[:_NAMED_LEFT_OUT])}{more}",)


def _only_one(files: Sequence[ClassifiedFile], kind: str, faults: ErrorCollector) -> ClassifiedFile | None:
    found = [file for file in files if file.kind == kind]
    if len(found) > 1:
        labels = ", ".join(sorted(file.entry.label for file in found))
        faults.add(
            SetOfFilesError, f"{labels}: {len(found)} files for the {CALIBRATIONS[kind]}, expected 1: leave one in"
        )
    return found[0] if found else None


def _check_copies(files: Sequence[ClassifiedFile], faults: ErrorCollector) -> None:
    """Refuse a file that is listed twice, and copies of an exposure: they would pass for independent frames."""
    first: dict[Any, ClassifiedFile] = {}
    for file in files:
        twin = first.setdefault(file.unit.fingerprint[:2], file)
        if twin is not file:
            faults.add(SetOfFilesError, f"{twin.entry.label} and {file.entry.label} are the same file: list it once")
            continue
        if file.archive_name is not None:
            exposure = _facts(file).mjd, file.archive_name
            twin = first.setdefault(exposure, file)
            if twin is not file:
                faults.add(
                    SetOfFilesError,
                    f"{twin.entry.label} and {file.entry.label} are the same exposure, MJD-OBS {exposure[0]} and "
                    f"archive name {format_value(exposure[1])} are in both: leave one out",
                )
                continue
        if file.checksum:
            twin = first.setdefault((file.checksum, *file.unit.shape), file)
            if twin is not file and _have_same_pixels(twin.unit, file.unit, faults):
                faults.add(
                    SetOfFilesError,
                    f"{twin.entry.label} and {file.entry.label} hold the same pixels: leave one out",
                )


def _have_same_pixels(one: FitsImage, other: FitsImage, faults: ErrorCollector) -> bool:
    # a check sum of 32 bits can agree by chance, or be copied with a header: ask the pixels
    try:
        with PixelReader([one, other]) as reader:
            return same_pixels(reader, 0, 1)
    except InputError as error:
        faults.take(error)
        return False


def _frame_set(
    darks: Sequence[ClassifiedFile],
    calibrations: Mapping[str, ClassifiedFile | None],
    sorter: FrameClassifier,
    sums: ChecksumVerifier,
    warnings: tuple[str, ...],
) -> FrameSet | None:
    """Put the set together as its frames agree on it; None where there is no geometry for it."""
    faults = sums.faults
    alike, remarks = check_agreement([_facts(dark) for dark in darks], faults)
    instrument, detector, shape = alike[0].instrument, alike[0].detector, alike[0].shape
    values = {meaning: common_value(alike, meaning)[1] for meaning in alike[0].values}
    binning = values["biny"] or 1, values["binx"] or 1
    try:
        geometry = detector.geometry(shape, binning, alike[0].label)
    except FrameError as error:
        faults.take(error)
        return None
    products: dict[str, CalibrationFile | None] = dict.fromkeys(CALIBRATIONS)
    for kind, file in calibrations.items():
        if file is not None:
            try:
                _check_calibration(file, alike[0], values, sorter, faults)
                products[kind] = _calibration(file, geometry.product_shape, sums)
            except InputError as error:
                faults.take(error)
    factor, odd = conversion_factor(alike)
    modes = [values[keyword] for keyword in mode_keywords(instrument) if values[keyword] is not None]
    return FrameSet(
        darks=tuple(
            RawFrame(
                path=dark.entry.path,
                name=dark.entry.path.name,
                unit=dark.unit,
                datasum=dark.checksum,
                mjd=_facts(dark).mjd,
                tag=f"{DARK}_{dark.arm}",
                where=dark.entry.where,
            )
            for dark in darks
        ),
        master_bias=products["MASTER_BIAS"],
        static_map=products["BP_MAP_RP"],
        instrument=instrument,
        detector=detector,
        arm=detector.arm,
        geometry=geometry,
        binning=binning,
        exptime_s=values["exptime"],
        dit_s=values["dit"] or values["exptime"],
        ndit=values["ndit"] or 1,
        read_mode=escape(modes[0]).strip() if modes else None,
        conad_e_per_adu=factor,
        warnings=(*warnings, *remarks, *odd, *sums.warnings),
    )


def _check_calibration(
    file: ClassifiedFile, dark: ExposureInfo, values: Mapping[str, Any], sorter: FrameClassifier, faults: ErrorCollector
) -> None:
    """See that a calibration was made of the same read-out as the darks, as far as its header tells."""
    header = file.unit.header
    found: list[tuple[str, Any, Any]] = [(dark.values["arm"][0], file.arm, dark.detector.arm)]
    if header.get("INSTRUME"):
        instrument = sorter.instrument(header, file.entry.label)
        found.append(("INSTRUME", instrument.name, dark.instrument.name))
    for meaning in ("binx", "biny"):
        keyword, value = dark.instrument.find(header, meaning)
        # CDELT of a product is its step of coordinates
        if not keyword.startswith("CDELT"):
            found.append((keyword, value, values[meaning] or 1))
    if file.kind == "MASTER_BIAS":
        found += [(keyword, header.get(keyword), values[keyword]) for keyword in mode_keywords(dark.instrument)]
    for keyword, value, expected in found:
        if value is not None and expected is not None and value != expected:
            faults.add(MixedFramesError, _unfit(file, keyword, value, expected))


def _unfit(file: ClassifiedFile, keyword: str, found: Any, expected: Any) -> str:
    return (
        f"{file.entry.label}: {keyword} is {format_value(found)}, expected {format_value(expected)} as in the darks: "
        f"give a {CALIBRATIONS[file.kind]} of the same read-out, or none"
    )


def _calibration(file: ClassifiedFile, shape: tuple[int, int], sums: ChecksumVerifier) -> CalibrationFile:
    """Describe a calibration, whose images must have the shape of a product."""
    units: dict[str, FitsImage] = {}
    for unit in read_image_hdus(file.entry.path):
        name = unit.extname or ("PRIMARY" if unit.hdu == 0 else f"HDU{unit.hdu}")
        units.setdefault(name, unit)
        if unit.shape != shape:
            found, expected = (f"{nx} x {ny}" for ny, nx in (unit.shape, shape))
            sums.faults.add(MixedFramesError, _unfit(file, f"NAXIS1 x NAXIS2 of {escape(name)}", found, expected))
    if sums.strict or not sums.faults:
        sums.verify(list(units.values()), file.entry.label)
    header = file.unit.header
    return CalibrationFile(
        path=file.entry.path,
        name=file.entry.path.name,
        category=str(header.get(PRODUCT_CATEGORY) or file.entry.tag).strip(),
        units=units,
        datamd5=file_md5(list(units.values())),
        where=file.entry.where,
    )
