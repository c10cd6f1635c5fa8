"""What real detectors do: each effect has its size, its place in the truth, and no influence when it is off."""

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.cli import command_line
from soxspipe.simulation import DarkSimulation, SimulatedDetector, simulate_darks

CLEAN = {
    "shape": (128, 520), "frames": 4, "structure": False, "drift_e": 0.0, "read_noise_spread": 0.0, "hot_fraction": 0.0,
    "cold_fraction": 0.0, "dead_fraction": 0.0, "telegraph_fraction": 0.0, "cosmic_rays_per_cm2_s": 0.0,
    "quantise": False,
}  # fmt: skip
NOISE = 7.3


def detector(**changes):
    return SimulatedDetector(DarkSimulation(**CLEAN | changes))


def added(index, **changes):
    """Return what an effect adds to a frame, electron; a changed Poisson draw of the dark current is noise."""
    return 2.3 * (detector(**changes).frame(index) - detector().frame(index))


def inside(image):
    return image[4:-4, 4:-4]


def test_dark_current_differs_between_pixels():
    dark = inside(detector(dsnu=0.5, dark_current_e_per_s=1.0).dark_e)
    assert dark.mean() == pytest.approx(300, rel=0.01)
    assert np.log(dark).std() == pytest.approx(0.5, rel=0.01)


def test_dark_current_has_an_exponential_tail_of_hot_pixels():
    tail = detector(dsnu_tail=0.05, dark_current_e_per_s=1.0)
    assert (tail.codes == 256).sum() == round(0.05 * 120 * 512)
    excess = tail.hot_e[tail.hot_e > 0]
    assert (excess.mean(), excess.std()) == pytest.approx((900, 900), rel=0.05)


def test_columns_and_rows_have_fixed_levels():
    pattern = detector(column_pattern_e=4.0, row_pattern_e=2.0).pedestal_e - 460
    assert pattern.mean(axis=0).std() == pytest.approx(4, rel=0.1)
    assert pattern.mean(axis=1).std() == pytest.approx(2, rel=0.2)


def test_warm_columns_are_named():
    warm = detector(warm_columns=2, warm_excess_e=6.0)
    columns = sorted(fault[3] for fault in warm.faults)
    np.testing.assert_array_equal(np.unique(np.nonzero(warm.codes == 256)[1]), columns)
    np.testing.assert_allclose(inside(warm.hot_e).sum(axis=0)[np.array(columns) - 4], 120 * 6, rtol=1e-5)


@pytest.mark.parametrize("scan", ["same", "alternating"])
def test_amplifiers_share_their_noise(scan, monkeypatch):
    of_nir = DarkSimulation(**CLEAN).detector
    monkeypatch.setattr(DarkSimulation, "detector", of_nir.model_copy(update={"output_scan": scan}))
    noise = added(1, common_noise_e=3.0)[:, :512].reshape(128, 8, 64)
    assert noise.std() == pytest.approx(3 * np.hypot(1, 1 / 3), rel=0.03)
    if scan == "alternating":
        noise[:, 1::2] = noise[:, 1::2, ::-1]
    # the mean of eight amplifiers holds what they share
    assert noise.mean(axis=1).std() == pytest.approx(3 * np.hypot(1, 1 / 3 / np.sqrt(8)), rel=0.03)
    power = np.abs(np.fft.rfft(noise.mean(axis=1).ravel())) ** 2
    assert power[1:100].mean() > 20 * power[-1000:].mean()


def test_the_row_noise_of_a_ccd_is_in_its_overscan():
    ccd = SimulatedDetector(DarkSimulation(**CLEAN | {"arm": "VIS", "row_noise_e": 3.0, "exptime_s": 0.0}))
    image = ccd.frame(0)
    rows = [image[:, columns].mean(axis=1) for columns in (slice(0, 50), slice(50, 470))]
    assert np.corrcoef(*rows)[0, 1] > 0.95


