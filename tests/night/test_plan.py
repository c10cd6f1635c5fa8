import json
import os
import shutil
import time
from pathlib import Path

import pytest
from astropy.io import fits

from soxspipe.cli.command_line import main
from soxspipe.cli.prep import _set_recipes
from soxspipe.inputs.frame_kinds import MASTER_BIAS
from soxspipe.inputs.set_of_files import parse_sof
from soxspipe.night.arrival import complete_sets, damaged_files
from soxspipe.night.attach_calibrations import attach, level_of
from soxspipe.night.find_frames import NightFile, find_frames
from soxspipe.night.group_frames import group_frames, night_of
from soxspipe.night.plan import Plan, make_plan
from soxspipe.settings import Settings
from soxspipe.simulation import DarkSimulation, simulate_darks

from .conftest import checksums

BIAS, VIS = "20260301T090000_VIS_1x1_MBIAS_SOXS", "20260301T100000_VIS_1x1_MDARK_600_0S_SOXS"
NAMES = [
    BIAS,
    "20260301T100000_ACQ_1x1_MDARK_10_0S_SOXS",
    "20260301T100000_NIR_1_MDARK_300_0S_SOXS",
    "20260301T123000_NIR_1_MDARK_20_0S_SOXS",
    "20260303T020000_NIR_1_MDARK_300_0S_SOXS",
    VIS,
]


def plan_of(*folders, output="out", arguments=()):
    assert main(["prep", *map(str, folders), f"--output={output}", "-q", *arguments]) == 0
    return json.loads((Path(output) / "plan.json").read_text())


def frame(mjd, *, run="", exposure_s=10.0, **values):
    return NightFile(f"f{mjd}.fits", "DARK", "", "SOXS", "NIR", mjd, {"EXPTIME": exposure_s, **values}, exposure_s, run)


