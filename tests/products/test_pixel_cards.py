import numpy as np
import pytest
from astropy.io import fits

from soxspipe.instruments.detectors import Geometry, Window
from soxspipe.products.pixel_cards import set_geometry


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3])
def test_the_cards_lead_from_a_raw_pixel_to_that_of_the_product(turns):
    raw = np.arange(12 * 17).reshape(12, 17)
    geometry = Geometry(raw.shape, turns, Window(2, 9, 3, 14), (), ())
    header = fits.Header()
    set_geometry(header, geometry)
    x0, x1, y0, y1 = (int(word) for word in header["TRIMSEC"].strip("[]").replace(",", ":").split(":"))
    product = np.rot90(raw[y0 - 1 : y1, x0 - 1 : x1], header["ROT90"])
    np.testing.assert_array_equal(product, geometry.to_product(raw[2:9, 3:14]))
    ltm = np.array([[header.get(f"LTM{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)])
    ltv = np.array([header["LTV1"], header["LTV2"]])
    for y, x in ((2, 3), (2, 13), (8, 3), (5, 7)):
        column, row = (ltm @ [x + 1, y + 1] + ltv).astype(int) - 1
        assert product[row, column] == raw[y, x]
