"""The settings: a YAML file for the user, checked models for the recipes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .checked_model import CheckedModel, Schema, check
from .comparison.parameters import ChangeParameters, VerifyParameters
from .exceptions import SettingsError
from .quality.definitions import DEFINITIONS
from .settings_sections import (
    InputSettings,
    InstrumentSettings,
    MasterBiasSettings,
    MasterDarkSettings,
    NightSettings,
    QualitySettings,
    SubtractDarkSettings,
)  # fmt: skip
from .stacking.parameters import DarkRateParameters, NoiseMapParameters
from .text import format_value, nearest
from .yaml_files import parse_yaml, read_yaml_text

__all__ = [
    "ArmSettings",
    "InputSettings",
    "InstrumentSettings",
    "MasterBiasSettings",
    "MasterDarkSettings",
    "QualitySettings",
    "Settings",
    "SubtractDarkSettings",
    "default_settings_text",
]

#: Arms whose detectors have default ranges.
ARMS_WITH_RANGES = tuple(dict.fromkeys(arm for definition in DEFINITIONS.values() for arm in definition.arm_ranges))


class ArmSettings(CheckedModel):
    """All settings of one arm, one attribute for each section of the file."""

    mdark: MasterDarkSettings = MasterDarkSettings()
    mbias: MasterBiasSettings = MasterBiasSettings()
    create_noise_map: NoiseMapParameters = NoiseMapParameters()
    dark_current: DarkRateParameters = DarkRateParameters()
    verify: VerifyParameters = VerifyParameters()
    pixel_changes: ChangeParameters = ChangeParameters()
    subtract_dark: SubtractDarkSettings = SubtractDarkSettings()
    quality: QualitySettings = QualitySettings.defaults("")
    input: InputSettings = InputSettings()
    night: NightSettings = NightSettings()
    instruments: InstrumentSettings = InstrumentSettings()


#: Attribute and model of each section, by its key in the file.
_SECTIONS: dict[str, tuple[str, Any]] = {
    name.replace("_", "-"): (name, section.annotation) for name, section in ArmSettings.model_fields.items()
}
#: Names of sections in older files.
_OLD_SECTIONS = {"soxs-mdark": "mdark", "soxs-mbias": "mbias"}
#: Sections that are needed before the arm is known.
_WITHOUT_ARMS = ("input", "night", "instruments")


def _arms(table: Path | None) -> tuple[str, ...]:
    """Return the arms of the shipped instrument tables, and of a further table."""
    from .instruments.keywords import all_instruments

    return tuple(dict.fromkeys(arm for instrument in all_instruments(table) for arm in instrument.detectors))


def _named_arms(mapping: Mapping[Any, Any], folder: Path | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arms that sections may name, and the faults of the instrument table that is read for them."""
    keys = {key for values in mapping.values() if isinstance(values, Mapping) for key in values}
    if keys:
        keys -= {key for _, model in _SECTIONS.values() for key in model.model_json_schema()["properties"]}
    arms = _arms(None) if keys else ()
    instruments = mapping.get("instruments")
    table = instruments.get("table") if isinstance(instruments, Mapping) else None
    if keys <= set(arms) or not isinstance(table, str | Path) or not table:
        return arms, ()
    try:
        return _arms((folder or Path()) / os.path.expanduser(table)), ()
    except SettingsError as error:
        return arms, error.faults


def _with_table(mapping: Mapping[Any, Any], table: Path | None) -> Mapping[Any, Any]:
    """Return the content of a settings file with an instrument table in place of its own."""
    return mapping if table is None else {**mapping, "instruments": {"table": table.absolute()}}


