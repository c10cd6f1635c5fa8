"""The products of a run enter the quality database as they are made; only the process of the command line writes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..exceptions import DatabaseError, InputError
from ..run_log import get_logger
from .usage import path_argument

__all__ = ["DatabaseWriter", "database_argument"]

_log = get_logger(__name__)


def database_argument(text: str, name: str) -> str:
    """Return a database of the command line: a URL as it is, or a path."""
    return text if "://" in text else path_argument(text, name)


class DatabaseWriter:
    """Adds products to a quality database. Its failure is a warning, and costs no product.

    With the first product it adds those in the folder of the products that the database lacks, because an earlier run
    was killed or could not write it.

    Parameters
    ----------
    options : mapping
        Options of the command: ``--database`` and ``--no-database``; without one of them the database is
        ``soxspipe.db`` in the folder of the products.
    output : str or path-like
        Folder of the products.

    Raises
    ------
    DatabaseError
        When ``--database`` names no database; nothing was reduced yet.
    """

    def __init__(self, options: Mapping[str, Any], output: str | os.PathLike[str]) -> None:
        given, self._database = options.get("--database"), None
        if not options.get("--no-database"):
            from ..database.quality_database import DATABASE_NAME, QualityDatabase

            target = Path(output, DATABASE_NAME) if given is None else database_argument(given, "--database")
            self._database = QualityDatabase(target)
        self._folder: str | os.PathLike[str] | None = output
        self._remedy = f"soxspipe qc {'<database> ' if given else ''}--import={output}"

    def add(self, product: str) -> None:
        """Add a product; after a failure of the database no other is tried in this run."""
        if self._database is None:
            return
        try:
            self._database.add(product)
            if self._folder is not None:
                folder, self._folder = self._folder, None
                self._database.add_missing(folder)
        except DatabaseError as error:
            self._database = None
            _log.warning("%s; products of this run are missing in the quality database: %s", error, self._remedy)
        except InputError as error:
            _log.warning("%s; it is missing in the quality database", error)
        except Exception as error:  # noqa: BLE001 - the product is there, and other jobs may still run
            self._database = None
            _log.warning(
                "%s: %s; products of this run are missing in the quality database: %s",
                type(error).__name__, " ".join(str(error).split()), self._remedy,
            )  # fmt: skip
