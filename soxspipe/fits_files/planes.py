"""The planes of a product by their names, whether its images are compressed or not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ..exceptions import FrameError
from ..text import escape
from .images import read_image_hdus
from .pixel_reader import PixelReader

__all__ = ["read_planes"]


def read_planes(path: str | os.PathLike[str], names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read planes of a product.

    Parameters
    ----------
    path : path-like
        A product with plain or compressed images.
    names : sequence of str, optional
        EXTNAME of the planes, such as FLUX, QUAL and ERRS; default: all.

    Returns
    -------
    dict of str to ndarray, shape (ny, nx)
        Physical values by EXTNAME, in native byte order.

    Raises
    ------
    FrameError
        When the file is damaged, or lacks a plane.
    """
    images = {image.extname: image for image in reversed(read_image_hdus(path)) if image.extname}
    wanted = list(reversed(images)) if names is None else list(names)
    if missing := [name for name in wanted if name not in images]:
        found = ", ".join(map(escape, reversed(images))) or "none"
        raise FrameError(f"{escape(path)}: has no plane {', '.join(missing)}, found {found}: give another product")
    with PixelReader([images[name] for name in wanted]) as reader:
        return {name: reader.read_rows(i, 0, images[name].shape[0]) for i, name in enumerate(wanted)}
