"""The parameters of the statistics: name, type, default, range, unit and words of each, declared once.

The sections of the settings file are these models, and the keyword arguments of the public functions build them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ..checked_model import CheckedModel, setting

__all__ = ["DarkRateParameters", "NoiseMapParameters", "StackParameters", "with_keywords"]

_ModelT = TypeVar("_ModelT", bound=CheckedModel)


class StackParameters(CheckedModel):
    """How frames are clipped and combined."""

    frame_clipping_sigma: float = setting(
        10.0,
        "sigmas from the median frame flux beyond which a pixel joins the frame's bad-pixel mask",
        "sigma",
        ge=1e-3,
        le=1e6,
    )
    clipping_iteration_count: int = setting(
        5,
        "iterations of that clip",
        keys=("clipping-iteration-count", "frame-clipping-iterations"),
        ge=1,
        le=100,
    )
    stacked_clipping_sigma: float = setting(
        5.0,
        "sigmas from the median pixel flux, or above the level around, beyond which a sample is left out",
        "sigma",
        ge=1e-3,
        le=1e6,
    )
    stacked_clipping_iterations: int = setting(5, "iterations of that clip", ge=1, le=100)
    stacked_clipping_scale: Literal["noise-model", "std", "mad"] = setting(
        "noise-model", "unit of one sigma of that clip"
    )
    vet_frames: Literal["warn", "exclude", "off"] = setting(
        "warn", "a frame that differs from the others leads to a warning, or is left out (from 5 frames on)"
    )


class NoiseMapParameters(CheckedModel):
    """Limits beyond which a pixel is hot, cold or noisy."""

    hot_pixel_sigma: float = setting(
        5.0,
        "standard deviations of good pixels above the local background beyond which a pixel is hot",
        "sigma",
        ge=1e-3,
        le=1e6,
    )
    cold_pixel_sigma: float = setting(
        5.0, "the same, below the local background, for cold pixels", "sigma", ge=1e-3, le=1e6
    )
    noisy_pixel_sigma: float = setting(
        5.5, "sigmas above the noise model beyond which a pixel's scatter is noisy", "sigma", ge=1e-3, le=1e6
    )
    noisy_minimum_frames: int = setting(5, "fewest frames in which noisy pixels are searched", "frames", ge=3, le=1000)
    background_box: int = setting(
        8, "side of the blocks whose medians make the smooth local background", "pixels", ge=4, le=64
    )


class DarkRateParameters(CheckedModel):
    """How lines are fitted through master darks of different exposures."""

    nonlinear_sigma: float = setting(
        5.0, "non-linear: chi-square p-value below the one-sided limit of this many sigmas", "sigma", ge=1e-3, le=1e6
    )


def with_keywords(model: type[_ModelT], given: _ModelT | None, keywords: Mapping[str, Any]) -> _ModelT:
    """Return the parameters of a function, of which keyword arguments replace single values.

    Parameters
    ----------
    model : type of CheckedModel
        Class of the parameters.
    given : CheckedModel, optional
        Parameters; default: those of the class.
    keywords : mapping of str to object
        Values by name.

    Returns
    -------
    CheckedModel

    Raises
    ------
    TypeError
        When the parameters are of another class.
    SettingsError
        When a keyword is unknown or out of range.
    """
    if given is not None and not isinstance(given, model):
        raise TypeError(f"expected {model.__name__} or keyword arguments, found {type(given).__name__}")
    return (given or model()).updated(model.of(**keywords))
