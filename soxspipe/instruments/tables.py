"""Layout of an instrument table: checked models of what its file holds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from ..checked_model import plain_value, setting
from .detectors import NULL_IS_EMPTY, Detector, InstrumentModel, Keyword, Text

__all__ = ["FRAME_TYPES", "InstrumentTable", "spelled_out"]

#: Types of frames that a table gives words for, and the type that recipes ask for.
FRAME_TYPES = {"dark": "DARK", "bias": "BIAS", "flat": "FLAT", "light": "LIGHT"}

_Keywords = Annotated[tuple[Keyword, ...], NULL_IS_EMPTY]
_Words = Annotated[tuple[Text, ...], NULL_IS_EMPTY]
#: A set cannot be verified without these.
_NeededKeywords = Annotated[
    tuple[Keyword, ...], Field(min_length=1, json_schema_extra={"expected": "one header keyword at least"})
]
_NeededWords = Annotated[
    tuple[Text, ...],
    BeforeValidator(plain_value),
    Field(min_length=1, json_schema_extra={"expected": "a list of one value at least"}),
]
_Binning = Annotated[int, Field(ge=1, le=16)]


class TypeWords(InstrumentModel):
    """Keywords that hold the type of a frame, and the words that cameras write there."""

    keyword: _Keywords = setting((), "keywords that may hold the type of a frame, best first")
    dark: _Words = setting((), "words for a dark; upper and lower case are the same")
    bias: _Words = setting((), "words for a bias")
    flat: _Words = setting((), "words for a flat field")
    light: _Words = setting((), "words for an exposure of the sky")

    @field_validator("bias", "flat", "light")
    @classmethod
    def _one_type_a_word(cls, words: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        taken = {word.casefold() for name in FRAME_TYPES if name != info.field_name for word in info.data.get(name, ())}
        if taken & {word.casefold() for word in words}:
            raise ValueError("words that no other type has")
        return words

    def by_word(self) -> dict[str, str]:
        """Return the type of a frame by the word of the camera."""
        return {word: name for key, name in FRAME_TYPES.items() for word in getattr(self, key)}


class ArmWords(InstrumentModel):
    """Keywords that hold the arm, and the words that stand for it."""

    keyword: _Keywords = setting((), "keywords that may hold the arm, best first; none where there is one arm")
    values: dict[str, _NeededWords] = setting({}, "for each arm the words of the camera, where it writes others")

    def by_word(self) -> dict[str, str]:
        """Return the arm by the word of the camera."""
        return {word: arm for arm, words in self.values.items() for word in words}


class KeywordTable(InstrumentModel):
    """For each meaning the header keywords that may hold it, best first."""

    type: TypeWords = setting(..., "type of the frame")
    arm: ArmWords = setting(ArmWords(), "arm: the detector of the frame")
    category: _Keywords = setting((), "category; it must be CALIB")
    technique: _Keywords = setting((), "technique, which the product keeps")
    exptime: _NeededKeywords = setting(("EXPTIME", "EXPOSURE"), "exposure time")
    dit: _Keywords = setting((), "exposure time of one integration")
    ndit: _Keywords = setting((), "integrations that a frame is the average of")
    mjd: _Keywords = setting(("MJD-OBS",), "start of the exposure, modified Julian date")
    date: _Keywords = setting(("DATE-OBS",), "start of the exposure, date with or without time")
    time: _Keywords = setting(
        ("TIME-OBS", "UT", "UTC-OBS", "UTSTART", "UTC"), "time of the start, where the date has none"
    )
    jd: _Keywords = setting(("JD", "JD-OBS"), "start of the exposure, Julian date, where there is no other")
    binx: _Keywords = setting(("XBINNING",), "binning of columns")
    biny: _Keywords = setting(("YBINNING",), "binning of rows")
    read_mode: _Keywords = setting((), "read-out mode; the same in all frames of a set")
    read_mode_name: _Keywords = setting((), "name of the read-out mode")
    conad: _Keywords = setting((), "conversion factor, electron/ADU")
    gain: _Keywords = setting((), "its inverse, ADU/electron; it is only compared")
    read_noise: _Keywords = setting((), "read noise, electron; it is only compared")
    chip: _Keywords = setting((), "name of the chip; the same in all frames of a set")
    template: _Keywords = setting((), "observing template")
    archive_name: _Keywords = setting((), "name in the archive")
    unit: _Keywords = setting(("BUNIT",), "unit of the samples: ADU, electron, ADU/s or electron/s")
    settings: _Keywords = setting(
        (
            "GAIN", "EGAIN", "OFFSET", "BLKLEVEL", "COADDS", "NCOADDS", "READOUTM", "ROWORDER", "BAYERPAT",
            "XBAYROFF", "YBAYROFF", "XORGSUBF", "YORGSUBF", "ESO DET OUT1 OFFSET", "ESO DET WIN1 STRX",
            "ESO DET WIN1 STRY", "ESO DET WIN STARTX", "ESO DET WIN STARTY",
        ),
        "settings of the read-out; the same in all frames of a set",
    )  # fmt: skip


class Units(InstrumentModel):
    """Units of the header, where they are others than soxspipe's."""

    temperature: Literal["kelvin", "celsius"] = setting(
        "kelvin", "unit of the detector temperature; without it a value below zero is read as Celsius"
    )
    exptime: Literal["s", "ms", "us", "min"] = setting("s", "unit of the exposure time")


