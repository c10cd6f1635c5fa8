"""QC values with their units, ranges and verdicts: one table for header, JSON and QTable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["QCValue", "QualityTable", "Range"]

#: A range with an end left open is None there.
Range = tuple[float | None, float | None]


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
        What it is, in a few words.
    range : tuple of (float or None)
        Lowest and highest value that pass.
    judged : bool
        Whether the range applies; it does not to a value that is only a limit.
    """

    name: str
    value: float | int | bool | None
    unit: str
    description: str
    range: Range = (None, None)
    judged: bool = True

    @property
    def passed(self) -> bool | None:
        """Whether the value is in its range; None where there is no range or no value."""
        low, high = self.range
        if not self.judged or self.value is None or (low is None and high is None):
            return None
        return (low is None or self.value >= low) and (high is None or self.value <= high)


class QualityTable:
    """All QC values of one product.

    Parameters
    ----------
    values : list of QCValue
        The values; NaN and infinite ones count as not measured.
    ranges : mapping of str to (low, high), optional
        Range by name, from the settings.
    """

    def __init__(self, values: list[QCValue], ranges: Mapping[str, Range] | None = None) -> None:
        ranges = ranges or {}
        self._values = tuple(
            replace(
                qc,
                value=None if isinstance(qc.value, float) and not math.isfinite(qc.value) else qc.value,
                range=ranges.get(qc.name, qc.range),
            )
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
        """One line for each value out of its range."""
        return tuple(
            f"QC {qc.name} is {_short(qc.value)}{' ' + qc.unit if qc.unit else ''}, expected {_range_words(qc.range)}"
            for qc in self._values
            if qc.passed is False
        )

    def records(self) -> list[dict[str, Any]]:
        """Return the table as dictionaries that JSON can hold."""
        return [
            {
                "name": qc.name,
                "value": qc.value,
                "unit": qc.unit,
                "range": list(qc.range),
                "passed": qc.passed,
                "description": qc.description,
            }
            for qc in self._values
        ]

    def to_qtable(self) -> QTable:
        """Return the table as an astropy QTable; what was not measured is masked."""
        import numpy as np
        from astropy.table import MaskedColumn, QTable

        undefined = [qc.value is None for qc in self._values]
        return QTable(
            {
                "name": [qc.name for qc in self._values],
                "value": MaskedColumn(
                    [np.nan if qc.value is None else float(qc.value) for qc in self._values], mask=undefined
                ),
                "unit": [qc.unit for qc in self._values],
                "range": [_range_words(qc.range) for qc in self._values],
                "passed": MaskedColumn(
                    [bool(qc.passed) for qc in self._values], mask=[qc.passed is None for qc in self._values]
                ),
                "description": [qc.description for qc in self._values],
            }
        )


def _short(value: float | int | bool | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _range_words(limits: Range) -> str:
    low, high = limits
    if low is None and high is None:
        return ""
    if low is None:
        return f"at most {high:g}"
    if high is None:
        return f"at least {low:g}"
    return f"{low:g} to {high:g}"
