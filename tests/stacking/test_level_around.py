"""Samples that the median of few lets pass, judged by the level around their pixel."""

import numpy as np
import pytest

from soxspipe.stacking import clip_and_stack

NOISE = 4.0


def stack_with(samples, seed=1, shape=(64, 64)):
    """Stack Gaussian frames with a level of 1000, with given samples in a pixel of every fourth row and 16th column."""
    rng = np.random.default_rng(seed)
    frames = rng.normal(1000, NOISE, (len(samples), *shape)).astype(np.float32)
    places = np.s_[2::4, 2::16]
    for frame, sample in zip(frames, samples, strict=True):
        frame[places] = 1000 + NOISE * sample
    result = clip_and_stack(list(frames), unit="electron")
    return result.count[places], result.master.data[places], result.ambiguous[places]


@pytest.mark.parametrize(
    ("samples", "kept"),
    [
        ((80, 7.1, 0), 1),  # two cosmic rays: the median of the other two is within 5 sigma of both
        ((6.6, 1.4, 0.2), 2),  # 5.2 sigma from the median, whose signal makes the limit larger
        ((4.6, 0.1, 0.2), 3),
        ((5.6, 3.1, 3.0), 3),  # a hot pixel: the others contradict the level around
        ((0.1, 7.1, 7.0), 3),  # two that agree are no minority
        ((5.6, 0.1, -0.2, 0.3, 0.2), 4),
        ((6.0, 6.1, 0.0, 0.1, -0.1), 3),
        ((-5.6, 0.1, -0.2, 0.3, 0.2), 4),
    ],
)
def test_a_high_sample_is_left_out_unless_the_others_contradict_the_level_around(samples, kept):
    count, data, ambiguous = stack_with(samples)
    assert (count == kept).all()
    assert (ambiguous == (2 * kept < len(samples))).all()
    expected = 1000 + NOISE * np.mean(sorted(samples, key=abs)[:kept])
    np.testing.assert_allclose(data, expected, atol=0.02)


def test_single_outliers_of_three_frames_are_rejected_and_good_samples_are_not():
    rng = np.random.default_rng(3)
    frames = rng.normal(1000, NOISE, (3, 512, 512)).astype(np.float32)
    y, x = np.mgrid[6:506:12, 6:506:12]
    frame = rng.integers(0, 3, y.shape)
    frames[frame, y, x] += 7 * NOISE
    result = clip_and_stack(list(frames), unit="electron")
    rejected = np.zeros(frames.shape, bool)
    rejected[result.rejected[:, 0], result.rejected[:, 1] // 512, result.rejected[:, 1] % 512] = True
    assert rejected[frame, y, x].mean() > 0.95  # 0.73 by the median alone
    rejected[frame, y, x] = False
    assert rejected.sum() < 30e-6 * frames.size
