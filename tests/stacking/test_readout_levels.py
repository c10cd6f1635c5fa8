"""Overscan columns with a known level, and amplifiers with a known common mode."""

import numpy as np
import pytest

from soxspipe.stacking.readout_levels import CommonMode, measure_overscan

NOISE, ROWS = 3.8, 2000


def columns(seed=0, rows=0.0, noise=NOISE):
    """Return rounded prescan and overscan columns around 1000 with a pattern of columns."""
    rng = np.random.default_rng(seed)
    level = 1000 + np.broadcast_to(rows, ROWS)[:, np.newaxis]
    spans = [level + noise * rng.standard_normal((ROWS, n)) + 0.3 * rng.standard_normal(n) for n in (46, 46)]
    return [np.rint(span).astype(np.float32) for span in spans]


def wander():
    """Return a level that wanders by about 1 over 200 rows."""
    return np.sin(np.arange(ROWS) / 200) + 0.5 * np.sin(np.arange(ROWS) / 63)


def test_the_wander_is_followed_within_the_error_of_a_row():
    found = measure_overscan(columns(rows=wander()), 1.0)
    error = found.rows - found.mean - (wander() - wander().mean())
    assert found.row_error == pytest.approx(NOISE / np.sqrt(41 * 92), rel=0.05)
    assert error.std() < 1.5 * found.row_error
    assert found.noise == pytest.approx(NOISE, rel=0.02)


def test_without_wander_no_noise_is_added():
    found = [measure_overscan(columns(seed), 1.0) for seed in range(5)]
    assert np.mean([levels.rows.std() for levels in found]) < 0.015  # a running mean scatters by 0.06
    assert all(levels.rows.mean() == pytest.approx(levels.mean) for levels in found)
    assert [levels.mean for levels in found] == pytest.approx([1000] * 5, abs=0.15)


def test_a_step_of_the_pedestal_is_followed():
    step = np.where(np.arange(ROWS) < 700, 0.0, 100.0)
    rows = measure_overscan(columns(rows=step), 1.0).rows
    assert rows[600] == pytest.approx(1000, abs=0.4)
    assert rows[800] == pytest.approx(1100, abs=0.4)


def test_hot_columns_outliers_bright_rows_and_missing_samples_take_no_part():
    clean = measure_overscan(columns(rows=wander()), 1.0)
    spans = columns(rows=wander())
    spans[0][:, 7] += 3  # less than a sample's noise, but far above the other columns
    spans[1][:, 40] = 60000
    spans[1][::50, 3] += 500
    spans[0][300:303] += 2000
    spans[1][:, 9] = np.nan
    spans[0][1000:1010, :20] = np.inf
    found = measure_overscan(spans, 1.0)
    np.testing.assert_allclose(found.rows - found.mean, clean.rows - clean.mean, atol=0.12)
    assert found.mean == pytest.approx(clean.mean, abs=0.03)


def test_the_levels_of_the_spans_are_compared():
    spans = columns()
    spans[1] += 20
    first, second = measure_overscan(spans, 1.0).spans
    assert second - first == pytest.approx(20, abs=0.3)


def test_constant_columns_have_their_level():
    found = measure_overscan([np.full((100, 5), 7, np.float32)], 1.0)
    assert (found.mean, found.wander, found.row_error) == (7, 0, 0)
    assert (found.rows == 7).all()


def test_columns_without_data_have_no_level():
    assert np.isnan(measure_overscan([np.full((100, 5), np.nan, np.float32)]).mean)


# ---------------------------------------------------------------- common mode

REGIONS = [(x, x + 64) for x in range(0, 1024, 64)]
GLOW = 20 * np.exp(-np.arange(512) / 100)[:, np.newaxis]


