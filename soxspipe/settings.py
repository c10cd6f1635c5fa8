"""The settings: a YAML file on one side, frozen dataclasses with units, ranges and words on the other."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from .exceptions import SettingsError
from .options import Check, Section, finite, nearest, option, parse_yaml, read_section, read_yaml_text, shown

__all__ = [
    "ARMS",
    "QC_NAMES",
    "ArmSettings",
    "DarkCurrentSettings",
    "InputSettings",
    "InstrumentSettings",
    "MasterDarkSettings",
    "NoiseMapSettings",
    "QualityRanges",
    "QualitySettings",
    "SettingRow",
    "Settings",
    "default_settings_text",
    "settings_table",
]

#: Arms that a section may hold values for.
ARMS = ("NIR", "VIS", "UVB", "ACQ")

#: Quality figures that the section ``quality`` may give a range for: those of a master dark, then of a dark rate.
QC_NAMES = (
    "MDARK MEDIAN", "MDARK MEAN", "MDARK STDEV", "DARK CURRENT", "DARK CURRENT ERR", "RON RAW", "RON MASTER",
    "RON MASTER RATIO", "BIAS NOISE", "FPN", "STRUCT X", "STRUCT Y", "CONTAM", "PULL STD", "HOTPIX NUM",
    "HOTPIX FRAC", "HOTPIX ABS1", "HOTPIX ABS2", "HOTPIX ABS3", "HOTPIX FDR", "COLDPIX NUM", "NOISYPIX NUM",
    "AMBIGPIX NUM", "SATPIX NUM", "CRRATE", "REJECT FRAC", "INVALID FRAC", "LEVEL SCATTER", "LEVEL TREND",
    "DETECTOR TEMP", "DETECTOR TEMP RANGE",
    "DARK RATE", "DARK RATE ERR", "OFFSET", "LEVEL CHI2", "CHI2 MEDIAN", "NONLIN NUM", "NODATA NUM",
)  # fmt: skip

#: Low and high end of a range, None where it is open.
Range = tuple[float | None, float | None]

#: Ranges that hold unless the settings say otherwise, and the words for them.
QUALITY_DEFAULTS: Mapping[str, tuple[Range, str]] = {
    "PULL STD": ((0.9, 1.1), "width of the residuals in units of their error"),
    "RON MASTER RATIO": ((0.9, 1.1), "noise of the master over what so many frames should leave"),
    "REJECT FRAC": ((None, 0.05), "fraction of the samples that were rejected"),
    "INVALID FRAC": ((None, 0.01), "fraction of the samples without data"),
    "LEVEL SCATTER": ((None, 50.0), "scatter of the levels of the frames, electron"),
}
#: The same for single arms: what is specified or known of their detectors.
QUALITY_ARM_DEFAULTS: Mapping[str, Mapping[str, tuple[Range, str]]] = {
    "NIR": {
        "RON RAW": ((3.0, 20.0), "read noise of a double-correlated frame, electron"),
        "DARK CURRENT": ((None, 0.005), "specified dark current, electron/s"),
        "HOTPIX FRAC": ((None, 0.02), "a detector like it has half a per cent"),
    },
    "VIS": {
        "RON RAW": ((1.5, 8.0), "read noise, slow to fast, electron"),
        "DARK CURRENT": ((None, 0.00012), "specified dark current, electron/s"),
        "HOTPIX FRAC": ((None, 0.005), "a detector like it has less than a thousandth"),
    },
    "UVB": {
        "RON RAW": ((1.5, 8.0), "read noise, slow to fast, electron"),
        "HOTPIX FRAC": ((None, 0.005), "a detector like it has a thousandth"),
    },
    "ACQ": {
        "RON RAW": ((1.5, 8.0), "read noise, electron"),
        "DARK CURRENT": ((None, 0.00012), "specified dark current, electron/s"),
        "HOTPIX FRAC": ((None, 0.005), "a detector like it has less than a thousandth"),
    },
}

RANGE_WORDS = "[low, high], null for an open end"

DEFAULT_FILE = Path(__file__).with_name("settings.yaml")


@dataclass(frozen=True)
class MasterDarkSettings(Section):
    """Section ``soxs-mdark``: how darks become a master dark."""

    frame_clipping_sigma: float = option(
        10.0,
        "sigmas from the median frame flux beyond which a pixel joins the frame's bad-pixel mask",
        "sigma",
        low=0,
    )
    clipping_iteration_count: int = option(
        5, "iterations of that clip", low=1, high=100, aliases=("frame-clipping-iterations",)
    )
    stacked_clipping_sigma: float = option(
        5.0,
        "sigmas from the median pixel flux beyond which a sample is left out of the stack",
        "sigma",
        low=0,
    )
    stacked_clipping_iterations: int = option(5, "iterations of that clip", low=1, high=100)
    stacked_clipping_scale: str = option(
        "noise-model", "what one sigma of that clip is", choices=("noise-model", "std", "mad")
    )
    minimum_frames: int = option(3, "fewer frames than this are refused", "frames", low=2, high=1000)


@dataclass(frozen=True)
class NoiseMapSettings(Section):
    """Section ``create-noise-map``: what makes a pixel hot, cold or noisy."""

    hot_pixel_sigma: float = option(
        5.0, "errors above the local background beyond which a pixel is hot", "sigma", low=0
    )
    cold_pixel_sigma: float = option(
        5.0, "errors below the local background beyond which a pixel is cold", "sigma", low=0
    )
    noisy_pixel_sigma: float = option(
        5.5, "sigmas above the noise model beyond which a pixel's scatter is noisy", "sigma", low=0
    )
    noisy_minimum_frames: int = option(
        5, "with fewer frames than this, noisy pixels are not looked for", "frames", low=3, high=1000
    )
    background_box: int = option(
        8, "side of the blocks whose medians make the smooth local background", "pixels", low=4, high=64
    )


@dataclass(frozen=True)
class DarkCurrentSettings(Section):
    """Section ``dark-current``: how master darks of different exposures become a dark-rate map."""

    nonlinear_sigma: float = option(
        5.0, "a pixel is non-linear where its chi2 is less probable than so many sigmas to one side", "sigma", low=0
    )


class QualityRanges(Mapping[str, Range]):
    """Ranges by the name of their quality figure: a mapping that does not change.

    Parameters
    ----------
    ranges : mapping of str to (float or None, float or None)
        Low and high end of each range, None for an open end.

    Raises
    ------
    ValueError
        When a name is none of `QC_NAMES`, or a range is none.
    """

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Mapping[str, Any]) -> None:
        if not isinstance(ranges, Mapping) or not set(ranges) <= set(QC_NAMES):
            raise ValueError("ranges by the names in QC_NAMES")
        self._ranges = {name: checked_range(span) for name, span in ranges.items()}

    def __getitem__(self, name: str) -> Range:
        return self._ranges[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __hash__(self) -> int:
        return hash(frozenset(self._ranges.items()))

    def __repr__(self) -> str:
        return f"QualityRanges({self._ranges!r})"


def checked_range(value: Any) -> Range:
    """Return ``[low, high]`` as a pair of floats or None; raises ValueError that says what was expected."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(RANGE_WORDS)
    low, high = (None if end is None else finite(end) for end in value)
    if (low is None) != (value[0] is None) or (high is None) != (value[1] is None):
        raise ValueError(RANGE_WORDS)
    if low is not None and high is not None and low > high:
        raise ValueError(f"{RANGE_WORDS}, with low <= high")
    return low, high


