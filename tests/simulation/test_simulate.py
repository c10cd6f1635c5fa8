"""The simulated frames agree with their truth: every other test of the pipeline relies on that."""

import numpy as np
import pytest
from astropy.io import fits

from soxspipe.exceptions import FrameError, InputError, ProductError, ProductExistsError, SettingsError
from soxspipe.simulation import DarkSimulation, SimulatedDetector, frame_header, simulate_darks

ARMS = [
    ("SOXS", "NIR"),
    ("SOXS", "VIS"),
    ("SOXS", "ACQ"),
    ("XSHOOTER", "UVB"),
    ("XSHOOTER", "VIS"),
    ("XSHOOTER", "NIR"),
]
SMALL = (128, 200)  # wide enough for a CCD's prescan and overscan
CLEAN = {
    "structure": False,
    "drift_e": 0.0,
    "read_noise_spread": 0.0,
    "hot_fraction": 0.0,
    "cold_fraction": 0.0,
    "dead_fraction": 0.0,
    "telegraph_fraction": 0.0,
    "cosmic_rays_per_cm2_s": 0.0,
}


def small(**changes):
    return DarkSimulation(**{"shape": SMALL, "frames": 3, **changes})


def electrons(detector, frames):
    """Return the first frames of a detector in electrons, float64."""
    return np.array([detector.frame(i) for i in range(frames)], float) * detector.physics.conad_e_per_adu


def inside(detector, image):
    window = detector.geometry.science
    return image[..., window.y0 : window.y1, window.x0 : window.x1]


def outside(detector):
    mask = np.ones(detector.codes.shape, bool)
    inside(detector, mask)[...] = False
    return mask


# ---------------------------------------------------------------- seeds


def test_same_simulation_same_bytes(tmp_path):
    made = [simulate_darks(tmp_path / name, small()) for name in ("one", "two")]
    for first, second in zip(*[sorted(paths.sof.parent.iterdir()) for paths in made], strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()


def test_another_seed_is_another_detector_unless_it_is_given():
    first, second, third = (
        SimulatedDetector(small(**seeds)) for seeds in ({"seed": 1}, {"seed": 2}, {"seed": 2, "detector_seed": 1})
    )
    assert (first.codes != second.codes).any()
    np.testing.assert_array_equal(first.codes, third.codes)
    np.testing.assert_array_equal(first.pedestal_e, third.pedestal_e)
    assert (first.frame(0) != third.frame(0)).mean() > 0.5


def test_a_frame_does_not_depend_on_their_number():
    few, many = SimulatedDetector(small(frames=3)), SimulatedDetector(small(frames=50))
    np.testing.assert_array_equal(few.frame(2), many.frame(2))
    assert few.level_e(2) == many.level_e(2)
    assert (few.frame(1) != few.frame(2)).mean() > 0.5


# ---------------------------------------------------------------- physics


@pytest.mark.parametrize("ndit", [1, 4])
@pytest.mark.parametrize("quantise", [True, False])
def test_mean_and_variance_are_those_of_poisson_and_read_noise(ndit, quantise):
    simulation = small(
        **CLEAN, exptime_s=10.0, dark_current_e_per_s=4.0, read_noise_e=8.0, conad_e_per_adu=2.0, ndit=ndit,
        quantise=quantise,
    )  # fmt: skip
    detector = SimulatedDetector(simulation)
    stack = inside(detector, electrons(detector, 6))
    variance = (40 + 8**2) / ndit + (2**2 / 12 if quantise else 0)
    assert stack.mean() == pytest.approx(460 + 40, abs=4 * np.sqrt(variance / stack.size))
    assert stack.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / stack.size))
    assert stack.dtype == float


def test_read_noise_spreads_as_the_truth_says():
    detector = SimulatedDetector(small(**{**CLEAN, "read_noise_spread": 0.2}, exptime_s=0, quantise=False))
    assert detector.read_noise_e.std() / detector.read_noise_e.mean() == pytest.approx(0.2, rel=0.03)
    stack = electrons(detector, 20)
    pull = (stack - detector.pedestal_e) / detector.read_noise_e
    assert pull.std() == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(("instrument", "arm"), ARMS)