def pink(rng, length):
    spectrum = rng.standard_normal((2, length // 2 + 1)) / np.sqrt(np.maximum(np.arange(length // 2 + 1), 1))
    spectrum[:, 0] = 0
    series = np.fft.irfft(spectrum[0] + 1j * spectrum[1], length)
    return series / series.std()


def outputs(common, frames=3):
    """Return frames of 16 amplifiers that read alternately, and the fixed levels in them: columns and glow."""
    rng = np.random.default_rng(3)
    fixed = GLOW + 5 * rng.standard_normal(1024)
    images = []
    for _ in range(frames):
        shared = common * pink(rng, 512 * 64).reshape(512, 64)
        pair = np.concatenate([shared, shared[:, ::-1]], axis=1)
        images.append((fixed + np.tile(pair, 8) + 5 * rng.standard_normal((512, 1024))).astype(np.float32))
    return images, fixed


def without_common_mode(images, **changes):
    common = CommonMode(images, **{"regions": REGIONS, "alternating": True} | changes)
    cleaned = [image.copy() for image in images]
    for frame, image in enumerate(cleaned):
        common.remove(frame, 0, image)
    return cleaned


def test_the_common_mode_is_removed_and_fixed_levels_stay():
    images, fixed = outputs(common=6.0)
    before, after = ((np.mean(stack, axis=0) - fixed) for stack in (images, without_common_mode(images)))
    white = 5 / np.sqrt(3)
    assert before.std() == pytest.approx(np.hypot(white, 6 / np.sqrt(3)), rel=0.05)
    assert after.std() < 1.25 * white
    wrong = np.mean(without_common_mode(images, alternating=False), axis=0) - fixed
    assert wrong.std() > 1.03 * after.std()
    # what stays differs between the frames, so that the noise measured from their differences holds it
    first, second, third = without_common_mode(images)
    scatter = np.sqrt(np.mean([(first - second).var(), (second - third).var(), (third - first).var()]) / 2)
    assert scatter == pytest.approx(after.std() * np.sqrt(3), rel=0.1)
    assert scatter < 0.75 * (images[0] - images[1]).std()
    columns = after.mean(axis=0) - after.mean()
    assert columns.std() < 1.1 * before.mean(axis=0).std()


def test_without_common_mode_little_changes():
    images, fixed = outputs(common=0.0)
    before, after = ((np.mean(stack, axis=0) - fixed) for stack in (images, without_common_mode(images)))
    assert after.std() == pytest.approx(before.std(), rel=0.03)
    assert np.abs(after[:20].mean() - before[:20].mean()) < 0.5  # a glow of 20


def test_the_common_mode_of_some_rows_is_that_of_the_frame():
    images, _ = outputs(common=6.0)
    common, whole = CommonMode(images, REGIONS, alternating=True), without_common_mode(images)
    rows = images[1][100:137].copy()
    common.remove(1, 100, rows)
    np.testing.assert_array_equal(rows, whole[1][100:137])


def test_too_few_simultaneous_samples_have_no_common_mode():
    images, _ = outputs(common=6.0)
    cut = [image[:, :500] for image in images]  # the last of eight amplifiers is cut
    regions = [(x, min(x + 64, 500)) for x in range(0, 500, 64)]
    cleaned = without_common_mode(cut, regions=regions, alternating=False)
    changed = (cleaned[0] != cut[0]).any(axis=0)
    assert changed.reshape(-1)[:52].all()
    assert not changed[52:64].any()


def test_missing_samples_and_hot_pixels_do_not_spoil_the_common_mode():
    images, _ = outputs(common=6.0)
    whole = without_common_mode(images)
    for image in images:
        image[40, 100] = np.nan
        image[50:60, 300] = 1e5
    found = without_common_mode(images)
    assert np.isnan(found[0][40, 100])
    np.testing.assert_allclose(np.delete(found[0], 300, axis=1)[41:], np.delete(whole[0], 300, axis=1)[41:], atol=3)
    assert found[0][55, 300] == pytest.approx(1e5, abs=100)
