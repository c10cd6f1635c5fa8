"""Prepared frames: the pedestal of each row is that of the truth, for any height of the band."""

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.inputs.prepare import PreparedFrames
from soxspipe.inputs.raw_frames import collect_frames
from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, simulate_darks

SHAPE = (600, 300)
CLEAN = {"arm": "VIS", "shape": SHAPE, "frames": 3, "structure": False, "cosmic_rays_per_cm2_s": 0.0,
         "hot_fraction": 0.0, "cold_fraction": 0.0, "dead_fraction": 0.0, "telegraph_fraction": 0.0}  # fmt: skip


def simulated(folder, **changes):
    return simulate_darks(folder, DarkSimulation(**CLEAN | changes))


def edit(path, change):
    """Change the pixels of a raw frame."""
    with fits.open(path, mode="update") as hdus:
        change(hdus[0].data)
        hdus[0].add_checksum()


def prepared(made):
    return PreparedFrames(collect_frames(made.sof, soxs_mdark.kind))


def read(frames, index, start=0, stop=SHAPE[0]):
    out = np.empty((stop - start, frames.shape[1]), np.float32)
    frames.read(index, start, stop, out)
    return out


def test_the_wander_along_rows_is_removed(tmp_path):
    made = simulated(tmp_path, row_noise_e=3.0, read_noise_e=2.0, dark_current_e_per_s=0.0)
    raw = fits.getdata(made.frames[0]).astype(float)[:, 50:250]
    with prepared(made) as frames:
        image = read(frames, 0)
    blocks = [np.std(each.reshape(12, 50, 200).mean(axis=(1, 2))) for each in (raw, image)]
    assert blocks[0] > 1.0  # as simulated
    assert blocks[1] < 0.2 * blocks[0]
    assert image.mean() == pytest.approx(0, abs=0.1)


def test_a_band_of_rows_has_the_pixels_of_the_frame(tmp_path):
    with prepared(simulated(tmp_path, row_noise_e=3.0)) as frames:
        whole = read(frames, 1)
        for start, stop in ((0, 1), (1, 42), (100, 101), (599, 600)):
            np.testing.assert_array_equal(read(frames, 1, start, stop), whole[start:stop])


def test_columns_in_which_charge_trails_take_no_part(tmp_path):
    made = simulated(tmp_path)
    with prepared(made) as frames:
        before = frames.pedestals_e

    def trail(data):
        data[:, 250:254] += 40
        data[:, 46:50] += 40

    edit(made.frames[0], trail)
    with prepared(made) as frames:
        np.testing.assert_array_equal(frames.pedestals_e, before)


def test_prescan_and_overscan_at_different_levels_are_a_warning(tmp_path):
    made = simulated(tmp_path / "raw")

    def leak(data):
        data[:, 250:] += 20

    assert not any("overscan" in line for line in _warnings(made, tmp_path / "good"))
    edit(made.frames[1], leak)
    (line,) = (line for line in _warnings(made, tmp_path / "leak") if "overscan" in line)
    assert line.startswith(made.frames[1].name)
    assert "in columns 0 to 46" in line
    assert "in columns 254 to 300, in 1 of 3 frames" in line


def _warnings(made, folder):
    return soxs_mdark(made.sof, output_dir=folder).produce_product().warnings


def test_a_bias_with_the_pedestal_keeps_the_pattern_of_its_rows(tmp_path):
    """The pattern is in bias, dark and overscan; only what changes between the frames is left to the overscan."""
    made = simulated(tmp_path, drift_e=0.0, read_noise_e=2.0)
    pattern = (10 * np.sin(np.arange(SHAPE[0]) / 60)).round()[:, np.newaxis]
    for path in made.frames:
        edit(path, lambda data: np.add(data, pattern, out=data, casting="unsafe"))
    bias = fits.PrimaryHDU((1000 + pattern + np.zeros((600, 200))).astype(np.float32))
    bias.header["INSTRUME"], bias.header["HIERARCH ESO PRO CATG"] = "SOXS", "MASTER_BIAS_VIS"
    hdus = [bias, fits.ImageHDU(np.full((600, 200), 0.1, np.float32), name="ERRS")]
    fits.HDUList(hdus).writeto(tmp_path / "bias.fits")
    with made.sof.open("a") as sof:
        sof.write("bias.fits MASTER_BIAS_VIS\n")
    with prepared(made) as frames:
        assert frames.bias_has_pedestal
        rows = read(frames, 0).mean(axis=1)
    assert rows.reshape(20, 30).mean(axis=1).std() < 0.2


def test_the_setting_removes_the_noise_that_amplifiers_share(tmp_path):
    noisy = {"arm": "NIR", "shape": (200, 600), "row_noise_e": 0.0, "common_noise_e": 10.0, "read_noise_spread": 0.0}
    made = simulated(tmp_path / "raw", **noisy)
    noise = {}
    for switch in ("off", "on"):
        (tmp_path / "my.yaml").write_text(f"soxs-mdark:\n  common-mode: {switch}\n")
        product = soxs_mdark(made.sof, tmp_path / "my.yaml", tmp_path, overwrite=True).produce_product()
        noise[switch] = {qc["name"]: qc["value"] for qc in product.qc_records()}["RON RAW"]
        header = product.frame.header
        names = {header[card]: card for card in header["ESO PRO REC1 PARAM* NAME"]}
        written = header[names["common-mode"].replace("NAME", "VALUE")]
        assert written == ("true" if switch == "on" else "false")
    assert noise["off"] > 12
    assert noise["on"] < 10
