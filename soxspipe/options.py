"""How any option is declared, checked and read: what options there are stands in `soxspipe.settings`."""

from __future__ import annotations

import difflib
import functools
import math
import numbers
import os
import stat
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import Field, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from .exceptions import SettingsError

__all__ = ["Section", "nearest", "option", "parse_yaml", "read_section", "read_yaml_text", "shown"]

#: No settings file is larger.
LARGEST_FILE_BYTES = 1 << 17

#: No value is longer; reading the digits of a number takes time that grows with their square.
LONGEST_SCALAR = 4096

#: As many characters of a wrong value are shown.
LONGEST_VALUE = 60

Check = Callable[[Any], Any]
_SectionT = TypeVar("_SectionT", bound="Section")


def option(default: Any, words: str, unit: str = "", **facts: Any) -> Any:
    """Declare an option: a dataclass field that knows its type, unit, range and words.

    Parameters
    ----------
    default : float, int, str or None
        Its type is the option's; None stands for a path that may be left out.
    words : str
        What the option is, for the settings file and the documentation.
    unit : str
        Unit of a number.
    **facts
        ``low`` and ``high`` of a number (of a float, ``low`` alone, which is excluded), ``choices`` of a
        string, ``aliases``: other keys that are accepted.

    Returns
    -------
    dataclasses.Field
    """
    kind = Path if default is None else type(default)
    span = {
        float: lambda: f"> {facts['low']:g}",
        int: lambda: f"{facts['low']:g} to {facts['high']:g}",
        str: lambda: ", ".join(facts["choices"]),
        Path: lambda: "a path, or null",
    }[kind]()
    return field(default=default, metadata={"type": kind, "unit": unit, "range": span, "words": words, **facts})


class Section:
    """What sections share, as a base of frozen dataclasses: values are checked whoever gives them."""

    def __post_init__(self) -> None:
        faults = []
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            try:
                object.__setattr__(self, one.name, _checked(one, value))
            except ValueError as error:
                faults.append(f"{type(self).__name__}: {one.name} is {shown(value)}, expected {error}")
        if faults:
            raise SettingsError(faults)

    @classmethod
    def keys(cls) -> dict[str, tuple[str, Check]]:
        """Return the keys of this section of the file, each with the name of its value and its check."""
        return {
            key: (one.name, functools.partial(_checked, one))
            for one in fields(cls)  # type: ignore[arg-type]
            for key in (one.name.replace("_", "-"), *one.metadata.get("aliases", ()))
        }

    def as_mapping(self) -> dict[str, Any]:
        """Return the values by their keys in the file."""
        return {one.name.replace("_", "-"): getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]

    def with_values(self: _SectionT, values: Mapping[str, Any]) -> _SectionT:
        """Return a copy with some values changed."""
        return replace(self, **values)  # type: ignore[type-var]


def _checked(one: Field[Any], value: Any) -> Any:
    """Return a value in the type of its option; raises ValueError that says what was expected."""
    facts = one.metadata
    if "check" in facts:
        return facts["check"](value)
    unit = f" ({facts['unit']})" if facts["unit"] else ""
    if facts["type"] is float:
        number = finite(value)
        if number is None or number <= facts["low"]:
            raise ValueError(f"a number {facts['range']}{unit}")
        return number
    if facts["type"] is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or not facts["low"] <= value <= facts["high"]:
            raise ValueError(f"a whole number from {facts['range']}{unit}")
        return int(value)
    if facts["type"] is str:
        if not isinstance(value, str) or value not in facts["choices"]:
            raise ValueError(f"one of {facts['range']}")
        return value
    if value is None:
        return None
    text = str(value)
    if not isinstance(value, str | Path) or not text or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text):
        raise ValueError(str(facts["range"]))
    return Path(os.path.expanduser(text))


def finite(value: Any) -> float | None:
    """Return a value as a float; None where it is no finite number (a bool and a string are none)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def shown(value: Any) -> str:
    """Return a wrong value as a message shows it: on one line, and not too long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = f"<{type(value).__name__} of {value.bit_length()} bits>"
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."


