"""Classification of input files by tag and header, which must agree."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from astropy.io import fits

from ..exceptions import FrameError, SetOfFilesError
from ..fits_files.images import FitsImage, frame_image, image_hdus
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument, find_instrument, instrument_for, unknown_instrument
from ..text import escape, format_value
from .exposure import ExposureInfo, read_exposure_info
from .frame_kinds import PRODUCT_CATEGORY, FrameKind, ProductKind
from .set_of_files import SofEntry

__all__ = ["FrameClassifier", "InputFile", "LeftOut", "Member"]

_LAYOUT = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BSCALE", "BZERO", "BLANK")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file of a set: a frame or a product.

    Attributes
    ----------
    entry : SofEntry
        Path and place.
    images : tuple of FitsImage
        Its images that are used, whose check sums are verified.
    mjd : float
        Start of the exposure, modified Julian date; of a calibration for raw frames 0.
    """

    entry: SofEntry
    images: tuple[FitsImage, ...] = field(repr=False)
    mjd: float = 0.0

    @property
    def label(self) -> str:
        """Name and place, for messages."""
        return self.entry.label

    @property
    def path(self) -> Path:
        """The file."""
        return self.entry.path

    @property
    def name(self) -> str:
        """Its name without the folder."""
        return self.entry.path.name

    @property
    def image(self) -> FitsImage:
        """Its first image."""
        return self.images[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image.shape

    @property
    def header(self) -> fits.Header:
        """Its header; see `FitsImage.header`."""
        return self.image.header


@dataclass(frozen=True, kw_only=True)
class InputFile(Member):
    """A raw frame, or a calibration for raw frames.

    Attributes
    ----------
    arm : str
        Its arm.
    calibration : ProductKind or None
        Kind of a calibration; None for a raw frame.
    exposure : ExposureInfo or None
        Exposure and read-out of a raw frame.
    archive_name : str or None
        Name of a raw frame in the archive.
    datasum : str
        Sum of the data unit, as DATASUM has it; of compressed tiles as their header states it. Empty where unknown.
    """

    arm: str
    calibration: ProductKind | None = None
    exposure: ExposureInfo | None = field(default=None, repr=False)
    archive_name: str | None = None
    datasum: str = ""

    @property
    def temperature_k(self) -> float:
        """Detector temperature in the header of a raw frame, kelvin; NaN without one."""
        value = None if self.exposure is None else self.exposure.values["temperature"][1]
        return math.nan if value is None else float(value)


@dataclass(frozen=True)
class LeftOut:
    """A file of a folder that does not belong to the input, the reason, and the remedy where there is one."""

    entry: SofEntry
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{escape(self.entry.path.name)} ({self.reason})"


class FrameClassifier:
    """Classifies files as raw frames of one kind or as calibrations for them; reads each header once.

    Parameters
    ----------
    kind : FrameKind
        The kind of raw frames.
    user_instrument : Instrument or None
        The user's instrument; it takes precedence over the shipped ones.

    Attributes
    ----------
    warnings : list of str
        Assumptions that were made.
    """

    def __init__(self, kind: FrameKind, user_instrument: Instrument | None) -> None:
        self.kind = kind
        self._user_instrument = user_instrument
        self._instruments: dict[str, Instrument] = {}
        self.warnings: list[str] = []

    def instrument(self, header: fits.Header, label: str) -> Instrument:
        """Return the instrument of a header. Raises FrameError."""
        instrument = instrument_for(header, label, self._user_instrument)
        return self._instruments.setdefault(instrument.name, instrument)

    def classify(self, entry: SofEntry) -> InputFile | LeftOut:
        """Classify a file.

        Raises
        ------
        InputError
            When it cannot be read, is neither a raw frame of the kind nor a calibration for one, lacks a keyword, or
            contradicts its tag. A readable file of another kind in a folder is left out.
        """
        if not entry.in_folder:
            return self._classify(entry, list(image_hdus(entry.path)))
        if os.path.isdir(entry.path):  # Path.is_dir fails in a folder that may not be entered
            return LeftOut(entry, "a folder")
        with closing(image_hdus(entry.path)) as images:
            first = next(images, None)
            if first is None:
                return LeftOut(entry, "no image")
            header = first.header
            category = header.get(PRODUCT_CATEGORY)
            if category is not None:
                return LeftOut(entry, escape(category))
            instrument = find_instrument(header, self._user_instrument)
            if instrument is None and not self.kind.matches(header.get("ESO DPR TYPE")):
                return LeftOut(entry, *unknown_instrument(header, self._user_instrument))
            keyword, frame_type = ("", self.kind.dpr_type) if instrument is None else instrument.find(header, "type")
            if not self.kind.matches(frame_type):
                return LeftOut(
                    entry, f"no {keyword}" if frame_type is None else escape(header.get(keyword, frame_type))
                )
            found = [first, *images]  # only a file of the kind is read to its end
            return self._classify(entry, found) if _has_image(found) else LeftOut(entry, "no image")

    def _classify(self, entry: SofEntry, images: Sequence[FitsImage]) -> InputFile:
        if not _has_image(images):
            raise FrameError(f"{escape(entry.path)}: holds no two-dimensional image, expected NAXIS = 2: leave it out")
        header = images[0].header
        unnamed = not header.get("INSTRUME") and find_instrument(header, self._user_instrument) is None
        if self.kind.calibration(entry.tag) and unnamed and self._instruments:
            # a hand-made map has few keywords; assume the frames' instrument
            instrument = next(iter(self._instruments.values()))
            self.warnings.append(f"{entry.label}: INSTRUME is missing: '{instrument.name}' is assumed")
        else:
            instrument = self.instrument(header, entry.label)
        calibration, arm = self._calibration_and_arm(entry, header, instrument)
        if calibration is not None:
            if header.get(PRODUCT_CATEGORY) is None:
                self.warnings.append(f"{entry.label}: {PRODUCT_CATEGORY} is missing: '{entry.tag}' is assumed")
            return InputFile(entry=entry, images=(images[0],), arm=arm, calibration=calibration)
        detector = instrument.detectors.get(arm)
        extension = None if detector is None else detector.extension
        if self.kind.takes_prepared(header):
            extension = "FLUX"
        image = frame_image(images, extension, entry.label, f"'extension' of {arm} in the instrument table")
        image = _in_adu(image, detector)
        header = image.header
        _refuse_contradictions(header, instrument, entry.label)
        archive_name = instrument.value(header, "archive_name")
        datasum = str(header.get("DATASUM") or "0").strip()
        exposure = read_exposure_info(header, entry.label, instrument, image.shape, self.kind)
        return InputFile(
            entry=entry,
            images=(image,),
            mjd=exposure.mjd,
            arm=arm,
            exposure=exposure,
            archive_name=None if archive_name is None else str(archive_name),
            datasum="" if datasum == "0" else datasum,
        )

    def _calibration_and_arm(
        self, entry: SofEntry, header: fits.Header, instrument: Instrument
    ) -> tuple[ProductKind | None, str]:
        """Return the kind of a calibration (None for a raw frame) and the arm, by tag and header.

        Raises
        ------
        InputError
            Where tag and header differ, or the file is neither.
        """
        arm_keyword, arm = instrument.find(header, "arm")
        category = None if header.get(PRODUCT_CATEGORY) is None else str(header[PRODUCT_CATEGORY]).strip()
        tags = [self.kind.tag]
        for stem in (self.kind.tag, *(calibration.category for calibration in self.kind.calibrations)):
            tags += [f"{stem}_{name}" for name in instrument.detectors]
        if entry.tag is not None and entry.tag not in tags:
            raise SetOfFilesError(
                f"{entry.label}: tag is '{escape(entry.tag)}', expected one of {', '.join(tags)}: correct it"
            )
        tag = entry.tag or (category if category in tags and self.kind.calibration(category) else self.kind.tag)
        calibration = self.kind.calibration(tag)
        tag_arm = None if tag == self.kind.tag else str(tag).rpartition("_")[2]
        stated = None if self.kind.takes_prepared(header) else category
        contradictions = self._contradiction(tag, calibration, stated, header, instrument)
        if tag_arm is not None and arm is not None and arm != tag_arm:
            contradictions.append((arm_keyword, arm, f"'{tag_arm}'", None))
        for meaning, binning in zip(("binx", "biny"), entry.binning or (), strict=False):
            keyword, value = instrument.find(header, meaning)
            if value is not None and value != binning and not keyword.startswith("CDELT"):
                contradictions.append((keyword, value, f"{binning} as in the tag", None))
        if contradictions:
            tagged = "" if entry.tag is None else f"tag is '{entry.tag}', but "
            default = "leave it out" if entry.tag is None else "correct the tag, or remove the line"
            raise FrameError(
                f"{entry.label}: {tagged}{keyword} is {format_value(found)}, expected {expected}: {remedy or default}"
                for keyword, found, expected, remedy in contradictions
            )
        return calibration, str(tag_arm or arm)

    def _contradiction(
        self,
        tag: Any,
        calibration: ProductKind | None,
        category: str | None,
        header: Mapping[str, Any],
        instrument: Instrument,
    ) -> list[tuple[str, Any, str, str | None]]:
        """Return keyword, value found, value expected and remedy where a header contradicts a tag."""
        keyword, value = instrument.find(header, "type")
        if calibration is None and category is not None:
            return [(PRODUCT_CATEGORY, category, f"a raw {self.kind.noun} without it", None)]
        if calibration is None and value is not None and not self.kind.matches(value):
            remedies = (product.remedy(value) for product in self.kind.calibrations)
            found, expected = header.get(keyword, value), instrument.words_for("type", self.kind.dpr_type)
            return [(keyword, found, expected, next((text for text in remedies if text), None))]
        if calibration is not None and category is not None and category != tag:
            return [(PRODUCT_CATEGORY, category, f"'{tag}'", None)]
        if calibration is not None and category is None and value is not None:
            return [(keyword, value, f"a product with {PRODUCT_CATEGORY} '{tag}'", calibration.remedy(value))]
        return []


def _has_image(images: Sequence[FitsImage]) -> bool:
    return any(image.planes == 1 for image in images)


def _in_adu(image: FitsImage, detector: Detector | None) -> FitsImage:
    """Return an image whose samples are ADU, where the camera writes floating-point numbers from 0 to 1."""
    if detector is None or detector.scale_adu is None or image.bitpix > 0:
        return image
    return replace(image, bscale=image.bscale * detector.scale_adu, bzero=image.bzero * detector.scale_adu)


def _refuse_contradictions(header: fits.Header, instrument: Instrument, label: str) -> None:
    """Refuse a header that states two values of a keyword that decides a reduction. Raises FrameError."""
    lines = []
    counts = Counter(iter(header))  # one look at all cards costs less than one for each keyword
    for keyword in (
        "INSTRUME",
        *instrument.match,
        *_LAYOUT,
        *(keyword for names in instrument.keywords.values() for keyword in names),
    ):
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
