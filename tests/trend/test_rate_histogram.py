"""Histograms keep the median, the width and the hot tail of the dark rates."""

import numpy as np
import pytest

from soxspipe.trend import rate_histogram


def edges(one):
    return one.centre + one.scale * np.sinh(np.linspace(one.low, one.high, len(one.counts) + 1))


def test_every_pixel_with_data_counts_once():
    rates = np.random.default_rng(1).normal(0.002, 0.01, (64, 64))
    rates[3, :5] = np.nan
    assert rate_histogram("a.fits", rates).counts.sum() == 64 * 64 - 5


def test_quantiles_of_the_histogram_are_those_of_the_rates():
    random = np.random.default_rng(2)
    rates = random.normal(0.002, 0.01, 100_000)
    rates[:1000] += random.exponential(5.0, 1000)
    one = rate_histogram("a.fits", rates)
    cdf = np.cumsum(one.counts) / rates.size
    for share in (0.1, 0.5, 0.9, 0.9995):
        expected = np.quantile(rates, share)
        assert np.interp(share, cdf, edges(one)[1:]) == pytest.approx(expected, abs=0.001, rel=0.05)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_rates_have_a_histogram(value):
    one = rate_histogram("a.fits", np.full(100, value))
    assert one.counts.sum() == 100
    assert np.isfinite(edges(one)).all()


def test_without_data_there_is_none():
    assert rate_histogram("a.fits", np.full(9, np.nan)) is None
