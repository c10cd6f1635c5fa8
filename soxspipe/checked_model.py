"""The base of checked data (parameters, settings, instrument tables), and its faults in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from .exceptions import SettingsError
from .text import format_value, nearest

__all__ = ["CheckedModel", "Schema", "check", "plain_value", "setting", "valid_values"]

#: A JSON schema (draft 2020-12), with the further keywords ``unit``, ``also`` and ``expected``.
Schema = dict[str, Any]

_ModelT = TypeVar("_ModelT", bound=BaseModel)

_NOUNS = {
    "number": "a number", "integer": "a whole number", "string": "text", "boolean": "true or false",
    "array": "a list", "object": "keys with values",
}  # fmt: skip


def setting(
    default: Any, words: str, unit: str = "", *, expected: str = "", keys: tuple[str, ...] = (), **facts: Any
) -> Any:
    """Declare a value of a `CheckedModel`: default, words, unit and range.

    Parameters
    ----------
    default : object
        The default; ``...`` where a value must be given.
    words : str
        Its meaning, for the settings file and the documentation.
    unit : str
        Unit of a number.
    expected : str
        Valid values in words, where type and range are not enough. A validator that raises ValueError without
        text leaves the message to them.
    keys : tuple of str
        The key in the file, where it is not the name, and other keys that are accepted.
    **facts
        Limits (``gt``, ``ge``, ``le``) and other arguments of `pydantic.Field`.

    Returns
    -------
    pydantic.fields.FieldInfo
    """
    extra: Schema = {"unit": unit, "expected": expected, "also": keys[1:]}
    return Field(
        default,
        description=words,
        validation_alias=AliasChoices(*keys) if keys else None,
        json_schema_extra={keyword: value for keyword, value in extra.items() if value},
        **facts,
    )


def plain_value(value: Any) -> Any:
    """Return a scalar of NumPy as one of Python, and a list as a tuple, as strict types expect."""
    if isinstance(value, list):
        return tuple(map(plain_value, value))
    return value.item() if getattr(value, "shape", None) == () else value


class CheckedModel(BaseModel):
    """Frozen data of strict types, without unknown keys and without infinite numbers.

    A file writes the name of a value with hyphens, Python with underscores.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _plain_value(cls, value: Any) -> Any:
        return plain_value(value)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Return checked data from keyword arguments; raises SettingsError with a line for each fault."""
        return check(cls, values, cls.__name__, by_name=True)

    def updated(self, other: Self) -> Self:
        """Return a copy with the values that were given to another one of the same class."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})

    def as_mapping(self) -> dict[str, Any]:
        """Return the values by their keys in a file."""
        return self.model_dump(by_alias=True)


def check(
    model: type[_ModelT], values: Any, where: str, *, by_name: bool = False, other_keys: Iterable[str] = ()
) -> _ModelT:
    """Check values and return them as a model.

    Parameters
    ----------
    model : type of pydantic.BaseModel
        Declares types, ranges and keys.
    values : object
        Mapping of keys to values; None for none.
    where : str
        File and section, for messages.
    by_name : bool
        Whether keys are the names in Python instead of those in a file.
    other_keys : iterable of str
        Further keys that the file may hold there, for the message about an unknown key.

    Returns
    -------
    pydantic.BaseModel

    Raises
    ------
    SettingsError
        With all faults at once, one line for each: where, key, found, expected.
    """
    values = {} if values is None else dict(values) if isinstance(values, Mapping) else values
    try:
        return model.model_validate(values, by_name=by_name, by_alias=not by_name)
    except ValidationError as error:
        fault = settings_error(error, model, values, where, by_name=by_name, other_keys=other_keys)
    raise fault


def settings_error(
    error: ValidationError,
    model: type[BaseModel],
    values: Any,
    where: str,
    *,
    by_name: bool = False,
    other_keys: Iterable[str] = (),
) -> SettingsError:
    """Return the faults that pydantic found as one error; see `check`."""
    schema = model.model_json_schema(by_alias=not by_name)
    order = {key: position for position, key in enumerate(values)} if isinstance(values, dict) else {}
    faults = error.errors(include_url=False)
    faults.sort(key=lambda fault: order.get(fault["loc"][:1] and fault["loc"][0], len(order)))
    lines = [_fault_line(fault, schema, values, where, list(other_keys)) for fault in faults]
    return SettingsError(dict.fromkeys(lines))


def _fault_line(fault: ErrorDetails, schema: Schema, values: Any, where: str, other_keys: list[str]) -> str:
    """Write a fault of pydantic in our words, from the JSON schema of the value."""
    definitions, location, path, missing = schema.get("$defs", {}), fault["loc"], [], False
    for step in location:
        part = None if step == "[key]" else _part(schema, step)
        if part is None:
            break
        schema = definitions.get(part.get("$ref", "").rpartition("/")[2], part)
        path.append(f"entry {int(step) + 1}" if isinstance(values, list | tuple) else str(step))
        missing = fault["type"] == "missing" and len(path) == len(location)
        values = None if missing else values[step]

    def line(place: list[str], words: str) -> str:
        return ": ".join([where, *([" ".join(place)] if place else []), words])

    if location[-1:] == ("[key]",) and len(path) == len(location) - 1:
        return line(path[:-1], f"key {path[-1]} is not valid, expected text")
    if len(path) < len(location) and "additionalProperties" in schema:
        key, properties = location[len(path)], schema.get("properties", {})
        for name, part in properties.items():
            if key in part.get("also", ()):
                return line(path, f"{name} and {key} are the same setting: keep one of them")
        return line(path, f"unknown key {format_value(key)}: {nearest(key, [*properties, *other_keys])}")
    if fault["type"] in ("model_type", "dict_type"):
        return line(path, f"found {format_value(values)}, expected keys with values")
    found = "is missing" if missing else f"is {format_value(values)}"
    expected = str(fault["ctx"]["error"]) if fault["type"] == "value_error" else ""
    return line(path[:-1], f"{path[-1]} {found}, expected {expected or _expectation(schema)}")


def _part(schema: Schema, step: int | str) -> Schema | None:
    """Return the schema of an entry of a mapping or list; None where the schema has none."""
    part = schema.get("properties", {}).get(step) or schema.get("additionalProperties") or schema.get("items")
    for pattern, numbered in schema.get("patternProperties", {}).items():
        if re.search(pattern, str(step)):
            part = numbered
    return part or None


def valid_values(schema: Schema) -> str:
    """Return the valid values of a JSON schema in short: ``> 0``, ``1 to 100``, the choices."""
    if "expected" in schema:
        return str(schema["expected"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "exclusiveMinimum" in schema:
        return f"> {schema['exclusiveMinimum']:g}"
    return f"{schema['minimum']:g} to {schema['maximum']:g}" if "maximum" in schema else ""


def _expectation(schema: Schema) -> str:
    """Return the valid values of a JSON schema for a message: noun, range, unit."""
    if "expected" in schema:
        return str(schema["expected"])
    if "anyOf" in schema:
        unit_of = {key: schema[key] for key in schema.keys() & {"unit"}}
        return f"{_expectation(unit_of | schema['anyOf'][0])}, or null"
    noun = "one of" if "enum" in schema else _NOUNS[schema["type"]]
    if "maximum" in schema:
        noun += " from"
    unit = f"({schema['unit']})" if "unit" in schema else ""
    return " ".join(part for part in (noun, valid_values(schema), unit) if part)
