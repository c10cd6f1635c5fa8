"""What the trend page needs besides QC values: changed pixels of all products, and histograms of dark rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .quality_database import PixelChange, QualityDatabase, checked_rows
from .records import Count, Number, ProductRecord

__all__ = ["StoredComparison", "StoredHistogram", "TrendTables"]


@dataclass(frozen=True)
class StoredComparison:
    """The comparison of the pixels of two products.

    Attributes
    ----------
    product_id, previous_id : int
        Later and earlier product.
    n_compared : int
        Pixels with a rate in both; 0 where the products do not compare.
    expected_false : float
        Expected number of false changes.
    """

    product_id: int
    previous_id: int
    n_compared: Count
    expected_false: Number


@dataclass(frozen=True)
class StoredHistogram:
    """A histogram of dark rates, in bins of equal width in ``asinh((rate - centre) / scale)``.

    Attributes
    ----------
    product_id : int
        The product.
    centre, scale : float
        Median and robust standard deviation of the rates, electron/s.
    low, high : float
        Ends of the bins.
    counts : tuple of int
        Pixels in each bin.
    """

    product_id: int
    centre: Number
    scale: Number
    low: Number
    high: Number
    counts: tuple[Count, ...]


class TrendTables:
    """Changed pixels and histograms of the products of a quality database.

    Parameters
    ----------
    database : QualityDatabase
        The database; all methods raise its DatabaseError.
    """

    def __init__(self, database: QualityDatabase) -> None:
        self._database = database

    def comparisons(self) -> list[StoredComparison]:
        """Return the pairs of products that were compared."""
        columns = list(StoredComparison.__annotations__)
        rows = [row._asdict() for row in self._rows("pixel_comparisons", columns)]
        return checked_rows(self._database, "pixel_comparisons", list[StoredComparison], rows)

    def changes(self) -> dict[tuple[int, int], list[PixelChange]]:
        """Return the changed pixels of all pairs, by the numbers of the later and the earlier product."""
        found: dict[tuple[int, int], list[PixelChange]] = {}
        rows = self._rows("pixel_changes", ["product_id", "previous_id", *PixelChange._fields])
        changes = checked_rows(self._database, "pixel_changes", list[PixelChange], [tuple(row[2:]) for row in rows])
        for (product, previous, *_), change in zip(rows, changes, strict=True):
            found.setdefault((product, previous), []).append(change)
        return found

    def histograms(self) -> list[StoredHistogram]:
        """Return the histograms of dark rates."""
        columns = list(StoredHistogram.__annotations__)
        rows = [row._asdict() for row in self._rows("rate_histograms", columns)]
        content = [row | {"counts": str(row["counts"]).split()} for row in rows]
        return checked_rows(self._database, "rate_histograms", list[StoredHistogram], content)

    def add_comparison(
        self,
        product: ProductRecord,
        previous: ProductRecord,
        changes: Sequence[PixelChange],
        *,
        n_compared: int,
        expected_false: float,
    ) -> None:
        """Store the comparison of two products, in place of an earlier one of the two.

        Parameters
        ----------
        product, previous : ProductRecord
            Later and earlier product, from `QualityDatabase.products`.
        changes : sequence of PixelChange
            The changed pixels.
        n_compared : int
            Pixels with a rate in both; 0 where the products do not compare.
        expected_false : float
            Expected number of false changes.
        """
        # the pair counts as compared when its changes are stored
        self._database.set_pixel_changes(product, previous, changes)
        pair = {"product_id": product.id, "previous_id": previous.id}
        self._replace("pixel_comparisons", pair, {"n_compared": n_compared, "expected_false": expected_false})

    def add_histogram(self, histogram: StoredHistogram) -> None:
        """Store a histogram, in place of an earlier one of the product."""
        values = {name: getattr(histogram, name) for name in ("centre", "scale", "low", "high")}
        counts = " ".join(map(str, histogram.counts))
        self._replace("rate_histograms", {"product_id": histogram.product_id}, {**values, "counts": counts})

    def _rows(self, table: str, columns: list[str]) -> list[Any]:
        import sqlalchemy

        selected = sqlalchemy.table(table, *map(sqlalchemy.column, columns))
        with self._database._transaction(write=False) as connection:
            return list(connection.execute(selected.select().order_by(*selected.c)).all())

    def _replace(self, name: str, key: dict[str, Any], values: dict[str, Any]) -> None:
        import sqlalchemy

        table = sqlalchemy.table(name, *map(sqlalchemy.column, [*key, *values]))
        with self._database._transaction(write=True) as connection:
            connection.execute(table.delete().where(*(table.c[column] == value for column, value in key.items())))
            connection.execute(table.insert(), [key | values])
