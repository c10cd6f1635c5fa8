"""Differences between two products: pixels, keywords and parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.io import fits

from ..fits_files.images import FitsImage
from ..fits_files.pixel_reader import PixelReader
from ..text import escape
from .find_inputs import RECIPE, numbered

__all__ = ["compare_products"]

#: Keywords that differ between any two reductions, depend on the pixels, which are compared themselves, or on how these
#: are stored.
_NOT_COMPARED = re.compile(
    rf"DATE|PIPEFILE|DATAMD5|CHECKSUM|DATASUM|COMMENT|HISTORY|{RECIPE} PARAM.*|SIMPLE|XTENSION|BITPIX|EXTEND|INHERIT"
    r"|[PG]COUNT|BSCALE|BZERO|HDUCLAS3|"
)


def compare_products(old: Sequence[FitsImage], new: Sequence[FitsImage]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Compare two products.

    Parameters
    ----------
    old, new : sequence of FitsImage
        Planes of the products.

    Returns
    -------
    planes : dict of str to str
        The difference of each plane in words; empty where its pixels are the same.
    keywords : tuple of str
        A line for each keyword of the first header, and for each parameter, that differs.

    Raises
    ------
    FrameError
        When a file is damaged.
    """
    before, after = _compared_values(old[0].header), _compared_values(new[0].header)
    keywords = tuple(
        f"{keyword}: {escape(before.get(keyword, 'missing'))}, now {escape(after.get(keyword, 'missing'))}"
        for keyword in dict.fromkeys([*before, *after])
        if before.get(keyword) != after.get(keyword)
    )
    old_planes, new_planes = ({image.extname: image for image in images} for images in (old, new))
    names = dict.fromkeys([*old_planes, *new_planes])
    return {name: _difference(old_planes.get(name), new_planes.get(name)) for name in names}, keywords


def _compared_values(header: fits.Header) -> dict[str, Any]:
    """Return the values to compare by keyword, parameters by their names."""
    values = {keyword: header[keyword] for keyword in header if not _NOT_COMPARED.fullmatch(keyword)}
    for keyword in numbered(header, "PARAM"):
        values[f"parameter {header[f'{keyword} NAME']}"] = header.get(f"{keyword} VALUE")
    return values


def _difference(old: FitsImage | None, new: FitsImage | None) -> str:
    """Return the difference of two planes in words; empty where their pixels are the same."""
    if old is None or new is None:
        return f"is only in the {'new' if old is None else 'old'} product"
    are_integers = all(image.dtype.kind in "iu" for image in (old, new))  # codes have the bits that they need
    if old.shape != new.shape or (old.dtype != new.dtype and not are_integers):
        before, now = (f"{image.dtype} of {image.shape[1]} x {image.shape[0]}" for image in (old, new))
        return f"{before}, now {now}"
    with PixelReader([old, new]) as reader:
        first, second = (reader.read_rows(index, 0, old.shape[0]) for index in (0, 1))
    differs = (first != second) & ~(np.isnan(first) & np.isnan(second))
    if not differs.any():
        return ""
    differences = np.abs(second[differs].astype(float) - first[differs].astype(float))
    unit = str(new.header.get("BUNIT") or "").strip()
    one_sided = np.count_nonzero(np.isnan(differences))
    words = f"{np.count_nonzero(differs)} of {differs.size} pixels differ"
    if one_sided < differences.size:
        words += f", by at most {np.nanmax(differences):g} {unit}".rstrip()
    return words + (f", {one_sided} have a value in one of them alone" if one_sided else "")
