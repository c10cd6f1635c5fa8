"""The history of one pixel of a detector, from the products that a quality database lists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..exceptions import InputError
from ..products.pixel_values import PixelValues, read_pixel
from .quality_database import Filters, QualityDatabase
from .records import ProductRecord

__all__ = ["PixelMoment", "read_history"]

#: QC values that have the level of the good pixels of a product.
LEVELS = ("MDARK MEDIAN", "BIAS MEDIAN", "DARK RATE", "SUB MEDIAN")

#: Properties that products share whose pixels of the same coordinates are the same pixel of a detector.
SAME = ("category", "instrument", "arm", "detector", "columns", "lines", "binning")


@dataclass(frozen=True)
class PixelMoment:
    """A pixel in one product of its history.

    Attributes
    ----------
    record : ProductRecord
        The product.
    pixel : PixelValues
        The pixel in it.
    """

    record: ProductRecord
    pixel: PixelValues

    @property
    def excess_over_error(self) -> float | None:
        """FLUX above the level of the good pixels of the product, over ERRS; None where one of them has no value."""
        levels = [one.value for name in LEVELS if (one := self.record.value(name)) is not None]
        flux, error = self.pixel.value("FLUX"), self.pixel.value("ERRS")
        if flux is None or not error or not levels or levels[0] is None:
            return None
        return (flux - levels[0]) / error


def read_history(
    database: QualityDatabase,
    of: ProductRecord,
    x: int,
    y: int,
    *,
    filters: Filters | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[PixelMoment], list[str]]:
    """Read one pixel from all products of the same kind and detector.

    Parameters
    ----------
    database : QualityDatabase
        Lists the products.
    of : ProductRecord
        The product whose pixel it is; see `~soxspipe.database.read_record`.
    x, y : int
        FITS pixel coordinates.
    filters : Filters, optional
        Further conditions, such as dates.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    moments : list of PixelMoment
        In the order of their dates.
    faults : list of str
        A line for each product that cannot be read: it was moved, removed or damaged.
    """
    same = [
        record
        for record in database.products(filters)
        if all(getattr(record, name) == getattr(of, name) for name in SAME)
    ]
    moments: list[PixelMoment] = []
    faults: list[str] = []
    for done, record in enumerate(same, 1):
        try:
            moments.append(PixelMoment(record, read_pixel(record.path, x, y)))
        except InputError as error:
            faults += error.faults
        if progress is not None:
            progress(done, len(same))
    return moments, faults
