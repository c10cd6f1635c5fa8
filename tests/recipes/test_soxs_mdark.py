import hashlib
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from soxspipe.exceptions import FrameError
from soxspipe.recipes import soxs_mdark
from soxspipe.simulation import DarkSimulation, SimulatedDetector, simulate_darks
from soxspipe.stacking import clip_and_stack as stacking_function

ARMS = [
    ("SOXS", "NIR", {}),
    ("SOXS", "VIS", {}),
    ("SOXS", "ACQ", {}),
    ("XSHOOTER", "UVB", {}),
    ("XSHOOTER", "VIS", {}),
    ("XSHOOTER", "NIR", {}),
]


def pixels_of(path):
    with fits.open(path) as hdus:
        return [hdu.data.tobytes() for hdu in hdus]


@pytest.mark.parametrize(("instrument", "arm", "more"), ARMS)
def test_every_arm_gives_an_unbiased_master_with_right_errors(simulated, tmp_path, instrument, arm, more):
    raw, truth = simulated(instrument=instrument, arm=arm, read_noise_spread=0.0, exptime_s=600.0, **more)
    product = soxs_mdark(raw.sof, output_dir=tmp_path / "out").produce_product()
    frame = product.frame
    assert frame.shape == truth["DARK"].shape
    assert frame.unit == units.electron
    good = (truth["CODES"] == 0) & (frame.flags == 0)
    assert good.mean() > 0.95
    expected = truth["DARK"] + truth["PEDESTAL"] + truth["LEVEL"]
    if arm in ("VIS", "UVB"):  # the prescan gave the pedestal: its mean, with the columns' own differences left
        expected = truth["DARK"] + truth["PEDESTAL"] - np.median(truth["PEDESTAL"])
    residual = (frame.data - expected)[good]
    assert abs(np.median(residual)) < (0.5 if arm == "NIR" else 0.3)
    pull = (residual - residual.mean()) / frame.uncertainty.array[good]
    assert np.std(pull) == pytest.approx(1, abs=0.04)
    assert product.qc["value"][list(product.qc["name"]).index("RON RAW")] > 0
    assert ("no master bias is given" in product.files["log"].read_text()) == (arm != "NIR")


def test_result_is_what_the_documentation_says(simulated, tmp_path):
    raw, _ = simulated(shape=(128, 128))
    product = soxs_mdark(str(raw.sof), output_dir=str(tmp_path / "out")).produce_product()
    assert product.path.name == "20260301T100000_NIR_1_MDARK_300_0S_SOXS.fits"
    assert sorted(path.name.removeprefix(product.path.stem) for path in product.files.values()) == [
        ".fits", ".log", "_BPMAP.fits", "_qc.json",
    ]  # fmt: skip
    assert all(path.is_file() for path in product.files.values())
    assert product.qc.colnames == ["name", "value", "unit", "range", "passed", "description"]
    read = CCDData.read(product.path, hdu="FLUX", hdu_mask="QUAL", hdu_uncertainty="ERRS", key_uncertainty_type="UTYPE")
    np.testing.assert_array_equal(read.data, product.frame.data)
    np.testing.assert_array_equal(read.uncertainty.array, product.frame.uncertainty.array)
    np.testing.assert_array_equal(read.mask.astype(bool), product.frame.mask)
    assert isinstance(read.uncertainty, StdDevUncertainty)
    document = json.loads(product.files["qc"].read_text())
    assert document["product"] == product.path.name
    assert document["qc"] == product.qc_records()
    assert "parameter stacked-clipping-sigma = 5.0" in product.files["log"].read_text()
    with fits.open(product.files["bad-pixel map"]) as hdus:
        np.testing.assert_array_equal(hdus[0].data, product.frame.flags)
        assert hdus[0].header["ESO PRO CATG"] == "BP_MAP_HP_NIR"


