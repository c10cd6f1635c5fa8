import numpy as np
import pytest

from soxspipe.quality.dark_rate import dark_rate_quality
from soxspipe.quality.definitions import DEFINITIONS
from soxspipe.quality.table import QualityTable
from soxspipe.stacking import DarkRate, LevelFit


def table_of(rate, error=1e-3, level_error=0.01, masters=3, chi2=0.455, level_chi2=1.0, limit=0.05):
    rate = np.asarray(rate, np.float32)
    planes = {name: np.full(rate.shape, 5.0, np.float32) for name in ("offset_e", "offset_error_e")}
    fit = DarkRate(
        rate_e_per_s=rate,
        rate_error_e_per_s=np.full(rate.shape, error, np.float32),
        **planes,
        chi2=np.full(rate.shape, chi2 if masters > 2 else np.nan, np.float32),
        count=np.full(rate.shape, masters, np.uint16),
        nonlinear=rate > 5,
        codes_of_all=np.zeros(rate.shape, np.int32),
        codes_of_any=np.zeros(rate.shape, np.int32),
        exposure_s=np.array([60.0, 300.0, 900.0])[:masters],
    )
    level = LevelFit(
        level_e=np.zeros(masters),
        level_error_e=np.ones(masters),
        rate_e_per_s=0.1,
        rate_error_e_per_s=level_error,
        offset_e=5.0,
        offset_error_e=2.0,
        chi2=level_chi2 * max(masters - 2, 1),
        dof=masters - 2,
        drift_e=np.zeros((masters, 1)),
        regions=((slice(0, rate.shape[0]), slice(0, rate.shape[1])),),
    )
    return QualityTable(dark_rate_quality(fit, level, (rate > 5).astype(np.int32), limit_e_per_s=limit))


@pytest.fixture
def rate():
    rate = np.full((20, 30), 0.004)
    rate[:, ::2] = 0.006
    rate[0, :6] = [0.05, 0.5, 5, 5, 50, np.nan]
    return rate


def test_values(rate):
    values = {qc.name: qc.value for qc in table_of(rate)}
    assert set(values) == {name for name, one in DEFINITIONS.items() if "soxs_dark_current" in one.recipes}
    assert values["DARK RATE"] == pytest.approx(0.005, abs=2e-5)
    assert values["DARK RATE ERR"] == 0.01
    assert (values["OFFSET"], values["OFFSET ERR"]) == (5, 2)
    assert values["CHI2 MEDIAN"] == pytest.approx(0.455)
    assert values["LEVEL CHI2"] == 1
    assert (values["NONLIN NUM"], values["NONLIN TESTED"], values["NODATA NUM"]) == (1, True, 1)
    assert (values["MASTERS"], values["EXPTIME MIN"], values["EXPTIME MAX"]) == (3, 60, 900)
    assert [values[f"HOTPIX ABS{i}"] for i in (1, 2, 3)] == [5, 4, 3]


def test_hot_pixels_are_not_counted_below_five_errors(rate):
    values = {qc.name: qc.value for qc in table_of(rate, error=3e-3)}
    assert [values[f"HOTPIX ABS{i}"] for i in (1, 2, 3)] == [None, 4, 3]


def test_two_masters_have_no_chi2(rate):
    table = table_of(rate, masters=2)
    for name in ("CHI2 MEDIAN", "LEVEL CHI2", "NONLIN NUM"):
        assert table[name].value is None
    assert table["NONLIN TESTED"].value is False


@pytest.mark.parametrize(
    ("limit", "level_error", "passed"),
    [(0.005, 0.01, True), (0.004, 0.001, True), (0.002, 0.001, False), (0.002, 0.01, True), (None, 0.01, None)],
)
def test_the_specification_fails_more_than_two_errors_below_the_rate(rate, limit, level_error, passed):
    qc = table_of(rate, level_error=level_error, limit=limit)["DARK LIMIT"]
    assert (qc.value, qc.passed) == (limit, passed)


@pytest.mark.parametrize(
    ("name", "options", "passed"),
    [
        ("LEVEL CHI2", {"level_chi2": 10.8}, True),
        ("LEVEL CHI2", {"level_chi2": 10.9}, False),
        ("CHI2 MEDIAN", {"chi2": 0.455 * 1.09**2}, True),
        ("CHI2 MEDIAN", {"chi2": 0.455 * 1.12**2}, False),
        ("CHI2 MEDIAN", {"chi2": 0.455 * 0.88**2}, False),
    ],
)
def test_chi2_has_a_range(rate, name, options, passed):
    assert table_of(rate, **options)[name].passed is passed


def test_a_rate_within_three_errors_of_zero_has_no_verdict(rate):
    assert not table_of(rate, level_error=0.01)["DARK RATE"].judged
    assert table_of(rate, level_error=0.001)["DARK RATE"].judged
