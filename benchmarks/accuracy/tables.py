"""The measurements as tables, as text for a terminal and as reStructuredText."""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from soxspipe import __version__

from .measures import AMPLITUDES, Measures
from .promises import Check, Results

#: Title, header and rows of a table.
Table = tuple[str, Sequence[str], list[list[str]]]


def tables(results: Results, checks: list[Check]) -> list[Table]:
    """Return all tables."""
    rows = results.rows
    return [
        (
            "Promises",
            ("Promise", "Criterion", "Measured", "Holds"),
            [[line.promise, line.criterion, line.measured, "yes" if line.holds else "**no**"] for line in checks],
        ),
        (
            "Values and errors",
            ("Set", "By", "Bias, e-", "Residual std / ideal", "Pull std", "Beyond 3 / Gaussian", "Without error",
             "Hit pixels", "Hits in the value", "Hits left", "Seconds"),
            [_errors(row) for row in rows],
        ),
        (
            "Errors by dark signal and of means",
            ("Set", "Pull std, darkest 5 %", "Pull std, brightest 5 %", "10 x 10 pixels", "100 x 100 pixels"),
            [[row.scene, *(f"{value:.3f}" for value in (row.pull_dark, row.pull_bright, *row.boxes))]
             for row in rows if row.by == "soxspipe"],
        ),
        (
            "Hot pixels and false codes",
            ("Set", "By", *(_range(*amplitude) for amplitude in AMPLITUDES), "Value / truth", "False hot",
             "False, all", "Hit twice"),
            [_codes(row) for row in rows],
        ),
        (
            "Telegraph pixels",
            ("Set", "Found, all", "Found, of those with two samples or more in each state", "Share of those"),
            [_telegraph(row) for row in results.ours("telegraph")],
        ),
        (
            "Quality figures over truth",
            ("Set", "RON RAW", "RON MASTER", "FPN", "MDARK MEAN - truth, e-", "PULL STD", "CRRATE"),
            [_quality(row) for row in rows if row.qc],
        ),
        (
            "Pull std of detectors with glow, non-uniform dark signal or a pattern",
            ("Detector", "N", "All pixels", "Darkest 5 %", "Brightest 5 %", "PULL STD"),
            [
                [row.name, str(row.frames)]
                + [f"{value:.3f}" for value in (row.all_pixels, row.darkest, row.brightest, row.halves)]
                for row in results.patterns
            ],
        ),
        (
            "Read noise of rounded frames over truth",
            ("Noise, ADU", "N = 3", "N = 5", "N = 10"),
            [
                [f"{noise:g}"] + [f"{row.ratio:.4f}" for row in results.read_noise if row.noise_adu == noise]
                for noise in sorted({row.noise_adu for row in results.read_noise})
            ],
        ),
    ]  # fmt: skip


def _range(low: float, high: float) -> str:
    return f"{low:g}-{high:g}" if high < 1e6 else f"> {low:g}"


def _found(found: tuple[int, int]) -> str:
    return f"{found[0] / found[1]:.3f} of {found[1]}" if found[1] else "-"


def _share(found: tuple[int, int]) -> str:
    return f"{found[0] / found[1]:.3f}" if found[1] else "-"


def _errors(row: Measures) -> list[str]:
    return [
        row.scene, row.by, f"{row.bias_e:+.3f}", f"{row.residual:.4f}", f"{row.pull_std:.3f}", f"{row.pull_tail:.2f}",
        str(row.no_error), str(row.hit_pixels), str(row.hits_in_value), str(row.hits_left), f"{row.seconds:.1f}",
    ]  # fmt: skip


def _codes(row: Measures) -> list[str]:
    numbers = (row.per_million(row.false_hot), row.per_million(row.false_all))
    return [
        row.scene, row.by, *(_share(found) for found in row.completeness),
        f"{row.hot_ratio:.4f}", *(f"{number:.1f}" for number in numbers), str(row.double_hits),
    ]  # fmt: skip


def _telegraph(row: Measures) -> list[str]:
    found, fair = row.telegraph, row.telegraph_fair
    return [row.scene, _found(found), _found(fair), f"{fair[1] / found[1]:.3f}" if found[1] else "-"]


def _quality(row: Measures) -> list[str]:
    cells = [row.scene]
    for name in ("RON RAW", "RON MASTER", "FPN", "MDARK MEAN", "PULL STD", "CRRATE"):
        if name not in row.qc:
            cells.append("-")
            continue
        value, truth = row.qc[name]
        if name == "MDARK MEAN":
            cells.append(f"{value - truth:+.3f}")
        elif truth == 0:  # a detector without a fixed pattern
            cells.append(f"{value:.2f} e- of 0")
        else:
            cells.append(f"{value / truth:.3f}")
    return cells


def as_text(table: Table) -> str:
    """Return a table as text with aligned columns."""
    title, header, rows = table
    lines = [list(header), *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(header))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([title, "-" * len(title), *body, ""])


def as_rst(arranged: list[Table], command: str, seconds: float) -> str:
    """Return the tables as reStructuredText for the documentation."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "astropy", "ccdproc"))
    lines = [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by ``{command}`` in {seconds:.0f} s: soxspipe {__version__}, "
        f"Python {platform.python_version()}, {packages}.",
        "",
    ]
    for title, header, rows in arranged:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        # a bare "-" would open a list
        writer.writerows([r"\-" if cell == "-" else cell for cell in row] for row in rows)
        lines += [f".. csv-table:: {title}", "   :header-rows: 1", ""]
        lines += [f"   {line}" for line in text.getvalue().splitlines()] + [""]
    return "\n".join(lines)
