"""Headers of products: comments, numbers, times, the legend of the codes, and what is simulated."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.inputs.start_time import utc_text
from soxspipe.pixel_codes import PixelCode
from soxspipe.products.headers import add_qc, image_hdu, product_header, product_stem, set_card
from soxspipe.quality.definitions import DEFINITIONS
from soxspipe.quality.table import QualityTable, measured
from soxspipe.recipes import soxs_dark_current, soxs_mbias, soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return {
        exptime: simulate_darks(folder / f"{exptime}", DarkSimulation(shape=(96, 96), frames=3, exptime_s=exptime))
        for exptime in (60.0, 300.0)
    }


@pytest.fixture(scope="module")
def masters(raw, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masters")
    return [soxs_mdark(made.sof, output_dir=folder).produce_product() for made in raw.values()]


@pytest.mark.parametrize("keyword", ["ESO QC RON SPREAD FALSE", "BIT09", "ESO PRO REC1 RAW1 NAME"])
@pytest.mark.parametrize("value", ["x" * length for length in range(1, 70, 3)] + [True, 12, -1.234567e-05])
def test_a_comment_is_never_cut_inside_a_word(keyword, value):
    words = "below the surroundings of this pixel, or dead"
    header = fits.Header()
    set_card(header, keyword, value, words)
    comment = fits.Header.fromstring(header.tostring()).cards[-1].comment
    assert (f"{words} ").startswith(comment)
    assert not comment or words[len(comment) :][:1] in ("", " ")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_comment_of_a_qc_value_fits_its_card(name):
    header = fits.Header()
    value = measured(name, -0.0001234567891, number=12)
    add_qc(header, QualityTable([value]), [])
    assert header.cards[0].value == -0.0001234568
    comment = fits.Header.fromstring(header.tostring()).cards[0].comment
    assert comment == (f"[{value.unit}] {value.description}" if value.unit else value.description)


def test_qc_values_have_seven_digits_in_header_json_and_table():
    table = QualityTable([measured("LEVEL", 0.1 + 0.2), measured("HOTPIX NUM", 123456789), measured("FPN", None)])
    assert [record["value"] for record in table.records()] == [0.3, 123456789, None]
    assert table.to_qtable()["value"][0] == 0.3
    header = fits.Header()
    add_qc(header, table, [])
    assert "ESO QC LEVEL = 0.3 /" in header.tostring()
    assert "ESO QC HOTPIX NUM = 123456789 /" in header.tostring()


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.5, 0.6, 0.9994, 59.9999])
def test_the_time_in_the_name_is_that_of_date_obs(raw, seconds):
    provenance = provenance_of(raw[60.0], begin_mjd=61100.0 + seconds / 86400)
    header = product_header(provenance, "soxs_mdark", "MASTER_DARK_NIR", {})
    written = header["DATE-OBS"].replace("-", "").replace(":", "")
    assert product_stem(provenance, "MDARK").startswith(f"{written.partition('.')[0]}_NIR")
    assert abs(header["MJD-OBS"] - provenance.begin_mjd) < 6e-9
    assert utc_text(header["MJD-OBS"]) == header["DATE-OBS"]


def test_dates_have_the_digits_of_a_millisecond(raw):
    header = product_header(provenance_of(raw[60.0], end_mjd=61100.43423611222), "soxs_mdark", "MASTER_DARK_NIR", {})
    assert header["MJD-END"] == 61100.43423611


@pytest.mark.parametrize(
    ("code", "dtype", "bits"),
    [(0, "uint16", 16), (PixelCode.SATURATED, "uint16", 16), (PixelCode.NONLINEAR, "int32", 32),
     (PixelCode.NO_DATA | PixelCode.HOT, "int32", 32)],
)  # fmt: skip
def test_codes_have_the_bits_that_they_need(code, dtype, bits):
    hdu = image_hdu("QUAL", np.array([[0, int(code)]], np.int32))
    assert hdu.data.dtype == dtype
    assert hdu.data[0, 1] == code
    assert hdu.header["HDUCLAS3"] == f"FLAG{bits}BIT"


@pytest.mark.parametrize("name", ["QUAL", "BPMAP"])
def test_a_plane_of_codes_has_a_legend(name):
    header = image_hdu(name, np.zeros((2, 2), np.int32)).header
    assert header["EXTNAME"] == name
    legend = {1 << int(card.keyword[3:]): card for card in header["BIT[0-9]*"].cards}
    assert [card.value for card in legend.values()] == [code.label for code in PixelCode]
    assert list(legend) == [code.value for code in PixelCode]
    assert [card.comment for card in legend.values()] == [f"{code.value}: {code.description}" for code in PixelCode]


def test_every_hdu_has_a_name(masters):
    for path in [masters[0].path, masters[0].files["bad-pixel map"]]:
        with fits.open(path) as hdus:
            assert all(hdu.header.get("EXTNAME") for hdu in hdus)


def test_what_is_made_of_simulated_frames_is_called_simulated(raw, masters, tmp_path):
    rate = soxs_dark_current([master.path for master in masters], output_dir=tmp_path).produce_product()
    for path in (masters[0].path, masters[0].files["bad-pixel map"], rate.path, raw[60.0].frames[0]):
        header = fits.getheader(path)
        assert header["SIMULATE"] is True
        assert any("not an observation" in line for line in header["COMMENT"])


def test_real_frames_are_not_called_simulated_unless_their_bias_is(tmp_path):
    simulation = {"arm": "VIS", "shape": (96, 200), "frames": 3}
    darks = simulate_darks(tmp_path / "raw", DarkSimulation(**simulation))
    biases = simulate_darks(tmp_path / "bias", DarkSimulation(**simulation, kind="BIAS"))
    bias = soxs_mbias(biases.sof, output_dir=tmp_path).produce_product()
    for path in darks.frames:
        with fits.open(path, mode="update") as hdus:
            del hdus[0].header["SIMULATE"]
    assert "SIMULATE" not in soxs_mdark(darks.sof, output_dir=tmp_path / "1").produce_product().frame.header
    with_bias = soxs_mdark([darks.sof, bias.path], output_dir=tmp_path / "2").produce_product()
    assert with_bias.frame.header["SIMULATE"] is True


def provenance_of(made, **values):
    recipe = soxs_mdark(made.sof)
    return replace(recipe.collect()[1], **values)
