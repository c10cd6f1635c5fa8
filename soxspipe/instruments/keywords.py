"""The instrument that a header belongs to, and the keywords of that instrument."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from ..checked_model import check, setting
from ..exceptions import FrameError, SettingsError
from ..yaml_files import parse_yaml, read_yaml_text
from .detectors import NULL_IS_EMPTY, Detector, InstrumentModel, Keyword, Text

__all__ = ["Instrument", "instrument_for", "load_instrument", "shipped_instruments"]

_Keywords = Annotated[tuple[Keyword, ...], NULL_IS_EMPTY]
#: A set cannot be verified without these.
_NeededKeywords = Annotated[
    tuple[Keyword, ...], Field(min_length=1, json_schema_extra={"expected": "one header keyword at least"})
]


class _KeywordTable(InstrumentModel):
    """For each meaning the header keywords that may hold it, best first."""

    arm: _NeededKeywords
    category: _Keywords
    technique: _Keywords
    type: _NeededKeywords
    exptime: _NeededKeywords
    dit: _Keywords
    ndit: _Keywords
    mjd: _Keywords
    date: _Keywords
    binx: _Keywords
    biny: _Keywords
    read_mode: _Keywords
    read_mode_name: _Keywords = ()
    conad: _Keywords
    gain: _Keywords
    read_noise: _Keywords
    chip: _Keywords
    template: _Keywords
    archive_name: _Keywords
    # keywords that all cameras share need no entry in a table
    unit: _Keywords = ("BUNIT",)
    time: _Keywords = ("TIME-OBS", "UT", "UTC-OBS", "UTSTART", "UTC")
    jd: _Keywords = ("JD", "JD-OBS")
    settings: _Keywords = (
        "GAIN", "EGAIN", "OFFSET", "BLKLEVEL", "COADDS", "NCOADDS", "READOUTM", "ROWORDER", "XORGSUBF", "YORGSUBF",
        "ESO DET OUT1 OFFSET", "ESO DET WIN1 STRX", "ESO DET WIN1 STRY", "ESO DET WIN STARTX", "ESO DET WIN STARTY",
    )  # fmt: skip


class _InstrumentTable(InstrumentModel):
    """An instrument table as the file has it."""

    instrument: str = setting(
        ..., "name of the instrument", expected="letters, digits, - and _, 20 at most", pattern=r"^[A-Za-z0-9_-]{1,20}$"
    )
    instrume: tuple[Text, ...] = setting(
        ..., "values of INSTRUME that mean this instrument", expected="a list of one value at least", min_length=1
    )
    keywords: _KeywordTable
    detectors: dict[str, Detector]

    @field_validator("detectors")
    @classmethod
    def _named_arms(cls, detectors: dict[str, Detector]) -> dict[str, Detector]:
        """Give each detector the name of its arm."""
        named = all(re.fullmatch("[A-Z][A-Z0-9]{0,9}", arm) for arm in detectors)
        if not detectors or not named or any(detector.arm not in ("", arm) for arm, detector in detectors.items()):
            raise ValueError("one arm at least, each named by up to 10 capital letters and digits")
        return {arm: detector.model_copy(update={"arm": arm}) for arm, detector in detectors.items()}


@dataclass(frozen=True)
class Instrument:
    """One instrument: its keywords and its detectors.

    Attributes
    ----------
    name : str
        Name in product names and headers.
    instrume : tuple of str
        Values of the keyword INSTRUME that mean this instrument.
    keywords : mapping of str to tuple of str
        For each meaning the header keywords that may hold it, best first.
    detectors : mapping of str to Detector
        Detectors by arm.
    """

    name: str
    instrume: tuple[str, ...]
    keywords: Mapping[str, tuple[str, ...]]
    detectors: Mapping[str, Detector]

    def find(self, header: Mapping[str, Any], meaning: str) -> tuple[str, Any]:
        """Find the value of a meaning in a header.

        Parameters
        ----------
        header : mapping
            A FITS header.
        meaning : str
            One of the table's ``keywords``, e.g. ``'exptime'``.

        Returns
        -------
        keyword : str
            The keyword that has the value; the best one of the table where none has it.
        value : object
            The value, None where the header has none.
        """
        candidates = self.keywords.get(meaning, ())
        for keyword in candidates:
            value = header.get(keyword)
            if value is not None and value != "":
                return keyword, value.strip() if isinstance(value, str) else value
        return (candidates[0] if candidates else meaning), None

    def value(self, header: Mapping[str, Any], meaning: str, default: Any = None) -> Any:
        """Return the value of a meaning in a header, or a default; see `find`."""
        value = self.find(header, meaning)[1]
        return default if value is None else value


def load_instrument(path: Path) -> Instrument:
    """Read one instrument table.

    Parameters
    ----------
    path : pathlib.Path
        A YAML file laid out as the shipped ones.

    Returns
    -------
    Instrument

    Raises
    ------
    SettingsError
        With all faults of the file at once, one line for each.
    """
    content, faults = parse_yaml(read_yaml_text(path), str(path))
    try:
        table = check(_InstrumentTable, content, str(path))
    except SettingsError as error:
        raise SettingsError([*faults, *error.faults]) from error
    if faults:
        raise SettingsError(faults)
    return Instrument(table.instrument, table.instrume, table.keywords.model_dump(), table.detectors)


def shipped_instruments() -> Iterator[Instrument]:
    """Yield the instruments whose tables come with soxspipe; each table is read when it is needed, and once."""
    return map(_shipped, sorted(Path(__file__).parent.glob("*.yaml")))


_shipped = functools.cache(load_instrument)


def instrument_for(header: Mapping[str, Any], name: str, user_instrument: Instrument | None = None) -> Instrument:
    """Find the instrument that a header belongs to.

    Parameters
    ----------
    header : mapping
        Header of a raw frame or product.
    name : str
        Name of its file, for the message.
    user_instrument : Instrument, optional
        An instrument that comes before the shipped ones.

    Returns
    -------
    Instrument

    Raises
    ------
    FrameError
        When INSTRUME is missing or names no known instrument.
    """
    value = str(header.get("INSTRUME", "")).strip()
    known: list[str] = []
    for instrument in itertools.chain(() if user_instrument is None else (user_instrument,), shipped_instruments()):
        if value in instrument.instrume:
            return instrument
        known += instrument.instrume
    found = f"is '{value}'" if value else "is missing"
    raise FrameError(f"{name}: INSTRUME {found}, expected one of {', '.join(known)}: leave this file out of the set")
