from dataclasses import replace

import numpy as np
import pytest

from soxspipe.quality.dark import DarkContext, dark_quality
from soxspipe.quality.definitions import DEFINITIONS
from soxspipe.quality.table import QualityTable
from soxspipe.stacking import clip_and_stack, create_noise_map

SHAPE = (256, 256)
#: Half of the distance that Student's t exceeds in 4.55 % of the cases, by the number of frames.
STUDENT = {5: 1.4347, 10: 1.1600}


@pytest.fixture(scope="module")
def stack_and_map():
    """Return the stack of ten frames with a known dark, noise, drift, and defects at known places."""
    rng = np.random.default_rng(11)
    levels = rng.normal(0, 3, 10)
    frames = rng.normal(600.0, 10.0, (10, *SHAPE)) + levels[:, None, None]
    frames[:, 5, :7] += 900.0  # seven hot pixels
    frames[:, 9, :3] -= 300.0  # three cold ones
    frames[4, 100, 100:140] += 2000.0  # forty rejected samples
    frames[1::2, 30, 40] += 150.0  # a telegraph pixel
    # a wide clip loses no good sample
    stack = clip_and_stack(list(frames.astype(np.float32)), stacked_clipping_sigma=8.0, unit="electron")
    noise_map = create_noise_map(
        stack.master,
        count=stack.count,
        outlier_free_noise=stack.outlier_free_noise,
        n_frames=10,
        background=stack.background,
    )
    context = DarkContext(
        exptime_s=300.0,
        pedestal_removed=True,
        times_h=np.arange(10) * 0.5,
        temperatures_k=np.array([40.1, 40.2, 40.3]),
        pixel_area_cm2=(18e-4) ** 2,
    )
    return stack, noise_map, context, levels


@pytest.fixture(scope="module")
def values(stack_and_map):
    """Return the QC values of these frames, and the levels of the frames."""
    *arguments, levels = stack_and_map
    return {one.name: one.value for one in dark_quality(*arguments)}, levels


#: Values that come from headers, not from pixels.
CALIBRATION_QUALITY = ("BIAS AGE", "BIAS QUALITY", "MAP AGE", "MAP QUALITY")


def names_of(recipe):
    return {name for name, definition in DEFINITIONS.items() if recipe in definition.recipes}


def test_all_values_that_the_definitions_list_are_measured(values):
    # one amplifier, no master bias
    assert set(values[0]) == names_of("soxs_mdark") - {"RON RAW{i}", "BIAS NOISE", *CALIBRATION_QUALITY}


def test_levels_and_noise(values):
    qc, levels = values
    mean = 600.0 + levels.mean()
    assert qc["MDARK MEDIAN"] == pytest.approx(mean, abs=0.05)
    assert qc["MDARK MEAN"] == pytest.approx(mean, abs=0.05)
    assert qc["MDARK STDEV"] == pytest.approx(10 / np.sqrt(10), rel=0.01)
    assert qc["RON RAW"] == pytest.approx(10, rel=0.01)
    assert qc["RON MASTER"] == pytest.approx(10 / np.sqrt(10), rel=0.02)
    assert qc["RON MASTER RATIO"] == pytest.approx(1, rel=0.02)
    assert qc["PULL STD"] == pytest.approx(1, abs=0.02)


def test_dark_current_and_its_error(values):
    qc, levels = values
    assert qc["DARK CURRENT"] == pytest.approx((600.0 + levels.mean()) / 300, abs=2e-4)
    # the drift of the frames is larger than the noise of 65000 pixels
    assert qc["DARK CURRENT ERR"] == pytest.approx(STUDENT[10] * np.std(levels, ddof=1) / np.sqrt(10) / 300, rel=0.02)
    assert qc["LEVEL ERR"] == pytest.approx(300 * qc["DARK CURRENT ERR"])
    assert (qc["LEVEL"], qc["LEVEL DOF"]) == (qc["MDARK MEAN"], 9)
    assert qc["DARK CURRENT LIMIT"] is False


