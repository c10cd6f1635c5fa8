import json

import numpy as np
import pytest
from astropy.io import fits

import soxspipe
from soxspipe.exceptions import FrameError, InputError, MixedFramesError, SetOfFilesError
from soxspipe.pixel_codes import PixelCode
from soxspipe.products.frames import Frame
from soxspipe.products.load_master import load_master
from soxspipe.recipes import soxs_mbias, soxs_mdark, soxs_subtract_dark
from soxspipe.simulation import DarkSimulation, simulate_darks
from soxspipe.stacking.robust import clipped_moments

CCD = {"arm": "VIS", "shape": (256, 400), "detector_seed": 7}


def simulate(folder, **parameters):
    return simulate_darks(folder, DarkSimulation(**{**CCD, "exptime_s": 1800.0, **parameters})).frames


def edit(path, target, data=None, **cards):
    """Write a copy of a raw frame with other cards (None removes one) and, if given, other samples."""
    with fits.open(path) as hdus:
        for keyword in ("CHECKSUM", "DATASUM", "ARCFILE"):
            hdus[0].header.remove(keyword, ignore_missing=True)
        for keyword, value in cards.items():
            name = keyword.replace("_", " ")
            if value is None:
                hdus[0].header.remove(name, ignore_missing=True)
            else:
                hdus[0].header[f"HIERARCH {name}" if " " in name else name] = value
        if data is not None:
            hdus[0].data = data
        hdus.writeto(target)
    return target


class Night:
    """Master bias, master dark and more darks of one CCD."""

    def __init__(self, folder):
        self.biases = simulate(folder / "bias", kind="BIAS", frames=10, seed=2)
        self.darks = simulate(folder / "dark", frames=10, seed=3, start="2026-03-01T12:00:00")
        self.new = simulate(folder / "new", frames=2, seed=4, start="2026-03-01T20:00:00")
        self.bias = soxs_mbias(self.biases, output_dir=folder / "out").produce_product().path
        product = soxs_mdark([*self.darks, self.bias], output_dir=folder / "out").produce_product()
        self.dark, self.qc = product.path, product.qc


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return Night(tmp_path_factory.mktemp("night"))


def test_a_dark_minus_its_master_is_zero_within_its_errors(night, tmp_path):
    for path in night.new:
        product = soxs_subtract_dark([path, night.dark], output_dir=tmp_path).produce_product()
        good = product.frame.flags == 0
        values, errors = product.frame.data[good], product.frame.uncertainty.array[good]
        assert abs(clipped_moments(values)[0]) < 0.05
        assert abs(np.median(values)) < 0.05
        assert 0.98 < clipped_moments(values / errors)[1] < 1.02
        assert product.qc["SUB PULL"] == pytest.approx(clipped_moments(values / errors)[1], abs=1e-6)
        shared_e = np.median(np.sqrt(fits.getdata(night.dark, "ERRS") ** 2 - fits.getdata(night.bias, "ERRS") ** 2))
        assert product.qc["SHARED ERR"].value == pytest.approx(shared_e, rel=0.01)


def test_hot_pixels_of_the_master_are_removed(night):
    frame = soxspipe.subtract_dark(night.new[0], night.dark)
    dark = soxspipe.read(night.dark)
    hot = ((dark.flags == 256) | (dark.flags == 256 + 1024)) & (dark.data > 100)
    assert np.count_nonzero(hot) > 5
    pull = frame.data[hot] / frame.uncertainty.array[hot]
    assert np.abs(np.median(pull)) < 1
    assert np.median(np.abs(frame.data[hot])) < 0.1 * np.median(dark.data[hot])


def test_plain_numpy_gives_the_same_numbers(night):
    """The recipe of docs/using_the_dark.rst."""
    with fits.open(night.dark) as dark, fits.open(night.bias) as bias, fits.open(night.new[0]) as raw:
        header = dark[0].header
        x0, x1, y0, y1 = (int(word) for word in header["TRIMSEC"].strip("[]").replace(",", ":").split(":"))
        electrons = raw[0].data * header["ESO QC CONAD"]
        overscan = np.r_[electrons[:, :46].T, electrons[:, 354:].T]
        level = overscan.mean()
        ours = np.rot90(electrons[y0 - 1 : y1, x0 - 1 : x1] - level, header["ROT90"]) - bias[0].data - dark[0].data
    frame = soxspipe.subtract_dark(night.new[0], night.dark)
    good = frame.flags == 0
    assert np.abs(ours - frame.data)[good].max() < 0.1
    assert abs(clipped_moments(ours[good])[0]) < 0.05


