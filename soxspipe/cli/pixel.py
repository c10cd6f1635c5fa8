"""The command that prints one pixel of a product, and its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..database.pixel_history import PixelMoment, read_history
from ..database.quality_database import DATABASE_NAME, Filters, QualityDatabase
from ..database.records import read_record
from ..exceptions import CommandLineError, SoxspipeError
from ..products.pixel_values import PixelValues, code_names, read_pixel
from ..run_log import get_logger
from ..text import escape
from .database_writer import database_argument
from .fundamentals_adapter import render_rows
from .terminal import Terminal, write_result
from .usage import path_argument

__all__ = ["run"]

_log = get_logger(__name__)

#: Products of the history that cannot be read and are named; the others are counted.
NAMED = 3


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Print one pixel of a product, and its history where there is a database, and return the exit code."""
    product = path_argument(options["<product>"], "product")
    x, y = (_coordinate(options[f"<{name}>"], name) for name in ("x", "y"))
    pixel = read_pixel(product, x, y)
    database = _database(options, product)
    history = None
    if database is not None and pixel.value("BPMAP") is None:
        try:
            history = _history(database, product, pixel, options, terminal)
        except SoxspipeError as error:
            if options["--database"] is not None:
                raise
            _log.warning("%s; no history is shown", error)
    if options["--json"]:
        document = _record(pixel) | {"history": None if history is None else [_moment(one) for one in history]}
        write_result(json.dumps(document, indent=2, allow_nan=False))
    else:
        write_result("\n".join([*_lines(pixel), *_history_lines(history, database)]))
    return 0


def _coordinate(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise CommandLineError(f"{name} is '{escape(text)}', expected a whole number from 1 (FITS pixel coordinates)")
    return int(text)


def _database(options: Mapping[str, Any], product: str) -> QualityDatabase | None:
    """Return the database for the history; None where there is none."""
    if options["--no-database"]:
        return None
    if options["--database"] is not None:
        return QualityDatabase(database_argument(options["--database"], "--database"))
    database = QualityDatabase(Path(product).parent / DATABASE_NAME)
    return database if database.exists() else None


def _history(
    database: QualityDatabase, product: str, pixel: PixelValues, options: Mapping[str, Any], terminal: Terminal
) -> list[PixelMoment]:
    filters = Filters(begin=options["--from"], end=options["--to"])
    record, progress = read_record(product), terminal.progress("history")
    history, faults = read_history(database, record, pixel.x, pixel.y, filters=filters, progress=progress)
    for line in faults[:NAMED]:
        _log.warning("%s", line)
    if len(faults) > NAMED:
        _log.warning("and %d more products of the database that cannot be read", len(faults) - NAMED)
    return history


def _lines(pixel: PixelValues) -> list[str]:
    rows = [{"plane": plane.name, "value": plane.value, "unit": plane.unit} for plane in pixel.planes]
    if pixel.over_error is not None:
        rows.append({"plane": "FLUX / ERRS", "value": pixel.over_error, "unit": ""})
    return [
        f"{escape(pixel.product)}: x = {pixel.x}, y = {pixel.y} (in numpy: [{pixel.y - 1}, {pixel.x - 1}])",
        render_rows(rows, "table"),
        *pixel.meanings,
    ]


def _history_lines(history: Sequence[PixelMoment] | None, database: QualityDatabase | None) -> list[str]:
    if not history:
        return []
    rows = [
        {"date": one["date"][:19], "exposure s": one["exposure_s"], "codes": one["codes"], "FLUX": one["flux"],
         "ERRS": one["error"], "FLUX / ERRS": one["over_error"], "(FLUX - level) / ERRS": one["excess_over_error"],
         "product": Path(one["product"]).stem}
        for one in map(_moment, history)
    ]  # fmt: skip
    return [f"history in {database}:", render_rows(rows, "table")]


def _moment(one: PixelMoment) -> dict[str, Any]:
    pixel = one.pixel
    return {
        "date": one.record.date_obs,
        "exposure_s": one.record.exptime_s,
        "code": int(pixel.codes),
        "codes": code_names(pixel.codes),
        "flux": pixel.value("FLUX"),
        "error": pixel.value("ERRS"),
        "over_error": pixel.over_error,
        "excess_over_error": one.excess_over_error,
        "product": one.record.path,
    }


def _record(pixel: PixelValues) -> dict[str, Any]:
    return {
        "product": escape(pixel.product),
        "x": pixel.x,
        "y": pixel.y,
        "planes": [{"name": plane.name, "value": plane.value, "unit": plane.unit} for plane in pixel.planes],
        "over_error": pixel.over_error,
        "code": int(pixel.codes),
        "codes": code_names(pixel.codes),
        "meanings": pixel.meanings,
    }
