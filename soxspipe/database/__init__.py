"""The quality database: the QC values of all reductions in one place."""

from .quality_database import DATABASE_NAME, Filters, PixelChange, QualityDatabase
from .records import ProductRecord, StoredValue, find_products, read_record

__all__ = [
    "DATABASE_NAME",
    "Filters",
    "PixelChange",
    "ProductRecord",
    "QualityDatabase",
    "StoredValue",
    "find_products",
    "read_record",
]