@dataclass(frozen=True)
class QualitySettings(Section):
    """Section ``quality``: the range that a quality figure passes in; one without a range has no verdict."""

    ranges: QualityRanges = field(
        default_factory=lambda: QualityRanges({name: span for name, (span, _) in QUALITY_DEFAULTS.items()}),
        metadata={"check": QualityRanges},
    )

    @classmethod
    def keys(cls) -> dict[str, tuple[str, Check]]:
        """Return the names of the quality figures, each with the check of its range."""
        return {name: (name, checked_range) for name in QC_NAMES}

    def as_mapping(self) -> dict[str, Any]:
        """Return the ranges by the names of their quality figures."""
        return dict(self.ranges)

    def with_values(self, values: Mapping[str, Any]) -> QualitySettings:
        """Return a copy with some ranges changed."""
        return QualitySettings(QualityRanges({**self.ranges, **values}))

    def for_arm(self, arm: str, given: Iterable[str] = ()) -> QualitySettings:
        """Return a copy with the defaults of an arm, but for the figures whose common range was given."""
        defaults = {name: span for name, (span, _) in QUALITY_ARM_DEFAULTS.get(arm, {}).items()}
        return self.with_values({**defaults, **{name: self.ranges[name] for name in given if name in self.ranges}})


@dataclass(frozen=True)
class InputSettings(Section):
    """Section ``input``: how input files are looked at."""

    verify_checksums: str = option(
        "warn", "what a wrong CHECKSUM or DATASUM of an input file leads to: a warning, or (strict) a refusal",
        choices=("warn", "strict"),
    )  # fmt: skip


