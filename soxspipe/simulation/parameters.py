"""What to simulate: the parameters of `soxspipe.simulation`, checked, and what is realistic for each arm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from datetime import UTC, datetime, timedelta
from numbers import Integral, Real
from types import SimpleNamespace
from typing import Any

from ..exceptions import SettingsError
from ..instruments.detectors import Detector
from ..instruments.keywords import Instrument, shipped_instruments

__all__ = ["KINDS", "DarkSimulation"]


# What the instrument tables do not say. Shares of bad pixels as in X-shooter's static maps. The cosmic rays hit
# 3e-4 of the NIR pixels in 300 s and 3e-3 of the VIS pixels in an hour (docs/method), and leave the charge of a
# muon in HgCdTe and in silicon of the depth given.
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
#: Kinds of frames.
KINDS = ("DARK", "BIAS")
_CHOICES = {"kind": KINDS, "cosmic_shape": ("tracks", "pixels")}
# smallest and largest value of a number, of both in a pair; of numbers not named here 0 and 1e6
_LIMITS: dict[str, tuple[float, float]] = {
    "frames": (1, 9999), "ndit": (1, 9999), "shape": (32, 16384), "binning": (1, 8), "seed": (0, 2**63),
    "detector_seed": (0, 2**63), "pedestal_e": (1, 1e6), "conad_e_per_adu": (1e-3, 1e3),
    "read_noise_spread": (0, 1), "hot_fraction": (0, 0.2), "cold_fraction": (0, 0.2), "dead_fraction": (0, 0.2),
    "telegraph_fraction": (0, 0.2), "telegraph_duty": (0, 1), "hot_range_e_per_s": (1e-9, 1e9),
    "cosmic_range_e": (1e-3, 1e9), "hot_blocks": (0, 1000), "bad_columns": (0, 1000), "cosmic_rays_per_cm2_s": (0, 100),
}  # fmt: skip


@dataclass(frozen=True)
class DarkSimulation:
    """What to simulate; None stands for the realistic value of the arm.

    Raises
    ------
    SettingsError
        When parameters are out of range or do not fit the arm; one line for each.
    """

    instrument: str = "SOXS"  #: SOXS or XSHOOTER.
    arm: str = "NIR"  #: NIR, VIS or ACQ of SOXS; UVB, VIS or NIR of X-shooter.
    kind: str = "DARK"  #: DARK, or BIAS (not NIR): no exposure at all, whatever `exptime_s`.
    frames: int = 10  #: Number of frames.
    exptime_s: float = 300.0  #: Exposure time of one integration (DIT), second.
    ndit: int = 1  #: Integrations that a frame is the average of; 1 but for NIR.
    shape: tuple[int, int] | None = None  #: Rows and columns of a raw frame as read; None: the detector's.
    binning: tuple[int, int] = (1, 1)  #: In y and x, not for NIR; a pixel gathers the dark of all it bins.
    start: str = "2026-03-01T10:00:00.000"  #: Start of the first frame, UTC, ISO 8601.
    seed: int = 20260301  #: Seed of the frames: same simulation, same bytes.
    detector_seed: int | None = None  #: Seed of the detector: fixed pattern, bad pixels; None is `seed`.
    structure: bool = True  #: False: no channels, columns, row noise, glow, save those given a value.
    pedestal_e: float | None = None  #: Bias level, electron.
    read_noise_e: float | None = None  #: Read noise of one integration, electron.
    read_noise_spread: float | None = None  #: Relative scatter of the read noise between pixels.
    dark_current_e_per_s: float | None = None  #: Dark current of an unbinned pixel, electron/s.
    channel_e: float | None = None  #: Scatter of the pedestals of amplifiers, electron.
    column_e: float | None = None  #: Scatter of an amplifier's columns (H2RG: odd, even), electron.
    row_noise_e: float | None = None  #: Noise that a row's pixels share, 1/f from row to row, electron.
    glow_e: float | None = None  #: Amplifier light in the brightest corner, electron per DIT at any DIT.
    drift_e: float | None = None  #: Scatter of the levels of whole frames, electron.
    hot_fraction: float | None = None  #: Share of pixels whose excess grows with time.
    cold_fraction: float | None = None  #: Share of pixels that lie below their neighbours.
    dead_fraction: float | None = None  #: Share of pixels that are blind, at a low level of their own.
    telegraph_fraction: float | None = None  #: Share of pixels that switch between two levels.
    telegraph_duty: tuple[float, float] = (0.2, 0.8)  #: Range of the share of time that they spend on the upper one.
    #: Range of the log-uniform excess of hot pixels, electron/s. None: from three sigma of a ten-frame master
    #: to the ceiling of the converter in one DIT; give a range to see one detector at several DITs.
    hot_range_e_per_s: tuple[float, float] | None = None
    hot_blocks: int = 0  #: Clusters of 9 x 9 pixels to make hot, each with one excess of that range.
    bad_columns: int = 0  #: Columns to make hot, each with one excess of that range.
    cosmic_rays_per_cm2_s: float | None = None  #: Rate of cosmic rays, 1/(cm2 s).
    cosmic_shape: str = "tracks"  #: tracks, or pixels: a ray leaves all its charge in one pixel.
    cosmic_range_e: tuple[float, float] | None = None  #: Range of a log-uniform charge for pixels, electron.
    conad_e_per_adu: float | None = None  #: Conversion factor, electron/ADU.
    quantise: bool = True  #: False: float32 ADU, neither rounded nor clipped.

    def __post_init__(self) -> None:
        faults = [fault for field in fields(self) if (fault := _fault(field, getattr(self, field.name)))]
        if faults or (faults := list(self._misfits())):
            raise SettingsError(f"simulation: {fault}" for fault in faults)

    def _misfits(self) -> Iterator[str]:
        """Yield what does not fit the arm, once each parameter is sound by itself."""
        arms = [(table.name, arm) for table in shipped_instruments() for arm in table.detectors]
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
        if not self.is_ccd and (self.kind == "BIAS" or tuple(self.binning) != (1, 1)):
            yield "NIR has neither bias frames nor binning, expected kind DARK and binning (1, 1)"
        physics = self.physics()
        if physics.pedestal_e >= physics.ceiling_adu * physics.conad_e_per_adu:
            yield f"pedestal_e is {physics.pedestal_e:g}, expected less than {physics.ceiling_adu:g} ADU"

    @property
    def table(self) -> Instrument:
        """Table of the instrument."""
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
        """Settle every value of the detector: the one given, else the realistic one.

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
            "read_noise_e": detector.read_noise_e,
            "dark_current_e_per_s": _DARK_CURRENT[self.arm] if dark_current is None else dark_current,
            "conad_e_per_adu": detector.conad_e_per_adu,
            "exposure_s": 0.0 if self.kind == "BIAS" else float(self.exptime_s),
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
        return f"{'SOXS' if self.instrument == 'SOXS' else 'XSHOO'}.{stamp}.fits"


