"""The trend page of real products: births are found once, and the database keeps them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.cli.command_line import main
from soxspipe.database.quality_database import DATABASE_NAME, QualityDatabase
from soxspipe.database.trend_tables import TrendTables
from soxspipe.products.load_master import load_master
from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks
from soxspipe.trend.collect import collect_records, compare_masters

BORN = ((20, 31), (64, 70), (100, 12))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the masters of three nights of one detector; in the last one three pixels are hot that were not."""
    folder = tmp_path_factory.mktemp("nights")
    paths = []
    for night in (1, 2, 3):
        simulation = DarkSimulation(
            frames=5, shape=(128, 128), seed=night, detector_seed=7, start=f"2026-03-0{night}T10:00:00"
        )
        sof = simulate_darks(folder / f"raw{night}", simulation).sof
        paths.append(soxs_mdark(str(sof), output_dir=folder / "reduced").produce_product().path)
    with fits.open(paths[-1], mode="update") as hdus:
        for x, y in BORN:
            hdus["FLUX"].data[y - 1, x - 1] += 40 * hdus["ERRS"].data[y - 1, x - 1]
        for hdu in hdus:
            hdu.add_checksum()
    paths[1].with_suffix(".html").write_text("<title>report</title>")
    return paths


@pytest.fixture
def database(made, tmp_path):
    database = QualityDatabase(tmp_path / DATABASE_NAME)
    for path in made:
        database.add(path)
    return database


def test_births_are_found_between_consecutive_masters(database, made, tmp_path):
    products = database.products()
    assert compare_masters(database, products) == []
    records = collect_records(database, products, tmp_path)
    assert [one.path for one in records.comparisons] == [str(path) for path in made[1:]]
    assert all(0 < one.expected_false < 0.01 for one in records.comparisons)
    found = {(one.x, one.y): one for one in records.changes if one.path == str(made[2])}
    assert set(BORN) <= set(found)
    assert all(found[pixel].kind == "birth" and found[pixel].significance > 20 for pixel in BORN)
    assert not set(BORN) & {(one.x, one.y) for one in records.changes if one.path == str(made[1])}


def test_each_pair_is_compared_once(database, monkeypatch):
    products = database.products()
    calls = []
    compare_masters(database, products[:2], progress=lambda *done: calls.append(done))
    assert calls == [(1, 1)]
    compare_masters(database, products, progress=lambda *done: calls.append(done))
    assert calls == [(1, 1), (1, 1)]
    monkeypatch.setattr("soxspipe.trend.collect.load_master", None)  # nothing is read again
    compare_masters(database, products)
    assert len(TrendTables(database).comparisons()) == 2


def test_rates_are_those_of_the_master_counted_from_its_amplifiers(database, made, tmp_path):
    products = database.products()
    compare_masters(database, products)
    records = collect_records(database, products, tmp_path)
    assert [one.path for one in records.histograms] == [str(path) for path in made]
    one = records.histograms[0]
    images = load_master(made[0]).images
    assert one.above_median
    assert one.counts.sum() == np.isfinite(images.values_e).sum() - np.count_nonzero(images.codes & 4096)
    assert abs(one.centre) < 0.01


def test_a_master_that_is_gone_is_named_and_compared_when_it_is_there_again(database, made):
    hidden = made[1].with_suffix(".hidden")
    made[1].rename(hidden)
    try:
        (fault,) = compare_masters(database, database.products())
        assert made[1].name in fault
        assert TrendTables(database).comparisons() == []
    finally:
        hidden.rename(made[1])
    compare_masters(database, database.products())
    assert len(TrendTables(database).comparisons()) == 2


