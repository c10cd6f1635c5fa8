import hashlib
import json
import shutil

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from soxspipe.cli import command_line
from soxspipe.exceptions import (
    FrameError,
    InputError,
    MixedFramesError,
    ProductExistsError,
    SetOfFilesError,
    TooFewFramesError,
    TooFewPixelsError,
)
from soxspipe.inputs.masters import collect_masters
from soxspipe.pixel_codes import PixelCode
from soxspipe.recipes import soxs_dark_current, soxs_mdark
from soxspipe.simulation import DarkSimulation, SimulatedDetector, simulate_darks

EXPOSURES_S = (60.0, 300.0, 900.0)
RATE_E_PER_S = 0.005


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Reduce three sets of darks of one NIR detector: the masters, the raw frames, and the true rates and codes."""
    folder = tmp_path_factory.mktemp("darks")
    masters, raws, detectors = [], [], []
    for number, exptime_s in enumerate(EXPOSURES_S):
        simulation = DarkSimulation(
            shape=(128, 200), frames=5, exptime_s=exptime_s, detector_seed=7, seed=10 + number, hot_fraction=0.01,
            hot_range_e_per_s=(0.05, 1000.0), start=f"2026-03-0{number + 1}T10:00:00",
        )  # fmt: skip
        raw = simulate_darks(folder / f"raw-{exptime_s:g}", simulation)
        masters.append(soxs_mdark(raw.sof, output_dir=folder).produce_product().path)
        raws.append(raw)
        detectors.append(SimulatedDetector(simulation))
    inside = detectors[0].geometry.science
    window = np.s_[inside.y0 : inside.y1, inside.x0 : inside.x1]
    # glow is the same at any exposure: it belongs to the offset
    rate = (detectors[2].dark_e - detectors[0].dark_e)[window] / (EXPOSURES_S[2] - EXPOSURES_S[0])
    ceiling_e = detectors[0].physics.ceiling_adu * detectors[0].physics.conad_e_per_adu
    return {
        "masters": masters, "raws": raws, "rate": rate, "codes": detectors[0].codes[window],
        "saturates": (detectors[2].dark_e + detectors[2].pedestal_e)[window] > ceiling_e,
    }  # fmt: skip


@pytest.fixture(scope="module")
def product(sets, tmp_path_factory):
    return soxs_dark_current(sets["masters"], output_dir=tmp_path_factory.mktemp("rate")).produce_product()


@pytest.fixture
def masters(sets, tmp_path):
    """Copies that a test may change."""
    return [shutil.copy(path, tmp_path / path.name) for path in sets["masters"]]


def change(path, planes=None, **keywords):
    """Change keywords (``__`` for a blank), or pixels: {plane: {(y, x): value}}."""
    with fits.open(path, mode="update") as hdus:
        for keyword, value in keywords.items():
            name = keyword.replace("__", " ")
            if value is None:
                del hdus[0].header[name]
            else:
                hdus[0].header[name] = value
        for plane, pixels in (planes or {}).items():
            if plane == "QUAL":  # 16 bits may not hold the new codes
                hdus[plane].data = hdus[plane].data.astype(np.int32)
            for pixel, value in pixels.items():
                hdus[plane].data[pixel] = value


def values_of(product):
    return {qc["name"]: qc["value"] for qc in product.qc_records()}


def refusal(kind, masters, tmp_path):
    with pytest.raises(kind) as caught:
        soxs_dark_current(masters, output_dir=tmp_path / "refused").produce_product()
    assert type(caught.value) is kind
    assert not (tmp_path / "refused").exists()
    assert all("\n" not in fault for fault in caught.value.faults)
    return caught.value.faults


# ---- against the truth ----


def test_rates_and_their_errors(sets, product):
    good = (sets["codes"] == 0) & (product.frame.flags == 0)
    assert good.mean() > 0.97
    pull = ((product.frame.data - sets["rate"]) / product.frame.uncertainty.array)[good]
    assert 0.97 < np.std(pull) < 1.03
    assert np.mean(np.abs(pull - np.mean(pull)) > 3) == pytest.approx(0.0027, abs=0.0012)


def test_the_dark_current_of_the_detector_is_within_its_error(product):
    values = values_of(product)
    assert abs(values["DARK RATE"] - RATE_E_PER_S) < 2 * values["DARK RATE ERR"]
    # far above what the noise of the pixels averages to: frames drift
    assert values["DARK RATE ERR"] > 50 * np.nanmedian(product.frame.uncertainty.array) / np.sqrt(
        product.frame.data.size
    )
    limit = product.qc[product.qc["name"] == "DARK LIMIT"]
    assert (limit["value"][0], limit["passed"][0]) == (RATE_E_PER_S, True)


def test_hot_pixels_have_their_rates(sets, product):
    hot = (sets["codes"] == 256) & ~sets["saturates"]
    assert hot.sum() > 150
    assert not (product.frame.flags[hot] & PixelCode.NONLINEAR.value).any()
    common = values_of(product)["DARK RATE"] - RATE_E_PER_S
    found, error = product.frame.data[hot] - common, product.frame.uncertainty.array[hot]
    pull = (found - sets["rate"][hot]) / error
    assert np.median(found / sets["rate"][hot]) == pytest.approx(1, abs=0.003)
    assert np.std(pull) < 1.15
    assert np.abs(pull).max() < 5
    for level, name in ((0.1, "HOTPIX ABS2"), (1.0, "HOTPIX ABS3")):
        seen = np.isfinite(product.frame.data) & (sets["rate"] > level)
        assert values_of(product)[name] == pytest.approx(np.count_nonzero(seen), rel=0.05)


def test_masters_in_which_a_pixel_saturates_take_no_part_and_no_good_one_is_coded(sets, product):
    nonlinear = product.frame.flags & PixelCode.NONLINEAR.value > 0
    assert not nonlinear[(sets["codes"] & 1024 == 0)].any()
    assert values_of(product)["NONLIN NUM"] == nonlinear.sum()
    saturates = sets["saturates"]
    lost = product.frame.flags[saturates] & PixelCode.NO_DATA.value > 0
    assert 5 < lost.sum() < saturates.sum()
    assert np.isnan(product.frame.data[saturates][lost]).all()
    # where only the longest exposure saturates, the others tell the rate
    found, truth = product.frame.data[saturates][~lost], sets["rate"][saturates][~lost]
    assert np.median(found / truth) == pytest.approx(1, abs=0.003)


def test_curvature_and_steps_are_found(masters, product, tmp_path):
    quiet = np.argwhere(product.frame.flags == 0)[500:540]
    with fits.open(masters[1]) as hdus:
        bent = {(y, x): hdus["FLUX"].data[y, x] + 12 * hdus["ERRS"].data[y, x] for y, x in map(tuple, quiet)}
    change(masters[1], {"FLUX": bent})
    flags = soxs_dark_current(masters, output_dir=tmp_path / "out").produce_product().frame.flags
    found = [bool(flags[pixel] & PixelCode.NONLINEAR.value) for pixel in bent]
    assert np.mean(found) > 0.95
    wide = {"dark-current": {"nonlinear-sigma": 15.0}}
    flags = soxs_dark_current(masters, wide, tmp_path / "wide").produce_product().frame.flags
    assert not any(flags[pixel] & PixelCode.NONLINEAR.value for pixel in bent)


@pytest.mark.parametrize(
    ("instrument", "arm", "binning", "short_s", "long_s"),
    [
        ("SOXS", "VIS", (1, 1), 600.0, 3600.0),
        ("SOXS", "ACQ", (1, 1), 10.0, 100.0),
        ("XSHOOTER", "UVB", (2, 1), 600.0, 3600.0),
        ("XSHOOTER", "NIR", (1, 1), 60.0, 600.0),
    ],
)
def test_other_arms(tmp_path, instrument, arm, binning, short_s, long_s):
    masters, dark_e = [], []
    for number, exptime_s in enumerate((short_s, long_s)):
        simulation = DarkSimulation(
            instrument=instrument, arm=arm, binning=binning, shape=(150, 260), frames=3, exptime_s=exptime_s,
            detector_seed=7, seed=20 + number, hot_range_e_per_s=(0.1, 5.0), start=f"2026-03-0{number + 1}T10:00:00",
        )  # fmt: skip
        raw = simulate_darks(tmp_path / f"raw-{exptime_s:g}", simulation)
        masters.append(soxs_mdark(raw.sof, output_dir=tmp_path).produce_product().path)
        detector = SimulatedDetector(simulation)
        window = detector.geometry.science
        truth = detector.dark_e[window.y0 : window.y1, window.x0 : window.x1]
        dark_e.append(detector.geometry.to_product(truth))
    found = collect_masters(masters)
    assert (found.arm, found.binning) == (arm, binning)
    assert len(found.regions) == len(detector.geometry.amplifiers)
    product = soxs_dark_current(masters, output_dir=tmp_path).produce_product()
    rate = (dark_e[1] - dark_e[0]) / (long_s - short_s)
    good = (product.frame.flags == 0) & (rate < 0.05)
    pull = ((product.frame.data - rate) / product.frame.uncertainty.array)[good]
    # telegraph pixels, and faint cosmic rays in three frames, are not known to a truth that is a rate
    assert np.std(pull[np.abs(pull - np.median(pull)) < 5]) == pytest.approx(1, abs=0.03)
    values = values_of(product)
    assert abs(values["DARK RATE"] - np.median(rate)) < 4 * values["DARK RATE ERR"]
    mode = fits.getheader(product.path)
    assert mode["ESO PRO CATG"] == f"DARK_RATE_{arm}"
    assert ("ESO DET3 CAM NAME" in mode) == (arm == "ACQ")


def test_the_specification_is_that_of_a_pixel_as_binned(masters):
    for path in masters:
        change(path, HIERARCH__ESO__DET__BINX=2)
    assert collect_masters(masters).dark_current_limit_e_per_s == 2 * RATE_E_PER_S


# ---- codes ----


def test_saturated_samples_and_those_without_data_take_no_part(masters, tmp_path):
    change(masters[2], {"QUAL": {(5, 5): 4096, (5, 6): 4096 | 256, (5, 7): 4096}, "FLUX": {(5, 5): 9e4, (5, 6): 9e4}})
    change(masters[1], {"QUAL": {(5, 6): 4096, (5, 8): PixelCode.NO_DATA.value}, "FLUX": {(5, 8): np.nan}})
    change(masters[0], {"QUAL": {(5, 7): 4096}})
    product = soxs_dark_current(masters, output_dir=tmp_path).produce_product()
    with fits.open(product.path) as hdus:
        flags, chi2, rate = hdus["QUAL"].data, hdus["CHI2"].data, hdus["FLUX"].data
    for pixel in ((5, 6), (5, 7)):
        assert flags[pixel] == PixelCode.NO_DATA.value
        assert np.isnan([rate[pixel], chi2[pixel]]).all()
    for pixel in ((5, 5), (5, 8)):
        assert flags[pixel] == 0
        assert np.isfinite(rate[pixel])
        assert np.isnan(chi2[pixel])
    assert values_of(product)["NODATA NUM"] == np.count_nonzero(np.isnan(rate))


@pytest.mark.parametrize("error", [0.0, 1e-25, 1e30, np.inf])
def test_a_master_whose_errors_are_no_errors_is_refused_by_name(masters, tmp_path, error):
    with fits.open(masters[1], mode="update") as hdus:
        hdus["ERRS"].data[...] = error
    (fault,) = refusal(TooFewPixelsError, masters, tmp_path)
    assert fault.startswith("0 pixels of the sample are good in all master darks, expected at least 200 ")
    assert f"{masters[1].name} 0," in fault


def test_samples_whose_errors_are_no_errors_take_no_part(masters, product, tmp_path):
    pixel = tuple(np.argwhere(fits.getdata(product.path, "QUAL") == 0)[0])
    change(masters[0], {"ERRS": {pixel: 0.0}})
    with fits.open(soxs_dark_current(masters, output_dir=tmp_path / "out").produce_product().path) as hdus:
        assert np.isfinite(hdus["FLUX"].data[pixel])
        assert hdus["CHI2"].data[pixel] != hdus["CHI2"].data[pixel]  # two masters are left: no chi-square


def test_codes_are_carried_where_all_masters_have_them(masters, product, tmp_path):
    y, x = np.argwhere(product.frame.flags == 0)[100]
    for number, path in enumerate(masters):
        codes = {
            (y, x): 128,
            (y, x + 1): 256 if number == 2 else 0,
            (y, x + 2): 256 | 512 * (number > 0),
            (y, x + 3): 32 if number == 1 else 0,
            (y, x + 4): 4096 if number == 2 else 1024,
        }
        change(path, {"QUAL": codes})
    flags = soxs_dark_current(masters, output_dir=tmp_path).produce_product().frame.flags
    assert list(flags[y, x : x + 5]) == [128, 0, 256, 32, 1024]


# ---- the product ----


def test_two_masters_say_that_nothing_was_tested(sets, tmp_path):
    product = soxs_dark_current(sets["masters"][::2], output_dir=tmp_path).produce_product()
    with fits.open(product.path) as hdus:
        assert np.isnan(hdus["CHI2"].data).all()
        header = hdus[0].header
    assert header["ESO QC NONLIN TESTED"] is False
    assert "ESO QC CHI2 MEDIAN" not in header
    assert "ESO QC NONLIN NUM" not in header
    assert not (product.frame.flags & PixelCode.NONLINEAR.value).any()
    assert json.loads(product.files["qc"].read_text())["qc"] == product.qc_records()


def test_headers_and_planes(sets, product):
    assert product.path.name == "20260301T100000_NIR_1_DRATE_SOXS.fits"
    assert sorted(path.name.removeprefix(product.path.stem) for path in product.files.values()) == [
        ".fits", ".log", "_qc.json",
    ]  # fmt: skip
    with fits.open(product.path, checksum=True) as hdus:
        assert [(hdu.name, hdu.data.dtype.name, hdu.header.get("BUNIT", "")) for hdu in hdus] == [
            ("FLUX", "float32", "electron/s"), ("QUAL", "int32", ""), ("ERRS", "float32", "electron/s"),
            ("OFFSET", "float32", "electron"), ("OFFSERR", "float32", "electron"), ("CHI2", "float32", ""),
        ]  # fmt: skip
        header = hdus[0].header
        digest = hashlib.md5(b"".join(hdu.data.tobytes() + bytes(-hdu.data.nbytes % 2880) for hdu in hdus))
        assert header["DATAMD5"] == digest.hexdigest()
        assert hdus["ERRS"].header["SCIDATA"] == "FLUX"
    expected = {
        "ESO PRO CATG": "DARK_RATE_NIR",
        "ESO PRO TECH": "IMAGE",
        "ESO PRO ANCESTOR": "SOXS.2026-03-01T10:00:00.000.fits",
        "ESO PRO DATANCOM": 3,
        "ESO PRO REC1 ID": "soxs_dark_current",
        "ESO PRO REC1 RAW1 NAME": sets["masters"][0].name,
        "ESO PRO REC1 RAW3 NAME": sets["masters"][2].name,
        "ESO PRO REC1 RAW3 CATG": "MASTER_DARK_NIR",
        "ESO PRO REC1 PARAM1 NAME": "nonlinear-sigma",
        "ESO PRO REC1 PARAM1 VALUE": "5.0",
        "ESO QC PEDESTAL": "nothing",
        "ESO QC EXPTIME MAX": 900.0,
        "PIPEFILE": product.path.name,
        "ESO TPL ID": "SOXS_gen_cal_NIRDark",
    }
    assert {keyword: header[keyword] for keyword in expected} == expected
    for keyword in ("EXPTIME", "ESO DET DIT", "ESO DET NDIT"):  # they differ between the masters
        assert keyword not in header
    assert header["MJD-END"] == fits.getheader(sets["masters"][2])["MJD-END"]
    assert header["ESO QC DARK RATE"] == pytest.approx(values_of(product)["DARK RATE"], rel=1e-7)


def test_the_product_reads_as_ccddata(product):
    read = CCDData.read(product.path, hdu="FLUX", hdu_mask="QUAL", hdu_uncertainty="ERRS", key_uncertainty_type="UTYPE")
    assert read.unit == product.frame.unit == units.electron / units.s
    assert isinstance(read.uncertainty, StdDevUncertainty)
    np.testing.assert_array_equal(read.data, product.frame.data)
    np.testing.assert_array_equal(read.mask.astype(bool), product.frame.mask)
    assert "parameter nonlinear-sigma = 5.0" in product.files["log"].read_text()


def test_the_order_of_the_input_does_not_matter(sets, product, tmp_path):
    folder = tmp_path / "night"
    folder.mkdir()
    raw = sets["raws"][0].frames[0]
    for path in (*sets["masters"], raw):
        shutil.copy(path, folder)
    (tmp_path / "masters.sof").write_text("".join(f"{path} MASTER_DARK_NIR\n" for path in sets["masters"]))
    for number, masters in enumerate(([*reversed(sets["masters"])], folder, tmp_path / "masters.sof")):
        again = soxs_dark_current(masters, output_dir=tmp_path / str(number)).produce_product()
        np.testing.assert_array_equal(again.frame.data, product.frame.data)
        assert [raw.name in line for line in again.warnings] == [True] * (masters == folder)


def test_an_older_product_is_left_alone(sets, tmp_path):
    path = soxs_dark_current(sets["masters"], output_dir=tmp_path).produce_product().path
    before = path.read_bytes()
    with pytest.raises(ProductExistsError):
        soxs_dark_current(sets["masters"], output_dir=tmp_path).produce_product()
    assert path.read_bytes() == before


# ---- a master bias in common ----


def test_the_error_of_a_common_master_bias_is_not_counted_in_the_rate(masters):
    cards = {
        "HIERARCH__ESO__PRO__REC1__CAL1__NAME": "bias.fits",
        "HIERARCH__ESO__PRO__REC1__CAL1__CATG": "MASTER_BIAS_NIR",
    }
    for path in masters:
        change(path, **cards, HIERARCH__ESO__QC__BIAS__NOISE=1.5)
    assert collect_masters(masters).common_error_e == 1.5
    change(masters[1], HIERARCH__ESO__PRO__REC1__CAL1__NAME="other.fits")
    assert collect_masters(masters).common_error_e == 0


# ---- refusals ----


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("INSTRUME", "SHOOT", "INSTRUME is 'XSHOOTER', expected 'SOXS' as in 2 of 3 frames"),
        ("ESO__PRO__CATG", "MASTER_DARK_VIS", "ESO PRO CATG is 'MASTER_DARK_VIS', expected 'MASTER_DARK_NIR' as in 2"),
        ("ESO__DET__CHIP__ID", "another", "ESO DET CHIP ID is 'another', expected 'Teledyne H2RG (sim)' as in 2 of 3"),
        ("HIERARCH__ESO__DET__BINX", 2, "ESO DET BINX is 2, expected 1 as in 2 of 3 frames"),
        ("ESO__DET__READ__CURID", 7, "ESO DET READ CURID is 7, expected 1 as in 2 of 3 frames"),
        ("ESO__QC__PEDESTAL", "master bias", "ESO QC PEDESTAL is 'master bias', expected 'nothing' as in 2 of 3"),
        ("ESO__QC__CONAD", 1.0, "ESO QC CONAD is 1.0, expected 2.3 as in 2 of 3 frames"),
    ],
)
def test_masters_that_do_not_belong_together(keyword, value, words, masters, tmp_path):
    if keyword.endswith("BINX"):
        for path in masters:
            change(path, **{keyword: 1})
    change(masters[1], **{keyword: value})
    (fault,) = refusal(MixedFramesError, masters, tmp_path)
    name = masters[1].name
    assert fault.startswith(f"{name} (input 2): {words}")
    assert fault.endswith(": leave this master out, or fit it in a separate run")


def test_masters_of_another_size(masters, tmp_path):
    with fits.open(masters[1]) as hdus:
        small = fits.HDUList([type(hdu)(hdu.data[:, :100], hdu.header) for hdu in hdus])
        small.writeto(masters[1], overwrite=True)
    (fault,) = refusal(MixedFramesError, masters, tmp_path)
    assert "NAXIS1 x NAXIS2 is '100 x 120', expected '192 x 120'" in fault


@pytest.mark.parametrize(
    ("keyword", "value", "words"),
    [
        ("ESO__QC__PEDESTAL", None, "ESO QC PEDESTAL is missing, expected the subtracted level"),
        ("ESO__QC__EXPOSURE", None, "ESO QC EXPOSURE is missing, expected a number above zero"),
        ("ESO__QC__LEVEL__ERR", 0.0, "ESO QC LEVEL ERR is 0.0, expected a number above zero"),
        ("ESO__PRO__CATG", "BP_MAP_HP_NIR", "ESO PRO CATG is 'BP_MAP_HP_NIR', expected a product with ESO PRO CATG"),
        ("ESO__PRO__CATG", "MASTER_DARK_X", "ESO PRO CATG is 'MASTER_DARK_X', expected one of MASTER_DARK_NIR, MASTER"),
        ("INSTRUME", "HAWKI", "instrument 'HAWKI' is unknown: make a table"),
    ],
)
def test_files_that_are_no_usable_master(keyword, value, words, masters, tmp_path):
    change(masters[1], **{keyword: value})
    (fault,) = refusal(FrameError, masters, tmp_path)
    assert fault.startswith(f"{masters[1].name} (input 2): {words}")


def test_a_master_without_its_errors(masters, tmp_path):
    with fits.open(masters[0]) as hdus:
        fits.HDUList([hdus["FLUX"], hdus["QUAL"]]).writeto(tmp_path / "bare.fits")
    (fault,) = refusal(FrameError, [tmp_path / "bare.fits", *masters[1:]], tmp_path)
    assert fault.startswith("bare.fits (input 1): has no extension ERRS, expected FLUX, ERRS, QUAL: make")


def test_a_raw_frame_among_them(sets, masters, tmp_path):
    raw = sets["raws"][0].frames[0]
    (fault,) = refusal(FrameError, [*masters, raw], tmp_path)
    assert fault == (
        f"{raw.name} (input 4): ESO DPR TYPE is 'DARK', expected a product with ESO PRO CATG 'MASTER_DARK_<ARM>': "
        "reduce such frames with 'soxspipe mdark' first, and give the master dark"
    )


def test_one_exposure_time_only(masters, tmp_path):
    for path in masters:
        change(path, ESO__QC__EXPOSURE=300.0)
    change(masters[2], ESO__QC__EXPOSURE=302.0)
    (fault,) = refusal(TooFewFramesError, masters, tmp_path)
    assert "ESO QC EXPOSURE is 300 and 302, expected two that differ by more than 1 %: add master darks" in fault
    assert masters[2].name in fault


@pytest.mark.parametrize("number", [0, 1])
def test_too_few(number, masters, tmp_path):
    if not number:
        (tmp_path / "empty").mkdir()
        shutil.copy(masters[0].parent / masters[0].name, tmp_path / "empty" / "a.fits")
        change(tmp_path / "empty" / "a.fits", ESO__PRO__CATG="FLAT")
    (fault,) = refusal(TooFewFramesError, masters[:1] if number else tmp_path / "empty", tmp_path)
    assert f"{number} master dark{'s' * (1 - number)}, expected at least 2 of different exposures" in fault


def test_the_same_master_twice(masters, tmp_path):
    (fault,) = refusal(SetOfFilesError, [*masters, masters[0]], tmp_path)
    assert fault == f"{masters[0].name} (input 1) and {masters[0].name} (input 4) are the same file: list it once"
    copy = shutil.copy(masters[0], tmp_path / "copy.fits")
    (fault,) = refusal(SetOfFilesError, [*masters, copy], tmp_path)
    assert "copy.fits (input 4) hold the same pixels, DATAMD5 '" in fault
    change(copy, DATAMD5="another")
    (fault,) = refusal(SetOfFilesError, [*masters, copy], tmp_path)
    assert "copy.fits (input 4) were made of the same raw frames, ESO PRO REC1 RAW1 NAME is 'SOXS.2026" in fault


def test_all_faults_are_told_together(sets, masters, tmp_path):
    change(masters[1], ESO__QC__PEDESTAL="master bias", ESO__DET__READ__CURID=7)
    faults = refusal(InputError, [*masters, masters[0], sets["raws"][0].frames[0]], tmp_path)
    assert len(faults) == 4


def test_a_tag_that_says_something_else(masters, tmp_path):
    sof = tmp_path / "masters.sof"
    tags = ("DARK_NIR", "MASTER_DARK_NIR", "")
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in zip(masters, tags, strict=True)))
    (fault,) = refusal(FrameError, sof, tmp_path)
    assert "(masters.sof line 1): tag is 'DARK_NIR', but ESO PRO CATG is 'MASTER_DARK_NIR': correct the tag" in fault


# ---- the command line ----


def test_dark_current_from_end_to_end(sets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["dark-current", *map(str, sets["masters"]), "--output=rates"]
    assert command_line.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["product"] == "rates/20260301T100000_NIR_1_DRATE_SOXS.fits"
    assert set(document["files"]) == {"dark rate", "qc", "log"}
    assert "DARK RATE" in {record["name"] for record in document["qc"]}
    assert command_line.main(arguments) == 2
    assert "exists already and was left alone" in capsys.readouterr().err
    assert command_line.main([*arguments, "--overwrite", "-q"]) == 0
    assert capsys.readouterr() == (f"{document['product']}\n", "")
    raw = str(sets["raws"][0].frames[0])
    assert command_line.main([*arguments, raw, "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["product"] is None
    assert "reduce such frames with 'soxspipe mdark' first, and give the master dark" in err
    assert command_line.main(["dark-current"]) == 2
