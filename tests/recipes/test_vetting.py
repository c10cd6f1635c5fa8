"""The recipes vet their frames: warn, leave out or neither, in product, JSON and log."""

import json

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.recipes import soxs_mbias, soxs_mdark
from soxspipe.recipes.rerun import rerun

NIR = {"arm": "NIR", "shape": (264, 264), "row_noise_e": 0.0, "seed": 3}


def with_leak(raw, index):
    """Add light of 40 electron to a part of a frame, and return the frame's name."""
    path = raw.frames[index]
    with fits.open(path, mode="update") as hdus:
        hdus[0].data[60:160, 90:200] += 17
    return path.name


def reduce(raw, tmp_path, mode, recipe=soxs_mdark, section="soxs-mdark", **options):
    settings = {section: {"vet-frames": mode, **options}}
    product = recipe(raw.sof, settings, output_dir=tmp_path / mode, workers=1).produce_product()
    with fits.open(product.path) as hdus:
        header, count = hdus[0].header.copy(), hdus["NCOMBINE"].data.copy()
    return product, header, count, json.loads(product.files["qc"].read_text())


def test_a_light_leak_is_a_warning_that_names_the_frame(simulated, tmp_path):
    raw, _ = simulated(**NIR)
    name = with_leak(raw, 2)
    product, header, count, document = reduce(raw, tmp_path, "warn")
    (line,) = [line for line in product.warnings if "probably has" in line]
    assert line.startswith(f"{name}: probably has a light leak")
    assert (header["ESO QC VET NUM"], header["ESO QC VET EXCLUDED"]) == (1, 0)
    assert "ESO QC VET FRAME" not in header
    assert count.max() == header["ESO PRO DATANCOM"] == 5
    assert [frame["name"] for frame in document["frames"]] == [path.name for path in raw.frames]
    assert [bool(frame["findings"]) for frame in document["frames"]] == [False, False, True, False, False]
    assert document["frames"][2]["box_rms_e"] > 10 * document["frames"][1]["box_rms_e"]
    text = product.files["log"].read_text()
    assert all(f"{path.name}: box rms" in text for path in raw.frames)
    assert line in text


def test_the_frame_is_left_out_on_request_and_the_product_says_so(simulated, tmp_path):
    raw, _ = simulated(**NIR)
    name = with_leak(raw, 2)
    product, header, count, document = reduce(raw, tmp_path, "exclude")
    assert count.max() == header["ESO PRO DATANCOM"] == 4
    assert (header["ESO QC VET EXCLUDED"], header["ESO QC VET FRAME"]) == (1, name)
    assert header["ESO PRO REC1 RAW3 NAME"] == name
    assert [frame["excluded"] for frame in document["frames"]] == [False, False, True, False, False]
    (line,) = [line for line in product.warnings if "probably has" in line]
    assert line.endswith("it was left out of the stack (vet-frames: exclude)")
    assert "is left out: the other frames are stacked" in product.files["log"].read_text()
    raw.frames[2].rename(raw.frames[2].with_suffix(".bad"))
    others = [path for path in raw.frames if path.exists()]
    without = soxs_mdark(others, output_dir=tmp_path / "without", workers=1).produce_product()
    assert np.array_equal(product.frame.data, without.frame.data, equal_nan=True)
    assert np.array_equal(product.frame.flags, without.frame.flags)


def test_a_rerun_leaves_the_same_frame_out(simulated, tmp_path):
    raw, _ = simulated(**NIR)
    with_leak(raw, 4)
    product, *_ = reduce(raw, tmp_path, "exclude")
    again = rerun(product.path, raw.sof.parent, tmp_path / "again", workers=1)
    assert again.same_pixels
    assert again.keywords == ()


@pytest.mark.parametrize(("frames", "options"), [(4, {}), (5, {"minimum-frames": 5})])
def test_no_frame_is_left_out_of_few(simulated, tmp_path, frames, options):
    raw, _ = simulated(**{**NIR, "frames": frames})
    name = with_leak(raw, 1)
    product, header, count, _ = reduce(raw, tmp_path, "exclude", **options)
    assert count.max() == header["ESO PRO DATANCOM"] == frames
    assert header["ESO QC VET EXCLUDED"] == 0
    assert any(line.startswith(f"{name}: ") and "left out" not in line for line in product.warnings)


def test_without_vetting_there_are_no_figures(simulated, tmp_path):
    raw, _ = simulated(**NIR)
    with_leak(raw, 2)
    product, header, _, document = reduce(raw, tmp_path, "off")
    assert not [line for line in product.warnings if "probably has" in line]
    assert "ESO QC VET NUM" not in header
    assert all("box_ratio" not in frame and "findings" not in frame for frame in document["frames"])


def test_a_warm_frame_is_named_and_its_hot_samples_are_no_cosmic_rays(simulated, tmp_path):
    raw, _ = simulated(**NIR)
    with fits.open(raw.frames[3], mode="update") as hdus:
        hdus[0].header["HIERARCH ESO INS TEMP217 VAL"] += 6.0
    product, header, _, document = reduce(raw, tmp_path, "warn")
    assert any(f"{raw.frames[3].name}: is warmer than the others by 6.0 K" in line for line in product.warnings)
    assert any("QC DETECTOR TEMP RANGE is 6" in line for line in product.warnings)
    assert "ESO QC CRRATE" not in header
    assert document["frames"][3]["temperature_k"] == pytest.approx(6.0, abs=0.2)


def test_frames_of_another_epoch_are_named(simulated, tmp_path):
    raw, _ = simulated(**NIR)
    with fits.open(raw.frames[0], mode="update") as hdus:
        hdus[0].header["MJD-OBS"] -= 700
        hdus[0].header["DATE-OBS"] = "2024-03-31T10:00:00"
    product, header, *_ = reduce(raw, tmp_path, "warn")
    assert any("was taken 700 days before the others" in line for line in product.warnings)
    assert header["ESO QC TIME SPAN"] == pytest.approx(700, abs=1)


def test_biases_are_vetted_too(simulated, tmp_path):
    raw, _ = simulated(arm="VIS", kind="BIAS", shape=(256, 400), seed=4)
    name = with_leak(raw, 1)
    product, header, count, _ = reduce(raw, tmp_path, "exclude", soxs_mbias, "soxs-mbias")
    assert count.max() == 4
    assert header["ESO QC VET FRAME"] == name
    assert any(line.startswith(f"{name}: probably has a light leak") for line in product.warnings)
