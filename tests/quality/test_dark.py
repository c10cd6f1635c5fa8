from dataclasses import replace

import numpy as np
import pytest

from soxspipe.quality import dark as metrics
from soxspipe.quality.dark import DarkContext, count_groups, dark_quality
from soxspipe.quality.table import QualityTable
from soxspipe.stacking import clip_and_stack, create_noise_map

SHAPE = (256, 256)


@pytest.fixture(scope="module")
def values():
    """Ten frames with a known dark, noise, drift, and defects at known places."""
    rng = np.random.default_rng(11)
    levels = rng.normal(0, 3, 10)
    frames = rng.normal(600.0, 10.0, (10, *SHAPE)) + levels[:, None, None]
    frames[:, 5, :7] += 900.0  # seven hot pixels
    frames[:, 9, :3] -= 300.0  # three cold ones
    frames[4, 100, 100:160] += 2000.0  # sixty rejected samples
    frames[1::2, 30, 40] += 150.0  # a telegraph pixel
    # so wide a clip that no good sample is lost
    stack = clip_and_stack(list(frames.astype(np.float32)), stacked_clipping_sigma=8.0)
    noise_map = create_noise_map(
        stack.master,
        count=stack.count,
        outlier_free_noise=stack.outlier_free_noise,
        n_frames=10,
        background=stack.background,
    )
    facts = DarkContext(
        300.0,
        pedestal_removed=True,
        times_h=np.arange(10) * 0.5,
        temperatures_k=np.array([40.1, 40.2, 40.3]),
        pixel_area_cm2=(18e-4) ** 2,
    )
    qc = dark_quality(stack, noise_map, facts)
    return {one.name: one.value for one in qc}, levels


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
    # the drift of the frames outweighs the noise of 65000 pixels
    assert qc["DARK CURRENT ERR"] == pytest.approx(np.std(levels, ddof=1) / np.sqrt(10) / 300, rel=0.02)
    assert qc["DARK CURRENT LIMIT"] is False


def test_counts(values):
    qc, _ = values
    assert qc["HOTPIX NUM"] == 7 + 1  # half of the samples of the telegraph pixel are high, and none is lost
    assert qc["HOTPIX FRAC"] == qc["HOTPIX NUM"] / 65536
    assert qc["COLDPIX NUM"] == 3
    assert qc["NOISYPIX NUM"] == 1
    assert qc["NOISYPIX TESTED"] is True
    assert qc["REJECT FRAC"] * 655360 == pytest.approx(60)
    # 900 and, on average, 75 electron in 300 s; a threshold of .01 electron/s is 3 electron, less than five errors
    assert qc["HOTPIX ABS1"] is None
    assert (qc["HOTPIX ABS2"], qc["HOTPIX ABS3"]) == (8, 7)
    assert qc["HOTPIX FDR"] == pytest.approx(65536 * 2.87e-7 / 8, rel=0.01)
    assert qc["AMBIGPIX NUM"] == qc["SATPIX NUM"] == 0


def test_cosmic_rays_are_counted_as_groups(values):
    qc, _ = values
    exposed_cm2_s = 65536 * (18e-4) ** 2 * 10 * 300.0
    # one track of sixty pixels
    assert qc["CRRATE"] * exposed_cm2_s == pytest.approx(1)
    touching = [(0, 0), (0, 1), (0, 10), (0, 11 + 10), (1, 0), (1, 5)]
    samples = np.array([(frame, pixel) for frame, pixel in touching])
    # rows of ten: pixels 0, 1 and 10 and 21 of frame 0 touch, the last by its corner
    assert count_groups(samples, (10, 10)) == 3
    # neither the end of a row and the start of the next nor the frames touch each other
    assert count_groups(np.array([(0, 9), (0, 10), (0, 99), (1, 0)]), (10, 10)) == 4
    assert count_groups(np.empty((0, 2), np.int64), (10, 10)) == 0


@pytest.mark.parametrize("at_once", [1, 7, 60, 100, 10**6])
def test_samples_come_in_lots_of_whole_frames(at_once, monkeypatch):
    monkeypatch.setattr(metrics, "SAMPLES_AT_ONCE", at_once)
    # none in frames 1, 2 and 8, many in one, as many as fit in another
    frames = np.repeat([0, 3, 4, 5, 6, 7, 9], [5, 60, 2, 4, 7, 1, 3])
    samples = np.random.default_rng(1).permutation(np.stack([frames, np.arange(frames.size)], axis=1).astype(np.int32))
    lots = list(metrics._lots_of_frames(samples))
    together = np.concatenate(lots)
    assert sorted(map(tuple, together)) == sorted(map(tuple, samples))
    for lot in lots:
        here = np.unique(lot[:, 0])
        assert len(lot) == np.isin(frames, here).sum()  # whole frames
        assert len(lot) <= at_once or len(here) == 1
    assert len(lots) == 1 or at_once < frames.size
    assert list(metrics._lots_of_frames(samples[:0])) == []


