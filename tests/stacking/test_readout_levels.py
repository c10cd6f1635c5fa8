"""Overscan columns with a known level."""

import numpy as np
import pytest

from soxspipe.stacking.readout_levels import measure_overscan

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
