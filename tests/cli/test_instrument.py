import json

import pytest
from astropy.io import fits

from soxspipe.cli import command_line
from tests.cameras import nina_frame


@pytest.fixture
def night(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(4):
        nina_frame(tmp_path / "night" / f"DARK_{number}.fits", number)
    return tmp_path


def test_from_a_folder_of_darks_to_a_master(night, capsys):
    assert command_line.main(["instrument", "--from=night/DARK_0.fits", "--output=mine.yaml"]) == 0
    assert "samples are multiples of 16" in capsys.readouterr().err
    assert command_line.main(["mdark", "night", "--instrument=mine.yaml", "--output=out", "--json"]) == 0
    product = json.loads(capsys.readouterr().out)["product"]
    assert fits.getheader(product)["ESO PRO REC1 CAL1 NAME"] == "mine.yaml"
    assert command_line.main(["instrument", "--from=night/DARK_0.fits", "--output=mine.yaml"]) == 2
    assert "mine.yaml" in capsys.readouterr().err


def test_the_table_goes_to_standard_output_alone(night, capsys):
    assert command_line.main(["instrument", "--from=night/DARK_0.fits", "-q"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# Instrument table, written by soxspipe from DARK_0.fits, a header of N.I.N.A.")
    assert not err


@pytest.mark.parametrize("command", ["prep", "reduce"])
def test_a_night_of_the_camera_is_one_set(night, capsys, command):
    assert command_line.main([command, "night", "--instrument=asi183", "--output=out", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    if command == "prep":
        assert [len(one["frames"]) for one in found["sets"]] == [4]
    else:
        assert found["product"] == "out/20260301T220000_CMOS_1x1_MDARK_120_0S_ASI183.fits"


def test_without_a_table_the_plan_says_what_to_do(night, capsys):
    assert command_line.main(["prep", "night", "--output=out"]) == 0
    words = "instrument 'ZWO ASI183MC Pro' is unknown: make a table with 'soxspipe instrument --from=FRAME'"
    assert words in capsys.readouterr().out


def test_the_option_comes_before_the_settings_which_may_name_its_arms(night, capsys):
    (night / "settings.yaml").write_text("instruments: {table: no.yaml}\nsoxs-mdark: {CMOS: {minimum-frames: 9}}\n")
    arguments = ["mdark", "night", "--settings=settings.yaml", "--instrument=asi183", "--output=out"]
    assert command_line.main(arguments) == 2
    assert "4 raw darks, expected at least 9" in capsys.readouterr().err


def test_an_unknown_name_is_refused(night, capsys):
    assert command_line.main(["mdark", "night", "--instrument=asi184"]) == 2
    assert "no such file or example table: did you mean 'asi183'?" in capsys.readouterr().err


def test_simulated_frames_of_a_table_reduce_with_it(night, capsys):
    arguments = ["--instrument=asi183", "--shape=96x128", "--frames=4"]
    assert command_line.main(["simulate", "raw", *arguments]) == 0
    assert command_line.main(["mdark", "raw/darks.sof", "--instrument=asi183", "--output=out", "-q"]) == 0
    first = sorted((night / "raw").glob("ASI183*.fits"))[0]
    header, data = fits.getheader(first), fits.getdata(first)
    assert (header["IMAGETYP"].upper(), header["EGAIN"], header["CCD-TEMP"]) == ("DARK", 1.0, -10.0)
    assert not [keyword for keyword in header if keyword.startswith("ESO")]
    assert (data % 16 == 0).mean() > 0.99
    assert command_line.main(["simulate", "esis", "--instrument=esis", "--shape=96x128", "--exptime=2"]) == 0
    first = sorted((night / "esis").glob("ESIS*.fits"))[0]
    assert (fits.getheader(first)["IMG_EXP"], fits.getheader(first)["CAM_ID"]) == (2000.0, "ESIS1")


def test_a_master_of_the_camera_is_verified_and_compared(night, capsys):
    table = "--instrument=asi183"
    assert command_line.main(["mdark", "night", table, "--output=out", "-q"]) == 0
    master = capsys.readouterr().out.strip()
    assert command_line.main(["verify", master, "night", table, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["frames"]) == 4
    assert command_line.main(["compare", master, master, table, "-q"]) == 0


def test_the_schema_of_the_settings_has_the_arms_of_a_table(night, capsys):
    assert command_line.main(["settings", "--schema", "--instrument=asi183"]) == 0
    assert "CMOS" in json.loads(capsys.readouterr().out)["properties"]["soxs-mdark"]["properties"]