def nearest(key: Any, names: Iterable[str]) -> str:
    """Return the remedy for an unknown name: the valid one that is nearest, or all of them."""
    by_lower_case = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(key)[:LONGEST_VALUE].lower(), by_lower_case, n=1)
    return f"did you mean '{by_lower_case[near[0]]}'?" if near else f"expected {', '.join(by_lower_case.values())}"


def read_section(
    values: Any, base: _SectionT, where: str, faults: list[str], subsections: Iterable[str] = ()
) -> _SectionT:
    """Change a section by the values of a mapping.

    Parameters
    ----------
    values : object
        Mapping of keys to values, as read from a file; None for a section without any.
    base : Section
        Holds what the mapping leaves out.
    where : str
        File and section, for messages.
    faults : list of str
        Takes what is wrong with the values, one line a fault.
    subsections : iterable of str
        Keys to pass over.

    Returns
    -------
    Section
    """
    if values is None:
        return base
    if not isinstance(values, Mapping):
        faults.append(f"{where}: found {shown(values)}, expected keys with values")
        return base
    keys, others = base.keys(), tuple(subsections)
    found: dict[str, Any] = {}
    used: dict[str, str] = {}
    for key, value in values.items():
        if key in others:
            continue
        if key not in keys:
            faults.append(f"{where}: unknown key {shown(key)}: {nearest(key, [*keys, *others])}")
            continue
        name, check = keys[key]
        if name in used:
            faults.append(f"{where}: {used[name]} and {key} are the same setting: keep one of them")
            continue
        used[name] = key
        try:
            found[name] = check(value)
        except ValueError as error:
            faults.append(f"{where}: {key} is {shown(value)}, expected {error}")
    return base.with_values(found)


class _Loader(yaml.SafeLoader):
    """A safe loader that notes duplicate keys, and refuses tags, anchors and whatever they make explode."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[tuple[Any, int]] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        what = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            what = "anchors and aliases are not read, write the value itself"
        elif getattr(event, "tag", None) is not None:
            what = "tags are not read, write the plain value"
        elif len(getattr(event, "value", None) or "") > LONGEST_SCALAR:
            what = f"a value has more than {LONGEST_SCALAR} characters"
        if what is not None:
            raise yaml.composer.ComposerError(None, None, what, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys are not read", key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                self.duplicates.append((key, key_node.start_mark.line + 1))
            seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, name: str) -> tuple[Mapping[Any, Any], list[str]]:
    """Parse the text of a file that a user wrote.

    Parameters
    ----------
    text : str
        YAML with a mapping at its top level; nothing at all is an empty mapping.
    name : str
        Name of the file, for messages.

    Returns
    -------
    mapping : mapping
    faults : list of str
        One line for each key that is given twice.

    Raises
    ------
    SettingsError
        When the text cannot be read, or uses tags, anchors, aliases or merge keys.
    """
    loader = None
    try:
        loader = _Loader(text)
        content = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise SettingsError(f"{name}: {line}not usable YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise SettingsError(f"{name}: not usable YAML: {reason}") from error
    if content is None:
        content = {}
    if not isinstance(content, Mapping):
        raise SettingsError(f"{name}: found {shown(content)}, expected sections with keys and values")
    return content, [f"{name}: line {line}: {shown(key)} is given twice: keep one" for key, line in loader.duplicates]


def read_yaml_text(path: Path) -> str:
    """Read a file that a user wrote.

    Parameters
    ----------
    path : pathlib.Path
        A file of at most 128 KiB, UTF-8.

    Returns
    -------
    str

    Raises
    ------
    SettingsError
        When the file cannot be read, is larger or is not UTF-8.
    """
    try:
        # a pipe that nobody writes to must not stop the program
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ValueError("not a regular file")
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path}: not readable: {reason}: expected a file of text") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise SettingsError(f"{path}: more than {LARGEST_FILE_BYTES} bytes: no settings file is that large")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start} is not UTF-8: save the file as UTF-8") from error
