"""Masters verified with raw frames in files, and two masters compared."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.cli import command_line
from soxspipe.exceptions import FrameError, InputError, MixedFramesError
from soxspipe.products.compare import compare_files
from soxspipe.products.load_master import load_master
from soxspipe.recipes import soxs_mbias, soxs_mdark
from soxspipe.recipes.verify import verify_master
from soxspipe.simulation import DarkSimulation, simulate_darks

NIR = {"shape": (136, 136), "frames": 5, "detector_seed": 1}
VIS = {"arm": "VIS", "shape": (128, 200), "frames": 5, "detector_seed": 1, "exptime_s": 600.0}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Return folders of raw NIR darks of two nights, and their master darks."""
    folder = tmp_path_factory.mktemp("nights")
    raw = [simulate_darks(folder / f"raw{i}", DarkSimulation(**NIR, seed=i)) for i in (1, 2)]
    return raw, [soxs_mdark(raw[i].sof, output_dir=folder / f"out{i}").produce_product().path for i in (0, 1)]


@pytest.fixture(scope="module")
def with_bias(tmp_path_factory):
    """Return raw VIS darks of two nights, the master bias and the master dark of the first."""
    folder = tmp_path_factory.mktemp("vis")
    biases = simulate_darks(folder / "bias", DarkSimulation(**VIS | {"kind": "BIAS"}, seed=9))
    bias = soxs_mbias(biases.sof, output_dir=folder / "out").produce_product().path
    raw = [simulate_darks(folder / f"raw{i}", DarkSimulation(**VIS, seed=i)) for i in (1, 2)]
    master = soxs_mdark([raw[0].sof, bias], output_dir=folder / "out").produce_product().path
    return raw, bias, master


def failed(verified):
    return {(name, check.criterion) for name, check in verified.verification.failed}


def test_frames_of_the_master_are_recognised_and_have_pulls_of_one(nights):
    raw, (master, _) = nights
    for sof, in_master in ((raw[0].sof, True), (raw[1].sof, False)):
        verified = verify_master(master, [sof])
        assert verified.verification.passed, verified.verification.failed
        frames = verified.verification.frames[:5]
        assert [frame.in_master for frame in frames] == [in_master] * 5
        assert np.mean([frame.pull for frame in frames]) == pytest.approx(1, abs=0.02)


def test_a_renamed_frame_of_the_master_is_recognised_by_its_data(nights, tmp_path):
    raw, (master, _) = nights
    renamed = tmp_path / "another.fits"
    renamed.write_bytes(raw[0].frames[2].read_bytes())
    (frame,) = verify_master(master, [renamed]).verification.frames
    assert frame.in_master


def test_a_faulty_frame_fails_with_its_name(nights, tmp_path):
    raw, (master, _) = nights
    paths = []
    for i, path in enumerate(raw[1].frames):
        with fits.open(path) as hdus:
            data = hdus[0].data.astype(float)
            if i == 3:
                data += np.random.default_rng(1).normal(0, 3, data.shape)
            hdus[0].data = np.clip(np.rint(data), 0, 65535).astype(np.uint16)
            hdus.writeto(tmp_path / path.name)
        paths.append(tmp_path / path.name)
    assert failed(verify_master(master, paths)) == {(paths[3].name, "noise")}


def test_frames_are_prepared_with_the_master_bias_of_the_master(with_bias):
    raw, _, master = with_bias
    for one, in_master in zip(raw, (True, False), strict=True):
        verified = verify_master(master, [one.sof])
        assert verified.verification.passed, verified.verification.failed
        frame = verified.verification.frames[0]
        assert frame.in_master is in_master
        assert frame.pull == pytest.approx(1, abs=0.03)
        assert frame.worst("overscan").value == pytest.approx(1, abs=0.04)


def test_the_master_bias_is_found_or_asked_for(with_bias, tmp_path):
    raw, bias, master = with_bias
    alone = tmp_path / "alone" / master.name
    alone.parent.mkdir()
    alone.write_bytes(master.read_bytes())
    with pytest.raises(InputError, match=f"CAL1 {bias.name}: is not in .*give its folder with --calibrations"):
        verify_master(alone, [raw[0].sof])
    assert verify_master(alone, [raw[0].sof], calibrations_dir=bias.parent).verification.passed
    assert verify_master(master, [raw[0].sof, bias]).verification.passed


def test_a_master_bias_is_verified_with_biases(with_bias):
    raw, bias, _ = with_bias
    biases = raw[0].sof.parent.parent / "bias" / "bias.sof"
    verified = verify_master(bias, [biases])
    assert verified.verification.passed, verified.verification.failed
    assert all(frame.in_master for frame in verified.verification.frames)


def test_frames_of_another_exposure_or_detector_are_refused_with_the_key(nights, with_bias, tmp_path):
    _, (master, _) = nights
    longer = simulate_darks(tmp_path / "longer", DarkSimulation(**NIR, exptime_s=600.0))
    with pytest.raises(MixedFramesError, match=r"ESO QC EXPOSURE is 300.0, expected 600.0 as in the frames") as caught:
        verify_master(master, [longer.sof])
    assert len(caught.value.faults) == 1
    with pytest.raises(
        MixedFramesError, match="ESO PRO CATG is 'MASTER_DARK_NIR', expected 'MASTER_DARK_VIS'"
    ) as caught:
        verify_master(master, [with_bias[0][0].sof])
    assert len(caught.value.faults) == 1


