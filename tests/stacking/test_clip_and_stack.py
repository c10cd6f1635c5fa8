import threading
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units
from astropy.nddata import CCDData
from astropy.stats import sigma_clip
from ccdproc import Combiner

from soxspipe.exceptions import InputError, TooFewFramesError
from soxspipe.stacking import ArrayStack, NoiseModel, clip_and_stack, create_noise_map
from soxspipe.stacking.averages import mean_of, std_of
from soxspipe.stacking.parameters import StackParameters
from soxspipe.stacking.robust import clipped_moments


def model_of(shape, n_frames, read_noise_e=10.0, level_e=0.0):
    whole = ((slice(0, shape[0]), slice(0, shape[1])),)
    zero = np.zeros((n_frames, 1))
    return NoiseModel(
        whole, np.array([level_e]), np.array([read_noise_e]), zero, zero[:, 0] + level_e, zero[:, 0] + read_noise_e
    )


def noisy_frames(n_frames=5, shape=(256, 256), read_noise_e=10.0, seed=1, dark_e=2.0, hot_fraction=0.01):
    rng = np.random.default_rng(seed)
    hot = rng.random(shape) < hot_fraction
    truth = dark_e + np.where(hot, 10 ** rng.uniform(1.5, 4, shape), 0)
    frames = []
    for _ in range(n_frames):
        frame = 1000 + rng.poisson(truth) + rng.normal(0, read_noise_e, shape)
        frame[rng.random(shape) < 1e-3] += 800
        frame = frame.astype(np.float32)
        frame.setflags(write=False)
        frames.append(frame)
    return frames, truth + 1000, hot


def test_pixels_worked_out_by_hand():
    frames = np.zeros((3, 32, 32), np.float32)
    frames[:, :4, 5] = np.array([[0, 4, 2], [0, 800, 4], [6, 2, 4], [100, 103, 106]]).T
    frames = list(frames)
    result = clip_and_stack(frames, noise_model=model_of((32, 32), 3), unit="electron")
    np.testing.assert_allclose(result.master.data[:4, 5], [2, 2, 4, 103])
    np.testing.assert_array_equal(result.count[:4, 5], [3, 2, 3, 3])
    # standard deviations with ddof 1 of (0, 4, 2), (0, 4), (6, 2, 4), (100, 103, 106)
    np.testing.assert_allclose(result.noise[:4, 5], [2, np.sqrt(8), 2, 3], rtol=1e-5)
    # without the furthest sample: (4, 2) or (0, 2), (0, 4), (2, 4), (100, 103)
    np.testing.assert_allclose(result.outlier_free_noise[:4, 5], np.sqrt([2, 8, 2, 4.5]), rtol=1e-4)
    assert result.n_rejected == 1
    # 103 electrons above the level add their shot noise, the others are within three errors of it
    assert result.master.uncertainty.array[0, 5] == pytest.approx(10 / np.sqrt(3), rel=0.02)
    assert result.master.uncertainty.array[3, 5] == pytest.approx(np.sqrt((100 + 103) / 3), rel=0.02)


def test_errors_are_right_and_hot_pixels_keep_their_value():
    frames, truth, hot = noisy_frames()
    result = clip_and_stack(frames, unit="electron")
    pull = (result.master.data - truth) / result.master.uncertainty.array
    assert abs(np.mean(pull)) < 0.03
    assert np.std(pull[~hot]) == pytest.approx(1, abs=0.01)
    assert np.std(pull[hot]) == pytest.approx(1, abs=0.1)
    bright = truth > 1300
    assert np.median((result.master.data[bright] - 1002) / (truth[bright] - 1002)) == pytest.approx(1, abs=0.005)
    assert abs(pull).max() < 6.5  # no cosmic ray is left
    halves = clipped_moments(result.half_difference[~hot[result.half_rows]])[1]
    assert halves == pytest.approx(np.sqrt(102 * (1 / 3 + 1 / 2)), rel=0.01)