def _fault(field: Field[Any], value: Any) -> str | None:
    """Say what is wrong with a parameter by itself; the annotation of its field says what it must be."""
    name, kind = field.name, str(field.type)
    if value is None and "None" in kind:
        return None
    if kind == "bool":
        return None if isinstance(value, bool) else f"{name} is {value!r}, expected True or False"
    if kind == "str":
        choices = _CHOICES.get(name, ("a text",))
        good = isinstance(value, str) and (name not in _CHOICES or value in choices)
        return None if good else f"{name} is {value!r}, expected {' or '.join(choices)}"
    low, high = _LIMITS.get(name, (0, 1e6))
    pair, whole = "tuple" in kind, "int" in kind
    number: Any = Integral if whole else Real
    numbers: tuple[Any, ...] = tuple(value) if pair and isinstance(value, tuple | list) else (value,)
    sound = all(isinstance(n, number) and type(n) is not bool and low <= n <= high for n in numbers)
    if (
        sound
        and len(numbers) == 1 + pair
        and not (name.endswith(("range_e", "range_e_per_s", "duty")) and numbers[0] > numbers[1])
    ):
        return None
    words = f"{'a pair of' if pair else 'a'} {'whole ' * whole}number{'s' * pair}"
    return f"{name} is {value!r}, expected {words} from {low:g} to {high:g}"
