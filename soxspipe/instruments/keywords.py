"""The instrument that a header belongs to, and the keywords of that instrument."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checked_model import check
from ..exceptions import FrameError, SettingsError
from ..text import format_value, nearest
from ..yaml_files import parse_yaml, read_yaml_text
from .detectors import Detector
from .tables import InstrumentTable, spelled_out

__all__ = [
    "EXAMPLES",
    "Instrument",
    "all_instruments",
    "example_tables",
    "find_instrument",
    "instrument_for",
    "load_instrument",
    "shipped_instruments",
    "table_path",
    "unknown_instrument",
]

#: Folder of the example tables, which are used by name.
EXAMPLES = Path(__file__).parent / "examples"
#: Values of an exposure time in one second, by its unit.
_IN_A_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "min": 1 / 60}
_ZERO_CELSIUS_K = 273.15
#: Keywords that name a camera, for the message about an unknown one.
NAMES_OF_CAMERAS = ("INSTRUME", "CAMERA", "CAMNAME", "CAM_ID", "CAMERAID", "DETECTOR", "DETNAME")


@dataclass(frozen=True)
class Instrument:
    """One instrument: its keywords and its detectors.

    Attributes
    ----------
    name : str
        Name in product names and headers.
    match : mapping of str to tuple of str
        Keywords and values by which a header is one of this instrument; empty: any header.
    keywords : mapping of str to tuple of str
        For each meaning the header keywords that may hold it, best first.
    detectors : mapping of str to Detector
        Detectors by arm.
    words : mapping of str to mapping
        For a meaning the words of the camera, and what they stand for; upper and lower case are the same.
    defaults : mapping of str to object
        Values by meaning of headers that lack a keyword.
    units_in_a_second : float
        Values of an exposure time in one second.
    celsius : bool
        Whether the header has temperatures in Celsius.
    """

    name: str
    match: Mapping[str, tuple[str, ...]]
    keywords: Mapping[str, tuple[str, ...]]
    detectors: Mapping[str, Detector]
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    units_in_a_second: float = 1.0
    celsius: bool = False

    @property
    def follows_eso(self) -> bool:
        """Whether its raw headers follow ESO's dictionary; only then a product claims to follow it."""
        return "ESO DPR TYPE" in self.keywords["type"]

    def matches(self, header: Mapping[str, Any]) -> bool:
        """Return whether a header is one of this instrument."""
        return all(str(header.get(keyword, "")).strip() in values for keyword, values in self.match.items())

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
            The value in soxspipe's words and units. Where the header has none, that of the table; else None.
        """
        candidates = self.keywords.get(meaning, ())
        for keyword in candidates:
            value = header.get(keyword)
            if value is not None and value != "":
                return keyword, self._translated(meaning, value.strip() if isinstance(value, str) else value)
        return (candidates[0] if candidates else meaning), self.defaults.get(meaning)

    def _translated(self, meaning: str, value: Any) -> Any:
        if meaning in self.words:
            word = str(value).casefold()
            return next((meant for own, meant in self.words[meaning].items() if own.casefold() == word), value)
        is_time = meaning in ("exptime", "dit") and self.units_in_a_second != 1.0
        return value / self.units_in_a_second if is_time and isinstance(value, int | float) else value

    def value(self, header: Mapping[str, Any], meaning: str, default: Any = None) -> Any:
        """Return the value of a meaning in a header, or a default; see `find`."""
        value = self.find(header, meaning)[1]
        return default if value is None else value

    def kelvin(self, temperature: Any) -> Any:
        """Return a temperature of a header in kelvin; unchanged where it is no number."""
        is_number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
        return round(temperature + _ZERO_CELSIUS_K, 6) if self.celsius and is_number else temperature

    def words_for(self, meaning: str, value: str) -> str:
        """Return the words of the camera for a value, for a message."""
        words = [word for word, meant in self.words.get(meaning, {}).items() if meant == value]
        return " or ".join(map(format_value, words)) or format_value(value)


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
        table = check(InstrumentTable, spelled_out(content), str(path))
    except SettingsError as error:
        raise SettingsError([*faults, *error.faults]) from error
    if faults:
        raise SettingsError(faults)
    words = {"type": table.keywords.type.by_word(), "arm": table.keywords.arm.by_word()}
    return Instrument(
        table.instrument,
        table.match,
        table.keyword_tuples(),
        table.detectors,
        {meaning: by_word for meaning, by_word in words.items() if by_word},
        table.values_without_keyword(),
        _IN_A_SECOND[table.units.exptime],
        table.units.temperature == "celsius",
    )


def shipped_instruments() -> Iterator[Instrument]:
    """Yield the instruments whose frames soxspipe knows by itself; each table is read when it is needed, and once."""
    return map(_shipped, sorted(Path(__file__).parent.glob("*.yaml")))


_shipped = functools.cache(load_instrument)


def all_instruments(table: Path | None) -> list[Instrument]:
    """Return the shipped instruments, and that of the user's table; raises SettingsError where it cannot be read."""
    return [*shipped_instruments(), *([] if table is None else [load_instrument(table)])]


def example_tables() -> dict[str, Path]:
    """Return the example tables by name."""
    return {path.stem: path for path in sorted(EXAMPLES.glob("*.yaml"))}


def table_path(text: str) -> Path:
    """Return the instrument table that a user names.

    Parameters
    ----------
    text : str
        A file, or the name of an example table.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    SettingsError
        When there is neither.
    """
    path, examples = Path(text), example_tables()
    if path.exists() or path.suffix or path.name != text:
        return path
    if text not in examples:
        raise SettingsError(
            f"instrument {format_value(text)}: no such file or example table: {nearest(text, examples)}"
        )
    return examples[text]


def find_instrument(header: Mapping[str, Any], user_instrument: Instrument | None = None) -> Instrument | None:
    """Return the instrument that a header belongs to, the user's before the shipped ones; None where there is none."""
    own = () if user_instrument is None else (user_instrument,)
    return next((one for one in itertools.chain(own, shipped_instruments()) if one.matches(header)), None)


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
        When the header is one of no known instrument.
    """
    instrument = find_instrument(header, user_instrument)
    if instrument is None:
        raise FrameError(": ".join([name, *unknown_instrument(header, user_instrument)]))
    return instrument


def unknown_instrument(header: Mapping[str, Any], user_instrument: Instrument | None = None) -> tuple[str, str]:
    """Return what a header of no known instrument says, and what to do about it."""
    found = [str(header[keyword]).strip() for keyword in NAMES_OF_CAMERAS if header.get(keyword)]
    words = f"instrument {format_value(found[0])} is unknown" if found else "INSTRUME is missing"
    if user_instrument is not None:
        match = user_instrument.match.items()
        wanted = "; ".join(f"{keyword} {' or '.join(map(format_value, values))}" for keyword, values in match)
        return f"{words}, the given table is for {wanted}", "correct 'match' of the table, or leave this file out"
    return words, "make a table with 'soxspipe instrument --from=FRAME', and pass it with --instrument"
