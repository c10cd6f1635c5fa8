"""What is known of each detector, and where its pixels lie in a raw frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..exceptions import FrameError

__all__ = ["Detector", "Geometry", "Window"]

#: Fewer rows or columns than this are no detector, but a mistake.
SMALLEST_SIDE = 32

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

    def within(self, outer: Window) -> Window | None:
        """Return the part inside ``outer``, in coordinates that begin at its corner; None when empty."""
        y0, y1 = max(self.y0, outer.y0), min(self.y1, outer.y1)
        x0, x1 = max(self.x0, outer.x0), min(self.x1, outer.x1)
        if y0 >= y1 or x0 >= x1:
            return None
        return Window(y0 - outer.y0, y1 - outer.y0, x0 - outer.x0, x1 - outer.x0)


@dataclass(frozen=True)
class Detector:
    """Facts of one detector, as its instrument table gives them.

    Attributes
    ----------
    arm : str
        Arm of the spectrograph: NIR, VIS, UVB or ACQ.
    name : str
        Maker and type.
    raw_shape : tuple of int
        Rows and columns of an unbinned raw frame.
    rot90_count : int
        Quarter turns counter-clockwise from raw to product (`numpy.rot90`).
    margins : tuple of int
        Unbinned rows below, rows above, columns left and columns right of the light-sensitive part, after
        the turn. A sub-array or a small frame is trimmed by the same margins.
    overscan_columns : tuple of (int, int)
        Unbinned raw columns that hold no light: their level is the frame's pedestal. Empty: none.
    amplifiers : tuple of Window
        Unbinned raw regions, one for each read-out amplifier.
    conad_e_per_adu : float
        Conversion factor, electron/ADU, for headers that have none.
    conad_from_header : bool
        Whether the header's factor comes before the table's.
    conad_modes_e_per_adu : tuple of float
        Factors of the known read-out modes, to tell an odd header by.
    read_noise_e : float
        Read noise of a single frame, electron; a figure to compare with, never used to clip.
    dark_current_limit_e_per_s : float or None
        Specified dark current, electron/s/pixel.
    saturation_adu : float or None
        Level from which a raw sample is saturated.
    pixel_size_um : float
        Side of a pixel, micrometre.
    column_parity : bool
        Whether odd and even columns have levels of their own.
    temperature_keyword : str or None
        Header keyword of the detector's temperature, kelvin.
    mode : str
        ``'read_mode'`` or ``'binning'``: what tells two read-outs apart in a product's name.
    """

    arm: str
    name: str
    raw_shape: tuple[int, int]
    rot90_count: int
    margins: tuple[int, int, int, int]
    overscan_columns: tuple[tuple[int, int], ...]
    amplifiers: tuple[Window, ...]
    conad_e_per_adu: float
    conad_from_header: bool
    conad_modes_e_per_adu: tuple[float, ...]
    read_noise_e: float
    dark_current_limit_e_per_s: float | None
    saturation_adu: float | None
    pixel_size_um: float
    column_parity: bool
    temperature_keyword: str | None
    mode: str

    @classmethod
    def from_table(cls, arm: str, table: Mapping[str, Any]) -> Detector:
        """Build from one entry of an instrument table; raises KeyError or ValueError when it is not usable."""
        ny, nx = (int(side) for side in table["raw_shape"])
        rot90_count = int(table["rot90_count"]) % 4
        turned_ny, turned_nx = (nx, ny) if rot90_count % 2 else (ny, nx)
        (row0, row1), (column0, column1) = table["science"]
        conad = float(table["conad"])
        mode = str(table["mode"])
        if mode not in ("read_mode", "binning"):
            raise ValueError(f"detectors {arm} mode is {mode!r}, expected read_mode or binning")
        optional = {key: table.get(key) for key in ("dark_current_limit", "saturation")}
        return cls(
            arm=arm,
            name=str(table["name"]),
            raw_shape=(ny, nx),
            rot90_count=rot90_count,
            margins=(int(row0), turned_ny - int(row1), int(column0), turned_nx - int(column1)),
            overscan_columns=tuple((int(first), int(end)) for first, end in table.get("overscan_columns") or ()),
            amplifiers=tuple(Window(*(int(edge) for edge in region)) for region in table["amplifiers"]),
            conad_e_per_adu=conad,
            conad_from_header=bool(table["conad_from_header"]),
            conad_modes_e_per_adu=tuple(float(value) for value in table.get("conad_modes") or (conad,)),
            read_noise_e=float(table["read_noise"]),
            dark_current_limit_e_per_s=_optional_float(optional["dark_current_limit"]),
            saturation_adu=_optional_float(optional["saturation"]),
            pixel_size_um=float(table["pixel_size"]),
            column_parity=bool(table.get("column_parity", False)),
            temperature_keyword=table.get("temperature"),
            mode=mode,
        )

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
        amplifiers = tuple(
            inside
            for region in self.amplifiers
            if (
                inside := Window(region.y0 // bin_y, region.y1 // bin_y, region.x0 // bin_x, region.x1 // bin_x).within(
                    science
                )
            )
        )
        # right-hand overscan columns keep their distance from the right-hand edge, as the margins do
        full_nx = self.raw_shape[1] // bin_x
        overscan_columns = []
        for first, end in self.overscan_columns:
            low, high = -(-first // bin_x), end // bin_x
            if low >= full_nx // 2:
                low, high = low - full_nx + nx, high - full_nx + nx
            overscan_columns.append((low, high))
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
        """Margins below, above, left and right of the light-sensitive part of the frame as read."""
        below, above, left, right = self.margins
        # a margin travels around the frame's edges with the turns: undo them one by one
        around = [below, right, above, left]
        around = around[-self.rot90_count :] + around[: -self.rot90_count] if self.rot90_count else around
        below, right, above, left = around
        return below, above, left, right


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


@dataclass(frozen=True)
class Geometry:
    """Where the pixels of one set of frames lie.

    All work is done in the raw orientation, where rows are what is read from disk and amplifiers are
    columns; only finished images are turned.

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
        Raw columns that hold no light.
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
    def product_shape(self) -> tuple[int, int]:
        """Rows and columns of a product."""
        ny, nx = self.shape
        return (nx, ny) if self.rot90_count % 2 else (ny, nx)

    @property
    def product_amplifiers(self) -> tuple[Window, ...]:
        """Regions of the read-out amplifiers in a product."""
        windows, nx, ny = self.amplifiers, self.shape[1], self.shape[0]
        for _ in range(self.rot90_count):
            windows = tuple(Window(nx - window.x1, nx - window.x0, window.y0, window.y1) for window in windows)
            nx, ny = ny, nx
        return windows

    def to_product(self, image: np.ndarray[Any, np.dtype[_Scalar]]) -> np.ndarray[Any, np.dtype[_Scalar]]:
        """Turn a trimmed image from raw to product orientation."""
        return np.ascontiguousarray(np.rot90(image, self.rot90_count))

    def from_product(self, image: np.ndarray[Any, np.dtype[_Scalar]]) -> np.ndarray[Any, np.dtype[_Scalar]]:
        """Turn a trimmed image from product to raw orientation."""
        return np.ascontiguousarray(np.rot90(image, -self.rot90_count))
