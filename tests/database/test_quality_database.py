import json
import math
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pytest
import sqlalchemy
from astropy.io import fits

from soxspipe.database import quality_database
from soxspipe.database.connection import open_database
from soxspipe.database.quality_database import Filters, PixelChange, QualityDatabase
from soxspipe.database.records import ProductRecord, StoredValue, find_products, read_record
from soxspipe.exceptions import CommandLineError

from .product_copies import copy_product

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(quality_database.__file__).parents[2])}
ADD = [sys.executable, str(Path(__file__).with_name("add_products.py"))]
#: The columns of the table of the SOXS pipeline, which tools for it read.
UPSTREAM = (
    "soxspipe_recipe", "qc_name", "qc_value", "qc_unit", "qc_comment", "obs_date_utc", "reduction_date_utc", "sof_name",
    "qc_order", "qc_flag", "qc_value_min", "qc_value_max",
)  # fmt: skip


@pytest.fixture
def connect():
    """Return a function that yields a plain connection to a database, without soxspipe's."""
    engines = []

    def connection_to(target):
        engine = sqlalchemy.create_engine(
            target.replace("postgresql:", "postgresql+psycopg:") if "://" in target else f"sqlite:///{target}",
            poolclass=sqlalchemy.NullPool,
        )
        engines.append(engine)
        return engine.begin()

    return connection_to


def test_products_of_a_folder_that_are_missing_are_added(master, target, tmp_path):
    first, second, damaged, deeper = (copy_product(master, tmp_path / "out", number) for number in range(4))
    damaged.write_bytes(b"")
    for path in tmp_path.glob(f"out/{deeper.stem}*"):
        path.rename(tmp_path / path.name)
    QualityDatabase(target).add(first)
    row = QualityDatabase(target).products()[0].id
    QualityDatabase(target).add_missing(tmp_path / "out")
    found = QualityDatabase(target).products()
    assert [Path(one.path) for one in found] == [first, second]
    assert found[0].id == row


def test_a_product_comes_back_as_its_files_have_it(master, target):
    QualityDatabase(target).add(master)
    (found,) = QualityDatabase(target).products()
    header = fits.getheader(master)
    qc = json.loads(master.with_name(f"{master.stem}_qc.json").read_text())["qc"]
    assert found == read_record(master)
    assert (found.path, found.file_name, found.datamd5) == (str(master), master.name, header["DATAMD5"])
    assert (found.recipe, found.arm, found.category) == ("soxs_mdark", "NIR", "MASTER_DARK_NIR")
    assert (found.instrument, found.read_mode, found.binning, found.frames) == ("SOXS", "1", None, 3)
    assert (found.exptime_s, found.dit_s, found.temperature_k) == (300.0, 300.0, 40.1)
    assert (found.date_obs, found.mjd_obs) == ("2026-03-01T10:00:00.000", header["MJD-OBS"])
    assert (found.reduction_date, found.verdict) == (header["DATE"], header["ESO QC VERDICT"])
    assert (found.sof_name, found.version) == ("darks.sof", header["ESO PRO REC1 PIPE ID"])
    assert (found.columns, found.lines) == (header["NAXIS1"], header["NAXIS2"])
    assert [(one.name, one.value, one.unit, [one.low, one.high], one.passed, one.comment) for one in found.values] == [
        (one["name"], one["value"], one["unit"], one["range"], one["passed"], one["description"]) for one in qc
    ]
    assert found.value("RON RAW").unit == "electron"
    assert found.value("NO SUCH VALUE") is None


def test_a_product_is_there_once_however_often_it_is_added(master, target, tmp_path):
    database = QualityDatabase(target)
    for _ in range(3):
        database.add(master)
    copy = tmp_path / "copy" / master.name
    copy.parent.mkdir()
    for path in (master, master.with_name(f"{master.stem}_qc.json")):
        (copy.parent / path.name).write_bytes(path.read_bytes())
    number = database.products()[0].id
    database.add(copy)
    (found,) = database.products()
    assert found == replace(read_record(master), path=str(copy))
    assert found.id == number


def test_a_product_that_replaced_another_one_takes_its_place(master, target, tmp_path):
    database = QualityDatabase(target)
    first = database.add(copy_product(master, tmp_path, 1))
    second = database.add(copy_product(master, tmp_path, 1, cards={"DATAMD5": "1" * 32}))
    assert first.path == second.path
    assert database.products() == [second]


