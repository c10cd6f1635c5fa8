"""Sets of master darks of different exposures that were verified to belong together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import FrameError, TooFewFramesError
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import PixelReader
from ..fits_files.streams import Closing
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument, instrument_for
from ..pixel_codes import PixelCode
from ..stacking.frame_stack import Regions
from ..stacking.master_stack import SAME_EXPOSURE
from ..stacking.robust import student_factor
from ..text import escape, format_value
from .classify import LeftOut, Member
from .collect import InputFiles, InputSet, SetCollector, UniqueKey
from .consistency import check_agreement, common_value
from .exposure import read_mode_of, setting_keywords
from .frame_kinds import MASTER_DARK, PRODUCT_CATEGORY, ProductKind, recorded_bias
from .keyword_rules import RULES, read_number
from .prepare import usable_samples
from .set_of_files import SofEntry

__all__ = ["MasterDark", "MasterPlanes", "MasterSet", "collect_masters", "detector_of"]

PEDESTAL, EXPOSURE = "ESO QC PEDESTAL", "ESO QC EXPOSURE"
LEVEL_ERROR, BIAS_NOISE = "ESO QC LEVEL ERR", "ESO QC BIAS NOISE"
N_FRAMES, CONAD = "ESO PRO DATANCOM", "ESO QC CONAD"
#: Planes of a master dark that are read.
PLANES = ("FLUX", "ERRS", "QUAL")

_SPLIT = "leave this master out, or fit it in a separate run"
_REMAKE = "make the master dark again with 'soxspipe mdark'"


@dataclass(frozen=True, kw_only=True)
class MasterDark(Member):
    """A master dark with its planes FLUX, ERRS and QUAL.

    Attributes
    ----------
    instrument, detector : Instrument, Detector
        Its instrument and detector.
    exposure_s : float
        Exposure of its counts, second.
    level_error_e : float
        Standard error of its level with the drifts of its frames, electron.
    n_frames : int
        Raw frames in it.
    pedestal : str
        Level that was subtracted from its frames.
    end_mjd : float
        End of its last frame, modified Julian date; ``mjd`` is the start of its first.
    values : mapping of str to (str, object)
        Keyword and value, by meaning, of instrument, read-out and reduction.
    """

    instrument: Instrument = field(repr=False)
    detector: Detector = field(repr=False)
    exposure_s: float
    level_error_e: float
    n_frames: int
    pedestal: str
    end_mjd: float
    values: Mapping[str, tuple[str, Any]] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class MasterSet(InputSet):
    """Master darks of different exposures that were verified to belong together.

    Attributes
    ----------
    masters : tuple of MasterDark
        Sorted by start and name.
    shape : tuple of int
        Rows and columns.
    regions : tuple of (slice, slice)
        Rows and columns of each read-out amplifier.
    pedestal : str
        Level that was subtracted from the raw frames.
    common_error_e : float
        Error of a master bias that all masters share, electron; 0 where there is none.
    """

    masters: tuple[MasterDark, ...]
    shape: tuple[int, int]
    regions: Regions
    pedestal: str
    common_error_e: float

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


class MasterPlanes(Closing):
    """Pixels of a set of master darks in bands of rows; see `soxspipe.stacking.fit_dark_rate.MasterStack`.

    Saturated samples are NaN, as are those without a usable value and error. Use it as a context manager.

    Parameters
    ----------
    masters : MasterSet
        A verified set.
    workers : int
        Threads that unpack compressed files.

    Attributes
    ----------
    names : tuple of str
        Names of the files.
    exposure_s : ndarray, shape (masters,), second
        Exposure of each.
    shape : tuple of int
        Rows and columns.
    """

    def __init__(self, masters: MasterSet, workers: int = 1) -> None:
        self.names = tuple(master.name for master in masters.masters)
        self.exposure_s = masters.exposure_s
        self.shape = masters.shape
        self._reader = PixelReader([image for master in masters.masters for image in master.images])
        self._reader.unpack(workers)

    def read(self, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
        """Read values, errors and codes of rows ``start:stop`` of all masters; see ``MasterStack.read``."""
        rows = [self._reader.read_rows(i, start, stop) for i in range(len(self._reader))]
        values, errors, codes = (np.stack(rows[plane :: len(PLANES)]) for plane in range(len(PLANES)))
        values, errors, codes = values.astype(np.float32), errors.astype(np.float32), codes.astype(np.int32)
        values[~usable_samples(values, errors) | (codes & PixelCode.SATURATED.value > 0)] = np.nan
        return values, errors, codes

    def close(self) -> None:
        """Close the files."""
        self._reader.close()


def collect_masters(input_masters: InputFiles, **options: Any) -> MasterSet:
    """Collect master darks with the same detector, read-out and reduction, and verify them.

    Parameters
    ----------
    input_masters : path-like or iterable of path-like
        A set-of-files file (its name ends in ``.sof``; tag ``MASTER_DARK_<ARM>``, or none) or a folder, FITS files, or
        both. From a folder: its master darks.
    **options
        See `SetCollector`.

    Returns
    -------
    MasterSet

    Raises
    ------
    InputError
        See `SetCollector.collect`.
    """
    return _MasterCollector(MASTER_DARK.noun, f"{MASTER_DARK.noun}s", **options).collect(input_masters)


class _MasterCollector(SetCollector[MasterDark, MasterSet]):
    """Collects master darks of different exposures."""

    requirement, addition = " of different exposures", "others"

    def classify(self, entry: SofEntry) -> MasterDark | LeftOut:
        """Describe a master dark."""
        images = read_image_hdus(entry.path)
        if entry.in_folder and not (images and MASTER_DARK.matches(images[0].header)):
            category = images[0].header.get(PRODUCT_CATEGORY) if images else "no image"
            return LeftOut(entry, escape(category) if category else f"no {PRODUCT_CATEGORY}")
        return _read_master(entry, images, self.user_instrument)

    def minimum_frames(self, frames: Sequence[MasterDark]) -> int:
        """Return 2, the fewest points that define a line."""
        return 2

    def unique_keys(self, member: MasterDark) -> Iterable[UniqueKey[MasterDark]]:
        """Yield file, pixels and raw frames: two reductions of the same frames are not independent."""
        yield UniqueKey(member.images[0].fingerprint[:2], "are the same file", "list it once")
        header = member.header
        if digest := header.get("DATAMD5"):
            yield UniqueKey(digest, f"hold the same pixels, DATAMD5 {format_value(digest)} is in both", "leave one out")
        if raw_names := tuple(sorted(str(card.value) for card in header["ESO PRO REC1 RAW* NAME"].cards)):
            both = f"ESO PRO REC1 RAW1 NAME is {format_value(raw_names[0])} in both"
            key = member.mjd, member.exposure_s, raw_names
            yield UniqueKey(key, f"were made of the same raw frames, {both}", "leave one out")

    def build(self, frames: Sequence[MasterDark], calibrations: Sequence[MasterDark]) -> MasterSet | None:
        """Build the set of the values that its masters have in common; None where there is no geometry for it."""
        agreeing = check_agreement(frames, self.errors, _SPLIT)
        self._check_exposures(agreeing)
        first = agreeing[0]
        instrument, header = first.instrument, first.header
        binning = common_value(agreeing, "biny")[1] or 1, common_value(agreeing, "binx")[1] or 1
        try:
            geometry = first.detector.geometry_of_product(first.shape, binning, first.label)
        except FrameError as error:
            self.errors.take(error)
            return None
        return MasterSet(
            masters=tuple(agreeing),
            instrument=instrument,
            detector=first.detector,
            shape=first.shape,
            binning=binning,
            read_mode=read_mode_of(instrument, header),
            regions=tuple(window.slices for window in geometry.product_amplifiers),
            pedestal=first.pedestal,
            common_error_e=_common_error(agreeing),
            warnings=(*self.warnings, *self.checksums.warnings),
        )

    def _check_exposures(self, masters: Sequence[MasterDark]) -> None:
        """Report masters whose exposures are all the same."""
        if len(masters) < 2:
            return
        short, *_, long = sorted(masters, key=lambda master: master.exposure_s)
        if long.exposure_s - short.exposure_s <= SAME_EXPOSURE * long.exposure_s:
            self.errors.add(
                TooFewFramesError,
                f"{short.label} and {long.label}: {EXPOSURE} is {short.exposure_s:g} and {long.exposure_s:g}, expected "
                "two that differ by more than 1 %: add master darks of another exposure time",
            )


def _read_master(entry: SofEntry, images: Sequence[FitsImage], user_instrument: Instrument | None) -> MasterDark:
    """Describe a listed file. Raises FrameError when it is no master dark, or lacks a plane or keyword."""
    if not images:
        raise FrameError(f"{entry.label}: holds no two-dimensional image, expected a master dark: leave it out")
    header = images[0].header
    category = header.get(PRODUCT_CATEGORY)
    if not MASTER_DARK.matches(header):
        raise FrameError(_not_a_master(entry, header))
    if entry.tag is not None and entry.tag != category:
        raise FrameError(
            f"{entry.label}: tag is '{escape(entry.tag)}', but {PRODUCT_CATEGORY} is {format_value(category)}: "
            "correct the tag"
        )
    instrument, detector = detector_of(header, MASTER_DARK, entry.label, user_instrument)
    planes = {image.extname: image for image in reversed(images)}
    lines = list(_unusable_planes(entry, planes, images[0].shape))
    numbers = {keyword: read_number(header.get(keyword)) for keyword in (EXPOSURE, LEVEL_ERROR, N_FRAMES, "MJD-OBS")}
    pedestal = header.get(PEDESTAL)
    for keyword, usable in {**numbers, PEDESTAL: pedestal or None}.items():
        if usable is None:
            found = "missing" if header.get(keyword) is None else format_value(header[keyword])
            expected = "the subtracted level" if keyword == PEDESTAL else "a number above zero"
            lines.append(f"{entry.label}: {keyword} is {found}, expected {expected}: {_REMAKE}")
    exposure_s, level_error_e, n_frames, mjd = numbers.values()
    if lines or exposure_s is None or level_error_e is None or n_frames is None or mjd is None:
        raise FrameError(lines)
    return MasterDark(
        entry=entry,
        images=tuple(planes[name] for name in PLANES),
        instrument=instrument,
        detector=detector,
        exposure_s=exposure_s,
        level_error_e=level_error_e / student_factor(max(int(n_frames) - 1, 1)),
        n_frames=int(n_frames),
        pedestal=str(pedestal),
        mjd=mjd,
        end_mjd=read_number(header.get("MJD-END")) or mjd + exposure_s / 86400.0,
        values={
            "instrument": ("INSTRUME", instrument.name),
            "arm": (PRODUCT_CATEGORY, category),
            "conad": (CONAD, read_number(header.get(CONAD))),
            **{meaning: _read(header, instrument, meaning) for meaning in ("chip", "binx", "biny")},
            **{keyword: (keyword, header.get(keyword)) for keyword in (*setting_keywords(instrument), PEDESTAL)},
        },
    )


def detector_of(
    header: Mapping[str, Any], kind: ProductKind, label: str, user_instrument: Instrument | None
) -> tuple[Instrument, Detector]:
    """Return instrument and detector of a product of a kind; raises FrameError where they are not known."""
    instrument, category = instrument_for(header, label, user_instrument), header.get(PRODUCT_CATEGORY)
    arm = str(category).strip().removeprefix(f"{kind.category}_")
    if arm not in instrument.detectors:
        known = ", ".join(f"{kind.category}_{name}" for name in instrument.detectors)
        raise FrameError(
            f"{label}: {PRODUCT_CATEGORY} is {format_value(category)}, expected one of {known}: leave it out"
        )
    return instrument, instrument.detectors[arm]


def _read(header: Mapping[str, Any], instrument: Instrument, meaning: str) -> tuple[str, Any]:
    keyword, value = instrument.find(header, meaning)
    return keyword, RULES[meaning].read(value)


def _unusable_planes(entry: SofEntry, planes: Mapping[str, FitsImage], shape: tuple[int, int]) -> Iterable[str]:
    """Yield a line for each plane that is missing or of another size than FLUX."""
    for name in PLANES:
        if name not in planes:
            yield f"{entry.label}: has no extension {name}, expected {', '.join(PLANES)}: {_REMAKE}"
        elif planes[name].shape != shape:
            found, expected = (f"{nx} x {ny}" for ny, nx in (planes[name].shape, shape))
            yield f"{entry.label}: {name} is {found} pixels, expected {expected} as FLUX: {_REMAKE}"


def _not_a_master(entry: SofEntry, header: fits.Header) -> str:
    """Return the message for a file that is no master dark."""
    category, frame_type = header.get(PRODUCT_CATEGORY), header.get("ESO DPR TYPE")
    found = f"{PRODUCT_CATEGORY} is {'missing' if category is None else format_value(category)}"
    remedy = None
    if category is None and frame_type is not None:
        found, remedy = f"ESO DPR TYPE is {format_value(frame_type)}", MASTER_DARK.remedy(frame_type)
    expected = f"a product with {PRODUCT_CATEGORY} '{MASTER_DARK.category}_<ARM>'"
    return f"{entry.label}: {found}, expected {expected}: {remedy or 'leave it out'}"


def _common_error(masters: Sequence[MasterDark]) -> float:
    """Return the error of the master bias where all masters had the same one, electron; else 0."""
    records = (recorded_bias(master.header) for master in masters)
    biases = {(record["NAME"], record["DATAMD5"]) for record in records if record is not None}
    errors = [read_number(master.header.get(BIAS_NOISE)) for master in masters]
    known = [error for error in errors if error is not None]
    return min(known) if len(biases) == 1 and len(known) == len(masters) else 0.0
