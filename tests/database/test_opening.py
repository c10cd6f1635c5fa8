"""Databases that cannot be opened, are older or newer, or belong to another program."""

import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy

from soxspipe.database import quality_database, schema
from soxspipe.database.connection import open_database
from soxspipe.database.quality_database import QualityDatabase
from soxspipe.database.records import read_record
from soxspipe.exceptions import DatabaseError, WrongDatabaseError

from .conftest import PASSWORD

#: Programs of the tests import this soxspipe.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(schema.__file__).parents[2])}


def plain_engine(target):
    """Return an engine without the code of soxspipe."""
    url = target.replace("postgresql:", "postgresql+psycopg:") if "://" in target else f"sqlite:///{target}"
    if "://" not in target:
        Path(target).parent.mkdir(exist_ok=True)
    return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)


def run_sql(target, *statements):
    """Run SQL without the code of soxspipe."""
    with plain_engine(target).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def tables_of(target):
    """Return names and types of all columns of a database, and its version."""
    with plain_engine(target).connect() as connection:
        inspector = sqlalchemy.inspect(connection)
        columns = {
            name: [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)]
            for name in [*inspector.get_table_names(), *inspector.get_view_names()]
        }
        return columns, connection.exec_driver_sql("SELECT version FROM soxspipe_schema").scalar_one()


def wrong(database, *words):
    """Verify that a database is refused as input that is wrong."""
    refuses(database, *words, error=WrongDatabaseError)
    assert WrongDatabaseError("").exit_code == 2


def refuses(database, *words, error=DatabaseError):
    """Verify that reading and writing end in an error of one line with certain words."""
    for use in (database.products, lambda: database.add_records([])):
        with pytest.raises(error) as raised:
            use()
        (line,) = raised.value.faults
        assert re.fullmatch("[ -~]+", line)
        assert all(word in line for word in words), line


def first_version(target):
    """Make a database as the first version of the schema was."""
    database = open_database(target)
    with database.transaction(write=True) as connection:
        schema.migrate(connection, database, 1)
        assert schema.schema_version(connection, database) == 1


def test_a_database_of_the_first_version_is_brought_up_to_date_with_its_rows(master, target, tmp_path):
    first_version(target)
    record = read_record(master)
    database = open_database(target)
    with database.transaction(write=True) as connection:
        quality_database._add_record(connection, record)
    assert QualityDatabase(target).products() == [record]
    QualityDatabase(tmp_path / "new.db").add_records([record])
    assert tables_of(target)[1] == schema.VERSION == tables_of(str(tmp_path / "new.db"))[1]
    if "://" not in target:
        assert tables_of(target) == tables_of(str(tmp_path / "new.db"))


def test_a_migration_that_fails_leaves_the_database_as_it_was(target, monkeypatch):
    first_version(target)
    before = tables_of(target)
    run_sql(target, "CREATE TABLE obstacle (x INTEGER)", "CREATE VIEW pixel_changes AS SELECT x FROM obstacle")
    with pytest.raises(DatabaseError):
        QualityDatabase(target).products()
    run_sql(target, "DROP VIEW pixel_changes", "DROP TABLE obstacle")
    assert tables_of(target) == before
    assert QualityDatabase(target).products() == []


def test_the_steps_of_the_schema_have_no_gap():
    names = sorted(path.name for path in Path(schema.__file__).parent.glob("*.sql"))
    assert names == [f"schema_{number}.sql" for number in range(1, schema.VERSION + 1)]


def test_a_newer_schema_is_refused(target):
    QualityDatabase(target).add_records([])
    run_sql(target, "UPDATE soxspipe_schema SET version = 99")
    wrong(QualityDatabase(target), "schema version 99", "expected at most 3", "install a newer soxspipe")


def test_the_database_of_another_program_is_refused_and_left_alone(target):
    run_sql(target, "CREATE TABLE quality_control (qc_name TEXT)", "CREATE TABLE raw_frames (file TEXT)")
    wrong(QualityDatabase(target), "of another program", "quality_control", "choose another")
    with plain_engine(target).connect() as connection:
        assert set(sqlalchemy.inspect(connection).get_table_names()) == {"quality_control", "raw_frames"}


