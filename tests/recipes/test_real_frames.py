"""Real darks of a real CCD: the ESIS camera (tests/data/esis, BSD-3-Clause, R. T. Smart and J. D. Parker).

The files carry no image type, no exposure time in seconds and no gain. They are reduced as they are, with the example
table ``esis``, which has the four read-out taps as amplifiers.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from soxspipe.exceptions import MixedFramesError
from soxspipe.instruments.keywords import EXAMPLES
from soxspipe.recipes import soxs_mdark

DATA = Path(__file__).parents[1] / "data" / "esis"
TWO_SECONDS = ("ESIS1_01772", "ESIS1_04860", "ESIS1_04861")
TWELVE_SECONDS = "ESIS1_01829"
NY, NX = 1040, 2152
TAPS = [(y, y + NY // 2, x, x + NX // 2) for y in (0, NY // 2) for x in (0, NX // 2)]
SETTINGS = {"instruments": {"table": EXAMPLES / "esis.yaml"}}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return tmp_path_factory.mktemp("esis"), [DATA / f"{name}.fit.gz" for name in (*TWO_SECONDS, TWELVE_SECONDS)]


@pytest.fixture(scope="module")
def master(night):
    folder, frames = night
    return soxs_mdark(frames[:3], SETTINGS, folder / "reduced").produce_product()


def test_no_population_of_hot_pixels_in_two_seconds(master):
    codes = master.frame.flags
    # the first pixels that each tap reads are brighter by some DN in every row, and are found to be
    assert (codes[:, [0, NX - 1]] & 256 > 0).mean() > 0.5
    # so are parts of the next two, which the map has as bad columns
    assert np.count_nonzero(codes[:, 4:-4]) <= 10  # of 2.2 million


def test_noise_of_the_taps(master):
    noise = {qc["name"]: qc["value"] for qc in master.qc_records()}
    for tap in range(1, 5):
        assert 3.0 < noise[f"RON RAW{tap}"] < 4.5
    assert noise["RON MASTER"] == pytest.approx(noise["RON RAW"] / np.sqrt(3), rel=0.05)
    assert 0.97 < noise["PULL STD"] < 1.03


def test_blank_columns_agree_with_the_active_area(master):
    for y0, y1, x0, x1 in TAPS:
        tap = master.frame.data[y0:y1, x0:x1] if x0 == 0 else master.frame.data[y0:y1, x1 - 1 : x0 - 1 : -1]
        blank, active = tap[:, 2:50], tap[:, 50:1074]
        assert abs(np.median(blank) - np.median(active)) < 1.0
        assert 3370 < np.median(active) < 3800


def test_the_twelve_second_frame_is_refused(night):
    folder, frames = night
    with pytest.raises(MixedFramesError, match="IMG_EXP") as refusal:
        soxs_mdark(frames, SETTINGS, folder / "mixed").produce_product()
    message = str(refusal.value)
    assert "\n" not in message
    assert TWELVE_SECONDS in message
    assert "11.999" in message
    assert "expected 1.999" in message
    assert not (folder / "mixed").exists()


def test_a_folder_works_as_the_list_of_its_files(night, master):
    folder, frames = night
    (folder / "raw").mkdir()
    for frame in frames[:3]:
        shutil.copy(frame, folder / "raw")
    product = soxs_mdark(folder / "raw", SETTINGS, folder / "of_folder").produce_product()
    assert product.path.name == master.path.name == "20170712T163819_CCD_1x1_MDARK_1_999S_ESIS.fits"
    np.testing.assert_array_equal(product.frame.data, master.frame.data)
    header = product.frame.header
    assert (header["CAM_ID"], header["CAM_SN"], header["IMG_EXP"], header["EXPTIME"]) == ("ESIS1", 6, 1999, 1.999)
    assert "ESO PRO DID" not in header