def test_counts(values):
    qc, _ = values
    assert qc["HOTPIX NUM"] == 7 + 1  # the telegraph pixel is one: half of its samples are high, and none is rejected
    assert qc["HOTPIX FRAC"] == qc["HOTPIX NUM"] / 65536
    assert qc["COLDPIX NUM"] == 3
    assert qc["NOISYPIX NUM"] == 1
    assert qc["NOISYPIX TESTED"] is True
    # and those of its 86 neighbours that are high by chance
    assert 40 <= qc["REJECT FRAC"] * 655360 <= 48
    # 900 and, on average, 75 electron in 300 s; a threshold of .01 electron/s is 3 electron, less than five errors
    assert qc["HOTPIX ABS1"] is None
    assert (qc["HOTPIX ABS2"], qc["HOTPIX ABS3"]) == (8, 7)
    assert qc["HOTPIX FDR"] == pytest.approx(65536 * 2.87e-7 / 8, rel=0.01)
    assert qc["AMBIGPIX NUM"] == qc["SATPIX NUM"] == 0


def test_cosmic_rays_are_counted_as_groups(values):
    qc, _ = values
    exposed_cm2_s = 65536 * (18e-4) ** 2 * 10 * 300.0
    # one track of forty pixels
    assert qc["CRRATE"] * exposed_cm2_s == pytest.approx(1)


def test_samples_of_two_frames_do_not_touch(stack_and_map):
    stack, noise_map, context, _ = stack_and_map
    for frames, rays in (([3, 3], 1), ([3, 4], 2), ([0, 9], 2)):  # neighbours in one frame, or in two
        samples = np.array([[frames[0], 500], [frames[1], 501]], np.int32)
        values = dark_quality(replace(stack, rejected=samples), noise_map, context)
        rate = next(one.value for one in values if one.name == "CRRATE")
        assert rate * 65536 * (18e-4) ** 2 * 10 * 300.0 == pytest.approx(rays)
    # a pixel that loses samples in two frames is no cosmic ray, and another one may be such a pixel that lost one
    several = np.array([[2, 500], [7, 500], [4, 900], [5, 1900]], np.int32)
    values = dark_quality(replace(stack, rejected=several), noise_map, context)
    rate = next(one.value for one in values if one.name == "CRRATE")
    assert rate * 65536 * (18e-4) ** 2 * 10 * 300.0 == pytest.approx(2 - 1)
    few = dark_quality(replace(stack, n_frames=4), noise_map, context)
    assert next(one.value for one in few if one.name == "CRRATE") is None
    nothing = dark_quality(replace(stack, rejected=np.empty((0, 2), np.int32)), noise_map, context)
    assert next(one.value for one in nothing if one.name == "CRRATE") == 0


def test_false_hot_pixels_are_as_many_as_cold_ones(stack_and_map):
    stack, noise_map, context, _ = stack_and_map
    for cold, share in ((2, 0.25), (80, 1.0)):
        values = dark_quality(stack, replace(noise_map, cold_tail=cold), context)
        assert next(one.value for one in values if one.name == "HOTPIX FDR") == pytest.approx(share)


def test_drifts(values):
    qc, levels = values
    assert qc["LEVEL SCATTER"] == pytest.approx(np.std(levels, ddof=1), rel=0.03)
    assert qc["LEVEL TREND"] == pytest.approx(np.polyfit(np.arange(10) * 0.5, levels, 1)[0], abs=0.05)
    assert qc["DETECTOR TEMP"] == pytest.approx(40.2)
    assert qc["DETECTOR TEMP RANGE"] == pytest.approx(0.2)
    assert qc["TIME SPAN"] == pytest.approx(9 * 0.5 / 24)


def all_good(noise_map):
    return replace(noise_map, codes=np.zeros_like(noise_map.codes))


