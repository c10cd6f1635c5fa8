"""The facts of each detector, and where its pixels lie in a raw frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ..checked_model import CheckedModel, setting
from ..exceptions import FrameError

__all__ = ["NULL_IS_EMPTY", "Detector", "Geometry", "InstrumentModel", "Keyword", "Text", "Window"]

#: Frames with fewer rows or columns are a mistake.
SMALLEST_SIDE = 32
#: Most rows or columns.
LARGEST_SIDE = 1 << 16
#: From fewer rows or columns an amplifier's level cannot be measured.
SMALLEST_AMPLIFIER = 16
#: Longest text of a header card.
LONGEST_TEXT = 68

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels: rows ``y0:y1``, columns ``x0:x1``."""

    y0: int
    y1: int
    x0: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def within(self, outer: Window) -> Window | None:
        """Return the part inside ``outer``, in coordinates that begin at its corner; None when empty."""
        y0, y1 = max(self.y0, outer.y0), min(self.y1, outer.y1)
        x0, x1 = max(self.x0, outer.x0), min(self.x1, outer.x1)
        if y0 >= y1 or x0 >= x1:
            return None
        return Window(y0 - outer.y0, y1 - outer.y0, x0 - outer.x0, x1 - outer.x0)

    def turned(self, shape: tuple[int, int], rot90_count: int) -> Window:
        """Return the window after quarter turns (`numpy.rot90`) of an image of some rows and columns."""
        window, (ny, nx) = self, shape
        for _ in range(rot90_count % 4):
            window = Window(nx - window.x1, nx - window.x0, window.y0, window.y1)
            ny, nx = nx, ny
        return window


class InstrumentModel(CheckedModel):
    """Base of the parts of an instrument table, whose keys have underscores."""

    model_config = ConfigDict(alias_generator=None)


def _increasing(edges: tuple[int, ...]) -> tuple[int, ...]:
    if any(first >= end for first, end in zip(edges[::2], edges[1::2], strict=True)):
        raise ValueError
    return edges


def _has_value(keyword: str) -> str:
    if keyword in ("COMMENT", "HISTORY", "CONTINUE", "END", "HIERARCH", "SIMPLE", "BITPIX", "NAXIS", "XTENSION"):
        raise ValueError
    return keyword


def _expected(words: str, **facts: Any) -> Any:
    return Field(json_schema_extra={"expected": words}, **facts)


NULL_IS_EMPTY = BeforeValidator(lambda values: () if values is None else values)
Text = Annotated[
    str,
    _expected("text without control characters", pattern=r"^[^\s\p{C}](\P{C}*[^\s\p{C}])?$", max_length=LONGEST_TEXT),
]
Keyword = Annotated[
    str,
    AfterValidator(_has_value),
    _expected(
        "a header keyword that has a value, such as ESO DET DIT",
        pattern=r"^[A-Z0-9_-]+( [A-Z0-9_-]+)*$",
        max_length=LONGEST_TEXT,
    ),
]
_Index = Annotated[int, Field(ge=0, le=LARGEST_SIDE)]
_Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
_Positive = Annotated[float, Field(ge=1e-6, le=1e10)]
_Positives = Annotated[tuple[_Positive, ...], NULL_IS_EMPTY]
_Span = Annotated[tuple[_Index, _Index], AfterValidator(_increasing), _expected("[first, end] with first < end")]
_Spans = Annotated[tuple[_Span, ...], NULL_IS_EMPTY]
_Region = Annotated[
    tuple[_Index, _Index, _Index, _Index],
    AfterValidator(_increasing),
    _expected("[first row, end row, first column, end column] with first < end"),
]


