"""Differences between two products: pixels, keywords, parameters and QC values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits

from ..comparison.compare_masters import MasterComparison, compare_masters
from ..comparison.pixel_changes import PixelChanges, pixel_changes
from ..fits_files.images import FitsImage
from ..fits_files.pixel_reader import read_images
from ..inputs.frame_kinds import MASTER_BIAS, RECIPE, recorded_parameters
from ..instruments.keywords import Instrument
from ..quality.definitions import definition_of
from ..settings import Settings
from ..text import escape
from .load_master import load_master

__all__ = ["ComparedMasters", "ComparedValue", "compare_files", "compare_products"]

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
    keywords = tuple(_differing(before, after, ", now"))
    old_planes, new_planes = ({image.extname: image for image in images} for images in (old, new))
    names = dict.fromkeys([*old_planes, *new_planes])
    return {name: _difference(old_planes.get(name), new_planes.get(name)) for name in names}, keywords


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], word: str) -> Iterator[str]:
    """Yield a line for each key whose values differ; the word, after a comma or a space, joins them."""
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield f"{key}: {escape(before.get(key, 'missing'))}{word} {escape(after.get(key, 'missing'))}"


def _compared_values(header: fits.Header) -> dict[str, Any]:
    """Return the values to compare by keyword, parameters by their names."""
    values = {keyword: header[keyword] for keyword in header if not _NOT_COMPARED.fullmatch(keyword)}
    return values | {f"parameter {name}": value for name, value in recorded_parameters(header).items()}


def _difference(old: FitsImage | None, new: FitsImage | None) -> str:
    """Return the difference of two planes in words; empty where their pixels are the same."""
    if old is None or new is None:
        return f"is only in the {'new' if old is None else 'old'} product"
    are_integers = all(image.dtype.kind in "iu" for image in (old, new))  # codes have the bits that they need
    if old.shape != new.shape or (old.dtype != new.dtype and not are_integers):
        before, now = (f"{image.dtype} of {image.shape[1]} x {image.shape[0]}" for image in (old, new))
        return f"{before}, now {now}"
    first, second = read_images([old, new])
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


@dataclass(frozen=True)
class ComparedValue:
    """A QC value of two masters; None where one does not have it, or there is no difference of such values."""

    name: str
    first: Any
    second: Any
    difference: float | None
    unit: str


@dataclass(frozen=True)
class ComparedMasters:
    """Two masters, compared.

    Attributes
    ----------
    first, second : str
        Their files.
    is_bias : bool
        Whether they are master biases.
    images : MasterComparison
        Differences of the pixels and codes.
    changes : PixelChanges
        Births and deaths from the first to the second.
    quality : tuple of ComparedValue
        QC values.
    parameters : tuple of str
        A line for each parameter of the recipe that differs.
    """

    first: str
    second: str
    is_bias: bool
    images: MasterComparison = field(repr=False)
    changes: PixelChanges = field(repr=False)
    quality: tuple[ComparedValue, ...] = field(repr=False)
    parameters: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return the comparison as JSON holds it."""
        return {
            "first": self.first,
            "second": self.second,
            "differences": self.images.record(),
            "changes": self.changes.record(),
            "qc": [asdict(value) for value in self.quality],
            "parameters": list(self.parameters),
        }


def compare_files(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    user_instrument: Instrument | None = None,
    workers: int = 1,
) -> ComparedMasters:
    """Compare two masters of the same detector, read-out and exposure.

    Parameters
    ----------
    first, second : path-like
        Products of ``mdark`` or ``mbias``.
    settings : Settings, optional
        Of these the section ``pixel-changes`` counts.
    user_instrument : Instrument, optional
        The user's instrument; it takes precedence over the shipped ones.
    workers : int
        Threads; the result does not depend on their number.

    Returns
    -------
    ComparedMasters
        Differences are second minus first.

    Raises
    ------
    InputError
        When a file is no master or damaged, or the masters differ in detector, read-out or exposure: a line for each
        keyword.
    """
    one, other = load_master(first, user_instrument), load_master(second, user_instrument)
    expected = {meaning: value for meaning, (_, value) in one.keys.items()}
    other.check_match(expected, one.label, "compare masters of the same detector, read-out and exposure")
    shared_bias = one.bias is not None and one.bias == other.bias
    images = compare_masters(
        one.images, other.images, n_shared=len(one.datasums & other.datasums), shared_bias=shared_bias
    )
    parameters = (settings or Settings.load()).for_arm(one.detector.arm).pixel_changes
    changes = pixel_changes(one.images, other.images, parameters, shared_bias=shared_bias, workers=workers)
    before, after = (_compared_values(master.header) for master in (one, other))
    differing = tuple(line for line in _differing(before, after, " and") if line.startswith("parameter "))
    is_bias = one.category == MASTER_BIAS.category
    quality = _compared_quality(one.header, other.header)
    return ComparedMasters(str(first), str(second), is_bias, images, changes, quality, differing)


def _compared_quality(first: fits.Header, second: fits.Header) -> tuple[ComparedValue, ...]:
    """Return the QC values of two headers."""
    found = []
    for keyword in dict.fromkeys([*first["ESO QC *"], *second["ESO QC *"]]):
        name = keyword.removeprefix("ESO QC ")
        one, other = first.get(keyword), second.get(keyword)
        numbers = [value for value in (one, other) if isinstance(value, (int, float)) and not isinstance(value, bool)]
        found.append(ComparedValue(name, one, other, other - one if len(numbers) == 2 else None, _unit_of(name)))
    return tuple(found)


def _unit_of(name: str) -> str:
    try:
        return definition_of(name).unit
    except ValueError:  # a value of the header alone
        return ""