class Defaults(InstrumentModel):
    """Values where a header has no keyword for them."""

    type: Literal["dark", "bias", "flat", "light"] | None = setting(None, "type of all frames")
    arm: Text | None = setting(None, "arm; that of the detector, where the table has one")
    category: Text | None = setting(None, "category; CALIB where the table has no keyword for it")
    technique: Text | None = setting(None, "technique; IMAGE where the table has no keyword for it")
    binx: _Binning | None = setting(None, "binning of columns; 1 where the table has no keyword for it")
    biny: _Binning | None = setting(None, "binning of rows; 1 where the table has no keyword for it")
    read_mode: Text | None = setting(None, "read-out mode, a word in the name of the product")
    unit: Text | None = setting(None, "unit of the samples; ADU")


class InstrumentTable(InstrumentModel):
    """An instrument table as the file has it."""

    instrument: str = setting(
        ..., "name of the instrument", expected="letters, digits, - and _, 20 at most", pattern=r"^[A-Za-z0-9_-]{1,20}$"
    )
    match: dict[Keyword, _NeededWords] = setting(
        ...,
        "keywords and values by which a header is one of this instrument, all of them; any where the table is always "
        "given by hand",
        expected="any, or keywords with lists of values, such as INSTRUME: [ZWO ASI294MC Pro]",
    )
    units: Units = setting(Units(), "units of the header")
    keywords: KeywordTable = setting(..., "header keywords by meaning")
    detectors: dict[str, Detector] = setting(..., "detectors by arm")
    defaults: Defaults = setting(Defaults(), "values where a header has no keyword for them")

    @field_validator("detectors")
    @classmethod
    def _named_arms(cls, detectors: dict[str, Detector]) -> dict[str, Detector]:
        """Give each detector the name of its arm."""
        named = all(re.fullmatch("[A-Z][A-Z0-9]{0,9}", arm) for arm in detectors)
        if not detectors or not named or any(detector.arm not in ("", arm) for arm, detector in detectors.items()):
            raise ValueError("one arm at least, each named by up to 10 capital letters and digits")
        return {arm: detector.model_copy(update={"arm": arm}) for arm, detector in detectors.items()}

    @field_validator("defaults")
    @classmethod
    def _every_frame_has_type_and_arm(cls, defaults: Defaults, info: ValidationInfo) -> Defaults:
        """Refuse a table that leaves the type or the arm of a frame open."""
        if {"keywords", "detectors"} <= info.data.keys():
            keywords, arms = info.data["keywords"], list(info.data["detectors"])
            if not keywords.type.keyword and defaults.type is None:
                raise ValueError("a type, such as dark, as no keyword of the table holds it")
            named = [*keywords.arm.values, *([] if defaults.arm is None else [defaults.arm])]
            open_arm = len(arms) > 1 and not keywords.arm.keyword and defaults.arm is None
            if open_arm or not set(named) <= set(arms):
                raise ValueError(f"an arm of the table ({', '.join(arms)}), here and in the values of keywords: arm")
        return defaults

    def values_without_keyword(self) -> dict[str, Any]:
        """Return the values by meaning of headers that lack a keyword."""
        given = {name: value for name, value in self.defaults if value is not None}
        if self.defaults.type is not None:
            given["type"] = FRAME_TYPES[self.defaults.type]
        implied = {"category": "CALIB", "technique": "IMAGE", "binx": 1, "biny": 1}
        if len(self.detectors) == 1:
            implied["arm"] = next(iter(self.detectors))
        without = {name: value for name, value in implied.items() if not self.keyword_tuples()[name]}
        return without | given

    def keyword_tuples(self) -> dict[str, tuple[str, ...]]:
        """Return the keywords of each meaning."""
        found: dict[str, Any] = dict(self.keywords)
        return {name: tuple(getattr(value, "keyword", value)) for name, value in found.items()}


def spelled_out(content: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the content of a table with its short forms written in full.

    Parameters
    ----------
    content : mapping
        Content of the file. A single word may stand for a list of one, a list for ``{keyword: ...}``, ``any`` for no
        condition, and ``instrume`` for the values of INSTRUME.

    Returns
    -------
    dict
        For `InstrumentTable`.
    """
    table = {"defaults": {}, **content}
    table["defaults"] = {} if table["defaults"] is None else table["defaults"]
    if "instrume" in table and "match" not in table:
        table["match"] = {"INSTRUME": table.pop("instrume")}
    match table.get("match"):
        case "any":
            table["match"] = {}
        case dict() as conditions:
            table["match"] = {keyword: _as_list(values) for keyword, values in conditions.items()}
    if isinstance(table.get("keywords"), Mapping):
        table["keywords"] = dict(_spelled_keywords(table["keywords"]))
    return table


def _spelled_keywords(keywords: Mapping[Any, Any]) -> Iterator[tuple[Any, Any]]:
    for meaning, value in keywords.items():
        if meaning not in ("type", "arm"):
            yield meaning, _as_list(value)
        elif isinstance(value, Mapping):
            parts = {key: part if isinstance(part, Mapping) else _as_list(part) for key, part in value.items()}
            if isinstance(parts.get("values"), Mapping):
                parts["values"] = {arm: _as_list(words) for arm, words in parts["values"].items()}
            yield meaning, parts
        else:
            yield meaning, {"keyword": _as_list(value)}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value