def test_structure():
    y, x = np.mgrid[:256, :256]
    rng = np.random.default_rng(12)
    corner = 40.0 * ((np.hypot(x, y) < 40) | (np.hypot(255 - x, y) < 40))
    corner += 40.0 * ((np.hypot(x, 255 - y) < 40) | (np.hypot(255 - x, 255 - y) < 40))
    fixed = rng.normal(0, 5.0, SHAPE)
    frames = [100 + 0.02 * x - 0.01 * y + fixed + rng.normal(0, 10, SHAPE) for _ in range(4)]
    context = DarkContext(exptime_s=1.0, pedestal_removed=True)
    for pattern in (0.0, corner):
        stack = clip_and_stack([(frame + pattern).astype(np.float32) for frame in frames], unit="electron")
        noise_map = all_good(create_noise_map(stack.master, background=stack.background))
        qc = {one.name: one.value for one in dark_quality(stack, noise_map, context)}
        assert qc["CONTAM"] == pytest.approx(4.0 if pattern is corner else 0.0, abs=0.3)
        if pattern is not corner:
            assert qc["STRUCT X"] == pytest.approx(0.02, abs=0.001)
            assert qc["STRUCT Y"] == pytest.approx(-0.01, abs=0.001)
            slope_variance = (0.02**2 + 0.01**2) * 256**2 / 12
            assert qc["FPN"] == pytest.approx(np.sqrt(25 + slope_variance), rel=0.02)


def test_axes_are_those_of_the_product():
    x = np.mgrid[:64, :64][1]
    rng = np.random.default_rng(13)
    stack = clip_and_stack(
        [(100 + 0.5 * x + rng.normal(0, 10, x.shape)).astype(np.float32) for _ in range(3)], unit="electron"
    )
    noise_map = all_good(create_noise_map(stack.master, background=stack.background))
    context = DarkContext(exptime_s=1.0, pedestal_removed=True, orient=lambda image: np.rot90(image, 1))
    qc = {one.name: one.value for one in dark_quality(stack, noise_map, context)}
    # after a quarter turn counter-clockwise, a rise along X is a fall along Y
    assert qc["STRUCT Y"] == pytest.approx(-0.5, abs=0.05)
    assert qc["STRUCT X"] == pytest.approx(0.0, abs=0.05)


def test_a_level_with_its_pedestal_is_no_dark_current():
    rng = np.random.default_rng(14)
    stack = clip_and_stack([rng.normal(500, 5, (64, 64)).astype(np.float32) for _ in range(3)], unit="electron")
    noise_map = create_noise_map(stack.master, background=stack.background)
    for removed in (True, False):
        qc = dark_quality(stack, noise_map, DarkContext(exptime_s=10.0, pedestal_removed=removed))
        current = {one.name: one for one in QualityTable(qc, {"DARK CURRENT": (None, 1.0)}) if "CURRENT" in one.name}
        assert all(one.value is not None for one in current.values()) is removed
        assert any(one.value is not None for one in current.values()) is removed
        assert not removed or current["DARK CURRENT"].passed is current["DARK CURRENT LIMIT"].value is False
        assert QualityTable(qc)["LEVEL"].value == pytest.approx(500, abs=1)


def test_a_level_from_a_bias_is_uncertain_by_its_drift():
    rng = np.random.default_rng(15)
    stack = clip_and_stack([rng.normal(0, 5, (64, 64)).astype(np.float32) for _ in range(5)], unit="electron")
    noise_map = create_noise_map(stack.master, background=stack.background)
    pedestals = np.array([1000.0, 1002.0, 999.0, 1001.0, 998.0])  # their variance is 2.5
    bias = {"bias_error": np.full((64, 64), 1.0, np.float32), "pedestals_e": pedestals}
    errors = []
    for from_bias in (False, True):
        context = DarkContext(exptime_s=10.0, pedestal_removed=True, pedestal_from_bias=from_bias, **bias)
        errors.append({q.name: q.value for q in dark_quality(stack, noise_map, context)}["DARK CURRENT ERR"])
    assert errors[0] < 0.02
    # the mean of five frames and that of the bias: twice 2.5 / 5 electron**2
    assert errors[1] == pytest.approx(STUDENT[5] * np.sqrt(2 * 2.5 / 5) / 10.0, rel=0.01)
