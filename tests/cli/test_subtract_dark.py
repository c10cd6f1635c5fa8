import json
from pathlib import Path

import pytest
from astropy.io import fits

from soxspipe.cli import command_line
from soxspipe.database import QualityDatabase
from soxspipe.recipes import soxs_mbias, soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

CCD = {"arm": "VIS", "shape": (64, 200), "detector_seed": 7, "exptime_s": 60.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    biases = simulate_darks(folder / "bias", DarkSimulation(kind="BIAS", frames=3, **CCD)).frames
    darks = simulate_darks(folder / "dark", DarkSimulation(frames=3, seed=3, **CCD)).frames
    bias = soxs_mbias(biases, output_dir=folder).produce_product().path
    dark = soxs_mdark([*darks, bias], output_dir=folder).produce_product().path
    frames = simulate_darks(folder / "new", DarkSimulation(frames=3, seed=4, start="2026-03-02T01:00:00", **CCD)).frames
    return dark, frames


@pytest.fixture
def dark(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return f"--dark={made[0]}"


def run(capsys, *arguments):
    code = command_line.main(["subtract-dark", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_many_frames_are_many_jobs(made, dark, capsys):
    code, out, err = run(capsys, *made[1], dark, "--output=sub")
    assert code == 0
    assert "warning" not in err
    assert len(out.split()) == 3
    records = QualityDatabase("sub").products()
    assert [one.recipe for one in records] == ["soxs_subtract_dark"] * 3
    assert [(one.binning, one.arm) for one in records] == [("1x1", "VIS")] * 3
    for name in out.split():
        assert fits.getval(name, "ESO PRO CATG") == "DARK_SUBTRACTED_VIS"
    again, _, err = run(capsys, *made[1], dark, "--output=sub")
    assert again == 1
    assert err.count("exists") == 3
    assert run(capsys, made[1][0], dark, "--output=sub", "--overwrite")[0] == 0
    assert run(capsys, made[1][0], dark, "--output=sub", "--resume")[0] == 0


def test_a_frame_that_fails_leaves_the_others(made, dark, capsys):
    Path("bad.fits").write_bytes(b"no frame")
    code, out, err = run(capsys, "bad.fits", *made[1][:2], dark, "--json", "--workers=2")
    assert code == 1
    records = json.loads(out)
    assert [record["product"] is None for record in records] == [True, False, False]
    assert "not a FITS file" in err
    assert {value["name"] for value in records[1]["qc"]} >= {"SUB MEDIAN", "SHARED ERR"}


def test_a_set_of_files_lists_frames(made, dark, capsys):
    Path("frames.sof").write_text("".join(f"{path} OBJECT_VIS\n" for path in made[1]))
    code, out, _ = run(capsys, "frames.sof", dark)
    assert (code, len(out.split())) == (0, 3)


def test_the_same_frame_twice_is_refused_with_both_paths(made, dark, capsys):
    frame = made[1][0]
    Path("link.fits").symlink_to(frame)
    code, out, err = run(capsys, frame, "link.fits", dark, "--workers=2")
    assert (code, out, err) == (2, "", f"soxspipe: error: link.fits: is the same file as {frame}: give it once\n")
    assert not list(Path().glob("*DARKSUB*"))


def test_another_exposure_needs_scale(made, dark, capsys):
    (frame,) = simulate_darks("long", DarkSimulation(frames=1, **{**CCD, "exptime_s": 120.0})).frames
    code, out, err = run(capsys, frame, dark)
    assert (code, out) == (2, "")
    assert "the exposure (DIT) is 120 s, that of" in err
    code, out, _ = run(capsys, frame, dark, "--scale")
    assert code == 0
    header = fits.getheader(out.strip())
    assert header["ESO QC DARK SCALE"] == 2.0
    assert header["ESO PRO REC1 PARAM1 VALUE"] == "true"


def test_folders_and_missing_darks_are_refused(made, dark, capsys):
    assert "is a folder, expected frames" in run(capsys, ".", dark)[2]
    code, _, err = run(capsys, made[1][0])
    assert code == 2
    assert "subtract-dark: --dark is missing" in err


def test_frames_of_the_same_second_have_different_names(made, dark, capsys):
    for number in range(3):
        with fits.open(made[1][0]) as hdus:
            for keyword in ("CHECKSUM", "DATASUM", "ARCFILE"):
                hdus[0].header.remove(keyword, ignore_missing=True)
            hdus[0].header["MJD-OBS"] += number * 0.25 / 86400
            hdus[0].header["DATE-OBS"] = f"2026-03-02T01:00:00.{number * 250:03d}"
            hdus.writeto(f"short{number}.fits")
    code, out, _ = run(capsys, "short0.fits", "short1.fits", "short2.fits", dark, "--overwrite")
    assert code == 0
    assert len(set(out.split())) == 3
    assert out.startswith("20260302T010000_VIS")  # no milliseconds where they are zero
