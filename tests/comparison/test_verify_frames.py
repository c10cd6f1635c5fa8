"""Verification on arrays with planted faults."""

from dataclasses import replace

import numpy as np
import pytest

from soxspipe.comparison import FrameToVerify, verify_frames
from soxspipe.exceptions import FrameError
from soxspipe.pixel_codes import PixelCode

from .masters import READ_NOISE, make_master

SHAPE = (120, 120)
HALVES = ((slice(0, 120), slice(0, 60)), (slice(0, 120), slice(60, 120)))


@pytest.fixture
def night():
    """Return a master of two amplifiers and three hot pixels in a hundred, its frames and those of another night."""
    rng = np.random.default_rng(2)
    signal = np.full(SHAPE, 20.0)
    signal.flat[rng.choice(signal.size, 400, replace=False)] = 500.0
    master, frames = make_master(rng, signal, n=5, shape=SHAPE, regions=HALVES, temperature_k=40.0)
    others = (signal + rng.normal(0, READ_NOISE, (4, *SHAPE))).astype(np.float32)
    return master, frames, others


def verify(master, frames, *, in_master=False, **values):
    named = (FrameToVerify(f"frame {i}", frame.copy(), in_master, **values) for i, frame in enumerate(frames))
    return verify_frames(master, named)


def criteria(verification):
    return {(name, check.criterion) for name, check in verification.failed}


@pytest.mark.parametrize("in_master", [True, False])
def test_good_frames_have_pulls_of_one(night, in_master):
    master, frames, others = night
    found = verify(master, frames if in_master else others, in_master=in_master)
    assert found.passed, found.failed
    singles = [frame for frame in found.frames if not frame.name.startswith("mean")]
    assert np.mean([frame.pull for frame in singles]) == pytest.approx(1, abs=0.01)
    assert [frame.noise_e for frame in singles] == pytest.approx([READ_NOISE] * len(singles), rel=0.05)
    assert [frame.name for frame in found.frames[len(singles) :]] == ([] if in_master else ["mean of 4 frames"])


def test_a_frame_of_the_master_that_is_not_recognised_has_a_pull_below_one(night):
    master, frames, _ = night
    pulls = [frame.pull for frame in verify(master, frames).frames[:5]]
    assert np.mean(pulls) == pytest.approx(np.sqrt((1 - 1 / 5) / (1 + 1 / 5)), abs=0.01)


FAULTS = {
    "level": lambda y, x, rng: 8.0 * (x >= 60),
    "noise": lambda y, x, rng: rng.normal(0, 3, SHAPE) * (x < 60),
    "outliers": lambda y, x, rng: 300.0 * (rng.random(SHAPE) < 0.1),
    "rows": lambda y, x, rng: 3 * np.sin(y / 8),
    "structure": lambda y, x, rng: 3 * np.sin(x / 8),
    "worst box": lambda y, x, rng: 6.0 * (np.hypot(y - 65, x - 85) < 8),
    "hot pixels": lambda y, x, rng: 0.0,
}


@pytest.mark.parametrize("criterion", FAULTS)
def test_each_fault_fails_its_criterion_in_its_frame(night, criterion):
    master, _, others = night
    y, x = np.indices(SHAPE)
    frames = others.copy()
    frames[1] += FAULTS[criterion](y, x, np.random.default_rng(1))
    if criterion == "hot pixels":
        frames[1] = np.roll(frames[1], 1, axis=0)
    failed = criteria(verify(master, frames))
    assert ("frame 1", criterion) in failed
    assert not {name for name, _ in failed} - {"frame 1", "mean of 4 frames"}


def test_the_fault_names_amplifier_and_place(night):
    master, _, others = night
    y, x = np.indices(SHAPE)
    frames = others.copy()
    frames[1] += 8.0 * (x >= 60) + 12.0 * (np.hypot(y - 65, x - 85) < 8)
    (frame,) = (one for one in verify(master, frames).frames if one.name == "frame 1")
    assert frame.worst("level").amplifier == 2
    box = frame.worst("worst box")
    assert np.hypot(box.x - 86, box.y - 66) < 12
    assert frame.worst("overscan") is None


def test_structure_of_all_frames_shows_in_their_mean(night):
    master, _, others = night
    x = np.arange(SHAPE[1])
    found = verify(master, others + (0.9 * np.sin(x / 8)).astype(np.float32))
    assert ("mean of 4 frames", "structure") in criteria(found)


def test_a_drift_of_the_pedestal_is_no_fault_of_an_amplifier(night):
    master, _, others = night
    assert ("frame 0", "level") in criteria(verify(master, others + np.float32(12)))
    assert verify(master, others + np.float32(12), level_drifts=True).passed
    assert ("frame 0", "drift") in criteria(verify(master, others + np.float32(40), level_drifts=True))


def test_overscan_and_temperature_are_compared(night):
    master, _, others = night
    good = {"overscan_noise_e": READ_NOISE, "overscan_samples": 10**4, "temperature_k": 41.0}
    assert verify(master, others, **good).passed
    failed = criteria(verify(master, others[:1], **good | {"overscan_noise_e": 1.2 * READ_NOISE, "temperature_k": 45}))
    assert failed == {("frame 0", "overscan"), ("frame 0", "temperature")}
    charge = replace(master, level_e=16.0)  # 16 of the 25 electron squared are shot noise, or are not
    assert verify(charge, others, **good | {"overscan_noise_e": 3.0}).passed


def test_pixels_with_a_code_are_left_out(night):
    master, _, others = night
    codes = master.codes.copy()
    codes[30:60, 30:60] = PixelCode.STATIC
    frames = others.copy()
    frames[:, 30:60, 30:60] += 1000
    assert verify(replace(master, codes=codes), frames).passed
    assert not verify(master, frames).passed


def test_an_amplifier_without_data_fails(night):
    master, _, others = night
    frames = others.copy()
    frames[0, :, 60:] = np.nan
    found = verify(master, frames)
    assert ("frame 0", "noise") in criteria(found)
    record = next(frame for frame in found.record()["frames"] if frame["name"] == "frame 0")
    assert any(check["value"] is None and not check["passed"] for check in record["checks"])


def test_limits_are_settings(night):
    master, _, others = night
    assert not verify_frames(master, [FrameToVerify("one", others[0], temperature_k=41.0)], temperature=0.5).passed


def test_other_shapes_and_empty_frames_are_refused(night):
    master, _, others = night
    with pytest.raises(FrameError, match="frame 0: 60 x 120 pixels, expected 120 x 120"):
        verify(master, others[:, :, :60])
    with pytest.raises(FrameError, match="frame 0: no pixel can be compared"):
        verify(master, np.full((1, *SHAPE), np.nan, np.float32))
