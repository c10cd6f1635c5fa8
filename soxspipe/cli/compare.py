"""The command that compares two masters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..instruments.keywords import load_instrument
from ..pixel_codes import PixelCode
from ..products.compare import ComparedMasters, compare_files
from ..text import counted, escape
from .run_options import settings_option
from .terminal import Terminal, write_result
from .usage import path_argument, workers_argument
from .verify import table_text

__all__ = ["comparison_text", "run"]

#: Changes, blocks and codes that are listed.
LISTED = 10


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Compare two masters, write the differences, and return the exit code."""
    settings = settings_option(options)
    table = settings.instruments.table
    compared = compare_files(
        path_argument(options["<first>"], "first"),
        path_argument(options["<second>"], "second"),
        settings,
        user_instrument=None if table is None else load_instrument(Path(table)),
        workers=workers_argument(options["--workers"]),
    )
    write_result(
        json.dumps(compared.record(), indent=2, allow_nan=False) if options["--json"] else comparison_text(compared)
    )
    return 0


def comparison_text(compared: ComparedMasters) -> str:
    """Return the comparison for a person; differences are second minus first."""
    parts = (_differences(compared), _blocks(compared), _codes(compared), _changes(compared), _quality(compared))
    return "\n\n".join("\n".join(part) for part in map(list, parts) if part)


def _differences(compared: ComparedMasters) -> Iterator[str]:
    found = compared.images
    yield f"first:   {escape(compared.first)}"
    yield f"second:  {escape(compared.second)}"
    if found.n_shared:
        yield f"frames in both: {found.n_shared}"
    yield f"difference of the levels, second - first: {found.level_e:.4g} electron"
    yield (
        f"width of the differences over their errors: {found.width:.4f} (1: the same signal), {found.n_pixels} good "
        f"pixels, error {found.error_e:.3g} electron"
    )
    tails = ", ".join(f"{tail.sigma:g} sigma: {tail.n_pixels} ({tail.expected:.3g})" for tail in found.tails)
    yield f"pixels beyond (a Gaussian has): {tails}"
    yield from compared.parameters


def _blocks(compared: ComparedMasters) -> Iterator[str]:
    yield "blocks that differ most, above the level of all:"
    rows = [["x", "y", "electron", "sigma"]]
    for block in compared.images.worst_blocks[:LISTED]:
        edges = (f"{first}-{last}" for first, last in (block.x, block.y))
        rows.append([*edges, f"{block.difference_e:.3g}", f"{block.sigma:.1f}"])
    yield table_text(rows)


def _codes(compared: ComparedMasters) -> Iterator[str]:
    found = compared.images
    yield f"pixel codes, {found.n_changed} pixels with another one:"
    rows = [["code", "meaning", "first", "second", "both"]]
    rows += [[str(one.code), one.label, str(one.first), str(one.second), str(one.both)] for one in found.codes]
    yield table_text(rows)
    if found.changed:
        rows = [["x", "y", "first", "second", "sigma"]]
        rows += [
            [str(one.x), str(one.y), _labels(one.first), _labels(one.second), f"{one.sigma:.1f}"]
            for one in found.changed[:LISTED]
        ]
        yield table_text(rows)


def _labels(codes: int) -> str:
    return ", ".join(code.label for code in PixelCode if codes & code) or "good"


def _changes(compared: ComparedMasters) -> Iterator[str]:
    found, unit = compared.changes, "electron" if compared.is_bias else "electron/s"
    numbers = ", ".join(
        counted(len(part), noun)
        for part, noun in ((found.births, "birth"), (found.deaths, "death"), (found.telegraph, "telegraph pixel"))
    )
    yield (
        f"{numbers}: beyond {found.threshold:.2f} sigma, where {found.expected_false:.2g} false ones are expected in "
        f"{found.n_compared} pixels"
    )
    if found.hot_change:
        yield (
            f"hot pixels changed together by {100 * found.hot_change:+.2f} %, single ones by "
            f"{100 * found.hot_scatter:.2f} % about that"
        )
    if found.changes:
        rows = [["x", "y", "kind", unit, "error", "sigma", "first", "second"]]
        rows += [
            [
                str(one.x), str(one.y), one.kind, f"{one.rate_change:+.4g}", f"{one.error:.2g}",
                f"{one.significance:+.1f}", _labels(one.code_before), _labels(one.code_after),
            ]
            for one in found.changes[:LISTED]
        ]  # fmt: skip
        yield table_text(rows)
        if len(found.changes) > LISTED:
            yield f"and {len(found.changes) - LISTED} more: --json has all"


def _quality(compared: ComparedMasters) -> Iterator[str]:
    yield "QC values:"
    rows = [["name", "first", "second", "difference", "unit"]]
    for one in compared.quality:
        numbers = ("" if value is None else _number(value) for value in (one.first, one.second, one.difference))
        rows.append([one.name, *numbers, one.unit])
    yield table_text(rows, left=1)


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
