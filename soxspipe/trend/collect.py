"""The records of the trend page from the quality database and the masters that it lists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison.master_images import MasterImages
from ..comparison.pixel_changes import pixel_changes
from ..database.quality_database import PixelChange as DatabaseChange
from ..database.quality_database import QualityDatabase
from ..database.records import ProductRecord
from ..database.trend_tables import StoredHistogram, TrendTables
from ..exceptions import InputError
from ..parallel import Progress, tracked
from ..pixel_codes import PixelCode
from ..products.load_master import LoadedMaster, load_master
from ..run_log import get_logger
from .records import MapComparison, PixelChange, RateHistogram, TrendProduct, TrendValue, rate_histogram

__all__ = ["TrendRecords", "collect_records", "compare_masters"]

log = get_logger(__name__)

#: Recipe whose masters are compared.
DARK = "soxs_mdark"
#: Most histograms of a page; they are spread over the products in the order of time.
MOST_HISTOGRAMS = 400


@dataclass(frozen=True)
class TrendRecords:
    """What `trend_page` shows.

    Attributes
    ----------
    products : list of TrendProduct
        The products in the order of time.
    changes : list of PixelChange
        Births and deaths of hot pixels.
    comparisons : list of MapComparison
        The pairs of masters that were compared.
    histograms : list of RateHistogram
        Histograms of the dark rates of some of the products.
    """

    products: list[TrendProduct] = field(default_factory=list)
    changes: list[PixelChange] = field(default_factory=list)
    comparisons: list[MapComparison] = field(default_factory=list)
    histograms: list[RateHistogram] = field(default_factory=list)


def collect_records(database: QualityDatabase, products: Sequence[ProductRecord], folder: Path) -> TrendRecords:
    """Return the records of products, with what the database has about their pixels.

    Parameters
    ----------
    database : QualityDatabase
        The database.
    products : sequence of ProductRecord
        Products of the database.
    folder : pathlib.Path
        Folder of the page, from which its links start.

    Returns
    -------
    TrendRecords
    """
    tables = TrendTables(database)
    pairs = {(later.id, earlier.id): later for earlier, later in _consecutive(products)}
    histograms = {one.product_id: one for one in tables.histograms()}
    known = [product for product in products if product.id in histograms]
    every = np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_HISTOGRAMS)).round().astype(int))
    return TrendRecords(
        products=[_trend_product(product, folder) for product in products],
        changes=[
            PixelChange(pairs[pair].path, *change)
            for pair, changes in tables.changes().items()
            if pair in pairs
            for change in changes
        ],
        comparisons=[
            MapComparison(pairs[one.product_id, one.previous_id].path, one.expected_false)
            for one in tables.comparisons()
            if (one.product_id, one.previous_id) in pairs and one.n_compared
        ],
        histograms=[_histogram(histograms[known[i].id], known[i]) for i in every],
    )


def compare_masters(
    database: QualityDatabase,
    products: Sequence[ProductRecord],
    *,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[str]:
    """Compare consecutive master darks of each detector and read-out, as far as the database does not have them yet.

    Each pair is stored when it is done: an interrupted run goes on where it was.

    Parameters
    ----------
    database : QualityDatabase
        Gets the changed pixels and histograms of dark rates.
    products : sequence of ProductRecord
        Products of the database.
    workers : int
        Threads.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    list of str
        A line for each master that cannot be read.
    """
    tables = TrendTables(database)
    compared = {(one.product_id, one.previous_id) for one in tables.comparisons()}
    pairs = [pair for pair in _consecutive(products) if (pair[1].id, pair[0].id) not in compared]
    masters = _Masters(tables)
    for earlier, later in tracked(pairs, progress):
        before, after = masters.load(earlier), masters.load(later)
        if before is not None and after is not None:
            _compare(tables, (earlier, later), (before, after), workers)
    return masters.faults


def _consecutive(products: Iterable[ProductRecord]) -> list[tuple[ProductRecord, ProductRecord]]:
    """Return the pairs of consecutive master darks of each detector, exposure time and read-out.

    Of masters with the same date, which are of the same frames, the one that was made last counts.
    """
    series: dict[tuple[Any, ...], dict[float, ProductRecord]] = {}
    for one in sorted(products, key=lambda one: (one.mjd_obs, one.reduction_date)):
        if one.recipe == DARK:
            key = (one.instrument, one.arm, one.detector, one.columns, one.lines, one.exptime_s, one.dit_s,
                   one.read_mode, one.binning)  # fmt: skip
            series.setdefault(key, {})[one.mjd_obs] = one
    return [
        pair
        for masters in series.values()
        for pair in zip(list(masters.values()), list(masters.values())[1:], strict=False)
    ]


class _Masters:
    """The masters of products; the last one is kept, as it is the earlier one of the next pair."""

    def __init__(self, tables: TrendTables) -> None:
        self._tables = tables
        self._with_histogram = {one.product_id for one in tables.histograms()}
        self._last: tuple[str, LoadedMaster | None] = ("", None)
        #: A line for each master that cannot be read.
        self.faults: list[str] = []

    def load(self, product: ProductRecord) -> LoadedMaster | None:
        """Return a master; None where it cannot be read. Stores its histogram."""
        if self._last[0] != product.path:
            self._last = (product.path, self._read(product))
        return self._last[1]

    def _read(self, product: ProductRecord) -> LoadedMaster | None:
        try:
            master = load_master(product.path)
        except InputError as error:
            self.faults += error.faults
            return None
        log.info("%s: read", master.label)
        if product.id is not None and product.id not in self._with_histogram and master.images.exposure_s:
            has_data = master.images.codes & int(PixelCode.NO_DATA | PixelCode.SATURATED) == 0
            found = rate_histogram(product.path, _rates(master.images, above_median=_has_pedestal(product))[has_data])
            if found is not None:
                counts = tuple(map(int, found.counts))
                self._tables.add_histogram(
                    StoredHistogram(product.id, found.centre, found.scale, found.low, found.high, counts)
                )
        return master


def _compare(
    tables: TrendTables,
    products: tuple[ProductRecord, ProductRecord],
    masters: tuple[LoadedMaster, LoadedMaster],
    workers: int,
) -> None:
    """Compare two masters, and store the result."""
    (earlier, later), (before, after) = products, masters
    difference = _difference(before, after)
    if difference:
        log.info("%s, %s: not compared: %s", before.label, after.label, difference)
        tables.add_comparison(later, earlier, [], n_compared=0, expected_false=0.0)
        return
    shared_bias = before.bias is not None and before.bias == after.bias
    found = pixel_changes(before.images, after.images, shared_bias=shared_bias, workers=workers)
    # a telegraph pixel jumps back: it is neither born nor dead
    changes = [DatabaseChange(one.x, one.y, one.kind, one.significance) for one in (*found.births, *found.deaths)]
    tables.add_comparison(later, earlier, changes, n_compared=found.n_compared, expected_false=found.expected_false)


def _difference(before: LoadedMaster, after: LoadedMaster) -> str:
    """Return why the pixels of two masters do not compare; empty where they do."""
    if before.datasums & after.datasums:
        return "they have frames in common"
    values = {meaning: value for meaning, (_, value) in after.keys.items()}
    return next((f"{keyword} differs" for keyword, *_ in before.differences(values).values()), "")


def _has_pedestal(product: ProductRecord) -> bool:
    """Return whether the pixels of a master hold an unknown pedestal: then it has no dark current."""
    current = product.value("DARK CURRENT")
    return current is None or current.value is None


def _rates(images: MasterImages, *, above_median: bool) -> NDArray[np.float32]:
    """Return the dark rates of a master, electron/s; from the median of each amplifier, if wanted."""
    rates: NDArray[np.float32] = images.values_e / np.float32(images.exposure_s)
    if above_median:
        for region in images.regions:
            rates[region] -= np.nanmedian(rates[region])
    return rates


def _histogram(one: StoredHistogram, product: ProductRecord) -> RateHistogram:
    counts = np.array(one.counts)
    return RateHistogram(product.path, one.centre, one.scale, one.low, one.high, counts, _has_pedestal(product))


def _trend_product(product: ProductRecord, folder: Path) -> TrendProduct:
    report = Path(product.path).with_suffix(".html")
    return TrendProduct(
        path=product.path,
        recipe=product.recipe,
        instrument=product.instrument or "",
        arm=product.arm,
        mjd=product.mjd_obs,
        exptime_s=product.exptime_s,
        read_mode=product.read_mode or "",
        binning=product.binning or "",
        verdict=product.verdict,
        failed=product.failed,
        report=Path(os.path.relpath(report, folder)).as_posix() if report.exists() else "",
        temperature_k=product.temperature_k,
        shape=(product.lines, product.columns),
        values={one.name: TrendValue(one.value, one.unit, one.low, one.high) for one in product.values},
    )