def test_persistence_fades_over_the_frames():
    fading = detector(persistence_e=600.0)
    named = {frame: (y, x, e) for _, frame, y, x, e in fading.faults}
    assert sorted(named) == [0, 1, 2, 3]
    y, x, _ = named[0]
    levels = [added(i, persistence_e=600.0)[max(y - 20, 4) : y + 20, max(x - 20, 4) : x + 20].mean() for i in range(4)]
    assert np.array(levels[1:]) / levels[:-1] == pytest.approx(np.full(3, np.exp(-0.5)), rel=0.1)
    assert named[2][2] == pytest.approx(600 * np.exp(-1))


def test_a_leak_is_in_one_frame_only():
    leak = {"leak_e": 50.0, "odd_frame": 3}
    assert [fault[:2] for fault in detector(**leak).faults] == [("leak, gradient", 2)]
    image = inside(added(2, **leak))
    assert image[:, -50:].mean() - image[:, :50].mean() == pytest.approx(50 * 462 / 512, rel=0.1)
    np.testing.assert_array_equal(added(1, **leak), 0)
    ((_, frame, y, x, _),) = detector(**leak, leak_shape="spot").faults
    assert frame == 2
    assert detector(**leak, leak_shape="spot").added_e(2)[y, x] == pytest.approx(50)


def test_one_frame_is_noisier():
    noisier = detector(noisier=1.5, odd_frame=1, exptime_s=0.0)
    assert [2.3 * noisier.frame(i).std() / NOISE for i in range(3)] == pytest.approx([1.5, 1, 1], rel=0.01)
    assert noisier.faults == [("noisier", 0, -1, -1, 1.5)]


def test_snowballs_have_a_core_and_a_halo():
    snow = detector(snowballs=4.0)
    found = [snow.snowballs(i) for i in range(20)]
    assert np.mean([len(each) for each in found]) == pytest.approx(4, abs=1.5)
    pixels, charges = snow.cosmic_rays(0)
    image = np.zeros(snow.codes.shape)
    image.ravel()[pixels] = charges
    for y, x, radius, core_e in found[0]:
        assert image[y, x] >= core_e
        halo = image[y, min(x + int(1.5 * radius) + 1, 515)]
        assert halo > 0
    assert snow.snowballs(1) != snow.snowballs(0)


def test_a_bias_has_neither_persistence_nor_leak():
    bias = SimulatedDetector(
        DarkSimulation(**CLEAN | {"arm": "VIS", "kind": "BIAS", "persistence_e": 60.0, "leak_e": 9.0})
    )
    assert bias.faults == []


def test_the_truth_names_all_that_was_planted(tmp_path):
    planted = {"warm_columns": 1, "persistence_e": 60.0, "leak_e": 10.0, "noisier": 1.2, "snowballs": 2.0}
    made = simulate_darks(tmp_path, DarkSimulation(**CLEAN | planted))
    with fits.open(made.truth) as truth:
        table, header = truth["FAULTS"].data, truth[0].header
    names = [path.name for path in made.frames]
    of = {fault: list(table["FRAME"][table["FAULT"] == fault]) for fault in set(table["FAULT"])}
    assert of.pop("snowball")[0] in names
    assert of == {"warm column": [""], "persistence": names, "leak, gradient": names[1:2], "noisier": names[1:2]}
    assert (header["ESO SIM NOISIER"], header["ESO SIM ODD FRAME"]) == (1.2, 2)


def test_every_option_of_the_command_is_a_parameter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = (
        "glow", "dsnu", "dsnu-tail", "column-pattern", "row-pattern", "row-noise", "common-noise", "warm-columns",
        "warm-excess", "snowballs", "persistence", "leak", "noisier", "odd-frame",
    )  # fmt: skip
    options = [f"--{name}={0.1 if name == 'dsnu-tail' else 1}" for name in numbers]
    options += ["--shape=64x128", "--frames=2", "--telegraph-duty=0.1x0.9", "--leak-shape=spot"]
    assert command_line.main(["simulate", "raw", *options, "-q"]) == 0
    header = fits.getheader("raw/truth.fits")
    assert header["ESO SIM TELEGRAPH DUTY"] == "(0.1, 0.9)"
    assert header["ESO SIM LEAK SHAPE"] == "spot"
    for name in numbers:
        key = f"ESO SIM {name.upper().replace('-', ' ')}"
        assert header.get(key, header.get(f"{key} E")) == (0.1 if name == "dsnu-tail" else 1)
