"""Provenance of a product: its input, for its name and header."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from astropy.io import fits

from ..fits_files.images import FitsImage
from ..inputs.frame_kinds import MASTER_DARK, SIMULATED
from ..inputs.masters import MasterSet
from ..inputs.raw_frames import CalibrationFile, FrameSet
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument
from ..yaml_files import read_yaml_text

__all__ = ["INSTRUMENT_TABLE", "Naming", "Provenance", "text_md5"]

#: Category of an instrument table among the calibrations.
INSTRUMENT_TABLE = "INSTRUMENT_TABLE"


def text_md5(path: Path) -> str:
    """Return the MD5 of a text file; raises SettingsError where it cannot be read."""
    return hashlib.md5(read_yaml_text(path).encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Naming:
    """What a product is named after; see `~soxspipe.products.headers.product_stem`.

    Attributes
    ----------
    instrument : Instrument
        Instrument.
    detector : Detector
        Detector.
    binning : tuple of int
        Binning in y and x.
    read_mode : str or None
        Read-out mode.
    begin_mjd : float
        Start of the first raw frame, modified Julian date.
    exptime_s : float or None
        Exposure time of all raw frames, second; None where they differ in it.
    single : bool
        Whether the product is of one frame, whose name has milliseconds where they are not zero.
    """

    instrument: Instrument
    detector: Detector
    binning: tuple[int, int]
    read_mode: str | None
    begin_mjd: float
    exptime_s: float | None
    single: bool = False

    @property
    def arm(self) -> str:
        """Arm of the spectrograph."""
        return self.detector.arm


@dataclass(frozen=True, kw_only=True)
class Provenance(Naming):
    """Provenance of a product.

    Attributes
    ----------
    paths : tuple of pathlib.Path
        Input files in order of time.
    category : str
        Their ``ESO PRO CATG``, or tag.
    header : astropy.io.fits.Header
        Header of the first input file.
    ancestor : str
        Name in the archive, or of the file, of the first raw frame.
    technique : str
        Technique of the observation.
    end_mjd : float
        End of the last raw frame, modified Julian date.
    calibrations : tuple of CalibrationFile
        Used calibrations.
    datasums : tuple of str
        Sum of the data of each raw frame, as DATASUM has it; empty for other input.
    simulated : bool
        Whether an input file is simulated, or made of simulated files.
    """

    paths: tuple[Path, ...]
    category: str
    header: fits.Header = field(repr=False)
    ancestor: str
    technique: str
    end_mjd: float
    calibrations: tuple[CalibrationFile, ...] = ()
    datasums: tuple[str, ...] = ()
    simulated: bool = False

    def with_table(self, path: Path) -> Provenance:
        """Return a copy with an instrument table; raises SettingsError where it cannot be read."""
        table = CalibrationFile(path, path.name, INSTRUMENT_TABLE, {}, text_md5(path))
        return replace(self, calibrations=(*self.calibrations, table))

    @classmethod
    def of_frames(cls, frames: FrameSet) -> Provenance:
        """Return the provenance of a product of raw frames."""
        first, last = frames.frames[0], frames.frames[-1]
        return cls(
            instrument=frames.instrument,
            detector=frames.detector,
            binning=frames.binning,
            read_mode=frames.read_mode,
            paths=tuple(frame.path for frame in frames.frames),
            category=frames.tag,
            header=first.header,
            ancestor=str(first.header.get("ARCFILE") or first.name),
            technique=str(frames.instrument.value(first.header, "technique", "IMAGE")),
            begin_mjd=first.mjd,
            end_mjd=last.mjd + max(frames.exptime_s, frames.dit_s * frames.ndit) / 86400.0,
            exptime_s=frames.exptime_s,
            calibrations=tuple(frames.calibrations.values()),
            datasums=tuple(frame.datasum for frame in frames.frames),
            simulated=any(map(_is_simulated, [frame.image for frame in frames.frames]))
            or any(file.header.get(SIMULATED) is True for file in frames.calibrations.values()),
        )

    @classmethod
    def of_masters(cls, masters: MasterSet) -> Provenance:
        """Return the provenance of a product of master darks."""
        first = masters.masters[0]
        header = first.header
        return cls(
            instrument=masters.instrument,
            detector=masters.detector,
            binning=masters.binning,
            read_mode=masters.read_mode,
            paths=tuple(master.path for master in masters.masters),
            category=f"{MASTER_DARK.category}_{masters.arm}",
            header=header,
            ancestor=str(header.get("ESO PRO ANCESTOR") or header.get("ARCFILE") or first.name),
            technique=str(header.get("ESO PRO TECH") or "IMAGE"),
            begin_mjd=first.mjd,
            end_mjd=max(master.end_mjd for master in masters.masters),
            exptime_s=None,
            simulated=any(_is_simulated(master.images[0]) for master in masters.masters),
        )


def _is_simulated(image: FitsImage) -> bool:
    return SIMULATED in image.cards and image.header.get(SIMULATED) is True  # the text first: parsing takes time
