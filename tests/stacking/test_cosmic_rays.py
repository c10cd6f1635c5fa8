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
    if grows:  # by 2 + 4 pixels
        assert set(halo[:, 0]) == {3}
        assert np.ptp(halo[:, 1] // 64) == side - 1 + 2 * 6
        assert np.ptp(halo[:, 1] % 64) == side - 1 + 6


@pytest.mark.parametrize("hole", [False, True])
def test_the_halo_of_a_disc_is_its_radius_and_two_pixels(hole):
    y, x = np.mgrid[:64, :64]
    distance = np.hypot(y - 30, x - 30)
    disc = (distance <= 6.1) & ~(hole & (distance < 1.5))
    halo = halos(np.stack([np.zeros(disc.sum(), int), np.flatnonzero(disc)], axis=1).astype(np.int32), (64, 64))
    reached = distance.ravel()[halo[:, 1]]
    assert 13 < reached.max() < 16


def test_a_long_track_has_no_halo():
    track = np.zeros((64, 64), bool)
    track[30:33, 5:50] = True  # 135 pixels: a disc of as many would reach 8.6 pixels
    rejected = np.stack([np.zeros(track.sum(), int), np.flatnonzero(track)], axis=1)
    assert len(halos(rejected.astype(np.int32), (64, 64))) == 0