@pytest.mark.parametrize("scale", ["noise-model", "std", "mad"])
def test_the_result_does_not_depend_on_band_height_or_workers(scale, monkeypatch):
    frames, _, _ = noisy_frames(shape=(112, 96))
    whole = clip_and_stack(frames, scale=scale, band_rows=112, unit="electron")
    for band_rows, workers, clipped_at_once in ((1, 1, 2**11), (7, 2, 5), (50, 3, 100), (None, 2, 3)):
        monkeypatch.setattr("soxspipe.stacking.band_combiner.CLIP_SAMPLES", clipped_at_once * len(frames))
        banded = clip_and_stack(frames, scale=scale, band_rows=band_rows, workers=workers, unit="electron")
        for name in ("noise", "outlier_free_noise", "count", "ambiguous"):
            np.testing.assert_array_equal(getattr(banded, name), getattr(whole, name))
        np.testing.assert_array_equal(banded.master.data, whole.master.data)
        np.testing.assert_array_equal(banded.master.uncertainty.array, whole.master.uncertainty.array)
        np.testing.assert_array_equal(banded.rejected, whole.rejected)
        assert sorted(map(tuple, banded.neighbours)) == sorted(map(tuple, whole.neighbours))
        np.testing.assert_array_equal(banded.half_difference, whole.half_difference)
        np.testing.assert_array_equal(banded.background_limited_error, whole.background_limited_error)
        np.testing.assert_array_equal(banded.background.total_e, whole.background.total_e)


@pytest.mark.parametrize("scale", ["std", "mad"])
def test_scatter_scales_are_those_of_astropy(scale):
    rng = np.random.default_rng(8)
    frames = rng.standard_t(3, (10, 64, 64)).astype(np.float32)
    result = clip_and_stack(
        list(frames), noise_model=model_of((64, 64), 10), scale=scale, stacked_clipping_sigma=2.5,
        frame_clipping_sigma=1e6, unit="electron")  # fmt: skip
    stdfunc = "mad_std" if scale == "mad" else "std"
    kept = sigma_clip(frames, sigma=2.5, maxiters=5, cenfunc="median", stdfunc=stdfunc, axis=0)
    np.testing.assert_array_equal(result.count, (~kept.mask).sum(axis=0))
    np.testing.assert_allclose(result.master.data, kept.mean(axis=0), atol=1e-5)
    assert result.n_rejected == kept.mask.sum() > 100


def test_the_frame_clip_does_not_remove_a_persistent_pixel():
    frames, truth, _ = noisy_frames(n_frames=4, hot_fraction=0.0)
    frames = [np.array(frame) for frame in frames]
    for i, frame in enumerate(frames):
        frame[10, 10] += 5000 + 20 * i  # hot in all frames: every frame flags it
        frame[20, 20] += 5000 if i == 2 else 0  # a cosmic ray
    result = clip_and_stack(frames, scale="std", stacked_clipping_sigma=5.0, unit="electron")
    # five sigma of the scatter of four samples rejects nothing; the frame's flag makes the cosmic ray stand out
    assert result.count[10, 10] == 4
    assert result.master.data[10, 10] == pytest.approx(truth[10, 10] + 5030, abs=30)
    assert result.count[20, 20] == 3


def test_missing_samples_are_left_out_and_counted():
    frames, _, _ = noisy_frames()
    ccds = [CCDData(np.array(frame), unit=units.electron) for frame in frames]
    ccds[0].data[3, 4] = np.nan
    for ccd in ccds:
        ccd.mask = np.zeros(ccd.shape, bool)
        ccd.mask[5, 6] = True
    result = clip_and_stack(ccds)
    assert result.count[3, 4] == 4
    assert np.isfinite(result.master.data[3, 4])
    assert result.count[5, 6] == 0
    for image in (result.master.data, result.master.uncertainty.array, result.noise):
        assert np.isnan(image[5, 6])
    assert result.master.mask[5, 6]
    assert result.master.mask.sum() == 1
    assert result.n_invalid == 6


def test_an_error_that_all_frames_share_does_not_average_out():
    frames, _, _ = noisy_frames()
    shared = np.full(frames[0].shape, 3.0, np.float32)
    alone, both = clip_and_stack(frames, unit="electron"), clip_and_stack(frames, common_error=shared, unit="electron")
    good = alone.background.total_e + 10 > alone.master.data
    np.testing.assert_allclose(
        both.master.uncertainty.array[good], np.hypot(alone.master.uncertainty.array[good], 3), rtol=1e-5
    )


