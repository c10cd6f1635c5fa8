"""The parameters of the statistics: name, type, default, range, unit and words of each, declared once.

The sections of the settings file are these models, and the keyword arguments of the public functions build them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

__all__ = ["DarkRateParameters", "NoiseMapParameters", "Parameters", "StackParameters"]


def _key(name: str) -> str:
    """Return the key of a field in the settings file."""
    return name.replace("_", "-")


class Parameters(BaseModel):
    """Base of all parameters: frozen, without unknown names, with keys as the settings file writes them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, alias_generator=_key)

    def as_mapping(self) -> dict[str, Any]:
        """Return the values by their keys in the settings file."""
        return self.model_dump(by_alias=True)


class StackParameters(Parameters):
    """How frames are clipped and combined."""

    frame_clipping_sigma: float = Field(
        10.0,
        gt=0,
        allow_inf_nan=False,
        description="sigmas from the median frame flux beyond which a pixel joins the frame's bad-pixel mask",
        json_schema_extra={"unit": "sigma"},
    )
    clipping_iteration_count: int = Field(
        5,
        ge=1,
        le=100,
        validation_alias=AliasChoices("clipping-iteration-count", "frame-clipping-iterations"),
        description="iterations of that clip",
    )
    stacked_clipping_sigma: float = Field(
        5.0,
        gt=0,
        allow_inf_nan=False,
        description="sigmas from the median pixel flux beyond which a sample is left out of the stack",
        json_schema_extra={"unit": "sigma"},
    )
    stacked_clipping_iterations: int = Field(5, ge=1, le=100, description="iterations of that clip")
    stacked_clipping_scale: Literal["noise-model", "std", "mad"] = Field(
        "noise-model", description="unit of one sigma of that clip"
    )


class NoiseMapParameters(Parameters):
    """Limits beyond which a pixel is hot, cold or noisy."""

    hot_pixel_sigma: float = Field(
        5.0,
        gt=0,
        allow_inf_nan=False,
        description="errors above the local background beyond which a pixel is hot",
        json_schema_extra={"unit": "sigma"},
    )
    cold_pixel_sigma: float = Field(
        5.0,
        gt=0,
        allow_inf_nan=False,
        description="errors below the local background beyond which a pixel is cold",
        json_schema_extra={"unit": "sigma"},
    )
    noisy_pixel_sigma: float = Field(
        5.5,
        gt=0,
        allow_inf_nan=False,
        description="sigmas above the noise model beyond which a pixel's scatter is noisy",
        json_schema_extra={"unit": "sigma"},
    )
    noisy_minimum_frames: int = Field(
        5,
        ge=3,
        le=1000,
        description="fewest frames in which noisy pixels are searched",
        json_schema_extra={"unit": "frames"},
    )
    background_box: int = Field(
        8,
        ge=4,
        le=64,
        description="side of the blocks whose medians make the smooth local background",
        json_schema_extra={"unit": "pixels"},
    )


class DarkRateParameters(Parameters):
    """How lines are fitted through master darks of different exposures."""

    nonlinear_sigma: float = Field(
        5.0,
        gt=0,
        allow_inf_nan=False,
        description="non-linear: chi-square p-value below the one-sided limit of this many sigmas",
        json_schema_extra={"unit": "sigma"},
    )