def test_masters_of_the_same_frames_do_not_compare(database, made, tmp_path):
    copy = tmp_path / made[0].name.replace("T100000", "T122400")
    copy.write_bytes(made[0].read_bytes())
    with fits.open(copy, mode="update") as hdus:
        hdus[0].header["PIPEFILE"] = copy.name
        hdus[0].header["MJD-OBS"] += 0.1
        hdus[0].add_checksum()
    document = json.loads(made[0].with_name(f"{made[0].stem}_qc.json").read_text())
    copy.with_name(f"{copy.stem}_qc.json").write_text(json.dumps(document | {"product": copy.name}))
    database.add(copy)
    assert compare_masters(database, database.products()) == []
    compared = {one.product_id: one.n_compared for one in TrendTables(database).comparisons()}
    again = next(one for one in database.products() if one.file_name == copy.name)
    assert compared[again.id] == 0
    assert sorted(compared.values())[1:] > [0, 0]


def test_links_start_at_the_page(database, made, tmp_path):
    products = collect_records(database, database.products(), tmp_path / "pages").products
    assert [bool(one.report) for one in products] == [False, True, False]
    assert (tmp_path / "pages" / products[1].report).resolve() == made[1].with_suffix(".html")
    assert products[0].shape == (120, 120)
    assert products[0].values["RON RAW"].low == 3.0


def test_the_tables_keep_what_they_get(database):
    first, second, third = database.products()
    tables = TrendTables(database)
    assert (tables.comparisons(), tables.changes(), tables.histograms()) == ([], {}, [])
    for n_compared in (5, 6):
        tables.add_comparison(second, first, [], n_compared=n_compared, expected_false=0.5)
    tables.add_comparison(third, second, [], n_compared=7, expected_false=0.25)
    assert [(one.n_compared, one.expected_false) for one in tables.comparisons()] == [(6, 0.5), (7, 0.25)]


def command(*arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["soxspipe", *map(str, arguments)])
    return main()


def test_the_command_writes_the_page_next_to_the_database(database, tmp_path, monkeypatch, capsys):
    assert command("trend", tmp_path, "--json", monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["page"] == str(tmp_path / "trend.html")
    assert (document["products"], document["comparisons"], document["histograms"]) == (3, 2, 3)
    text = (tmp_path / "trend.html").read_text()
    assert command("trend", tmp_path / DATABASE_NAME, "--quick", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'trend.html'}\n"
    assert len((tmp_path / "trend.html").read_text()) == len(text)


def test_the_command_never_replaces_another_file(database, tmp_path, monkeypatch, capsys):
    other = tmp_path / "notes.html"
    other.write_text("mine")
    assert command("trend", tmp_path, f"--output={other}", "--quick", monkeypatch=monkeypatch) == 2
    assert "notes.html: exists and was not made by this command: move it" in capsys.readouterr().err
    assert other.read_text() == "mine"


def test_an_arm_without_products_has_an_empty_page(database, tmp_path, monkeypatch, capsys):
    assert command("trend", tmp_path, "--arm=VIS", monkeypatch=monkeypatch) == 0
    assert "no product fits" in capsys.readouterr().err
    assert "There is no product yet." in (tmp_path / "trend.html").read_text()


def test_an_archive_that_was_moved_is_no_flood_of_warnings(database, made, tmp_path, monkeypatch, capsys):
    copies = [made[0].with_name(f"{made[0].stem}_{number}.fits") for number in range(6)]
    records = database.products()
    database.add_records(
        [
            replace(records[0], path=str(path), file_name=path.name, datamd5=str(i), mjd_obs=60000.0 + i, id=None)
            for i, path in enumerate(copies)
        ]
    )
    assert command("trend", tmp_path, "--json", monkeypatch=monkeypatch) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["warnings"]) == 6
    assert captured.err.count("warning: ") == 4
    assert "3 more masters cannot be read: their pixels are not compared" in captured.err


def test_a_database_that_can_only_be_read_has_a_page(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("soxspipe.database.connection.SQLiteDatabase.is_read_only", True)
    assert command("trend", tmp_path, "--json", monkeypatch=monkeypatch) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["products"], document["comparisons"]) == (3, 0)
    assert "cannot be written" in document["warnings"][0]


def test_without_bokeh_the_command_says_how_to_install_it(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command("trend", tmp_path, monkeypatch=monkeypatch) == 1
    assert "pip install 'soxspipe[trend]'" in capsys.readouterr().err
