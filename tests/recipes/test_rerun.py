"""A reduction is repeated from the header of its product, by the command line and in Python."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import soxspipe
from soxspipe.cli import command_line
from soxspipe.exceptions import CommandLineError, FrameError, InputError, ProductExistsError, SettingsError
from soxspipe.recipes import soxs_mdark
from soxspipe.recipes.rerun import rerun
from soxspipe.simulation import DarkSimulation, simulate_darks

PLANES = ("FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Darks of the acquisition camera with bias, map, settings and table of their own, and their product."""
    folder = tmp_path_factory.mktemp("made")
    raw = simulate_darks(folder / "raw", DarkSimulation(arm="ACQ", shape=(96, 96), frames=4))
    product = soxs_mdark(raw.sof, output_dir=folder / "plain").produce_product()
    shape = product.frame.shape
    cards = {"INSTRUME": "SOXS", "HIERARCH ESO SEQ ARM": "ACQ", "HIERARCH ESO PRO CATG": "MASTER_BIAS_ACQ"}
    level = fits.PrimaryHDU(np.full(shape, 100, "f4"), fits.Header(cards))
    fits.HDUList([level, fits.ImageHDU(np.ones(shape, "f4"), name="ERRS")]).writeto(folder / "raw/bias.fits")
    bad = np.zeros(shape, np.uint8)
    bad[7, 9] = 1
    fits.PrimaryHDU(bad).writeto(folder / "raw/ünbrauchbar.fits")
    table = (Path(soxspipe.__file__).parent / "instruments/soxs.yaml").read_text(encoding="utf-8")
    (folder / "raw/mine.yaml").write_text(table.replace("instrument: SOXS", "instrument: MYSOXS"), encoding="utf-8")
    with raw.sof.open("a", encoding="utf-8") as sof:
        sof.write("bias.fits MASTER_BIAS_ACQ\nünbrauchbar.fits BP_MAP_RP_ACQ\n")
    settings = {
        "soxs-mdark": {"ACQ": {"stacked-clipping-sigma": 3.5, "stacked-clipping-scale": "mad"}},
        "create-noise-map": {"background-box": 16},
        "instruments": {"table": str(folder / "raw/mine.yaml")},
    }
    soxs_mdark(raw.sof, settings, folder / "reduced").produce_product()
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """Return the product's path in a copy of all files in the working directory."""
    for name in ("raw", "reduced"):
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (path,) = Path("reduced").glob("*SOXS.fits")
    return path


