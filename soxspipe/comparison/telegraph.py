"""Telegraph pixels, which jump between two rates, accumulated over a sequence of masters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from .pixel_changes import PixelChange, PixelChanges

__all__ = ["TelegraphPixel", "telegraph_pixels"]


@dataclass(frozen=True)
class TelegraphPixel:
    """A pixel that went up and down several times.

    Attributes
    ----------
    x, y : int
        FITS coordinates in the product, from 1.
    ups, downs : int
        Significant rises and falls of its rate.
    step : float
        Median of their sizes, electron/s.
    """

    x: int
    y: int
    ups: int
    downs: int
    step: float


def telegraph_pixels(history: Iterable[PixelChanges], least: int = 2) -> tuple[TelegraphPixel, ...]:
    """Return the pixels that went up and down in a sequence of masters.

    Parameters
    ----------
    history : iterable of PixelChanges
        Changes between consecutive masters of a detector, in order of time.
    least : int
        Rises, and falls, that make a telegraph pixel.

    Returns
    -------
    tuple of TelegraphPixel
        Those with most changes first.
    """
    seen: dict[tuple[int, int], list[PixelChange]] = defaultdict(list)
    for pair in history:
        for change in pair.changes:
            seen[change.x, change.y].append(change)
    found = []
    for (x, y), changes in seen.items():
        ups = sum(change.rate_change > 0 for change in changes)
        downs = len(changes) - ups
        if min(ups, downs) >= least:
            found.append(TelegraphPixel(x, y, ups, downs, median(abs(change.rate_change) for change in changes)))
    return tuple(sorted(found, key=lambda pixel: (-pixel.ups - pixel.downs, pixel.y, pixel.x)))
