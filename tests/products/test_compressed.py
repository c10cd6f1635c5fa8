"""Products with compressed images: the same pixels, sums and keywords, and every reader takes them."""

import io
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

import soxspipe
from soxspipe.cli import command_line
from soxspipe.exceptions import FrameError
from soxspipe.fits_files.checksums import add_up, file_md5, read_verified_images
from soxspipe.fits_files.pixel_reader import read_planes
from soxspipe.products.compare import compare_products
from soxspipe.products.compressed import compressed_hdus
from soxspipe.products.fits_output import FitsBytes, complete_headers, data_sum_of
from soxspipe.products.headers import image_hdu, set_card
from soxspipe.recipes import soxs_dark_current, soxs_mbias, soxs_mdark, soxs_subtract_dark
from soxspipe.recipes.rerun import rerun
from soxspipe.simulation import DarkSimulation, simulate_darks

PLANES = ("FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE")
FITSVERIFY = pytest.mark.skipif(shutil.which("fitsverify") is None, reason="needs the program fitsverify")
#: Values that a compression with rounding or a wrong type would change.
ODD = {
    "FLUX": np.float32([[1.5, np.nan, np.inf], [-0.0, 1e-40, 3.4e38], [0.1, -np.inf, 1.0000001]]),
    "QUAL": np.int32([[0, 2**30, 32], [1, 256, 4096], [2**30 + 128, 0, 65535]]),
    "ERRS": np.asfortranarray(np.float32([[0.25, 1, 2], [3, 4, 5], [6, 7, 8]])),
    "NCOMBINE": np.uint16([[0, 65535, 1], [32768, 32767, 2], [3, 4, 5]])[::-1],
}


def sets(folder):
    """Small sets of each product kind: arm, the simulation, and its raw frames."""
    parts = {
        "bias": {"arm": "VIS", "kind": "BIAS", "shape": (96, 200)},
        "vis": {"arm": "VIS", "shape": (96, 200)},
        "nir": {"shape": (96, 96)},
        "nir60": {"shape": (96, 96), "exptime_s": 60.0, "detector_seed": 20260301, "start": "2026-03-01T12:00:00"},
        "acq": {"arm": "ACQ", "shape": (96, 96)},
        "uvb": {"instrument": "XSHOOTER", "arm": "UVB", "shape": (96, 200)},
    }
    return {name: simulate_darks(folder / name, DarkSimulation(frames=3, **part)) for name, part in parts.items()}


