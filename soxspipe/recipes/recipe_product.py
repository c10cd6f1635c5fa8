"""A finished reduction, as Python and notebooks show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..quality.definitions import SUMMARY
from ..quality.table import QualityTable

if TYPE_CHECKING:
    from astropy.nddata import CCDData

    from ..quality.qc_table import QCTable

__all__ = ["RecipeProduct"]


@dataclass(frozen=True, repr=False)
class RecipeProduct:
    """A finished reduction. A notebook shows it as a small table of its QC values.

    Attributes
    ----------
    path : pathlib.Path
        The main product on disk.
    files : mapping of str to pathlib.Path
        All files of the reduction by role.
    frame : CCDData
        Data, StdDevUncertainty, mask, flags (pixel codes) and header.
    qc : QCTable
        QC values, an astropy QTable: name, value, unit, range, passed, description. ``qc["RON RAW"]`` is one value
        with its unit.
    warnings : tuple of str
        Assumptions that were made, QC values out of range.
    """

    path: Path
    files: Mapping[str, Path]
    frame: CCDData
    qc: QCTable
    warnings: tuple[str, ...]
    _table: QualityTable

    @property
    def verdict(self) -> str:
        """FAIL where a QC value is out of its range, WARN where there are warnings, else PASS."""
        return self._table.verdict(self.warnings)

    def qc_records(self) -> list[dict[str, Any]]:
        """Return the QC values as dictionaries that JSON can hold."""
        return self._table.records()

    def __repr__(self) -> str:
        return f"<RecipeProduct {self.path}, {self.verdict}>"

    def _repr_html_(self) -> str:
        """Return the figures of the summary with their verdicts, and a link to the report where there is one."""
        records = [qc for qc in self.qc_records() if qc["name"] in SUMMARY and qc["value"] is not None]
        words = {True: "pass", False: "fail", None: ""}
        rows = "".join(
            f"<tr><td>{escape(qc['name'])}</td><td>{qc['value']:.4g}</td><td>{escape(qc['unit'])}</td>"
            f"<td>{words[qc['passed']]}</td><td>{escape(qc['description'])}</td></tr>"
            for qc in records
        )
        report = self.files.get("report")
        link = f' <a href="{escape(report.absolute().as_uri())}">report</a>' if report else ""
        head = f"<b>{escape(str(self.path))}</b>: {self.verdict}{link}"
        return f"<p>{head}</p><table><tr><th>QC</th><th>value</th><th>unit</th><th></th><th></th></tr>{rows}</table>"
