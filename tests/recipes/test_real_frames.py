"""Real darks of a real CCD: the ESIS camera (tests/data/esis, BSD-3-Clause, R. T. Smart and J. D. Parker).

The files carry no image type, no exposure time in seconds and no gain. Their pixels are dressed here in headers
of the SOXS acquisition camera, with an instrument table that has the four read-out taps as amplifiers; nothing
else is changed.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

import soxspipe.instruments
from soxspipe.exceptions import MixedFramesError
from soxspipe.recipes import soxs_mdark

DATA = Path(__file__).parents[1] / "data" / "esis"
TWO_SECONDS = ("ESIS1_01772", "ESIS1_04860", "ESIS1_04861")
TWELVE_SECONDS = "ESIS1_01829"
NY, NX = 1040, 2152
TAPS = [(y, y + NY // 2, x, x + NX // 2) for y in (0, NY // 2) for x in (0, NX // 2)]


def dress(name, folder, order):
    with fits.open(DATA / f"{name}.fit.gz") as hdus:
        data, exptime = hdus[0].data, hdus[0].header["IMG_EXP"] / 1000
    header = fits.Header()
    for keyword, value in {
        "INSTRUME": "SOXS", "EXPTIME": exptime, "MJD-OBS": 57946.0 + order / 1440, "ESO DET3 CAM NAME": "ACQ",
        "ESO DPR CATG": "CALIB", "ESO DPR TECH": "IMAGE", "ESO DPR TYPE": "DARK", "ESO DET OUT1 CONAD": 1.0,
        "ESO DET OUT1 GAIN": 1.0, "ESO DET BINX": 1, "ESO DET BINY": 1, "ESO DET READ CURID": 1,
    }.items():  # fmt: skip
        header[f"HIERARCH {keyword}" if keyword.startswith("ESO") else keyword] = value
    path = folder / f"{name}.fits"
    fits.PrimaryHDU(data, header).writeto(path)
    return path


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("esis")
    table = yaml.safe_load((Path(soxspipe.instruments.__file__).parent / "soxs.yaml").read_text())
    camera = table["detectors"]["ACQ"]
    camera.update(name="Teledyne/e2v CCD230-42", raw_shape=[NY, NX], science=[[0, NY], [0, NX]])
    camera["amplifiers"] = [list(tap) for tap in TAPS]
    table["detectors"] = {"ACQ": camera}
    (folder / "esis.yaml").write_text(yaml.safe_dump(table))
    (folder / "settings.yaml").write_text("instruments:\n  table: esis.yaml\n")
    frames = [dress(name, folder, order) for order, name in enumerate((*TWO_SECONDS, TWELVE_SECONDS))]
    return folder, frames


@pytest.fixture(scope="module")
def master(night):
    folder, frames = night
    return soxs_mdark(frames[:3], folder / "settings.yaml", folder / "reduced").produce_product()


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
    with pytest.raises(MixedFramesError, match="EXPTIME") as refusal:
        soxs_mdark(frames, folder / "settings.yaml", folder / "mixed").produce_product()
    message = str(refusal.value)
    assert "\n" not in message
    assert TWELVE_SECONDS in message
    assert "11.999" in message
    assert "expected 1.999" in message
    assert not (folder / "mixed").exists()
