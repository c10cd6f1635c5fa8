"""Darks of cameras without any ESO keyword, reduced with an instrument table; no header is edited."""

import shutil
import warnings

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import FrameError, InputError, MixedFramesError, TooFewFramesError
from soxspipe.inputs.raw_frames import collect_frames
from soxspipe.instruments.first_table import first_table
from soxspipe.instruments.keywords import EXAMPLES
from soxspipe.recipes import soxs_dark_current, soxs_mbias, soxs_mdark, soxs_subtract_dark
from soxspipe.recipes.rerun import rerun
from tests.cameras import HOT, SHAPE, maxim_frame, nina_frame


def using(name):
    return {"instruments": {"table": EXAMPLES / f"{name}.yaml"}}


def qc_of(product):
    return {record["name"]: record["value"] for record in product.qc_records()}


@pytest.fixture
def cmos(tmp_path):
    folder = tmp_path / "night"
    for number in range(5):
        nina_frame(folder / f"DARK_{number}.fits", number)
    return folder


def test_a_cmos_camera_writes_12_bits_as_16(cmos, tmp_path):
    product = soxs_mdark(cmos, using("asi183"), tmp_path / "out").produce_product()
    assert product.path.name == "20260301T220000_CMOS_1x1_MDARK_120_0S_ASI183.fits"
    qc = qc_of(product)
    assert qc["RON RAW"] == pytest.approx(np.sqrt(2.2**2 + 0.02 * 120 + 1 / 12), rel=0.03)
    assert 0.95 < qc["PULL STD"] < 1.05
    assert qc["DETECTOR TEMP"] == pytest.approx(263.15 + 0.08)
    level = np.median(product.frame.data)
    assert level == pytest.approx(160 + 1.5 + 2.4, abs=0.5)
    for pixel, excess_e in HOT.items():
        assert product.frame.flags[pixel] == 256
        assert product.frame.data[pixel] - level == pytest.approx(excess_e, abs=5 * np.sqrt(excess_e / 5))
    # colours of the filter are not mixed or balanced: their pixels keep their levels
    assert np.median(product.frame.data[1::2, 1::2]) - np.median(product.frame.data[::2, ::2]) > 2


def test_a_folder_a_list_and_a_set_of_files_give_the_same_pixels(cmos, tmp_path):
    sof = tmp_path / "darks.sof"
    sof.write_text("".join(f"{path} DARK_CMOS\n" for path in sorted(cmos.iterdir())))
    (cmos / "note.txt").write_text("not a frame")
    nina_frame(cmos / "FLAT_0.fits", 9, 2.0, IMAGETYP="FLAT")
    inputs = [cmos, sorted(cmos.glob("DARK*")), sof]
    products = [
        soxs_mdark(given, using("asi183"), tmp_path / str(number)).produce_product()
        for number, given in enumerate(inputs)
    ]
    for product in products[1:]:
        np.testing.assert_array_equal(product.frame.data, products[0].frame.data)
    assert "FLAT_0.fits (FLAT)" in products[0].warnings[0]


def test_samples_from_0_to_1_give_the_pixels_of_16_bits(cmos, tmp_path):
    for number in range(5):
        nina_frame(tmp_path / "fraction" / f"DARK_{number}.fits", number, fraction=True)
    one, other = (
        soxs_mdark(folder, using("asi183"), tmp_path / f"out-{folder.name}").produce_product()
        for folder in (cmos, tmp_path / "fraction")
    )
    np.testing.assert_allclose(other.frame.data, one.frame.data, atol=1e-3)
    np.testing.assert_array_equal(other.frame.flags, one.frame.flags)


