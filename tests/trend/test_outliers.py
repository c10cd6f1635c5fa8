"""Outliers are named from the first value of a step on, and noise is not."""

import numpy as np
import pytest

from soxspipe.trend.outliers import OUTLIER_SIGMA, WINDOW, deviations


def named(values, errors=None):
    return list(np.flatnonzero(np.abs(deviations(np.asarray(values, dtype=float), errors)) > OUTLIER_SIGMA))


def test_one_value_of_a_million_of_noise_is_an_outlier():
    values = np.random.default_rng(1).normal(7.5, 0.03, 20000)
    assert len(named(values)) <= 1
    sigmas = deviations(values)
    assert np.std(sigmas) == pytest.approx(1.0, abs=0.03)


def test_a_step_is_an_outlier_from_its_first_value_until_it_is_the_new_normal():
    values = np.random.default_rng(2).normal(7.5, 0.03, 400)
    values[200:] += 0.6
    assert named(values) == list(range(200, 200 + WINDOW // 2)) or named(values) == list(range(200, 201 + WINDOW // 2))


def test_a_single_wild_value_is_the_only_outlier():
    values = np.random.default_rng(3).normal(0.002, 1e-5, 100)
    values[[4, 60]] = 1e6, -1.0
    assert named(values) == [4, 60]


def test_a_value_with_a_large_error_is_not_an_outlier():
    values = np.random.default_rng(4).normal(3.0, 0.05, 60)
    values[40] = 4.0
    errors = np.full(60, np.nan)
    assert named(values, errors) == [40]
    errors[40] = 0.5
    assert named(values, errors) == []


def test_counts_scatter_by_one_and_constants_by_nothing():
    counts = np.zeros(50)
    counts[20], counts[30] = 1, 9
    assert named(counts) == [30]
    constant = np.full(50, 0.005)
    assert named(constant) == []
    constant[20] = 0.006
    assert named(constant) == [20]


def test_few_values_are_not_judged_and_missing_ones_are_skipped():
    assert np.isnan(deviations(np.array([1.0, 1.0, 1.0, 50.0]))).all()
    values = np.random.default_rng(5).normal(1.0, 0.01, 40)
    values[3] = np.nan
    sigmas = deviations(values)
    assert np.isnan(sigmas[3])
    assert np.isfinite(np.delete(sigmas, 3)).all()
    assert deviations(np.array([])).size == 0
