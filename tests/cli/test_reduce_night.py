import json
import re
from pathlib import Path

import pytest
from astropy.io import fits

from soxspipe.cli.command_line import main
from soxspipe.database import QualityDatabase
from soxspipe.simulation import DarkSimulation, simulate_darks
from tests.night.conftest import checksums, night  # noqa: F401 - a fixture
from tests.night.test_plan import BIAS, NAMES, VIS


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def products():
    return sorted(path.stem for path in Path("out").glob("*.fits") if not path.stem.endswith("_BPMAP"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_night_becomes_all_masters_that_can_be_made(night, workers, capsys):  # noqa: F811
    before = checksums(night)
    assert main(["reduce", str(night), "--output=out", f"--workers={workers}"]) == 0
    out, err = capsys.readouterr()
    assert sorted(Path(line).stem for line in out.splitlines()) == products() == sorted(NAMES)
    header = fits.getheader(Path("out") / f"{VIS}.fits")
    assert header["ESO PRO REC1 CAL1 NAME"] == f"{BIAS}.fits"
    assert header["ESO QC PEDESTAL"] == "overscan, master bias"
    assert checksums(night) == before
    assert err.count(": done: ") == len(NAMES)
    records = {Path(one.path).stem: one for one in QualityDatabase("out").products()}
    assert sorted(records) == sorted(NAMES)
    bias, nir = records[BIAS], next(one for one in records.values() if one.arm == "NIR")
    assert (bias.recipe, bias.binning, bias.read_mode, bias.sof_name) == ("soxs_mbias", "1x1", None, f"{BIAS}.sof")
    assert (nir.recipe, nir.binning, nir.read_mode) == ("soxs_mdark", None, "1")


def test_a_dry_run_reduces_nothing(night, capsys):  # noqa: F811
    assert main(["reduce", str(night), "--output=out", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)
    assert not Path("out").exists()


def test_resume_leaves_alone_what_is_there_of_the_same_input_and_parameters(night, capsys):  # noqa: F811
    assert main(["reduce", str(night), "--output=out", "-q"]) == 0
    first = {name: (Path("out") / f"{name}.fits").stat().st_mtime_ns for name in products()}
    acq = next(name for name in products() if "ACQ" in name)
    (Path("out") / f"{acq}.fits").unlink()
    capsys.readouterr()
    assert main(["reduce", str(night), "--output=out", "--resume"]) == 1
    err = capsys.readouterr().err
    assert err.count(": was there: ") == len(NAMES) - 1
    # the other files of that product are there: nothing is replaced without a word
    assert f"{acq}_BPMAP.fits: exists already and was left alone" in err
    assert main(["reduce", str(night), "--output=out", "--resume", "--overwrite", "-q"]) == 0
    again = {name: (Path("out") / f"{name}.fits").stat().st_mtime_ns for name in products()}
    assert {name for name in again if again[name] != first[name]} == {acq}
    Path("other.yaml").write_text("soxs-mdark: {stacked-clipping-sigma: 4.0}\n")
    capsys.readouterr()
    assert main(["reduce", str(night), "--output=out", "--resume", "--settings=other.yaml"]) == 1
    err = capsys.readouterr().err
    assert err.count(": was there: ") == 1  # the bias has parameters of its own
    errors = [line for line in err.splitlines() if line.startswith("soxspipe: error:")]
    assert len(errors) == len(NAMES) - 1
    assert all("exists already and was left alone" in line for line in errors)


def test_a_set_whose_calibration_failed_says_so_and_stops_no_other(night, capsys):  # noqa: F811
    bias = sorted((night / "bias").glob("SOXS*.fits"))[0]
    with fits.open(bias, mode="update", checksum=False) as hdus:
        hdus[0].data[:] = 1000
    assert main(["reduce", str(night), "--output=out", "--json"]) == 1
    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("soxspipe: error:")]
    assert errors[-1].startswith(f"soxspipe: error: out/{VIS}.sof: not reduced: it needs the product of out/{BIAS}.sof")
    records = json.loads(out)
    assert sum(record["product"] is None for record in records) == 2
    assert len(products()) == len(NAMES) - 2


def test_two_sets_with_one_product_name_are_not_mixed(night, capsys):  # noqa: F811
    other = night / "other"
    other.mkdir()
    for path in (night / "second").glob("SOXS*.fits"):
        with fits.open(path) as hdus:
            hdus[0].header["ESO DET NDIT"] = 2
            hdus[0].header["ARCFILE"] = f"OTHER.{path.name}"
            hdus.writeto(other / path.name)
    assert main(["reduce", str(night), "--output=out"]) == 1
    _, err = capsys.readouterr()
    assert "not reduced: another set has a product of the name 20260303T020000_NIR_1_MDARK_300_0S_SOXS" in err
    assert products() == sorted(NAMES)


def test_a_damaged_frame_is_named_and_a_file_that_is_no_frame_is_counted(night, capsys):  # noqa: F811
    assert main(["reduce", str(night / "acq"), str(night), "--output=out"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(warnings) == 2
    assert warnings[0].startswith("soxspipe: warning: night/truncated.fits: left out: truncated: the header promises ")
    assert warnings[1].endswith(" files left out: their reasons are in out/plan.csv")
    # from the headers that the first call kept
    assert main(["reduce", str(night), "--output=out", "--resume"]) == 0
    assert "night/truncated.fits: left out: truncated" in capsys.readouterr().err


def test_products_that_exist_are_refused_with_a_word_about_resume(night, capsys):  # noqa: F811
    folders = [str(night / name) for name in ("acq", "nir300")]
    assert main(["reduce", *folders, "--output=out", "-q"]) == 0
    hint = "with --resume the products that exist already are kept, and the others are made\n"
    assert main(["reduce", *folders, "--output=out"]) == 1
    assert hint in capsys.readouterr().err
    assert main(["reduce", *folders, "--output=out", "--resume"]) == 0
    assert hint not in capsys.readouterr().err


def test_the_summary_has_the_verdict_of_the_product(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for number, effects in enumerate(({}, {"leak_e": 60.0})):
        start = f"2026-03-0{number + 1}T10:00:00"
        simulate_darks(f"raw/{number}", DarkSimulation(shape=(128, 128), frames=5, start=start, **effects))
    assert main(["reduce", "raw", "--output=out"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.endswith(": done: PASS") for line in lines) == 1
    assert sum(line.endswith(": done: WARN: 1 warning") for line in lines) == 1
    rows = [line for line in lines if line.startswith(" 2026")]
    verdicts = {Path(path).stem: fits.getval(path, "ESO QC VERDICT") for path in Path("out").glob("*MDARK*SOXS.fits")}
    assert len(verdicts) == 2
    for row in rows:
        name, *cells = row.split()
        assert f"  {verdicts[name]}" in row
        noise = fits.getval(f"out/{name}.fits", "ESO QC RON MASTER")
        assert f"{noise:.4g}" in cells


def test_a_set_with_too_few_frames_does_not_take_the_name_of_another(night, capsys):  # noqa: F811
    few = night / "few"
    few.mkdir()
    for path in sorted((night / "second").glob("SOXS*.fits"))[:2]:
        with fits.open(path) as hdus:
            hdus[0].header["ESO TPL START"] = "2026-03-03T01:59:00.000"
            hdus[0].header["ARCFILE"] = f"OTHER.{path.name}"
            hdus.writeto(few / path.name)
    assert main(["reduce", str(night), "--output=out"]) == 0
    assert re.search(r"not reduced: 2 frames, expected at least 3 \(\S+\.fits, \S+\.fits\)", capsys.readouterr().err)
    assert products() == sorted(NAMES)


def test_a_second_run_names_the_option_that_goes_on(night, capsys):  # noqa: F811
    assert main(["reduce", str(night), "--output=out", "-q"]) == 0
    for path in Path("out").glob(f"{VIS}*"):
        path.unlink()
    capsys.readouterr()
    assert main(["reduce", str(night), "--output=out"]) == 1
    assert "which was not made: see the error above; --resume uses a product that exists" in capsys.readouterr().err
    assert main(["reduce", str(night), "--output=out", "--resume", "-q"]) == 0
    assert products() == sorted(NAMES)


@pytest.mark.parametrize("command", ["prep", "reduce", "watch"])
def test_what_is_no_folder_is_refused(command, capsys):
    Path("text").write_text("words")
    assert main([command, "text", "nowhere"]) == 2
    err = capsys.readouterr().err
    assert "text: cannot be read (Not a directory): give a folder of frames" in err
    assert "nowhere: cannot be read (No such file or directory): give a folder of frames" in err