def test_circumstances(values):
    qc, levels = values
    assert qc["LEVEL SCATTER"] == pytest.approx(np.std(levels, ddof=1), rel=0.03)
    assert qc["LEVEL TREND"] == pytest.approx(np.polyfit(np.arange(10) * 0.5, levels, 1)[0], abs=0.05)
    assert qc["DETECTOR TEMP"] == pytest.approx(40.2)
    assert qc["DETECTOR TEMP RANGE"] == pytest.approx(0.2)


def all_good(noise_map):
    return replace(noise_map, codes=np.zeros_like(noise_map.codes))


def test_structure():
    y, x = np.mgrid[:256, :256]
    rng = np.random.default_rng(12)
    corner = 40.0 * ((np.hypot(x, y) < 40) | (np.hypot(255 - x, y) < 40))
    corner += 40.0 * ((np.hypot(x, 255 - y) < 40) | (np.hypot(255 - x, 255 - y) < 40))
    fixed = rng.normal(0, 5.0, SHAPE)
    frames = [100 + 0.02 * x - 0.01 * y + fixed + rng.normal(0, 10, SHAPE) for _ in range(4)]
    for pattern in (0.0, corner):
        stack = clip_and_stack([(frame + pattern).astype(np.float32) for frame in frames])
        noise_map = all_good(create_noise_map(stack.master, background=stack.background))
        qc = {one.name: one.value for one in dark_quality(stack, noise_map, DarkContext(1.0, True))}
        assert qc["CONTAM"] == pytest.approx(4.0 if pattern is corner else 0.0, abs=0.3)
        if pattern is not corner:
            assert qc["STRUCT X"] == pytest.approx(0.02, abs=0.001)
            assert qc["STRUCT Y"] == pytest.approx(-0.01, abs=0.001)
            slope_variance = (0.02**2 + 0.01**2) * 256**2 / 12
            assert qc["FPN"] == pytest.approx(np.sqrt(25 + slope_variance), rel=0.02)


def test_axes_are_those_of_the_product():
    x = np.mgrid[:64, :64][1]
    rng = np.random.default_rng(13)
    stack = clip_and_stack([(100 + 0.5 * x + rng.normal(0, 10, x.shape)).astype(np.float32) for _ in range(3)])
    noise_map = all_good(create_noise_map(stack.master, background=stack.background))
    facts = DarkContext(1.0, True, orient=lambda image: np.rot90(image, 1))
    qc = {one.name: one.value for one in dark_quality(stack, noise_map, facts)}
    # a quarter turn counter-clockwise lets what rose along X fall along Y
    assert qc["STRUCT Y"] == pytest.approx(-0.5, abs=0.05)
    assert qc["STRUCT X"] == pytest.approx(0.0, abs=0.05)


def test_a_level_with_its_pedestal_is_only_a_limit(values):
    rng = np.random.default_rng(14)
    stack = clip_and_stack([rng.normal(500, 5, (64, 64)).astype(np.float32) for _ in range(3)])
    noise_map = create_noise_map(stack.master, background=stack.background)
    for removed in (True, False):
        qc = dark_quality(stack, noise_map, DarkContext(10.0, removed))
        table = QualityTable(qc, {"DARK CURRENT": (None, 1.0)})
        assert table["DARK CURRENT LIMIT"].value is not removed
        assert table["DARK CURRENT"].passed is (False if removed else None)


def test_a_level_that_a_bias_told_is_uncertain_by_its_drift():
    rng = np.random.default_rng(15)
    stack = clip_and_stack([rng.normal(0, 5, (64, 64)).astype(np.float32) for _ in range(5)])
    noise_map = create_noise_map(stack.master, background=stack.background)
    pedestals = np.array([1000.0, 1002.0, 999.0, 1001.0, 998.0])  # their variance is 2.5
    bias = {"bias_error": np.full((64, 64), 1.0, np.float32), "pedestals_e": pedestals}
    errors = []
    for told in (False, True):
        facts = DarkContext(10.0, True, bias_tells_level=told, **bias)
        errors.append({q.name: q.value for q in dark_quality(stack, noise_map, facts)}["DARK CURRENT ERR"])
    assert errors[0] < 0.02
    # the mean of five frames and that of the bias: twice 2.5 / 5 electron**2
    assert errors[1] == pytest.approx(np.sqrt(2 * 2.5 / 5) / 10.0, rel=0.01)
