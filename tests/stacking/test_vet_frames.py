"""Frames are compared with the others of their set: good sets stay silent, and faults are named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy.vetting import FAULTS, SCENES, faulty_sets, good_sets, is_named, vet
from soxspipe.stacking import clip_and_stack
from soxspipe.stacking.frame_monitor import FAR_SIGMA
from soxspipe.stacking.frame_verdicts import FEWEST_TO_EXCLUDE
from soxspipe.stacking.vet_frames import judge_conditions, vet_frames

SIDE = 256
WHITE = SCENES["NIR, white"]
HALVES = ((slice(0, 128), slice(0, 256)), (slice(128, 256), slice(0, 256)))


def noise_frames(n, seed=1, shape=(SIDE, SIDE), read_noise=7.0):
    rng = np.random.default_rng(seed)
    return [rng.normal(1000, read_noise, shape).astype(np.float32) for _ in range(n)]


def figures_of(frames, **options):
    return clip_and_stack(frames, **options, unit="electron").frame_figures


def test_box_means_are_those_of_the_frames():
    frames = noise_frames(5)
    frames[2][64:96, 128:160] += 4.0
    means = figures_of(frames).box_means
    assert means.shape == (5, 8, 8)
    truth = np.array([frame.reshape(8, 32, 8, 32).mean(axis=(1, 3)) for frame in frames])
    truth -= truth.mean(axis=0)
    truth -= np.mean(truth, axis=(1, 2), keepdims=True)
    means = means - np.mean(means, axis=(1, 2), keepdims=True)
    assert np.abs(means - truth).max() < 0.05
    assert means[2, 2, 4] - np.median(means[2]) == pytest.approx(4 * 4 / 5, abs=0.8)


def test_the_figures_do_not_depend_on_bands_and_amplifiers_rows():
    frames = noise_frames(4)
    whole = figures_of(frames, regions=HALVES)
    for rows in (5, 31, 100):
        parts = figures_of(frames, regions=HALVES, band_rows=rows)
        assert np.allclose(parts.box_means, whole.box_means, atol=1e-5)
        assert np.allclose(parts.box_offsets, whole.box_offsets, atol=1e-5)
        assert np.allclose(parts.noise, whole.noise, rtol=1e-5)


def test_boxes_are_of_equal_size_where_the_frame_is_no_multiple():
    assert figures_of(noise_frames(3, shape=(130, 100))).box_means.shape == (3, 4, 3)


def test_a_cosmic_ray_adds_little_to_its_box_and_missing_data_nothing():
    frames = noise_frames(5)
    before = figures_of(frames).box_means
    hit = [frame.copy() for frame in frames]
    hit[1][40, 40] += 1e5
    assert np.abs(figures_of(hit).box_means - before).max() < 2 * FAR_SIGMA * 7 / 1024
    lost = [frame.copy() for frame in frames]
    lost[1][32:40, 32:64] = np.nan
    assert np.isfinite(figures_of(lost).box_means).all()
    assert not vet_frames([*"abcde"], figures_of(lost), np.zeros((5, 1))).warnings


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_noise_of_each_frame_is_measured(n):
    frames = noise_frames(n)
    rng = np.random.default_rng(3)
    frames[1] += rng.normal(0, 7 * np.sqrt(0.44), frames[1].shape).astype(np.float32)
    noise = figures_of(frames).noise
    assert noise[1] / np.delete(noise, 1).mean() == pytest.approx(1.2, abs=0.02)


def test_two_frames_are_not_vetted_and_the_setting_turns_it_off():
    assert figures_of(noise_frames(2)) is None
    assert figures_of(noise_frames(3), vet_frames="off") is None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_named_with_its_frame(fault):
    rng = np.random.default_rng(4)
    frames = WHITE.frames(5, rng, SIDE)
    odd = 0 if "persistence" in fault.name else 3
    fault.add(frames, odd, rng, WHITE)
    vetting = vet(frames, WHITE, np.where(np.arange(5) == odd, 6.0, 0.0) if fault.name == "+6 K" else None)
    assert [i for i, frame in enumerate(vetting.frames) if frame.findings] == [odd]
    assert any(word in vetting.warnings[0] for word in fault.words)
    assert vetting.warnings[0].startswith(f"frame {odd}: ")
    assert vetting.culprit == (None if "persistence" in fault.name else odd)
    assert bool(vetting.trend) == ("persistence" in fault.name)


def test_good_sets_have_no_warning():
    for n in (3, 5, 10):
        rng = np.random.default_rng(n)
        assert vet(WHITE.frames(n, rng, SIDE), WHITE).warnings == ()


@pytest.mark.slow
def test_good_sets_with_drifts_glow_and_cosmic_rays_have_no_warning():
    warned = [(name, n, vetting.warnings) for name, n, vetting in good_sets(55, 5, SIDE) if vetting.warnings]
    assert warned == []


@pytest.mark.slow
def test_faults_are_named_among_drifts_and_cosmic_rays():
    missed = [
        (fault.name, name, n, odd, vetting.warnings)
        for fault, name, n, odd, vetting in faulty_sets(6, SIDE)
        if not is_named(fault, n, odd, vetting)
    ]
    assert missed == []


def test_of_three_frames_the_warning_says_that_it_is_not_certain():
    rng = np.random.default_rng(5)
    frames = WHITE.frames(3, rng, SIDE)
    frames[1][40:120, 40:120] += 20
    vetting = vet(frames, WHITE)
    assert "probably has a light leak" in vetting.warnings[0]
    assert "of 3 frames it is not certain" in vetting.warnings[0]
    assert vetting.culprit is None


def test_glow_that_grows_is_a_trend_and_no_frame_is_left_out():
    rng = np.random.default_rng(6)
    frames = WHITE.frames(5, rng, SIDE)
    for i, frame in enumerate(frames):
        frame[:, 128:][:64] += 5 * i
    vetting = vet(frames, WHITE)
    assert vetting.trend == "glow or a light leak growing over the frames"
    assert vetting.slope_z > 10
    assert vetting.culprit is None


@pytest.fixture(scope="module")
def good():
    return vet(WHITE.frames(FEWEST_TO_EXCLUDE, np.random.default_rng(7), SIDE), WHITE)


HOURS = np.arange(5) / 10


@pytest.mark.parametrize(
    ("kelvin", "named"),
    [
        ([40, 40, 40, 40, 46], {4: "warmer than the others by 6.0 K"}),
        ([50, 47.5, 45, 42.5, 40], {0: "warmer", 1: "warmer", 3: "colder", 4: "colder"}),
        ([40, 40, 40, 45, 45], {3: "warmer", 4: "warmer"}),
        ([40, 40, 41, 41, 41.9], {}),
        ([np.nan, 40, 40, np.nan, 46], {4: "warmer"}),
        ([np.nan] * 5, {}),
    ],
)
def test_frames_of_another_temperature_are_named(good, kelvin, named):
    vetting = judge_conditions(good, np.array(kelvin, float), HOURS, 2.0, 60.0)
    assert {i for i, frame in enumerate(vetting.frames) if frame.findings} == set(named)
    for i, words in named.items():
        assert words in vetting.frames[i].findings[0]
    assert vetting.frames[1].days == pytest.approx(-0.1 / 24)


def test_frames_of_another_epoch_are_named(good):
    vetting = judge_conditions(good, np.full(5, 40.0), HOURS - 700 * 24 * (np.arange(5) > 2), 2.0, 60.0)
    assert [frame.findings for frame in vetting.frames[:3]] == [(), (), ()]
    assert vetting.frames[3].findings == ("was taken 700 days before the others",)


def test_only_one_odd_frame_may_be_left_out(good):
    def with_findings(*odd):
        frames = [replace(frame, findings=("odd",) if i in odd else ()) for i, frame in enumerate(good.frames)]
        return replace(good, frames=tuple(frames))

    assert with_findings().culprit is None
    assert with_findings(2).culprit == 2
    assert with_findings(2, 3).culprit is None
    assert replace(with_findings(2), trend="fading").culprit is None
    left_out = with_findings(2).excluding(2)
    assert left_out.excluded.name == "frame 2"
    assert left_out.warnings == ("frame 2: odd: it was left out of the stack (vet-frames: exclude)",)


def test_verdicts_can_be_written_as_json(good):
    records = json.loads(json.dumps([frame.record() for frame in good.frames], allow_nan=False))
    assert records[0]["name"] == "frame 0"
    assert records[0]["shift"] == [0, 0]
    assert records[0]["noise_ratio"] == pytest.approx(1, abs=0.05)
