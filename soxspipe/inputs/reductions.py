"""Split a list of inputs into reductions."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress

from ..exceptions import InputError
from ..text import escape
from .frame_kinds import BAD_PIXEL_MAP, MASTER_BIAS, PRODUCT_CATEGORY, STATIC_MAP
from .set_of_files import parse_sof

__all__ = ["require_distinct", "split_reductions"]


def split_reductions(paths: Sequence[str], *, share_products: bool) -> list[list[str]]:
    """Split inputs into reductions.

    Each set of files and each folder is a reduction, and all other files together are one more. A set of files that
    lists calibrations alone, as ``--products-sof`` writes it, counts as these files.

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
    is_set = [_is_set(path) for path in paths]
    if share_products and len(paths) > 1:
        paths = [file for path in paths for file in (_listed_calibrations(path) or [path])]
        is_set = [_is_set(path) for path in paths]
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


def require_distinct(paths: Iterable[str]) -> None:
    """Raise InputError with a line for each path that leads to the same file or folder as an earlier one."""
    seen: dict[tuple[int, int], str] = {}
    faults = []
    for path in paths:
        with suppress(OSError):  # it is reported where it is read
            status = os.stat(path)
            identity = status.st_dev, status.st_ino
            if identity in seen:
                faults.append(f"{escape(path)}: is the same file as {escape(seen[identity])}: give it once")
            else:
                seen[identity] = path
    if faults:
        raise InputError(faults)


def _is_set(path: str) -> bool:
    return path.lower().endswith(".sof") or os.path.isdir(path)


def _listed_calibrations(path: str) -> list[str]:
    """Return the files of a set of files whose tags are all those of calibrations; nothing for another input."""
    if not path.lower().endswith(".sof"):
        return []
    try:
        entries = parse_sof(path)
    except InputError:  # it is reported where the set is reduced
        return []
    kinds = (MASTER_BIAS, STATIC_MAP, BAD_PIXEL_MAP)
    if not all(any(kind.matches({PRODUCT_CATEGORY: entry.tag}) for kind in kinds) for entry in entries):
        return []
    return [str(entry.path) for entry in entries if not BAD_PIXEL_MAP.matches({PRODUCT_CATEGORY: entry.tag})]


def _is_product(path: str) -> bool:
    """Return whether a file is a product by its header; an unreadable file is reported where it is reduced."""
    from ..fits_files.images import image_hdus

    try:
        with closing(image_hdus(path)) as images:
            return any(image.header.get(PRODUCT_CATEGORY) is not None for image in itertools.islice(images, 1))
    except InputError:
        return False
