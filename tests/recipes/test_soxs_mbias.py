import json

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.cli import command_line
from soxspipe.exceptions import FrameError
from soxspipe.recipes import soxs_mbias, soxs_mdark

#: A CCD whose columns have a pattern, and whose frames all drift.
CCD = {"arm": "VIS", "shape": (256, 400), "detector_seed": 7, "column_e": 3.0}


def biases_of(simulated, **parameters):
    return simulated(folder="bias", **{"kind": "BIAS", "frames": 10, "seed": 2, **CCD, **parameters})


def values_of(product):
    return {qc["name"]: qc["value"] for qc in product.qc_records()}


def test_a_master_bias_has_the_pattern_its_errors_and_its_codes(simulated, tmp_path):
    raw, truth = biases_of(simulated)
    product = soxs_mbias(raw.sof, output_dir=tmp_path / "out").produce_product()
    assert product.path.name == "20260301T100000_VIS_1x1_MBIAS_SOXS.fits"
    assert sorted(product.files) == ["log", "master bias", "qc"]
    with fits.open(product.path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["FLUX", "QUAL", "ERRS", "NOISE", "NCOMBINE"]
        header = hdus[0].header
    assert header["ESO PRO CATG"] == "MASTER_BIAS_VIS"
    assert (header["ESO PRO REC1 ID"], header["ESO PRO REC1 RAW1 CATG"]) == ("soxs_mbias", "BIAS_VIS")
    assert (header["EXPTIME"], header["ESO PRO DATANCOM"]) == (0.0, 10)
    good = (truth["CODES"] == 0) & (product.frame.flags == 0)
    residual = (product.frame.data - truth["PEDESTAL"])[good]
    pull = (residual - residual.mean()) / product.frame.uncertainty.array[good]
    assert np.std(pull) == pytest.approx(1, abs=0.02)


def test_its_quality_values_are_those_of_the_detector(simulated, tmp_path):
    raw, truth = biases_of(simulated)
    product = soxs_mbias(raw.sof, output_dir=tmp_path / "out").produce_product()
    values = values_of(product)
    assert values["RON RAW"] == pytest.approx(np.hypot(3.8, np.sqrt(1 / 12)), rel=0.02)
    assert values["RON MASTER RATIO"] == pytest.approx(1, abs=0.03)
    assert values["BIAS LEVEL"] == pytest.approx(np.median(truth["PEDESTAL"]) + truth["LEVEL"], abs=1.0)
    assert values["COL STRUCT"] == pytest.approx(np.std(np.median(truth["PEDESTAL"], axis=0)), rel=0.1)
    assert values["ROW STRUCT"] < 0.1
    assert values["HOTCOL NUM"] == 0
    assert all(qc["passed"] is not False for qc in product.qc_records())
    document = json.loads(product.files["qc"].read_text())
    assert [qc["name"] for qc in document["qc"]] == list(values)


def test_hot_columns_are_counted(simulated, tmp_path):
    raw, _ = biases_of(simulated, column_e=0.3)
    for path in raw.frames:
        with fits.open(path, mode="update") as hdus:
            hdus[0].data[:, 120] += 5
            hdus[0].data[:, 200] += 50
            for keyword in ("CHECKSUM", "DATASUM"):
                del hdus[0].header[keyword]
    product = soxs_mbias(raw.sof, output_dir=tmp_path / "out").produce_product()
    assert values_of(product)["HOTCOL NUM"] == 2


def test_mdark_takes_it_as_it_comes(simulated, tmp_path):
    biases, _ = biases_of(simulated)
    bias = soxs_mbias(biases.sof, output_dir=tmp_path / "bias").produce_product()
    raw, truth = simulated(exptime_s=1800.0, seed=1, drift_e=0.0, **CCD)
    dark = soxs_mdark([raw.sof.parent, bias.path], output_dir=tmp_path / "dark").produce_product()
    header = dark.frame.header
    assert header["ESO QC PEDESTAL"] == "overscan, master bias"
    assert header["ESO PRO REC1 CAL1 NAME"] == bias.path.name
    assert header["ESO PRO REC1 CAL1 CATG"] == "MASTER_BIAS_VIS"
    assert header["ESO PRO REC1 CAL1 DATAMD5"] == bias.frame.header["DATAMD5"]
    assert values_of(dark)["BIAS NOISE"] == pytest.approx(np.nanmedian(bias.frame.uncertainty.array), rel=1e-5)
    good = (truth["CODES"] == 0) & (dark.frame.flags == 0)
    pull = ((dark.frame.data - truth["DARK"]) / dark.frame.uncertainty.array)[good]
    assert np.std(pull) == pytest.approx(1, abs=0.02)


def test_the_infrared_arm_is_refused_with_the_reason(simulated, tmp_path):
    raw, _ = simulated(frames=3)
    for path in raw.frames:
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["HIERARCH ESO DPR TYPE"] = "BIAS"
            hdus[0].header["EXPTIME"] = 0.0
            for keyword in ("CHECKSUM", "DATASUM"):
                del hdus[0].header[keyword]
    with pytest.raises(FrameError, match=r"NIR': an infrared detector .* has no bias frames"):
        soxs_mbias(raw.frames, output_dir=tmp_path / "out").produce_product()
    assert not (tmp_path / "out").exists()


def test_from_biases_to_a_dark_on_the_command_line(simulated, tmp_path, monkeypatch, capsys):
    biases_of(simulated, shape=(128, 200))
    simulated(folder="vis", seed=1, exptime_s=60.0, **{**CCD, "shape": (128, 200)})
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["mbias", "bias/", "--output=bias"]) == 0
    bias = capsys.readouterr().out.strip()
    assert command_line.main(["mdark", "vis/", bias, "--output=dark"]) == 0
    dark = capsys.readouterr().out.strip()
    assert fits.getheader(dark)["ESO PRO REC1 CAL1 NAME"] == bias.rpartition("/")[2]
    assert command_line.main(["mbias", "vis/"]) == 2
    assert "0 raw biases, expected at least 3" in capsys.readouterr().err
