"""Write the settings file and the rows of its table from the models: ``python docs/_ext/settings_file.py``.

settings.yaml is the output of this program; a test compares them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from soxspipe.checked_model import valid_values
from soxspipe.quality.definitions import DEFINITIONS
from soxspipe.settings import ARMS_WITH_RANGES, Settings

#: The package holds a link to it.
FILE = Path(__file__).parents[2] / "settings.yaml"

HEAD = (
    "The settings of soxspipe, with their defaults. Copy this file, keep the lines that you want to change, and give "
    "the copy with --settings: values that are left out keep their defaults. In any section except input, night and "
    f"instruments, values under the name of an arm ({', '.join(ARMS_WITH_RANGES)}) hold for that arm only:"
)
EXAMPLE = """\
#
#   mdark:
#     minimum-frames: 3
#     NIR:
#       minimum-frames: 5"""


class SettingRow(NamedTuple):
    """One default: section, arm (empty for all arms), key, value as the file writes it, unit, range, words."""

    section: str
    arm: str
    key: str
    default: str
    unit: str
    range: str
    words: str


def settings_rows() -> Iterator[SettingRow]:
    """Yield all settings that have a default, in the order of the settings file."""
    for section, schema in Settings.json_schema()["properties"].items():
        if "alias-of" in schema:
            continue
        properties = {key: part for key, part in schema["properties"].items() if "description" in part}
        for key, part in properties.items():
            if "default" in part and "alias-of" not in part:
                aliases = [other for other, alias in properties.items() if alias.get("alias-of") == key]
                words = part["description"] + (f" (also accepted: {', '.join(aliases)})" if aliases else "")
                yield row(section, "", key, part["default"], part, words)
        for arm in ARMS_WITH_RANGES if section == "quality" else ():
            for key, part in properties.items():
                if arm in part.get("default-of-arms", {}):
                    reason = DEFINITIONS[key].arm_ranges[arm][1]
                    yield row(section, arm, key, part["default-of-arms"][arm], part, reason)


def row(section: str, arm: str, key: str, default: Any, part: dict[str, Any], words: str) -> SettingRow:
    """Return a row of a key's schema."""
    return SettingRow(section, arm, key, yaml_value(default), part.get("unit", ""), valid_values(part), words)


def yaml_value(value: Any) -> str:
    """Return a value as the file writes it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(yaml_value, value))}]"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "null" if value is None else str(value)


def settings_text() -> str:
    """Return the settings file, ready to edit."""
    lines = [*comment(HEAD), EXAMPLE]
    section = arm = ""
    for entry in settings_rows():
        if entry.section != section:
            section, arm = entry.section, ""
            lines += ["", *comment(" ".join(Settings.json_schema()["properties"][section]["description"].split()))]
            if section == "quality":
                for recipe in dict.fromkeys(recipe for one in DEFINITIONS.values() for recipe in one.recipes):
                    names = [name.replace(" ", "\xa0") for name, one in DEFINITIONS.items() if recipe in one.recipes]
                    lines += comment(f"- {recipe}: {', '.join(names)}", "  ")
            lines.append(f"{section}:")
        if entry.arm != arm:
            arm = entry.arm
            lines.append(f"  {arm}:")
        unit = f" ({entry.unit})" if entry.unit not in entry.words else ""
        text = f"{'    ' if arm else '  '}{entry.key}: {entry.default}"
        lines.append(f"{text:<37} # {entry.words}{unit}")
    return "\n".join(lines) + "\n"


def comment(text: str, indent: str = "") -> list[str]:
    """Return a text as lines of a comment; no-break spaces hold the names of QC values together."""
    lines = textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent=f"# {indent}")
    return [line.replace("\xa0", " ") for line in lines]


if __name__ == "__main__":
    FILE.write_text(settings_text(), encoding="utf-8")
