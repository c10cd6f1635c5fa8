"""The planes of a product by their names, whether its images are compressed or not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ..exceptions import FrameError
from ..text import escape
from .images import FitsImage, read_image_hdus
from .pixel_reader import read_images

__all__ = ["plane_images", "read_planes"]


def plane_images(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, FitsImage]:
    """Return planes of a product, without their pixels.

    Parameters
    ----------
    path : path-like
        A product with plain or compressed images.
    names : sequence of str, optional
        EXTNAME of the planes, such as FLUX, QUAL and ERRS; default: all.

    Returns
    -------
    dict of str to FitsImage
        The planes by EXTNAME.

    Raises
    ------
    FrameError
        When the file is damaged, lacks a plane, or has one of another size.
    """
    images = {image.extname: image for image in reversed(read_image_hdus(path)) if image.extname}
    wanted = list(reversed(images)) if names is None else list(names)
    if missing := [name for name in wanted if name not in images]:
        found = ", ".join(map(escape, reversed(images))) or "none"
        raise FrameError(
            f"{escape(path)}: has no plane {', '.join(missing)}, found {found}: give a product of soxspipe, or read it "
            "with astropy.nddata.CCDData.read"
        )
    for name in wanted if names is not None else ():
        if images[name].shape != images[wanted[0]].shape:
            found, expected = (f"{nx} x {ny}" for ny, nx in (images[name].shape, images[wanted[0]].shape))
            raise FrameError(f"{escape(path)}: {name} is {found} pixels, expected {expected} as {wanted[0]}: remake it")
    return {name: images[name] for name in wanted}


def read_planes(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read planes of a product; see `plane_images`.

    Returns
    -------
    dict of str to ndarray, shape (ny, nx)
        Physical values by EXTNAME, in native byte order.
    """
    images = plane_images(path, names)
    return dict(zip(images, read_images(list(images.values())), strict=True))
