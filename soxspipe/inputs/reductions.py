"""Split a list of inputs into reductions."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from contextlib import closing

from ..exceptions import InputError
from .frame_kinds import PRODUCT_CATEGORY

__all__ = ["split_reductions"]


def split_reductions(paths: Sequence[str], *, share_products: bool) -> list[list[str]]:
    """Split inputs into reductions.

    Each set of files and each folder is a reduction, and all other files together are one more.

    Parameters
    ----------
    paths : sequence of str
        Set-of-files files (their names end in ``.sof``), folders and FITS files.
    share_products : bool
        Whether products among the files are calibrations: they go with every reduction.

    Returns
    -------
    list of list of str
        The input of each reduction, in the order of the list.
    """
    is_set = [path.lower().endswith(".sof") or os.path.isdir(path) for path in paths]
    share_products = share_products and any(is_set)  # files alone are one reduction, products or not
    shared = [
        path for path, alone in zip(paths, is_set, strict=True) if share_products and not alone and _is_product(path)
    ]
    reductions: list[list[str]] = []
    frames: list[str] = []
    for path, alone in zip(paths, is_set, strict=True):
        if alone:
            reductions.append([path, *shared])
        elif path not in shared:
            if not frames:
                reductions.append(frames)
            frames.append(path)
    frames += shared if frames else []
    return reductions


def _is_product(path: str) -> bool:
    """Return whether a file is a product by its header; an unreadable file is reported where it is reduced."""
    from ..fits_files.images import image_hdus

    try:
        with closing(image_hdus(path)) as images:
            return any(image.header.get(PRODUCT_CATEGORY) is not None for image in itertools.islice(images, 1))
    except InputError:
        return False