def test_limits_come_from_the_settings_of_the_arm(nights):
    raw, (master, _) = nights
    for arm, found in (("NIR", {"level"}), ("VIS", set())):
        verified = verify_master(master, [raw[1].sof], {"verify": {arm: {"level": 0.001}}})
        assert {criterion for _, criterion in failed(verified)} == found


def test_a_raw_frame_or_a_map_is_no_master(nights):
    raw, (master, _) = nights
    with pytest.raises(FrameError, match="ESO PRO CATG is missing, expected the main product of mdark or mbias"):
        load_master(raw[0].frames[0])
    with pytest.raises(FrameError, match="ESO PRO CATG"):
        load_master(master.with_name(f"{master.stem}_BPMAP.fits"))


def test_two_nights_are_compared(nights):
    _, (first, second) = nights
    compared = compare_files(first, second)
    assert compared.images.width == pytest.approx(1, abs=0.05)
    assert compared.images.n_shared == 0
    assert not compared.changes.births + compared.changes.deaths
    values = {value.name: value for value in compared.quality}
    assert values["RON RAW"].difference == pytest.approx(values["RON RAW"].second - values["RON RAW"].first)
    assert values["RON RAW"].unit == "electron"
    assert values["PEDESTAL"].difference is None
    assert compared.parameters == ()


def test_a_birth_in_the_raw_frames_is_found_at_its_place(nights, tmp_path):
    raw, (first, _) = nights
    rng = np.random.default_rng(3)
    paths = []
    for path in raw[1].frames:
        with fits.open(path) as hdus:
            hdus[0].data[40, 60] += rng.poisson(120) // 2
            hdus.writeto(tmp_path / path.name)
        paths.append(tmp_path / path.name)
    second = soxs_mdark(paths, output_dir=tmp_path / "out").produce_product().path
    (birth,) = compare_files(first, second).changes.births
    assert (birth.x, birth.y) == (57, 37)  # 4 reference pixels are trimmed, and FITS counts from 1
    assert birth.rate_change == pytest.approx(60 * 2.3 / 300, rel=0.15)


def test_a_rerun_of_the_same_frames_shares_them(nights, tmp_path):
    raw, (first, _) = nights
    settings = {"soxs-mdark": {"stacked-clipping-sigma": 4.0}}
    again = soxs_mdark(raw[0].sof, settings, tmp_path).produce_product().path
    compared = compare_files(first, again)
    assert compared.images.n_shared == 5
    assert compared.images.width < 0.1
    assert compared.parameters == ("parameter stacked-clipping-sigma: 5.0 and 4.0",)


def test_masters_of_different_exposure_are_refused(nights, tmp_path):
    _, (first, _) = nights
    longer = simulate_darks(tmp_path / "raw", DarkSimulation(**NIR, exptime_s=600.0))
    other = soxs_mdark(longer.sof, output_dir=tmp_path / "out").produce_product().path
    with pytest.raises(MixedFramesError, match=r"ESO QC EXPOSURE is 600.0, expected 300.0 as in"):
        compare_files(first, other)


def test_the_images_of_a_turned_product_have_raw_orientation(tmp_path):
    made = simulate_darks(tmp_path, DarkSimulation(instrument="XSHOOTER", arm="NIR", shape=(200, 136), frames=3))
    product = soxs_mdark(made.sof, output_dir=tmp_path / "out").produce_product()
    images = load_master(product.path).images
    assert images.rot90_count
    row, column = 20, 30
    x, y = images.position(row, column)
    assert product.frame.data[y - 1, x - 1] == images.values_e[row, column]
    assert replace(images, rot90_count=0).position(row, column) == (31, 21)


# ---- command line ----


def test_verify_prints_a_table_and_a_document(nights, tmp_path, capsys):
    raw, (master, _) = nights
    arguments = ["verify", str(master), str(raw[1].sof), "--workers=1"]
    assert command_line.main([*arguments, "--strict"]) == 0
    out = capsys.readouterr().out
    assert raw[1].frames[0].name in out
    assert "mean of 5 frames" in out
    assert out.splitlines()[-1].startswith("verdict: PASS (")
    written = tmp_path / "verdict.json"
    assert command_line.main([*arguments, "--json", f"--output={written}"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads(written.read_text())
    assert (document["verdict"], len(document["frames"])) == ("PASS", 6)
    assert command_line.main([*arguments, f"--output={written}"]) == 2
    assert "choose another name, or --overwrite" in capsys.readouterr().err


def test_verify_ends_with_3_where_a_criterion_is_not_met_and_strict(nights, tmp_path, capsys):
    raw, (master, _) = nights
    settings = tmp_path / "s.yaml"
    settings.write_text("verify:\n  level: 0.001\n")
    arguments = ["verify", str(master), str(raw[1].sof), f"--settings={settings}"]
    assert command_line.main(arguments) == 0
    out = capsys.readouterr().out
    assert "verdict: FAIL (" in out
    assert ": level of amplifier " in out
    assert command_line.main([*arguments, "--strict"]) == 3


def test_compare_prints_the_differences_and_a_document(nights, capsys):
    _, (first, second) = nights
    assert command_line.main(["compare", str(first), str(second)]) == 0
    out = capsys.readouterr().out
    for words in ("width of the differences", "blocks that differ most", "pixel codes", " births, ", "RON RAW"):
        assert words in out
    assert command_line.main(["compare", str(first), str(second), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"first", "second", "differences", "changes", "qc", "parameters"}