@dataclass(frozen=True)
class InstrumentSettings(Section):
    """Section ``instruments``: an instrument that soxspipe does not know yet."""

    table: Path | None = option(  # noqa: RUF009 - it makes a field, as for the others
        None, "instrument table that comes before those shipped; relative to this file"
    )


@dataclass(frozen=True)
class ArmSettings:
    """All settings of one arm, one attribute a section of the file."""

    soxs_mdark: MasterDarkSettings = field(default_factory=MasterDarkSettings)
    create_noise_map: NoiseMapSettings = field(default_factory=NoiseMapSettings)
    dark_current: DarkCurrentSettings = field(default_factory=DarkCurrentSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    input: InputSettings = field(default_factory=InputSettings)
    instruments: InstrumentSettings = field(default_factory=InstrumentSettings)


@dataclass(frozen=True)
class Settings:
    """Checked settings of all arms.

    Attributes
    ----------
    name : str
        Where they come from, as messages call it.
    common : ArmSettings
        Settings of an arm that has no values of its own.
    arms : tuple of (str, ArmSettings)
        Settings of the arms that have.
    """

    name: str = field(default="settings", compare=False)
    common: ArmSettings = field(default_factory=ArmSettings)
    arms: tuple[tuple[str, ArmSettings], ...] = field(
        default_factory=lambda: tuple((arm, ArmSettings(quality=QualitySettings().for_arm(arm))) for arm in ARMS)
    )

    @property
    def input(self) -> InputSettings:
        """The section ``input``, which is needed before the arm is known."""
        return self.common.input

    @property
    def instruments(self) -> InstrumentSettings:
        """The section ``instruments``, which is needed before the arm is known."""
        return self.common.instruments

    def for_arm(self, arm: str) -> ArmSettings:
        """Return the settings of one arm; an arm without values of its own has the common ones."""
        return dict(self.arms).get(arm, self.common)

    @classmethod
    def load(cls, source: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None) -> Settings:
        """Make settings from whatever a user has.

        Parameters
        ----------
        source : str, path-like, mapping, Settings or None
            A settings file, the same as a mapping, or None for the file that comes with soxspipe.

        Returns
        -------
        Settings
            What ``source`` leaves out has its default.

        Raises
        ------
        SettingsError
            With all faults at once, one line a fault.
        """
        if isinstance(source, Settings):
            return source
        if isinstance(source, Mapping):
            return cls.from_mapping(source)
        if source is None:
            return _shipped_settings()
        if not isinstance(source, str | os.PathLike):
            raise SettingsError(f"settings: found a {type(source).__name__}, expected a path or a mapping")
        path = Path(os.path.expanduser(source))
        return cls.from_text(read_yaml_text(path), str(path), path.parent)

    @classmethod
    def from_text(cls, text: str, name: str = "settings", folder: Path | None = None) -> Settings:
        """Make settings from the text of a settings file; see `from_mapping`."""
        mapping, faults = parse_yaml(text, name)
        return cls.from_mapping(mapping, name, folder, faults)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[Any, Any],
        name: str = "settings",
        folder: Path | None = None,
        faults: Iterable[str] = (),
    ) -> Settings:
        """Make settings from a mapping laid out as the settings file.

        Parameters
        ----------
        mapping : mapping
            Sections with their keys and values.
        name : str
            Where it comes from, for messages.
        folder : pathlib.Path, optional
            What a relative path in the settings is relative to; the working directory when left out.
        faults : iterable of str
            Faults found before, to be raised with those found here.

        Returns
        -------
        Settings

        Raises
        ------
        SettingsError
            With all faults at once, one line a fault.
        """
        found = list(faults)
        sections = {one.name.replace("_", "-"): one.name for one in fields(ArmSettings)}
        common: dict[str, Any] = {}
        arms: dict[str, dict[str, Any]] = {}
        for key, values in {"quality": None, **mapping}.items():
            if key not in sections:
                found.append(f"{name}: unknown section {shown(key)}: {nearest(key, sections)}")
                continue
            attribute = sections[key]
            # what is needed before the arm is known cannot depend on it
            own = () if attribute in ("input", "instruments") else ARMS
            base = read_section(values, getattr(ArmSettings(), attribute), f"{name}: {key}", found, own)
            common[attribute] = base
            given = values if isinstance(values, Mapping) else {}
            for arm in own:
                of_arm = base.for_arm(arm, given) if isinstance(base, QualitySettings) else base
                if arm in given:
                    of_arm = read_section(given[arm], of_arm, f"{name}: {key} {arm}", found)
                if of_arm != base:
                    arms.setdefault(arm, {})[attribute] = of_arm
        if found:
            raise SettingsError(found)
        for_all = ArmSettings(**common)
        if folder is not None and for_all.instruments.table is not None:
            for_all = replace(for_all, instruments=InstrumentSettings(folder / for_all.instruments.table))
        return cls(name, for_all, tuple((arm, replace(for_all, **arms[arm])) for arm in ARMS if arm in arms))