def test_tables_of_another_program_with_other_names_do_not_matter(master, target):
    run_sql(target, "CREATE TABLE observers (name TEXT)")
    QualityDatabase(target).add(master)
    assert len(QualityDatabase(target).products()) == 1


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("no database " * 1000)
    wrong(QualityDatabase(file), "notes.txt", "is not a database", "choose another file")
    assert file.read_text() == "no database " * 1000


def test_a_damaged_database_is_named(master, tmp_path):
    file = tmp_path / "soxspipe.db"
    QualityDatabase(file).add(master)
    content = bytearray(file.read_bytes())
    content[100 : len(content)] = b"\xff" * (len(content) - 100)
    file.write_bytes(content)
    wrong(QualityDatabase(file), "is damaged", "qc --import")


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE soxspipe_schema SET version = 'x'"],
        ["UPDATE soxspipe_schema SET version = 9e999"],
        ["UPDATE soxspipe_schema SET version = -5"],
        ["DELETE FROM soxspipe_schema"],
        # the message of SQLite cites the name
        ["PRAGMA writable_schema = ON", "UPDATE sqlite_master SET name = CAST(X'ff' AS TEXT), sql = 'CREATE x'"],
    ],
)
def test_a_database_with_damaged_values_is_named(master, tmp_path, statements):
    file = tmp_path / "soxspipe.db"
    QualityDatabase(file).add(master)
    run_sql(str(file), *statements)
    refuses(QualityDatabase(file), "is damaged", "qc --import")


def test_a_text_that_is_no_utf_8_is_damage(master, tmp_path):
    file = tmp_path / "soxspipe.db"
    QualityDatabase(file).add(master)
    run_sql(str(file), "UPDATE products SET detector = CAST(X'ff' AS TEXT)")
    with pytest.raises(DatabaseError, match="is damaged"):
        QualityDatabase(file).products()


def test_an_empty_file_is_an_empty_database(master, tmp_path):
    (tmp_path / "soxspipe.db").touch()  # a writer was killed before its first write
    assert QualityDatabase(tmp_path).products() == []
    QualityDatabase(tmp_path).add(master)
    assert len(QualityDatabase(tmp_path).products()) == 1