def reduce_all(raw, output, compress):
    """Reduce all sets: each product is an input of the next where it can be one."""
    options = {"output_dir": output, "compress": compress}
    bias = soxs_mbias(raw["bias"].sof, **options).produce_product()
    made = {"bias": bias, "vis": soxs_mdark([raw["vis"].sof, bias.path], **options).produce_product()}
    for name in ("nir", "nir60", "acq", "uvb"):
        made[name] = soxs_mdark(raw[name].sof, **options).produce_product()
    made["subtracted"] = soxs_subtract_dark([raw["nir"].frames[0], made["nir"].path], **options).produce_product()
    made["rate"] = soxs_dark_current([made["nir"].path, made["nir60"].path], **options).produce_product()
    return made


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return sets(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def made(raw, tmp_path_factory):
    """All products, plain and compressed, by whether they are compressed."""
    return {compress: reduce_all(raw, tmp_path_factory.mktemp("made"), compress) for compress in (False, True)}


def fits_files(products):
    return [path for product in products.values() for path in product.files.values() if path.suffix == ".fits"]


def odd_product():
    hdus = fits.HDUList([image_hdu(name, plane) for name, plane in ODD.items()])
    set_card(hdus[0].header, "ESO PRO CATG", "MASTER_DARK_NIR")
    complete_headers(hdus)
    return hdus


@FITSVERIFY
@pytest.mark.parametrize("compress", [False, True])
def test_every_product_kind_passes_fitsverify(made, compress):
    files = list(map(str, fits_files(made[compress])))
    assert len(files) == 13
    run = subprocess.run(["fitsverify", "-q", *files], capture_output=True, text=True, check=False)
    assert run.stdout.count("verification OK") == 13, run.stdout
    run = subprocess.run(["fitsverify", *files], capture_output=True, text=True, check=False)
    assert run.stdout.count("0 warning(s) and 0 error(s)") == 13, run.stdout


def test_every_pixel_is_the_same(made):
    for name in made[False]:
        plain, packed = (read_planes(made[compress][name].path) for compress in (False, True))
        assert list(plain) == list(packed)
        for plane in plain:
            assert plain[plane].dtype == packed[plane].dtype
            assert plain[plane].tobytes() == packed[plane].tobytes(), (name, plane)


def test_odd_values_are_kept_to_the_bit(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"".join(FitsBytes(compressed_hdus(odd_product()))))
    planes = read_planes(path)
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", *ODD]
        assert [hdu.compression_type for hdu in hdus[1:]] == ["GZIP_2", "RICE_1", "GZIP_2", "RICE_1"]
        for name, plane in ODD.items():
            assert np.ascontiguousarray(hdus[name].data, plane.dtype).tobytes() == np.ascontiguousarray(plane).tobytes()
            assert planes[name].tobytes() == np.ascontiguousarray(plane).tobytes()


def test_sums_of_tables_and_of_the_images_that_they_hold(made):
    """Unpacked, each image has the CHECKSUM and DATASUM that ZHECKSUM and ZDATASUM promise."""
    for path in fits_files(made[True]):
        with fits.open(path, checksum=True) as images, fits.open(path, disable_image_compression=True) as tables:
            for image, table in zip(images[1:], tables[1:], strict=True):
                header = image.header.copy()
                for restored, stored in (("CHECKSUM", "ZHECKSUM"), ("DATASUM", "ZDATASUM")):
                    header[restored] = table.header[stored], table.header.comments[stored]
                datasum = data_sum_of(image.data)
                assert header["DATASUM"] == str(datasum)
                assert add_up(header.tostring().encode(), datasum) == 2**32 - 1
        assert read_verified_images(path)


def test_keywords_of_the_file_are_in_the_primary_header(made):
    for name in made[True]:
        plain, packed = (fits.getheader(made[compress][name].path) for compress in (False, True))
        assert packed["NAXIS"] == 0
        of_file = [key for key in plain if key.startswith(("ESO ", "DATE-", "MJD-")) or key in ("INSTRUME", "PIPEFILE")]
        assert [packed[key] for key in of_file if "DATAMD5" not in key] == [
            plain[key] for key in of_file if "DATAMD5" not in key
        ]
        assert packed["DATAMD5"] == plain["DATAMD5"]
        assert fits.getheader(made[True][name].path, "FLUX")["BUNIT"] == plain["BUNIT"]
    legend = fits.getheader(made[True]["nir"].files["bad-pixel map"], "BPMAP")
    assert legend["BIT08"] == "hot"


def test_astropy_reads_a_compressed_product_as_a_plain_one(made):
    options = {"hdu": "FLUX", "hdu_mask": "QUAL", "hdu_uncertainty": "ERRS", "key_uncertainty_type": "UTYPE"}
    for name in ("nir", "bias"):
        plain, packed = (CCDData.read(made[compress][name].path, **options) for compress in (False, True))
        assert packed.unit == units.electron
        assert isinstance(packed.uncertainty, StdDevUncertainty)
        np.testing.assert_array_equal(packed.data, plain.data)
        np.testing.assert_array_equal(packed.uncertainty.array, plain.uncertainty.array)
        np.testing.assert_array_equal(packed.mask, plain.mask)
        np.testing.assert_array_equal(packed.mask, made[True][name].frame.mask)


def test_read_returns_the_same_of_both_forms(made):
    for name in ("nir", "bias", "rate", "subtracted"):
        plain, packed = (soxspipe.read(made[compress][name].path) for compress in (False, True))
        assert packed.unit == plain.unit
        for attribute in ("data", "flags", "mask"):
            np.testing.assert_array_equal(getattr(packed, attribute), getattr(plain, attribute))
        np.testing.assert_array_equal(packed.uncertainty.array, plain.uncertainty.array)
        assert list(packed.qc["value"]) == list(plain.qc["value"])
        assert {key: plain.header[key] for key in plain.header if key.startswith("ESO PRO")} == {
            key: packed.header[key] for key in packed.header if key.startswith("ESO PRO")
        }


def test_plain_and_compressed_do_not_differ_in_the_comparison(made):
    for name in made[True]:
        images = [read_verified_images(made[compress][name].path) for compress in (False, True)]
        planes, keywords = compare_products(*images)
        assert not any(planes.values())
        assert keywords == ()
        assert file_md5(images[0]) == file_md5(images[1])


def test_codes_with_other_bits_are_compared_by_their_values(tmp_path):
    paths = []
    for dtype in ("i4", "u2"):
        hdus = fits.HDUList([fits.PrimaryHDU(np.array([[0, 256]], dtype))])
        hdus.writeto(tmp_path / f"{dtype}.fits")
        paths.append(read_verified_images(tmp_path / f"{dtype}.fits"))
    assert compare_products(*paths)[0] == {"": ""}


def test_a_rerun_takes_and_makes_compressed_products(made, raw, tmp_path):
    old = made[True]["vis"].path
    for compress in (False, True):
        again = rerun(old, raw["vis"].sof.parent, tmp_path / f"{compress}", compress=compress)
        assert again.same_pixels, again.planes
        assert again.keywords == ()
        assert (fits.getheader(again.product.path)["NAXIS"] == 0) == compress


def test_commands_compress_and_resume(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sof = str(raw["nir"].sof)
    assert command_line.main(["mdark", sof, "--output=o", "--compress", "-q"]) == 0
    product = capsys.readouterr().out.strip()
    assert fits.getheader(product)["NAXIS"] == 0
    before = Path(product).read_bytes()
    assert command_line.main(["mdark", sof, "--output=o", "--resume", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["product"] == product
    assert Path(product).read_bytes() == before
    assert command_line.main(["mdark", f"--rerun={product}", "--output=again", "--compress", "-q"]) == 2  # raw unknown
    again = ["mdark", f"--rerun={product}", f"--raw={raw['nir'].sof.parent}", "--output=again", "--compress", "-q"]
    assert command_line.main(again) == 0
    folder = str(raw["nir60"].sof.parent)
    assert command_line.main(["reduce", folder, "--output=night", "--compress", "-q"]) == 0
    masters = [product, *map(str, tmp_path.glob("night/*S_SOXS.fits"))]
    assert len(masters) == 2
    assert fits.getheader(masters[1])["NAXIS"] == 0
    assert command_line.main(["dark-current", *masters, "--output=o", "--compress", "-q"]) == 0


def test_a_damaged_table_is_found(made, tmp_path):
    data = bytearray(made[True]["nir"].path.read_bytes())
    data[-3000] ^= 1
    path = tmp_path / "damaged.fits"
    path.write_bytes(data)
    with pytest.raises(FrameError, match="DATASUM"):
        read_verified_images(path)


def test_planes_by_name(made):
    path = made[True]["nir"].path
    assert list(read_planes(path)) == list(PLANES)
    assert list(read_planes(path, ["ERRS", "FLUX"])) == ["ERRS", "FLUX"]
    with pytest.raises(FrameError, match="has no plane CHI2, found FLUX, QUAL, ERRS, NOISE, NCOMBINE"):
        read_planes(path, ["CHI2"])
    hdus = fits.HDUList([fits.PrimaryHDU(np.zeros((2, 2)))])
    hdus.writeto(file := io.BytesIO())
    other = path.with_name("other.fits")
    other.write_bytes(file.getvalue())
    with pytest.raises(FrameError, match="found none"):
        read_planes(other, ["FLUX"])
