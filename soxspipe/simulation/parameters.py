"""Parameters of `soxspipe.simulation`, checked, and the realistic values for each arm."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from ..checked_model import CheckedModel, settings_error
from ..exceptions import SettingsError
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument, load_instrument, shipped_instruments

__all__ = ["KINDS", "DarkSimulation"]

# Values that the instrument tables do not hold. Fractions of bad pixels as in X-shooter's static maps. The rates of
# cosmic rays are chosen so that they hit 3e-4 of the NIR pixels in 300 s and 3e-3 of the VIS pixels in an hour. They
# leave the charge of a muon in HgCdTe and in silicon of the given depth.
_INFRARED = {
    "pedestal_e": 460.0, "read_noise_spread": 0.05, "channel_e": 12.0, "column_e": 4.0, "row_noise_e": 2.0,
    "glow_e": 40.0, "drift_e": 5.0, "hot_fraction": 4e-3, "cold_fraction": 5e-4, "dead_fraction": 5e-4,
    "telegraph_fraction": 1e-3, "cosmic_rays_per_cm2_s": 0.265, "cosmic_depth_um": 10.0,
    "cosmic_e_per_um": 400.0, "overhead_s": 4.5,
}  # fmt: skip
_CCD = {
    "pedestal_e": 1000.0, "read_noise_spread": 0.0, "channel_e": 5.0, "column_e": 0.3, "row_noise_e": 0.0,
    "glow_e": 0.0, "drift_e": 1.0, "hot_fraction": 4e-4, "cold_fraction": 5e-5, "dead_fraction": 5e-5,
    "telegraph_fraction": 1e-4, "cosmic_rays_per_cm2_s": 0.128, "cosmic_depth_um": 40.0,
    "cosmic_e_per_um": 80.0, "overhead_s": 45.0,
}  # fmt: skip
_STRUCTURE = ("channel_e", "column_e", "row_noise_e", "glow_e")
# electron/s/pixel where the instrument table has no specification: of the order of X-shooter's user manual
_DARK_CURRENT = {"UVB": 6e-5, "VIS": 3e-4, "NIR": 6e-3}
#: The same, and read noise in electron, of a camera whose table has neither.
_CAMERA_DARK_CURRENT, _CAMERA_READ_NOISE_E = 0.01, 3.0
#: Kinds of frames.
KINDS = ("DARK", "BIAS")

Count = Annotated[int, Field(ge=1, le=9999)]
Seed = Annotated[int, Field(ge=0, le=2**63)]
Side = Annotated[int, Field(ge=32, le=16384)]
BinningFactor = Annotated[int, Field(ge=1, le=8)]
Clusters = Annotated[int, Field(ge=0, le=1000)]
Number = Annotated[float, Field(ge=0, le=1e6)]
Fraction = Annotated[float, Field(ge=0, le=0.2)]
Probability = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=1e-9, le=1e9)]
Charge = Annotated[float, Field(ge=1e-3, le=1e9)]


def _pair(default: tuple[Any, Any] | None, numbers: str) -> Any:
    return Field(default, strict=False, json_schema_extra={"expected": f"a pair of {numbers}"})


@functools.lru_cache(maxsize=8)
def _table_of(path: Path) -> Instrument:
    """Return the instrument of a table; a simulation looks at it many times."""
    return load_instrument(path)


class DarkSimulation(CheckedModel):
    """What to simulate; None stands for the realistic value of the arm.

    Raises
    ------
    SettingsError
        When parameters are out of range or do not fit the arm; one line for each.
    """

    instrument: str = "SOXS"  #: SOXS or XSHOOTER.
    arm: str = "NIR"  #: NIR, VIS or ACQ of SOXS; UVB, VIS or NIR of X-shooter.
    instrument_table: Path | None = None  #: Instrument table of another camera; its name and first arm are defaults.
    kind: Literal["DARK", "BIAS"] = "DARK"  #: DARK, or BIAS (not NIR): no exposure at all, with any `exptime_s`.
    frames: Count = 10  #: Number of frames.
    exptime_s: Number = 300.0  #: Exposure time of one integration (DIT), second.
    ndit: Count = 1  #: Integrations that a frame is the average of; only NIR has more than 1.
    #: Rows and columns of a raw frame; None: those of the detector.
    shape: tuple[Side, Side] | None = _pair(None, "whole numbers from 32 to 16384")
    #: In y and x, not for NIR; dark current adds up.
    binning: tuple[BinningFactor, BinningFactor] = _pair((1, 1), "whole numbers from 1 to 8")
    start: str = "2026-03-01T10:00:00.000"  #: Start of the first frame, UTC, ISO 8601.
    seed: Seed = 20260301  #: Seed of the frames: the same simulation gives the same bytes.
    detector_seed: Seed | None = None  #: Seed of the detector (fixed pattern, bad pixels); None is `seed`.
    structure: bool = True  #: False: no channels, columns, row noise or glow, except those with a value.
    pedestal_e: Annotated[float, Field(ge=1, le=1e6)] | None = None  #: Bias level, electron.
    read_noise_e: Number | None = None  #: Read noise of one integration, electron.
    read_noise_spread: Probability | None = None  #: Relative scatter of the read noise between pixels.
    dark_current_e_per_s: Number | None = None  #: Dark current of an unbinned pixel, electron/s.
    channel_e: Number | None = None  #: Scatter of the pedestals of amplifiers, electron.
    column_e: Number | None = None  #: Scatter of the columns of an amplifier (H2RG: odd, even), electron.
    #: Wander of the level from row to row, with a 1/f spectrum, electron; in the overscan too.
    row_noise_e: Number | None = None
    glow_e: Number | None = None  #: Amplifier glow in the brightest corner, electron per DIT of any length.
    drift_e: Number | None = None  #: Scatter of the levels of frames, electron.
    hot_fraction: Fraction | None = None  #: Fraction of pixels with an excess that grows with time.
    cold_fraction: Fraction | None = None  #: Fraction of pixels below their neighbours.
    dead_fraction: Fraction | None = None  #: Fraction of pixels without response, at a low level.
    telegraph_fraction: Fraction | None = None  #: Fraction of pixels that switch between two levels.
    #: Range of the time fraction on the upper level.
    telegraph_duty: tuple[Probability, Probability] = _pair((0.2, 0.8), "numbers from 0 to 1")
    #: Range of the log-uniform excess of hot pixels, electron/s. None: from three sigma of a ten-frame master
    #: to the ceiling of the converter in one DIT; give a range to see one detector at several DITs.
    hot_range_e_per_s: tuple[Rate, Rate] | None = _pair(None, "numbers from 1e-9 to 1e9")
    hot_blocks: Clusters = 0  #: Hot clusters of 9 x 9 pixels, each with one excess of that range.
    bad_columns: Clusters = 0  #: Hot columns, each with one excess of that range.
    dsnu: Probability = 0.0  #: Scatter of the dark current between pixels: sigma of a lognormal distribution.
    #: Fraction of pixels with an exponential excess, of three times the dark current on average; they are hot.
    dsnu_tail: Fraction = 0.0
    column_pattern_e: Number = 0.0  #: Scatter of the fixed levels of all columns, electron.
    row_pattern_e: Number = 0.0  #: Scatter of the fixed levels of all rows, electron.
    warm_columns: Annotated[int, Field(ge=0, le=32)] = 0  #: Columns with a small excess.
    warm_excess_e: Number = 5.0  #: Excess of each pixel of a warm column, electron in one integration.
    #: 1/f noise common to the amplifiers, which read at the same time, electron rms; each has a third of it alone.
    common_noise_e: Number = 0.0
    snowballs: Annotated[float, Field(ge=0, le=1000)] = 0.0  #: Mean number of clusters with a halo in a frame.
    persistence_e: Number = 0.0  #: Signal of a spot in the first frame, electron; it fades by e in two frames.
    leak_e: Number = 0.0  #: Signal of a light leak in the odd frame, electron.
    leak_shape: Literal["gradient", "spot"] = "gradient"  #: Gradient along the rows, or a spot.
    noisier: Annotated[float, Field(ge=1, le=100)] = 1.0  #: Factor of the read noise of the odd frame.
    odd_frame: Count = 2  #: Number of the frame with the leak and the noise, from 1.
    #: Rate of cosmic rays, 1/(cm2 s).
    cosmic_rays_per_cm2_s: Annotated[float, Field(ge=0, le=100)] | None = None
    cosmic_shape: Literal["tracks", "pixels"] = "tracks"  #: tracks, or pixels: all charge of a ray in one pixel.
    #: Range of a log-uniform charge for pixels, electron.
    cosmic_range_e: tuple[Charge, Charge] | None = _pair(None, "numbers from 1e-3 to 1e9")
    #: Conversion factor, electron/ADU.
    conad_e_per_adu: Annotated[float, Field(ge=1e-3, le=1e3)] | None = None
    quantise: bool = True  #: False: float32 ADU, neither rounded nor clipped.

    def __init__(self, **values: Any) -> None:
        if isinstance(values.get("instrument_table"), Path):
            table = _table_of(values["instrument_table"])
            values = {"instrument": table.name, "arm": next(iter(table.detectors))} | values
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise settings_error(error, type(self), values, "simulation", by_name=True) from None
        if faults := list(self._misfits()):
            raise SettingsError(f"simulation: {fault}" for fault in faults)

    @field_validator("telegraph_duty", "hot_range_e_per_s", "cosmic_range_e")
    @classmethod
    def _is_ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("a pair of numbers, the smaller one first")
        return value

    def _misfits(self) -> Iterator[str]:
        """Yield the parameters that do not fit the arm, once each parameter is valid by itself."""
        own = [] if self.instrument_table is None else [self.table]
        arms = [(table.name, arm) for table in own or shipped_instruments() for arm in table.detectors]
        if (self.instrument, self.arm) not in arms:
            known = ", ".join(" ".join(pair) for pair in arms)
            yield f"instrument and arm are {self.instrument!r} and {self.arm!r}, expected one of {known}"
            return
        try:
            self.start_of(self.frames)
        except (ValueError, OverflowError):
            yield f"start is {self.start!r}, expected a date and time such as 2026-03-01T10:00:00.000"
        if self.is_ccd and self.ndit != 1:
            yield f"ndit is {self.ndit}, expected 1: only NIR frames are averages"
        if not self.is_ccd and (self.kind == "BIAS" or self.binning != (1, 1)):
            yield "NIR has neither bias frames nor binning, expected kind DARK and binning (1, 1)"
        physics = self.physics()
        if physics.pedestal_e >= physics.ceiling_adu * physics.conad_e_per_adu:
            yield f"pedestal_e is {physics.pedestal_e:g}, expected less than {physics.ceiling_adu:g} ADU"

    @property
    def table(self) -> Instrument:
        """Table of the instrument."""
        if self.instrument_table is not None:
            return _table_of(self.instrument_table)
        return next(table for table in shipped_instruments() if table.name == self.instrument)

    @property
    def detector(self) -> Detector:
        """Table of the detector."""
        return self.table.detectors[self.arm]

    @property
    def is_ccd(self) -> bool:
        """Whether the detector can be binned and read without an exposure."""
        return self.detector.mode == "binning"

    def physics(self) -> SimpleNamespace:
        """Return every value of the detector: the given one, else the realistic one.

        Returns
        -------
        types.SimpleNamespace
            The optional numbers of this class, and ``exposure_s`` (of one integration), ``ceiling_adu`` (highest
            value of a pixel), ``overhead_s`` (between frames), ``cosmic_depth_um`` and ``cosmic_e_per_um``.
        """
        detector = self.detector
        dark_current, saturation = detector.dark_current_limit_e_per_s, detector.saturation_adu
        values = {
            **(_CCD if self.is_ccd else _INFRARED),
            **({} if self.structure else dict.fromkeys(_STRUCTURE, 0.0)),
            "read_noise_e": _CAMERA_READ_NOISE_E if detector.read_noise_e is None else detector.read_noise_e,
            "dark_current_e_per_s": _DARK_CURRENT.get(self.arm, _CAMERA_DARK_CURRENT)
            if dark_current is None
            else dark_current,
            "conad_e_per_adu": detector.conad_e_per_adu,
            "exposure_s": 0.0 if self.kind == "BIAS" else self.exptime_s,
            "ceiling_adu": 65535.0 if saturation is None else saturation,
        }
        given = {name: value for name in values if (value := getattr(self, name, None)) is not None}
        return SimpleNamespace(**values | given)

    def start_of(self, index: int) -> datetime:
        """Return the start of a frame, UTC, to the millisecond."""
        first, physics = datetime.fromisoformat(self.start), self.physics()
        if first.tzinfo is not None:
            first = first.astimezone(UTC).replace(tzinfo=None)
        first = first.replace(microsecond=first.microsecond // 1000 * 1000)
        step_s = physics.exposure_s * self.ndit + physics.overhead_s
        return first + timedelta(milliseconds=round(1000 * index * step_s))

    def name_of(self, index: int, colon: str = "-") -> str:
        """Return the archive's name for a frame, with another sign for its colons."""
        stamp = self.start_of(index).isoformat(timespec="milliseconds").replace(":", colon)
        return f"{'XSHOO' if self.instrument == 'XSHOOTER' else self.instrument}.{stamp}.fits"