def test_the_same_pixels_of_what_the_header_names(here, capsys):
    before = here.read_bytes()
    assert command_line.main(["mdark", f"--rerun={here}", "--raw=raw", "--output=again", "-q"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"again/{here.name}",
        *[f"{name}: the same pixels" for name in PLANES],
    ]
    assert here.read_bytes() == before
    header = fits.getheader(here)
    assert [header[f"ESO PRO REC1 CAL{i} CATG"] for i in (1, 2, 3)] == [
        "MASTER_BIAS_ACQ", "BP_MAP_RP_ACQ", "INSTRUMENT_TABLE",
    ]  # fmt: skip
    assert here.name.endswith("MYSOXS.fits")
    assert (fits.getdata(here, "QUAL") & 128 > 0).sum() == 1


def test_a_file_is_known_by_name_and_content_wherever_it_lies(here, capsys):
    frames = sorted(Path("raw").glob("SOXS*.fits"))
    Path("archive/2026/03").mkdir(parents=True)
    for number, path in enumerate(frames):
        packed = gzip.compress(path.read_bytes())
        Path("archive/2026/03", f"{path.name}.gz").write_bytes(packed)
        # another exposure that has the same name, a folder that has, a broken file that has
        shutil.copy(frames[number - 1], Path("archive", path.name))
    Path("archive/2026", frames[0].name).mkdir()
    Path("archive/2026", frames[1].name).write_bytes(b"SIMPLE")
    for name in ("bias.fits", "ünbrauchbar.fits"):
        shutil.move(Path("raw", name), Path("reduced", name))
    shutil.move("raw/mine.yaml", "mine.yaml")
    shutil.rmtree("raw")
    again = rerun(here, "archive", "again")
    assert again.same_pixels
    assert again.keywords == tuple(
        f"ESO PRO REC1 RAW{number} NAME: {path.name}, now {path.name}.gz" for number, path in enumerate(frames, 1)
    ) + (f"ESO PRO ANCESTOR: {frames[0].name}, now {frames[0].name}.gz",) * ("ARCFILE" not in fits.getheader(here))


def test_frames_that_were_renamed_are_found_by_their_content(here):
    frames = sorted(Path("raw").glob("SOXS*.fits"))
    for number, path in enumerate(frames):
        path.rename(path.with_name(f"{number}.fits"))
    Path("raw/odd.fits").write_bytes(b"odd")
    again = rerun(here, "raw", "again")
    assert again.same_pixels
    assert f"ESO PRO REC1 RAW2 NAME: {frames[1].name}, now 1.fits" in again.keywords


def test_what_is_not_there_or_not_what_it_was_is_told_together(here):
    frames = sorted(Path("raw").glob("SOXS*.fits"))
    frames[0].unlink()
    with fits.open(frames[1], mode="update") as hdus:
        hdus[0].data[5, 5] += 1
    frames[2].write_bytes(b"")
    with fits.open("raw/ünbrauchbar.fits", mode="update") as hdus:
        hdus[0].data[5, 5] += 1
    Path("raw/mine.yaml").write_text("{}")
    fits.PrimaryHDU().writeto("raw/bias.fits", overwrite=True)
    with pytest.raises(InputError) as refusal:
        rerun(here, "raw", "again")
    for line, words in zip(
        refusal.value.faults,
        (
            f"RAW1 {frames[0].name}: is not in raw or the folders of product and work: give its folder with --raw",
            f"RAW2 {frames[1].name}: raw/{frames[1].name} holds other data (",
            f"RAW3 {frames[2].name}: raw/{frames[2].name}: the file is empty (0 bytes)",
            "CAL1 bias.fits: raw/bias.fits: holds no two-dimensional image",
            "CAL2 %C3%BCnbrauchbar.fits: raw/ünbrauchbar.fits holds other data (",
            "CAL3 mine.yaml: raw/mine.yaml holds other data (",
        ),
        strict=True,
    ):
        assert line.startswith(words)
    assert not Path("again").exists()


def test_pixels_and_keywords_that_differ(here, capsys):
    with fits.open(here, mode="update") as hdus:
        hdus["FLUX"].data[3, 4] += 2
        hdus["FLUX"].data[4, 4] -= 1
        hdus["ERRS"].data[5, 5] = np.nan
        hdus[0].header["ESO PRO REC1 PIPE ID"] = "soxspipe/0.0.1"
        hdus[0].header["HIERARCH ESO QC ODD"] = 1
        del hdus["NOISE"]
    assert command_line.main(["mdark", f"--rerun={here}", "--raw=raw", "--output=again", "-q"]) == 1
    out = capsys.readouterr().out.splitlines()
    pixels = fits.getdata(here).size
    assert out == [
        f"again/{here.name}",
        f"FLUX: 2 of {pixels} pixels differ, by at most 2 electron",
        "QUAL: the same pixels",
        f"ERRS: 1 of {pixels} pixels differ, 1 have a value in one of them alone",
        "NCOMBINE: the same pixels",
        "NOISE: is only in the new product",
        f"ESO PRO REC1 PIPE ID: soxspipe/0.0.1, now soxspipe/{soxspipe.__version__}",
        "ESO QC ODD: 1, now missing",
    ]
    assert command_line.main(["mdark", f"--rerun={here}", "--raw=raw", "--output=new", "--json", "-q"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["product"] == f"new/{here.name}"
    assert document["rerun"] == {"of": str(here), "same_pixels": False, "planes": out[1:6], "keywords": out[6:]}


def test_parameters_are_those_of_the_header(here):
    with fits.open(here, mode="update") as hdus:
        names = {hdus[0].header[f"ESO PRO REC1 PARAM{i} NAME"]: i for i in range(1, 12)}
        hdus[0].header[f"ESO PRO REC1 PARAM{names['stacked-clipping-sigma']} VALUE"] = "2.0"
    again = rerun(here, "raw", "again")
    assert not again.same_pixels
    assert not [line for line in again.keywords if "stacked-clipping-sigma" in line]
    with fits.open(here, mode="update") as hdus:
        hdus[0].header["ESO PRO REC1 PARAM1 VALUE"] = "!!python/none x"
    with pytest.raises(SettingsError, match=r"ESO PRO REC1 PARAM: .*tags are not read"):
        rerun(here, "raw", "more")
    with fits.open(here, mode="update") as hdus:
        hdus[0].header["ESO PRO REC1 PARAM1 VALUE"] = "-1"
    with pytest.raises(SettingsError) as refusal:
        rerun(here, "raw", "more")
    assert [line.partition("PARAM: ")[2][:29] for line in refusal.value.faults] == ["mdark: frame-clipping-sigma i"]


def test_parameters_that_the_recipe_does_not_declare_are_ignored(here, caplog):
    Path("secret").write_text("secret\n")
    with fits.open(here, mode="update") as hdus:
        number = len(hdus[0].header["ESO PRO REC1 PARAM* NAME"]) + 1
        hdus[0].header[f"HIERARCH ESO PRO REC1 PARAM{number} NAME"] = "table"
        hdus[0].header[f"HIERARCH ESO PRO REC1 PARAM{number} VALUE"] = "secret"
    assert rerun(here, "raw", "again").same_pixels
    assert "parameter 'table' is not one of soxs_mdark, and ignored" in caplog.text


def test_only_a_main_product_is_repeated(here):
    for path in [*here.parent.glob("*_BPMAP.fits"), *here.parent.glob("*.json"), *Path("raw").glob("SOXS*.fits")]:
        with pytest.raises(FrameError, match=r"give the main product|not a FITS file"):
            rerun(path, "raw", "again")
    assert not Path("again").exists()


def test_the_old_product_is_never_replaced(here):
    for output in ("reduced", "reduced/../reduced", here.parent.absolute()):
        with pytest.raises(CommandLineError, match="is the folder of the product itself"):
            rerun(here, "raw", output, overwrite=True)
    rerun(here, "raw", "again")
    with pytest.raises(ProductExistsError):
        rerun(here, "raw", "again")
    assert rerun(here, "raw", "again", overwrite=True).same_pixels


def test_what_cannot_be_repeated(here, capsys):
    for path, words in (("raw/bias.fits", "ESO PRO REC1 ID is missing"), ("gone.fits", "cannot be read")):
        with pytest.raises(FrameError, match=words):
            rerun(path, "raw", "again")
    whole = here.read_bytes()
    here.write_bytes(whole[:20_000] + bytes([whole[20_000] ^ 1]) + whole[20_001:])
    with pytest.raises(FrameError, match="HDU 0 has DATASUM"):
        rerun(here, "raw", "again")
    here.write_bytes(whole)
    fits.setval(here, "ESO PRO REC1 ID", value="soxs_dark_current")
    assert command_line.main(["mdark", f"--rerun={here}", "--output=again"]) == 2
    assert "ESO PRO REC1 ID is 'soxs_dark_current', expected 'soxs_mdark'" in capsys.readouterr().err
    fits.setval(here, "ESO PRO REC1 ID", value="soxs_mdark")
    assert command_line.main(["mdark", f"--rerun={here}", "--raw=gone", "--output=again"]) == 2
    assert "gone: is no folder" in capsys.readouterr().err
    assert command_line.main(["mdark", f"--rerun={here}", "raw/darks.sof"]) == 2
