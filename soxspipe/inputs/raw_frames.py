"""Sets of raw frames that were verified to belong together; only headers and check sums are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from ..exceptions import FrameError, InputError, MixedFramesError, SetOfFilesError
from ..fits_files.checksums import file_md5
from ..fits_files.images import FitsImage, read_image_hdus
from ..fits_files.pixel_reader import PixelReader, same_pixels
from ..instruments.detectors import Geometry
from ..text import escape, format_value
from .classify import FrameClassifier, InputFile, LeftOut
from .collect import InputFiles, InputSet, SetCollector, UniqueKey
from .consistency import check_agreement, common_value, conversion_factor, set_warnings
from .exposure import ExposureInfo, read_mode_of, setting_keywords
from .frame_kinds import PRODUCT_CATEGORY, STATIC_MAP, FrameKind, ProductKind
from .set_of_files import SofEntry

__all__ = ["CalibrationFile", "FrameSet", "collect_frames"]


@dataclass(frozen=True)
class CalibrationFile:
    """A calibration product that goes with raw frames.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    name : str
        Its name without the folder.
    category : str
        Its ``ESO PRO CATG``.
    images : mapping of str to FitsImage
        Its images by EXTNAME, in the order of the file; without one ``PRIMARY`` or ``HDU<n>``.
    datamd5 : str
        DATAMD5 of its header, else the MD5 of the data of its images.
    """

    path: Path
    name: str
    category: str
    images: Mapping[str, FitsImage] = field(repr=False)
    datamd5: str

    @property
    def header(self) -> fits.Header:
        """Header of its first image."""
        return next(iter(self.images.values())).header


@dataclass(frozen=True, kw_only=True)
class FrameSet(InputSet):
    """Raw frames that were verified to belong together.

    Attributes
    ----------
    kind : FrameKind
        Their kind.
    frames : tuple of InputFile
        Sorted by start and name.
    calibrations : mapping of ProductKind to CalibrationFile
        Calibrations of the input.
    geometry : Geometry
        Layout of a raw frame.
    exptime_s : float
        Exposure time of the first frame, second.
    dit_s : float
        Exposure time of one integration (DIT), second; EXPTIME without DIT.
    ndit : int
        Integrations that were averaged in a frame.
    conad_e_per_adu : float
        Conversion factor, electron/ADU.
    unit : {'ADU', 'electron', 'ADU/s', 'electron/s'}
        Unit of the samples.
    """

    kind: FrameKind
    frames: tuple[InputFile, ...]
    calibrations: Mapping[ProductKind, CalibrationFile]
    geometry: Geometry
    exptime_s: float
    dit_s: float
    ndit: int
    conad_e_per_adu: float
    unit: str

    @property
    def times_h(self) -> NDArray[np.float64]:
        """Start of each frame, hour."""
        return np.array([24.0 * frame.mjd for frame in self.frames])

    @property
    def temperatures_k(self) -> NDArray[np.float64]:
        """Detector temperatures in the headers, kelvin; frames without one are left out."""
        found = np.array([frame.temperature_k for frame in self.frames])
        return found[np.isfinite(found)]

    @property
    def e_per_sample(self) -> float:
        """Electrons per unit of the samples: the conversion factor and the exposure, as BUNIT needs them."""
        factor = self.conad_e_per_adu if self.unit.startswith("ADU") else 1.0
        return factor * (self.dit_s if self.unit.endswith("/s") else 1.0)

    @property
    def is_prepared(self) -> bool:
        """Whether the frame is in electron, trimmed and turned already."""
        return self.kind.takes_prepared(self.frames[0].header)

    @property
    def stated_read_noise(self) -> tuple[float | None, str]:
        """Read noise of one integration, electron: of the header, else of the table; and words for its source."""
        exposure = self.frames[0].exposure
        stated = None if exposure is None else exposure.values["read_noise"][1]
        if stated is None:
            return self.detector.read_noise_e, "of the table"
        return stated, "of the raw header"

    @property
    def tag(self) -> str:
        """Tag of the raw frames with their arm."""
        return f"{self.kind.tag}_{self.arm}"

    @property
    def shot_scale(self) -> float:
        """Variance per electron of signal: 1/NDIT; none in frames without an exposure."""
        return 0.0 if self.kind.exposure == "zero" else 1.0 / self.ndit


def collect_frames(
    input_frames: InputFiles, kind: FrameKind, *, minimum_frames: int | Callable[[str], int] = 3, **options: Any
) -> FrameSet:
    """Collect the raw frames of a reduction and verify that they belong together.

    Parameters
    ----------
    input_frames : path-like or iterable of path-like
        A set-of-files file (its name ends in ``.sof``) or a folder, FITS files, or both. From a folder: the raw frames
        of the kind.
    kind : FrameKind
        The kind of raw frames.
    minimum_frames : int or callable
        Fewer frames are refused; a callable is given the arm.
    **options
        See `SetCollector`.

    Returns
    -------
    FrameSet

    Raises
    ------
    InputError
        See `SetCollector.collect`.
    """
    return _RawFrameCollector(kind, minimum_frames, **options).collect(input_frames)


class _RawFrameCollector(SetCollector[InputFile, FrameSet]):
    """Collects raw frames of one kind and their calibrations."""

    def __init__(self, kind: FrameKind, minimum_frames: int | Callable[[str], int], **options: Any) -> None:
        super().__init__(f"raw {kind.noun}", f"raw {kind.plural}", **options)
        self.kind = kind
        self._minimum = minimum_frames
        self.classifier = FrameClassifier(kind, self.user_instrument)

    def classify(self, entry: SofEntry) -> InputFile | LeftOut:
        """Classify a file as a raw frame or a calibration."""
        return self.classifier.classify(entry)

    def reading_order(self, entries: Sequence[SofEntry]) -> Sequence[SofEntry]:
        """Return calibrations last: one without INSTRUME is assumed to be of the frames' instrument."""
        return sorted(entries, key=lambda entry: self.kind.calibration(entry.tag) is not None)

    def is_calibration(self, member: InputFile) -> bool:
        """Return whether a file is a calibration."""
        return member.calibration is not None

    def minimum_frames(self, frames: Sequence[InputFile]) -> int:
        """Return the smallest number of frames for the arm of the first."""
        arm = frames[0].arm if frames else ""
        return self._minimum(arm) if callable(self._minimum) else self._minimum

    def verify_checksums(self, frames: Sequence[InputFile]) -> list[InputFile]:
        """Verify check sums, and return the frames with the sum of their data, which reveals copies of an exposure."""
        sums = self.checksums.verify_each([(frame.images, frame.label) for frame in frames])
        return [replace(frame, datasum=datasum) for frame, datasum in zip(frames, sums, strict=True)]

    def unique_keys(self, member: InputFile) -> Iterable[UniqueKey[InputFile]]:
        """Yield file, exposure and pixels."""
        yield UniqueKey(member.image.fingerprint[:2], "are the same file", "list it once")
        if member.archive_name is not None:
            both = f"MJD-OBS {member.mjd} and archive name {format_value(member.archive_name)} are in both"
            yield UniqueKey((member.mjd, member.archive_name), f"are the same exposure, {both}", "leave one out")
        if member.datasum:
            key = (member.datasum, *member.image.shape)
            yield UniqueKey(key, "hold the same pixels", "leave one out", self._have_same_pixels)

    def _have_same_pixels(self, one: InputFile, other: InputFile) -> bool:
        # a check sum of 32 bits can agree by chance, or be copied with a header: compare the pixels
        try:
            with PixelReader([one.image, other.image]) as reader:
                return same_pixels(reader, 0, 1)
        except InputError as error:
            self.errors.take(error)
            return False

    def build(self, frames: Sequence[InputFile], calibrations: Sequence[InputFile]) -> FrameSet | None:
        """Build the set of the values that its frames have in common; None where there is no geometry for it."""
        exposures = [frame.exposure for frame in frames if frame.exposure is not None]
        agreeing = check_agreement(exposures, self.errors)
        first = agreeing[0]
        values = {meaning: common_value(agreeing, meaning)[1] for meaning in first.values}
        binning = values["biny"] or 1, values["binx"] or 1
        try:
            prepared = self.kind.takes_prepared(frames[0].header)
            lay_over = first.detector.geometry_of_product if prepared else first.detector.geometry
            geometry = lay_over(first.shape, binning, first.label)
        except FrameError as error:
            self.errors.take(error)
            return None
        accepted = self._calibrations(calibrations, first, values, geometry.product_shape)
        factor, oddities = conversion_factor(agreeing)
        assumed = (*self.warnings, *self.classifier.warnings, *set_warnings(agreeing))
        return FrameSet(
            kind=self.kind,
            frames=tuple(frames),
            calibrations=accepted,
            instrument=first.instrument,
            detector=first.detector,
            geometry=geometry,
            binning=binning,
            exptime_s=values["exptime"],
            dit_s=values["dit"] or values["exptime"],
            ndit=values["ndit"] or 1,
            read_mode=read_mode_of(first.instrument, values),
            conad_e_per_adu=factor,
            unit=values["unit"],
            warnings=(*assumed, *oddities, *self.checksums.warnings),
        )

    def _calibrations(
        self,
        files: Sequence[InputFile],
        frame: ExposureInfo,
        values: Mapping[str, Any],
        shape: tuple[int, int],
    ) -> dict[ProductKind, CalibrationFile]:
        """Return the calibrations that fit the frames, one of each kind."""
        accepted: dict[ProductKind, list[InputFile]] = {}
        for file in files:
            if file.calibration is None:
                continue
            if (
                file.entry.given_separately and file.arm != frame.detector.arm
            ):  # it may be for another set of the same run
                self.warnings.append(
                    f"{file.label}: left out, a {file.calibration.noun} of arm {file.arm}, the frames are of "
                    f"{frame.detector.arm}"
                )
                continue
            accepted.setdefault(file.calibration, []).append(file)
        calibrations = {}
        for kind, candidates in accepted.items():
            if len(candidates) > 1:
                labels = ", ".join(sorted(file.label for file in candidates))
                self.errors.add(
                    SetOfFilesError, f"{labels}: {len(candidates)} files for the {kind.noun}, expected 1: keep one"
                )
            with self.errors.taken():
                agrees = self._check_calibration(candidates[0], kind, frame, values)
                # another binning or arm explains another size, which is then not reported as a second fault
                calibrations[kind] = self._read_calibration(candidates[0], kind, shape if agrees else None)
        return calibrations

    def _check_calibration(
        self, file: InputFile, kind: ProductKind, frame: ExposureInfo, values: Mapping[str, Any]
    ) -> bool:
        """Report a calibration of another read-out than the frames, and return whether its header fits them."""
        header = file.header
        found: list[tuple[str, Any, Any]] = [(frame.values["arm"][0], file.arm, frame.detector.arm)]
        if header.get("INSTRUME") or frame.instrument.matches(header):
            instrument = self.classifier.instrument(header, file.label)
            found.append(("INSTRUME", instrument.name, frame.instrument.name))
        for meaning in ("binx", "biny"):
            keyword, value = frame.instrument.find(header, meaning)
            if not keyword.startswith("CDELT"):  # in a product the step of coordinates
                found.append((keyword, value, values[meaning] or 1))
        if kind.same_read_mode:
            found += [(keyword, header.get(keyword), values[keyword]) for keyword in setting_keywords(frame.instrument)]
        misfits = [one for one in found if None not in one[1:] and one[1] != one[2]]
        for keyword, value, expected in misfits:
            self._report_misfit(file, kind, keyword, value, expected)
        return not misfits

    def _report_misfit(self, file: InputFile, kind: ProductKind, keyword: str, found: Any, expected: Any) -> None:
        self.errors.add(
            MixedFramesError,
            f"{file.label}: {keyword} is {format_value(found)}, expected {format_value(expected)} as in the "
            f"{self.kind.plural}: give a {kind.noun} of the same read-out, or none",
        )

    def _read_calibration(self, file: InputFile, kind: ProductKind, shape: tuple[int, int] | None) -> CalibrationFile:
        """Describe a calibration, whose images must have the shape of a product; None is any shape."""
        images: dict[str, FitsImage] = {}
        misfits: dict[tuple[int, ...], list[str]] = {}
        for image in read_image_hdus(file.path):
            name = image.extname or ("PRIMARY" if image.hdu == 0 else f"HDU{image.hdu}")
            images.setdefault(name, image)
            if shape is not None and image.shape != shape:
                misfits.setdefault(image.shape, []).append(escape(name))
        for size, names in misfits.items():
            found, expected = (" x ".join(map(str, one[::-1])) for one in (size, shape or ()))
            self._report_misfit(file, kind, f"NAXIS1 x NAXIS2 of {', '.join(names)}", found, expected)
        if kind == STATIC_MAP and len(images) > 1:
            found = ", ".join(map(str, images.values()))
            raise SetOfFilesError(
                f"{file.label}: holds {len(images)} images, {found}, expected one: keep the map alone in its file"
            )
        if self.strict_checksums or not self.errors:
            self.checksums.verify(list(images.values()), file.label)
        return CalibrationFile(
            path=file.path,
            name=file.name,
            category=str(file.header.get(PRODUCT_CATEGORY) or file.entry.tag).strip(),
            images=images,
            datamd5=file_md5(list(images.values())),
        )
