"""Repeat a reduction from the header of its product, and say what differs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

from ..exceptions import CommandLineError, ErrorCollector, FrameError
from ..fits_files.checksums import ChecksumVerifier
from ..fits_files.images import read_image_hdus
from ..products.compare import compare_products
from ..products.find_inputs import RECIPE, find_inputs, numbered
from ..products.provenance import INSTRUMENT_TABLE
from ..settings import ArmSettings, Settings
from ..text import escape, format_value
from ..yaml_files import parse_yaml
from .base_recipe import Progress, RecipeProduct
from .soxs_mdark import soxs_mdark

__all__ = ["Rerun", "rerun"]


@dataclass(frozen=True)
class Rerun:
    """A reduction that was repeated.

    Attributes
    ----------
    product : RecipeProduct
        The new product.
    same_pixels : bool
        Whether all planes hold the same pixels as those of the old product.
    planes : tuple of str
        A line for each plane.
    keywords : tuple of str
        A line for each keyword and parameter that differs.
    """

    product: RecipeProduct
    same_pixels: bool
    planes: tuple[str, ...]
    keywords: tuple[str, ...]


def rerun(
    product: str | os.PathLike[str],
    raw_dir: str | os.PathLike[str] | None = None,
    output_dir: str | os.PathLike[str] = ".",
    *,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Rerun:
    """Make a master dark again, of the frames, calibrations and parameters that its header names.

    Parameters
    ----------
    product : path-like
        A master dark that `~soxspipe.recipes.soxs_mdark` made. It is never replaced.
    raw_dir : path-like, optional
        Folder whose files, and those of its subfolders, are looked through for the input. After it come the folder of
        the product and the working directory.
    output_dir : str or path-like
        Where the new product goes; another folder than that of the old one.
    overwrite : bool
        Whether a product that is there may be replaced.
    workers : int, optional
        Processes that work on the pixels; default: two, where there are two processors.
    progress : callable, optional
        Called as ``progress(done, total)`` while pixels are processed.

    Returns
    -------
    Rerun

    Raises
    ------
    InputError
        When the product was not made by the recipe or is damaged, or a file of its input is not found or not the one
        that was used: a line for each.
    """
    path = Path(product)
    units = read_image_hdus(path)
    header = units[0].header if units else fits.Header()
    for keyword, expected in ((f"{RECIPE} ID", f"'{soxs_mdark.name}'"), (f"{RECIPE} RAW1 DATASUM", "a sum")):
        value = header.get(keyword)
        if value is None or (keyword.endswith("ID") and value != soxs_mdark.name):
            found = "missing" if value is None else format_value(value)
            raise FrameError(
                f"{escape(path)}: {keyword} is {found}, expected {expected}: give a master dark of this program"
            )
    if os.path.realpath(output_dir) == os.path.realpath(path.parent):
        raise CommandLineError(f"{output_dir}: is the folder of the product itself: choose another output folder")
    sums = ChecksumVerifier(ErrorCollector(), strict=True)
    sums.verify(units, escape(path))
    sums.faults.raise_any()  # what was damaged since would pass for a difference
    entries = find_inputs(header, path, None if raw_dir is None else Path(raw_dir))
    tables = [entry.path for entry in entries if entry.tag == INSTRUMENT_TABLE]
    frames = [entry for entry in entries if entry.tag != INSTRUMENT_TABLE]
    settings = _settings(header, path, tables)
    new = soxs_mdark(
        frames, settings, output_dir, overwrite=overwrite, workers=workers, progress=progress
    ).produce_product()
    planes, keywords = compare_products(units, read_image_hdus(new.path))
    lines = tuple(f"{escape(name)}: {words or 'the same pixels'}" for name, words in planes.items())
    return Rerun(new, not any(planes.values()), lines, keywords)


def _settings(header: fits.Header, path: Path, tables: Sequence[Path]) -> Settings:
    """Return the settings that the parameters in a header stand for."""
    defaults = ArmSettings()
    sections = {
        key: name for name in ("soxs_mdark", "create_noise_map") for key in getattr(defaults, name).as_mapping()
    }
    lines: dict[str, list[str]] = {}
    for keyword in numbered(header, "PARAM"):
        name = str(header[f"{keyword} NAME"])
        section = sections.get(name, "soxs_mdark").replace("_", "-")  # a name that is unknown is refused there
        lines.setdefault(section, []).append(f"  {name}: {header.get(f'{keyword} VALUE')}\n")
    label = f"{escape(path)}: {RECIPE} PARAM"
    mapping, faults = parse_yaml("".join(f"{section}:\n{''.join(of)}" for section, of in lines.items()), label)
    instruments = {"instruments": {"table": tables[0].absolute()}} if tables else {}
    return Settings.from_mapping({**mapping, **instruments}, label, None, faults)
