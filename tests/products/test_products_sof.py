"""A run lists its products as a set of files, which is an input of the next command."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.cli import command_line
from soxspipe.exceptions import ProductError, ProductExistsError
from soxspipe.inputs.set_of_files import parse_sof
from soxspipe.products.products_sof import ProductsSof
from soxspipe.simulation import DarkSimulation, simulate_darks


def run(*arguments):
    return command_line.main([*arguments, "-q"])


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    parts = {
        "bias": {"arm": "VIS", "kind": "BIAS", "shape": (96, 200)},
        "vis": {"arm": "VIS", "shape": (96, 200)},
        "uvb": {"instrument": "XSHOOTER", "arm": "UVB", "shape": (96, 200)},
        "nir": {"shape": (96, 96)},
        "nir60": {"shape": (96, 96), "exptime_s": 60.0, "detector_seed": 20260301, "start": "2026-03-01T12:00:00"},
    }
    return {name: simulate_darks(folder / name, DarkSimulation(frames=3, **part)).sof for name, part in parts.items()}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def product():
    """A file with a category, under any name."""

    def make(name, category="MASTER_DARK_NIR"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(np.ones((1, 1)), fits.Header({"HIERARCH ESO PRO CATG": category})).writeto(name)
        return Path(name)

    return make


@pytest.mark.parametrize(
    "name",
    ["a b.fits", "it's.fits", 'say "x".fits', "$HOME.fits", "~x.fits", "#1.fits", "back\\slash.fits", "dünkel.fits"],
)
def test_a_listed_name_is_read_as_it_is(product, name):
    made = product(f"out of {name}/{name}")
    ProductsSof(Path("products.sof")).write([str(made)])
    (entry,) = parse_sof("products.sof")
    assert os.path.samefile(entry.path, made)
    assert entry.path.is_absolute()
    assert entry.tag == "MASTER_DARK_NIR"


@pytest.mark.parametrize("name", ["a\nb.fits", os.fsdecode(b"a\xff.fits")])
def test_a_name_that_no_list_can_hold_is_refused(product, name):
    made = product(name)
    with pytest.raises(ProductError, match="cannot list this name"):
        ProductsSof(Path("products.sof")).write([made])
    assert not Path("products.sof").exists()


def test_an_older_list_is_replaced_on_demand_alone(product):
    Path("products.sof").write_text("older")
    with pytest.raises(ProductExistsError, match="choose another name, or --overwrite"):
        ProductsSof(Path("products.sof"))
    assert Path("products.sof").read_text() == "older"
    ProductsSof(Path("products.sof"), overwrite=True).write([product("a.fits")])
    assert Path("products.sof").read_text() == f"{Path('a.fits').absolute()} MASTER_DARK_NIR\n"


def test_without_a_product_there_is_no_list():
    ProductsSof(Path("new/products.sof")).write([])
    assert not Path("new").exists()


def test_a_master_bias_goes_on_to_the_dark(raw, capsys):
    assert run("mbias", str(raw["bias"]), "--products-sof=bias.sof", "--output=out") == 0
    assert [entry.tag for entry in parse_sof("bias.sof")] == ["MASTER_BIAS_VIS"]
    capsys.readouterr()
    assert run("mdark", str(raw["vis"]), "bias.sof", "--output=out", "--products-sof=lists/dark.sof") == 0
    header = fits.getheader(capsys.readouterr().out.strip())
    assert header["ESO PRO REC1 CAL1 CATG"] == "MASTER_BIAS_VIS"
    assert [entry.tag for entry in parse_sof("lists/dark.sof")] == ["MASTER_DARK_VIS", "BP_MAP_HP_VIS"]


@pytest.mark.parametrize("compress", [[], ["--compress"]])
def test_master_darks_go_on_to_the_dark_current(raw, capsys, compress):
    """The bad-pixel maps in the list are not used, without a warning."""
    sofs = [str(raw["nir"]), str(raw["nir60"])]
    assert run("mdark", *sofs, "--output=out", "--products-sof=masters.sof", *compress) == 0
    assert [entry.tag for entry in parse_sof("masters.sof")] == ["MASTER_DARK_NIR", "BP_MAP_HP_NIR"] * 2
    capsys.readouterr()
    assert run("dark-current", "masters.sof", "--output=out", "--products-sof=rate.sof", *compress) == 0
    header = fits.getheader(capsys.readouterr().out.strip())
    assert header["ESO PRO DATANCOM"] == 2
    assert [entry.tag for entry in parse_sof("rate.sof")] == ["DARK_RATE_NIR"]


def test_frames_without_their_dark_are_listed(raw):
    assert run("mdark", str(raw["nir"]), "--output=out", "--products-sof=dark.sof") == 0
    dark = f"--dark={parse_sof('dark.sof')[0].path}"
    assert run("subtract-dark", str(raw["nir"]), dark, "--output=out", "--products-sof=frames.sof", "--compress") == 0
    entries = parse_sof("frames.sof")
    assert [entry.tag for entry in entries] == ["DARK_SUBTRACTED_NIR"] * 3
    assert fits.getheader(entries[0].path)["NAXIS"] == 0


def test_a_night_lists_all_its_products(raw):
    assert (
        run("reduce", str(raw["nir"].parent), str(raw["nir60"].parent), "--output=out", "--products-sof=all.sof") == 0
    )
    listed = {entry.path.name for entry in parse_sof("all.sof")}
    assert listed == {path.name for path in Path("out").glob("*.fits")}
    assert len(listed) == 4


def test_the_list_has_what_was_made_where_another_set_failed(raw):
    Path("bad.sof").write_text(f"{raw['nir'].parent}/SOXS.2026-03-01T10-00-00.000.fits DARK_NIR\n")
    assert run("mdark", "bad.sof", str(raw["nir"]), "--output=out", "--products-sof=made.sof") == 1
    assert [entry.tag for entry in parse_sof("made.sof")] == ["MASTER_DARK_NIR", "BP_MAP_HP_NIR"]


def test_a_list_that_cannot_be_written_is_refused_before_the_reduction(raw, capsys):
    sof = str(raw["nir"])
    Path("products.sof").write_text("older")
    assert run("mdark", sof, "--output=out", "--products-sof=products.sof") == 2
    assert "products.sof: exists already and was left alone" in capsys.readouterr().err
    assert run("mdark", sof, "--output=out", f"--products-sof={sof}", "--overwrite") == 2
    assert "which is never replaced" in capsys.readouterr().err
    assert not Path("out").exists()
    assert run("mdark", sof, "--output=out", "--products-sof=products.sof", "--resume") == 0
    assert len(parse_sof("products.sof")) == 2
    assert run("mdark", "--rerun=x.fits", "--products-sof=y.sof") == 2
    assert "--rerun and --products-sof do not go together" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["{} DARK_UVB_1x1", "{} DARK_UVB_1x1 RAW", "{}  DARK_UVB\tRAW  # night 1", "{} DARK CALIB"]
)
def test_tags_with_a_binning_and_a_third_column_are_read(raw, line):
    frames = sorted(raw["uvb"].parent.glob("XSHOO*.fits"))
    assert len(frames) == 3
    Path("darks.sof").write_text("".join(f"{line.format(frame)}\n" for frame in frames))
    assert run("mdark", "darks.sof", "--output=out") == 0


def test_a_binning_in_the_tag_must_be_that_of_the_frame(raw, capsys):
    frames = sorted(raw["uvb"].parent.glob("XSHOO*.fits"))
    Path("darks.sof").write_text("".join(f"{frame} DARK_UVB_1x2 RAW\n" for frame in frames))
    assert run("mdark", "darks.sof", "--output=out") == 2
    assert "BINY is 1, expected 2 as in the tag" in capsys.readouterr().err


def test_a_list_of_calibrations_alone_is_a_reduction_without_frames(raw, capsys):
    assert run("mbias", str(raw["bias"]), "--products-sof=bias.sof", "--output=out") == 0
    capsys.readouterr()
    assert run("mdark", "bias.sof", "--output=out") == 2
    assert "bias.sof: 0 raw darks, expected at least 3" in capsys.readouterr().err
