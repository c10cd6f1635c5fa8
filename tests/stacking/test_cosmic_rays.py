import numpy as np
import pytest

from soxspipe.stacking.cosmic_rays import group_labels, halos, neighbours_of


@pytest.mark.parametrize(
    ("pixels", "groups"),
    [
        ([21, 0, 55, 1, 10], 2),  # rows of ten: pixels 0, 1, 10 and 21 touch, the last by its corner
        ([9, 20, 99], 3),  # the end of a row does not touch the start of the next
    ],
)
def test_groups_touch_at_edges_and_corners(pixels, groups):
    assert np.unique(group_labels(np.array(pixels), (10, 10))).size == groups


def test_neighbours_stay_inside_the_image():
    number, pixel = neighbours_of(np.array([0, 55]), (10, 10))
    assert sorted(pixel[number == 0]) == [1, 10, 11]
    assert sorted(pixel[number == 1]) == [44, 45, 46, 54, 56, 64, 65, 66]


@pytest.mark.parametrize(("side", "grows"), [(7, False), (8, True)])
def test_clusters_above_fifty_pixels_have_a_halo(side, grows):
    y, x = np.mgrid[20 : 20 + side, :side]
    halo = halos(np.stack([np.full(y.size, 3), (y * 64 + x).ravel()], axis=1).astype(np.int32), (64, 64))
    assert (len(halo) > 0) is grows
    if grows:  # by 2 + sqrt(64 / pi), 6.5 pixels
        assert set(halo[:, 0]) == {3}
        assert np.ptp(halo[:, 1] // 64) == side - 1 + 2 * 6
        assert np.ptp(halo[:, 1] % 64) == side - 1 + 6
