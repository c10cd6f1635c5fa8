import numpy as np
import pytest

from soxspipe.instruments.keywords import shipped_instruments

DETECTORS = [(instrument.name, arm) for instrument in shipped_instruments() for arm in instrument.detectors]


@pytest.mark.parametrize(("name", "arm"), DETECTORS)
@pytest.mark.parametrize("binning", [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_the_geometry_of_a_product_is_that_of_its_raw_frames(name, arm, binning):
    (instrument,) = [instrument for instrument in shipped_instruments() if instrument.name == name]
    detector = instrument.detectors[arm]
    raw_shape = tuple(side // bins for side, bins in zip(detector.raw_shape, binning, strict=True))
    geometry = detector.geometry(raw_shape, binning, "raw.fits")
    assert detector.geometry_of_product(geometry.product_shape, binning, "product.fits") == geometry
    owner = np.zeros(geometry.shape, int)
    for number, window in enumerate(geometry.amplifiers, 1):
        owner[window.y0 : window.y1, window.x0 : window.x1] = number
    turned = np.zeros(geometry.product_shape, int)
    for number, window in enumerate(geometry.product_amplifiers, 1):
        turned[window.y0 : window.y1, window.x0 : window.x1] = number
    np.testing.assert_array_equal(turned, geometry.to_product(owner))


@pytest.mark.parametrize(("name", "arm"), DETECTORS)
def test_images_are_turned_to_product_orientation_and_back(name, arm):
    (instrument,) = [instrument for instrument in shipped_instruments() if instrument.name == name]
    detector = instrument.detectors[arm]
    geometry = detector.geometry(detector.raw_shape, (1, 1), "frame")
    ny, nx = geometry.shape
    owner = np.arange(ny * nx).reshape(ny, nx)
    product = geometry.to_product(owner)
    assert product.shape == geometry.product_shape
    np.testing.assert_array_equal(geometry.from_product(product), owner)
    # quarter turns counter-clockwise, rows counted from the top as in numpy.rot90
    corner = {0: owner[0, 0], 1: owner[0, -1], 2: owner[-1, -1]}[detector.rot90_count]
    assert product[0, 0] == corner
