"""Connections to the quality database: a SQLite file, or a PostgreSQL server by its URL."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..exceptions import DatabaseError, WrongDatabaseError
from ..run_log import get_logger
from ..text import escape

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

__all__ = ["Database", "PostgreSQLDatabase", "SQLiteDatabase", "open_database"]

log = get_logger(__name__)

#: Time for which a writer waits for another one, second.
BUSY_S = 30
#: Time for which an answer of a server is awaited when connecting, second.
CONNECT_S = 10
#: Name of the lock of a PostgreSQL server under which the schema changes.
SCHEMA_LOCK = 7304_1858


class SQLiteDatabase:
    """A quality database in a file.

    Parameters
    ----------
    path : pathlib.Path
        The file; made, with its folder, when something is written.
    vfs : str, optional
        Another way to lock than the usual one, such as ``unix-dotfile``; see SQLite's documentation of VFS.
    """

    #: The type of a number that the database gives to each row.
    identity = "INTEGER PRIMARY KEY"

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.path = Path(os.path.abspath(path))
        self._vfs = vfs
        self._warned = False

    def __str__(self) -> str:
        return escape(self.path)

    @property
    def is_read_only(self) -> bool:
        """Whether the file, or a journal next to it, cannot be written."""
        folder = next(folder for folder in (self.path, *self.path.parents) if folder.is_dir())
        return not os.access(folder, os.W_OK) or (self.path.exists() and not os.access(self.path, os.W_OK))

    def exists(self) -> bool:
        """Return whether there is a file to read."""
        return self.path.is_file()

    @contextmanager
    def transaction(self, write: bool) -> Iterator[Connection]:
        """Return a connection in a transaction, which is committed when no exception leaves it."""
        with self._engine(write).begin() as connection:
            # a reader that becomes a writer could not wait for another writer: so it is one from the beginning
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
            yield connection

    def lock_schema(self, connection: Connection) -> None:
        """Keep others from changing the schema in this transaction: no two write at the same time anyway."""

    def _engine(self, write: bool) -> Engine:
        import sqlalchemy

        def connect() -> sqlite3.Connection:
            return self._connect(write)

        return sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.NullPool)

    def _connect(self, write: bool) -> sqlite3.Connection:
        if self.path.exists() and not self.path.is_file():
            raise WrongDatabaseError(f"{self}: is a device, pipe or socket, expected a file: choose another one")
        options = ["mode=rwc"]
        if write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        elif self.is_read_only:
            # without a place for its journal a database can be read only if it does not change
            has_journal = Path(f"{self.path}-wal").exists()
            options = ["mode=ro"] if has_journal else ["mode=ro", "immutable=1"]
        if self._vfs is not None:
            options.append(f"vfs={quote(self._vfs)}")
        uri = f"file:{quote(os.fsencode(self.path))}?{'&'.join(options)}"
        connection = sqlite3.connect(uri, timeout=BUSY_S, isolation_level=None, uri=True)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            if write:
                self._choose_journal(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _choose_journal(self, connection: sqlite3.Connection) -> None:
        """Let readers and a writer work at the same time (WAL), where the file system can do that."""
        mode = _journal_mode(connection, "")
        give_up = time.monotonic() + BUSY_S
        while mode != "wal":
            try:
                mode = _journal_mode(connection, "= WAL")
                break
            except sqlite3.OperationalError as error:  # another process changes it: SQLite does not wait for that
                if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    mode = _journal_mode(connection, "= DELETE")
                    break
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
        if mode != "wal" and not self._warned:
            self._warned = True
            log.warning(
                "%s: its file system cannot do a write-ahead log (WAL): readers and writers wait for each other", self
            )


def _journal_mode(connection: sqlite3.Connection, choice: str) -> str:
    with closing(connection.execute(f"PRAGMA journal_mode {choice}")) as cursor:
        return str(cursor.fetchone()[0])


class PostgreSQLDatabase:
    """A quality database on a PostgreSQL server.

    Parameters
    ----------
    url : sqlalchemy.URL
        Its address, for the driver psycopg.
    """

    identity = "INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"
    is_read_only = False

    def __init__(self, url: URL) -> None:
        self._url = url

    def __str__(self) -> str:
        # the query may hold a password too
        return escape(self._url.set(drivername="postgresql", password=None, query={}).render_as_string())

    def exists(self) -> bool:
        """Return True: the connection shows whether the database is there."""
        return True

    @contextmanager
    def transaction(self, write: bool) -> Iterator[Connection]:
        """Return a connection in a transaction, which is committed when no exception leaves it."""
        import sqlalchemy

        timeout = {} if "connect_timeout" in self._url.query else {"connect_timeout": CONNECT_S}
        try:
            engine = sqlalchemy.create_engine(self._url, poolclass=sqlalchemy.NullPool, connect_args=timeout)
        except ModuleNotFoundError as error:
            raise DatabaseError(
                f"{self}: PostgreSQL needs the package psycopg: pip install 'soxspipe[postgresql]'"
            ) from error
        with engine.begin() as connection:
            yield connection

    def lock_schema(self, connection: Connection) -> None:
        """Keep others from changing the schema in this transaction."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")


Database = SQLiteDatabase | PostgreSQLDatabase


def open_database(target: str | os.PathLike[str]) -> Database:
    """Return the database that a path or a URL names; nothing is read or written yet.

    Parameters
    ----------
    target : str or path-like
        A file, or a URL: ``postgresql://user@host/name`` or ``sqlite:///file``.

    Returns
    -------
    SQLiteDatabase or PostgreSQLDatabase

    Raises
    ------
    WrongDatabaseError
        When the URL is none of these.
    """
    text = os.fspath(target)
    scheme = re.match(r"([A-Za-z0-9+]+)://", text)
    if scheme is None:
        return SQLiteDatabase(Path(os.path.expanduser(text)))
    import sqlalchemy

    name = scheme[1].lower()
    kind = {"postgresql+psycopg": "postgresql", "postgres": "postgresql"}.get(name, name)
    try:
        url = sqlalchemy.make_url(text.replace(scheme[0], f"{kind}://", 1))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        kind = ""
    if kind not in ("postgresql", "sqlite") or not url.database:
        # the text may hold a password
        raise WrongDatabaseError(
            f"database '{scheme[0]}...': expected a file, postgresql://user@host:port/name or sqlite:///file"
        )
    if kind == "postgresql":
        return PostgreSQLDatabase(url.set(drivername="postgresql+psycopg"))
    vfs = url.query.get("vfs")
    return SQLiteDatabase(Path(os.path.expanduser(url.database)), vfs if isinstance(vfs, str) else None)