def test_pixels_saturated_in_most_frames_are_marked():
    frames, _, _ = noisy_frames(n_frames=4)
    frames = [np.array(frame) for frame in frames]
    for frame in frames:
        frame[8, 8] = 60000
    frames[0][9, 9] = 60000
    result = clip_and_stack(ArrayStack(tuple(frames), (None,) * 4, saturation_e=60000))
    assert result.saturated.sum() == 1
    assert result.saturated[8, 8]
    assert result.master.data[8, 8] == pytest.approx(60000, rel=1e-6)


def test_wrong_input_is_refused():
    frames, _, _ = noisy_frames(n_frames=3)
    with pytest.raises(TooFewFramesError):
        clip_and_stack(frames[:1], unit="electron")
    with pytest.raises(InputError, match="one shape"):
        clip_and_stack([frames[0], frames[1][:100]], unit="electron")
    with pytest.raises(InputError, match="is in 'adu', expected electron"):
        clip_and_stack([CCDData(frame, unit="adu") for frame in frames])
    with pytest.raises(InputError, match="is in 'adu', expected electron"):
        clip_and_stack(frames, unit="adu")
    with pytest.raises(InputError, match="has no unit, expected electron: give a CCDData, or unit='electron'"):
        clip_and_stack(frames)
    with pytest.raises(InputError, match="stacked_clipping_scale is 'iqr', expected one of noise-model, std, mad"):
        clip_and_stack(frames, scale="iqr", unit="electron")
    with pytest.raises(InputError, match="stacked_clipping_sigma is -1"):
        clip_and_stack(frames, stacked_clipping_sigma=-1, unit="electron")
    with pytest.raises(InputError, match="unknown key 'sigma'"):
        clip_and_stack(frames, sigma=5.0, unit="electron")
    with pytest.raises(TypeError, match="expected StackParameters or keyword arguments, found float"):
        clip_and_stack(frames, 5.0, unit="electron")


def test_keywords_and_parameters_are_the_same():
    frames, _, _ = noisy_frames(shape=(64, 64))
    parameters = StackParameters(stacked_clipping_sigma=3.0, stacked_clipping_iterations=2)
    by_parameters = clip_and_stack(frames, parameters, unit="electron")
    by_keywords = clip_and_stack(
        frames, stacked_clipping_sigma=3, stacked_clipping_iterations=np.int64(2), unit="electron"
    )
    assert by_parameters.n_rejected == by_keywords.n_rejected > clip_and_stack(frames, unit="electron").n_rejected
    assert (
        clip_and_stack(frames, parameters, stacked_clipping_sigma=5.0, unit="electron").n_rejected
        < by_parameters.n_rejected
    )
    assert parameters.stacked_clipping_sigma == 3.0


def test_a_stack_describes_itself():
    frames, _, _ = noisy_frames(n_frames=3, shape=(64, 64))
    common_error = np.full((64, 64), 3.0, np.float32)
    halves = ((slice(0, 64), slice(0, 20)), (slice(0, 64), slice(20, 64)))
    described = {"regions": halves, "shot_scale": 0.5, "column_parity": True, "common_error": common_error}
    stack = ArrayStack.of(frames, unit="electron", **described)
    for result in (clip_and_stack(stack), clip_and_stack(frames, **described, unit="electron")):
        assert result.noise_model.regions == halves
        assert result.noise_model.shot_scale == 0.5
        assert result.common_error is common_error
        assert np.ptp(result.background.columns_e) > 0

    fields = {name: getattr(stack, name) for name in ("names", "shape", "step_e", "read", "subtracted_e", *described)}
    frames_on_disk = SimpleNamespace(**fields)
    np.testing.assert_array_equal(clip_and_stack(frames_on_disk).master.data, result.master.data)
    with pytest.raises(InputError, match="the frames have their own shot_scale: leave the keyword out"):
        clip_and_stack(frames_on_disk, shot_scale=1.0)


def test_arrays_are_not_changed():
    frames, _, _ = noisy_frames(n_frames=3, shape=(64, 64))  # read-only
    common_error = np.ones((64, 64), np.float32)
    common_error.setflags(write=False)
    stack = clip_and_stack(frames, common_error=common_error, unit="electron")
    for image in (stack.master.data, stack.master.uncertainty.array, stack.count, stack.noise):
        image.setflags(write=False)
    create_noise_map(stack)


