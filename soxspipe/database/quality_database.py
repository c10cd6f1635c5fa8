"""The quality database: add products, and find them again by arm, date, recipe, verdict and QC value."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..exceptions import CommandLineError, DatabaseError, InputError, WrongDatabaseError
from ..text import escape, format_value
from .connection import open_database
from .records import Count, Number, ProductRecord, StoredValue, Text, check_types, find_products, read_record
from .schema import DAMAGED, VERSION, migrate, schema_version

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, TableClause

__all__ = ["DATABASE_NAME", "Filters", "PixelChange", "QualityDatabase"]

_T = TypeVar("_T")

#: Name of the database in a folder of products.
DATABASE_NAME = "soxspipe.db"
VERDICTS = ("PASS", "WARN", "FAIL")
#: Last digit of a date in a header, day.
MJD_DIGIT = 1e-8
#: Most letters of a message of a database that are shown.
_LONGEST_REASON = 300


@dataclass(frozen=True)
class Filters:
    """Which products are wanted; what is None does not matter.

    Attributes
    ----------
    arm, recipe, verdict : str or None
        Arm; recipe as ``soxs_mdark`` or ``mdark``; PASS, WARN or FAIL. In any case.
    begin, end : str or None
        First and last start of the first frame: a date or a time, UTC. The day of ``end`` counts whole.
    name : str or None
        QC value, in any case; ``*`` stands for any text. Only values of this name are returned, and only products that
        have one.
    """

    arm: str | None = None
    recipe: str | None = None
    verdict: str | None = None
    begin: str | None = None
    end: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.verdict is not None and self.verdict.upper() not in VERDICTS:
            raise CommandLineError(f"verdict is {format_value(self.verdict)}, expected {', '.join(VERDICTS)}")
        _mjd(self.begin, end=False)
        _mjd(self.end, end=True)


class PixelChange(NamedTuple):
    """A pixel that became bad or good between two products of one detector.

    Attributes
    ----------
    x, y : int
        FITS pixel coordinates: the first pixel is 1, 1.
    kind : str
        ``birth`` or ``death``.
    significance : float
        Change over its error.
    """

    x: Count
    y: Count
    kind: Text
    significance: Number


class QualityDatabase:
    """The QC values of many products.

    A database that does not exist is made when the first product is added. One of an older version of soxspipe is
    brought to the present schema when it is opened.

    Parameters
    ----------
    target : str or path-like
        A file; a folder, for the file ``soxspipe.db`` in it; or a URL: ``postgresql://user@host:port/name``.
        A password comes from the URL, the variable PGPASSWORD or the file ``~/.pgpass``; no message shows it.

    Raises
    ------
    DatabaseError
        When the URL is not valid. All methods raise it when the database cannot be reached, read or written, and its
        subclass WrongDatabaseError when it does not exist, is damaged, has a newer schema, or is of another program.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        self._database = open_database(os.path.join(target, DATABASE_NAME) if os.path.isdir(target) else target)
        self._is_current = False

    def __str__(self) -> str:
        return str(self._database)

    def exists(self) -> bool:
        """Return whether the file of the database exists; for a server True."""
        return self._database.exists()

    def add(self, product: str | os.PathLike[str]) -> ProductRecord:
        """Add a product with all its QC values, in one transaction.

        A product is there once, however often it is added: the same file with the same data replaces its row. A product
        that replaced another one at the same path takes its place.

        Parameters
        ----------
        product : path-like
            Main file of a product, with its file ``_qc.json`` next to it. No pixel is read.

        Returns
        -------
        ProductRecord

        Raises
        ------
        FrameError
            When it is damaged, or no product.
        DatabaseError
            When the database cannot be written; it is as it was before.
        """
        record = read_record(product)
        self.add_records([record])
        return record

    def add_records(self, records: Sequence[ProductRecord]) -> None:
        """Add products that were read before, all in one transaction; see `add`."""
        with self._transaction(write=True) as connection:
            for record in records:
                _add_record(connection, record)

    def add_missing(self, folder: str | os.PathLike[str]) -> None:
        """Add the products in a folder that are not in the database, as after a run that was killed or found it busy.

        Products in subfolders, and those that are damaged, are passed over.
        """
        import sqlalchemy

        with self._transaction(write=False) as connection:
            there = set(connection.scalars(sqlalchemy.select(_tables().products.c.path)))
        records = []
        for path in find_products(folder, subfolders=False):
            if escape(os.path.abspath(path)) not in there:
                with suppress(InputError):
                    records.append(read_record(path))
        if records:
            self.add_records(records)

    def products(self, filters: Filters | None = None) -> list[ProductRecord]:
        """Return products with their QC values, in the order of their dates.

        Parameters
        ----------
        filters : Filters, optional
            Which products; default: all.

        Returns
        -------
        list of ProductRecord
        """
        import sqlalchemy

        products, values, _ = _tables()
        conditions, of_values = _conditions(filters or Filters())
        of_products = sqlalchemy.select(products).where(*conditions)
        of_products = of_products.order_by(products.c.mjd_obs, products.c.file_name, products.c.path)
        of_their_values = (
            sqlalchemy.select(values)
            .join_from(values, products, products.c.id == values.c.product_id)
            .where(*conditions, *of_values)
            .order_by(values.c.product_id, values.c.position)
        )
        with self._transaction(write=False) as connection:
            found = connection.execute(of_products).all()
            measured = connection.execute(of_their_values).all()
        by_product = {number: list(rows) for number, rows in groupby(measured, lambda row: row.product_id)}
        return [_record(self, row, by_product.get(row.id, ())) for row in found]

    def values(self, filters: Filters | None = None) -> list[tuple[ProductRecord, StoredValue]]:
        """Return QC values, each with its product, in the order of the products; see `products`."""
        return [(product, value) for product in self.products(filters) for value in product.values]

    def set_pixel_changes(
        self, product: ProductRecord, previous: ProductRecord, changes: Sequence[PixelChange]
    ) -> None:
        """Store the pixels that changed between two products of the database, in place of those stored before."""
        changed = _tables().changes
        pair = {"product_id": product.id, "previous_id": previous.id}
        if None in pair.values():
            raise ValueError("the products must come from QualityDatabase.products()")
        with self._transaction(write=True) as connection:
            connection.execute(changed.delete().where(*(changed.c[key] == value for key, value in pair.items())))
            if changes:
                connection.execute(changed.insert(), [pair | change._asdict() for change in changes])

    def pixel_changes(self, product: ProductRecord) -> dict[int, list[PixelChange]]:
        """Return the pixels that changed before a product, by the ``id`` of the earlier product."""
        import sqlalchemy

        changed = _tables().changes
        query = sqlalchemy.select(changed).where(changed.c.product_id == product.id)
        found: dict[int, list[PixelChange]] = {}
        with self._transaction(write=False) as connection:
            for row in connection.execute(query.order_by(changed.c.previous_id, changed.c.y, changed.c.x)):
                change = checked_rows(self, "pixel_changes", PixelChange, tuple(row[2:]))
                found.setdefault(row.previous_id, []).append(change)
        return found

    @contextmanager
    def _transaction(self, write: bool) -> Iterator[Connection]:
        """Return a connection to a database of the present schema, in a transaction."""
        database = self._database
        with self._errors_in_one_line():
            if write and database.is_read_only:
                raise DatabaseError(f"{self}: cannot be written: choose a file in another folder")
            if not write and not database.exists():
                raise WrongDatabaseError(
                    f"{self}: no such database: correct its name, or make it from products with soxspipe qc --import"
                )
            if not self._is_current:
                self._bring_up_to_date(write)
            with database.transaction(write) as connection:
                yield connection

    def _bring_up_to_date(self, write: bool) -> None:
        if not write:
            with self._database.transaction(write=False) as connection:
                version = schema_version(connection, self._database)
            if version < VERSION and self._database.is_read_only:
                raise DatabaseError(
                    f"{self}: has schema version {version}, expected {VERSION}, and cannot be written: copy it into "
                    "another folder"
                )
        if write or version < VERSION:
            with self._database.transaction(write=True) as connection:
                migrate(connection, self._database)
        self._is_current = True

    @contextmanager
    def _errors_in_one_line(self) -> Iterator[None]:
        import sqlalchemy

        try:
            yield
        except sqlalchemy.exc.SQLAlchemyError as error:
            reason = _reason(getattr(error, "orig", error))
            kind = WrongDatabaseError if reason in (_NO_DATABASE, _MALFORMED) else DatabaseError
            raise kind(f"{self}: {reason}") from error
        except UnicodeDecodeError as error:  # of a message that cites damaged bytes
            raise WrongDatabaseError(f"{self}: is {DAMAGED}") from error
        except OSError as error:
            raise DatabaseError(f"{self}: {error.strerror}") from error