def test_a_scale_that_does_not_fit_the_samples_is_refused(cmos, tmp_path):
    for number in range(3):
        nina_frame(tmp_path / "fraction" / f"DARK_{number}.fits", number, fraction=True)
    table = tmp_path / "own.yaml"
    table.write_text((EXAMPLES / "asi183.yaml").read_text().replace("    scale: 65535", "    # scale"))
    settings = {"instruments": {"table": table}}
    with pytest.raises(FrameError, match=r"its samples are .* expected ADU: give 'scale' in the instrument table"):
        soxs_mdark(tmp_path / "fraction", settings, tmp_path / "out").produce_product()
    for path in cmos.iterdir():
        with fits.open(path, mode="update") as hdus:
            hdus[0].data = hdus[0].data.astype(np.float32)
    with pytest.raises(FrameError, match="expected 0 to 1, as the instrument table has scale 65535: remove or correct"):
        soxs_mdark(cmos, using("asi183"), tmp_path / "out").produce_product()


def test_a_product_keeps_the_words_of_the_camera_and_claims_no_dictionary_of_eso(cmos, tmp_path):
    product = soxs_mdark(cmos, using("asi183"), tmp_path / "out").produce_product()
    with fits.open(product.path) as hdus:
        hdus.verify("exception")
        header = hdus[0].header
        for keyword in ("INSTRUME", "GAIN", "OFFSET", "EGAIN", "BAYERPAT", "ROWORDER", "SET-TEMP", "SWCREATE"):
            assert header[keyword] == fits.getheader(cmos / "DARK_0.fits")[keyword]
        for keyword in ("IMAGETYP", "DATE-AVG", "DATE-LOC", "ESO PRO DID"):
            assert keyword not in header
        assert header["ESO PRO CATG"] == "MASTER_DARK_CMOS"
        assert "not of an ESO product" in str(header["COMMENT"])
        for hdu in hdus:
            assert not [keyword for keyword in hdu.header if keyword.startswith("HDU")]


def test_exposure_alone_is_the_exposure_time(tmp_path):
    paths = [nina_frame(tmp_path / f"d{number}.fits", number, EXPTIME=None) for number in range(3)]
    frames = collect_frames(paths, soxs_mdark.kind, extra_table=EXAMPLES / "asi183.yaml")
    assert frames.exptime_s == 120.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"GAIN": 200}, "GAIN is 200, expected 111"),
        ({"OFFSET": 50}, "OFFSET is 50, expected 10"),
        ({"BAYERPAT": "BGGR"}, "BAYERPAT is 'BGGR', expected 'RGGB'"),
        ({"ROWORDER": "BOTTOM-UP"}, "ROWORDER is 'BOTTOM-UP', expected 'TOP-DOWN'"),
    ],
)
def test_frames_of_other_settings_of_the_camera_are_refused(cmos, change, words):
    nina_frame(cmos / "x.fits", 7, **change)
    with pytest.raises(MixedFramesError, match=words):
        collect_frames(cmos, soxs_mdark.kind, extra_table=EXAMPLES / "asi183.yaml")


def test_a_frame_of_another_type_is_refused_in_the_words_of_the_camera(cmos):
    nina_frame(cmos / "x.fits", 7, IMAGETYP="Flat Field")
    with pytest.raises(FrameError, match="IMAGETYP is 'Flat Field', expected 'DARK' or 'Dark Frame'"):
        collect_frames(sorted(cmos.iterdir()), soxs_mdark.kind, extra_table=EXAMPLES / "asi183.yaml")


def test_an_unknown_camera_leads_to_the_command_that_makes_a_table(cmos):
    remedy = "make a table with 'soxspipe instrument --from=FRAME', and pass it with --instrument"
    with pytest.raises(TooFewFramesError, match=remedy):
        collect_frames(cmos, soxs_mdark.kind)
    with pytest.raises(FrameError) as error:
        collect_frames(sorted(cmos.iterdir()), soxs_mdark.kind)
    assert error.value.faults[0] == f"DARK_0.fits (input 1): instrument 'ZWO ASI183MC Pro' is unknown: {remedy}"
    with pytest.raises(InputError, match="is unknown, the given table is for CAM_ID 'ESIS1' or"):
        collect_frames(cmos, soxs_mdark.kind, extra_table=EXAMPLES / "esis.yaml")