def test_borders_and_overscan_columns_see_no_dark_and_no_cosmic_ray(instrument, arm):
    simulation = small(
        instrument=instrument, arm=arm, dark_current_e_per_s=5.0, exptime_s=100.0, cosmic_rays_per_cm2_s=20.0
    )
    detector = SimulatedDetector(simulation)
    border = outside(detector)
    assert border.any() == (arm != "ACQ")
    assert not detector.dark_e[border].any()
    assert not detector.codes[border].any()
    assert (detector.dark_e[~border & (detector.codes & 512 == 0)] >= 500).all()
    pixels, _ = detector.cosmic_rays(0)
    assert pixels.size
    assert not border.ravel()[pixels].any()
    if arm != "ACQ":
        excess = electrons(detector, 1)[0] - detector.pedestal_e - detector.level_e(0)
        assert abs(np.median(excess[border])) < 3
        assert np.median(excess[~border]) > 450


def test_glow_rises_towards_the_amplifiers_and_does_not_grow_with_time():
    short, long = (
        SimulatedDetector(small(**CLEAN, glow_e=100.0, dark_current_e_per_s=0.0, exptime_s=dit))
        for dit in (10.0, 600.0)
    )
    np.testing.assert_array_equal(short.dark_e, long.dark_e)
    glow = inside(short, short.dark_e)
    assert glow[0, 0] == pytest.approx(100)
    assert glow[64, 96] < 2
    assert glow[0, 96] > 10 * glow[-1, 96]


def test_rows_share_noise_that_is_stronger_at_low_frequencies():
    detector = SimulatedDetector(small(**CLEAN, row_noise_e=5.0, read_noise_e=1.0, exptime_s=0, quantise=False))
    rows = np.array([image.mean(axis=1) for image in electrons(detector, 20) - detector.pedestal_e])
    assert rows.std() == pytest.approx(5, rel=0.02)
    power = (np.abs(np.fft.rfft(rows, axis=1)) ** 2).mean(axis=0)
    assert power[1:5].mean() > 5 * power[30:60].mean()


def test_the_pedestal_has_channels_and_odd_and_even_columns():
    pedestal = SimulatedDetector(small(cold_fraction=0.0, dead_fraction=0.0)).pedestal_e
    assert len({tuple(pedestal[:, x]) for x in range(192)}) == 6  # three whole channels, two levels each
    assert np.ptp(pedestal, axis=0).max() == 0


def test_levels_of_frames_drift_as_the_truth_says():
    detector = SimulatedDetector(small(**{**CLEAN, "drift_e": 50.0}, quantise=False))
    levels = [detector.level_e(index) for index in range(100)]
    assert np.std(levels) == pytest.approx(50, rel=0.3)
    means = electrons(detector, 4).mean(axis=(1, 2))
    np.testing.assert_allclose(means - means[0], np.subtract(levels[:4], levels[0]), atol=0.5)


