"""Other packages of the field read the products, and use them as they are."""

import astropy.units as u
import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData

import soxspipe
from soxspipe.recipes import soxs_mbias, soxs_mdark, soxs_subtract_dark
from soxspipe.simulation import DarkSimulation, simulate_darks

CCD = {"arm": "VIS", "shape": (128, 200), "detector_seed": 7}
TIME = {"exposure_time": "EXPTIME", "exposure_unit": u.second}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return the paths of a master bias, a master dark, a raw frame, and of the frame minus the dark."""
    folder = tmp_path_factory.mktemp("files")
    biases = simulate_darks(folder / "bias", DarkSimulation(kind="BIAS", frames=5, **CCD)).frames
    darks = simulate_darks(folder / "dark", DarkSimulation(exptime_s=600.0, frames=5, seed=2, **CCD)).frames
    (raw,) = simulate_darks(folder / "new", DarkSimulation(exptime_s=600.0, frames=1, seed=3, **CCD)).frames
    bias = soxs_mbias(biases, output_dir=folder).produce_product().path
    dark = soxs_mdark([*darks, bias], output_dir=folder).produce_product().path
    return bias, dark, raw, soxs_subtract_dark([raw, dark], output_dir=folder).produce_product().path


def test_ccddata_reads_the_planes(files):
    for path in (files[0], files[1], files[3]):
        frame = CCDData.read(path, hdu="FLUX", hdu_mask="QUAL", hdu_uncertainty="ERRS", key_uncertainty_type="UTYPE")
        ours = soxspipe.read(path)
        np.testing.assert_array_equal(frame.data, ours.data)
        np.testing.assert_array_equal(frame.uncertainty.array, ours.uncertainty.array)
        np.testing.assert_array_equal(frame.mask, ours.mask)


def test_ccdproc_subtracts_our_dark_from_our_frame(files):
    bias, dark, raw, _ = files
    prepared, master = soxspipe.prepare_frame(raw, bias=bias), soxspipe.read(dark)
    result = ccdproc.subtract_dark(prepared, master, **TIME, scale=False)
    ours = soxspipe.subtract_dark(raw, dark)
    np.testing.assert_allclose(result.data, ours.data, atol=1e-4)
    assert isinstance(result, type(prepared))
    np.testing.assert_array_equal(result.mask, ours.mask)
    assert np.nanmedian(result.uncertainty.array) > np.nanmedian(ours.uncertainty.array)


def test_qc_values_survive_ccdproc(files):
    master = soxspipe.read(files[1])
    expected = master.qc["RON RAW"]
    for result in (
        ccdproc.trim_image(master[:, 5:]),
        ccdproc.subtract_dark(master, master, **TIME),
        ccdproc.gain_correct(master, 1.0 * u.dimensionless_unscaled),
        ccdproc.transform_image(master, np.fliplr),
    ):
        assert result.qc["RON RAW"] == expected


def test_ccdproc_scales_the_pedestal_of_a_dark_that_holds_it(tmp_path):
    """The reason of the COMMENT in such a master."""
    camera = {"arm": "ACQ", "shape": (64, 64)}
    darks = simulate_darks(tmp_path / "dark", DarkSimulation(exptime_s=60.0, frames=3, **camera)).frames
    (raw,) = simulate_darks(tmp_path / "new", DarkSimulation(exptime_s=120.0, frames=1, seed=3, **camera)).frames
    master = soxspipe.read(soxs_mdark(darks, output_dir=tmp_path).produce_product().path)
    result = ccdproc.subtract_dark(soxspipe.prepare_frame(raw), master, **TIME, scale=True)
    assert np.median(result.data) < -500
    assert "ccdproc.subtract_dark(..., scale=True)" in str(master.header["COMMENT"])


def test_photutils_measures_on_our_frames(files):
    pytest.importorskip("photutils")
    from photutils.aperture import CircularAperture, aperture_photometry
    from photutils.background import MedianBackground

    frame = soxspipe.read(files[3])
    y, x = np.indices(frame.shape)
    star = 2000 * np.exp(-((x - 50) ** 2 + (y - 60) ** 2) / 8)
    frame.data[:] = frame.data + star
    table = aperture_photometry(frame, CircularAperture((50.0, 60.0), r=8.0))
    assert table["aperture_sum"][0].value == pytest.approx(star[~frame.mask].sum(), rel=0.01)  # bad pixels are left out
    assert table["aperture_sum_err"][0].value == pytest.approx(np.sqrt(np.pi * 64) * 4.2, rel=0.2)
    assert abs(MedianBackground().calc_background(frame.data[~frame.mask])) < 0.2


def test_specreduce_extracts_from_our_frames(files):
    pytest.importorskip("specreduce")
    pytest.importorskip("specutils")
    from specreduce.extract import BoxcarExtract
    from specreduce.tracing import FlatTrace
    from specutils import Spectrum

    frame = soxspipe.read(files[3])
    spectrum = BoxcarExtract(frame, FlatTrace(frame, 60), width=8).spectrum
    assert isinstance(spectrum, Spectrum)
    assert spectrum.flux.unit == u.electron
    assert spectrum.flux.shape == (100,)
    assert abs(np.median(spectrum.flux.value)) < 5