def test_a_mixed_folder_becomes_one_set_for_each_product(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = checksums(night)
    plan = plan_of(night)
    assert [one["name"] for one in plan["sets"]] == NAMES
    assert [len(one["frames"]) for one in plan["sets"]] == [3] * 6
    assert not any(one["problem"] for one in plan["sets"])
    (bias,) = plan["sets"][-1]["calibrations"]
    assert (bias["category"], bias["quality_level"], bias["made_by_this_plan"]) == ("MASTER_BIAS_VIS", 0, True)
    assert Path(bias["path"]) == tmp_path / "out" / f"{BIAS}.fits"
    assert bias["age_days"] == pytest.approx(1 / 24)
    assert checksums(night) == before


def test_a_bias_and_a_dark_of_one_start_are_two_exposures(tmp_path, monkeypatch):
    # simulate gives both the same start and archive name, if no other one is chosen
    monkeypatch.chdir(tmp_path)
    ccd = {"arm": "VIS", "shape": (64, 200), "frames": 3}
    simulate_darks("raw/bias", DarkSimulation(kind="BIAS", **ccd))
    simulate_darks("raw/dark", DarkSimulation(exptime_s=600.0, **ccd))
    assert [len(one["frames"]) for one in plan_of("raw")["sets"]] == [3, 3]


def test_frames_of_different_temperatures_are_one_set_named_by_their_binning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parameters = {"instrument": "XSHOOTER", "arm": "UVB", "binning": (1, 2), "shape": (96, 250), "frames": 3}
    frames = simulate_darks(tmp_path / "raw", DarkSimulation(**parameters)).frames
    for number, path in enumerate(frames):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["HIERARCH ESO DET OUT1 RON"] = 2.6 + 0.1 * number
    nir = simulate_darks(tmp_path / "nir", DarkSimulation(shape=(128, 128), frames=3, structure=False)).frames
    for number, path in enumerate(nir):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["HIERARCH ESO INS TEMP217 VAL"] = 40.1 + 0.01 * number
    sets = plan_of("raw", "nir")["sets"]
    assert [len(one["frames"]) for one in sets] == [3, 3]
    assert sets[1]["name"] == "20260301T100000_UVB_2x1_MDARK_300_0S_XSHOOTER"


def test_every_file_is_named_with_what_became_of_it(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_of(night)
    reasons = {Path(file["path"]).name: file["reason"] for file in plan["left_out"]}
    assert reasons["notes.txt"] == "not the name of a FITS file"
    assert reasons["flat.fits"] == "FLAT,LAMP"
    assert reasons["truncated.fits"].startswith("truncated: the header promises 38528 bytes, 20000 are there")
    assert reasons["truth.fits"] == "no ESO DPR TYPE"
    # of a file and its link, one is in a set and the other is named
    in_sets = [path for one in plan["sets"] for path in one["frames"]]
    everything = [*in_sets, *(file["path"] for file in plan["left_out"])]
    seen = {path for path in night.rglob("*") if path.is_file() and "again" not in path.parts}
    assert {Path(path).resolve() for path in everything} == {path.resolve() for path in seen}
    assert len(everything) == len(set(everything))
    table = (tmp_path / "out" / "plan.csv").read_text().splitlines()
    assert len(table) == 1 + len(everything)


def test_a_set_of_files_lists_frames_and_calibrations(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spaces = night.rename(tmp_path / "a night's #1 $HOME")
    plan_of(spaces)
    (tmp_path / "out" / f"{BIAS}.fits").touch()  # that the set of biases will make
    entries = parse_sof(tmp_path / "out" / f"{VIS}.sof")
    assert [entry.tag for entry in entries] == ["DARK_VIS"] * 3 + ["MASTER_BIAS_VIS"]
    assert all(entry.path.parent == spaces / "vis" for entry in entries[:3])
    assert "quality level 0 (calibration plan), 0.04 days apart" in (tmp_path / "out" / f"{VIS}.sof").read_text()


def test_a_second_call_reads_only_what_changed(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = plan_of(night)
    read = []
    reader = "soxspipe.night.find_frames._HeaderReader.read"
    monkeypatch.setattr(reader, lambda self, path: read.append(Path(path).name) or NightFile(path, reason="changed"))
    assert plan_of(night) == first
    assert read == []
    changed = sorted((night / "acq").glob("SOXS*.fits"))[0]
    with fits.open(changed, mode="update") as hdus:
        hdus[0].header["OBSERVER"] = "someone else"
    plan_of(night)
    assert read == [changed.name]


def test_a_group_below_the_minimum_is_named(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sorted((night / "acq").glob("SOXS*.fits"))[0].unlink()
    plan = plan_of(night)
    acq = next(one for one in plan["sets"] if one["arm"] == "ACQ")
    assert acq["problem"] == "2 frames, expected at least 3"
    assert acq["notes"] == ["the template has 3 frames, found 2"]
    assert not (tmp_path / "out" / acq["sof"]).exists()


def test_a_match_that_is_missed_names_key_and_both_values(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (night / "bias").glob("SOXS*.fits"):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header["ESO DET OUT1 CONAD"] = 0.6
    plan = plan_of(night)
    vis = next(one for one in plan["sets"] if one["name"] == VIS)
    assert vis["calibrations"] == []
    assert vis["notes"] == [f"no master bias: {BIAS}: ESO DET OUT1 CONAD is 0.6, expected 1.0"]


def test_a_name_with_broken_unicode_is_named_and_blocks_nothing(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (night / os.fsdecode(b"bad\xff.fits")).write_bytes(b"")
    plan = plan_of(night)
    assert [one["name"] for one in plan["sets"]] == NAMES
    (reason,) = [file["reason"] for file in plan["left_out"] if file["path"].endswith("bad\udcff.fits")]
    assert reason == "its path holds a control character or broken unicode: rename it"
    assert "bad\\udcff.fits" in (tmp_path / "out" / "plan.csv").read_text()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"made_with": 1, "files": 2}', '{"made_with": "", "files": {"a": 3}}']
)
def test_known_headers_of_another_form_are_not_used(content, night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    (tmp_path / "out" / "plan_headers.json").write_text(content)
    assert [one["name"] for one in plan_of(night)["sets"]] == NAMES


def test_a_plan_uses_its_own_bias_rather_than_an_older_product_of_the_same_frames(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reduce", str(night / "bias"), f"--output={night}", "-q"]) == 0
    (bias,) = plan_of(night)["sets"][-1]["calibrations"]
    assert Path(bias["path"]) == tmp_path / "out" / f"{BIAS}.fits"


def test_a_set_that_lacks_a_bias_waits_until_all_is_quiet(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(None)
    recipes = _set_recipes(settings)

    def complete(now_s):
        files = find_frames([night], [recipe.kind for recipe in recipes])
        return [one.name for one in complete_sets(make_plan(files, recipes, settings, tmp_path / "out"), 60.0, now_s)]

    acq = next(name for name in NAMES if "ACQ" in name)  # this camera has no bias in the night
    assert complete(time.time()) == [name for name in NAMES if name != acq]
    shutil.rmtree(night / "bias")
    assert complete(time.time()) == [name for name in NAMES if name not in (acq, BIAS, VIS)]
    assert set(complete(time.time() + 61.0)) == set(NAMES) - {BIAS}


def test_a_damaged_file_of_a_watched_folder_is_one_that_is_not_written_any_more(tmp_path):
    now_s = time.time()
    files = [NightFile(str(tmp_path / f"{age_s}.fits"), reason="truncated", is_fault=True) for age_s in (1, 100)]
    for file, age_s in zip(files, (1, 100), strict=True):
        Path(file.path).touch()
        os.utime(file.path, (now_s - age_s, now_s - age_s))
    plan = Plan((), (*files, NightFile(str(tmp_path / "notes.txt"), reason="not the name of a FITS file")))
    assert damaged_files(plan, 60.0) == files[1:]


def test_names_of_products_that_differ_in_case_alone_are_one_name(night, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = iter("ABCDEa")
    monkeypatch.setattr("soxspipe.night.plan.product_stem", lambda *_: next(names))
    problems = {one["name"]: one["problem"] for one in plan_of(night)["sets"]}
    assert [name for name, problem in problems.items() if "another set has a product of the name" in problem] == ["a"]


def test_frames_without_a_template_are_split_at_a_gap_and_at_noon():
    times = [60000.9, 60000.901, 60000.95, 60001.49, 60001.51]
    groups = group_frames(map(frame, times), gap_h=1.0)
    assert [[file.mjd for file in group] for group in groups] == [times[:2], times[2:3], times[3:4], times[4:]]
    assert [[file.mjd for file in group] for group in group_frames(map(frame, times), gap_h=24.0)] == [
        times[:4],
        times[4:],
    ]


def test_frames_of_one_template_stay_together_and_those_of_two_do_not():
    files = [frame(60000.9, run="a"), frame(60001.9, run="a"), frame(60000.91, run="b")]
    assert [[file.mjd for file in group] for group in group_frames(files, 1.0)] == [[60000.9, 60001.9], [60000.91]]


def test_equal_exposure_times_are_one_group():
    files = [frame(60000.9, exposure_s=300.0), frame(60000.91, exposure_s=300.1), frame(60000.92, exposure_s=305.0)]
    assert [len(group) for group in group_frames(files, 1.0)] == [2, 1]


@pytest.mark.parametrize("key", ["ESO DET NDIT", "ESO DET READ CURID", "NAXIS1", "ESO DET OUT1 CONAD"])
def test_frames_that_differ_in_a_key_are_two_groups(key):
    files = [frame(60000.9, **{key: 1}), frame(60000.91, **{key: 2}), frame(60000.92, **{key: 1})]
    assert [len(group) for group in group_frames(files, 1.0)] == [2, 1]


def test_a_night_ends_at_noon():
    assert night_of(60000.51) == night_of(60001.49) == night_of(60000.5)
    assert night_of(60001.5) == night_of(60000.5) + 1


@pytest.mark.parametrize(("age", "level"), [(0, 0), (1.0, 0), (1.1, 1), (3.0, 1), (29, 2), (31, 3)])
def test_the_quality_level_follows_from_the_age(age, level):
    assert level_of(age, (1.0, 3.0, 30.0)) == level


def test_the_nearest_calibration_that_fits_is_attached():
    def bias(path, mjd, arm="VIS", **values):
        return NightFile(path, "MASTER_BIAS", "", "SOXS", arm, mjd, {"BIN": 1, **values})

    wanted = NightFile("", "MASTER_DARK", "", "SOXS", "VIS", 60010.0, {"BIN": 1})
    near = [bias("old", 60000.0), bias("new", 60012.0), bias("other arm", 60010.0, "UVB"), bias("2", 60010.0, BIN=2)]
    found, misses = attach(MASTER_BIAS, wanted, near, (1.0, 3.0, 30.0), ["BIN"])
    assert (found.candidate.path, found.age_days, found.level) == ("new", 2.0, 1)
    assert misses == ["2: BIN is 2, expected 1"]
    assert attach(MASTER_BIAS, wanted, [], (1.0, 3.0, 30.0), ["BIN"]) == (
        None,
        ["there is no master bias of SOXS VIS"],
    )
