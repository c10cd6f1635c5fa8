"""The benchmark of accuracy on small scenes; docs/accuracy has the measurements of all scenes."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy import births, verification
from benchmarks.accuracy.measures import _box_error
from benchmarks.accuracy.numbers import dark_current_pulls
from benchmarks.accuracy.patterns import PatternPulls, pattern_pulls, patterns
from benchmarks.accuracy.promises import Results, check
from benchmarks.accuracy.run import reduce_scene
from benchmarks.accuracy.scenes import make_darks, scenes

FROM_FILES = "VIS, N=5, 1 h, bias of 10 by soxs_mbias"


def scene_of(name):
    (scene,) = (scene for scene in scenes(quick=True) if scene.name == name)
    return scene


@pytest.fixture(scope="module")
def from_files():
    return reduce_scene(scene_of(FROM_FILES), peer_python=None)


def check_rows(ours, stock):
    assert (ours.by, stock.by) == ("soxspipe", "ccdproc")
    assert ours.pull_std == pytest.approx(1, abs=0.05)
    assert ours.residual == pytest.approx(1, abs=0.01)
    assert stock.pull_std > 1.1
    assert ours.qc
    assert not stock.qc


@pytest.mark.parametrize("name", ["NIR, N=5", "VIS, N=5, 1 h, bias of 10"])
def test_a_scene_is_reduced_in_memory(name):
    check_rows(*reduce_scene(scene_of(name), peer_python=None))


def test_a_scene_is_reduced_by_the_recipes(from_files):
    ours, stock = from_files
    check_rows(ours, stock)
    assert abs(ours.bias_e) < 0.05
    assert ours.hot_ratio == pytest.approx(1, abs=0.005)  # the image has the orientation of the truth


def test_the_recipe_for_biases_has_promises(from_files):
    results = Results({FROM_FILES: scene_of(FROM_FILES)}, from_files, [], np.zeros(1), {})
    promises = [line for line in check(results) if "soxs_mbias" in line.promise]
    assert [(line.promise.partition(":")[0], line.criterion) for line in promises] == [
        ("Residual std over ideal", "at most 1.01"),
        ("Pull std", "0.98 to 1.02"),
        ("Pulls beyond 3 over those of a Gaussian", "0.80 to 1.20"),
    ]


def test_a_row_without_a_number_fails(from_files):
    scene, row = scene_of(FROM_FILES), from_files[0]
    rows = [row, replace(row, pull_std=float("nan"))]
    results = Results({FROM_FILES: scene}, rows, [], np.zeros(1), {})
    (pull,) = (line for line in check(results) if line.promise.startswith("Pull std"))
    assert not pull.holds


def test_detectors_with_patterns_have_promises():
    pattern = next(each for each in patterns(quick=True) if each.name == "glow of 3000 e-")
    row = pattern_pulls(pattern, seed=1)
    assert row.all_pixels == pytest.approx(1, abs=0.02)
    wrong = PatternPulls("wrong", 3, 1.03, 1.0, 1.06, 0.96)
    for rows, holds in (([row], True), ([row, wrong], False)):
        lines = [line for line in check(Results({}, [], [], np.zeros(1), {}, rows)) if "non-uniform" in line.promise]
        assert [line.holds for line in lines] == [holds] * 3


def test_biases_are_those_of_the_detector_but_not_of_its_darks():
    scene = scene_of(FROM_FILES)
    biases = scene.bias_simulation()
    assert (biases.kind, biases.frames) == ("BIAS", 10)
    assert biases.detector_seed == scene.simulation.seed
    assert biases.seed != scene.simulation.seed


def test_frames_from_files_have_no_drift_in_the_truth():
    # the overscan of the raw frames measures it
    darks = make_darks(scene_of(FROM_FILES))
    levels = [float(np.median(frame - darks.truth.level_e)) for frame in darks.stack.arrays]
    assert levels == pytest.approx([0.0] * 5, abs=0.1)


def test_the_dark_current_is_compared_with_the_truth():
    pulls = dark_current_pulls(seed=1, runs=3)
    assert np.unique(pulls).size == 3
    assert np.abs(pulls).max() < 4


@pytest.mark.parametrize(
    ("name", "residual"), [("VIS, N=5, wander of 1 e-", 1.0), ("NIR, N=10, common 1/f of 3 e-, removed", 0.975)]
)
def test_real_detectors_are_reduced_from_files(name, residual):
    (ours, _) = reduce_scene(scene_of(name), peer_python=None)
    assert ours.pull_std == pytest.approx(1, abs=0.03)
    assert abs(ours.bias_e) < 0.5  # the mean of a frame's slow 1/f noise
    assert ours.residual < residual


def test_averages_of_integrations_have_the_truth_of_one():
    ours, _ = reduce_scene(scene_of("NIR, N=5, NDIT 10"), peer_python=None)
    assert ours.residual == pytest.approx(1, abs=0.02)
    assert ours.pull_std == pytest.approx(1, abs=0.02)


def test_the_error_of_a_mean_is_that_of_independent_pixels_or_larger():
    good, error = np.ones((200, 200), bool), np.ones((200, 200), np.float32)
    noise = np.random.default_rng(1).standard_normal((200, 200)).astype(np.float32)
    rows = np.repeat(noise[:, :1], 200, axis=1)
    assert _box_error(noise, error, good, 10) == pytest.approx(1, abs=0.1)
    assert _box_error(rows, error, good, 10) == pytest.approx(np.sqrt(10), rel=0.2)


def test_births_are_found_in_small_nights_and_none_is_false():
    scene = births.SCENES["NIR, N = 5"]
    tally = births.nights(scene.model_copy(update={"shape": (200, 200)}), 3)
    assert tally.share(tally.births, 8.0) > 0.9
    assert tally.share(tally.births, 25.0) == 1
    assert tally.false == 0
    assert (tally.pairs, tally.expected) == (2, pytest.approx(2e-7 * 192**2, rel=0.02))
    assert any("false births and deaths in 2 pairs" in line for line in births.rows("small", tally))


def test_good_sets_pass_the_verification_and_faults_are_found():
    assert all(verdict.passed for *_, verdict in verification.good_sets(3, 1, side=128))
    wanted = {"noise x 1.2", "dead amplifier", "+6 K"}
    sets = [one for one in verification.faulty_sets(1, side=128, names=wanted) if not one.in_master]
    assert {one.fault.name for one in sets} == wanted
    assert all(one.is_found for one in sets)
