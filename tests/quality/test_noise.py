"""PULL STD, correlated noise and the spread of the noise between pixels, of frames whose noise is known."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.nddata import StdDevUncertainty

from soxspipe.quality.definitions import DEFINITIONS
from soxspipe.quality.noise import false_codes, noise_values
from soxspipe.quality.table import QualityTable
from soxspipe.stacking import clip_and_stack, create_noise_map

SHAPE = (400, 400)
RANGES = {name: definition.range for name, definition in DEFINITIONS.items()}


def stack_of(signal_e=3.0, noise_e=7.3, n_frames=5, pattern_e=0.0, row_e=0.0, seed=1, **keywords):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n_frames):
        frame = rng.poisson(np.broadcast_to(signal_e, SHAPE)) + noise_e * rng.standard_normal(SHAPE) + pattern_e + 1000
        frames.append((frame + row_e * rng.standard_normal((SHAPE[0], 1))).astype(np.float32))
    return clip_and_stack(frames, **keywords, unit="electron")


def table_of(stack):
    return QualityTable(noise_values(stack, create_noise_map(stack), 1.0), RANGES)


@pytest.fixture(scope="module")
def plain():
    return stack_of()


def test_good_sets_pass_whatever_their_pattern(plain):
    rng = np.random.default_rng(2)
    half = np.arange(SHAPE[1]) < 100
    sets = [
        plain,
        stack_of(50 * np.exp(0.5 * rng.standard_normal(SHAPE)), n_frames=10),
        stack_of(n_frames=3, pattern_e=20 * rng.standard_normal(SHAPE)),
        stack_of(n_frames=10, pattern_e=10 * rng.standard_normal((1, SHAPE[1]))),
        stack_of(np.where(rng.random(SHAPE) < 0.1, 10 ** rng.uniform(2, 4, SHAPE), 3), n_frames=10),
        stack_of(
            noise_e=np.where(half, 30.0, 7.3),
            regions=((slice(0, 400), slice(0, 100)), (slice(0, 400), slice(100, 400))),
        ),
    ]
    for stack in sets:
        table = table_of(stack)
        assert table["PULL STD"].value == table["RON MASTER RATIO"].value == pytest.approx(1, abs=0.02)
        assert table["PULL STD"].passed
        assert table["RON MASTER RATIO"].passed


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_errors_that_are_wrong_by_ten_per_cent_fail(plain, factor):
    master = plain.master.copy()
    master.uncertainty = StdDevUncertainty(plain.master.uncertainty.array * np.float32(factor))
    table = table_of(replace(plain, master=master))
    assert table["PULL STD"].value == pytest.approx(1 / factor, abs=0.02)
    assert table["PULL STD"].passed is False


def test_the_error_of_a_master_bias_is_in_both_halves(plain):
    with_bias = stack_of(common_error=np.full(SHAPE, 5.0, np.float32))
    assert table_of(with_bias)["PULL STD"].value == pytest.approx(table_of(plain)["PULL STD"].value, abs=0.001)


def test_one_sigma_of_the_map_holds_the_pattern(plain):
    rng = np.random.default_rng(3)
    error = np.sqrt((7.3**2 + 3) / 5)
    table = table_of(stack_of(pattern_e=2 * error * rng.standard_normal(SHAPE)))
    assert table["HOTPIX SIGMA"].value == pytest.approx(np.sqrt(5), rel=0.03)
    assert table_of(plain)["HOTPIX SIGMA"].value == pytest.approx(1, abs=0.02)


def test_correlated_noise_shows_in_sums(plain):
    table = table_of(plain)
    assert table["RON CORR"].value == pytest.approx(1, abs=0.06)
    assert table["RON CORR ROW"].value == pytest.approx(1, abs=0.15)
    table = table_of(stack_of(row_e=3.0))
    share = 9.0 / (9.0 + 7.3**2 + 3.0)  # of the variance of a pixel
    # of the 100 pixels of a box ten are in the same row, of a row all are; there are forty times ten rows
    assert table["RON CORR"].value == pytest.approx(np.sqrt(1 + 9 * share), rel=0.12)
    assert table["RON CORR ROW"].value == pytest.approx(np.sqrt(1 + 399 * share), rel=0.12)
    assert table["PULL STD"].value == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("n_frames", [3, 10])
@pytest.mark.parametrize("spread", [0.0, 0.2, 0.45])
def test_the_spread_of_the_noise(spread, n_frames):
    rng = np.random.default_rng(4)
    noise_e = 7.3 * np.exp(spread * rng.standard_normal(SHAPE))
    table = table_of(stack_of(0.0, noise_e, n_frames))
    found, error = table["RON SPREAD"].value, table["RON SPREAD ERR"].value
    assert abs(found - spread) < 4 * error + 0.05 * spread
    assert table["RON SPREAD"].passed is (spread < 0.3)
    warning = [line for line in table.warnings if "RON SPREAD" in line]
    assert bool(warning) is (spread > 0.3)
    assert all("expected at most 0.3: some" in line and "by their noise alone" in line for line in warning)


def test_false_codes_of_a_spread():
    # docs/method, section 4: both tails, per million
    for spread, per_million in ((0.2, 56), (0.35, 630), (0.5, 2530)):
        assert false_codes(spread, 5.0, 5.0) * 1e6 == pytest.approx(per_million, rel=0.02)
    rng = np.random.default_rng(6)
    z = np.exp(0.35 * rng.standard_normal(10**7)) * rng.standard_normal(10**7)
    for _ in range(10):
        z /= z[np.abs(z) < 4].std()
    assert false_codes(0.35, 5.0, 5.0) == pytest.approx(np.mean(np.abs(z) > 5), rel=0.05)


def test_a_frame_too_small_for_boxes():
    rng = np.random.default_rng(7)
    stack = clip_and_stack([rng.normal(0, 5, (8, 60)).astype(np.float32) for _ in range(3)], unit="electron")
    table = QualityTable(noise_values(stack, create_noise_map(stack), 1.0))
    assert table["RON CORR"].value is None
    assert table["PULL STD"].value == pytest.approx(1, abs=0.15)