class Detector(InstrumentModel):
    """Facts of one detector, as its instrument table gives them.

    The keys of the table are these names without units; ``regions`` are its ``amplifiers``. A detector without trim and
    turn, with one amplifier, needs no entry for them.
    """

    arm: Text = setting("", "arm of the spectrograph, the name of the entry in the table")
    name: Text = setting(..., "maker and type")
    extension: Text | None = setting(None, "EXTNAME of the raw image, where a file has several images")
    raw_shape: tuple[_Side, _Side] = setting(
        ..., "rows and columns of an unbinned raw frame", expected=f"[rows, columns], {SMALLEST_SIDE} at least"
    )
    rot90_count: int = setting(0, "quarter turns counter-clockwise from raw to product (numpy.rot90)", ge=-3, le=3)
    science: tuple[_Span, _Span] = setting(
        ...,
        "rows and columns of the light-sensitive part, after the turn; without it the whole frame; smaller frames are "
        "trimmed by the same margins",
        expected="[[first row, end row], [first column, end column]]",
    )
    overscan_columns: _Spans = setting((), "raw columns without light; their level is the pedestal")
    regions: tuple[_Region, ...] = setting(
        ..., "raw region of each read-out amplifier; without it the whole frame", keys=("amplifiers",)
    )
    conad_e_per_adu: _Positive = setting(..., "conversion factor", "electron/ADU", keys=("conad",))
    conad_from_header: bool = setting(False, "whether the header's conversion factor comes before the table's")
    adu_per_count: _Positive = setting(
        1.0,
        "ADU of the file in a count of the converter, where the header's conversion factor is per count: 16 where 12 "
        "bits are written as 16",
        "ADU",
    )
    scale_adu: _Positive | None = setting(
        None,
        "ADU of a sample of 1, where images of floating-point numbers are written as 0 to 1",
        "ADU",
        keys=("scale",),
    )
    conad_modes: _Positives = setting((), "conversion factors of the read-out modes", "electron/ADU")
    read_noise_e: _Positive | None = setting(
        None, "read noise of a single frame, to compare with the measured one", "electron", keys=("read_noise",)
    )
    dark_current_limit_e_per_s: _Positive | None = setting(
        None, "specified dark current of a pixel", "electron/s", keys=("dark_current_limit",)
    )
    saturation_adu: _Positive | None = setting(None, "level of a saturated sample", "ADU", keys=("saturation",))
    pixel_size_um: _Positive = setting(..., "side of a pixel", "micrometre", keys=("pixel_size",))
    column_parity: bool = setting(False, "whether odd and even columns have different levels")
    output_scan: Literal["same", "alternating"] = setting(
        "same", "order in which the amplifiers read their columns: all the same, or every other one in reverse"
    )
    temperature_keyword: Keyword | None = setting(None, "keyword of the temperature", keys=("temperature",))
    mode: Literal["read_mode", "binning"] = setting(
        "binning",
        "word for the read-out in the name of a product: binning for a CCD or CMOS detector, read_mode for an infrared "
        "one",
    )

    @model_validator(mode="before")
    @classmethod
    def _whole_frame(cls, values: Any) -> Any:
        """Return the values of a table, with the whole frame where it has no light-sensitive part or amplifiers."""
        if not isinstance(values, dict) or "regions" in values:
            return values
        ny, nx = SMALLEST_SIDE, SMALLEST_SIDE  # of a wrong shape, which is reported by itself
        match values.get("raw_shape"):
            case [int(rows), int(columns)] if SMALLEST_SIDE <= min(rows, columns) <= max(rows, columns) <= LARGEST_SIDE:
                ny, nx = rows, columns
        turned = (nx, ny) if values.get("rot90_count") in (-3, -1, 1, 3) else (ny, nx)
        return {"science": [[0, side] for side in turned], "amplifiers": [[0, ny, 0, nx]]} | values

    @field_validator("science")
    @classmethod
    def _science_inside_frame(cls, science: Any, info: ValidationInfo) -> Any:
        if {"raw_shape", "rot90_count"} <= info.data.keys():
            frame, window = _frame_and_science({**info.data, "science": science})
            if window.within(frame) != window or min(window.shape) < SMALLEST_SIDE:
                size = f"{SMALLEST_SIDE} x {SMALLEST_SIDE}"
                raise ValueError(f"rows and columns inside the {frame.y1} x {frame.x1} raw pixels, {size} at least")
        return science

    @field_validator("overscan_columns")
    @classmethod
    def _overscan_without_light(cls, spans: Any, info: ValidationInfo) -> Any:
        if {"raw_shape", "rot90_count", "science"} <= info.data.keys():
            frame, science = _frame_and_science(info.data)
            overlap = any(one[0] < other[1] and other[0] < one[1] for one, other in combinations(spans, 2))
            if overlap or any(end > frame.x1 or (first < science.x1 and end > science.x0) for first, end in spans):
                raise ValueError(
                    f"columns of {frame.x1} that do not overlap, outside the light-sensitive {science.x0} to "
                    f"{science.x1}"
                )
        return spans

    @field_validator("regions")
    @classmethod
    def _amplifiers_cover_science_once(cls, regions: Any, info: ValidationInfo) -> Any:
        if {"raw_shape", "rot90_count", "science"} <= info.data.keys():
            frame, science = _frame_and_science(info.data)
            windows = [Window(*edges) for edges in regions]
            parts = [part for window in windows if (part := window.within(science))]
            covered = sum(math.prod(part.shape) for part in parts)
            small = any(min(part.shape) < SMALLEST_AMPLIFIER for part in parts)
            inside = all(window.within(frame) == window for window in windows)
            overlap = any(one.within(other) for one, other in combinations(windows, 2))
            if small or not inside or overlap or covered != math.prod(science.shape):
                raise ValueError(
                    f"regions of {frame.y1} x {frame.x1} pixels that do not overlap, have {SMALLEST_AMPLIFIER} x "
                    f"{SMALLEST_AMPLIFIER} at least and cover the light-sensitive rows {science.y0} to {science.y1} "
                    f"and columns {science.x0} to {science.x1}"
                )
        return regions

    @property
    def amplifiers(self) -> tuple[Window, ...]:
        """Unbinned raw regions, one for each read-out amplifier."""
        return tuple(Window(*edges) for edges in self.regions)

    @property
    def conad_modes_e_per_adu(self) -> tuple[float, ...]:
        """Conversion factors of the known read-out modes, electron/ADU."""
        return self.conad_modes or (self.conad_e_per_adu,)

    def geometry(self, raw_shape: tuple[int, int], binning: tuple[int, int], name: str) -> Geometry:
        """Lay the table over a frame.

        Parameters
        ----------
        raw_shape : tuple of int
            Rows and columns of the frame as read.
        binning : tuple of int
            Binning in y and x of the raw frame.
        name : str
            Name of the frame's file, for the message.

        Returns
        -------
        Geometry

        Raises
        ------
        FrameError
            When fewer than 32 x 32 pixels would remain.
        """
        ny, nx = raw_shape
        bin_y, bin_x = binning
        full_ny, full_nx = (-(-side // step) for side, step in zip(self.raw_shape, binning, strict=True))
        if ny > full_ny or nx > full_nx:
            raise FrameError(
                f"{name}: {ny} x {nx} pixels, expected at most {full_ny} x {full_nx} of {self.name}: leave it out, or "
                "correct its binning"
            )
        bottom, top, left, right = self._raw_margins()
        science = Window(-(-bottom // bin_y), ny - -(-top // bin_y), -(-left // bin_x), nx - -(-right // bin_x))
        if min(science.shape) < SMALLEST_SIDE:
            raise FrameError(
                f"{name}: {ny} x {nx} pixels leave fewer than {SMALLEST_SIDE} x {SMALLEST_SIDE} after the margins of "
                f"{self.name}: use full frames"
            )
        binned = [Window(y0 // bin_y, y1 // bin_y, x0 // bin_x, x1 // bin_x) for y0, y1, x0, x1 in self.regions]
        amplifiers = tuple(part for window in binned if (part := window.within(science)))
        whole_nx, overscan_columns = self.raw_shape[1] // bin_x, []
        for first, end in self.overscan_columns:
            low, high = -(-first // bin_x), end // bin_x
            # right-hand overscan columns keep their distance from the right-hand edge, as the margins do
            shift = nx - whole_nx if low >= whole_nx // 2 else 0
            overscan_columns.append((low + shift, high + shift))
        return Geometry(raw_shape, self.rot90_count, science, amplifiers, tuple(overscan_columns))

    def geometry_of_product(self, shape: tuple[int, int], binning: tuple[int, int], name: str) -> Geometry:
        """Lay the table over the raw frame that a product was made from.

        Parameters
        ----------
        shape : tuple of int
            Rows and columns of the product.
        binning : tuple of int
            Binning in y and x of the raw frame.
        name : str
            Name of the product's file, for the message.

        Returns
        -------
        Geometry

        Raises
        ------
        FrameError
            When the product has fewer than 32 x 32 pixels.
        """
        bottom, top, left, right = self._raw_margins()
        (ny, nx), (bin_y, bin_x) = shape[:: -1 if self.rot90_count % 2 else 1], binning
        raw_shape = (ny + -(-bottom // bin_y) + -(-top // bin_y), nx + -(-left // bin_x) + -(-right // bin_x))
        return self.geometry(raw_shape, binning, name)

    def _raw_margins(self) -> tuple[int, int, int, int]:
        """Return the unbinned margins below, above, left and right of the light-sensitive part of a raw frame."""
        frame, science = _frame_and_science(dict(self))
        return science.y0, frame.y1 - science.y1, science.x0, frame.x1 - science.x1


def _frame_and_science(facts: Mapping[str, Any]) -> tuple[Window, Window]:
    """Return an unbinned raw frame and its light-sensitive part, from the values of a detector."""
    (y0, y1), (x0, x1) = facts["science"]
    ny, nx = facts["raw_shape"]
    product_shape = (nx, ny) if facts["rot90_count"] % 2 else (ny, nx)
    return Window(0, ny, 0, nx), Window(y0, y1, x0, x1).turned(product_shape, -facts["rot90_count"])


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of one set of frames lie.

    Pixels are processed in the raw orientation, in which rows are contiguous in the file; only finished images
    are turned.

    Attributes
    ----------
    raw_shape : tuple of int
        Rows and columns of the frame as read.
    rot90_count : int
        Quarter turns counter-clockwise from raw to product.
    science : Window
        The light-sensitive part of the raw frame.
    amplifiers : tuple of Window
        Regions of the read-out amplifiers, in coordinates of ``science``.
    overscan_columns : tuple of (int, int)
        Raw columns without light.
    """

    raw_shape: tuple[int, int]
    rot90_count: int
    science: Window
    amplifiers: tuple[Window, ...]
    overscan_columns: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the light-sensitive part, raw orientation."""
        return self.science.shape

    @property
    def regions(self) -> tuple[tuple[slice, slice], ...]:
        """Rows and columns of each read-out amplifier."""
        return tuple(window.slices for window in self.amplifiers)

    @property
    def product_shape(self) -> tuple[int, int]:
        """Rows and columns of a product."""
        ny, nx = self.shape
        return (nx, ny) if self.rot90_count % 2 else (ny, nx)

    @property
    def product_amplifiers(self) -> tuple[Window, ...]:
        """Regions of the read-out amplifiers in a product."""
        return tuple(window.turned(self.shape, self.rot90_count) for window in self.amplifiers)

    def to_product(self, image: np.ndarray[Any, np.dtype[_Scalar]]) -> np.ndarray[Any, np.dtype[_Scalar]]:
        """Turn a trimmed image from raw to product orientation."""
        return np.ascontiguousarray(np.rot90(image, self.rot90_count))

    def from_product(self, image: np.ndarray[Any, np.dtype[_Scalar]]) -> np.ndarray[Any, np.dtype[_Scalar]]:
        """Turn a trimmed image from product to raw orientation."""
        return np.ascontiguousarray(np.rot90(image, -self.rot90_count))