def test_binning_gathers_dark_but_not_read_noise():
    ccd = {"arm": "VIS", "dark_current_e_per_s": 0.1, **CLEAN}
    unbinned = SimulatedDetector(DarkSimulation(**ccd))
    binned = SimulatedDetector(DarkSimulation(**ccd, binning=(2, 1)))
    assert binned.codes.shape == (unbinned.codes.shape[0] // 2, unbinned.codes.shape[1])
    assert binned.dark_e.max() == pytest.approx(2 * unbinned.dark_e.max())
    assert binned.read_noise_e.max() == unbinned.read_noise_e.max()
    header = frame_header(binned.simulation, 0)
    assert (header["ESO DET BINX"], header["ESO DET BINY"]) == (1, 2)


# ---------------------------------------------------------------- bad pixels and cosmic rays


def test_bad_pixels_are_as_many_and_as_bad_as_the_truth_says():
    shares = {"hot_fraction": 0.02, "cold_fraction": 0.01, "dead_fraction": 0.01, "telegraph_fraction": 0.01}
    clean = {**CLEAN, **shares}
    detector = SimulatedDetector(small(**clean, quantise=False, read_noise_e=5.0))
    defects, size = detector.defects, inside(detector, detector.codes).size
    found = dict(zip(*np.unique(defects["code"], return_counts=True), strict=True))
    assert found == {256: round(0.02 * size), 512: 2 * round(0.01 * size), 1024: round(0.01 * size)}
    np.testing.assert_array_equal(np.flatnonzero(detector.codes), np.sort(defects["pixel"]))
    np.testing.assert_array_equal(detector.hot_e > 0, detector.codes == 256)

    frames = 30
    stack = electrons(detector, frames).reshape(frames, -1)
    level = detector.pedestal_e.ravel() + detector.dark_e.ravel()
    quiet = detector.codes.ravel() != 1024
    error = np.sqrt((detector.dark_e.ravel() + 5.0**2) / frames)
    pull = (stack.mean(axis=0) - level) / error
    assert pull[quiet].std() == pytest.approx(1, rel=0.03)
    assert np.abs(pull[quiet]).max() < 6

    low = defects[defects["code"] == 512]
    assert 460 - detector.pedestal_e.ravel()[low["pixel"]] == pytest.approx(low["amplitude_e"], abs=0.01)
    telegraph = defects[defects["code"] == 1024]
    above = stack[:, telegraph["pixel"]] - level[telegraph["pixel"]] > telegraph["amplitude_e"] / 2
    assert 0.3 < above.mean() < 0.7
    assert (above.any(axis=0) & ~above.all(axis=0)).mean() > 0.95


def test_hot_pixels_reach_from_the_noise_to_the_ceiling():
    detector = SimulatedDetector(small(hot_fraction=0.2))
    low, high = detector.hot_range_e
    assert low == pytest.approx(3 * np.sqrt((7.3**2 + 1.5) / 10), rel=1e-3)
    assert high == pytest.approx(65535 * 2.3 - 460)
    counts, _ = np.histogram(np.log(detector.hot_e[detector.hot_e > 0]), 4, (np.log(low), np.log(high)))
    assert counts.min() > 0.85 * counts.max()


def test_samples_are_clipped_at_the_converter_or_the_detector():
    hot = {"hot_fraction": 0.2, "hot_range_e_per_s": (1e6, 1e6), "dead_fraction": 0.0}
    for instrument, arm, ceiling in (("SOXS", "NIR", 65535), ("XSHOOTER", "UVB", 65000), ("XSHOOTER", "NIR", 200000)):
        detector = SimulatedDetector(small(instrument=instrument, arm=arm, **hot))
        np.testing.assert_array_equal(detector.frame(0)[detector.codes & 256 > 0], ceiling)
    detector = SimulatedDetector(small(quantise=False, **hot))
    assert detector.frame(0).max() > 1e6
    assert detector.frame(0).dtype == np.float32


def test_hot_pixels_of_one_detector_grow_with_time():
    short, long = (SimulatedDetector(small(exptime_s=dit, hot_range_e_per_s=(0.1, 10.0))) for dit in (10.0, 100.0))
    np.testing.assert_allclose(long.hot_e, 10 * short.hot_e, rtol=1e-5)


def test_blocks_and_columns_are_hot():
    detector = SimulatedDetector(small(**CLEAN, hot_blocks=1))
    y, x = np.nonzero(detector.codes == 256)
    assert (np.ptp(y), np.ptp(x), y.size) == (8, 8, 81)
    assert np.unique(detector.hot_e[y, x]).size == 1
    detector = SimulatedDetector(small(**CLEAN, bad_columns=1))
    y, x = np.nonzero(detector.codes == 256)
    assert (np.unique(x).size, y.size) == (1, detector.geometry.shape[0])


@pytest.mark.parametrize("shape", ["tracks", "pixels"])
def test_cosmic_rays_hit_where_the_truth_says_and_nowhere_else(shape):
    detector, without = (
        SimulatedDetector(
            small(cosmic_shape=shape, cosmic_rays_per_cm2_s=rate, ndit=2, quantise=False, dead_fraction=0.05)
        )
        for rate in (10.0, 0.0)
    )
    pixels, charge_e = detector.cosmic_rays(1)
    difference = np.zeros(detector.codes.size)
    difference[pixels] = charge_e
    np.testing.assert_allclose(2.3 * (detector.frame(1) - without.frame(1)).ravel(), difference, atol=0.02)
    assert charge_e.min() > 0
    dead = (detector.codes == 512) & (detector.pedestal_e < 2350)
    assert dead.sum() > 1000
    assert not dead.ravel()[pixels].any()


def test_tracks_are_longer_than_single_pixels_and_have_a_tail():
    rays = {"arm": "VIS", "exptime_s": 3600.0, "shape": (1024, 400)}
    tracks = SimulatedDetector(DarkSimulation(**rays))
    pixels = SimulatedDetector(DarkSimulation(**rays, cosmic_shape="pixels", cosmic_range_e=(100.0, 200.0)))
    hit, charge_e = tracks.cosmic_rays(0)
    single, flat_e = pixels.cosmic_rays(0)
    assert 2.3 < hit.size / single.size < 3.5
    assert ((flat_e >= 100) & (flat_e < 400.001)).all()
    assert np.percentile(charge_e, 99) > 2.5 * np.median(charge_e)
    neighbours = np.isin(hit + 1, hit) | np.isin(hit - 1, hit) | np.isin(hit + 400, hit) | np.isin(hit - 400, hit)
    assert neighbours.mean() > 0.4


@pytest.mark.parametrize(("arm", "exptime_s", "shape", "fraction"), [
    ("VIS", 3600.0, (1024, 908), 3e-3), ("NIR", 300.0, (1024, 1024), 3e-4),
])  # fmt: skip
def test_default_rates_hit_the_documented_share_of_pixels(arm, exptime_s, shape, fraction):
    detector = SimulatedDetector(DarkSimulation(arm=arm, exptime_s=exptime_s, shape=shape))
    hits = sum(detector.cosmic_rays(index)[0].size for index in range(10))
    assert hits / 10 / inside(detector, detector.codes).size == pytest.approx(fraction, rel=0.08)


def test_bias_frames_fit_the_darks_of_their_detector():
    dark, bias = (SimulatedDetector(small(arm="VIS", kind=kind, hot_fraction=0.01)) for kind in ("DARK", "BIAS"))
    np.testing.assert_array_equal(dark.pedestal_e, bias.pedestal_e)
    np.testing.assert_array_equal(dark.codes & 1536, bias.codes)
    assert not bias.dark_e.any()
    assert not bias.cosmic_rays(0)[0].size
    assert (dark.frame(0) != bias.frame(0)).mean() > 0.5
    header = frame_header(bias.simulation, 0)
    assert (header["EXPTIME"], header["ESO DPR TYPE"]) == (0, "BIAS")


def test_truth_is_read_only():
    detector = SimulatedDetector(small())
    for image in (detector.dark_e, detector.hot_e, detector.pedestal_e, detector.read_noise_e, detector.codes):
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0] = 1


