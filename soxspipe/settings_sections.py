"""The sections of the settings that belong to no other part: recipes, QC ranges, input, night, instruments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, RootModel

from .checked_model import CheckedModel, Schema, plain_value, setting
from .quality.definitions import DEFINITIONS, Range, definition_of
from .stacking.parameters import StackParameters

__all__ = [
    "InputSettings",
    "InstrumentSettings",
    "MasterBiasSettings",
    "MasterDarkSettings",
    "NightSettings",
    "QualitySettings",
    "SubtractDarkSettings",
]


class MasterDarkSettings(StackParameters):
    """How raw darks become a master dark."""

    minimum_frames: int = setting(3, "fewer frames than this are refused", "frames", ge=2, le=1000)
    common_mode: bool = setting(
        False, "remove the 1/f noise that the amplifiers of an infrared detector share", expected="on or off"
    )


class SubtractDarkSettings(CheckedModel):
    """How a master dark is subtracted from a frame."""

    scale: bool = setting(
        False, "scale the master dark of a CCD to the exposure of the frame; never its pedestal", expected="on or off"
    )


class MasterBiasSettings(StackParameters):
    """How raw biases become a master bias."""

    minimum_frames: int = setting(3, "fewer frames than this are refused", "frames", ge=2, le=1000)


def _ordered(limits: Range) -> Range:
    low, high = limits
    if low is not None and high is not None and low > high:
        raise ValueError
    return limits


def _known_name(name: str) -> str:
    definition_of(name)
    return name


def _quality_schema(schema: Schema) -> None:
    """List the QC values in the schema of the section ``quality``."""
    any_range = schema.pop("additionalProperties")
    parts = {}
    for definition in DEFINITIONS.values():
        part = {**any_range, "description": definition.words}
        if definition.unit:
            part["unit"] = definition.unit
        if definition.range != (None, None):
            part["default"] = list(definition.range)
        if definition.arm_ranges:
            part["default-of-arms"] = {arm: list(limits) for arm, (limits, _) in definition.arm_ranges.items()}
        parts[definition.name] = part
    numbered = {f"^{name.replace('{i}', '[1-9][0-9]{0,3}')}$": parts.pop(name) for name in list(parts) if "{i}" in name}
    schema |= {"properties": parts, "patternProperties": numbered, "additionalProperties": False}


_CheckedRange = Annotated[
    tuple[float | None, float | None],
    BeforeValidator(plain_value),
    AfterValidator(_ordered),
    Field(json_schema_extra={"expected": "[low, high] with low <= high, null for an open end"}),
]


class QualitySettings(RootModel[dict[Annotated[str, AfterValidator(_known_name)], _CheckedRange]]):
    """The range in which a QC value passes: [low, high], null for an open end.

    A value out of its range is a warning and a verdict in the product. Any QC value may be given a range.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, json_schema_extra=_quality_schema)

    @classmethod
    def defaults(cls, arm: str) -> QualitySettings:
        """Return the default ranges of an arm."""
        ranges = {name: one.range for name, one in DEFINITIONS.items() if one.range != (None, None)}
        of_arm = {name: one.arm_ranges[arm][0] for name, one in DEFINITIONS.items() if arm in one.arm_ranges}
        return cls(ranges | of_arm)

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Low and high end of each range by the name of the QC value; None for an open end."""
        return MappingProxyType(self.root)

    def updated(self, other: QualitySettings) -> QualitySettings:
        """Return a copy with the ranges that were given to another one."""
        return QualitySettings({**self.root, **other.root})

    def as_mapping(self) -> dict[str, Any]:
        """Return the ranges by the names of their QC values."""
        return dict(self.root)

    def __hash__(self) -> int:
        return hash(frozenset(self.root.items()))


class InputSettings(CheckedModel):
    """How input files are verified."""

    verify_checksums: Literal["warn", "strict"] = setting(
        "warn", "a wrong CHECKSUM or DATASUM of an input file leads to a warning or (strict) to a refusal"
    )


def _path(value: Any) -> Path | None:
    """Return a path with the home folder expanded."""
    text = str(value)
    if value is None:
        return None
    if not isinstance(value, str | Path) or not text or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        raise ValueError
    return Path(os.path.expanduser(text))


class InstrumentSettings(CheckedModel):
    """An instrument that soxspipe does not know yet."""

    table: Annotated[Path | None, BeforeValidator(_path)] = setting(
        None, "instrument table that comes before the shipped ones; relative to this file", expected="a path, or null"
    )


def _growing(windows: tuple[float, ...]) -> tuple[float, ...]:
    if not 0 < windows[0] <= windows[1] <= windows[2]:
        raise ValueError
    return windows


_WINDOWS = "three growing numbers of days above zero"
_Windows = Annotated[tuple[float, float, float], AfterValidator(_growing)]


class NightSettings(CheckedModel):
    """How the raw frames of a folder are grouped, and how old their calibrations may be."""

    gap_minutes: float = setting(
        60.0, "a longer pause between frames without ESO TPL START begins another set", "minutes", gt=0, le=1440
    )
    bias_windows_days: _Windows = setting(
        (1.0, 3.0, 30.0),
        "longest time between frames and master bias for quality levels 0, 1 and 2; beyond: level 3",
        "days",
        expected=_WINDOWS,
    )
    map_windows_days: _Windows = setting(
        (30.0, 180.0, 730.0), "the same for a static bad-pixel map", "days", expected=_WINDOWS
    )
    quiet_minutes: float = setting(
        10.0,
        "a set without ESO TPL NEXP is complete when its folder has not changed for so long (command watch)",
        "minutes",
        gt=0,
        le=1440,
    )
    rescan_seconds: float = setting(
        30.0, "time between two looks at folders that give no word of a change (command watch)", "s", gt=0, le=3600
    )
