"""The schema of the quality database, and the steps from each version to the next.

The file ``schema_<n>.sql`` leads from version n - 1 to version n. A new database runs all of them, an older one the
missing ones, so both have the same schema. A file that was released never changes.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from ..exceptions import WrongDatabaseError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .connection import Database

__all__ = ["DAMAGED", "VERSION", "migrate", "schema_version"]

#: Version of the schema that this version of soxspipe reads and writes.
VERSION = 3
#: What a database is that soxspipe wrote and that cannot be read, and what to do.
DAMAGED = "damaged: remove it, and make it again from the products with soxspipe qc --import"
#: Names that the schema needs; a database that has one of them without a version belongs to another program.
NAMES = {
    "products", "quality_values", "pixel_changes", "quality_control", "pixel_comparisons", "rate_histograms",
}  # fmt: skip


def schema_version(connection: Connection, database: Database) -> int:
    """Return the version of the schema of a database; 0 for an empty one.

    Raises
    ------
    WrongDatabaseError
        When the schema is newer, damaged or of another program.
    """
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    names = {*inspector.get_table_names(), *inspector.get_view_names()}
    if "soxspipe_schema" not in names:
        if foreign := sorted(NAMES & names):
            raise WrongDatabaseError(
                f"{database}: is a database of another program, with {', '.join(foreign)} of its own: choose another"
            )
        return 0
    match [*connection.exec_driver_sql("SELECT version FROM soxspipe_schema").scalars()]:
        case [int(version)] if 1 <= version <= VERSION:
            return version
        case [int(version)] if version > VERSION:
            raise WrongDatabaseError(
                f"{database}: has schema version {version}, expected at most {VERSION}: install a newer soxspipe"
            )
    raise WrongDatabaseError(f"{database}: is {DAMAGED}")


def migrate(connection: Connection, database: Database, target: int = VERSION) -> None:
    """Bring the schema of a database to a version, in the transaction of a connection."""
    database.lock_schema(connection)
    for version in range(schema_version(connection, database) + 1, target + 1):
        text = resources.files(__package__).joinpath(f"schema_{version}.sql").read_text(encoding="utf-8")
        for statement in text.replace("INTEGER PRIMARY KEY", database.identity).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"UPDATE soxspipe_schema SET version = {version}")