# ---------------------------------------------------------------- headers and files


@pytest.mark.parametrize(("instrument", "arm"), ARMS)
def test_headers_carry_what_the_instrument_table_asks_for(instrument, arm):
    simulation = small(instrument=instrument, arm=arm)
    header, table = frame_header(simulation, 1), simulation.table
    of_ccds, of_nir = {"binx", "biny"}, {"dit", "ndit"}
    absent = (of_nir if simulation.is_ccd else of_ccds) | {"unit", "time", "jd", "settings"}  # of other cameras
    for meaning, keywords in table.keywords.items():
        assert (table.value(header, meaning) is None) == (meaning in absent or not keywords), meaning
    keyword = simulation.detector.temperature_keyword
    assert keyword is None or header[keyword] > 0
    assert header["INSTRUME"] == instrument
    assert table.value(header, "arm") == arm
    assert table.value(header, "exptime") == 300
    assert [header[f"ESO DPR {key}"] for key in ("CATG", "TECH", "TYPE")] == ["CALIB", "IMAGE", "DARK"]
    assert table.value(header, "conad") * table.value(header, "gain") == pytest.approx(1)
    for keyword in (
        "ORIGIN",
        "TELESCOP",
        "ESO TPL NAME",
        "ESO TPL START",
        "ESO OBS ID",
        "ESO OBS NAME",
        "ESO OBS START",
    ):
        assert keyword in header
    assert (header["ESO TPL NEXP"], header["ESO TPL EXPNO"]) == (3, 2)
    size = header["ESO DET CHIP PSZX" if instrument == "SOXS" else "ESO DET CHIP1 PSZX"]
    assert size == simulation.detector.pixel_size_um


