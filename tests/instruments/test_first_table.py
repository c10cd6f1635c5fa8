import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import FrameError
from soxspipe.instruments.first_table import first_table
from soxspipe.instruments.keywords import load_instrument
from tests.cameras import maxim_frame, nina_frame


def table_of(path, tmp_path):
    first = first_table(path)
    table = tmp_path / "first.yaml"
    table.write_text(first.text)
    return load_instrument(table), first.questions


def frame(path, cards, data=None):
    header = fits.Header()
    for keyword, value in cards.items():
        header[keyword] = value
    if data is None:
        data = np.random.default_rng(1).integers(900, 1100, (64, 80), dtype=np.uint16)
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def test_of_a_cmos_camera(tmp_path):
    instrument, questions = table_of(nina_frame(tmp_path / "d.fits"), tmp_path)
    assert (instrument.name, dict(instrument.match)) == ("ZWO-ASI183MC-Pro", {"INSTRUME": ("ZWO ASI183MC Pro",)})
    detector = instrument.detectors["CMOS"]
    assert instrument.celsius
    assert detector.conad_from_header
    assert (detector.conad_e_per_adu, detector.adu_per_count, detector.saturation_adu) == (0.0625, 16.0, 65520.0)
    (question,) = questions
    assert "samples are multiples of 16" in question
    assert "EGAIN electron per count" in question


def test_of_a_ccd_everything_is_in_the_header(tmp_path):
    instrument, questions = table_of(maxim_frame(tmp_path / "d.fits"), tmp_path)
    detector = instrument.detectors["CCD"]
    assert (detector.conad_e_per_adu, detector.pixel_size_um, detector.adu_per_count) == (0.37, 5.4, 1.0)
    assert (instrument.celsius, questions) == (True, ())


def test_samples_from_0_to_1_get_a_scale(tmp_path):
    instrument, questions = table_of(nina_frame(tmp_path / "d.fits", fraction=True), tmp_path)
    assert instrument.detectors["CMOS"].scale_adu == 65535.0
    assert any("samples are from 0 to 1" in question for question in questions)


def test_what_the_header_leaves_open_is_a_question(tmp_path):
    cards = {"MYTIME": ("2026-03-01T10:00:00", "start"), "GAIN": 2.0, "CCD-TEMP": 5.0, "OBSTYPE": "weird 'one'"}
    instrument, questions = table_of(frame(tmp_path / "d.fits", cards), tmp_path)
    asked = "\n".join(questions)
    for words in (
        "no keyword names the camera", "OBSTYPE is 'weird 'one'': is this a dark?", "which keyword has the exposure",
        "GAIN is 2.0: is it in electron/ADU?", "side of a pixel", "CCD-TEMP is 5.0: is it in celsius?",
    ):  # fmt: skip
        assert words in asked
    assert instrument.matches({})
    assert instrument.keywords["date"] == ("MYTIME",)


def test_a_frame_without_a_type_makes_all_frames_darks(tmp_path):
    instrument, _ = table_of(frame(tmp_path / "d.fits", {"CAM_ID": "A1", "IMG_EXP": (1999, "Exposure (ms)")}), tmp_path)
    assert instrument.find({}, "type") == ("type", "DARK")
    assert instrument.find({"IMG_EXP": 1999}, "exptime") == ("IMG_EXP", 1.999)
    assert instrument.matches({"CAM_ID": "A1"})


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"GAIN": (1.5, "electrons/ADU")}, (1.5, ("GAIN",))),
        ({"GAIN": (1.5, "camera setting")}, (1.0, ())),
        ({"EGAIN": 0.0}, (1.0, ())),
    ],
)
def test_a_gain_is_the_conversion_factor_where_the_header_says_so(tmp_path, cards, expected):
    instrument, _ = table_of(frame(tmp_path / "d.fits", {"INSTRUME": "X"} | cards), tmp_path)
    assert (instrument.detectors["CCD"].conad_e_per_adu, instrument.keywords["conad"]) == expected


@pytest.mark.parametrize("name", ["no", "1e5", "Ünïcode: [x]", "a#b", "'", "null", "x" * 68])
def test_any_name_of_a_camera_can_be_read(tmp_path, name):
    path = frame(tmp_path / "d.fits", {})
    data = bytearray(path.read_bytes())
    card = f"INSTRUME= '{name.replace(chr(39), chr(39) * 2)}'".ljust(80).encode("ascii", "replace")[:80]
    data[400:480] = card
    path.write_bytes(data)
    table_of(path, tmp_path)


def test_a_binned_frame_asks_for_the_size_of_the_detector(tmp_path):
    instrument, questions = table_of(nina_frame(tmp_path / "d.fits", XBINNING=2, YBINNING=2, XPIXSZ=4.8), tmp_path)
    assert instrument.detectors["CMOS"].raw_shape == (192, 256)
    assert instrument.detectors["CMOS"].pixel_size_um == 2.4
    assert any("raw_shape" in question for question in questions)


def test_a_file_without_an_image_is_refused(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "x.fits")
    with pytest.raises(FrameError, match="holds no two-dimensional image"):
        first_table(tmp_path / "x.fits")
