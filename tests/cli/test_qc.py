"""The command qc, and the products of a run in the quality database."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from soxspipe.cli.command_line import main
from soxspipe.cli.database_writer import DatabaseWriter
from soxspipe.cli.fundamentals_adapter import FORMATS, render_rows
from soxspipe.database.quality_database import QualityDatabase
from soxspipe.database.records import read_record
from soxspipe.simulation import DarkSimulation, simulate_darks
from tests.database.conftest import master, postgresql, server  # noqa: F401 - fixtures
from tests.database.product_copies import copy_product


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def darks():
    return str(simulate_darks("raw", DarkSimulation(frames=3, shape=(128, 128))).sof)


# ---- a run adds its products ----


def test_a_run_adds_its_products_to_a_database_in_its_folder(darks):
    assert main(["mdark", darks, "--output=out"]) == 0
    (product,) = QualityDatabase("out").products()
    assert Path(product.path) == Path("out").absolute() / product.file_name
    assert product == read_record(product.path)


def test_a_product_that_is_there_already_is_added_once(darks):
    assert main(["mdark", darks, "--output=out", "--no-database"]) == 0
    assert not Path("out/soxspipe.db").exists()
    for _ in range(2):
        assert main(["mdark", darks, "--output=out", "--resume"]) == 0
    assert len(QualityDatabase("out").products()) == 1


def test_several_reductions_in_worker_processes_are_added_by_the_command(darks, monkeypatch):
    simulate_darks("raw2", DarkSimulation(frames=3, shape=(128, 128), start="2026-03-02T10:00:00"))
    writers = []
    monkeypatch.setattr(DatabaseWriter, "add", lambda writer, product: writers.append((os.getpid(), product)))
    assert main(["mdark", darks, "raw2", "--output=out", "--workers=2"]) == 0
    assert [pid for pid, _ in writers] == [os.getpid()] * 2


def test_the_database_may_be_a_server(darks, postgresql):  # noqa: F811
    assert main(["mdark", darks, "--output=out", f"--database={postgresql}"]) == 0
    assert len(QualityDatabase(postgresql).products()) == 1
    assert not Path("out/soxspipe.db").exists()


@pytest.mark.parametrize("fault", ["no server", "no database", "another program"])
def test_a_database_that_fails_costs_a_warning_and_no_product(darks, fault, capsys):
    target = {"no server": "postgresql://me:topsecret@127.0.0.1:1/name"}.get(fault, "q.db")
    if fault == "no database":
        Path("q.db").write_text("no database " * 100)
    elif fault == "another program":
        shutil.copy(darks, "raw/soxspipe.db")
        target = "raw"
    capsys.readouterr()
    assert main(["mdark", darks, "--output=out", f"--database={target}"]) == 0
    out, err = capsys.readouterr()
    (product,) = out.splitlines()
    assert Path(product).is_file()
    (line,) = err.splitlines()
    assert "warning" in line
    assert "soxspipe qc <database> --import=out" in line
    assert "topsecret" not in line
    assert main(["qc", "--import=out"]) == 0
    assert len(QualityDatabase("out").products()) == 1


def test_an_unexpected_fault_of_the_database_costs_no_product(darks, monkeypatch, capsys):
    def fail(database, product):
        raise RuntimeError("odd\nfault")

    monkeypatch.setattr(QualityDatabase, "add", fail)
    assert main(["mdark", darks, "--output=out"]) == 0
    out, err = capsys.readouterr()
    assert Path(out.strip()).is_file()
    assert "RuntimeError: odd fault; products of this run are missing in the quality database" in err


def test_an_address_without_meaning_is_refused_before_the_reduction(darks, capsys):
    assert main(["mdark", darks, "--output=out", "--database=mysql://a:topsecret@b/c"]) == 2
    assert "expected a file, postgresql://" in capsys.readouterr().err
    assert not Path("out").exists()


# ---- soxspipe qc ----


@pytest.fixture
def three(master):  # noqa: F811
    """Make a database of three products, in the working directory."""
    for number, verdict in enumerate(["PASS", "FAIL", "WARN"]):
        cards = {"ESO QC VERDICT": verdict}
        path = copy_product(master, Path("reduced"), number, values={"RON RAW": 5 + number / 3}, cards=cards)
        qc = path.with_name(f"{path.stem}_qc.json")
        failed = ["FPN", "RON RAW"] if verdict == "FAIL" else []
        qc.write_text(json.dumps(json.loads(qc.read_text()) | {"verdict": verdict, "failed": failed}))
    assert main(["qc", "soxspipe.db", "--import=reduced", "-q"]) == 0


def test_products_are_listed_with_their_verdicts(three, capsys):
    assert main(["qc"]) == 0
    table = capsys.readouterr().out
    assert len(table.splitlines()) == 7
    assert "FPN, RON RAW" in table
    assert main(["qc", "soxspipe.db", "--verdict=fail", "--format=json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["arm"], row["recipe"], row["exposure s"], row["mode"]) == ("NIR", "soxs_mdark", 300.0, "1")
    assert (row["date"], row["verdict"]) == ("2026-03-01T10:00:00.000", "FAIL")
    assert Path(row["product"]).is_file()


def test_values_are_listed_with_all_their_digits(three, capsys):
    expected = [5 + number / 3 for number in range(3)]
    assert main(["qc", "--name=ron raw", "--format=csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["value"]) for row in rows] == expected
    assert rows[0]["unit"] == "electron"
    assert main(["qc", "--name=RON RAW", "--format=json"]) == 0
    assert [row["value"] for row in json.loads(capsys.readouterr().out)] == expected
    assert main(["qc", "--name=RON RAW", "--format=yaml"]) == 0
    rows = yaml.safe_load(capsys.readouterr().out)
    assert [row["value"] for row in rows] == expected
    assert (rows[0]["low"], rows[0]["high"], rows[0]["verdict"]) == (3.0, 20.0, "PASS")
    assert main(["qc", "--name=RON*", "--arm=nir", "--recipe=mdark", "--from=2026-03-02", "--to=2026-03-02"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len({line for line in lines if "| RON " in line}) + 4
    assert main(["qc", "--name=RON RAW", "--format=markdown"]) == 0
    assert capsys.readouterr().out.startswith("| date ")


def test_a_list_without_rows_says_so_and_stays_valid(three, capsys):
    for form, text in {"json": "[]\n", "yaml": "[]\n", "csv": "", "table": "", "markdown": ""}.items():
        assert main(["qc", "--arm=UVB", f"--format={form}"]) == 0
        out, err = capsys.readouterr()
        assert out == text
        assert "no product fits" in err


@pytest.mark.parametrize("option", ["--format=tab1e", "--from=soon", "--verdict=good", "--import=none"])
def test_wrong_options_are_refused(three, option, capsys):
    assert main(["qc", option]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_a_database_that_is_not_there_is_named(capsys):
    assert main(["qc", "none"]) == 2
    assert "none: no such database" in capsys.readouterr().err


def test_import_names_each_damaged_product_and_adds_the_others(master, capsys):  # noqa: F811
    paths = [copy_product(master, Path("reduced", str(number % 2)), number) for number in range(9)]
    qc = [path.with_name(f"{path.stem}_qc.json") for path in paths]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:50000])
    qc[2].write_text("{")
    qc[3].write_text(qc[4].read_text())
    qc[5].write_text(qc[5].read_text().replace('"PASS"', '"GOOD"').replace('"WARN"', '"GOOD"'))
    qc[6].write_text(qc[6].read_text().replace('"value": 0.0', '"value": 1' + 400 * "0", 1))
    paths[7].write_bytes(b"no FITS")
    assert main(["qc", "--import=reduced"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    *warnings, last = err.splitlines()
    assert last == f"{Path('reduced/soxspipe.db').absolute()}: 2 of 9 products added"
    assert len(warnings) == 7
    for path in [*paths[:4], *paths[5:8]]:
        assert sum(path.stem in line for line in warnings) == 1, warnings
    names = {one.file_name for one in QualityDatabase("reduced").products()}
    assert names == {paths[4].name, paths[8].name}


def test_a_database_made_again_is_equal(darks):
    assert main(["mdark", darks, "--output=out"]) == 0
    before = QualityDatabase("out").products()
    for path in Path("out").glob("soxspipe.db*"):
        path.unlink()
    assert main(["qc", "--import=out"]) == 0
    assert QualityDatabase("out").products() == before


@pytest.mark.parametrize("form", FORMATS)
def test_rows_of_any_content_make_valid_text(form, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    rows = [{"a b": None, "c": 0.1 + 0.2, "d": 'größe, "q" | é'}, {"a b": "x", "c": -5, "d": ""}] * 2000
    text = render_rows(rows, form)
    assert os.environ["TERM"] == "xterm-256color"
    if form == "json":
        assert json.loads(text) == rows
    elif form == "yaml":
        assert yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == rows
    elif form == "csv":
        found = list(csv.reader(io.StringIO(text)))
        assert found[:3] == [["a b", "c", "d"], ["", repr(0.1 + 0.2), 'größe, "q" | é'], ["x", "-5", ""]]
        assert len(found) == 4001
    else:
        assert len(text.splitlines()) == 4000 + {"table": 4, "markdown": 2}[form]