def test_headers_and_planes_of_the_product(simulated, tmp_path):
    raw, _ = simulated(shape=(128, 128))
    settings = {"soxs-mdark": {"NIR": {"stacked-clipping-sigma": 6}}}
    product = soxs_mdark(raw.sof, settings=settings, output_dir=tmp_path).produce_product()
    with fits.open(product.path, checksum=True) as hdus:
        assert [(hdu.name, hdu.data.dtype.name) for hdu in hdus] == [
            ("FLUX", "float32"), ("QUAL", "uint16"), ("ERRS", "float32"), ("NOISE", "float32"), ("NCOMBINE", "uint16"),
        ]  # fmt: skip
        header = hdus[0].header
        stored = hashlib.md5()
        with product.path.open("rb") as file:
            for hdu in hdus:
                where = hdu.fileinfo()
                file.seek(where["datLoc"])
                stored.update(file.read(where["datSpan"]))
        assert header["DATAMD5"] == stored.hexdigest()
        assert hdus["ERRS"].header["UTYPE"] == "StdDevUncertainty"
        assert hdus["QUAL"].header["HDUCLAS3"] == "FLAG16BIT"
        assert hdus["FLUX"].header["ERRDATA"] == "ERRS"
        assert hdus["ERRS"].header["SCIDATA"] == "FLUX"
    expected = {
        "ESO PRO CATG": "MASTER_DARK_NIR",
        "ESO PRO TYPE": "REDUCED",
        "ESO PRO TECH": "IMAGE",
        "ESO PRO SCIENCE": False,
        "ESO PRO DATANCOM": 5,
        "ESO PRO REC1 ID": "soxs_mdark",
        "ESO PRO REC1 RAW1 NAME": raw.frames[0].name,
        "ESO PRO REC1 RAW5 CATG": "DARK_NIR",
        "ESO PRO REC1 PARAM3 NAME": "stacked-clipping-sigma",
        "ESO PRO REC1 PARAM3 VALUE": "6.0",
        "ESO PRO ANCESTOR": "SOXS.2026-03-01T10:00:00.000.fits",
        "EXPTIME": 300.0,
        "BUNIT": "electron",
        "PIPEFILE": product.path.name,
        "ESO TPL ID": "SOXS_gen_cal_NIRDark",
    }
    assert {keyword: header[keyword] for keyword in expected} == expected
    assert header.comments["ESO PRO REC1 PARAM3 VALUE"] == "Default: 5.0"
    assert header["MJD-OBS"] == pytest.approx(61100.0 + 10 / 24, abs=1e-8)
    assert not [keyword for keyword in header if keyword.startswith("ESO DPR")]
    values = {qc["name"]: qc["value"] for qc in product.qc_records()}
    for name in ("MDARK MEDIAN", "LEVEL", "RON RAW", "RON MASTER", "HOTPIX NUM", "REJECT FRAC"):
        assert header[f"ESO QC {name}"] == pytest.approx(values[name], rel=1e-7)


def test_the_order_of_the_lines_does_not_matter_and_inputs_stay_as_they_are(simulated, tmp_path):
    raw, _ = simulated(shape=(128, 128))
    before = [path.read_bytes() for path in (*raw.frames, raw.sof)]
    forwards = soxs_mdark(raw.sof, output_dir=tmp_path / "a").produce_product()
    backwards = soxs_mdark([*reversed(raw.frames)], output_dir=tmp_path / "b").produce_product()
    folder = soxs_mdark(raw.sof.parent, output_dir=tmp_path / "c").produce_product()
    assert pixels_of(forwards.path) == pixels_of(backwards.path) == pixels_of(folder.path)
    assert [path.read_bytes() for path in (*raw.frames, raw.sof)] == before


def test_the_height_of_the_bands_does_not_matter(simulated, tmp_path, monkeypatch):
    raw, _ = simulated(shape=(128, 128))
    products = []
    for rows in (1, 13, 120):

        def banded(*args, rows=rows, **kwargs):
            return stacking_function(*args, band_rows=rows, **kwargs)

        monkeypatch.setattr(sys.modules["soxspipe.recipes.base_recipe"], "clip_and_stack", banded, raising=True)
        products.append(soxs_mdark(raw.sof, output_dir=tmp_path / str(rows)).produce_product())
    assert pixels_of(products[0].path) == pixels_of(products[1].path) == pixels_of(products[2].path)


