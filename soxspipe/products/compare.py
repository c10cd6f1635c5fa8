"""How two products differ: in pixels, keywords and parameters."""

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

#: What differs between any two reductions, or tells of pixels that are compared themselves.
_OF_A_FILE = re.compile(rf"DATE|PIPEFILE|DATAMD5|CHECKSUM|DATASUM|COMMENT|HISTORY|{RECIPE} PARAM.*|")


def compare_products(old: Sequence[FitsImage], new: Sequence[FitsImage]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Compare two products.

    Parameters
    ----------
    old, new : sequence of FitsImage
        Their planes.

    Returns
    -------
    planes : dict of str to str
        For each plane how its pixels differ; empty where they do not.
    keywords : tuple of str
        A line for each keyword of the first header, and for each parameter, that differs.

    Raises
    ------
    FrameError
        When a file is damaged.
    """
    before, after = _facts(old[0].header), _facts(new[0].header)
    keywords = tuple(
        f"{keyword}: {escape(before.get(keyword, 'missing'))}, now {escape(after.get(keyword, 'missing'))}"
        for keyword in dict.fromkeys([*before, *after])
        if before.get(keyword) != after.get(keyword)
    )
    olds, news = ({unit.extname: unit for unit in units} for units in (old, new))
    return {name: _plane(olds.get(name), news.get(name)) for name in dict.fromkeys([*olds, *news])}, keywords


def _facts(header: fits.Header) -> dict[str, Any]:
    """Return what two products may differ in, by keyword; parameters by their names."""
    facts = {keyword: header[keyword] for keyword in header if not _OF_A_FILE.fullmatch(keyword)}
    for keyword in numbered(header, "PARAM"):
        facts[f"parameter {header[f'{keyword} NAME']}"] = header.get(f"{keyword} VALUE")
    return facts


def _plane(old: FitsImage | None, new: FitsImage | None) -> str:
    """Say how the pixels of two planes differ; nothing where they do not."""
    if old is None or new is None:
        return f"is only in the {'new' if old is None else 'old'} product"
    if (old.shape, old.dtype) != (new.shape, new.dtype):
        found, now = ("{2} of {1} x {0}".format(*unit.shape, unit.dtype) for unit in (old, new))
        return f"{found}, now {now}"
    with PixelReader([old, new]) as reader:
        first, second = (reader.read_rows(index, 0, old.shape[0]) for index in (0, 1))
    differs = (first != second) & ~((first != first) & (second != second))
    if not differs.any():
        return ""
    largest = np.abs(second[differs].astype(float) - first[differs].astype(float))
    unit = str(new.header.get("BUNIT") or "").strip()
    lost = np.count_nonzero(np.isnan(largest))
    words = f"{np.count_nonzero(differs)} of {differs.size} pixels differ"
    if lost < largest.size:
        words += f", by at most {np.nanmax(largest):g} {unit}".rstrip()
    return words + (f", {lost} have a value in one of them alone" if lost else "")