def test_a_database_that_is_lost_is_made_again_from_the_products(master, target, tmp_path, connect):
    for number in range(3):
        copy_product(master, tmp_path / "reduced" / str(number), number, values={"RON RAW": 5.0 + number})
    database = QualityDatabase(target)
    for path in find_products(tmp_path / "reduced"):
        database.add(path)
    again = QualityDatabase(tmp_path / "again.db")
    again.add_records([read_record(path) for path in find_products(tmp_path / "reduced")])
    assert [one.value("RON RAW").value for one in again.products()] == [5.0, 6.0, 7.0]
    assert again.products() == database.products()
    rows = []
    for one in (target, str(tmp_path / "again.db")):
        with connect(one) as connection:
            rows.append(sorted(map(tuple, connection.exec_driver_sql("SELECT * FROM quality_control"))))
    assert rows[0] == rows[1]
    assert rows[0]


def test_filters_choose_products_and_values(master, target, tmp_path):
    database = QualityDatabase(target)
    for number, verdict in enumerate(["PASS", "FAIL", "PASS"]):
        path = copy_product(master, tmp_path, number, cards={"ESO QC VERDICT": verdict})
        qc = path.with_name(f"{path.stem}_qc.json")
        qc.write_text(json.dumps(json.loads(qc.read_text()) | {"verdict": verdict}))
        database.add(path)

    def days(**filters):
        return [round(one.mjd_obs - 61100.41666667) for one in database.products(Filters(**filters))]

    assert days() == days(arm="nir") == days(recipe="mdark") == days(recipe="soxs-mdark") == [0, 1, 2]
    assert days(arm="VIS") == days(recipe="mbias") == days(name="NO%") == days(name="RON_RAW") == []
    assert days(verdict="fail") == [1]
    assert days(begin="2026-03-02") == days(begin="2026-03-02T10:00:00") == [1, 2]
    assert days(end="2026-03-02") == days(end="2026-03-02T10:00") == days(end="2026-03-02T12:00+02:00") == [0, 1]
    assert days(begin="2026-03-02T10:00:01", end="2026-03-03T09:59:59") == []
    values = database.values(Filters(name="ron raw*", verdict="FAIL"))
    assert [(round(one.mjd_obs - 61100.41666667), value.name) for one, value in values] == [
        (1, "RON RAW"), (1, "RON RAW1"), (1, "RON RAW2"),
    ]  # fmt: skip


@pytest.mark.parametrize("filters", [{"begin": "yesterday"}, {"end": "2026-13-01"}, {"verdict": "good"}])
def test_a_filter_that_has_no_meaning_is_refused(filters):
    with pytest.raises(CommandLineError, match="expected"):
        Filters(**filters)


def test_the_view_has_the_columns_that_other_tools_read(master, target, tmp_path, connect):
    path = copy_product(master, tmp_path, 1)
    qc = path.with_name(f"{path.stem}_qc.json")
    document = json.loads(qc.read_text())
    by_name = {entry["name"]: entry for entry in document["qc"]}
    by_name["RON RAW"].update(value=50.0, passed=False)
    by_name["FPN"].update(value=None)
    qc.write_text(json.dumps(document))
    QualityDatabase(target).add(path)
    with connect(target) as connection:
        result = connection.exec_driver_sql("SELECT * FROM quality_control")
        assert tuple(result.keys()) == UPSTREAM
        rows = {row.qc_name: row for row in result}
    assert tuple(rows["RON RAW"]) == (
        "soxs-mdark", "RON RAW", 50.0, "electron", "noise of a single frame", "2026-03-01T10:00:00.000",
        fits.getheader(path)["DATE"], "darks.sof", "-1", "fail", 3.0, 20.0,
    )  # fmt: skip
    assert (rows["HOTPIX NUM"].qc_flag, rows["HOTPIX NUM"].qc_value_min) == ("pass", None)
    assert "FPN" not in rows  # it was not measured


