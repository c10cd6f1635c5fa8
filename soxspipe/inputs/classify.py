"""What each file of a list is: by its tag, its header, and both in agreement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from astropy.io import fits

from ..exceptions import FrameError, SetOfFilesError
from ..fits_files.images import FitsImage, read_first_image, read_image_hdus
from ..instruments.keywords import Instrument, instrument_for
from ..text import escape, format_value
from .consistency import ExposureInfo, exposure_info
from .set_of_files import SofEntry

__all__ = ["CALIBRATIONS", "DARK", "PRODUCT_CATEGORY", "ClassifiedFile", "FrameClassifier"]

DARK = "DARK"
#: Calibrations that may stand among the darks, each once; the arm follows in tag and category.
CALIBRATIONS = {"MASTER_BIAS": "master bias", "BP_MAP_RP": "static bad-pixel map"}
PRODUCT_CATEGORY = "ESO PRO CATG"
FRAME_TYPE = "ESO DPR TYPE"
_LAYOUT = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BSCALE", "BZERO", "BLANK")


@dataclass(frozen=True)
class ClassifiedFile:
    """A file of known kind.

    Attributes
    ----------
    entry : SofEntry
        Path and place.
    unit : FitsImage
        Its first image.
    kind : str
        ``'DARK'``, or a key of `CALIBRATIONS`.
    arm : str
        Its arm.
    read_out : ReadOut or None
        Of a raw dark, what its header says.
    archive_name : str or None
        Of a raw dark, its name in the archive.
    checksum : str
        DATASUM of its pixels; empty where there is none.
    """

    entry: SofEntry
    unit: FitsImage
    kind: str
    arm: str
    exposure_info: ExposureInfo | None
    archive_name: str | None
    checksum: str


class FrameClassifier:
    """Looks at the header of each file once.

    Parameters
    ----------
    extra : Instrument or None
        An instrument that comes before those shipped.

    Attributes
    ----------
    left_out : list of str
        Files of a folder that are no raw darks, and why.
    warnings : list of str
        What was taken for granted.
    """

    def __init__(self, extra: Instrument | None) -> None:
        self._extra = extra
        self._instruments: dict[str, Instrument] = {}
        self.left_out: list[str] = []
        self.warnings: list[str] = []

    def instrument(self, header: fits.Header, label: str) -> Instrument:
        """Find the instrument of a header. Raises FrameError."""
        name = str(header.get("INSTRUME"))
        if name not in self._instruments:
            self._instruments[name] = instrument_for(header, label, self._extra)
        return self._instruments[name]

    def sort(self, entry: SofEntry) -> ClassifiedFile:
        """Tell what a listed file is.

        Raises
        ------
        InputError
            When it cannot be read, is neither a raw dark nor a calibration for one, lacks a keyword, or is not what
            its tag says.
        """
        return self._sort(entry, read_first_image(entry.path))

    def sort_in_folder(self, entry: SofEntry) -> ClassifiedFile | None:
        """Tell whether a file that just lies in a folder is a raw dark: None, and a note, where it is something else.

        Raises
        ------
        InputError
            As `sort`: what cannot be read might be a dark.
        """
        is_folder = entry.path.is_dir()
        units = () if is_folder else read_image_hdus(entry.path, limit=1)
        reason = "a folder" if is_folder else "no image"
        if units:
            header = units[0].header
            product, frame_type = header.get(PRODUCT_CATEGORY), header.get(FRAME_TYPE)
            if product is None and _is_dark(frame_type):
                return self._sort(entry, units[0])
            reason = f"no {FRAME_TYPE}" if (product or frame_type) is None else escape(product or frame_type)
        self.left_out.append(f"{escape(entry.path.name)} ({reason})")
        return None

    def _sort(self, entry: SofEntry, unit: FitsImage) -> ClassifiedFile:
        header = unit.header
        if is_calibration_tag(entry.tag) and not header.get("INSTRUME") and self._instruments:
            # a map drawn by hand has few keywords: it is listed for these darks
            instrument = next(iter(self._instruments.values()))
            self.warnings.append(f"{entry.label}: INSTRUME is missing: taken as '{instrument.name}'")
        else:
            instrument = self.instrument(header, entry.label)
        kind, arm = _kind_and_arm(entry, header, instrument)
        if kind != DARK:
            if header.get(PRODUCT_CATEGORY) is None:
                self.warnings.append(f"{entry.label}: {PRODUCT_CATEGORY} is missing: taken as '{entry.tag}'")
            return ClassifiedFile(entry, unit, kind, arm, None, None, "")
        _refuse_contradictions(header, instrument, entry.label)
        archive_name = instrument.value(header, "archive_name")
        checksum = str(header.get("DATASUM") or "0").strip()
        return ClassifiedFile(
            entry=entry,
            unit=unit,
            kind=kind,
            arm=arm,
            exposure_info=exposure_info(header, entry.label, instrument, unit.shape),
            archive_name=None if archive_name is None else str(archive_name),
            checksum="" if checksum == "0" else checksum,
        )


def _refuse_contradictions(header: fits.Header, instrument: Instrument, label: str) -> None:
    """Refuse a header that says two things of what decides a reduction: which of them is meant, nobody can tell."""
    lines = []
    counts = Counter(iter(header))  # one look at all cards costs less than one for each keyword
    for keyword in ("INSTRUME", *_LAYOUT, *(keyword for names in instrument.keywords.values() for keyword in names)):
        if counts[keyword] < 2:
            continue
        values = list(dict.fromkeys(format_value(header[keyword, number]) for number in range(counts[keyword])))
        if len(values) > 1:
            lines.append(
                f"{label}: {keyword} is {values[0]} and {values[1]}, expected one value: leave this frame out, or "
                "repair its header"
            )
    if lines:
        raise FrameError(lines)


def is_calibration_tag(tag: str | None) -> bool:
    """Tell whether a tag is one of a calibration, of whatever arm."""
    return tag is not None and tag.rpartition("_")[0] in CALIBRATIONS


def _is_dark(frame_type: Any) -> bool:
    return DARK in (word.strip() for word in str(frame_type).split(","))


def _kind_and_arm(entry: SofEntry, header: fits.Header, instrument: Instrument) -> tuple[str, str]:
    """Kind and arm of a file by its tag, or its header where it has none; raises InputError where they differ."""
    arm_keyword, arm = instrument.find(header, "arm")
    type_keyword, frame_type = instrument.find(header, "type")
    product = None if header.get(PRODUCT_CATEGORY) is None else str(header[PRODUCT_CATEGORY]).strip()
    kinds: dict[str, tuple[str, str | None]] = {DARK: (DARK, None)}
    kinds |= {f"{kind}_{name}": (kind, name) for kind in (DARK, *CALIBRATIONS) for name in instrument.detectors}
    if entry.tag is not None and entry.tag not in kinds:
        raise SetOfFilesError(
            f"{entry.label}: tag is '{escape(entry.tag)}', expected one of {', '.join(kinds)}: correct it"
        )
    meant = entry.tag or (product if product in kinds and is_calibration_tag(product) else DARK)
    kind, tag_arm = kinds[str(meant)]
    odd: list[tuple[str, Any, str]] = []
    if kind == DARK and product is not None:
        odd.append((PRODUCT_CATEGORY, product, "a raw dark without it"))
    elif kind == DARK and frame_type is not None and not _is_dark(frame_type):
        odd.append((type_keyword, frame_type, f"'{DARK}'"))
    elif kind != DARK and product is not None and product != meant:
        odd.append((PRODUCT_CATEGORY, product, f"'{meant}'"))
    elif kind != DARK and product is None and frame_type is not None:
        odd.append((type_keyword, frame_type, f"a product with {PRODUCT_CATEGORY} '{meant}'"))
    if tag_arm is not None and arm is not None and arm != tag_arm:
        odd.append((arm_keyword, arm, f"'{tag_arm}'"))
    if odd:
        tagged = "" if entry.tag is None else f"tag is '{entry.tag}', but "
        remedy = "leave it out" if entry.tag is None else "correct the tag, or remove the line"
        raise FrameError(
            f"{entry.label}: {tagged}{keyword} is {format_value(found)}, expected {expected}: {remedy}"
            for keyword, found, expected in odd
        )
    return kind, str(tag_arm or arm)