def test_the_header_states_where_the_frame_comes_from(night, tmp_path):
    product = soxs_subtract_dark([night.new[0], night.dark], output_dir=tmp_path).produce_product()
    assert product.path.name == "20260301T200000_VIS_1x1_DARKSUB_1800_0S_SOXS.fits"
    assert sorted(product.files) == ["dark-subtracted frame", "log", "qc"]
    with fits.open(product.path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["FLUX", "QUAL", "ERRS"]
        header = hdus[0].header
    assert header["ESO PRO CATG"] == "DARK_SUBTRACTED_VIS"
    assert (header["ESO PRO REC1 ID"], header["ESO PRO REC1 RAW1 CATG"]) == ("soxs_subtract_dark", "DARK_VIS")
    assert header["ESO PRO REC1 CAL1 NAME"] == night.dark.name
    assert header["ESO PRO REC1 CAL1 DATAMD5"] == fits.getval(night.dark, "DATAMD5")
    assert header["ESO PRO REC1 CAL2 NAME"] == night.bias.name
    assert (header["ESO PRO REC1 PARAM1 NAME"], header["ESO PRO REC1 PARAM1 VALUE"]) == ("scale", "false")
    assert header["ESO QC PEDESTAL"] == "overscan, master bias, master dark"
    assert header["ESO QC SHARED ERR"] == pytest.approx(1.2, abs=0.05)
    document = json.loads(product.files["qc"].read_text())
    assert {qc["name"] for qc in document["qc"]} >= {"SUB MEDIAN", "SUB PULL", "SHARED ERR", "DARK SCALE"}


def test_the_function_gives_what_the_recipe_writes(night, tmp_path):
    product = soxs_subtract_dark([night.new[1], night.dark], output_dir=tmp_path).produce_product()
    written, in_memory = soxspipe.read(product.path), soxspipe.subtract_dark(night.new[1], night.dark)
    np.testing.assert_array_equal(written.data, in_memory.data)
    np.testing.assert_array_equal(written.uncertainty.array, in_memory.uncertainty.array)
    np.testing.assert_array_equal(written.flags, in_memory.flags)
    assert isinstance(in_memory, Frame)
    assert in_memory.qc["SHARED ERR"] == written.qc["SHARED ERR"]
    assert in_memory.header["ESO PRO REC1 CAL1 NAME"] == night.dark.name


def test_a_prepared_frame_gives_the_same(night, tmp_path):
    prepared = soxspipe.prepare_frame(night.new[0], bias=night.bias)
    prepared.write(tmp_path / "prepared.fits")
    one, other = (soxspipe.subtract_dark(path, night.dark) for path in (night.new[0], tmp_path / "prepared.fits"))
    np.testing.assert_array_equal(one.data, other.data)
    np.testing.assert_array_equal(one.uncertainty.array, other.uncertainty.array)
    with pytest.raises(FrameError, match="PREPARED_VIS"):
        soxs_mdark([tmp_path / "prepared.fits"]).produce_product()
    soxspipe.prepare_frame(night.new[0]).write(tmp_path / "no_bias.fits")
    with pytest.raises(MixedFramesError, match="subtracted level is 'overscan', expected 'overscan, master bias'"):
        soxspipe.subtract_dark(tmp_path / "no_bias.fits", night.dark)


@pytest.mark.parametrize("frame_type", ["OBJECT", "FLAT,LAMP", "STD", "WAVE,ARC", None])
def test_a_frame_of_any_type_is_taken(night, tmp_path, frame_type):
    data = fits.getdata(night.new[0]).astype(np.float64)
    data[100:103, 50:350] += 200.0
    path = edit(
        night.new[0], tmp_path / "frame.fits", data.astype(np.uint16), ESO_DPR_TYPE=frame_type, ESO_DPR_CATG="SCIENCE"
    )
    frame = soxspipe.subtract_dark(path, night.dark)
    assert np.median(frame.data[100:103]) == pytest.approx(200, abs=1)
    assert np.median(frame.uncertainty.array[101]) == pytest.approx(np.sqrt(3.8**2 + 200 + 1.2**2), rel=0.02)
    assert frame.header["ESO PRO REC1 RAW1 CATG"] == f"{frame_type or 'FRAME'}_VIS"


def test_another_exposure_is_refused_or_scaled(night, tmp_path):
    (path,) = simulate(tmp_path / "short", frames=1, exptime_s=600.0, seed=6)
    with pytest.raises(MixedFramesError, match=r"exposure \(DIT\) is 600 s, that of .*MDARK.* 1800 s, expected"):
        soxspipe.subtract_dark(path, night.dark)
    frame = soxspipe.subtract_dark(path, night.dark, scale=True)
    assert frame.qc["DARK SCALE"] == pytest.approx(1 / 3)
    assert 0.98 < frame.qc["SUB PULL"] < 1.02


def test_a_master_with_its_pedestal_is_not_scaled_and_says_so(tmp_path):
    camera = {"arm": "ACQ", "shape": (128, 128), "exptime_s": 60.0}
    darks = simulate(tmp_path / "raw", frames=3, **camera)
    (frame,) = simulate(tmp_path / "frame", frames=1, seed=8, **{**camera, "exptime_s": 120.0})
    dark = soxs_mdark(darks, output_dir=tmp_path / "out").produce_product().path
    header = fits.getheader(dark)
    assert header["ESO QC LEVEL TYPE"] == "pedestal + dark"
    assert "ccdproc.subtract_dark(..., scale=True)" in " ".join(header["COMMENT"])
    with pytest.raises(MixedFramesError, match="holds the pedestal, which must not be scaled: make the master dark"):
        soxspipe.subtract_dark(frame, dark, scale=True)


def test_an_infrared_dark_is_never_scaled(tmp_path):
    infrared = {"arm": "NIR", "shape": (128, 128), "exptime_s": 60.0}
    darks = simulate(tmp_path / "raw", frames=3, **infrared)
    (frame,) = simulate(tmp_path / "frame", frames=1, seed=8, **{**infrared, "exptime_s": 120.0})
    dark = soxs_mdark(darks, output_dir=tmp_path / "out").produce_product().path
    with pytest.raises(MixedFramesError, match="dark of an infrared detector does not grow in proportion"):
        soxspipe.subtract_dark(frame, dark, scale=True)


def test_averages_of_integrations_have_the_noise_of_averages(tmp_path):
    infrared = {"arm": "NIR", "shape": (256, 256), "exptime_s": 60.0, "detector_seed": 5, "row_noise_e": 0.0}
    darks = simulate(tmp_path / "raw", frames=9, seed=1, **infrared)
    (frame,) = simulate(tmp_path / "frame", frames=1, seed=8, ndit=4, **infrared)
    dark = soxs_mdark(darks, output_dir=tmp_path / "out").produce_product().path
    result = soxspipe.subtract_dark(frame, dark)
    assert result.qc["SUB PULL"] == pytest.approx(1, abs=0.03)
    assert np.median(result.uncertainty.array) == pytest.approx(7.3 * np.sqrt(1 / 4 + 1 / 9), rel=0.08)


def test_what_does_not_fit_is_refused_with_both_values(night, tmp_path):
    gain = edit(night.new[0], tmp_path / "gain.fits", ESO_DET_OUT1_CONAD=2.0)
    with pytest.raises(MixedFramesError, match=r"ESO QC CONAD is 1.0, expected 2 as of the frame"):
        soxspipe.subtract_dark(gain, night.dark)
    mode = edit(night.new[0], tmp_path / "mode.fits", ESO_DET_READ_CURID=5)
    with pytest.raises(MixedFramesError, match="ESO DET READ CURID is 1, expected 5"):
        soxspipe.subtract_dark(mode, night.dark)
    window = edit(night.new[0], tmp_path / "window.fits", fits.getdata(night.new[0])[:200])
    with pytest.raises(
        MixedFramesError,
        match=r"NAXIS1 x NAXIS2 of FLUX, QUAL, ERRS, NOISE, NCOMBINE is '300 x 256', expected '300 x 200'",
    ):
        soxspipe.subtract_dark(window, night.dark)
    with pytest.raises(InputError, match=r"EXPTIME is 0\.0, expected seconds above zero"):
        soxspipe.subtract_dark(night.biases[0], night.dark)
    with pytest.raises(SetOfFilesError, match="there is no master dark of arm VIS"):
        soxspipe.subtract_dark(night.new[0], night.bias)
    with pytest.raises(SetOfFilesError, match="2 frames, expected 1: give one frame at a time"):
        soxs_subtract_dark([*night.new, night.dark]).subtract()


def test_the_bias_of_the_darks_is_found_or_asked_for(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = tmp_path / "dark.fits"
    alone.write_bytes(night.dark.read_bytes())
    with pytest.raises(SetOfFilesError, match=f"master bias of its darks, {night.bias.name}, is not found .*--bias"):
        soxspipe.subtract_dark(night.new[0], alone)
    found, given = (
        soxspipe.subtract_dark(night.new[0], night.dark),
        soxspipe.subtract_dark(night.new[0], alone, bias=night.bias),
    )
    np.testing.assert_array_equal(found.data, given.data)


def test_another_bias_counts_with_its_error_and_a_warning(night, tmp_path, caplog):
    biases = simulate(tmp_path / "bias", kind="BIAS", frames=10, seed=12, start="2026-03-03T10:00:00")
    other = soxs_mbias(biases, output_dir=tmp_path / "out").produce_product().path
    frame = soxspipe.subtract_dark(night.new[0], night.dark, bias=other)
    assert "is not the master bias of the darks" in caplog.text
    assert frame.qc["SHARED ERR"].value == pytest.approx(np.sqrt(3 * 3.8**2 / 10), rel=0.03)
    assert 0.98 < frame.qc["SUB PULL"] < 1.02


def test_an_existing_product_and_a_fault_leave_everything_as_it_was(night, tmp_path):
    product = soxs_subtract_dark([night.new[0], night.dark], output_dir=tmp_path).produce_product()
    before = product.path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        soxs_subtract_dark([night.new[0], night.dark], output_dir=tmp_path).produce_product()
    assert product.path.read_bytes() == before
    soxs_subtract_dark([night.new[0], night.dark], output_dir=tmp_path, overwrite=True).produce_product()
    assert len(list(tmp_path.iterdir())) == 3


def damaged_dark(night, target, **cards):
    with fits.open(night.dark) as hdus:
        for keyword, value in cards.items():
            name = f"HIERARCH {keyword.replace('_', ' ')}"
            if value is None:
                hdus[0].header.remove(keyword.replace("_", " "))
            else:
                hdus[0].header[name] = (value, "")
        hdus[0].header.remove("CHECKSUM")
        hdus.writeto(target)
    return target


def test_a_damaged_dark_is_refused_in_one_line(night, tmp_path):
    for number, (cards, words) in enumerate((
        ({"ESO_QC_EXPOSURE": "long"}, "ESO QC EXPOSURE is 'long', expected seconds above zero"),
        ({"ESO_QC_CONAD": True}, "ESO QC CONAD is True, expected 1 as of the frame"),
        ({"ESO_QC_PEDESTAL": None}, "has no ESO QC PEDESTAL, expected a master dark of soxspipe"),
    )):  # fmt: skip
        dark = damaged_dark(night, tmp_path / f"dark{number}.fits", **cards)
        with pytest.raises(InputError, match=words) as error:
            soxspipe.subtract_dark(night.new[0], dark, bias=night.bias)
        assert len(error.value.faults) == 1
    dark = damaged_dark(night, tmp_path / "dark.fits", ESO_DET_NDIT="many")
    assert abs(soxspipe.subtract_dark(night.new[0], dark, bias=night.bias).qc["SUB MEDIAN"].value) < 0.05


@pytest.mark.parametrize("error", [0.0, -1.0, np.nan])
def test_pixels_of_a_master_without_an_error_have_no_data(night, tmp_path, error):
    dark = tmp_path / "dark.fits"
    with fits.open(night.dark, do_not_scale_image_data=True) as hdus:
        hdus["ERRS"].data[10, 20] = error
        hdus.writeto(dark, checksum=True)
        hdus["ERRS"].data[:] = error
        hdus.writeto(tmp_path / "none.fits", checksum=True)
    product = soxs_subtract_dark([night.new[0], dark, night.bias], output_dir=tmp_path).produce_product()
    assert product.frame.flags[10, 20] & PixelCode.NO_DATA
    assert np.isnan(product.frame.data[10, 20])
    assert np.isfinite(product.frame.data[10, 21])
    without = soxs_subtract_dark([night.new[0], tmp_path / "none.fits", night.bias], output_dir=tmp_path / "no")
    for use in (without.produce_product, lambda: load_master(tmp_path / "none.fits")):
        with pytest.raises(FrameError, match="no pixel of FLUX has an error in ERRS from"):
            use()