class _Tables(NamedTuple):
    products: TableClause
    values: TableClause
    changes: TableClause


@cache
def _tables() -> _Tables:
    """Return the tables; their columns have the names of the attributes of the records."""
    import sqlalchemy

    def table(name: str, *columns: str) -> TableClause:
        types = {"passed": sqlalchemy.Boolean()}  # SQLite has 0 and 1
        return sqlalchemy.table(name, *(sqlalchemy.column(column, types.get(column)) for column in columns))

    of_product = (field.name for field in fields(ProductRecord) if field.name != "values")
    of_value = (field.name for field in fields(StoredValue))
    return _Tables(
        table("products", *of_product),
        table("quality_values", "product_id", "position", *of_value),
        table("pixel_changes", "product_id", "previous_id", *PixelChange._fields),
    )


def _add_record(connection: Connection, record: ProductRecord) -> None:
    """Insert a product, or replace the row of the same product; its number stays."""
    from sqlalchemy.dialects import postgresql, sqlite

    products, values, _ = _tables()
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {key: value for key, value in asdict(record).items() if key not in ("id", "values")}
    row["failed"] = ", ".join(record.failed)
    statement = insert(products).values(row)
    identity = ("datamd5", "file_name")
    statement = statement.on_conflict_do_update(index_elements=identity, set_=row)
    number = connection.execute(statement.returning(products.c.id)).scalar_one()
    # what this file held before is gone
    connection.execute(products.delete().where(products.c.path == record.path, products.c.id != number))
    connection.execute(values.delete().where(values.c.product_id == number))
    if record.values:
        rows = [
            {"product_id": number, "position": position, **asdict(value)}
            for position, value in enumerate(record.values, 1)
        ]
        connection.execute(values.insert(), rows)