@pytest.mark.parametrize("kind", [np.asarray, np.ma.masked_array])
@pytest.mark.parametrize("n_frames", [2, 3, 10])
def test_averages_for_the_combiner_take_plain_and_masked_arrays(n_frames, kind):
    """The next ccdproc hands over plain arrays; the mean is that of the Combiner's own to the last bit."""
    frames = np.random.default_rng(5).normal(3.0, 30.0, (n_frames, 40, 50)).astype(np.float32)
    ccds = [CCDData(frame, unit=units.electron, mask=np.zeros(frame.shape, bool)) for frame in frames]
    combined = Combiner(ccds, dtype=np.float32).average_combine()
    mean, std = mean_of(kind(frames)), std_of(kind(frames))
    assert type(mean) is type(std) is np.ndarray
    np.testing.assert_array_equal(mean, combined.data)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-4)


def test_an_exception_of_a_frame_is_raised_and_no_thread_is_left():
    frames, _, _ = noisy_frames(n_frames=3, shape=(256, 256))
    stack = ArrayStack.of(frames, unit="electron")

    def read(frame, start, stop, out):
        if start >= 100:
            raise InputError(f"row {start} cannot be read")
        stack.read(frame, start, stop, out)

    fields = ("names", "shape", "regions", "step_e", "shot_scale", "column_parity", "common_error", "subtracted_e")
    failing = SimpleNamespace(**{name: getattr(stack, name) for name in fields}, read=read)
    before = threading.active_count()
    with pytest.raises(InputError, match="cannot be read"):
        clip_and_stack(failing, noise_model=model_of((256, 256), 3), band_rows=20, workers=2)
    assert threading.active_count() == before


def test_charge_beside_a_cosmic_ray_is_left_out():
    rng = np.random.default_rng(51)
    frames = rng.normal(1000, 4, (3, 256, 256)).astype(np.float32)
    y, x = np.mgrid[5:250:8, 5:250:8]
    frames[0, y, x] += 2000
    places = np.concatenate([(y + dy) * 256 + x + dx for dy, dx in ((0, 1), (1, 0), (1, 1), (-1, 0))])
    frames[0].reshape(-1)[places] += 18  # 4.5 sigmas, below the clip
    result = clip_and_stack(list(frames), unit="electron")
    beside = result.master.data.reshape(-1)[places]
    assert abs(beside.mean() - 1000) < 0.55  # 6 without; the other samples alone would give the level to 0.6
    frame, pixel = np.concatenate([result.rejected, result.neighbours]).T
    lost = np.bincount(frame[np.isin(pixel, places)], minlength=3)
    assert lost[0] > 0.83 * beside.size
    assert lost[1:].sum() == 0
    assert result.n_rejected == len(result.rejected) + len(result.neighbours)


def test_the_halo_of_a_large_cluster_is_left_out():
    rng = np.random.default_rng(52)
    frames = rng.normal(1000, 4, (5, 256, 256)).astype(np.float32)
    y, x = np.mgrid[:256, :256]
    distance = np.hypot(y - 100, x - 120)
    frames[2][distance <= 6] += 500
    frames[2][(distance > 6) & (distance < 13)] += 4  # one sigma
    halo = (distance > 7.5) & (distance < 13)
    result = clip_and_stack(list(frames), band_rows=16, unit="electron")
    assert (result.count[halo] == 4).all()
    assert abs(result.master.data[halo].mean() - 1000) < 0.5
    assert (result.count[distance > 17] == 5).mean() > 0.999


def test_cosmic_rays_of_many_frames_are_no_second_level():
    rng = np.random.default_rng(820)
    frames = rng.normal(0, 7, (60, 128, 128)).astype(np.float32)
    frames[rng.random(frames.shape) < 5e-3] += 300  # all of one charge: a third of a hit for each pixel
    telegraph = np.zeros((128, 128), bool)
    telegraph[64, ::9] = True
    frames[:15, telegraph] += 300
    noisy = create_noise_map(clip_and_stack(list(frames), unit="electron")).codes & 1024 > 0
    assert noisy[telegraph].all()
    assert np.count_nonzero(noisy & ~telegraph) <= 2