def test_biases_and_darks_of_a_ccd_and_a_map_of_dark_rates(tmp_path):
    for number in range(5):
        maxim_frame(tmp_path / "bias" / f"b{number}.fit", number, "Bias Frame", 0.0)
        for exposure_s in (120.0, 600.0):
            folder = tmp_path / f"{exposure_s:g}"
            maxim_frame(folder / f"d{number}.fit", number + int(exposure_s), exposure_s=exposure_s)
    bias = soxs_mbias(tmp_path / "bias", using("stf8300"), tmp_path / "out").produce_product()
    assert qc_of(bias)["RON RAW"] == pytest.approx(9.3, rel=0.03)
    darks = [
        soxs_mdark([tmp_path / folder, bias.path], using("stf8300"), tmp_path / "out").produce_product()
        for folder in ("120", "600")
    ]
    assert "CBLACK" not in darks[0].frame.header
    assert qc_of(darks[0])["DARK CURRENT"] == pytest.approx(0.02, abs=0.004)
    rates = soxs_dark_current([dark.path for dark in darks], using("stf8300"), tmp_path / "out").produce_product()
    assert qc_of(rates)["DARK RATE"] == pytest.approx(0.02, abs=0.004)
    assert "INSTRUME" in rates.frame.header


def test_a_reduction_with_an_example_table_is_repeated_from_its_product(cmos, tmp_path):
    product = soxs_mdark(cmos, using("asi183"), tmp_path / "out").produce_product()
    again = rerun(product.path, cmos, tmp_path / "again")
    assert again.same_pixels
    assert not again.keywords


@pytest.mark.parametrize("write", [nina_frame, maxim_frame])
def test_the_first_table_of_a_header_reduces_at_once(tmp_path, write):
    paths = [write(tmp_path / "raw" / f"d{number}.fits", number) for number in range(4)]
    table = tmp_path / "first.yaml"
    table.write_text(first_table(paths[0]).text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        product = soxs_mdark(tmp_path / "raw", {"instruments": {"table": table}}, tmp_path / "out").produce_product()
    assert product.frame.shape == SHAPE
    noise = {nina_frame: np.hypot(2.2, np.sqrt(2.4)), maxim_frame: np.hypot(9.3, np.sqrt(2.4))}[write]
    assert qc_of(product)["RON RAW"] == pytest.approx(noise, rel=0.05)
    shutil.rmtree(tmp_path / "out")


def test_the_master_is_subtracted_from_frames_of_the_sky(cmos, tmp_path):
    master = soxs_mdark(cmos, using("asi183"), tmp_path / "out").produce_product()
    light = nina_frame(tmp_path / "light.fits", 50, IMAGETYP="LIGHT", OBJECT="M 31")
    product = soxs_subtract_dark([light, master.path], using("asi183"), tmp_path / "sub").produce_product()
    header = product.frame.header
    assert (header["OBJECT"], header["BAYERPAT"]) == ("M 31", "RGGB")
    assert "ESO PRO DID" not in header
    good = product.frame.flags == 0
    assert np.median(product.frame.data[good]) == pytest.approx(0.0, abs=0.3)
    pulls = product.frame.data[good] / product.frame.uncertainty.array[good]
    assert np.std(pulls) == pytest.approx(1.0, abs=0.05)


def test_the_read_out_mode_of_a_table_is_a_word_of_the_name(cmos, tmp_path):
    table = tmp_path / "own.yaml"
    text = (EXAMPLES / "asi183.yaml").read_text().replace("units:", "defaults: {read_mode: slow}\nunits:", 1)
    table.write_text(text + "    mode: read_mode\n")
    frames = collect_frames(cmos, soxs_mdark.kind, extra_table=table)
    assert frames.read_mode == "slow"
