"""Which instrument a header belongs to, and what its keywords mean there."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..exceptions import FrameError, SettingsError
from ..text import format_value
from ..yaml_files import parse_yaml, read_yaml_text
from .detectors import Detector

__all__ = ["Instrument", "instrument_for", "load_instrument", "shipped_instruments"]

#: Meanings that every instrument table must give keywords for.
MEANINGS = (
    "arm", "category", "technique", "type", "exptime", "dit", "ndit", "mjd", "date", "binx", "biny",
    "read_mode", "conad", "gain", "read_noise", "chip", "template", "archive_name",
)  # fmt: skip


@dataclass(frozen=True)
class Instrument:
    """One instrument: its keywords and its detectors.

    Attributes
    ----------
    name : str
        Name as it stands in product names and headers.
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
        """Look a meaning up in a header.

        Parameters
        ----------
        header : mapping
            A FITS header.
        meaning : str
            What is wanted, e.g. ``'exptime'``; one of the table's ``keywords``.

        Returns
        -------
        keyword : str
            The keyword that held it; the best one of the table where none did.
        value : object
            Its value, None where the header has none.
        """
        candidates = self.keywords.get(meaning, ())
        for keyword in candidates:
            value = header.get(keyword)
            if value is not None and value != "":
                return keyword, value.strip() if isinstance(value, str) else value
        return (candidates[0] if candidates else meaning), None

    def value(self, header: Mapping[str, Any], meaning: str, default: Any = None) -> Any:
        """Look a meaning up in a header, with a default; see `find`."""
        found = self.find(header, meaning)[1]
        return default if found is None else found


def load_instrument(path: Path) -> Instrument:
    """Read one instrument table.

    Parameters
    ----------
    path : pathlib.Path
        A YAML file laid out as those beside this module.

    Returns
    -------
    Instrument

    Raises
    ------
    SettingsError
        When the file cannot be read or lacks something.
    """
    table, faults = parse_yaml(read_yaml_text(path), str(path))
    if faults:
        raise SettingsError(faults)
    try:
        keywords = {meaning: _names(names) for meaning, names in table["keywords"].items()}
        missing = [meaning for meaning in MEANINGS if meaning not in keywords]
        if missing:
            raise KeyError(f"keywords: {', '.join(missing)}")
        return Instrument(
            name=str(table["instrument"]),
            instrume=_names(table["instrume"]),
            keywords=keywords,
            detectors={arm: Detector.from_table(arm, facts) for arm, facts in table["detectors"].items()},
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = {
            KeyError: f"lacks {error}",
            ValueError: " ".join(str(error).split()),
        }.get(type(error), "a value is of the wrong kind")
        raise SettingsError(
            f"{path}: not a usable instrument table: {reason}: lay it out as those that come with soxspipe"
        ) from error


def _names(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | None):
        raise ValueError(f"{format_value(names)} stands where a list of names is expected")
    return tuple(str(name) for name in names or ())


def shipped_instruments() -> Iterator[Instrument]:
    """Yield the instruments whose tables come with soxspipe; each is read when its turn comes, and once."""
    return map(_shipped, sorted(Path(__file__).parent.glob("*.yaml")))


_shipped = functools.cache(load_instrument)


def instrument_for(header: Mapping[str, Any], name: str, extra: Instrument | None = None) -> Instrument:
    """Find the instrument that a header belongs to.

    Parameters
    ----------
    header : mapping
        Header of a raw frame or product.
    name : str
        Name of its file, for the message.
    extra : Instrument, optional
        One that comes before those shipped.

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
    for instrument in itertools.chain(() if extra is None else (extra,), shipped_instruments()):
        if value in instrument.instrume:
            return instrument
        known += instrument.instrume
    found = f"is '{value}'" if value else "is missing"
    raise FrameError(f"{name}: INSTRUME {found}, expected one of {', '.join(known)}: leave this file out of the set")
