"""QC values with their units, ranges and verdicts: one table for header, JSON and QTable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..text import range_words
from .definitions import DEFINITIONS, Range

if TYPE_CHECKING:
    from .qc_table import QCTable

__all__ = ["QCValue", "QualityTable", "Range", "measured"]

#: Digits of a value.
DIGITS = 7


@dataclass(frozen=True)
class QCValue:
    """One QC value.

    Attributes
    ----------
    name : str
        Name behind ``ESO QC`` in the header.
    value : float, int, bool or None
        None where it could not be measured.
    unit : str
        Unit in the notation of the FITS standard; empty for pure numbers.
    description : str
        Its meaning in a few words.
    range : tuple of (float or None)
        Lowest and highest value that pass.
    judged : bool
        Whether the range applies; it does not where the value is only a limit.
    note : str
        What follows if the value is out of its range, for the warning.
    """

    name: str
    value: float | int | bool | None
    unit: str
    description: str
    range: Range = (None, None)
    judged: bool = True
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the value is in its range; None without a range or a value."""
        low, high = self.range
        if not self.judged or self.value is None or (low is None and high is None):
            return None
        return (low is None or self.value >= low) and (high is None or self.value <= high)


def measured(
    name: str,
    value: float | int | bool | None,
    *,
    number: int | None = None,
    judged: bool = True,
    limits: Range = (None, None),
    note: str = "",
) -> QCValue:
    """Return a QC value with the unit and the words of its definition.

    Parameters
    ----------
    name : str
        A name in `~soxspipe.quality.definitions.DEFINITIONS`.
    value : float, int, bool or None
        None where it could not be measured.
    number : int, optional
        Replaces ``{i}`` in the name.
    judged : bool
        Whether the range applies.
    limits : tuple of (float or None)
        Range that follows from the data; one in the settings comes before it.
    note : str
        What follows if the value is out of its range.

    Returns
    -------
    QCValue
    """
    definition = DEFINITIONS[name]
    words = definition.words.format(i=number)
    return QCValue(name.format(i=number), value, definition.unit, words, limits, judged, note)


class QualityTable:
    """All QC values of one product.

    Parameters
    ----------
    values : list of QCValue
        The values, kept with seven digits; NaN and infinite ones count as not measured, in a range as an open end.
    ranges : mapping of str to (low, high), optional
        Range by name, from the settings.
    """

    def __init__(self, values: list[QCValue], ranges: Mapping[str, Range] | None = None) -> None:
        ranges = ranges or {}
        self._values = tuple(
            replace(qc, value=_rounded(_finite(qc.value)), range=tuple(map(_finite, ranges.get(qc.name, qc.range))))
            for qc in values
        )

    def __iter__(self) -> Iterator[QCValue]:
        return iter(self._values)

    def __getitem__(self, name: str) -> QCValue:
        for qc in self._values:
            if qc.name == name:
                return qc
        raise KeyError(name)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each value out of its range; one for the names of the same value."""
        names: dict[QCValue, list[str]] = {}
        for qc in self._values:
            if qc.passed is False:
                names.setdefault(replace(qc, name="", description=""), []).append(qc.name)
        return tuple(
            f"QC {' and '.join(of)} {'is' if len(of) == 1 else 'are'} {_short(qc.value)}"
            f"{' ' + qc.unit if qc.unit else ''}, expected {range_words(*qc.range)}{': ' + qc.note if qc.note else ''}"
            for qc, of in names.items()
        )

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the values out of their range."""
        return tuple(qc.name for qc in self._values if qc.passed is False)

    def verdict(self, warnings: Sequence[str]) -> str:
        """Return FAIL where a value is out of its range, WARN where there are warnings, else PASS."""
        return "FAIL" if self.failed else "WARN" if warnings else "PASS"

    def records(self) -> list[dict[str, Any]]:
        """Return the table as dictionaries that JSON can hold."""
        keys = ("name", "value", "unit", "range", "passed", "description")
        return [{key: getattr(qc, key) for key in keys} | {"range": list(qc.range)} for qc in self._values]

    def to_qtable(self) -> QCTable:
        """Return the table as an astropy QTable; values that were not measured are masked."""
        from .qc_table import QCTable

        def column(key: str, undefined: float | bool) -> np.ma.MaskedArray[Any, Any]:
            values = [getattr(qc, key) for qc in self._values]
            filled = [undefined if value is None else type(undefined)(value) for value in values]
            return np.ma.array(filled, mask=[value is None for value in values])

        # arrays: to convert a list astropy changes the warning filters of all threads
        return QCTable(
            {
                "name": np.array([qc.name for qc in self._values], str),
                "value": column("value", math.nan),
                "unit": np.array([qc.unit for qc in self._values], str),
                "range": np.array([range_words(*qc.range) for qc in self._values], str),
                "passed": column("passed", False),
                "description": np.array([qc.description for qc in self._values], str),
            }
        )


def _finite(value: Any) -> Any:
    """Return a value, None where JSON and FITS have no number for it."""
    return None if value is None or not math.isfinite(value) else value


def _rounded(value: Any) -> Any:
    """Return a value with the digits that single-precision pixels have: header, JSON and table then agree."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _short(value: float | int | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
