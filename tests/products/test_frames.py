import pickle

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

import soxspipe
from soxspipe.exceptions import FrameError, SoxspipeError
from soxspipe.recipes import soxs_dark_current, soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

NIR = {"shape": (64, 64), "frames": 3}


@pytest.fixture(scope="module")
def dark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dark")
    raw = simulate_darks(folder / "raw", DarkSimulation(**NIR))
    return soxs_mdark(raw.sof, output_dir=folder).produce_product()


def test_a_product_is_read_as_it_was_made(dark):
    frame = soxspipe.read(dark.path)
    assert isinstance(frame, CCDData)
    assert frame.unit == u.electron
    np.testing.assert_array_equal(frame.data, dark.frame.data)
    np.testing.assert_array_equal(frame.uncertainty.array, dark.frame.uncertainty.array)
    np.testing.assert_array_equal(frame.flags, dark.frame.flags)
    np.testing.assert_array_equal(frame.mask, dark.frame.flags != 0)
    assert frame.uncertainty.uncertainty_type == "std"
    assert frame.header["ESO PRO CATG"] == "MASTER_DARK_NIR"
    assert frame.qc["RON RAW"] == dark.qc["RON RAW"]
    assert frame.qc["RON RAW"].unit == u.electron


def test_compressed_products_are_read_too(dark, pack, tmp_path):
    plain = soxspipe.read(dark.path)
    path = tmp_path / "dark.fits"
    path.write_bytes(dark.path.read_bytes())
    tiles = tmp_path / "dark.fits.fz"
    with fits.open(path) as hdus:
        packed = [
            fits.CompImageHDU(hdu.data, hdu.header, hdu.name, compression_type="GZIP_2", quantize_level=0)
            for hdu in hdus
        ]
        fits.HDUList([fits.PrimaryHDU(), *packed]).writeto(tiles)
    for name in (pack(path, "gz"), tiles):
        frame = soxspipe.read(name)
        np.testing.assert_array_equal(frame.data, plain.data)
        np.testing.assert_array_equal(frame.flags, plain.flags)
        assert frame.qc["RON RAW"] == plain.qc["RON RAW"]


def test_a_map_of_dark_rates_has_its_unit(tmp_path):
    masters = []
    for seconds in (60.0, 300.0):
        raw = simulate_darks(tmp_path / f"{seconds}", DarkSimulation(**NIR, exptime_s=seconds, detector_seed=3))
        masters.append(soxs_mdark(raw.sof, output_dir=tmp_path).produce_product().path)
    rate = soxspipe.read(soxs_dark_current(masters, output_dir=tmp_path).produce_product().path)
    assert rate.unit == u.electron / u.s
    assert rate.qc["DARK RATE"].unit == u.electron / u.s


def test_qc_values_survive_what_keeps_the_header(dark):
    frame = soxspipe.read(dark.path)
    expected = frame.qc["MDARK MEDIAN"]
    for other in (frame.copy(), frame[5:20, 7:30], pickle.loads(pickle.dumps(frame))):
        assert other.qc["MDARK MEDIAN"] == expected


def test_what_is_no_product_is_refused_in_one_line(tmp_path):
    fits.PrimaryHDU(np.zeros((9, 9))).writeto(tmp_path / "image.fits")
    with pytest.raises(FrameError, match="has no plane FLUX, ERRS, QUAL, found none: give a product of soxspipe"):
        soxspipe.read(tmp_path / "image.fits")
    with pytest.raises(SoxspipeError, match="found a int, expected the path of a product"):
        soxspipe.read(5)


def test_a_prepared_frame_is_trimmed_electrons_with_errors(tmp_path):
    simulation = DarkSimulation(arm="VIS", shape=(64, 200), frames=1, exptime_s=60.0)
    (path,) = simulate_darks(tmp_path / "raw", simulation).frames
    frame = soxspipe.prepare_frame(path)
    assert frame.shape == (64, 100)
    assert frame.header["TRIMSEC"] == "[51:150,1:64]"
    assert frame.header["ESO DPR TYPE"] == "DARK"
    assert abs(np.median(frame.data)) < 1
    assert np.median(frame.uncertainty.array) == pytest.approx(3.8, rel=0.05)
    frame.write(tmp_path / "prepared.fits")
    again = soxspipe.read(tmp_path / "prepared.fits")
    np.testing.assert_array_equal(again.data, frame.data)
    np.testing.assert_array_equal(again.flags, frame.flags)
    assert again.header["ESO DPR TYPE"] == "DARK"


def test_saturated_pixels_of_a_prepared_frame_have_their_code(tmp_path):
    simulation = DarkSimulation(arm="VIS", shape=(64, 200), frames=1, exptime_s=60.0)
    (path,) = simulate_darks(tmp_path / "raw", simulation).frames
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[10, 60:70] = 65535
        for keyword in ("CHECKSUM", "DATASUM"):
            hdus[0].header.remove(keyword, ignore_missing=True)
    frame = soxspipe.prepare_frame(path)
    assert (frame.flags[10, 10:20] == 4096).all()
    assert np.count_nonzero(frame.flags) == 10
    assert frame.uncertainty.array[10, 15] == pytest.approx(np.sqrt(frame.data[10, 15] + 3.8**2), rel=1e-4)
    assert frame.uncertainty.array[9, 15] < 6


def test_the_pedestal_of_an_infrared_frame_has_no_shot_noise(tmp_path):
    (path,) = simulate_darks(tmp_path / "raw", DarkSimulation(shape=(64, 64), frames=1)).frames
    frame = soxspipe.prepare_frame(path)
    assert frame.header["ESO QC LEVEL TYPE"] == "pedestal + signal"
    assert np.median(frame.data) > 400
    assert np.median(frame.uncertainty.array) == pytest.approx(7.3, rel=0.15)


def test_the_tables_of_values_give_single_values(dark):
    assert dark.qc["RON RAW"].unit == u.electron
    assert dark.qc["HOTPIX FRAC"] == float(dark.qc["value"][list(dark.qc["name"]).index("HOTPIX FRAC")])
    assert isinstance(dark.qc["HOTPIX FRAC"], float)
    assert dark.qc["LEVEL TREND"].unit == u.electron / u.h
    undefined = [name for name, is_masked in zip(dark.qc["name"], dark.qc["value"].mask, strict=True) if is_masked]
    assert undefined
    assert dark.qc[str(undefined[0])] is None
    assert set(dark.qc["unit"]) >= {"electron", ""}
    with pytest.raises(KeyError, match="did you mean 'RON RAW'"):
        dark.qc["RON RAV"]


def test_an_unknown_unit_is_refused_in_one_line(dark, tmp_path):
    with fits.open(dark.path) as hdus:
        hdus[0].header["BUNIT"] = "bananas"
        hdus.writeto(tmp_path / "damaged.fits")
    with pytest.raises(FrameError, match="BUNIT is 'bananas', expected a unit"):
        soxspipe.read(tmp_path / "damaged.fits")
