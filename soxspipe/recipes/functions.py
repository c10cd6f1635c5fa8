"""The recipes as functions; `soxspipe` has them under the same names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..exceptions import InputError
from ..parallel import Progress
from ..settings import Settings
from ..text import format_value
from .recipe import RecipeProduct
from .soxs_dark_current import soxs_dark_current
from .soxs_mbias import soxs_mbias
from .soxs_mdark import soxs_mdark
from .subtract_dark import soxs_subtract_dark

if TYPE_CHECKING:
    from ..products.frames import Frame

__all__ = ["dark_current", "mbias", "mdark", "subtract_dark"]

PathLike = str | os.PathLike[str]
InputFrames = PathLike | Sequence[PathLike]
SettingsLike = PathLike | Mapping[str, Any] | Settings | None


def mdark(
    input_frames: InputFrames,
    settings: SettingsLike = None,
    output_dir: PathLike = ".",
    *,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RecipeProduct:
    """Combine raw darks of one exposure time and read-out into a master dark.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        A set-of-files file or a folder, FITS files, or both: raw darks, and optionally a master bias and a static
        bad-pixel map.
    settings, output_dir, overwrite, workers, progress
        See `~soxspipe.recipes.recipe.Recipe`.

    Returns
    -------
    RecipeProduct

    Raises
    ------
    SoxspipeError
        When the input has a fault or the product cannot be written. No file is left then.
    """
    options: dict[str, Any] = {"overwrite": overwrite, "workers": workers, "progress": progress}
    return soxs_mdark(input_frames, settings, output_dir, **options).produce_product()


def mbias(
    input_frames: InputFrames,
    settings: SettingsLike = None,
    output_dir: PathLike = ".",
    *,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RecipeProduct:
    """Combine raw biases of one read-out mode into a master bias.

    Parameters
    ----------
    input_frames : str, path-like or sequence of these
        A set-of-files file or a folder, FITS files, or both: raw biases, and optionally a static bad-pixel map.
    settings, output_dir, overwrite, workers, progress
        See `~soxspipe.recipes.recipe.Recipe`.

    Returns
    -------
    RecipeProduct

    Raises
    ------
    SoxspipeError
        When the input has a fault or the product cannot be written. No file is left then.
    """
    options: dict[str, Any] = {"overwrite": overwrite, "workers": workers, "progress": progress}
    return soxs_mbias(input_frames, settings, output_dir, **options).produce_product()


def dark_current(
    masters: InputFrames,
    settings: SettingsLike = None,
    output_dir: PathLike = ".",
    *,
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RecipeProduct:
    """Fit the dark rate of every pixel to master darks of different exposures.

    Parameters
    ----------
    masters : str, path-like or sequence of these
        At least two master darks: FITS files, a set-of-files file or a folder.
    settings, output_dir, overwrite, workers, progress
        See `~soxspipe.recipes.recipe.Recipe`.

    Returns
    -------
    RecipeProduct

    Raises
    ------
    SoxspipeError
        When the input has a fault or the product cannot be written. No file is left then.
    """
    options: dict[str, Any] = {"overwrite": overwrite, "workers": workers, "progress": progress}
    return soxs_dark_current(masters, settings, output_dir, **options).produce_product()


def subtract_dark(
    frame: PathLike,
    dark: PathLike,
    *,
    bias: PathLike | None = None,
    static_map: PathLike | None = None,
    scale: bool | None = None,
    settings: SettingsLike = None,
    workers: int | None = None,
) -> Frame:
    """Return a raw frame, calibrated as the darks were, minus their master; no file is written.

    Parameters
    ----------
    frame : str or path-like
        A raw frame of any type with an exposure, or a file that the ``write`` of a prepared frame wrote.
    dark : str or path-like
        A master dark of the same read-out and exposure (DIT).
    bias : str or path-like, optional
        The master bias of its darks; default: it is searched in the folder of the dark and in the working directory.
    static_map : str or path-like, optional
        A static bad-pixel map.
    scale : bool, optional
        Whether the master dark of a CCD is scaled to another exposure; default: as the settings have it, off. A
        pedestal is never scaled.
    settings : str, path-like, mapping, Settings or None
        A settings file or its contents.
    workers : int, optional
        Threads that unpack and verify files.

    Returns
    -------
    Frame
        A CCDData in electron with errors, codes, header and ``qc``. `~soxspipe.recipes.soxs_subtract_dark` writes the
        same as a file.

    Raises
    ------
    InputError
        When the frame has a fault, or the dark does not fit it.
    """
    for name, value, noun in (("frame", frame, "frame"), ("dark", dark, "master dark")):
        if not isinstance(value, str | os.PathLike):
            raise InputError(f"{name} is {format_value(value)}, expected the path of a {noun}")
    checked = Settings.load(settings)
    if scale is not None:
        checked = checked.with_values("subtract_dark", scale=scale)
    given = [path for path in (frame, dark, bias, static_map) if path is not None]
    return soxs_subtract_dark(given, checked, workers=workers).subtract()
