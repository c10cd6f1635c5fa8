import numpy as np
import pytest

from soxspipe.quality.metrics import dark_metrics
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
    stack = clip_and_stack(list(frames.astype(np.float32)))
    noise_map = create_noise_map(
        stack.master, count=stack.count, quiet_noise=stack.quiet_noise, n_frames=10, background=stack.background
    )
    more = {"exptime_s": 300.0, "step_e": 0.0}
    qc = dark_metrics(stack, noise_map, noise_map.codes, pedestal_removed=True, **more)
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
    assert qc["HOTPIX NUM"] == 7
    assert qc["HOTPIX FRAC"] == qc["HOTPIX NUM"] / 65536
    assert qc["COLDPIX NUM"] == 3
    assert qc["NOISYPIX NUM"] == 1
    assert qc["NOISYPIX TESTED"] is True
    # the sixty, up to five of the telegraph pixel, and a good one in some 300 000
    assert 60 <= round(qc["REJECT FRAC"] * 655360) <= 70
