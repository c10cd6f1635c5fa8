"""QC values as an astropy table that also gives single values by their names."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units
from astropy.table import QTable

from ..text import nearest

__all__ = ["QCTable"]


class QCTable(QTable):
    """A `~astropy.table.QTable` of QC values in which ``table["RON RAW"]`` is a value with its unit.

    The name of a column gives the column, as in any table. The name of a QC value gives a
    `~astropy.units.Quantity`, a float where it has no unit, and None where it could not be measured.
    """

    def __getitem__(self, item: Any) -> Any:
        if not isinstance(item, str) or item in self.colnames or "name" not in self.colnames:
            return super().__getitem__(item)
        names = [str(name) for name in self["name"]]
        if item not in names:
            raise KeyError(f"no QC value of this name: {nearest(item, names)}")
        row = names.index(item)
        value, unit = self["value"][row], str(self["unit"][row])
        if np.ma.is_masked(value):
            return None
        return float(value) * units.Unit(unit) if unit else float(value)
