"""The command that writes the trend page."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..database.quality_database import DATABASE_NAME, Filters, QualityDatabase
from ..database.records import ProductRecord
from ..exceptions import DatabaseError, SoxspipeError
from ..products.atomic_files import AtomicFiles
from ..run_log import get_logger
from ..text import escape
from ..trend.collect import collect_records, compare_masters
from .database_writer import database_argument
from .terminal import Terminal, write_result
from .usage import path_argument, workers_argument

__all__ = ["run"]

_log = get_logger(__name__)

PAGE_NAME = "trend.html"
#: Masters that are named where many cannot be read, as after an archive was moved.
NAMED = 3


def run(command: str, options: dict[str, Any], terminal: Terminal) -> int:
    """Compare new masters, write the page, and return the exit code."""
    _require_bokeh()
    from ..trend.page import MARK, trend_page

    given = options["<database>"]
    target = Path(DATABASE_NAME) if given is None else database_argument(given, "database")
    database = QualityDatabase(target)
    page = _page_path(options, target)
    with AtomicFiles(page.parent, [page.name], overwrite=True, marks={page.name: MARK}) as files:
        products = database.products(Filters(arm=options["--arm"]))
        if not products:
            terminal.inform(f"{database}: no product fits: the page is empty")
        faults = [] if options["--quick"] else _compare(database, products, options, terminal)
        records = collect_records(database, products, page.parent.resolve())
        text = trend_page(
            records.products,
            changes=records.changes,
            comparisons=records.comparisons,
            histograms=records.histograms,
            made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        files.write(page.name, [text.encode()])
        files.commit()
    if options["--json"]:
        counts = {name: len(getattr(records, name)) for name in ("products", "changes", "comparisons", "histograms")}
        write_result(json.dumps({"page": str(page), **counts, "warnings": faults}, indent=2))
    else:
        write_result(escape(page))
    return 0


def _compare(
    database: QualityDatabase, products: Sequence[ProductRecord], options: dict[str, Any], terminal: Terminal
) -> list[str]:
    """Compare new masters, and return a line for each fault; some of them are shown."""
    workers = workers_argument(options["--workers"])
    try:
        faults = compare_masters(database, products, workers=workers, progress=terminal.progress("masters"))
    except DatabaseError as error:  # a database that can only be read has a page too
        faults = [f"{error}; the page shows the changed pixels that the database has already"]
    for fault in faults[:NAMED]:
        _log.warning("%s", fault)
    if len(faults) > NAMED:
        _log.warning("%d more masters cannot be read: their pixels are not compared", len(faults) - NAMED)
    return faults


def _require_bokeh() -> None:
    """Raise an error where the optional package is not installed, before anything is compared."""
    from importlib.util import find_spec

    if find_spec("bokeh") is None:
        raise SoxspipeError("the trend page needs the package Bokeh: pip install 'soxspipe[trend]'")


def _page_path(options: dict[str, Any], target: str | Path) -> Path:
    """Return the path of the page: by default next to a database that is a file, else in the working directory."""
    if options["--output"] is not None:
        path = Path(path_argument(options["--output"], "--output"))
        return path / PAGE_NAME if path.is_dir() else path
    if "://" in str(target):
        return Path(PAGE_NAME)
    folder = Path(target) if os.path.isdir(target) else Path(target).parent
    return folder / PAGE_NAME