@functools.cache
def _shipped_settings() -> Settings:
    return Settings.from_text(default_settings_text(), str(DEFAULT_FILE))


def default_settings_text() -> str:
    """Return the settings file that comes with soxspipe, comments included, ready to edit."""
    return read_yaml_text(DEFAULT_FILE)


class SettingRow(NamedTuple):
    """One line of the documentation's table of settings."""

    section: str
    key: str
    type: str
    default: Any
    unit: str
    range: str
    words: str


def settings_table() -> list[SettingRow]:
    """Return all settings, in the order of the settings file, for the documentation."""
    rows = []
    for section in fields(ArmSettings):
        name = section.name.replace("_", "-")
        for one in fields(getattr(ArmSettings(), section.name)):
            facts = one.metadata
            if section.name == "quality":
                rows += [
                    SettingRow(name, key, "range", span, "", RANGE_WORDS, words)
                    for key, (span, words) in QUALITY_DEFAULTS.items()
                ]
                rows += [
                    SettingRow(name, f"{arm}: {key}", "range", span, "", RANGE_WORDS, words)
                    for arm, ranges in QUALITY_ARM_DEFAULTS.items()
                    for key, (span, words) in ranges.items()
                ]
            else:
                kind = "path" if facts["type"] is Path else facts["type"].__name__
                key = one.name.replace("_", "-")
                rows.append(SettingRow(name, key, kind, one.default, facts["unit"], facts["range"], facts["words"]))
    return rows