def _record(database: QualityDatabase, row: Any, values: Iterable[Any]) -> ProductRecord:
    content = row._asdict() | {"values": [value._asdict() for value in values]}
    if isinstance(row.failed, str):
        content["failed"] = row.failed.split(", ") if row.failed else []
    return checked_rows(database, "products", ProductRecord, content)


def checked_rows(database: QualityDatabase, table: str, kind: type[_T], content: object) -> _T:
    """Return rows of a table as records; see `check_types`. Raises DatabaseError."""
    try:
        return check_types(kind, content)
    except ValueError as error:
        raise WrongDatabaseError(f"{database}: table {table}: {error}: {DAMAGED}") from error


def _conditions(filters: Filters) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """Return the conditions on products, and those on their values."""
    import sqlalchemy

    products, values, _ = _tables()
    conditions: list[ColumnElement[bool]] = []
    if filters.arm is not None:
        conditions.append(products.c.arm == filters.arm.upper())
    if filters.recipe is not None:
        recipe = filters.recipe.lower().replace("-", "_").removeprefix("soxs_")
        conditions.append(products.c.recipe == f"soxs_{recipe}")
    if filters.verdict is not None:
        conditions.append(products.c.verdict == filters.verdict.upper())
    if (begin := _mjd(filters.begin, end=False)) is not None:
        conditions.append(products.c.mjd_obs >= begin - MJD_DIGIT)
    if (end := _mjd(filters.end, end=True)) is not None:
        conditions.append(products.c.mjd_obs <= end + MJD_DIGIT)
    of_values: list[ColumnElement[bool]] = []
    if filters.name is not None:
        pattern = filters.name.upper().replace("/", "//").replace("%", "/%").replace("_", "/_").replace("*", "%")
        of_values.append(values.c.name.like(pattern, escape="/"))
        named = sqlalchemy.select(values.c.product_id).where(*of_values)
        conditions.append(products.c.id.in_(named))
    return conditions, of_values


def _mjd(text: str | None, *, end: bool) -> float | None:
    """Return a date or time (UTC) as modified Julian date; a date as an end is the last moment of that day."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise CommandLineError(
            f"date is {format_value(text)}, expected a date or time (UTC) such as 2026-03-01 or 2026-03-01T22:30:00"
        ) from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if end and len(text.strip()) == len("2026-03-01"):
        moment += timedelta(days=1) - timedelta(milliseconds=1)
    return (moment - datetime(1858, 11, 17, tzinfo=UTC)) / timedelta(days=1)


_NO_DATABASE, _MALFORMED = "is not a database of SQLite: choose another file", f"is {DAMAGED}"
#: Parts of messages of SQLite and PostgreSQL, and what they mean with the remedy.
_REASONS = (
    ("not a database", _NO_DATABASE),
    ("malformed", _MALFORMED),
    ("could not decode", _MALFORMED),
    ("locked", "another program has kept it busy for 30 s: try again"),
    ("unable to open", "cannot be opened: choose a file in another folder"),
    ("readonly", "cannot be written: choose a file in another folder"),
    ("disk is full", "the disk is full: make room"),
    ("password authentication failed", "wrong user or password: correct the URL, PGPASSWORD or ~/.pgpass"),
    ("no password supplied", "needs a password: give it in PGPASSWORD or ~/.pgpass"),
    ("resolve host", "no such host: correct the URL"),
    ("name or service not known", "no such host: correct the URL"),
    ("nodename nor servname", "no such host: correct the URL"),
    ("name resolution", "no such host, or no network: correct the URL"),
    ("refused", "no server answers at this host and port: start it, or correct the URL"),
    ("timeout", "no server answers at this host and port: start it, or correct the URL"),
)


def _reason(error: BaseException | None) -> str:
    """Return the reason of an error of the database, in one line."""
    text = " ".join(str(error).split())
    return next((words for part, words in _REASONS if part in text.lower()), None) or escape(text[:_LONGEST_REASON])
