"""Repeat a reduction from the header of its product, and report what differs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astropy.io import fits

from ..exceptions import CommandLineError, FrameError
from ..fits_files.checksums import read_verified_images
from ..fits_files.images import read_image_hdus
from ..inputs.frame_kinds import RECIPE, recorded_parameters
from ..products.compare import compare_products
from ..products.find_inputs import find_inputs
from ..products.provenance import INSTRUMENT_TABLE
from ..run_log import get_logger
from ..settings import ArmSettings, Settings
from ..text import escape, format_value
from ..yaml_files import parse_yaml
from .base_recipe import BaseRecipe
from .recipe import RecipeProduct
from .soxs_mbias import soxs_mbias
from .soxs_mdark import soxs_mdark

__all__ = ["RAW_RECIPES", "Rerun", "recipe_of", "rerun", "settings_of"]

_log = get_logger(__name__)

#: Recipes of raw frames, by their names.
RAW_RECIPES: dict[str, type[BaseRecipe]] = {recipe.name: recipe for recipe in (soxs_mdark, soxs_mbias)}


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
    recipe: str | None = None,
    **options: Any,
) -> Rerun:
    """Reduce again the frames that the header of a product names, with its calibrations and parameters.

    Parameters
    ----------
    product : path-like
        A product of `~soxspipe.recipes.soxs_mdark` or `~soxspipe.recipes.soxs_mbias`. It is never replaced.
    raw_dir : path-like, optional
        Folder in which the input is searched, subfolders too; then the folder of the product and the working directory
        are searched.
    output_dir : str or path-like
        Folder of the new product; not that of the old one.
    recipe : str, optional
        Name of the recipe that must have made the product; default: the recipe that the header names.
    **options
        Options of `~soxspipe.recipes.recipe.Recipe`: overwrite, workers, progress, compress, report.

    Returns
    -------
    Rerun

    Raises
    ------
    InputError
        When the product was not made by the recipe or is damaged, or an input file is not found or has changed: a line
        for each.
    """
    path = Path(product)
    images = read_verified_images(path)  # later damage would pass for a difference
    header = images[0].header if images else fits.Header()
    made_by = recipe_of(header, path, recipe)
    if os.path.realpath(output_dir) == os.path.realpath(path.parent):
        raise CommandLineError(f"{output_dir}: is the folder of the product itself: choose another output folder")
    entries = find_inputs(header, path, None if raw_dir is None else Path(raw_dir))
    tables = [entry.path for entry in entries if entry.tag == INSTRUMENT_TABLE]
    frames = [entry for entry in entries if entry.tag != INSTRUMENT_TABLE]
    settings = settings_of(header, made_by, path, tables)
    new = made_by(frames, settings, output_dir, **options).produce_product()
    planes, keywords = compare_products(images, read_image_hdus(new.path))
    lines = tuple(f"{escape(name)}: {difference or 'the same pixels'}" for name, difference in planes.items())
    return Rerun(new, not any(planes.values()), lines, keywords)


def recipe_of(header: fits.Header, path: Path, name: str | None) -> type[BaseRecipe]:
    """Return the recipe that made a product. Raises FrameError when it is another than the given one, or unknown."""
    names = list(RAW_RECIPES) if name is None else [name]
    made_by = RAW_RECIPES.get(str(header.get(f"{RECIPE} ID")), BaseRecipe)
    category = getattr(made_by, "category", "")
    checks = (
        (f"{RECIPE} ID", "|".join(names), " or ".join(map(repr, names))),
        ("ESO PRO CATG", f"{category}_[A-Z0-9]+", f"'{category}' with an arm"),
        (f"{RECIPE} RAW1 DATASUM", r"\d+", "a sum"),
    )
    for keyword, pattern, expected in checks:
        value = header.get(keyword)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            found = "missing" if value is None else format_value(value)
            raise FrameError(
                f"{escape(path)}: {keyword} is {found}, expected {expected}: give the main product of such a reduction"
            )
    return made_by


def settings_of(header: fits.Header, recipe: type[BaseRecipe], path: Path, tables: Sequence[Path]) -> Settings:
    """Return the settings of a product: the parameters of its recipe that its header states, and nothing else."""
    defaults = ArmSettings()
    sections = {key: name for name in recipe.sections for key in getattr(defaults, name).as_mapping()}
    lines: dict[str, list[str]] = {}
    for name, value in recorded_parameters(header).items():
        if name not in sections:
            _log.warning("%s: parameter '%s' is not one of %s, and ignored", escape(path), escape(name), recipe.name)
            continue
        section = sections[name].replace("_", "-")
        lines.setdefault(section, []).append(f"  {name}: {value}\n")
    label = f"{escape(path)}: {RECIPE} PARAM"
    text = "".join(f"{section}:\n{''.join(parameters)}" for section, parameters in lines.items())
    mapping, faults = parse_yaml(text, label)
    instruments = {"instruments": {"table": tables[0].absolute()}} if tables else {}
    return Settings.from_mapping({**mapping, **instruments}, label, None, faults)