@dataclass(frozen=True)
class Settings:
    """Checked settings of all arms.

    Attributes
    ----------
    name : str
        Their source, for messages.
    common : ArmSettings
        Settings of an arm without own values.
    arms : tuple of (str, ArmSettings)
        Settings of the arms that have own values.
    """

    name: str = field(compare=False)
    common: ArmSettings
    arms: tuple[tuple[str, ArmSettings], ...]

    @property
    def input(self) -> InputSettings:
        """The section ``input``, which is needed before the arm is known."""
        return self.common.input

    @property
    def night(self) -> NightSettings:
        """The section ``night``, which is needed before the arm is known."""
        return self.common.night

    @property
    def instruments(self) -> InstrumentSettings:
        """The section ``instruments``, which is needed before the arm is known."""
        return self.common.instruments

    def for_arm(self, arm: str) -> ArmSettings:
        """Return the settings of one arm; an arm without own values has the common ones."""
        return dict(self.arms).get(arm, self.common)

    def with_values(self, section: str, **values: Any) -> Settings:
        """Return a copy with other values of one section, for all arms; names and values are those of its model."""

        def changed(settings: ArmSettings) -> ArmSettings:
            model = getattr(settings, section)
            return settings.model_copy(update={section: type(model).of(**{**dict(model), **values})})

        return Settings(self.name, changed(self.common), tuple((arm, changed(one)) for arm, one in self.arms))

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any] | Settings | None = None,
        *,
        instrument_table: Path | None = None,
    ) -> Settings:
        """Make settings from a file, a mapping or other settings.

        Parameters
        ----------
        source : str, path-like, mapping, Settings or None
            A settings file, or a mapping laid out as one; None for the defaults.
        instrument_table : pathlib.Path, optional
            Instrument table that takes the place of the one in ``source``, relative to the working directory.

        Returns
        -------
        Settings
            Values that ``source`` leaves out have their defaults.

        Raises
        ------
        SettingsError
            With all faults at once, one line for each.
        """
        if isinstance(source, Settings):
            return source.with_table(instrument_table)
        if source is None or isinstance(source, Mapping):
            return cls.from_mapping(_with_table(source or {}, instrument_table))
        if not isinstance(source, str | os.PathLike):
            raise SettingsError(f"settings: found a {type(source).__name__}, expected a path or a mapping")
        path = Path(os.path.expanduser(source))
        mapping, faults = parse_yaml(read_yaml_text(path), str(path))
        return cls.from_mapping(_with_table(mapping, instrument_table), str(path), path.parent, faults)

    def with_table(self, instrument_table: Path | None) -> Settings:
        """Return a copy with another instrument table; None: the settings themselves."""
        if instrument_table is None:
            return self
        update = {"instruments": InstrumentSettings(table=instrument_table.absolute())}
        arms = ((arm, settings.model_copy(update=update)) for arm, settings in self.arms)
        return replace(self, common=self.common.model_copy(update=update), arms=tuple(arms))

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
            Source of the mapping, for messages.
        folder : pathlib.Path, optional
            Folder that paths in the settings are relative to; default: the working directory.
        faults : iterable of str
            Faults found before, to be raised with those found here.

        Returns
        -------
        Settings

        Raises
        ------
        SettingsError
            With all faults at once, one line for each.
        """
        arms, table_faults = _named_arms(mapping, folder)
        lines, given = [*faults, *table_faults], {"": dict[str, Any]()}
        for key, values in mapping.items():
            section_name = _OLD_SECTIONS.get(key, key)
            if section_name not in _SECTIONS:
                lines.append(f"{name}: unknown section {format_value(key)}: {nearest(key, _SECTIONS)}")
                continue
            if section_name != key and section_name in mapping:
                lines.append(f"{name}: {key} is the old name of {section_name}, which is given too: keep one")
            attribute, model = _SECTIONS[section_name]
            own_arms = () if attribute in _WITHOUT_ARMS else arms
            parts = {"": values}
            if isinstance(values, Mapping):
                parts = {"": {k: value for k, value in values.items() if k not in own_arms}}
                parts |= {arm: values[arm] for arm in own_arms if arm in values}
            for arm, part in parts.items():
                try:
                    section = check(model, part, f"{name}: {key} {arm}".rstrip(), other_keys=() if arm else own_arms)
                    given.setdefault(arm, {})[attribute] = section
                except SettingsError as error:
                    lines += error.faults
        if lines:
            raise SettingsError(lines)
        table = given[""].get("instruments", InstrumentSettings()).table
        if folder is not None and table is not None:
            given[""]["instruments"] = InstrumentSettings(table=folder / table)

        def settings_of(arm: str) -> ArmSettings:
            settings = ArmSettings(quality=QualitySettings.defaults(arm))
            for sections in (given[""], given.get(arm, {})):
                updated = {name: getattr(settings, name).updated(section) for name, section in sections.items()}
                settings = settings.model_copy(update=updated)
            return settings

        common = settings_of("")
        of_arms = ((arm, settings_of(arm)) for arm in dict.fromkeys([*ARMS_WITH_RANGES, *given]) if arm)
        return cls(name, common, tuple((arm, settings) for arm, settings in of_arms if settings != common))

    @staticmethod
    def json_schema(table: Path | None = None) -> Schema:
        """Return a JSON schema (draft 2020-12) of the settings file, for editors.

        Parameters
        ----------
        table : pathlib.Path, optional
            An instrument table, for its arms.

        Returns
        -------
        dict
            Sections, arms in sections, keys with description, unit, default and range.
        """
        arms = _arms(table)
        sections = {key: _section_schema(model) for key, (_, model) in _SECTIONS.items()}
        of_arms = {key: section for key, section in sections.items() if key not in _WITHOUT_ARMS}
        for key, section in of_arms.items():
            properties = section["properties"] | {arm: {"$ref": f"#/$defs/{key}"} for arm in arms}
            sections[key] = {**section, "properties": properties}
        sections |= {old: {**sections[key], "alias-of": key} for old, key in _OLD_SECTIONS.items()}
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Settings of soxspipe",
            "type": ["object", "null"],
            "properties": sections,
            "additionalProperties": False,
            "$defs": of_arms,
        }


def _section_schema(model: type[Any]) -> Schema:
    """Return the JSON schema of a section, with all keys that it may hold."""
    schema = model.model_json_schema()
    properties: Schema = {}
    for key, part in schema["properties"].items():
        part.pop("title", None)
        also = part.pop("also", ())
        properties[key] = part
        properties |= {name: {**part, "alias-of": key} for name in also}
    return {**schema, "type": ["object", "null"], "properties": properties}


def default_settings_text() -> str:
    """Return the settings file that comes with soxspipe, comments included, ready to edit."""
    return read_yaml_text(Path(__file__).with_name("settings.yaml"))
