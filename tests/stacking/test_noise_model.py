import numpy as np
import pytest

from soxspipe.exceptions import FrameError, InputError, TooFewPixelsError
from soxspipe.stacking import ArrayStack, measure_noise


def frames_of(n_frames, sigma, step=0.0, shape=(512, 512), seed=1, offsets=None, hot=0.02, cosmic=1e-3):
    rng = np.random.default_rng(seed)
    pattern = rng.normal(0, 3 * sigma, shape) + np.where(rng.random(shape) < hot, 1000 * sigma, 0)
    frames = []
    for i in range(n_frames):
        frame = 500 + pattern + rng.normal(0, sigma, shape) + (0 if offsets is None else offsets[i])
        frame += np.where(rng.random(shape) < cosmic, 500 * sigma, 0)
        frames.append((np.round(frame / step) * step if step else frame).astype(np.float32))
    return ArrayStack(tuple(frames), (None,) * n_frames, step)


@pytest.mark.parametrize("n_frames", [3, 5])
@pytest.mark.parametrize(("sigma_adu", "tolerance"), [(0.5, 0.01), (0.75, 0.006), (1.5, 0.005), (5.0, 0.005)])
def test_read_noise_of_integers_with_hot_pixels_and_cosmic_rays(n_frames, sigma_adu, tolerance):
    model = measure_noise(frames_of(n_frames, 2 * sigma_adu, step=2.0), unit="electron")
    truth = 2 * np.sqrt(sigma_adu**2 + 1 / 12)
    assert model.mean_read_noise_e == pytest.approx(truth, rel=tolerance)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_level_between_two_counts_takes_no_quiet_pixels(seed):
    # medians of the rounded pixels are one of two counts: those that meet the level are the quiet ones
    rng = np.random.default_rng(seed)
    frames = [np.rint(rng.normal(100.5, 0.5, (256, 512))).astype(np.float32) * 2 for _ in range(3)]
    model = measure_noise(frames, unit="electron", step_e=2.0)
    assert model.mean_read_noise_e == pytest.approx(np.std(frames), rel=0.0025)


@pytest.mark.parametrize("n_frames", [3, 10, 12])
def test_offsets_of_a_fraction_of_the_noise_are_measured(n_frames):
    truth = np.random.default_rng(5).normal(0, 3, n_frames)
    model = measure_noise(frames_of(n_frames, 10.0, step=2.0, offsets=truth), unit="electron")
    np.testing.assert_allclose(model.offsets_e[:, 0], truth - truth.mean(), atol=0.15)
    assert abs(model.offsets_e.mean()) < 1e-9
    np.testing.assert_allclose(np.diff(model.frame_level_e), np.diff(truth), atol=0.2)
    assert model.level_e[0] == pytest.approx(500 + truth.mean(), abs=0.3)


def test_each_amplifier_has_its_own_noise():
    quiet, loud = frames_of(4, 4.0, seed=1).arrays, frames_of(4, 8.0, seed=2).arrays
    frames = [np.hstack(pair) for pair in zip(quiet, loud, strict=True)]
    rows = slice(0, 512)
    model = measure_noise(frames, regions=((rows, slice(0, 512)), (rows, slice(512, 1024))), unit="electron")
    np.testing.assert_allclose(model.read_noise_e, [4, 8], rtol=0.01)
    assert model.mean_read_noise_e == pytest.approx(np.sqrt((16 + 64) / 2), rel=0.01)


def test_the_same_pixels_twice_are_refused():
    stack = frames_of(3, 5.0)
    twice = ArrayStack((*stack.arrays, stack.arrays[0].copy()), (None,) * 4, names=("a", "b", "c", "d"))
    with pytest.raises(InputError, match=r"^a and d hold the same pixels"):
        measure_noise(twice, unit="electron")


def test_an_amplifier_that_is_dead_in_all_frames_is_refused():
    frames = np.random.default_rng(2).normal(500, 5, (4, 128, 128)).astype(np.float32)
    frames[:, :, :64] = np.float32([100, 101, 102, 103])[:, None, None]
    halves = tuple((slice(0, 128), columns) for columns in (slice(0, 64), slice(64, 128)))
    with pytest.raises(FrameError, match="do not scatter in a read-out amplifier"):
        measure_noise(frames, regions=halves, unit="electron")


@pytest.mark.parametrize("n_dead", [1, 3, 4])
def test_every_dead_frame_is_named(n_dead):
    frames = np.random.default_rng(2).normal(500, 5, (4, 128, 128)).astype(np.float32)
    frames[:n_dead] = np.arange(n_dead, dtype=np.float32)[:, None, None]
    with pytest.raises(FrameError, match="do not scatter, expected read noise") as refusal:
        measure_noise(frames, unit="electron")
    assert len(refusal.value.faults) == n_dead


def test_too_few_pixels_are_refused():
    with pytest.raises(TooFewPixelsError, match="expected at least 200"):
        measure_noise(frames_of(3, 5.0, shape=(12, 12)), unit="electron")


def test_regions_must_cover_the_frame_once():
    stack = frames_of(3, 5.0, shape=(64, 64))
    with pytest.raises(InputError, match="leave 2048 pixels of the frame without"):
        measure_noise(stack, regions=((slice(0, 32), slice(0, 64)),), unit="electron")


def test_charge_beside_cosmic_rays_does_not_raise_the_read_noise():
    """A hundredth of the pixels hit in each frame, with 3 % of the charge in each pixel beside."""
    rng = np.random.default_rng(6)
    frames = rng.normal(1000, 4, (3, 512, 512)).astype(np.float32)
    for frame in frames:
        charge = np.zeros(frame.shape)
        hit = rng.choice(frame.size, frame.size // 100, replace=False)
        charge.reshape(-1)[hit] = rng.exponential(800, hit.size)
        frame += 0.88 * charge
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            frame += 0.03 * np.roll(charge, (dy, dx), (0, 1))
    model = measure_noise(list(frames), unit="electron")
    assert model.read_noise_e[0] == pytest.approx(4, rel=0.015)  # 4.38 with all pixels