def test_headers_differ_between_arms():
    template = {"NIR": "SOXS_gen_cal_NIRDark", "VIS": "SOXS_gen_cal_VISDark", "ACQ": "SOXS_img_cal_Dark"}
    headers = {arm: frame_header(small(arm=arm), 0) for arm in template}
    assert {arm: header["ESO TPL ID"] for arm, header in headers.items()} == template
    assert "ESO SEQ ARM" not in headers["ACQ"]
    assert headers["ACQ"]["ESO DET3 CAM NAME"] == "ACQ"
    assert "EXPTIME" not in headers["ACQ"]
    assert headers["VIS"]["ESO INS TEMP104 VAL"] > 100
    assert headers["NIR"]["ESO INS TEMP217 VAL"] < 50
    header = frame_header(small(instrument="XSHOOTER", arm="NIR"), 0)
    assert "ESO DET NCORRS NAME" in header
    assert "ESO DET READ SPEED" not in header


def test_frames_follow_each_other():
    simulation = small(exptime_s=10.0, ndit=3, start="2026-03-01T11:00:00.0004+01:00")
    first, second = (frame_header(simulation, index) for index in (0, 1))
    assert first["DATE-OBS"] == "2026-03-01T10:00:00.000"
    assert first["MJD-OBS"] == pytest.approx(61100.41666667, abs=1e-8)
    assert second["MJD-OBS"] - first["MJD-OBS"] == pytest.approx((3 * 10 + 4.5) / 86400, abs=2e-8)
    assert first["ARCFILE"] == "SOXS.2026-03-01T10:00:00.000.fits"
    assert simulation.name_of(1) == "SOXS.2026-03-01T10-00-34.500.fits"


