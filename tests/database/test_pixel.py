"""One pixel of a product, and its history."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.cli.command_line import main
from soxspipe.database.pixel_history import read_history
from soxspipe.database.quality_database import Filters, QualityDatabase
from soxspipe.database.records import read_record
from soxspipe.exceptions import CommandLineError, FrameError
from soxspipe.pixel_codes import PixelCode
from soxspipe.products.pixel_values import code_names, read_pixel

from .product_copies import copy_product


@pytest.fixture
def product(master, tmp_path):
    """Return a copy of a product whose pixel x = 7, y = 3 is hot and noisy, and x = 1, y = 1 without data."""
    path = copy_product(master, tmp_path / "reduced", 1)
    with fits.open(path, mode="update") as hdus:
        hdus["QUAL"].data = hdus["QUAL"].data.astype(np.int32)  # as where a pixel has no data
        hdus["FLUX"].data[2, 6], hdus["ERRS"].data[2, 6] = 1234.5, 2.5
        hdus["QUAL"].data[2, 6], hdus["NCOMBINE"].data[2, 6] = 256 + 1024, 2
        for name, value in {"FLUX": np.nan, "ERRS": np.nan, "NOISE": np.nan, "QUAL": 2**30, "NCOMBINE": 0}.items():
            hdus[name].data[0, 0] = value
        hdus["QUAL"].data[-1, -1] = 2
    return path


def test_a_pixel_has_the_values_of_all_planes_in_fits_coordinates(product):
    pixel = read_pixel(product, 7, 3)
    assert [plane.name for plane in pixel.planes] == ["FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE"]
    assert [plane.unit for plane in pixel.planes] == ["electron", "", "electron", "electron", ""]
    assert (pixel.value("FLUX"), pixel.value("ERRS"), pixel.value("NCOMBINE")) == (1234.5, 2.5, 2)
    assert pixel.value("NOISE") == float(str(fits.getdata(product, "NOISE")[2, 6]))
    assert pixel.over_error == 493.8
    assert pixel.codes == PixelCode.HOT | PixelCode.NOISY
    assert pixel.meanings == [
        "hot (256): above its surroundings",
        "noisy (1024): scatters more than the noise model allows",
        "2 of 3 samples entered the mean, 1 rejected or without data",
    ]


def test_a_pixel_without_data_has_no_numbers(product):
    pixel = read_pixel(product, 1, 1)
    assert [plane.value for plane in pixel.planes] == [None, 2**30, None, None, 0]
    assert pixel.over_error is None
    assert pixel.meanings[0] == "no data (1073741824): no sample was left"


def test_codes_have_names():
    assert code_names(0) == "good"
    assert code_names(256 + 4096) == "hot, saturated"
    assert code_names(2) == "unknown"


@pytest.mark.parametrize(
    ("x", "y", "name"), [(0, 3, "x is 0"), (121, 3, "x is 121"), (3, 0, "y is 0"), (3, 121, "y is")]
)
def test_a_pixel_outside_is_refused(product, x, y, name):
    with pytest.raises(CommandLineError, match=f"{name}.*expected 1 to 120: FITS coordinates begin with 1, 1"):
        read_pixel(product, x, y)


def test_a_file_that_is_no_product_is_refused(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.zeros((4, 4)))
    with pytest.raises(FrameError, match="no ESO PRO CATG, expected a product"):
        read_pixel(tmp_path / "a.fits", 1, 1)


def test_a_bad_pixel_map_has_codes_alone(master):
    bpmap = master.with_name(f"{master.stem}_BPMAP.fits")
    y, x = np.argwhere(fits.getdata(bpmap) & PixelCode.HOT)[0] + 1
    pixel = read_pixel(bpmap, int(x), int(y))
    assert [plane.name for plane in pixel.planes] == ["BPMAP"]
    assert PixelCode.HOT in pixel.codes
    assert main(["pixel", str(bpmap), str(x), str(y)]) == 0


@pytest.fixture
def night(master, product):
    """Return a database of five products of one detector, one of another, and one that was moved away."""
    database = QualityDatabase(product.parent)
    for number in range(2, 6):
        path = copy_product(master, product.parent, number)
        with fits.open(path, mode="update") as hdus:
            hdus["FLUX"].data[2, 6], hdus["ERRS"].data[2, 6], hdus["QUAL"].data[2, 6] = 100.0 * number, 4.0, 0
        database.add(path)
    database.add(product)
    database.add(copy_product(master, product.parent, 6, cards={"ESO DET CHIP ID": "another one"}))
    moved = copy_product(master, product.parent, 7)
    database.add(moved)
    moved.unlink()
    return database


def test_the_history_has_the_products_of_the_same_detector_by_date(product, night):
    moments, faults = read_history(night, read_record(product), 7, 3)
    assert [(one.pixel.codes, one.pixel.over_error) for one in moments] == [
        (256 + 1024, 493.8), (0, 50.0), (0, 75.0), (0, 100.0), (0, 125.0),
    ]  # fmt: skip
    levels = [one.record.value("MDARK MEDIAN").value for one in moments]
    assert [one.excess_over_error for one in moments] == [
        (flux - level) / error
        for flux, level, error in zip([1234.5, 200, 300, 400, 500], levels, [2.5, 4, 4, 4, 4], strict=True)
    ]
    assert [one.record.file_name for one in moments] == sorted(one.record.file_name for one in moments)
    (line,) = faults
    assert "NIR_1_MDARK_300_0S_SOXS.fits: cannot be read" in line
    later, _ = read_history(night, read_record(product), 7, 3, filters=Filters(begin="2026-03-04"))
    assert len(later) == 3


def test_the_command_prints_values_codes_and_history(product, night, capsys):
    assert main(["pixel", str(product), "7", "3"]) == 0
    out, err = capsys.readouterr()
    assert "x = 7, y = 3 (in numpy: [2, 6])" in out
    for words in (
        "| FLUX         | 1234.5 ",
        "| FLUX / ERRS  | 493.8 ",
        "hot (256): above its surroundings",
        "| good ",
    ):
        assert words in out
    assert out.count("hot, noisy") == 1
    assert err.count("\n") == 1
    assert "cannot be read" in err


def test_json_has_one_document(product, night, capsys):
    assert main(["pixel", str(product), "7", "3", "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["planes"][0] == {"name": "FLUX", "value": 1234.5, "unit": "electron"}
    assert (document["x"], document["y"], document["code"]) == (7, 3, 1280)
    assert [one["flux"] for one in document["history"]] == [1234.5, 200.0, 300.0, 400.0, 500.0]
    assert document["history"][0]["codes"] == "hot, noisy"
    assert main(["pixel", str(product), "1", "1", "--json", "--no-database"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["planes"][0]["value"], document["history"]) == (None, None)


def test_without_a_database_there_is_no_history(product, capsys):
    assert main(["pixel", str(product), "7", "3"]) == 0
    out, err = capsys.readouterr()
    assert "history" not in out
    assert err == ""


def test_a_database_of_another_program_next_to_the_product_is_a_warning(product, capsys):
    Path(product.parent, "soxspipe.db").write_text("no database " * 100)
    assert main(["pixel", str(product), "7", "3"]) == 0
    out, err = capsys.readouterr()
    assert "hot (256)" in out
    assert "is not a database" in err
    assert err.count("\n") == 1
    assert main(["pixel", str(product), "7", "3", f"--database={product.parent / 'soxspipe.db'}"]) == 2


@pytest.mark.parametrize("words", [["a", "3"], ["7.0", "3"], ["7", "0"], ["7", "9" * 30], ["7"]])
def test_coordinates_are_whole_numbers_from_one(product, words, capsys):
    assert main(["pixel", str(product), *words]) == 2
    assert "error" in capsys.readouterr().err
