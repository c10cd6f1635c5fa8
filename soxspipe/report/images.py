"""Images of a report: planes of a product as small PNG, with what their axes and colour bars show."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImagePanel", "block_means", "colour_stops", "image_panel", "palette_png", "reduced", "scaled_panel"]

#: Longest side of an image in a page, pixels.
LONGEST_SIDE = 512
#: Colours of an image: more would make noise larger as a PNG, and no clearer.
LEVELS = 100
#: The colour map: even to the eye, also to colour-blind eyes.
COLOURS = "viridis"
#: Largest image in a panel, the height of a strip, and the margins, in units of the SVG.
WIDTH, HEIGHT, STRIP, LEFT, RIGHT, TOP, BOTTOM = 290.0, 380.0, 60.0, 46.0, 76.0, 8.0, 34.0


@dataclass(frozen=True)
class ImagePanel:
    """An image with its axes, for the template.

    Attributes
    ----------
    png : str
        The image as a data URI.
    width, height : float
        Size of the image, in units of the SVG.
    x_ticks, y_ticks : sequence of (float, int)
        Place of each tick, from the left and from the top, and its pixel, counted from 1.
    bar : sequence of (float, str)
        Place of each label of the colour bar, from the top, and the label; empty without a colour bar.
    unit : str
        Unit of the colour bar.
    labels : tuple of str
        Names of the axes.
    """

    png: str
    width: float
    height: float
    x_ticks: Sequence[tuple[float, int]]
    y_ticks: Sequence[tuple[float, int]]
    bar: Sequence[tuple[float, str]] = ()
    unit: str = ""
    labels: tuple[str, str] = ("X", "Y")

    #: Place of the upper left corner of the image, and of the colour bar.
    left, top, bar_left = LEFT, TOP, 12.0

    @property
    def view(self) -> tuple[float, float]:
        """Width and height of the SVG."""
        return LEFT + self.width + (RIGHT if self.bar else TOP), TOP + self.height + BOTTOM


def block_means(image: NDArray[Any], high: int, wide: int) -> NDArray[np.float32]:
    """Return the means of blocks of an image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        An image; values that are not finite are left out.
    high, wide : int
        Rows and columns of a block; the last blocks may have fewer.

    Returns
    -------
    ndarray of float32
        NaN where a block has no value.
    """
    ny, nx = image.shape
    total = np.zeros((-(-ny // high), -(-nx // wide)), np.float32)
    count = np.zeros(total.shape, np.uint16)
    for y in range(high):
        for x in range(wide):
            part = image[y::high, x::wide]
            inside = np.s_[: part.shape[0], : part.shape[1]]
            finite = np.isfinite(part)
            np.add(total[inside], part, out=total[inside], where=finite)
            count[inside] += finite
    with np.errstate(invalid="ignore"):  # blocks without a value
        return np.asarray(total / count, np.float32)


def reduced(image: NDArray[Any]) -> NDArray[np.float32]:
    """Return an image as means of square blocks, so that no side is longer than 512."""
    size = max(1, math.ceil(max(image.shape) / LONGEST_SIDE))
    return block_means(image, size, size)


def zscale(image: NDArray[Any]) -> tuple[float, float]:
    """Return the limits of the zscale algorithm of IRAF, and of any values a range that is not empty."""
    from astropy.visualization import ZScaleInterval

    values = image[np.isfinite(image)]
    low, high = map(float, ZScaleInterval().get_limits(values)) if values.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


@cache
def _palette() -> bytes:
    """Return the colours of an image, the first one for pixels without data."""
    from matplotlib import colormaps

    colours = colormaps[COLOURS](np.linspace(0, 1, LEVELS))[:, :3]
    return bytes(3) + (255 * colours).round().astype(np.uint8).tobytes()


def colour_stops(number: int = 11) -> list[tuple[str, str]]:
    """Return place and colour of points along the colour bar."""
    palette = _palette()
    places = np.linspace(1, LEVELS, number).round().astype(int)
    return [
        (f"{i / (number - 1):.2f}", "#" + palette[3 * place : 3 * place + 3].hex()) for i, place in enumerate(places)
    ]


def palette_png(index: NDArray[np.uint8], palette: bytes) -> str:
    """Return an image as a data URI, its first row at the bottom.

    Parameters
    ----------
    index : ndarray of uint8, shape (ny, nx)
        Number of the colour of each pixel; 0 is transparent.
    palette : bytes
        Red, green and blue of each colour.

    Returns
    -------
    str
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(index[::-1]))
    image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=0, compress_level=3)  # noise hardly compresses
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def image_panel(
    png: str,
    shape: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
    *,
    width: float = WIDTH,
    stretch: bool = False,
    **facts: Any,
) -> ImagePanel:
    """Return an image with its axes.

    Parameters
    ----------
    png : str
        The image as a data URI.
    shape : tuple of int
        Rows and columns of the detector that it shows.
    origin : tuple of int
        The first of them, from 0.
    width : float
        Largest width, in units of the SVG.
    stretch : bool
        Whether the image is a strip of a few long rows: they are shown higher than they are.
    **facts
        More attributes of the panel.

    Returns
    -------
    ImagePanel
    """
    ny, nx = shape
    scale = min(width / nx, HEIGHT / ny)
    width, height = (width, STRIP) if stretch else (nx * scale, ny * scale)
    x_ticks = [((i + 0.5) * width / nx, origin[1] + i + 1) for i in sorted({0, nx // 2, nx - 1})]
    y_ticks = [((ny - i - 0.5) * height / ny, origin[0] + i + 1) for i in sorted({0, ny // 2, ny - 1})]
    return ImagePanel(png, width, height, x_ticks, y_ticks, **facts)


def scaled_panel(
    image: NDArray[Any],
    shape: tuple[int, int],
    origin: tuple[int, int] = (0, 0),
    *,
    unit: str = "",
    limits: tuple[float, float] | None = None,
    **facts: Any,
) -> ImagePanel:
    """Return an image in colours, with axes and colour bar.

    Parameters
    ----------
    image : ndarray
        The image, or the means of its blocks; NaN is transparent.
    shape, origin
        Its place on the detector; see `image_panel`.
    unit : str
        Unit of its values.
    limits : tuple of float, optional
        Values of the first and the last colour; default: those of `zscale`.
    **facts
        See `image_panel`.

    Returns
    -------
    ImagePanel
    """
    low, high = zscale(image) if limits is None else limits
    with np.errstate(invalid="ignore"):  # no data
        index = np.clip((image - low) * (LEVELS / (high - low)), 0, LEVELS - 1) + 1
    png = palette_png(np.nan_to_num(index, nan=0.0).astype(np.uint8), _palette())
    panel = image_panel(png, shape, origin, unit=unit, **facts)
    ends = [low + part * (high - low) for part in (0.0, 0.5, 1.0)]
    digits = max(0, 1 - math.floor(math.log10(high - low)))  # as many as the ends need to differ
    bar = [
        (panel.height * (1 - part), f"{value:.{digits}f}") for part, value in zip((0.0, 0.5, 1.0), ends, strict=True)
    ]
    return image_panel(png, shape, origin, unit=unit, bar=bar, **facts)