def test_a_database_that_is_not_there_is_not_made_by_reading(tmp_path):
    with pytest.raises(DatabaseError, match="no such database"):
        QualityDatabase(tmp_path / "none" / "soxspipe.db").products()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_can_be_read(master, tmp_path, monkeypatch):
    QualityDatabase(tmp_path).add(master)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    database = QualityDatabase(tmp_path)
    assert len(database.products()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["soxspipe.db"]
    with pytest.raises(DatabaseError, match=r"cannot be written: choose a file in another folder"):
        database.add(master)


def test_an_old_database_in_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    first_version(str(tmp_path / "soxspipe.db"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(DatabaseError, match="schema version 1, expected 3, and cannot be written: copy it"):
        QualityDatabase(tmp_path).products()


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is one of Linux")
def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(DatabaseError, match=r"\A/proc/none/soxspipe.db: "):
        QualityDatabase("/proc/none/soxspipe.db").add_records([])


def test_a_file_system_without_shared_memory_does_without_wal(master, tmp_path, caplog):
    # locks of this kind have no shared memory, as some network file systems
    database = QualityDatabase(f"sqlite:///{tmp_path}/soxspipe.db?vfs=unix-dotfile")
    database.add(master)
    database.add(master)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/soxspipe.db: its file system cannot do a write-ahead log (WAL): readers and writers wait for each "
        "other"
    ]
    assert len(database.products()) == 1


def test_writers_use_a_write_ahead_log(master, tmp_path):
    QualityDatabase(tmp_path).add(master)
    with closing(sqlite3.connect(tmp_path / "soxspipe.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_reader_does_not_wait_for_a_writer(master, tmp_path):
    QualityDatabase(tmp_path).add(master)
    with closing(sqlite3.connect(tmp_path / "soxspipe.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM products")
        assert len(QualityDatabase(tmp_path).products()) == 1


def test_a_writer_that_waits_too_long_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("soxspipe.database.connection.BUSY_S", 0.1)
    QualityDatabase(tmp_path).add_records([])
    with closing(sqlite3.connect(tmp_path / "soxspipe.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError, match="another program has kept it busy"):
            QualityDatabase(tmp_path).add_records([])


@pytest.mark.parametrize(
    "url",
    ["mysql://a:topsecret@host/name", "postgresql://a:topsecret@host:port/name", "postgresql://a:topsecret@host",
     "sqlite://"],
)  # fmt: skip
def test_an_address_that_is_no_database_is_refused_without_its_password(url):
    with pytest.raises(DatabaseError, match=r"expected a file, postgresql://") as raised:
        QualityDatabase(url)
    assert "topsecret" not in str(raised.value)


def test_a_host_or_a_server_that_is_not_there_is_named():
    refuses(
        QualityDatabase("postgresql://a:topsecret@no-such-host.invalid/name"), "no-such-host.invalid", "no such host"
    )
    refuses(QualityDatabase("postgres://a:topsecret@127.0.0.1:1/name"), "127.0.0.1:1/name", "no server answers")


def test_a_wrong_password_is_named_and_no_password_shown(server):
    wrong = server.replace("tester:", "tester:wrong-")
    for url in (f"{wrong}/postgres", f"{wrong}/postgres?connect_timeout=5"):
        database = QualityDatabase(url)
        refuses(database, "127.0.0.1", "wrong user or password", "PGPASSWORD")
        for text in (str(database), repr(database)):
            assert "wrong-" not in text
            assert PASSWORD not in text
    without = re.sub(":[^:@/]*@", "@", server)
    refuses(QualityDatabase(f"{without}/postgres"), "needs a password", "PGPASSWORD")


def test_a_password_may_come_from_the_environment(master, postgresql, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    without = re.sub(":[^:@/]*@", "@", postgresql)
    QualityDatabase(without).add(master)
    assert len(QualityDatabase(postgresql).products()) == 1


def test_a_database_that_the_server_does_not_have_is_named(server):
    refuses(QualityDatabase(f"{server}/none"), 'database "none" does not exist')


def test_without_psycopg_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    refuses(QualityDatabase("postgresql://a@host/name"), "pip install 'soxspipe[postgresql]'")


def test_many_writers_may_make_the_same_database(master, target):
    code = f"from soxspipe.database.quality_database import *; QualityDatabase({target!r}).add({str(master)!r})"
    writers = [subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT) for _ in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert len(QualityDatabase(target).products()) == 1


def test_names_of_files_may_have_any_characters(master, tmp_path):
    for name in ("a b%20c?d#e.db", "größe.db", f"{secrets.token_hex(2)}'\".db"):
        QualityDatabase(tmp_path / name).add(master)
        assert (tmp_path / name).is_file()
        assert len(QualityDatabase(tmp_path / name).products()) == 1


ON_A_SMALL_DISK = """
import subprocess, sys
from soxspipe.database import QualityDatabase
mount = ["mount", "-t", "tmpfs", "-o"]
subprocess.run([*mount, "size=60k", "tmpfs", "disk"], check=True)
try:
    QualityDatabase("disk").add(sys.argv[1])
except ValueError as error:
    print(error, error.exit_code)
subprocess.run([*mount, "remount,size=1m", "tmpfs", "disk"], check=True)
database = QualityDatabase("disk")
database.add(sys.argv[1])
print(len(database.products()), len(database.values()))
"""


def test_a_full_disk_is_named_and_the_database_works_when_there_is_room(master, tmp_path):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs a namespace to mount file systems in")
    (tmp_path / "disk").mkdir()
    command = ["unshare", "-rm", sys.executable, "-c", ON_A_SMALL_DISK, master]
    run = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    assert run.stdout.splitlines() == [
        f"{tmp_path}/disk/soxspipe.db: the disk is full: make room 1", f"1 {len(read_record(master).values)}",
    ]  # fmt: skip