def test_records_and_tables_have_the_same_columns(master, target, connect):
    QualityDatabase(target).add(master)
    with connect(target) as connection:
        inspector = sqlalchemy.inspect(connection)
        columns = {
            table: {column["name"] for column in inspector.get_columns(table)} for table in inspector.get_table_names()
        }
    assert columns["products"] == {field.name for field in fields(ProductRecord)} - {"values"}
    assert columns["quality_values"] == {field.name for field in fields(StoredValue)} | {"product_id", "position"}
    assert columns["pixel_changes"] == {*PixelChange._fields, "product_id", "previous_id"}


def test_pixel_changes_belong_to_two_products_and_go_with_them(master, target, tmp_path):
    database = QualityDatabase(target)
    for number in range(3):
        database.add(copy_product(master, tmp_path, number))
    first, second, third = database.products()
    births = [PixelChange(3, 4, "birth", 9.5), PixelChange(1, 7, "death", -8.0)]
    database.set_pixel_changes(second, first, [PixelChange(1, 1, "birth", 8.0)])
    database.set_pixel_changes(second, first, births)
    database.set_pixel_changes(third, first, births)
    assert database.pixel_changes(second) == database.pixel_changes(third) == {first.id: births}
    database.add(copy_product(master, tmp_path, 1))
    assert database.pixel_changes(second) == {first.id: births}  # the same pixels
    database.add(copy_product(master, tmp_path, 1, cards={"DATAMD5": "1" * 32}))
    assert database.pixel_changes(second) == {}
    assert database.pixel_changes(third) == {first.id: births}


def test_nothing_of_a_transaction_that_fails_is_stored(master, target, tmp_path):
    good, bad = (read_record(copy_product(master, tmp_path, number)) for number in (1, 2))
    bad = replace(bad, values=(*bad.values, bad.values[0]))
    database = QualityDatabase(target)
    with pytest.raises(quality_database.DatabaseError, match=r"\A[^\n]*\Z"):
        database.add_records([good, bad])
    database.add_records([])
    assert database.products() == []


@pytest.mark.slow
def test_two_writers_add_two_hundred_products_once_each(master, target, tmp_path):
    folders = {"one": range(80), "both": range(80, 120), "two": range(120, 200)}
    for folder, numbers in folders.items():
        for number in numbers:
            copy_product(master, tmp_path / folder, number, values={"RON RAW": 5 + number / 100})
    writers = [
        subprocess.Popen([*ADD, target, tmp_path / own, tmp_path / "both"], env=ENVIRONMENT, stdout=subprocess.DEVNULL)
        for own in ("one", "two")
    ]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    found = QualityDatabase(target).products()
    assert [one.value("RON RAW").value for one in found] == [5 + number / 100 for number in range(200)]
    assert {len(one.values) for one in found} == {len(read_record(master).values)}


@pytest.mark.slow
def test_a_writer_that_is_killed_at_any_moment_leaves_whole_products(master, target, tmp_path):
    for number in range(60):
        copy_product(master, tmp_path / "a", number)
    n_values, command = len(read_record(master).values), [*ADD, target, tmp_path / "a"]
    database, randomly = QualityDatabase(target), random.Random(1)
    for _ in range(8):
        before = {one.file_name for one in database.products()} if database.exists() else set()
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as writer:
            lines = [writer.stdout.readline().strip() for _ in range(randomly.randrange(8))]
            time.sleep(randomly.random() / 20)
            writer.kill()
        if not database.exists():
            continue
        found = database.products()
        assert {len(one.values) for one in found} <= {n_values}
        assert {one.file_name for one in found} >= before | set(lines[1:])
    subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    assert len(database.products()) == 60
    if "://" not in target:
        with closing(sqlite3.connect(target)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_a_folder_means_the_database_in_it(master, tmp_path):
    QualityDatabase(tmp_path).add(master)
    assert len(QualityDatabase(tmp_path / "soxspipe.db").products()) == 1
    assert len(QualityDatabase(f"sqlite:///{tmp_path}/soxspipe.db").products()) == 1
    assert str(open_database("~/a.db")) == str(Path.home() / "a.db")


def test_numbers_keep_their_digits(master, target, tmp_path):
    values = {"RON RAW": math.pi, "FPN": 5e-324, "CONTAM": -1.7976931348623157e308, "HOTPIX NUM": 4194304}
    database = QualityDatabase(target)
    database.add(copy_product(master, tmp_path, 1, values=values))
    assert {name: database.products()[0].value(name).value for name in values} == values