@pytest.mark.parametrize(("instrument", "arm"), ARMS)
def test_files_are_valid_and_come_with_their_truth(tmp_path, instrument, arm):
    simulation = small(instrument=instrument, arm=arm, cosmic_rays_per_cm2_s=1.0)
    steps = []
    made = simulate_darks(tmp_path / "new" / "night", simulation, progress=lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert made.sof.read_text().splitlines() == [f"{path.name} DARK_{arm}" for path in made.frames]
    assert sorted(made.sof.parent.iterdir()) == sorted([made.sof, made.truth, *made.frames])
    detector = SimulatedDetector(simulation)
    for index, path in enumerate(made.frames):
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            assert hdus[0].header["BITPIX"] == (32 if (instrument, arm) == ("XSHOOTER", "NIR") else 16)
            assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1
            np.testing.assert_array_equal(hdus[0].data, detector.frame(index))
            assert hdus[0].data.min() > 0
    with fits.open(made.truth, checksum=True) as truth:
        truth.verify("exception")
        assert all(hdu.verify_checksum() == hdu.verify_datasum() == 1 for hdu in truth)
        images = {"DARK": detector.dark_e, "PEDESTAL": detector.pedestal_e, "RON": detector.read_noise_e,
                  "CODES": detector.codes, "HOTAMP": detector.hot_e}  # fmt: skip
        for name, image in images.items():
            np.testing.assert_array_equal(truth[name].data, image)
        assert truth["COSMIC"].data.sum() == sum(detector.cosmic_rays(index)[0].size for index in range(3))
        assert list(truth["LEVELS"].data["FRAME"]) == [path.name for path in made.frames]
        np.testing.assert_allclose(truth["LEVELS"].data["LEVEL"], [detector.level_e(index) for index in range(3)])
        table = truth["DEFECTS"].data
        np.testing.assert_array_equal(table["Y"] * 200 + table["X"], detector.defects["pixel"])
        header = truth[0].header
        assert header["ESO SIM ORIENT"] == "RAW"
        assert header["ESO SIM SEED"] == simulation.seed
        assert header["ESO SIM READ NOISE E"] == detector.physics.read_noise_e


def test_older_files_are_left_alone_without_overwrite(tmp_path):
    made = simulate_darks(tmp_path, small())
    before = made.frames[1].read_bytes()
    with pytest.raises(ProductExistsError, match=r"darks\.sof: exists already and was left alone"):
        simulate_darks(tmp_path, small(seed=1))
    made.sof.unlink()
    made.truth.unlink()
    with pytest.raises(ProductExistsError, match=r"SOXS\.2026-03-01T10-00-00\.000\.fits: exists already"):
        simulate_darks(tmp_path, small(seed=1))
    assert made.frames[1].read_bytes() == before
    assert simulate_darks(tmp_path, small(seed=1), overwrite=True) == made
    assert made.frames[1].read_bytes() != before


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file: cannot be a folder \(File exists\)"):
        simulate_darks(tmp_path / "file", small())


def test_a_stopped_run_leaves_nothing(tmp_path):
    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_darks(tmp_path / "new" / "night", small(), progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_first_of_two_runs_into_one_folder_wins_with_all_its_files(tmp_path):
    made = []

    def another(done, _):
        if done == 1:
            # its first frame has the name of the second one of the run around it
            made.append(simulate_darks(tmp_path, small(seed=1, start="2026-03-01T10:05:04.5")))

    with pytest.raises(ProductError, match=r"darks\.sof: another run wrote this product in the meantime"):
        simulate_darks(tmp_path, small(frames=2), progress=another)
    (only,) = made
    assert sorted(tmp_path.iterdir()) == sorted([only.sof, only.truth, *only.frames])


def test_a_failure_keeps_the_older_files(tmp_path):
    made = simulate_darks(tmp_path, small())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(done, _):
        if done == 2:
            raise KeyError("a fault while frames are made")

    with pytest.raises(KeyError):
        simulate_darks(tmp_path, small(seed=1), overwrite=True, progress=fail)
    assert {path.name: path.read_bytes() for path in made.sof.parent.iterdir()} == before


# ---------------------------------------------------------------- invalid parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"instrument": "HARPS"}, r"'HARPS' and 'NIR', expected one of SOXS NIR"),
        ({"arm": "UVB"}, r"'SOXS' and 'UVB', expected one of"),
        ({"arm": 3}, "arm is 3, expected text"),
        ({"kind": "FLAT"}, "kind is 'FLAT', expected one of DARK, BIAS"),
        ({"frames": 0}, "frames is 0, expected a whole number from 1 to 9999"),
        ({"frames": 3.5}, "whole number"),
        ({"frames": True}, "whole number"),
        ({"frames": None}, "whole number"),
        ({"exptime_s": -1}, "exptime_s is -1, expected a number from 0 to 1e"),
        ({"exptime_s": float("nan")}, "exptime_s is nan"),
        ({"exptime_s": "300"}, "exptime_s is '300'"),
        ({"seed": -1}, "seed"),
        ({"seed": 10**400}, "seed"),
        ({"shape": (128,)}, "shape is .*, expected a pair of whole numbers from 32"),
        ({"shape": (128, 0)}, "shape"),
        ({"shape": 128}, "shape"),
        ({"binning": (2, 2)}, "NIR has neither"),
        ({"kind": "BIAS"}, "NIR has neither"),
        ({"arm": "VIS", "ndit": 2}, "ndit is 2, expected 1"),
        ({"start": "yesterday"}, "start is 'yesterday', expected a date and time"),
        ({"start": "9999-12-31T23:59:59"}, "start"),
        ({"read_noise_e": float("inf")}, "read_noise_e"),
        ({"hot_fraction": 0.9}, "hot_fraction is 0.9, expected a number from 0 to 0.2"),
        ({"hot_range_e_per_s": (2.0, 1.0)}, r"hot_range_e_per_s is \(2.0, 1.0\), expected a pair .*, the smaller one"),
        ({"cosmic_shape": "worms"}, "expected one of tracks, pixels"),
        ({"conad_e_per_adu": 0}, "conad_e_per_adu"),
        ({"pedestal_e": 500000.0}, "pedestal_e is 500000, expected less than 65535 ADU"),
        ({"quantise": 1}, "quantise is 1, expected true or false"),
        ({"exptime": 1.0}, r"unknown key 'exptime': did you mean 'exptime_s'\?"),
    ],
)
def test_invalid_parameters_are_refused_in_one_line(parameters, message):
    with pytest.raises(SettingsError, match=message) as caught:
        DarkSimulation(**parameters)
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith("simulation: ")


def test_all_faults_are_reported_at_once():
    with pytest.raises(SettingsError) as caught:
        DarkSimulation(frames=0, seed=-1)
    assert len(caught.value.faults) == 2


def test_a_frame_without_room_for_its_margins_is_refused():
    with pytest.raises(FrameError, match="fewer than 32 x 32") as caught:
        SimulatedDetector(DarkSimulation(arm="VIS", shape=(128, 128)))
    assert isinstance(caught.value, InputError)
