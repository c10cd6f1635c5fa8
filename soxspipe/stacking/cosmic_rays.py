"""Groups of rejected samples: their neighbours, their number, and the halos of large ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["group_labels", "halos", "neighbours_of"]

#: A cluster of more pixels may have a halo: it grows by its radius and so many pixels.
LARGE_CLUSTER, HALO_PIXELS = 50, 2
#: Radius, pixels, of a circle that fits in every cluster with a halo: tracks that touch each other have none.
ROUND_RADIUS = 3

_Steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def neighbours_of(pixels: NDArray[np.integer], shape: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the eight neighbours of pixels.

    Parameters
    ----------
    pixels : ndarray of int, shape (n,)
        Indices into the flattened image.
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    number, neighbour : ndarray of int, shape (m,)
        Position in ``pixels``, and index of a neighbour; at the border of the image there are fewer than eight.
    """
    y, x = np.divmod(pixels, shape[1])
    near = [(y + dy, x + dx) for dy, dx in _Steps]
    inside = [(ny >= 0) & (ny < shape[0]) & (nx >= 0) & (nx < shape[1]) for ny, nx in near]
    number = np.concatenate([np.flatnonzero(one) for one in inside])
    index = np.concatenate([(ny * shape[1] + nx)[one] for (ny, nx), one in zip(near, inside, strict=True)])
    return number, index.astype(np.intp)


def group_labels(pixels: NDArray[np.integer], shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return the number of the connected group of each pixel.

    Parameters
    ----------
    pixels : ndarray of int, shape (n,)
        Pixels without repetition, as indices into the flattened image.
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    ndarray of int, shape (n,)
        From 0 up; pixels that touch at an edge or a corner belong together.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ordered, place = np.unique(pixels, return_inverse=True)
    one, near = neighbours_of(ordered, shape)
    other = np.minimum(np.searchsorted(ordered, near), len(ordered) - 1)
    touching = ordered[other] == near
    links = coo_array((touching[touching], (one[touching], other[touching])), (len(ordered),) * 2)
    return np.asarray(connected_components(links, directed=False)[1][place], np.intp)


def halos(rejected: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return the samples around large clusters of rejected samples.

    Parameters
    ----------
    rejected : ndarray of int32, shape (n, 2)
        Frame and pixel (index into the flattened image) of each rejected sample.
    shape : tuple of int
        Rows and columns of a frame.

    Returns
    -------
    ndarray of int32, shape (m, 2)
        Samples of clusters of more than 50 pixels, and those within 2 pixels and the radius of the largest circle in
        the cluster: a snowball has a halo. Clusters without a circle of 3 pixels are tracks and have none.
    """
    from scipy.ndimage import binary_fill_holes, distance_transform_edt

    found = [np.empty((0, 2), np.int32)]
    for frame in np.unique(rejected[:, 0]):
        pixels = rejected[rejected[:, 0] == frame, 1]
        if len(pixels) <= LARGE_CLUSTER:
            continue
        labels = group_labels(pixels, shape)
        for label in np.flatnonzero(np.bincount(labels) > LARGE_CLUSTER):
            y, x = np.divmod(pixels[labels == label], shape[1])
            margin = HALO_PIXELS + math.ceil(math.sqrt(len(y) / math.pi))  # no circle inside has a larger radius
            y0, x0 = max(int(y.min()) - margin, 0), max(int(x.min()) - margin, 0)
            outside = np.ones(
                (min(y.max() + margin + 1, shape[0]) - y0, min(x.max() + margin + 1, shape[1]) - x0), bool
            )
            outside[y - y0, x - x0] = False
            radius = distance_transform_edt(binary_fill_holes(~outside)).max()
            if radius < ROUND_RADIUS:
                continue
            reach = HALO_PIXELS + radius
            y, x = np.nonzero(distance_transform_edt(outside) <= reach)
            halo = (y + y0) * shape[1] + x + x0
            found.append(np.stack([np.full_like(halo, frame), halo], axis=1).astype(np.int32))
    return np.concatenate(found)
