"""The command that lists products and QC values from a quality database, and adds products to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..database.quality_database import DATABASE_NAME, Filters, QualityDatabase
from ..database.records import ProductRecord, StoredValue, find_products, read_record
from ..exceptions import CommandLineError, InputError
from ..run_log import get_logger
from ..text import escape, nearest
from .database_writer import database_argument
from .fundamentals_adapter import FORMATS, render_rows
from .terminal import Terminal, write_result
from .usage import path_argument

__all__ = ["run"]

_log = get_logger(__name__)

#: Products that enter the database in one transaction: a thousand transactions would take half a minute.
BATCH = 100


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """List products or QC values, or add products, and return the exit code."""
    form = options["--format"] or "table"
    if form not in FORMATS:
        raise CommandLineError(f"--format is '{escape(form)}': {nearest(form, FORMATS)}")
    filters = Filters(
        **{name: options[f"--{name}"] for name in ("arm", "recipe", "verdict", "name")},
        begin=options["--from"],
        end=options["--to"],
    )
    if options["--import"] is not None:
        return _add_folder(options, terminal)
    database = _database(options, Path(DATABASE_NAME))
    if filters.name is None:
        rows = [_product_row(product) for product in database.products(filters)]
    else:
        rows = [_value_row(product, value) for product, value in database.values(filters)]
    if form in ("table", "markdown"):  # for a person; a program needs the path
        rows = [{**row, "date": row["date"][:19], "product": Path(row["product"]).stem} for row in rows]
    if rows or form in ("json", "yaml"):
        write_result(render_rows(rows, form))
    if not rows:
        terminal.inform(f"{database}: no product fits")
    return 0


def _database(options: Mapping[str, Any], default: Path) -> QualityDatabase:
    given = options["<database>"]
    return QualityDatabase(default if given is None else database_argument(given, "database"))


def _add_folder(options: Mapping[str, Any], terminal: Terminal) -> int:
    """Add the products below a folder; name those that are damaged, and return 1 if there is one."""
    folder = path_argument(options["--import"], "--import")
    database = _database(options, Path(folder, DATABASE_NAME))
    paths = list(find_products(folder))
    progress = terminal.progress("import")
    n_added = 0
    for begin in range(0, len(paths), BATCH):
        records = []
        for path in paths[begin : begin + BATCH]:
            try:
                records.append(read_record(path))
            except InputError as error:
                _log.warning("%s", error)
        database.add_records(records)
        n_added += len(records)
        if progress is not None:
            progress(min(begin + BATCH, len(paths)), len(paths))
    terminal.inform(f"{database}: {n_added} of {len(paths)} products added")
    return int(n_added < len(paths))


def _beginning(product: ProductRecord) -> dict[str, Any]:
    return {
        "date": product.date_obs,
        "arm": product.arm,
        "recipe": product.recipe,
        "exposure s": product.exptime_s,
        "mode": product.read_mode or product.binning,
    }


def _value_row(product: ProductRecord, value: StoredValue) -> dict[str, Any]:
    return {
        **_beginning(product),
        "name": value.name,
        "value": value.value,
        "unit": value.unit,
        "low": value.low,
        "high": value.high,
        "verdict": {True: "PASS", False: "FAIL", None: None}[value.passed],
        "product": product.path,
    }


def _product_row(product: ProductRecord) -> dict[str, Any]:
    failed = ", ".join(product.failed)
    return {**_beginning(product), "verdict": product.verdict, "failed": failed, "product": product.path}
