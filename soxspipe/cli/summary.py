"""The summary of a run on a terminal: a few figures of each product, each with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..quality.definitions import SUMMARY
from ..text import escape, range_words

if TYPE_CHECKING:
    from rich.table import Table

    from ..execution.job import JobResult

__all__ = ["figures_table", "summary_table", "verdict_words"]

#: Style and words of a verdict.
VERDICTS = {True: ("green", "ok"), False: ("bold red", "out of range"), None: ("", "")}

#: Style of the verdict of a product.
STYLES = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red"}


def verdict_words(result: JobResult) -> str:
    """Return the verdict of a product as its header has it, with the values out of range or the number of warnings."""
    failed = [value["name"] for value in result.qc if value.get("passed") is False]
    if failed:
        return f"FAIL: {', '.join(failed)}"
    number = len(result.warnings)
    return f"WARN: {number} warning{'s' if number > 1 else ''}" if number else "PASS"


def figures_table(result: JobResult) -> Table:
    """Return the figures of a product that matter most, and all that are out of range."""
    from rich.table import Table
    from rich.text import Text

    table = Table("value", "", "unit", "range", "verdict", title=escape(result.product), title_justify="left", box=None)
    table.columns[1].justify = "right"
    for value in result.qc:
        passed = value.get("passed")
        if value["value"] is None or (value["name"] not in SUMMARY and passed is not False):
            continue
        style, words = VERDICTS[passed]
        table.add_row(
            value["name"],
            _number(value["value"]),
            value.get("unit", ""),
            range_words(*(value.get("range") or (None, None))),
            Text(words, style=style),
        )
    return table


#: Columns of the summary: heading, and the QC values of which the first that a product has is shown.
COLUMNS = (
    ("level", ("DARK CURRENT", "DARK RATE", "BIAS LEVEL", "LEVEL")),
    ("read noise", ("RON RAW",)),
    ("master noise", ("RON MASTER",)),
    ("pulls", ("PULL STD",)),
    ("hot", ("HOTPIX NUM",)),
    ("cold", ("COLDPIX NUM",)),
    ("noisy", ("NOISYPIX NUM",)),
    ("rejected", ("REJECT FRAC",)),
    ("T range", ("DETECTOR TEMP RANGE",)),
)


def summary_table(results: Sequence[tuple[str, JobResult]]) -> Table:
    """Return one row for each job: its product, the figures that matter most, and the verdict or the error."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, title="summary", title_justify="left")
    table.add_column("product", no_wrap=True)
    for heading, _ in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for name, result in results:
        if result.product is None:
            table.add_row(escape(name), *[""] * len(COLUMNS), Text(f"failed: {escape(result.errors[0])}", "bold red"))
            continue
        values = {value["name"]: value for value in result.qc if value["value"] is not None}
        cells = []
        for _, names in COLUMNS:
            value = next((values[one] for one in names if one in values), None)
            style = "bold red" if value is not None and value.get("passed") is False else ""
            cells.append(Text("" if value is None else _figure(value), style))
        words = verdict_words(result)
        table.add_row(escape(Path(result.product).stem), *cells, Text(words, STYLES[words[:4]]))
    return table


def _figure(value: Mapping[str, Any]) -> str:
    unit = value.get("unit", "").replace("electron", "e-")
    return f"{_number(value['value'])} {unit}".rstrip()


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