def test_a_script_that_configures_nothing(simulated, tmp_path):
    raw, _ = simulated(shape=(128, 128))
    script = "from soxspipe.recipes import soxs_mdark; print(soxs_mdark('darks.sof').produce_product().path)"
    done = subprocess.run([sys.executable, "-c", script], cwd=raw.sof.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "20260301T100000_NIR_1_MDARK_300_0S_SOXS.fits\n"


def test_logging_of_the_caller_is_left_alone(simulated, tmp_path, caplog):
    raw, _ = simulated(shape=(128, 128))
    package = logging.getLogger("soxspipe")
    before = package.level, package.propagate, list(package.handlers)
    with caplog.at_level(logging.WARNING):
        soxs_mdark(raw.sof, output_dir=tmp_path / "out").produce_product()
    assert not [record for record in caplog.records if record.levelno < logging.WARNING]
    assert (package.level, package.propagate, package.handlers) == before


def test_master_bias_and_static_map(simulated, tmp_path):
    """A bias of ten frames leaves its own error in each pixel; without it the pull would be 1.2."""
    raw, truth = simulated(
        arm="VIS", exptime_s=1800.0, column_e=3.0, shape=(256, 400), detector_seed=7, seed=1, drift_e=0.0
    )
    biases, _ = simulated(
        folder="bias", arm="VIS", kind="BIAS", frames=10, column_e=3.0, shape=(256, 400), detector_seed=7, seed=2,
        drift_e=0.0,
    )  # fmt: skip
    level = np.mean([fits.getdata(path).astype(float) for path in biases.frames], axis=0)[:, 50:350]
    header = fits.getheader(raw.frames[0])
    header = fits.Header([("INSTRUME", "SOXS"), ("HIERARCH ESO SEQ ARM", "VIS")])
    header["HIERARCH ESO PRO CATG"] = "MASTER_BIAS_VIS"
    errors = np.full(level.shape, np.hypot(3.8, np.sqrt(1 / 12)) / np.sqrt(10), np.float32)
    fits.HDUList(
        [
            fits.PrimaryHDU(level.astype(np.float32), header),
            fits.ImageHDU(errors, name="ERRS"),
        ]
    ).writeto(raw.sof.parent / "bias.fits")
    bad = np.zeros(level.shape, np.uint8)
    bad[10, 20] = 1
    header["HIERARCH ESO PRO CATG"] = "BP_MAP_RP_VIS"
    fits.PrimaryHDU(bad, header).writeto(raw.sof.parent / "static.fits")
    with raw.sof.open("a") as sof:
        sof.write("bias.fits MASTER_BIAS_VIS\nstatic.fits BP_MAP_RP_VIS\n")
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    good = (truth["CODES"] == 0) & (product.frame.flags == 0)
    pull = ((product.frame.data - truth["DARK"]) / product.frame.uncertainty.array)[good]
    assert np.mean(pull) == pytest.approx(0, abs=0.05)
    assert np.std(pull) == pytest.approx(1, abs=0.02)
    assert product.frame.flags[10, 20] & 128
    header = fits.getheader(product.path)
    assert header["ESO PRO REC1 CAL1 NAME"] == "bias.fits"
    assert header["ESO PRO REC1 CAL2 CATG"] == "BP_MAP_RP_VIS"
    assert header["ESO QC BIAS NOISE"] == pytest.approx(errors[0, 0], rel=1e-5)


def _write_bias(raw, biases, window, arm, pedestal_e):
    """Write the mean of bias frames as a master bias, with or without their pedestal; add it to the set."""
    y0, y1, x0, x1 = window
    level = np.mean([fits.getdata(path).astype(float) for path in biases.frames], axis=0)[y0:y1, x0:x1]
    header = fits.Header([("INSTRUME", "SOXS"), ("HIERARCH ESO PRO CATG", f"MASTER_BIAS_{arm}")])
    errors = np.full(level.shape, 0.5, np.float32)
    hdus = [fits.PrimaryHDU((level - pedestal_e).astype(np.float32), header), fits.ImageHDU(errors, name="ERRS")]
    fits.HDUList(hdus).writeto(raw.sof.parent / "bias.fits")
    with raw.sof.open("a") as sof:
        sof.write(f"bias.fits MASTER_BIAS_{arm}\n")


@pytest.mark.parametrize(
    ("arm", "bias_holds", "pedestal", "level"),
    [
        ("VIS", None, "overscan", "dark"),
        ("VIS", True, "overscan, master bias", "dark"),
        ("VIS", False, "overscan, master bias", "dark"),
        ("ACQ", True, "master bias", "dark"),
        ("ACQ", None, "nothing", "pedestal + dark"),
    ],
)
def test_the_header_says_what_the_level_means(simulated, tmp_path, arm, bias_holds, pedestal, level):
    same = {"arm": arm, "shape": (128, 200), "detector_seed": 5, "drift_e": 0.0, "column_e": 0.0, "channel_e": 0.0}
    raw, truth = simulated(exptime_s=3600.0, dark_current_e_per_s=0.01, cosmic_rays_per_cm2_s=0.0, **same)
    if bias_holds is not None:
        biases, _ = simulated(folder="bias", kind="BIAS", frames=10, seed=9, **same)
        window = (0, 128, 50, 150) if arm == "VIS" else (0, 128, 0, 200)
        _write_bias(raw, biases, window, arm, 0.0 if bias_holds else 1000.0)
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    header, values = product.frame.header, {qc["name"]: qc for qc in product.qc_records()}
    assert (header["ESO QC PEDESTAL"], header["ESO QC LEVEL TYPE"]) == (pedestal, level)
    good = (truth["CODES"] == 0) & (product.frame.flags == 0)
    expected = 36.0 + (0.0 if level == "dark" else 1000.0)
    assert np.mean(product.frame.data[good]) == pytest.approx(expected, abs=0.3)
    assert values["LEVEL"]["value"] == header["ESO QC LEVEL"] == values["MDARK MEAN"]["value"]
    # 36 electron are far above the error where the pedestal was removed; else they are no dark current
    if level == "dark":
        assert values["DARK CURRENT LIMIT"]["value"] is header["ESO QC DARK CURRENT LIMIT"] is False
        assert values["DARK CURRENT"]["passed"] is False
    else:
        assert {qc["value"] for name, qc in values.items() if "CURRENT" in name} == {None}
        assert not any("CURRENT" in keyword for keyword in header)


@pytest.mark.parametrize(("arm", "rot90_count", "column0"), [("UVB", 2, 48), ("NIR", 1, 4)])
def test_every_plane_is_turned_and_a_static_map_finds_its_pixels(simulated, tmp_path, arm, rot90_count, column0):
    raw, truth = simulated(instrument="XSHOOTER", arm=arm, frames=3, cosmic_rays_per_cm2_s=0.0)
    y, x = 40, column0 + 7  # a raw pixel that one frame has no data in
    with fits.open(raw.frames[1]) as hdus:
        data, header = hdus[0].data.astype(np.float32), hdus[0].header.copy()
    for keyword in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
        header.remove(keyword, ignore_missing=True)
    data[y, x] = np.nan
    fits.PrimaryHDU(data, header).writeto(raw.frames[1], overwrite=True)
    seen = np.ones((128, 200), bool)
    seen[y, x] = False
    margins = {"UVB": np.s_[:, 48:152], "NIR": np.s_[20:104, 4:196]}[arm]
    (here,) = np.argwhere(~np.rot90(seen[margins], rot90_count)).tolist()
    bad = np.zeros(truth["CODES"].shape, np.uint8)
    bad[3, 7] = 1
    header = fits.Header([("INSTRUME", header["INSTRUME"]), ("HIERARCH ESO PRO CATG", f"BP_MAP_RP_{arm}")])
    fits.PrimaryHDU(bad, header).writeto(raw.sof.parent / "static.fits")
    with raw.sof.open("a") as sof:
        sof.write(f"static.fits BP_MAP_RP_{arm}\n")
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    assert np.argwhere(product.frame.flags & 128).tolist() == [[3, 7]]
    with fits.open(product.path) as hdus:
        assert hdus["NCOMBINE"].data[tuple(here)] == 2
        good = (truth["CODES"] == 0) & (product.frame.flags == 0)
        # what a pixel scatters by is its own read noise: the plane is turned as the truth is
        noise = np.sqrt(np.nanmean(hdus["NOISE"].data[good] ** 2))
    assert noise == pytest.approx(np.sqrt(np.mean(truth["RON"][good] ** 2 + truth["DARK"][good] + 1.0)), rel=0.1)


def test_averaged_exposures(simulated, tmp_path):
    """Counts belong to one DIT; read-out and shot noise are those of the average."""
    raw, truth = simulated(
        ndit=4, exptime_s=100.0, dark_current_e_per_s=5.0, shape=(256, 256), frames=5, structure=False, drift_e=0.0,
        cosmic_rays_per_cm2_s=0.0, read_noise_spread=0.0, hot_range_e_per_s=(2.0, 50.0), hot_fraction=0.02,
    )  # fmt: skip
    for path in raw.frames:  # the other convention: EXPTIME is that of all exposures together
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["EXPTIME"] = 400.0
            del hdus[0].header["CHECKSUM"]
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    values = {qc["name"]: qc["value"] for qc in product.qc_records()}
    header = product.frame.header
    pedestal = np.median(truth["PEDESTAL"])
    good = (truth["CODES"] == 0) & (product.frame.flags == 0)
    assert values["MDARK MEAN"] - pedestal == pytest.approx(500.0, abs=1.0)
    assert values["RON RAW"] == pytest.approx(np.sqrt((7.3**2 + 500.0) / 4 + 2.3**2 / 12), rel=0.02)
    residual = product.frame.data - truth["DARK"] - truth["PEDESTAL"]
    assert np.std(residual[good] / product.frame.uncertainty.array[good]) == pytest.approx(1, abs=0.03)
    hot = (truth["CODES"] == 256) & (truth["HOTAMP"] > 500)
    assert np.std(residual[hot] / product.frame.uncertainty.array[hot]) == pytest.approx(1, abs=0.12)
    last = fits.getheader(raw.frames[-1])["MJD-OBS"]
    assert (header["MJD-END"] - last) * 86400 == pytest.approx(400.0, abs=0.1)
    assert header["ESO QC EXPOSURE"] == 100.0
    # the range is for one integration: four times the variance, the dark signal unknown
    noise = next(qc for qc in product.qc_records() if qc["name"] == "RON RAW")
    assert noise["range"] == pytest.approx([1.5, 10.0])


def test_the_read_noise_is_judged_without_the_shot_noise_of_the_dark(simulated, tmp_path):
    raw, _ = simulated(
        arm="VIS", shape=(128, 200), exptime_s=100.0, dark_current_e_per_s=2.0, structure=False, drift_e=0.0,
        cosmic_rays_per_cm2_s=0.0,
    )  # fmt: skip
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    noise = next(qc for qc in product.qc_records() if qc["name"] == "RON RAW")
    assert noise["value"] > 14  # that of 200 electrons
    assert noise["range"] == pytest.approx([np.sqrt(1.5**2 + 200), np.sqrt(8.0**2 + 200)], rel=0.02)
    assert noise["passed"] is True


def test_cosmic_ray_rate_and_dark_current_range_of_binned_pixels(simulated, tmp_path):
    raw, _ = simulated(
        arm="VIS", binning=(2, 2), shape=(512, 300), exptime_s=3600.0, frames=5, cosmic_shape="pixels",
        cosmic_rays_per_cm2_s=0.3, telegraph_fraction=0.0, dark_current_e_per_s=0.0001, drift_e=0.0,
    )  # fmt: skip
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    values = {qc["name"]: qc for qc in product.qc_records()}
    assert values["CRRATE"]["value"] == pytest.approx(0.3, rel=0.1)
    # two errors above the specification pass; the range that a user gives is kept
    error = values["DARK CURRENT ERR"]["value"]
    assert values["DARK CURRENT"]["range"] == [None, pytest.approx(4 * 0.00012 + 2 * error)]
    assert values["DARK CURRENT"]["passed"] is not False
    settings = {"quality": {"DARK CURRENT": [None, 0.0002]}}
    product = soxs_mdark(raw.sof, settings, output_dir=tmp_path, overwrite=True).produce_product()
    values = {qc["name"]: qc for qc in product.qc_records()}
    assert values["DARK CURRENT"]["range"] == [None, pytest.approx(4 * 0.0002)]


@pytest.mark.parametrize(
    ("instrument", "limits", "expected"),
    [
        ("SOXS", {}, ([None, 0.00012], False)),
        ("XSHOOTER", {}, ([None, None], None)),  # its table has no dark current limit
        ("XSHOOTER", {"DARK CURRENT": [None, 0.001]}, ([None, 0.001], False)),
    ],
)
def test_the_dark_current_of_soxs_does_not_judge_another_instrument(simulated, tmp_path, instrument, limits, expected):
    raw, _ = simulated(instrument=instrument, arm="VIS", exptime_s=3600.0, dark_current_e_per_s=0.01, drift_e=0.0)
    settings = {"quality": {"VIS": limits}} if limits else None
    product = soxs_mdark(raw.sof, settings=settings, output_dir=tmp_path).produce_product()
    (current,) = (qc for qc in product.qc_records() if qc["name"] == "DARK CURRENT")
    if instrument == "SOXS":  # two errors above the specification pass
        (error,) = (qc["value"] for qc in product.qc_records() if qc["name"] == "DARK CURRENT ERR")
        current["range"][1] = round(current["range"][1] - 2 * error, 9)
    assert (current["range"], current["passed"]) == expected


def test_a_frame_without_data_is_named(simulated, tmp_path):
    raw, _ = simulated(arm="ACQ", shape=(128, 128), frames=12)
    path = raw.frames[2]
    with fits.open(path) as hdus:
        data, header = np.full(hdus[0].data.shape, np.nan, np.float32), hdus[0].header.copy()
    for keyword in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
        header.remove(keyword, ignore_missing=True)
    fits.PrimaryHDU(data, header).writeto(path, overwrite=True)
    for frames in (raw.frames, raw.frames[:4]):
        with pytest.raises(FrameError, match="holds no data: leave this frame out") as refusal:
            soxs_mdark(frames, output_dir=tmp_path / "out").produce_product()
        assert path.name in str(refusal.value)


def test_a_master_bias_in_another_unit_is_refused(simulated, tmp_path):
    raw, _ = simulated(arm="VIS", frames=3)
    biases, _ = simulated(folder="bias", arm="VIS", kind="BIAS", frames=3)
    _write_bias(raw, biases, (0, 128, 50, 150), "VIS", 0.0)
    fits.setval(raw.sof.parent / "bias.fits", "BUNIT", value="ADU")
    with pytest.raises(FrameError, match=r"bias\.fits: BUNIT is 'ADU', expected electron"):
        soxs_mdark(raw.sof, output_dir=tmp_path / "out").produce_product()


def test_two_cosmic_rays_in_one_pixel_of_three_frames_are_told(simulated, tmp_path):
    raw, _ = simulated(arm="ACQ", shape=(128, 128), frames=3, cosmic_rays_per_cm2_s=0.0)
    for path, charge in zip(raw.frames, (0, 700, 2500), strict=True):
        with fits.open(path) as hdus:
            data, header = hdus[0].data.copy(), hdus[0].header.copy()
        data[20, 30] = min(int(data[19, 30]), 1005) + charge
        for keyword in ("CHECKSUM", "DATASUM"):
            header.remove(keyword)
        fits.PrimaryHDU(data, header).writeto(path, overwrite=True)
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    values = {qc["name"]: qc["value"] for qc in product.qc_records()}
    assert values["AMBIGPIX NUM"] == 1
    assert product.frame.flags[20, 30] == 32
    assert product.frame.data[20, 30] == pytest.approx(1000, abs=20)  # that of the one frame that was not hit


@pytest.mark.parametrize("value", [0, 65535])
def test_a_frame_that_is_dead_or_saturated_all_over_is_refused(simulated, tmp_path, value):
    raw, _ = simulated(arm="ACQ", shape=(128, 128))
    with fits.open(raw.frames[2]) as hdus:
        header = hdus[0].header
        for keyword in ("CHECKSUM", "DATASUM", "BZERO", "BSCALE"):
            header.remove(keyword, ignore_missing=True)
        data = np.full(hdus[0].data.shape, value, np.uint16)
    raw.frames[2].unlink()
    fits.PrimaryHDU(data, header).writeto(raw.frames[2])
    with pytest.raises(FrameError, match="is dead or saturated") as refusal:
        soxs_mdark(raw.sof, output_dir=tmp_path / "out").produce_product()
    assert [raw.frames[2].name in line for line in refusal.value.faults] == [True]
    assert not (tmp_path / "out").exists()


def test_a_saturated_block_has_its_code_whatever_the_detector(simulated, tmp_path):
    raw, _ = simulated(shape=(128, 128), frames=3)
    for path in raw.frames:
        with fits.open(path) as hdus:
            data, header = hdus[0].data.copy(), hdus[0].header.copy()
        data[40:50, 40:50] = 65535
        for keyword in ("CHECKSUM", "DATASUM"):
            header.remove(keyword)
        fits.PrimaryHDU(data, header).writeto(path, overwrite=True)
    product = soxs_mdark(raw.sof, output_dir=tmp_path).produce_product()
    assert (product.frame.flags[36:46, 36:46] & 4096 > 0).all()
    assert {qc["name"]: qc["value"] for qc in product.qc_records()}["SATPIX NUM"] == 100


def test_missing_samples_become_codes(simulated, tmp_path):
    raw, _ = simulated(arm="ACQ", shape=(128, 128))
    for path in raw.frames:
        with fits.open(path) as hdus:
            data = hdus[0].data.astype(np.float32)
            data[30, 40] = np.nan
            data[50, 60] = np.inf if path == raw.frames[0] else data[50, 60]
            header = hdus[0].header
            for keyword in ("BZERO", "BSCALE", "CHECKSUM", "DATASUM"):
                header.remove(keyword, ignore_missing=True)
            fits.PrimaryHDU(data, header).writeto(path.with_name("nan-" + path.name))
    frames = [path.with_name("nan-" + path.name) for path in raw.frames]
    product = soxs_mdark(frames, output_dir=tmp_path).produce_product()
    with fits.open(product.path) as hdus:
        assert hdus["QUAL"].data[30, 40] == 2**30
        assert hdus["NCOMBINE"].data[30, 40] == 0
        assert all(np.isnan(hdus[name].data[30, 40]) for name in ("FLUX", "ERRS", "NOISE"))
        assert hdus["NCOMBINE"].data[50, 60] == 4
        assert hdus["QUAL"].data[50, 60] & 2**30 == 0
    values = {qc["name"]: qc["value"] for qc in product.qc_records()}
    assert values["INVALID FRAC"] == pytest.approx((5 + 1) / (5 * 128 * 128))


@pytest.mark.slow
def test_ten_full_nir_frames_against_the_truth(tmp_path):
    """The promise of the recipe on the real size: unbiased, honest errors, hot pixels found and kept."""
    simulation = DarkSimulation(read_noise_spread=0.0)
    raw = simulate_darks(tmp_path / "raw", simulation)
    product = soxs_mdark(raw.sof, output_dir=tmp_path / "out").produce_product()
    detector = SimulatedDetector(simulation)
    inside = (slice(4, 2044), slice(4, 2044))
    level = np.mean([detector.level_e(i) for i in range(simulation.frames)])
    expected = (detector.dark_e + detector.pedestal_e)[inside] + level
    codes, hot_e = detector.codes[inside], detector.hot_e[inside]
    flags, error = product.frame.flags, product.frame.uncertainty.array
    residual = product.frame.data - expected
    clean = (codes == 0) & (flags == 0)
    assert abs(residual[clean].mean()) < 0.02
    assert 0.97 < np.std((residual / error)[clean]) < 1.03
    assert np.count_nonzero(flags[codes == 0]) / codes.size < 20e-6
    bright = (hot_e > 12 * np.median(error)) & (codes == 256)
    assert bright.sum() > 10000
    assert (flags[bright] & 256 > 0).all()
    unsaturated = bright & (hot_e < 1e5)
    assert 0.99 < np.median((residual + hot_e)[unsaturated] / hot_e[unsaturated]) < 1.01
